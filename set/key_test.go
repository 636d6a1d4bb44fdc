package set_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/internal/strictjson"
	"countersign/set"
)

func TestThumbprint(t *testing.T) {
	// RFC 7638 §3.1.
	const example = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	var key set.Key
	if err := json.Unmarshal([]byte(example), &key); err != nil {
		t.Fatal(err)
	}
	if got, want := key.Thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	// RFC 8037 appendix A.3.
	if err := json.Unmarshal([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), &key); err != nil {
		t.Fatal(err)
	}
	if got, want := key.Thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	if got := (set.Key{}).Thumbprint(); got != "" {
		t.Errorf("no key has the thumbprint %s", got)
	}
}

func TestParseJWKS(t *testing.T) {
	good := func(alg set.Algorithm) string {
		out, err := json.Marshal(signerFor(t, alg).Public())
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	es, rs := good(set.ES256), good(set.RS256)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakJWK, err := json.Marshal(set.Key{ID: "weak", Public: weak.Public()})
	if err != nil {
		t.Fatal(err)
	}
	foreign := []string{
		`{"kty":"oct","kid":"o","k":"AAAA"}`, `{"kty":"OKP","crv":"Ed448","kid":"g","x":"AAAA"}`, `{"kty":"OKP","crv":"X25519","kid":"x","x":"AAAA"}`,
		`{"kty":"EC","crv":"P-384","kid":"p","x":"AAAA","y":"AAAA"}`, `{"kty":"EC","crv":"secp256k1","kid":"k","x":"AAAA","y":"AAAA"}`,
		`{"kty":"AKP","alg":"ML-DSA-65","pub":"AAAA"}`, `{"kty":"RSA"}`, `{"kty":5}`, `{}`, `[]`, `null`, `"RSA"`,
		`{"kty":"RSA","n":"AQAB","e":"Ag"}`, `{"kty":"RSA","n":"AQAB","e":"AQ"}`, `{"kty":"RSA","n":"AQAB","e":"AAAAAAAAAAAAAQAB"}`,
		strings.Replace(es, `"x":"`, `"x":"A`, 1), strings.Replace(rs, `"n":"`, `"n":"=`, 1),
		`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`,
		strings.Replace(rs, `{`, `{"d":"AAAA",`, 1), strings.Replace(es, `{`, `{"key_ops":["sign"],`, 1), strings.Replace(es, `{`, `{"nbf":"soon",`, 1),
		strings.Replace(es, `{`, `{"revoked":{"reason":"x"},`, 1), strings.Replace(es, `{`, `{"revoked":"yes",`, 1),
	}
	text := `{"x":1,"keys":[` + strings.Join(foreign, ",") + "," + es + "," + string(weakJWK) + "," +
		strings.Replace(rs, `{`, `{"key_ops":["verify"],"x5c":["MIIB"],"nbf":100,"exp":200.5,"revoked":{"revoked_at":150,"reason":"compromised"},"K":{"ty":1},`, 1) + `]}`
	keys, err := set.ParseJWKS([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	revoked := signerFor(t, set.RS256).Public()
	revoked.NotBefore, revoked.Expires, revoked.Revoked = 100, 200, &set.Revocation{At: 150, Reason: "compromised"}
	if diff := cmp.Diff(set.StaticKeys{signerFor(t, set.ES256).Public(), {ID: "weak", Public: weak.Public()}, revoked}, keys); diff != "" {
		t.Error(diff)
	}
	again, err := set.ParseJWKS(set.MarshalJWKS(append(keys, set.Key{ID: "none"})))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keys, again); diff != "" {
		t.Errorf("round trip: %s", diff)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"keys":{}}`, `{"keys":null}`, `{"KEYS":[]}`, `{"keys":[],"keys":[]}`, `{"keys":[]}x`} {
		if _, err := set.ParseJWKS([]byte(bad)); !errors.Is(err, set.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", bad, err)
		}
	}
	if past, err := set.ParseJWKS([]byte(`{"keys":[` + strings.Replace(es, `{`, `{"exp":0,`, 1) + `]}`)); err != nil || len(past) != 1 || past[0].Expires >= 0 {
		t.Errorf("exp 0: %v, %v", past, err)
	}
	if empty, err := set.ParseJWKS([]byte(`{"keys":[]}`)); err != nil || len(empty) != 0 {
		t.Errorf("no keys: %v, %v", empty, err)
	}
	var key set.Key
	if err := json.Unmarshal([]byte(`{"kty":"oct","k":"AAAA"}`), &key); !errors.Is(err, set.ErrMalformed) {
		t.Errorf("oct key: %v", err)
	}
	if err := key.UnmarshalJSON([]byte(`{"kty":"RSA","kty":"EC"}`)); !errors.Is(err, strictjson.ErrDuplicate) {
		t.Errorf("two kty: %v", err)
	}
	req.Covers(t, "RX-50", "A6")
}

// TestKeyDates: validity is judged at iat, bounds as in A6.
func TestKeyDates(t *testing.T) {
	s := signerFor(t, set.ES256)
	compact, err := s.Sign(marshal(t, claims()))
	if err != nil {
		t.Fatal(err)
	}
	const iat = 1789462800
	tests := []struct {
		name   string
		edit   func(*set.Key)
		expect string
	}{
		{"open", func(*set.Key) {}, "ok"},
		{"from iat", func(k *set.Key) { k.NotBefore = iat }, "ok"},
		{"after iat", func(k *set.Key) { k.NotBefore = iat + 1 }, "ErrKeyUnfit"},
		{"until after iat", func(k *set.Key) { k.Expires = iat + 1 }, "ok"},
		{"until iat", func(k *set.Key) { k.Expires = iat }, "ErrKeyUnfit"},
		{"revoked after iat", func(k *set.Key) { k.Revoked = &set.Revocation{At: iat + 1} }, "ok"},
		{"revoked at iat", func(k *set.Key) { k.Revoked = &set.Revocation{At: iat} }, "ErrKeyUnfit"},
		{"compromised later", func(k *set.Key) { k.Revoked = &set.Revocation{At: iat + 1000, Reason: set.Compromised} }, "ErrKeyUnfit"},
		{"alg of the JWK by its newer name", func(k *set.Key) { k.Algorithm = "Ed25519" }, "ErrKeyUnfit"},
		{"use unknown", func(k *set.Key) { k.Use = "tls" }, "ErrKeyUnfit"},
	}
	for _, tt := range tests {
		key := s.Public()
		tt.edit(&key)
		p := policy(t)
		p.Keys = set.StaticKeys{key}
		_, err := set.Verify(t.Context(), compact, p)
		if got := verdict(t, err); got != tt.expect {
			t.Errorf("%s: got %s (%v), want %s", tt.name, got, err, tt.expect)
		}
	}
	req.Covers(t, "A6", "A51")
}

func TestNewSigner(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		alg  set.Algorithm
		kid  string
		key  crypto.Signer
		want error
	}{
		{"RSA for RS256", set.RS256, "k", keyFor[set.RS256](), nil},
		{"RSA for PS256", set.PS256, "k", keyFor[set.RS256](), nil},
		{"Ed25519 by its newer name", "Ed25519", "k", keyFor[set.EdDSA](), nil},
		{"HS256", "HS256", "k", keyFor[set.RS256](), set.ErrAlgorithm},
		{"none", "none", "k", keyFor[set.RS256](), set.ErrAlgorithm},
		{"no algorithm", "", "k", keyFor[set.RS256](), set.ErrAlgorithm},
		{"1024 bits", set.RS256, "k", weak, set.ErrKeyUnfit},
		{"P-384", set.ES256, "k", p384, set.ErrKeyUnfit},
		{"RSA for ES256", set.ES256, "k", keyFor[set.RS256](), set.ErrKeyUnfit},
		{"P-256 for RS256", set.RS256, "k", keyFor[set.ES256](), set.ErrKeyUnfit},
		{"Ed25519 for PS256", set.PS256, "k", keyFor[set.EdDSA](), set.ErrKeyUnfit},
		{"no key", set.ES256, "k", nil, set.ErrKeyUnfit},
		{"kid is no text", set.ES256, "\xff", keyFor[set.ES256](), set.ErrKeyUnfit},
	}
	for _, tt := range tests {
		s, err := set.NewSigner(tt.alg, tt.kid, tt.key)
		if !errors.Is(err, tt.want) || (err != nil) != (tt.want != nil) || (s == nil) != (err != nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	s, err := set.NewSigner("Ed25519", "", keyFor[set.EdDSA]())
	if err != nil || s.KeyID() != s.Public().Thumbprint() || s.KeyID() == "" || s.Algorithm() != set.EdDSA {
		t.Errorf("%+v, %v: without a kid it is the thumbprint", s, err)
	}
	if _, err := set.GenerateKey("HS256"); !errors.Is(err, set.ErrAlgorithm) {
		t.Errorf("GenerateKey: %v", err)
	}
	req.Covers(t, "A51", "TX-160")
}

// TestComplete: an input fixed earlier gives the same content address at every repeat.
func TestComplete(t *testing.T) {
	for _, alg := range set.Algorithms() {
		s := signerFor(t, alg)
		input := s.Input(marshal(t, claims()))
		if input != signerFor(t, alg).Input(marshal(t, claims())) {
			t.Errorf("%s: two inputs for one payload", alg)
		}
		if want := b64(`{"alg":"` + string(alg) + `","typ":"secevent+jwt","kid":"` + string(alg) + `"}`); !strings.HasPrefix(input, want+".") {
			t.Errorf("%s: header of %s", alg, input)
		}
		for range 20 { // ECDSA values of every length
			compact, err := s.Complete(input)
			if err != nil {
				t.Fatal(err)
			}
			token, err := set.Verify(t.Context(), compact, policy(t))
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if token.Address() != set.Address(input) {
				t.Errorf("%s: another address", alg)
			}
		}
	}
	req.Covers(t, "TX-140", "AR-§5.4")
}

type brokenSigner struct {
	public crypto.PublicKey
	out    []byte
	err    error
}

func (b brokenSigner) Public() crypto.PublicKey { return b.public }

func (b brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return b.out, b.err }

func TestCompleteFails(t *testing.T) {
	public := keyFor[set.ES256]().Public()
	gone := errors.New("the key service is away")
	for _, key := range []brokenSigner{
		{public, nil, gone}, {public, nil, nil}, {public, []byte{0x30}, nil}, {public, make([]byte, 64), nil},
		{public, []byte{0x30, 6, 2, 1, 1, 2, 9, 1}, nil}, {public, []byte{0x30, 6, 2, 1, 1, 3, 1, 1}, nil}, {public, []byte{0x30, 7, 2, 1, 1, 2, 1, 1, 0}, nil},
	} {
		s, err := set.NewSigner(set.ES256, "k", key)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := s.Complete("a.b"); err == nil || token != "" {
			t.Errorf("%x: signed %q", key.out, token)
		} else if key.err != nil && !errors.Is(err, gone) {
			t.Errorf("%v hides the cause", err)
		}
	}
}

// TestAgainstGoJOSE: an implementation that is not ours verifies what we sign, and we what it signs.
func TestAgainstGoJOSE(t *testing.T) {
	for _, alg := range set.Algorithms() {
		s := signerFor(t, alg)
		payload := marshal(t, claims())
		compact, err := s.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		var theirs jose.JSONWebKeySet
		if err := json.Unmarshal(set.MarshalJWKS([]set.Key{s.Public()}), &theirs); err != nil {
			t.Fatal(err)
		}
		parsed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := parsed.Verify(theirs)
		if err != nil || string(got) != string(payload) {
			t.Errorf("%s: go-jose says %v", alg, err)
		}

		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: jose.JSONWebKey{Key: keyFor[alg](), KeyID: string(alg)}},
			(&jose.SignerOptions{}).WithType("secevent+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		jwk := jose.JSONWebKey{Key: keyFor[alg]().Public(), KeyID: string(alg), Algorithm: string(alg), Use: "sig"}
		jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := set.ParseJWKS(jwks)
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t)
		p.Keys = keys
		if _, err := set.Verify(t.Context(), token, p); err != nil {
			t.Errorf("%s of go-jose: %v", alg, err)
		}
		thumb, err := jwk.Thumbprint(crypto.SHA256)
		if err != nil || b64(string(thumb)) != s.Public().Thumbprint() {
			t.Errorf("%s: thumbprints differ, %v", alg, err)
		}
	}
}

// FuzzParseJWKS: what parses survives a round trip, and every key has a thumbprint.
func FuzzParseJWKS(f *testing.F) {
	f.Add(set.MarshalJWKS(allKeys(f)))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"Aw","nbf":1.5,"exp":1e400}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","revoked":{"revoked_at":5}}]}`))
	f.Add([]byte(`{"keys":[null,[],{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := set.ParseJWKS(data)
		if err != nil {
			if !errors.Is(err, set.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := set.ParseJWKS(set.MarshalJWKS(keys))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(keys, again); diff != "" {
			t.Fatal(diff)
		}
		for _, k := range keys {
			if k.Thumbprint() == "" {
				t.Fatal("a key without thumbprint")
			}
		}
	})
}
