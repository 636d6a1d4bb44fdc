package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"countersign/set"
)

// Keys in every form that people have them in sign what their public half verifies.
func TestParsePrivateKey(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	num := func(n *big.Int) string { return b64(n.Bytes()) }
	must := func(der []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	file := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	fresh := func(alg set.Algorithm) crypto.Signer {
		t.Helper()
		key, err := set.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	r, e, d := fresh(set.RS256).(*rsa.PrivateKey), fresh(set.ES256).(*ecdsa.PrivateKey), fresh(set.EdDSA).(ed25519.PrivateKey)
	scalar, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ec := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"e1","d":%q}`, b64(scalar))
	for name, c := range map[string]struct {
		text, kid string
		alg       set.Algorithm
		public    crypto.PublicKey
	}{
		"PKCS #8 RSA":                    {file("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(r))), "", set.RS256, r.Public()},
		"PKCS #1 RSA":                    {file("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r)), "", set.RS256, r.Public()},
		"PKCS #8 EC":                     {file("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(e))), "", set.ES256, e.Public()},
		"SEC 1 EC, its parameters first": {file("EC PARAMETERS", []byte{6, 0}) + file("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(e))), "", set.ES256, e.Public()},
		"PKCS #8 Ed25519":                {file("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(d))), "", set.EdDSA, d.Public()},
		"JWK EC":                         {ec, "e1", set.ES256, e.Public()},
		"JWK Ed25519":                    {fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"d1","d":%q}`, b64(d.Seed())), "d1", set.EdDSA, d.Public()},
		"JWK RSA": {fmt.Sprintf(`{"kty":"RSA","kid":"r1","n":%q,"e":"AQAB","d":%q,"p":%q,"q":%q}`, num(r.N), num(r.D), num(r.Primes[0]), num(r.Primes[1])),
			"r1", set.RS256, r.Public()},
		"JWK Set, a public key first": {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"},` + ec + `]}`, "e1", set.ES256, e.Public()},
	} {
		key, kid, err := parsePrivateKey([]byte(c.text))
		if err != nil || kid != c.kid || algorithmOf(key) != c.alg || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.public) {
			t.Errorf("%s: kid %q, %v", name, kid, err)
		}
	}
	for text, words := range map[string]string{
		"":                                       "neither PEM nor JSON",
		"hello":                                  "neither PEM nor JSON",
		"{}":                                     "there is no private key in it",
		`{"keys":[{"kty":"oct"}]}`:               "there is no private key in it",
		`{"kty":"EC","crv":"P-521","d":"AA"}`:    `kind "EC" and curve "P-521"`,
		`{"kty":"EC","crv":"P-256","d":"!"}`:     "the member d cannot be read",
		`{"kty":"OKP","crv":"Ed25519","d":"AA"}`: "d is not an Ed25519 key",
		`{"kty":"RSA","d":"AQ","n":"AQ","e":"AQAB"}`:                   "an RSA key needs n, e, d, p and q",
		`{"kty":"RSA","d":"AQ","n":"Dw","e":"AQAB","p":"Aw","q":"BQ"}`: "jwk: ",
		file("ENCRYPTED PRIVATE KEY", []byte{1}):                       "decrypt it first",
		file("PRIVATE KEY", []byte{1}):                                 "asn1",
		file("CERTIFICATE", []byte{1}):                                 "neither PEM nor JSON",
	} {
		if _, _, err := parsePrivateKey([]byte(text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.40q: %v, want %q", text, err, words)
		}
	}
}

// FuzzPrivateKey: no file panics, and a key that is read can be used.
func FuzzPrivateKey(f *testing.F) {
	for _, s := range []string{"{}", `{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ","p":"AQ","q":"AQ"}`, `{"kty":"EC","crv":"P-256","d":"AA"}`,
		"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", `{"keys":[{"kty":"OKP","crv":"Ed25519","d":"` + strings.Repeat("A", 43) + `"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, _, err := parsePrivateKey(data)
		if err != nil {
			return
		}
		s, err := set.NewSigner(algorithmOf(key), "", key)
		if err != nil {
			return // too weak, or for nothing that we sign with
		}
		if _, err := s.Sign(json.RawMessage(`{}`)); err != nil {
			t.Error(err)
		}
	})
}
