package set_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
)

var update = flag.Bool("update", false, "make the vectors anew, with new keys")

const vectorDir = "testdata/vectors"

// TestVectors holds Verify to the token files. Their format is in testdata/vectors/README.md.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	jwks, err := os.ReadFile(filepath.Join(vectorDir, "jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			fields, token := readVector(t, file)
			p := &set.Policy{Issuer: issuer, Audience: []string{audience}, Algorithms: set.Algorithms(), Keys: keys, Now: now}
			switch fields["policy"] {
			case "":
			case "exact-type":
				p.ExactType = true
			case "rs256-only":
				p.Algorithms = nil
			default:
				t.Fatalf("unknown policy %q", fields["policy"])
			}
			_, err := set.Verify(t.Context(), token, p)
			if got := verdict(t, err); got != fields["expect"] {
				t.Errorf("%s (%s): got %s (%v), want %s", fields["note"], fields["clause"], got, err, fields["expect"])
			}
			seen[fields["expect"]]++
		})
	}
	if len(files) < 60 || seen["ok"] < 8 {
		t.Errorf("%d files, %d of them accepted: some are missing", len(files), seen["ok"])
	}
	for _, name := range []string{"ErrTooLarge", "ErrMalformed", "ErrType", "ErrAlgorithm", "ErrIssuer", "ErrKeyUnknown", "ErrKeyUnfit", "ErrSignature", "ErrAudience", "ErrClaims", "ErrTime"} {
		if seen[name] == 0 {
			t.Errorf("no vector expects %s", name)
		}
	}
	req.Covers(t, "RX-47", "RX-48", "RX-49", "RX-50", "RX-51", "RX-52", "RX-53", "RX-54", "RX-55", "RX-56", "RX-57", "RX-60", "A9", "A51")
}

// readVector reads "name: value" lines, an empty line, and the token: as it is, or quoted as in Go.
func readVector(t testing.TB, file string) (fields map[string]string, token string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		t.Fatalf("%s: no empty line", file)
	}
	fields = map[string]string{}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields[name] = value
	}
	for _, name := range []string{"expect", "clause", "note"} {
		if fields[name] == "" {
			t.Fatalf("%s: no %s", file, name)
		}
	}
	token = strings.TrimSuffix(body, "\n")
	if strings.HasPrefix(token, `"`) {
		if token, err = strconv.Unquote(token); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if fields["pad"] != "" {
		n, err := strconv.Atoi(fields["pad"])
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		token += strings.Repeat("A", n)
	}
	return fields, token
}

type vector struct{ name, expect, clause, note, policy, pad, token string }

// writeVectors makes new keys, signs every case with them, and forgets the private halves.
func writeVectors(t *testing.T) {
	kid := func(alg set.Algorithm, kid string) *set.Signer {
		key, err := set.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		s, err := set.NewSigner(alg, kid, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := set.NewSigner(set.RS256, "r1", rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	psKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := set.NewSigner(set.PS256, "p1", psKey)
	if err != nil {
		t.Fatal(err)
	}
	es, ed, enc, stranger := kid(set.ES256, "e1"), kid(set.EdDSA, "d1"), kid(set.RS256, "enc1"), kid(set.RS256, "r1")
	retired, revoked, stolen, anyAlg := kid(set.ES256, "retired1"), kid(set.ES256, "revoked1"), kid(set.ES256, "stolen1"), kid(set.RS256, "any1")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	encKey, retiredKey, revokedKey, stolenKey, anyKey := enc.Public(), retired.Public(), revoked.Public(), stolen.Public(), anyAlg.Public()
	encKey.Use, anyKey.Algorithm, anyKey.Use = "enc", "", ""
	retiredKey.Expires, revokedKey.Revoked, stolenKey.Revoked = 1789462700, &set.Revocation{At: 1789462750, Reason: "superseded"}, &set.Revocation{At: 1789462890, Reason: set.Compromised}
	weakKey := set.Key{ID: "weak1", Algorithm: "RS256", Use: "sig", Public: weak.Public()}

	// The set has foreign keys in front, which must not take ours with them.
	foreign := []string{
		`{"kty":"oct","kid":"h1","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}`,
		`{"kty":"EC","crv":"secp256k1","kid":"k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g","y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}`,
		`{"kty":"OKP","crv":"Ed448","kid":"g1","x":"X9dEm1m0Yf0s54fsYWrUah2hNCSFpw4fig6nXYDpZ3jt8SR2m0bHBhvWeD3x5Q9s0foavq_oJWGA"}`,
		`{"kty":"AKP","alg":"ML-DSA-44","kid":"q1","pub":"AAAA"}`,
		`{"kty":"RSA","kid":"broken1","n":"!","e":"AQAB"}`,
	}
	var ours []string
	for _, k := range []set.Key{encKey, rs.Public(), ps.Public(), es.Public(), ed.Public(), weakKey, retiredKey, revokedKey, stolenKey, anyKey} {
		jwk, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, string(jwk))
	}
	jwks := "{\"keys\":[\n" + strings.Join(append(foreign, ours...), ",\n") + "\n]}\n"

	const (
		sub    = `"sub_id":{"format":"email","email":"mira@harbor-app.example"}`
		events = `"events":{"` + eventType + `":{"event_timestamp":1789462795}}`
		good   = `{"iss":"` + issuer + `","aud":"` + audience + `","iat":1789462800,"jti":"v-1",` + sub + `,` + events + `}`
	)
	header := func(alg, kid string) string {
		return `{"alg":"` + alg + `","typ":"secevent+jwt","kid":"` + kid + `"}`
	}
	rsHeader := header("RS256", "r1")
	withHeader := func(h string) string { return compact(t, rs, h, good) }
	withPayload := func(p string) string { return compact(t, rs, rsHeader, p) }
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the payload", old)
		}
		return withPayload(strings.Replace(good, old, new, 1))
	}
	publicDER, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string {
		input := b64(header("HS256", "r1")) + "." + b64(good)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	weakInput := b64(header("RS256", "weak1")) + "." + b64(good)
	weakDigest := sha256.Sum256([]byte(weakInput))
	weakSignature, err := rsa.SignPKCS1v15(rand.Reader, weak, crypto.SHA256, weakDigest[:])
	if err != nil {
		t.Fatal(err)
	}
	plain := withHeader(rsHeader)
	parts := strings.Split(plain, ".")
	esInput := b64(header("ES256", "e1")) + "." + b64(good)
	esGood := compact(t, es, header("ES256", "e1"), good)
	strangerJWK, err := json.Marshal(stranger.Public())
	if err != nil {
		t.Fatal(err)
	}

	vectors := []vector{
		{name: "ok-rs256", expect: "ok", clause: "CAEP interop §2.6", note: "RS256", token: plain},
		{name: "ok-ps256", expect: "ok", clause: "RFC 7518 §3.5", note: "PS256", token: compact(t, ps, header("PS256", "p1"), good)},
		{name: "ok-es256", expect: "ok", clause: "RFC 7518 §3.4", note: "ES256", token: esGood},
		{name: "ok-eddsa", expect: "ok", clause: "RFC 8037 §3.1", note: "EdDSA", token: compact(t, ed, header("EdDSA", "d1"), good)},
		{name: "ok-ed25519-name", expect: "ok", clause: "A51", note: "Ed25519 is EdDSA", token: compact(t, ed, header("Ed25519", "d1"), good)},
		{name: "ok-key-without-alg", expect: "ok", clause: "RFC 7517 §4.4", note: "the JWK names no alg and no use", token: compact(t, anyAlg, header("RS256", "any1"), good)},
		{name: "ok-typ-prefix", expect: "ok", clause: "RFC 8417 §2.3", note: "typ with application/", token: withHeader(`{"alg":"RS256","typ":"application/secevent+jwt","kid":"r1"}`)},
		{name: "ok-typ-case", expect: "ok", clause: "RFC 7515 §4.1.9", note: "typ in another case", token: withHeader(`{"alg":"RS256","typ":"SecEvent+JWT","kid":"r1"}`)},
		{name: "ok-aud-array", expect: "ok", clause: "RX-53", note: "aud is an array that contains us", token: change(`"aud":"`+audience+`"`, `"aud":["https://other.example","`+audience+`"]`)},
		{name: "ok-unknown-claims", expect: "ok", clause: "RX-60, SSF 1.0 §4.2.3", note: "claims nobody knows, with numbers no double holds", token: change(`"jti"`, `"x1":1e400,"x2":12345678901234567890,"x3":[null,{}],"jti"`)},
		{name: "ok-folded-names", expect: "ok", clause: "RX-60", note: "ISS, EXP and SUB are unknown claims, iss stands", token: change(`"jti"`, `"ISS":"https://evil.example","i\u017fs":"https://evil.example","EXP":1,"SUB":"x","jti"`)},
		{name: "ok-iat-fraction", expect: "ok", clause: "RFC 7519 §2", note: "iat with a fraction", token: change(`1789462800`, `1789462800.5`)},
		{name: "ok-iat-exponent", expect: "ok", clause: "RFC 7519 §2", note: "iat with an exponent", token: change(`1789462800`, `1.7894628e9`)},
		{name: "ok-old", expect: "ok", clause: "RX-57", note: "iat of 1998: no lower bound", token: change(`1789462800`, `900000000`)},
		{name: "ok-skew", expect: "ok", clause: "RX-57", note: "iat five minutes ahead", token: change(`1789462800`, `1789463200`)},
		{name: "ok-header-keys-ignored", expect: "ok", clause: "RX-50", note: "jwk, jku, x5u and x5c of a stranger in the header are ignored", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","jku":"https://evil.example/jwks","x5u":"https://evil.example/x","x5c":["MIIB"],"jwk":` + string(strangerJWK) + `}`)},
		{name: "ok-two-events", expect: "ok", clause: "RFC 8417 §2.2", note: "two events: the event rules decide", token: change(`"events":{`, `"events":{"https://example.org/e2":{},`)},

		{name: "alg-none", expect: "ErrAlgorithm", clause: "RX-49, RFC 8725 §3.2", note: "alg none, no signature", token: b64(header("none", "r1")) + "." + b64(good) + "."},
		{name: "alg-none-signed", expect: "ErrAlgorithm", clause: "RX-49", note: "alg none above a true signature", token: withHeader(header("none", "r1"))},
		{name: "alg-none-case", expect: "ErrAlgorithm", clause: "RX-49", note: "alg nOnE", token: b64(header("nOnE", "r1")) + "." + b64(good) + "."},
		{name: "alg-hs256-pem", expect: "ErrAlgorithm", clause: "RX-49, RFC 8725 §2.1", note: "HMAC with the public RSA key as PEM", token: hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}))},
		{name: "alg-hs256-der", expect: "ErrAlgorithm", clause: "RX-49, RFC 8725 §2.1", note: "HMAC with the public RSA key as DER", token: hs256(publicDER)},
		{name: "alg-rs384", expect: "ErrAlgorithm", clause: "RX-49", note: "RS384 with a key published for RS256", token: rs384(t, rsaKey, b64(header("RS384", "r1"))+"."+b64(good))},
		{name: "alg-not-listed", expect: "ErrAlgorithm", clause: "CAEP interop §2.6", note: "ES256 where RS256 alone is allowed", policy: "rs256-only", token: esGood},
		{name: "alg-lower-case", expect: "ErrAlgorithm", clause: "RFC 7515 §4.1.1", note: "names of algorithms have one case", token: withHeader(header("rs256", "r1"))},
		{name: "alg-empty", expect: "ErrAlgorithm", clause: "RFC 7515 §4.1.1", note: "alg is empty", token: withHeader(header("", "r1"))},
		{name: "alg-absent", expect: "ErrMalformed", clause: "RFC 7515 §4.1.1", note: "no alg", token: withHeader(`{"typ":"secevent+jwt","kid":"r1"}`)},
		{name: "alg-number", expect: "ErrMalformed", clause: "RFC 7515 §4.1.1", note: "alg is a number", token: withHeader(`{"alg":256,"typ":"secevent+jwt","kid":"r1"}`)},

		{name: "typ-absent", expect: "ErrType", clause: "SSF 1.0 §4.1.1", note: "no typ", token: withHeader(`{"alg":"RS256","kid":"r1"}`)},
		{name: "typ-jwt", expect: "ErrType", clause: "SSF 1.0 §4.1.1", note: "typ JWT", token: withHeader(`{"alg":"RS256","typ":"JWT","kid":"r1"}`)},
		{name: "typ-logout", expect: "ErrType", clause: "SSF 1.0 §4.1.1", note: "a logout token's typ", token: withHeader(`{"alg":"RS256","typ":"logout+jwt","kid":"r1"}`)},
		{name: "typ-long-s", expect: "ErrType", clause: "RFC 7515 §4.1.9", note: "long s is no s", token: withHeader(`{"alg":"RS256","typ":"\u017fecevent+jwt","kid":"r1"}`)},
		{name: "typ-exact-prefix", expect: "ErrType", clause: "A9", note: "the prefix where the exact typ is asked", policy: "exact-type", token: withHeader(`{"alg":"RS256","typ":"application/secevent+jwt","kid":"r1"}`)},
		{name: "typ-exact-case", expect: "ErrType", clause: "A9", note: "another case where the exact typ is asked", policy: "exact-type", token: withHeader(`{"alg":"RS256","typ":"SECEVENT+JWT","kid":"r1"}`)},

		{name: "header-crit", expect: "ErrMalformed", clause: "RFC 7515 §4.1.11", note: "crit names an extension", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","crit":["exp"],"exp":1}`)},
		{name: "header-crit-empty", expect: "ErrMalformed", clause: "RFC 7515 §4.1.11", note: "crit is empty", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","crit":[]}`)},
		{name: "header-b64-false", expect: "ErrMalformed", clause: "RFC 7797 §7", note: "unencoded payload", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","b64":false,"crit":["b64"]}`)},
		{name: "header-b64-alone", expect: "ErrMalformed", clause: "RFC 7797 §6", note: "b64 without crit", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","b64":false}`)},
		{name: "header-zip", expect: "ErrMalformed", clause: "RFC 7516 §4.1.3", note: "zip belongs to JWE", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","zip":"DEF"}`)},
		{name: "header-duplicate", expect: "ErrMalformed", clause: "RFC 7515 §4", note: "alg twice", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","alg":"none"}`)},
		{name: "header-array", expect: "ErrMalformed", clause: "RFC 7515 §4", note: "the header is an array", token: withHeader(`["RS256"]`)},
		{name: "header-deep", expect: "ErrMalformed", clause: "A7", note: "a header of 17 levels", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1","x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`)},
		{name: "header-kid-number", expect: "ErrMalformed", clause: "RFC 7515 §4.1.4", note: "kid is a number", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt","kid":1}`)},

		{name: "key-unknown", expect: "ErrKeyUnknown", clause: "RX-50", note: "a kid the issuer does not have", token: withHeader(header("RS256", "r9"))},
		{name: "key-no-kid", expect: "ErrKeyUnknown", clause: "A51", note: "no kid, and the issuer has several keys", token: withHeader(`{"alg":"RS256","typ":"secevent+jwt"}`)},
		{name: "key-kid-oct", expect: "ErrKeyUnknown", clause: "RX-50", note: "the kid of a symmetric key", token: withHeader(header("RS256", "h1"))},
		{name: "key-in-header", expect: "ErrSignature", clause: "RX-50", note: "signed by the key that the header carries", token: compact(t, stranger, `{"alg":"RS256","typ":"secevent+jwt","kid":"r1","jwk":`+string(strangerJWK)+`}`, good)},
		{name: "key-jku", expect: "ErrKeyUnknown", clause: "RX-50", note: "the key is to be had from the header's jku", token: compact(t, stranger, `{"alg":"RS256","typ":"secevent+jwt","kid":"evil1","jku":"https://evil.example/jwks","x5u":"https://evil.example/x"}`, good)},
		{name: "key-enc", expect: "ErrKeyUnfit", clause: "RFC 7517 §4.2", note: "a key published for encryption", token: compact(t, enc, header("RS256", "enc1"), good)},
		{name: "key-weak", expect: "ErrKeyUnfit", clause: "CAEP interop §2.6, A51", note: "RSA of 1024 bits", token: weakInput + "." + base64.RawURLEncoding.EncodeToString(weakSignature)},
		{name: "key-alg-mismatch", expect: "ErrKeyUnfit", clause: "RFC 8725 §3.1", note: "PS256 with a key published for RS256", token: psWith(t, rsaKey, b64(header("PS256", "r1"))+"."+b64(good), 32)},
		{name: "key-type-mismatch", expect: "ErrKeyUnfit", clause: "RFC 8725 §3.1", note: "ES256 with the kid of an RSA key", token: compact(t, es, header("ES256", "r1"), good)},
		{name: "key-retired", expect: "ErrKeyUnfit", clause: "A6", note: "iat is after the key's exp", token: compact(t, retired, header("ES256", "retired1"), good)},
		{name: "key-revoked", expect: "ErrKeyUnfit", clause: "A6", note: "iat is after the revocation", token: compact(t, revoked, header("ES256", "revoked1"), good)},
		{name: "key-compromised", expect: "ErrKeyUnfit", clause: "A6", note: "the key was stolen; iat before the revocation says nothing", token: compact(t, stolen, header("ES256", "stolen1"), good)},

		{name: "signature-of-another", expect: "ErrSignature", clause: "RX-51", note: "signed by a stranger under a known kid", token: compact(t, stranger, rsHeader, good)},
		{name: "signature-payload-changed", expect: "ErrSignature", clause: "RX-51", note: "the payload of another token", token: parts[0] + "." + b64(strings.Replace(good, "v-1", "v-2", 1)) + "." + parts[2]},
		{name: "signature-empty", expect: "ErrSignature", clause: "RX-51", note: "no signature", token: parts[0] + "." + parts[1] + "."},
		{name: "signature-short", expect: "ErrSignature", clause: "RX-51", note: "half a signature", token: parts[0] + "." + parts[1] + "." + parts[2][:172]},
		{name: "signature-ecdsa-der", expect: "ErrSignature", clause: "A51, RFC 7518 §3.4", note: "an ASN.1 signature under ES256", token: esInput + "." + derOf(t, esGood)},
		{name: "signature-ecdsa-zero", expect: "ErrSignature", clause: "RFC 7518 §3.4", note: "R and S are zero", token: esInput + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))},
		{name: "signature-ps256-salt", expect: "ErrSignature", clause: "A51, RFC 7518 §3.5", note: "PS256 with a salt of 20 octets", token: psWith(t, psKey, b64(header("PS256", "p1"))+"."+b64(good), 20)},

		{name: "iss-absent", expect: "ErrIssuer", clause: "RX-52", note: "no iss", token: change(`"iss":"`+issuer+`",`, ``)},
		{name: "iss-other", expect: "ErrIssuer", clause: "SSF 1.0 §4.1.6", note: "another issuer", token: change(issuer, "https://evil.example")},
		{name: "iss-slash", expect: "ErrIssuer", clause: "RX-3", note: "a slash more", token: change(issuer, issuer+"/")},
		{name: "iss-folded", expect: "ErrIssuer", clause: "RX-60", note: "only ISS, which is no iss", token: change(`"iss"`, `"ISS"`)},
		{name: "iss-array", expect: "ErrIssuer", clause: "RX-52", note: "iss is an array", token: change(`"`+issuer+`"`, `["`+issuer+`"]`)},

		{name: "aud-absent", expect: "ErrAudience", clause: "RX-53", note: "no aud", token: change(`"aud":"`+audience+`",`, ``)},
		{name: "aud-other", expect: "ErrAudience", clause: "SSF 1.0 §4.1.8", note: "for somebody else", token: change(audience, "https://hub.example.net/in/2")},
		{name: "aud-empty-array", expect: "ErrAudience", clause: "RX-53", note: "for nobody", token: change(`"aud":"`+audience+`"`, `"aud":[]`)},
		{name: "aud-mixed-array", expect: "ErrAudience", clause: "RFC 7519 §4.1.3", note: "an array that is not all strings", token: change(`"aud":"`+audience+`"`, `"aud":["`+audience+`",5]`)},

		{name: "iat-absent", expect: "ErrClaims", clause: "RX-54", note: "no iat", token: change(`"iat":1789462800,`, ``)},
		{name: "iat-text", expect: "ErrClaims", clause: "RX-54", note: "iat is text", token: change(`1789462800`, `"1789462800"`)},
		{name: "iat-1e400", expect: "ErrClaims", clause: "RX-54", note: "iat is 1e400", token: change(`1789462800`, `1e400`)},
		{name: "iat-20-digits", expect: "ErrClaims", clause: "RX-54", note: "iat has 20 digits", token: change(`1789462800`, `12345678901234567890`)},
		{name: "iat-future", expect: "ErrTime", clause: "RX-57", note: "iat an hour ahead", token: change(`1789462800`, `1789466500`)},
		{name: "iat-milliseconds", expect: "ErrTime", clause: "RX-57", note: "iat in milliseconds", token: change(`1789462800`, `1789462800000`)},
		{name: "nbf-future", expect: "ErrTime", clause: "RFC 7519 §4.1.5", note: "not to be accepted yet", token: change(`"jti"`, `"nbf":1789466500,"jti"`)},
		{name: "jti-absent", expect: "ErrClaims", clause: "RX-54", note: "no jti", token: change(`"jti":"v-1",`, ``)},
		{name: "jti-empty", expect: "ErrClaims", clause: "RX-54", note: "jti is empty", token: change(`"v-1"`, `""`)},
		{name: "jti-number", expect: "ErrClaims", clause: "RX-54", note: "jti is a number", token: change(`"v-1"`, `1`)},
		{name: "exp-present", expect: "ErrClaims", clause: "SSF 1.0 §4.1.7", note: "exp, not past", token: change(`"jti"`, `"exp":1999999999,"jti"`)},
		{name: "exp-null", expect: "ErrClaims", clause: "SSF 1.0 §4.1.7", note: "exp is null, yet present", token: change(`"jti"`, `"exp":null,"jti"`)},
		{name: "sub-present", expect: "ErrClaims", clause: "SSF 1.0 §4.1.2", note: "sub", token: change(`"jti"`, `"sub":"99beb27c","jti"`)},
		{name: "sub-id-absent", expect: "ErrClaims", clause: "SSF 1.0 §3.1, A46", note: "no sub_id", token: change(sub+`,`, ``)},
		{name: "sub-id-null", expect: "ErrClaims", clause: "SSF 1.0 §3.1", note: "sub_id is null", token: change(sub, `"sub_id":null`)},
		{name: "sub-id-text", expect: "ErrClaims", clause: "RFC 9493 §4.1", note: "sub_id is text", token: change(sub, `"sub_id":"mira@harbor-app.example"`)},
		{name: "events-absent", expect: "ErrClaims", clause: "RX-54", note: "no events", token: change(`,`+events, ``)},
		{name: "events-empty", expect: "ErrClaims", clause: "RX-54", note: "no event in events", token: change(events, `"events":{}`)},
		{name: "events-array", expect: "ErrClaims", clause: "RX-54", note: "events is an array", token: change(events, `"events":["`+eventType+`"]`)},
		{name: "events-null", expect: "ErrClaims", clause: "RX-54", note: "events is null", token: change(events, `"events":null`)},
		{name: "event-text", expect: "ErrClaims", clause: "RX-54", note: "an event is text", token: change(`{"event_timestamp":1789462795}`, `"x"`)},
		{name: "txn-number", expect: "ErrClaims", clause: "RFC 8417 §2.2", note: "txn is a number", token: change(`"jti"`, `"txn":5,"jti"`)},
		{name: "toe-text", expect: "ErrClaims", clause: "RFC 8417 §2.2", note: "toe is text", token: change(`"jti"`, `"toe":"now","jti"`)},

		{name: "json-duplicate-top", expect: "ErrMalformed", clause: "RFC 7519 §4", note: "iss twice", token: change(`"jti"`, `"iss":"https://evil.example","jti"`)},
		{name: "json-duplicate-escaped", expect: "ErrMalformed", clause: "RFC 7519 §4", note: "iss twice, once in escapes", token: change(`"jti"`, `"\u0069ss":"https://evil.example","jti"`)},
		{name: "json-duplicate-deep", expect: "ErrMalformed", clause: "RFC 7519 §4", note: "a name twice inside the event", token: change(`{"event_timestamp":1789462795}`, `{"reason_admin":{"en":"a","en":"b"}}`)},
		{name: "json-duplicate-event", expect: "ErrMalformed", clause: "RFC 7519 §4", note: "one event type twice", token: change(`"events":{`, `"events":{"`+eventType+`":{},`)},
		{name: "json-depth", expect: "ErrMalformed", clause: "A7", note: "17 levels", token: change(`"jti"`, `"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,"jti"`)},
		{name: "json-depth-bomb", expect: "ErrMalformed", clause: "A7", note: "5000 levels that never end", token: withPayload(strings.Repeat(`{"a":`, 5000))},
		{name: "json-surrogate", expect: "ErrMalformed", clause: "RFC 8259 §8.2", note: "a lone surrogate", token: change(`v-1`, `v-\ud800`)},
		{name: "json-utf8", expect: "ErrMalformed", clause: "RFC 7519 §7.2", note: "bytes that are no UTF-8", token: change(`v-1`, "v-\xff")},
		{name: "json-nul", expect: "ErrMalformed", clause: "RX-54", note: "a NUL, which databases do not take", token: change(`v-1`, `v-\u0000`)},
		{name: "json-trailing", expect: "ErrMalformed", clause: "RX-47", note: "a second object after the first", token: withPayload(good + `{"iss":"https://evil.example"}`)},
		{name: "json-array", expect: "ErrMalformed", clause: "RX-47", note: "the payload is an array", token: withPayload(`[` + good + `]`)},
		{name: "json-none", expect: "ErrMalformed", clause: "RX-47", note: "the payload is no JSON", token: withPayload(`hello`)},
		{name: "json-empty", expect: "ErrMalformed", clause: "RX-47", note: "the payload is empty", token: withPayload(``)},

		{name: "base64-padding", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "padding after the payload", token: parts[0] + "." + parts[1] + "=." + parts[2]},
		{name: "base64-spare-bits", expect: "ErrMalformed", clause: "RFC 4648 §3.5", note: "another spelling of the same signature", token: spareBits(t, plain)},
		{name: "base64-newline-payload", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "a line break inside the payload", token: parts[0] + "." + parts[1][:20] + "\n" + parts[1][20:] + "." + parts[2]},
		{name: "base64-newline-signature", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "a line break inside the signature", token: parts[0] + "." + parts[1] + "." + parts[2][:20] + "\r\n" + parts[2][20:]},
		{name: "base64-newline-end", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "a line break at the end", token: plain + "\n"},
		{name: "base64-standard-alphabet", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "plus and slash", token: parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 171)},
		{name: "base64-nul", expect: "ErrMalformed", clause: "RFC 7515 §2", note: "a NUL between the parts", token: parts[0] + "\x00." + parts[1] + "." + parts[2]},
		{name: "parts-two", expect: "ErrMalformed", clause: "RX-47", note: "cut before the signature", token: parts[0] + "." + parts[1]},
		{name: "parts-four", expect: "ErrMalformed", clause: "RX-47", note: "a part too many", token: plain + ".AAAA"},
		{name: "parts-five", expect: "ErrMalformed", clause: "RX-47", note: "a JWE has five parts", token: "e30.AAAA.AAAA.AAAA.AAAA"},
		{name: "parts-cut", expect: "ErrMalformed", clause: "RX-47", note: "cut inside the payload", token: parts[0] + "." + parts[1][:41]},
		{name: "parts-none", expect: "ErrMalformed", clause: "RX-47", note: "nothing but dots", token: ".."},
		{name: "parts-json", expect: "ErrMalformed", clause: "RX-47", note: "the JSON serialization", token: `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`},
		{name: "parts-form", expect: "ErrMalformed", clause: "RX-47", note: "a form field around it", token: "logout_token=" + plain},
		{name: "size", expect: "ErrTooLarge", clause: "A42", note: "longer than 256 KiB", pad: "262144", token: plain},
	}

	old, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(vectorDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("jwks.json", jwks)
	names := map[string]bool{}
	for _, v := range vectors {
		if names[v.name] {
			t.Fatalf("%s twice", v.name)
		}
		names[v.name] = true
		var out strings.Builder
		fmt.Fprintf(&out, "expect: %s\nclause: %s\nnote: %s\n", v.expect, v.clause, v.note)
		if v.policy != "" {
			fmt.Fprintf(&out, "policy: %s\n", v.policy)
		}
		if v.pad != "" {
			fmt.Fprintf(&out, "pad: %s\n", v.pad)
		}
		if strings.ContainsAny(v.token, "\x00\r\n\"") {
			v.token = strconv.Quote(v.token)
		}
		fmt.Fprintf(&out, "\n%s\n", v.token)
		write(v.name+".txt", out.String())
	}
}

// psWith signs RSA-PSS with any salt length.
func psWith(t *testing.T, key *rsa.PrivateKey, input string, salt int) string {
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// derOf gives the signature of an ES256 token in its ASN.1 form.
func derOf(t *testing.T, token string) string {
	raw, err := base64.RawURLEncoding.DecodeString(token[strings.LastIndexByte(token, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	out := []byte{0x30, 0}
	for _, half := range [][]byte{raw[:32], raw[32:]} {
		half = bytes.TrimLeft(half, "\x00")
		if half[0] >= 0x80 {
			half = append([]byte{0}, half...)
		}
		out = append(append(out, 0x02, byte(len(half))), half...)
	}
	out[1] = byte(len(out) - 2)
	if back, err := set.FixedSignature(out); err != nil || !slices.Equal(back, raw) {
		t.Fatal(errors.Join(errors.New("not the same signature"), err))
	}
	return base64.RawURLEncoding.EncodeToString(out)
}

// spareBits changes bits of the last character that no octet uses.
func spareBits(t *testing.T, token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	other := token[:len(token)-1] + string(alphabet[last^1])
	lenient := base64.RawURLEncoding
	a, err := lenient.DecodeString(token[strings.LastIndexByte(token, '.')+1:])
	if err != nil {
		t.Fatal(err)
	}
	b, err := lenient.DecodeString(other[strings.LastIndexByte(other, '.')+1:])
	if err != nil || !bytes.Equal(a, b) {
		t.Fatal("not another spelling")
	}
	return other
}
