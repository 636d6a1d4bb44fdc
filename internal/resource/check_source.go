package resource

import (
	"bytes"
	"fmt"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

var algorithms = []string{"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}

func checkSource(doc yaml.Doc, s *hub.Source) error {
	switch {
	case s.Type == "":
		return doc.Errorf("", "a source says its type: ssf")
	case s.Issuer == "":
		return doc.Errorf("", "a source names its issuer")
	case s.Stream == "none" && len(s.Audience) == 0:
		return doc.Errorf("stream", "with stream: none the source says its audience, which the other side put into our stream")
	case s.Stream != "none" && len(s.Audience) > 0:
		return doc.Errorf("audience", "audience stands only with stream: none; otherwise the stream's configuration says it")
	}
	err := first(
		word(doc, "type", s.Type, "ssf"), word(doc, "profile", s.Profile, "generic"), word(doc, "delivery", s.Delivery, "push"), word(doc, "stream", s.Stream, "create", "none"),
		checkURL(doc, "issuer", s.Issuer), checkURL(doc, "metadata_url", s.MetadataURL), checkKeys(doc, s.Keys), checkAuth(doc, s.Auth), checkRate(doc, s.Rate))
	if err != nil {
		return err
	}
	if s.PushAuth != nil {
		if s.PushAuth.AuthorizationHeader == nil {
			return doc.Errorf("push_auth", "push_auth has authorization_header")
		}
		if err := checkSecret(doc, "push_auth.authorization_header", s.PushAuth.AuthorizationHeader); err != nil {
			return err
		}
	}
	for i, c := range s.Correlate {
		if err := checkCorrelate(doc, fmt.Sprintf("correlate[%d]", i), c); err != nil {
			return err
		}
	}
	if o := s.Orders; o != nil {
		for i, a := range o.Accept {
			if err := checkAction(doc, fmt.Sprintf("orders.accept[%d]", i), a); err != nil {
				return err
			}
		}
		if err := first(word(doc, "orders.mode", o.Mode, "enforce", "monitor"), checkPlaces(doc, "orders.at", o.At), checkLimits(doc, "orders.limits", o.Limits)); err != nil {
			return err
		}
	}
	if r := s.Receipts; r != nil {
		return first(word(doc, "receipts.send", r.Send, "auto", "off"), word(doc, "receipts.alg", r.Alg, algorithms...))
	}
	return nil
}

func checkKeys(doc yaml.Doc, k *hub.SourceKeys) error {
	if k == nil {
		return nil
	}
	n := 0
	for _, has := range []bool{k.JWKSURI != "", k.JWKSFile != "", len(bytes.TrimSpace(k.JWKS)) > 0} {
		if has {
			n++
		}
	}
	if n > 1 || n == 0 && len(k.Algs) == 0 {
		return doc.Errorf("keys", "keys has one of jwks_uri, jwks_file and jwks")
	}
	for i, a := range k.Algs {
		if a == "" {
			return doc.Errorf(fmt.Sprintf("keys.algs[%d]", i), "an algorithm is not empty")
		}
		if err := word(doc, fmt.Sprintf("keys.algs[%d]", i), a, algorithms...); err != nil {
			return err
		}
	}
	return checkURL(doc, "keys.jwks_uri", k.JWKSURI)
}

func checkAuth(doc yaml.Doc, a *hub.Auth) error {
	switch {
	case a == nil:
		return nil
	case a.Method == "bearer" && a.Token == nil:
		return doc.Errorf("auth", "the method bearer has a token: {stored: NAME}")
	case a.Method == "none" && a.Token != nil:
		return doc.Errorf("auth.token", "the method none has no token")
	case a.Method == "":
		return doc.Errorf("auth", "auth says its method: bearer or none")
	case oneOf(a.Method, "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "refresh_token", "signed_jwt"):
		return doc.Errorf("auth.method", "%s", later("method: "+a.Method, "write method: bearer with a token, or none"))
	}
	return first(word(doc, "auth.method", a.Method, "bearer", "none"), checkSecret(doc, "auth.token", a.Token))
}
