package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"countersign/internal/strictjson"
	"countersign/set"
)

const (
	maxJWT = 16 << 10
	skew   = time.Minute // how far another clock may differ from ours
)

// errJWT is wrapped by what is wrong with a JWT itself, other than keys that cannot be had now.
var errJWT = errors.New("oauth: the token is not valid")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errJWT, fmt.Errorf(format, args...))
}

// jwt is a JWT that was read and not yet verified.
type jwt struct {
	typ, alg, kid string
	claims        claims
	input         string
	signature     []byte
}

// claims are those that access tokens, assertions and answers of introspection have. Dates are NumericDates, which may
// have a fraction (RFC 7519 §2).
type claims struct {
	Issuer   *string         `json:"iss"`
	Subject  *string         `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	Expires  *float64        `json:"exp"`
	Issued   *float64        `json:"iat"`
	Before   *float64        `json:"nbf"`
	ID       *string         `json:"jti"`
	ClientID *string         `json:"client_id"`
	Scope    *string         `json:"scope"`
	Confirm  json.RawMessage `json:"cnf"`
}

// readJWT splits a compact token. Repeated names, crit, and everything else that package set refuses in a
// token is refused here, too.
func readJWT(token string) (*jwt, error) {
	if len(token) > maxJWT {
		return nil, wrong("it is too long")
	}
	u, err := set.Parse(token)
	if err != nil {
		return nil, wrong("%w", err)
	}
	h := u.Header()
	j := &jwt{typ: strings.TrimPrefix(lower(h.Type), "application/"), alg: h.Algorithm, kid: h.KeyID}
	dot := strings.LastIndexByte(token, '.')
	j.input = token[:dot]
	if j.signature, err = base64.RawURLEncoding.Strict().DecodeString(token[dot+1:]); err != nil {
		return nil, wrong("signature: %w", err)
	}
	if err := strictjson.Unmarshal(u.Payload(), &j.claims); err != nil {
		return nil, wrong("claims: %w", err)
	}
	return j, nil
}

// lower is ASCII only: no other letter has two cases in a media type.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// verify holds the signature against the keys. An error that is set.ErrKeysUnavailable says nothing about the token.
func (j *jwt) verify(ctx context.Context, keys set.KeySet, now time.Time) error {
	alg := set.Algorithm(j.alg)
	if alg == "Ed25519" {
		alg = set.EdDSA
	}
	if !slices.Contains(set.Algorithms(), alg) { // none and HMAC are not among them
		return wrong("alg %.20q is not taken", j.alg)
	}
	found, err := keys.Find(ctx, j.kid)
	if err != nil {
		if errors.Is(err, set.ErrKeysUnavailable) {
			return err
		}
		return fmt.Errorf("%w: %w", set.ErrKeysUnavailable, err)
	}
	tried := 0
	for _, k := range found {
		if !fits(k, alg, now) {
			continue
		}
		if tried++; tried > 8 {
			break
		}
		if signed(alg, k.Public, j.input, j.signature) {
			return nil
		}
	}
	if tried == 0 {
		return wrong("no key fits")
	}
	return wrong("the signature does not verify")
}

// fits reports whether a key may have made a signature of the algorithm now.
func fits(k set.Key, alg set.Algorithm, now time.Time) bool {
	named := set.Algorithm(k.Algorithm)
	if named == "Ed25519" {
		named = set.EdDSA
	}
	at := now.Unix()
	if k.Use != "" && k.Use != "sig" || named != "" && named != alg || k.Revoked != nil || at < k.NotBefore || k.Expires != 0 && at >= k.Expires {
		return false
	}
	switch p := k.Public.(type) {
	case *rsa.PublicKey:
		return (alg == set.RS256 || alg == set.PS256) && p.N.BitLen() >= 2048
	case *ecdsa.PublicKey:
		return alg == set.ES256 && p.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == set.EdDSA
	}
	return false
}

func signed(alg set.Algorithm, public crypto.PublicKey, input string, signature []byte) bool {
	if alg == set.EdDSA {
		return ed25519.Verify(public.(ed25519.PublicKey), []byte(input), signature)
	}
	digest := sha256.Sum256([]byte(input))
	switch alg {
	case set.RS256:
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature) == nil
	case set.PS256:
		return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
	case set.ES256:
		if len(signature) != 64 {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(public.(*ecdsa.PublicKey), digest[:], r, s)
	}
	return false
}

// audience lists the values of aud: one string, or several.
func (c *claims) audience() ([]string, error) {
	if len(c.Audience) == 0 {
		return nil, nil
	}
	if one, err := strictjson.String(c.Audience); err == nil {
		return []string{one}, nil
	}
	elements, err := strictjson.Elements(c.Audience)
	if err != nil {
		return nil, wrong("aud is neither a text nor a list")
	}
	var out []string
	for _, e := range elements {
		one, err := strictjson.String(e)
		if err != nil {
			return nil, wrong("aud holds something else than text")
		}
		out = append(out, one)
	}
	return out, nil
}

// current holds exp, nbf and iat against the clock, each where it is there.
func (c *claims) current(now time.Time) error {
	at, slack := seconds(now), skew.Seconds()
	switch {
	case c.Expires != nil && at >= *c.Expires+slack: // AZ-9
		return wrong("it has expired")
	case c.Before != nil && *c.Before > at+slack:
		return wrong("it is not valid yet")
	case c.Issued != nil && *c.Issued > at+slack:
		return wrong("it was issued in the future")
	}
	return nil
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
