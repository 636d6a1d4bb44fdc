package oauth

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
)

var assertionHeader = object{"alg": "RS256", "kid": "c-1", "typ": "JWT"}

// assertion is one that is right, for a client of the default tenant; each has a jti of its own.
func (h *house) assertion(client string) object {
	now := h.now().Unix()
	return object{"iss": client, "sub": client, "aud": hubIssuer, "iat": now, "exp": now + 60, "jti": set.NewID()}
}

func (h *house) assert1(token string, more ...string) answer {
	h.t.Helper()
	return h.post(append([]string{grant, "client_assertion_type=" + assertionType, "client_assertion=" + token}, more...)...)
}

func TestAssertion(t *testing.T) {
	h := newHouse(t, nil)
	now := h.now().Unix()
	good := h.assertion("signed")
	set256 := assertionHeader
	hmacKey := []byte(jwks(t, "c-1", rsaKey()))
	for _, tc := range []struct {
		name   string
		header object
		claims object
		key    any
		ok     bool
		covers string
	}{
		{"as it should be", set256, good, rsaKey(), true, "AZ-21"},
		{"without typ", set256.with("typ", nil), good, rsaKey(), true, ""},
		{"with the newer typ", set256.with("typ", "client-authentication+jwt"), good, rsaKey(), true, ""},
		{"without kid", set256.with("kid", nil), good, rsaKey(), true, ""},
		{"PS256", set256.with("alg", "PS256"), good, rsaKey(), true, ""},
		{"the token endpoint as aud", set256, good.with("aud", hubIssuer+"/oauth/token"), rsaKey(), true, "AZ-19"},
		{"aud as a list of one", set256, good.with("aud", []string{hubIssuer}), rsaKey(), true, ""},
		{"aud as a list of ours", set256, good.with("aud", []string{hubIssuer, hubIssuer + "/oauth/token"}), rsaKey(), true, ""},
		{"aud with another beside ours", set256, good.with("aud", []string{hubIssuer, "https://as.evil.test"}), rsaKey(), false, "AZ-19"},
		{"aud of another", set256, good.with("aud", "https://as.evil.test"), rsaKey(), false, ""},
		{"aud of another tenant", set256, good.with("aud", hubIssuer+"/t/blue"), rsaKey(), false, ""},
		{"aud with a slash more", set256, good.with("aud", hubIssuer+"/"), rsaKey(), false, ""},
		{"aud of the revocation endpoint", set256, good.with("aud", hubIssuer+"/oauth/revoke"), rsaKey(), false, ""},
		{"no aud", set256, good.with("aud", nil), rsaKey(), false, ""},
		{"an empty aud", set256, good.with("aud", []string{}), rsaKey(), false, ""},
		{"aud is a number", set256, good.with("aud", 7), rsaKey(), false, ""},
		{"aud is a list of numbers", set256, good.with("aud", []any{hubIssuer, 7}), rsaKey(), false, ""},
		{"no iss", set256, good.with("iss", nil), rsaKey(), false, "AZ-18"},
		{"no sub", set256, good.with("sub", nil), rsaKey(), false, "AZ-18"},
		{"iss is another client", set256, good.with("iss", "post"), rsaKey(), false, "AZ-18"},
		{"iss and sub are another client", set256, good.with("iss", "post").with("sub", "post"), rsaKey(), false, ""},
		{"iss and sub are nobody", set256, good.with("iss", "nobody").with("sub", "nobody"), rsaKey(), false, ""},
		{"no exp", set256, good.with("exp", nil), rsaKey(), false, "AZ-20"},
		{"exp is text", set256, good.with("exp", "soon"), rsaKey(), false, "AZ-20"},
		{"expired", set256, good.with("exp", now-61), rsaKey(), false, "AZ-20"},
		{"expired within what clocks differ", set256, good.with("exp", now-59), rsaKey(), true, ""},
		{"exp in an hour", set256, good.with("exp", now+3600), rsaKey(), true, ""},
		{"exp in two hours", set256, good.with("exp", now+7200), rsaKey(), false, "AZ-20"},
		{"exp of 1e300", set256, good.with("exp", 1e300), rsaKey(), false, ""},
		{"exp with a fraction", set256, good.with("exp", float64(now)+60.5), rsaKey(), true, ""},
		{"no iat", set256, good.with("iat", nil), rsaKey(), true, ""},
		{"iat ahead", set256, good.with("iat", now+120), rsaKey(), false, ""},
		{"nbf ahead", set256, good.with("nbf", now+120), rsaKey(), false, ""},
		{"no jti", set256, good.with("jti", nil), rsaKey(), false, ""},
		{"an empty jti", set256, good.with("jti", ""), rsaKey(), false, ""},
		{"a long jti", set256, good.with("jti", strings.Repeat("j", 257)), rsaKey(), false, ""},
		{"a jti with a line break", set256, good.with("jti", "a\nb"), rsaKey(), false, ""},
		{"a jti that is a number", set256, good.with("jti", 7), rsaKey(), false, ""},
		{"signed by a stranger", set256, good, otherKey(), false, "AZ-21"},
		{"signed by an EC key that is not registered", set256.with("alg", "ES256"), good, ecKey(), false, ""},
		{"none", set256.with("alg", "none"), good, nil, false, "AZ-21"},
		{"HMAC with the public key", set256.with("alg", "HS256"), good, hmacKey, false, "AZ-21"},
		{"HMAC with the client's secret", set256.with("alg", "HS256"), good, []byte(postSecret), false, ""},
		{"another kid", set256.with("kid", "c-2"), good, rsaKey(), false, ""},
		{"a SET's typ", set256.with("typ", "secevent+jwt"), good, rsaKey(), false, ""},
		{"an access token's typ", set256.with("typ", "at+jwt"), good, rsaKey(), false, ""},
		{"crit", set256.with("crit", []string{"exp"}), good, rsaKey(), false, ""},
		{"a key in the header", set256.with("jwk", object{"kty": "RSA"}), good, otherKey(), false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, nil) // a fresh one: failures are bounded
			c := tc.claims
			if _, ok := c["jti"]; ok && c["jti"] == good["jti"] {
				c = c.with("jti", set.NewID())
			}
			a := h.assert1(sign(t, tc.header, c, tc.key))
			if tc.ok && a.status != 200 || !tc.ok && (a.status != 401 || a.body.Error != invalidClient || a.text != h.post(grant, "client_id=nobody", "client_secret=x").text) {
				t.Errorf("%d %s", a.status, a.text)
			}
			if used := len(h.store.(*fake).used); used != 0 && !tc.ok || used != 1 && tc.ok {
				t.Errorf("%d assertions are noted", used)
			}
			if tc.covers != "" {
				req.Covers(t, tc.covers)
			}
		})
	}
}

func TestAssertionForm(t *testing.T) {
	h := newHouse(t, nil)
	jwt := func() string { return sign(t, assertionHeader, h.assertion("signed"), rsaKey()) }
	for _, tc := range []struct {
		name   string
		pairs  []string
		status int
		code   string
	}{
		{"the same client_id", []string{"client_assertion_type=" + assertionType, "client_assertion=" + jwt(), "client_id=signed"}, 200, ""},
		{"another client_id", []string{"client_assertion_type=" + assertionType, "client_assertion=" + jwt(), "client_id=post"}, 400, invalidRequest},
		{"no type", []string{"client_assertion=" + jwt()}, 400, invalidRequest},
		{"another type", []string{"client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "client_assertion=" + jwt()}, 400, invalidRequest},
		{"no assertion", []string{"client_assertion_type=" + assertionType}, 400, invalidRequest},
		{"two tokens", []string{"client_assertion_type=" + assertionType, "client_assertion=" + jwt() + " " + jwt()}, 401, invalidClient},
		{"junk", []string{"client_assertion_type=" + assertionType, "client_assertion=junk"}, 401, invalidClient},
		{"too long", []string{"client_assertion_type=" + assertionType, "client_assertion=" + jwt() + strings.Repeat("A", maxJWT)}, 401, invalidClient},
	} {
		if a := h.post(append(tc.pairs, grant)...); a.status != tc.status || a.body.Error != tc.code {
			t.Errorf("%s: %d %s", tc.name, a.status, a.text)
		}
	}
	req.Covers(t, "AZ-17", "AZ-22")
}

// An assertion is good once: after a restart, at the other endpoint, and when it comes many times at one moment.
func TestAssertionReplay(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		one := sign(t, assertionHeader, h.assertion("signed"), rsaKey())
		if a := h.assert1(one); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.text)
		}
		if a := h.assert1(one); a.status != 401 || a.body.Error != invalidClient {
			t.Errorf("again: %d %s", a.status, a.text)
		}
		h.restart()
		if a := h.assert1(one); a.status != 401 {
			t.Errorf("after a restart: %d %s", a.status, a.text)
		}
		if a := h.do(request{path: "/oauth/revoke", body: form("token=x", "client_assertion_type="+assertionType, "client_assertion="+one)}); a.status != 401 {
			t.Errorf("at the other endpoint: %d %s", a.status, a.text)
		}
		h.wait(110 * time.Second) // within the minute that clocks may differ
		if a := h.assert1(one); a.status != 401 {
			t.Errorf("at its end: %d %s", a.status, a.text)
		}
		jti := set.NewID()
		h.clients["default/second"] = &Client{Spec: &hub.Client{Name: "second", Auth: methodPrivateKey, Scopes: []string{"ssf.read"}, Keys: h.clients["default/signed"].Spec.Keys}}
		for _, client := range []string{"signed", "second"} { // a jti is the client's own
			if a := h.assert1(sign(t, assertionHeader, h.assertion(client).with("jti", jti), rsaKey())); a.status != 200 {
				t.Errorf("%s: %d %s", client, a.status, a.text)
			}
		}
		blue := sign(t, assertionHeader, h.assertion("signed").with("aud", hubIssuer+"/t/blue").with("jti", jti), rsaKey())
		if a := h.do(request{path: "/t/blue/oauth/token", body: form(grant, "client_assertion_type="+assertionType, "client_assertion="+blue)}); a.status != 200 {
			t.Errorf("the other tenant's: %d %s", a.status, a.text)
		}
		many := sign(t, assertionHeader, h.assertion("signed"), rsaKey())
		var good atomic.Int32
		var end sync.WaitGroup
		for range 8 {
			end.Go(func() {
				if h.assert1(many).status == 200 {
					good.Add(1)
				}
			})
		}
		end.Wait()
		if good.Load() != 1 {
			t.Errorf("%d of 8 at one moment were taken", good.Load())
		}
		req.Covers(t, "AZ-20")
	})
}

func TestClientKeysFromAfar(t *testing.T) {
	h := newHouse(t, nil)
	if a := h.assert1(sign(t, assertionHeader, h.assertion("far"), rsaKey())); a.status != 503 || a.body.Error != unavailable {
		t.Errorf("its server is away: %d %s", a.status, a.text)
	}
	if len(h.store.(*fake).used) != 0 {
		t.Error("an assertion that was not judged is used up")
	}
	h.wait(10 * time.Second)
	var path string
	h.fetched = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.String()
		w.Write(jwks(t, "c-1", rsaKey(), ecKey(), edKey()))
	})
	calls := h.called()
	for _, tc := range []struct {
		alg string
		key any
	}{{"RS256", rsaKey()}, {"ES256", ecKey()}, {"EdDSA", edKey()}} {
		if a := h.assert1(sign(t, assertionHeader.with("alg", tc.alg), h.assertion("far"), tc.key)); a.status != 200 {
			t.Errorf("%s: %d %s", tc.alg, a.status, a.text)
		}
	}
	if n := h.called() - calls; n != 1 || path != "https://rx.example.test/jwks.json" {
		t.Errorf("%d calls, the last of %s", n, path)
	}
	if a := h.assert1(sign(t, assertionHeader, h.assertion("far"), otherKey())); a.status != 401 {
		t.Errorf("a stranger: %d %s", a.status, a.text)
	}
	// Another place of the keys takes effect at once.
	h.change("default/far", func(c *hub.Client) { c.Keys = &hub.ClientKeys{JWKSURI: "https://rx.example.test/new.json"} })
	h.assert1(sign(t, assertionHeader, h.assertion("far"), rsaKey()))
	if path != "https://rx.example.test/new.json" {
		t.Errorf("asked %s", path)
	}
	// Nobody makes us call an address by naming a client that has none.
	calls = h.called()
	h.assert1(sign(t, assertionHeader.with("jku", "https://evil.test/jwks"), h.assertion("signed"), otherKey()))
	h.assert1(sign(t, assertionHeader, h.assertion("nobody"), otherKey()))
	if h.called() != calls {
		t.Error("a stranger's assertion made a call")
	}
}

func TestJWTErrors(t *testing.T) {
	if _, err := readJWT("a.b"); !errors.Is(err, errJWT) {
		t.Error(err)
	}
}
