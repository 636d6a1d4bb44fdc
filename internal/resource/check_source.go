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
	}
	err := first(
		word(doc, "type", s.Type, "ssf"), checkProfile(doc, s), word(doc, "delivery", s.Delivery, "push", "poll"), word(doc, "stream", s.Stream, "create", "adopt", "none"), checkStreamAt(doc, s),
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
