package resource

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// scopes are what a client may be allowed to do.
var scopes = []string{"ssf.read", "ssf.manage", "ssf.manage.receipts", "signals.read", "signals.write", "signals.token", "resources.read", "resources.write"}

// signing are the algorithms that we have keys for.
var signing = []string{"RS256", "ES256", "EdDSA"}

var hostForm = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:[0-9]{1,5})?$`)

func checkClient(doc yaml.Doc, c *hub.Client) error {
	if c.Auth == "" {
		return doc.Errorf("", "a client says how it shows itself: auth: bearer")
	}
	if err := first(word(doc, "auth", c.Auth, "bearer", "client_secret_basic", "client_secret_post", "private_key_jwt"), checkClientAuth(doc, c)); err != nil {
		return err
	}
	for i, s := range c.Scopes {
		if err := word(doc, fmt.Sprintf("scopes[%d]", i), s, scopes...); err != nil || s == "" {
			return first(err, doc.Errorf(fmt.Sprintf("scopes[%d]", i), "a scope is not empty"))
		}
	}
	if len(c.Scopes) == 0 {
		return doc.Errorf("", "a client has scopes, such as scopes: [ssf.read]")
	}
	for i, h := range c.PushHosts {
		if !hostForm.MatchString(h) {
			return doc.Errorf(fmt.Sprintf("push_hosts[%d]", i), "%.80q is no host such as crm.example.test, without scheme and path", h)
		}
	}
	for i, d := range c.Domains {
		c.Domains[i] = strings.ToLower(d)
	}
	return first(word(doc, "streams", c.Streams, "one", "many"), word(doc, "alg", c.Alg, signing...),
		word(doc, "default_subjects", c.Subjects, "ALL", "NONE"), checkSubject(doc, "subject", c.Subject))
}

// checkClientAuth holds the members beside auth to its method: one that would have no effect is refused.
func checkClientAuth(doc yaml.Doc, c *hub.Client) error {
	secret := c.Auth == "client_secret_basic" || c.Auth == "client_secret_post"
	switch {
	case c.Secret != nil && !secret:
		return doc.Errorf("client_secret", "client_secret belongs to auth: client_secret_basic and client_secret_post, and has no effect with %s", c.Auth)
	case c.Secret == nil && secret:
		return doc.Errorf("auth", "auth: %s has client_secret: {stored: NAME}", c.Auth)
	case c.Keys != nil && c.Auth != "private_key_jwt":
		return doc.Errorf("keys", "keys belongs to auth: private_key_jwt, and has no effect with %s", c.Auth)
	case c.Keys == nil && c.Auth == "private_key_jwt":
		return doc.Errorf("auth", "auth: private_key_jwt has keys, with jwks_uri or jwks")
	}
	if err := checkSecret(doc, "client_secret", c.Secret); err != nil || c.Keys == nil {
		return err
	}
	if (c.Keys.JWKSURI != "") == (len(bytes.TrimSpace(c.Keys.JWKS)) > 0) {
		return doc.Errorf("keys", "keys has one of jwks_uri and jwks")
	}
	return checkURL(doc, "keys.jwks_uri", c.Keys.JWKSURI)
}

// formats are those by which people can be named to receivers.
var formats = []string{"email", "iss_sub", "opaque", "scim", "complex"}

// checkSubject checks how people are named to a receiver.
func checkSubject(doc yaml.Doc, path string, r *hub.SubjectRule) error {
	if r == nil {
		return nil
	}
	if r.Format == "" {
		return doc.Errorf(path, "%s has a format: %s", path, strings.Join(formats, ", "))
	}
	if err := first(word(doc, path+".format", r.Format, formats...), word(doc, path+".otherwise", r.Otherwise, formats...)); err != nil {
		return err
	}
	if err := word(doc, path+".payload", r.Payload, "skip", "omit", "send"); err != nil {
		return err
	}
	places := 0
	for _, f := range []string{r.Format, r.Otherwise} {
		switch f {
		case "iss_sub", "opaque", "scim":
			if r.AccountAt == "" {
				return doc.Errorf(path, "%s has account_at: the place whose account id it is", f)
			}
			places++
		case "complex":
			places++
		}
	}
	switch {
	case r.Format == r.Otherwise:
		return doc.Errorf(path+".otherwise", "otherwise is another format than %s", r.Format)
	case r.AccountAt != "" && places == 0:
		return doc.Errorf(path+".account_at", "account_at belongs to iss_sub, opaque, scim and complex, and has no effect with %s", r.Format)
	case r.AccountAt != "" && !nameForm.MatchString(r.AccountAt):
		return doc.Errorf(path+".account_at", "%q is no name of a place", r.AccountAt)
	}
	return nil
}
