package resource

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// maxWindow bounds how many SETs a stream has in flight.
const maxWindow = 1024

func checkStream(doc yaml.Doc, s *hub.Stream) error {
	d := &s.Deliver
	switch {
	case s.Client == "":
		return doc.Errorf("", "a stream names its client, which receives it")
	case !nameForm.MatchString(s.Client):
		return doc.Errorf("client", "%q is no name of a client", s.Client)
	case d.Poll == (d.To != ""):
		return doc.Errorf("deliver", "deliver is one of {to: https://…} and {poll: true}")
	case d.Poll && d.AuthorizationHeader != nil:
		return doc.Errorf("deliver.authorization_header", "authorization_header belongs to deliver.to, and has no effect with poll")
	case d.Direct && d.Poll:
		return doc.Errorf("deliver.direct", "direct belongs to deliver.to: who polls has a stream")
	case d.Direct && s.Inactivity != "":
		return doc.Errorf("inactivity", "a receiver without a stream API (deliver.direct) shows no activity")
	case s.Window < 0 || s.Window > maxWindow:
		return doc.Errorf("window", "window is 1 to %d SETs in flight; 1 keeps strict order", maxWindow)
	}
	if s.Inactivity != "" {
		if span, err := time.ParseDuration(s.Inactivity); err != nil || span < time.Minute || span > 366*24*time.Hour {
			return doc.Errorf("inactivity", "inactivity is a span from 1m to 8784h, such as 168h")
		}
	}
	if len(s.Description) > 1000 {
		return doc.Errorf("description", "a description has at most 1000 bytes")
	}
	if err := first(checkURL(doc, "deliver.to", d.To), checkSecret(doc, "deliver.authorization_header", d.AuthorizationHeader),
		word(doc, "alg", s.Alg, signing...), word(doc, "default_subjects", s.Subjects, "ALL", "NONE"), checkSubject(doc, "subject", s.Subject)); err != nil {
		return err
	}
	if err := checkAudience(doc, s); err != nil {
		return err
	}
	o := s.Orders
	switch {
	case o == nil:
		return nil
	case o.Receipts && (o.Issuer == "" || o.JWKSURI == ""):
		return doc.Errorf("orders", "orders with receipts: true say whose receipts they are: issuer, and jwks_uri with its keys")
	case !o.Receipts && (o.Issuer != "" || o.JWKSURI != ""):
		return doc.Errorf("orders", "issuer and jwks_uri belong to receipts: true")
	}
	return first(checkURL(doc, "orders.issuer", o.Issuer), checkURL(doc, "orders.jwks_uri", o.JWKSURI))
}

// shapes are the forms that SETs of a stream can have besides SSF 1.0.
var shapes = []string{"sse-id1", "apple", "okta", "google-workspace"}

func checkAudience(doc yaml.Doc, s *hub.Stream) error {
	if len(s.Audience) > 10 {
		return doc.Errorf("audience", "audience has at most 10 values")
	}
	for i, aud := range s.Audience {
		at := fmt.Sprintf("audience[%d]", i)
		switch {
		case aud == "" || len(aud) > 500 || strings.ContainsFunc(aud, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }):
			return doc.Errorf(at, "an audience is 1 to 500 characters without spaces, such as https://org.okta.example")
		case slices.Contains(s.Audience[:i], aud):
			return doc.Errorf(at, "the audience %.80q is there twice", aud)
		}
	}
	if s.Orders != nil && s.Orders.Receipts && len(s.Audience) > 1 {
		return doc.Errorf("audience", "an order names one audience") // receipts design §4
	}
	if (s.Shape == "okta" || s.Shape == "google-workspace") && !s.Deliver.Direct {
		return doc.Errorf("shape", "receivers of the shape %s have no stream API: write deliver: {to: https://…, direct: true}", s.Shape)
	}
	return word(doc, "shape", s.Shape, shapes...)
}

// tenantForm is narrower than other names, since a tenant's name is a part of addresses.
var tenantForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkTenant(doc yaml.Doc, t *hub.Tenant) error {
	if !tenantForm.MatchString(t.Name) {
		return doc.Errorf("name", "a tenant's name is 1 to 63 of a-z, 0-9 and -, and begins and ends with a letter or digit")
	}
	if err := word(doc, "legacy", t.Legacy, "sse-id1", "apple"); err != nil {
		return err
	}
	o := t.OAuth
	if o == nil {
		return nil
	}
	if o.Issuer == "" {
		return doc.Errorf("oauth", "oauth names its issuer")
	}
	if err := first(checkURL(doc, "oauth.issuer", o.Issuer), checkURL(doc, "oauth.jwks_uri", o.JWKSURI)); err != nil {
		return err
	}
	if i := o.Introspection; i != nil {
		switch {
		case o.JWKSURI != "":
			return doc.Errorf("oauth", "oauth has one of jwks_uri, for tokens that are JWTs, and introspection, for opaque ones")
		case i.Endpoint == "" || i.ClientID == "" || i.ClientSecret == nil:
			return doc.Errorf("oauth.introspection", "introspection has endpoint, client_id and client_secret: {stored: NAME}")
		}
		return first(checkURL(doc, "oauth.introspection.endpoint", i.Endpoint), checkSecret(doc, "oauth.introspection.client_secret", i.ClientSecret))
	}
	return nil
}
