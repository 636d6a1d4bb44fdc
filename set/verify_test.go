package set_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/set"
	"countersign/subject"
)

func TestVerify(t *testing.T) {
	for _, alg := range set.Algorithms() {
		t.Run(string(alg), func(t *testing.T) {
			s := signerFor(t, alg)
			want := claims()
			compact, err := s.Sign(marshal(t, want))
			if err != nil {
				t.Fatal(err)
			}
			token, err := set.Verify(t.Context(), compact, policy(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*want, token.Claims()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(set.Header{Algorithm: string(alg), Type: "secevent+jwt", KeyID: string(alg)}, token.Header()); diff != "" {
				t.Error(diff)
			}
			if token.Compact() != compact || string(token.Payload()) != string(marshal(t, want)) {
				t.Error("the token is not what was sent")
			}
			if token.KeyThumbprint() != s.Public().Thumbprint() || token.Key().ID != string(alg) {
				t.Error("not the key that signed")
			}
			if got, want := token.Address(), set.Address(compact[:strings.LastIndexByte(compact, '.')]); got != want {
				t.Errorf("address %s, want %s", got, want)
			}
		})
	}
	req.Covers(t, "RX-51", "A40", "A51")
}

// TestPolicy changes one thing of a policy or of a token that fit each other.
func TestPolicy(t *testing.T) {
	sign := func(alg set.Algorithm, edit func(*set.Claims)) string {
		c := claims()
		if edit != nil {
			edit(c)
		}
		compact, err := signerFor(t, alg).Sign(marshal(t, c))
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	noKid := func(alg set.Algorithm) string {
		return compact(t, signerFor(t, alg), `{"alg":"`+string(alg)+`","typ":"secevent+jwt"}`, string(marshal(t, claims())))
	}
	withMember := func(member string, replace ...string) string {
		payload := strings.Replace(string(marshal(t, claims())), `{`, `{`+member+`,`, 1)
		payload = strings.NewReplacer(replace...).Replace(payload)
		return compact(t, signerFor(t, set.ES256), `{"alg":"ES256","typ":"secevent+jwt","kid":"ES256"}`, payload)
	}
	es := sign(set.ES256, nil)
	noSubject := sign(set.ES256, func(c *set.Claims) { c.SubID = nil })
	ahead := sign(set.ES256, func(c *set.Claims) { c.IssuedAt = clock + 120 })
	tests := []struct {
		name   string
		token  string
		edit   func(*set.Policy)
		expect string
	}{
		{"as it is", es, func(*set.Policy) {}, "ok"},
		{"zero policy", es, func(p *set.Policy) { *p = set.Policy{} }, "ErrAlgorithm"},
		{"zero policy and RS256", sign(set.RS256, nil), func(p *set.Policy) { *p = set.Policy{} }, "ErrIssuer"},
		{"no algorithms means RS256", sign(set.RS256, nil), func(p *set.Policy) { p.Algorithms = nil }, "ok"},
		{"no algorithms means RS256 alone", es, func(p *set.Policy) { p.Algorithms = nil }, "ErrAlgorithm"},
		{"algorithm by its newer name", sign(set.EdDSA, nil), func(p *set.Policy) { p.Algorithms = []set.Algorithm{"Ed25519"} }, "ok"},
		{"a listed none stays refused", b64(`{"alg":"none","typ":"secevent+jwt"}`) + "." + b64(string(marshal(t, claims()))) + ".",
			func(p *set.Policy) { p.Algorithms = []set.Algorithm{"none"} }, "ErrAlgorithm"},
		{"no issuer asked, none named", withMember(`"x":1`, issuer, ""), func(p *set.Policy) { p.Issuer = "" }, "ErrIssuer"},
		{"iat of 19 digits", withMember(`"x":1`, "1789462800", "1789462800000000000"), func(*set.Policy) {}, "ErrClaims"},
		{"iat of 16 digits and a fraction", withMember(`"x":1`, "1789462800", "1789462800000000.5"), func(*set.Policy) {}, "ErrClaims"},
		{"an octet after R and S", es + "AA", func(*set.Policy) {}, "ErrSignature"},
		{"no keys", es, func(p *set.Policy) { p.Keys = nil }, "ErrKeyUnknown"},
		{"keys unavailable", es, func(p *set.Policy) { p.Keys = failingKeys{set.ErrKeysUnavailable} }, "ErrKeysUnavailable"},
		{"a key set that fails otherwise", es, func(p *set.Policy) { p.Keys = failingKeys{errors.New("disk")} }, "ErrKeysUnavailable"},
		{"no kid, one key", noKid(set.ES256), func(p *set.Policy) { p.Keys = set.StaticKeys{signerFor(t, set.ES256).Public()} }, "ok"},
		{"no kid, one signing key beside one for encryption", noKid(set.ES256), func(p *set.Policy) {
			enc := signerFor(t, set.RS256).Public()
			enc.Use = "enc"
			p.Keys = set.StaticKeys{enc, signerFor(t, set.ES256).Public()}
		}, "ok"},
		{"no kid, several keys", noKid(set.ES256), func(*set.Policy) {}, "ErrKeyUnknown"},
		{"no kid, two keys", noKid(set.ES256), func(p *set.Policy) {
			p.Keys = set.StaticKeys{signerFor(t, set.ES256).Public(), signerFor(t, set.RS256).Public()}
		}, "ErrKeyUnknown"},
		{"no list of algorithms, RS256", sign(set.RS256, nil), func(p *set.Policy) { p.Algorithms = nil }, "ok"},
		{"no list of algorithms, PS256", sign(set.PS256, nil), func(p *set.Policy) { p.Algorithms = nil }, "ErrAlgorithm"},
		{"no list of algorithms, ES256", es, func(p *set.Policy) { p.Algorithms = nil }, "ErrAlgorithm"},
		{"no list of algorithms, EdDSA", sign(set.EdDSA, nil), func(p *set.Policy) { p.Algorithms = nil }, "ErrAlgorithm"},
		{"no kid, none allowed", noKid(set.ES256), func(p *set.Policy) {
			p.Keys, p.RequireKeyID = set.StaticKeys{signerFor(t, set.ES256).Public()}, true
		}, "ErrKeyUnknown"},
		{"two keys of one kid", es, func(p *set.Policy) {
			other, _ := set.GenerateKey(set.ES256)
			twin := set.Key{ID: "ES256", Public: other.Public()}
			rsa := signerFor(t, set.RS256).Public()
			rsa.ID = "ES256"
			p.Keys = set.StaticKeys{rsa, twin, signerFor(t, set.ES256).Public()}
		}, "ok"},
		{"exact typ", es, func(p *set.Policy) { p.ExactType = true }, "ok"},
		{"no audience asked", es, func(p *set.Policy) { p.Audience = nil }, "ErrAudience"},
		{"audience skipped", es, func(p *set.Policy) { p.Audience, p.SkipAudience = nil, true }, "ok"},
		{"one of two audiences", es, func(p *set.Policy) { p.Audience = []string{"https://other.example", audience} }, "ok"},
		{"subject absent", noSubject, func(*set.Policy) {}, "ErrClaims"},
		{"subject absent and allowed", noSubject, func(p *set.Policy) { p.AllowNoSubject = true }, "ok"},
		{"two minutes ahead", ahead, func(*set.Policy) {}, "ok"},
		{"two minutes ahead, one allowed", ahead, func(p *set.Policy) { p.Skew = time.Minute }, "ErrTime"},
		{"sub allowed", withMember(`"sub":"x"`), func(p *set.Policy) { p.AllowSubExp = true }, "ok"},
		{"exp allowed", withMember(`"exp":1789463000`), func(p *set.Policy) { p.AllowSubExp = true }, "ok"},
		{"exp allowed, but past", withMember(`"exp":1789462000`), func(p *set.Policy) { p.AllowSubExp = true }, "ErrTime"},
		{"exp allowed, but text", withMember(`"exp":"soon"`), func(p *set.Policy) { p.AllowSubExp = true }, "ErrClaims"},
		{"nbf in the past", withMember(`"nbf":5`), func(*set.Policy) {}, "ok"},
		{"nbf is text", withMember(`"nbf":"x"`), func(*set.Policy) {}, "ErrClaims"},
		{"larger limit", withMember(`"x":"` + strings.Repeat("x", 300<<10) + `"`), func(p *set.Policy) { p.MaxBytes = 1 << 20 }, "ok"},
		{"larger than usual", withMember(`"x":"` + strings.Repeat("x", 300<<10) + `"`), func(*set.Policy) {}, "ErrTooLarge"},
		{"smaller limit", es, func(p *set.Policy) { p.MaxBytes = 100 }, "ErrTooLarge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := policy(t)
			tt.edit(p)
			token, err := set.Verify(t.Context(), tt.token, p)
			if got := verdict(t, err); got != tt.expect {
				t.Errorf("got %s (%v), want %s", got, err, tt.expect)
			}
			if (token == nil) != (err != nil) {
				t.Error("token and error, or neither")
			}
		})
	}
	req.Covers(t, "RX-49", "RX-53", "RX-55", "RX-56", "RX-57", "A51", "A9", "A46")
}

// TestOrderOfChecks takes a token wrong in every way and mends one thing after the other.
func TestOrderOfChecks(t *testing.T) {
	good := signerFor(t, set.ES256)
	header := func(typ, alg, kid string) string {
		return `{"alg":"` + alg + `","typ":"` + typ + `","kid":"` + kid + `"}`
	}
	payload := func(iss, aud, iat, rest string) string {
		return `{"iss":"` + iss + `","aud":"` + aud + `","iat":` + iat + `,"jti":"j","events":{"e":{}}` + rest + `}`
	}
	worst := payload("other", "other", "1999999999", `,"exp":1`)
	mended := payload(issuer, "other", "1999999999", `,"exp":1`)
	steps := []struct{ token, expect string }{
		{b64(header("JWT", "none", "x")) + "." + b64(worst) + ".A=", "ErrMalformed"},
		{compact(t, good, header("JWT", "none", "x"), worst), "ErrType"},
		{compact(t, good, header("secevent+jwt", "none", "x"), worst), "ErrAlgorithm"},
		{compact(t, good, header("secevent+jwt", "RS256", "x"), worst), "ErrIssuer"},
		{compact(t, good, header("secevent+jwt", "RS256", "x"), mended), "ErrKeyUnknown"},
		{compact(t, good, header("secevent+jwt", "RS256", "ES256"), mended), "ErrKeyUnfit"},
		{rsaSigned(t, header("secevent+jwt", "ES256", "ES256"), mended), "ErrSignature"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), mended), "ErrAudience"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), payload(issuer, audience, `"x"`, `,"exp":1`)), "ErrClaims"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), payload(issuer, audience, "1999999999", `,"exp":1`)), "ErrTime"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), payload(issuer, audience, "1789462800", `,"exp":1`)), "ErrClaims"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), payload(issuer, audience, "1789462800", ``)), "ErrClaims"},
		{compact(t, good, header("secevent+jwt", "ES256", "ES256"), payload(issuer, audience, "1789462800", `,"sub_id":{}`)), "ok"},
	}
	for i, step := range steps {
		_, err := set.Verify(t.Context(), step.token, policy(t))
		if got := verdict(t, err); got != step.expect {
			t.Errorf("step %d: got %s (%v), want %s", i, got, err, step.expect)
		}
	}
}

func rsaSigned(t *testing.T, header, payload string) string {
	return compact(t, signerFor(t, set.RS256), header, payload)
}

// TestNoKeyForRefusedAlgorithms: an algorithm is refused before anybody asks for a key.
func TestNoKeyForRefusedAlgorithms(t *testing.T) {
	p := policy(t)
	p.Keys = failingKeys{errors.New("asked for a key")}
	for _, alg := range []string{"none", "HS256", "HS512", "RS384", "RS512", "ES384", "PS512", "dir", "ES256K"} {
		token := b64(`{"alg":"`+alg+`","typ":"secevent+jwt","kid":"ES256"}`) + "." + b64(string(marshal(t, claims()))) + ".AAAA"
		if _, err := set.Verify(t.Context(), token, p); !errors.Is(err, set.ErrAlgorithm) {
			t.Errorf("%s: %v", alg, err)
		}
	}
	req.Covers(t, "RX-49")
}

type failingKeys struct{ err error }

func (f failingKeys) Find(context.Context, string) ([]set.Key, error) { return nil, f.err }

func TestParse(t *testing.T) {
	compact, err := signerFor(t, set.EdDSA).Sign([]byte(`{"iss":5,"aud":"a","iat":"x","jti":"j","events":{"e":{"n":1}},"vendor":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	u, err := set.Parse(compact)
	if err != nil {
		t.Fatal(err)
	}
	if verdict(t, u.Fault()) != "ErrClaims" || !strings.Contains(u.Fault().Error(), "iat") {
		t.Errorf("fault %v, want ErrClaims about iat", u.Fault())
	}
	c := u.Claims()
	if c.Issuer != "" || c.ID != "j" || len(c.Events) != 1 || string(c.Member("vendor")) != "[1]" || c.Member("jti") != nil {
		t.Errorf("claims %+v", c)
	}
	if u.Header().KeyID != "EdDSA" || u.Compact() != compact || u.Address() != set.Address(compact[:strings.LastIndexByte(compact, '.')]) || len(u.Payload()) == 0 {
		t.Error("not what was sent")
	}
}

// TestKeycloak reads what Keycloak 26 sends; see testdata/keycloak-26/README.md.
func TestKeycloak(t *testing.T) {
	const dir = "testdata/keycloak-26"
	jwks, err := os.ReadFile(filepath.Join(dir, "jwks.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	type person struct{ email, iss, sub, session, tenant string }
	const iss, alice, session = "http://127.0.0.1:18180/realms/ssfdemo", "3617b1d7-bb04-4893-86ce-6a9147b95550", "tLwSfm76yugCYBAeJTEKtUkP"
	expect := map[string]struct {
		verdict string
		person  *person
	}{
		"01": {"ok", nil}, "02": {"ok", nil},
		"03": {"ok", &person{iss: iss, sub: alice, session: session}},
		"04": {"ok", &person{email: "alice@example.test", session: "ALL"}},
		"05": {"ok", &person{iss: iss, sub: alice}},
		"06": {"ok", &person{email: "alice@example.test"}},
		"07": {"ok", &person{iss: iss, sub: alice, session: session, tenant: "acme"}},
		"08": {"ErrClaims", nil}, "09": {"ok", nil}, "10": {"ErrType", nil},
	}
	files, err := filepath.Glob(filepath.Join(dir, "[0-9]*.json"))
	if err != nil || len(files) != len(expect) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var capture struct {
				Compact string
				Payload struct {
					Iss, Aud, Jti string
					Iat           int64
				}
			}
			if err := json.Unmarshal(text, &capture); err != nil {
				t.Fatal(err)
			}
			key, err := set.SignatureVerifies(capture.Compact, keys)
			if err != nil || key.ID != "6550QdTb6TBP08iMi2ylv5xK1A9cJWC-1k0b-i6Bqe4" {
				t.Errorf("signature: key %q, %v", key.ID, err)
			}
			want := expect[name[:2]]
			token, err := set.Verify(t.Context(), capture.Compact, &set.Policy{
				Issuer: capture.Payload.Iss, Audience: []string{capture.Payload.Aud}, Keys: keys,
				Now: func() time.Time { return time.Unix(capture.Payload.Iat, 0) },
			})
			if got := verdict(t, err); got != want.verdict {
				t.Fatalf("got %s (%v), want %s", got, err, want.verdict)
			}
			if err != nil {
				return
			}
			if token.Claims().ID != capture.Payload.Jti {
				t.Errorf("jti %q", token.Claims().ID)
			}
			id, err := subject.Parse(token.Claims().SubID)
			if err != nil {
				t.Fatal(err)
			}
			if want.person == nil {
				if id.Format() != "opaque" {
					t.Errorf("subject %v", id)
				}
				return
			}
			var got person
			got.email, _ = id.Email()
			got.iss, got.sub, _ = id.IssSub()
			if s, ok := id.Session(); ok {
				got.session = s.Get("id")
			}
			if tenant, ok := id.Part("tenant"); ok {
				got.tenant = tenant.Get("id")
			}
			if diff := cmp.Diff(*want.person, got, cmp.AllowUnexported(person{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	req.Covers(t, "Q-07", "Q-18", "RX-48", "RX-51", "RX-56", "SUB-7")
}

// TestReceiptsVector is the vector of the receipts design, §13. It has no sub_id.
func TestReceiptsVector(t *testing.T) {
	const want = "eyJhbGciOiJFZERTQSIsInR5cCI6InNlY2V2ZW50K2p3dCIsImtpZCI6InQxIn0.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbS9zc2YiLCJhdWQiOiJodHRwczovL2h1Yi5leGFtcGxlLm5ldCIsImlhdCI6MTc4OTQ2MjgwMCwianRpIjoidjEiLCJldmVudHMiOnsiaHR0cHM6Ly9zY2hlbWFzLm9wZW5pZC5uZXQvc2VjZXZlbnQvY2FlcC9ldmVudC10eXBlL3Nlc3Npb24tcmV2b2tlZCI6e319LCJodHRwczovL25zLmNvdW50ZXJzaWduLmV4YW1wbGUvYXIvMS9kaXJlY3RpdmUiOnsib2JsaWdhdGlvbiI6Im11c3QiLCJjb21wbGV0ZV9ieSI6MTc4OTQ2MzEwMH19.1jwRz0xEejnIA-kcisReDat3zv9StNd95hZ5xtU1_BCEIiQsbbG__-gNK1TMjHJWN6WOis0Lws_vtqmV8NdAAg"
	s := rfc8032(t)
	payload := marshal(t, &set.Claims{
		Issuer: "https://idp.example.com/ssf", Audience: []string{"https://hub.example.net"}, IssuedAt: 1789462800, ID: "v1",
		Events: []set.Event{{Type: eventType}},
		Extra:  []set.Member{{Name: "https://ns.countersign.example/ar/1/directive", Value: []byte(`{"obligation":"must","complete_by":1789463100}`)}},
	})
	got, err := s.Sign(payload)
	if err != nil || got != want {
		t.Errorf("signed\n%s\nwant\n%s\n%v", got, want, err)
	}
	token, err := set.Verify(t.Context(), want, &set.Policy{
		Issuer: "https://idp.example.com/ssf", Audience: []string{"https://hub.example.net"}, Algorithms: []set.Algorithm{set.EdDSA},
		Keys: set.StaticKeys{s.Public()}, Now: now, ExactType: true, RequireKeyID: true, AllowNoSubject: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := token.Address(), "sha-256:808CxjwlsCAydsVS7UBTOpvR8juK3PNt0SMckw2IPqA"; got != want {
		t.Errorf("set_hash %s, want %s", got, want)
	}
	req.Covers(t, "AR-§5.4", "AR-§13", "A40")
}
