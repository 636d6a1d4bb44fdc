package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
)

const (
	outsideIssuer       = "https://as.example.test/realms/one"
	introspectionSecret = "the secret that the issuer knows us by"
)

// outsider is an external issuer's server.
type outsider struct {
	mu       sync.Mutex
	metadata object
	openid   object // at the place of OpenID Connect Discovery
	keys     json.RawMessage
	status   int                              // 0: 200
	answer   func(token string) (int, string) // of introspection
	asked    []string                         // tokens
	paths    []string
	hold     chan struct{}
	forms    []string
	accounts []string
}

func (o *outsider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.paths = append(o.paths, r.URL.Path)
	status, answer, hold := o.status, o.answer, o.hold
	o.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server/realms/one":
		if o.metadata == nil {
			w.WriteHeader(404)
			return
		}
		json.NewEncoder(w).Encode(o.metadata)
	case "/realms/one/.well-known/openid-configuration":
		if o.openid == nil {
			w.WriteHeader(404)
			return
		}
		json.NewEncoder(w).Encode(o.openid)
	case "/realms/one/keys":
		w.Write(o.keys)
	case "/realms/one/introspect":
		if hold != nil {
			<-hold
		}
		id, secret, _ := r.BasicAuth()
		o.mu.Lock()
		o.asked = append(o.asked, r.PostFormValue("token"))
		o.forms = append(o.forms, r.PostForm.Encode())
		o.accounts = append(o.accounts, id+":"+secret)
		o.mu.Unlock()
		status, body := answer(r.PostFormValue("token"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write([]byte(body))
	default:
		w.WriteHeader(404)
	}
}

func (o *outsider) times() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// withOutsider gives the default tenant an external issuer.
func withOutsider(t testing.TB, introspection bool) (*house, *outsider) {
	h := newHouse(t, nil)
	return h, h.meet(t, introspection)
}

func (h *house) meet(t testing.TB, introspection bool) *outsider {
	o := &outsider{keys: jwks(t, "as-1", rsaKey()), metadata: object{"issuer": outsideIssuer, "jwks_uri": outsideIssuer + "/keys",
		"introspection_endpoint": outsideIssuer + "/introspect", "token_endpoint": outsideIssuer + "/token"}}
	h.fetched = o
	e := &External{Spec: &hub.ExternalOAuth{Issuer: outsideIssuer}}
	if introspection {
		e.Spec.Introspection = &hub.Introspection{ClientID: "the hub", ClientSecret: &hub.Secret{Stored: "x"}}
		e.Secret = introspectionSecret
	}
	h.outside[DefaultTenant] = e
	return o
}

var accessHeader = object{"alg": "RS256", "kid": "as-1", "typ": "at+jwt"}

func (h *house) accessClaims() object {
	now := h.now().Unix()
	return object{"iss": outsideIssuer, "sub": "rx", "client_id": "rx", "aud": hubIssuer, "scope": "ssf.read ssf.manage ssf.manage.receipts",
		"iat": now, "nbf": now, "exp": now + 3600, "jti": "at-1"}
}

func TestExternalJWT(t *testing.T) {
	h, _ := withOutsider(t, false)
	now := h.now().Unix()
	good := h.accessClaims()
	for _, tc := range []struct {
		name   string
		header object
		claims object
		key    any
		scopes string // empty: not valid
		covers []string
	}{
		{"as it should be", accessHeader, good, rsaKey(), "ssf.read ssf.manage", []string{"AZ-5", "AZ-11", "IOP-43"}},
		{"the long typ", accessHeader.with("typ", "application/at+jwt"), good, rsaKey(), "ssf.read ssf.manage", []string{"AZ-5"}},
		{"typ in other case", accessHeader.with("typ", "AT+JWT"), good, rsaKey(), "ssf.read ssf.manage", nil},
		{"typ JWT", accessHeader.with("typ", "JWT"), good, rsaKey(), "", []string{"AZ-5"}},
		{"no typ", accessHeader.with("typ", nil), good, rsaKey(), "", []string{"AZ-5"}},
		{"a SET's typ", accessHeader.with("typ", "secevent+jwt"), good, rsaKey(), "", []string{"AZ-5"}},
		{"an assertion's typ", accessHeader.with("typ", "client-authentication+jwt"), good, rsaKey(), "", nil},
		{"another issuer", accessHeader, good.with("iss", "https://as.example.test/realms/two"), rsaKey(), "", []string{"AZ-6"}},
		{"the issuer with a slash", accessHeader, good.with("iss", outsideIssuer+"/"), rsaKey(), "", []string{"AZ-6"}},
		{"no issuer", accessHeader, good.with("iss", nil), rsaKey(), "", []string{"AZ-6"}},
		{"several audiences", accessHeader, good.with("aud", []string{"https://other.example.test", hubIssuer}), rsaKey(), "ssf.read ssf.manage", []string{"AZ-7"}},
		{"another audience", accessHeader, good.with("aud", "https://other.example.test"), rsaKey(), "", []string{"AZ-7"}},
		{"another tenant", accessHeader, good.with("aud", hubIssuer+"/t/blue"), rsaKey(), "", []string{"AZ-7"}},
		{"no audience", accessHeader, good.with("aud", nil), rsaKey(), "", []string{"AZ-7"}},
		{"a stranger's signature", accessHeader, good, otherKey(), "", []string{"AZ-8"}},
		{"none", accessHeader.with("alg", "none"), good, nil, "", []string{"AZ-8"}},
		{"HMAC with the public key", accessHeader.with("alg", "HS256"), good, []byte(jwks(t, "as-1", rsaKey())), "", []string{"AZ-8"}},
		{"another kid", accessHeader.with("kid", "as-2"), good, rsaKey(), "", nil},
		{"expired", accessHeader, good.with("exp", now-61).with("iat", now-3600), rsaKey(), "", []string{"AZ-9"}},
		{"expired within what clocks differ", accessHeader, good.with("exp", now-30).with("iat", now-3600), rsaKey(), "ssf.read ssf.manage", []string{"AZ-9"}},
		{"not yet valid", accessHeader, good.with("nbf", now+120), rsaKey(), "", nil},
		{"issued in the future", accessHeader, good.with("iat", now+120), rsaKey(), "", nil},
		{"good for two days", accessHeader, good.with("exp", now+2*86400), rsaKey(), "", []string{"AZ-12"}},
		{"no exp", accessHeader, good.with("exp", nil), rsaKey(), "", []string{"AZ-10"}},
		{"no sub", accessHeader, good.with("sub", nil), rsaKey(), "", []string{"AZ-10"}},
		{"no client_id", accessHeader, good.with("client_id", nil), rsaKey(), "", []string{"AZ-10", "AZ-11"}},
		{"no iat", accessHeader, good.with("iat", nil), rsaKey(), "", []string{"AZ-10"}},
		{"no jti", accessHeader, good.with("jti", nil), rsaKey(), "", []string{"AZ-10"}},
		{"no scope", accessHeader, good.with("scope", nil), rsaKey(), "-", nil},
		{"scope is a list", accessHeader, good.with("scope", []string{"ssf.read"}), rsaKey(), "", nil},
		{"a client that there is not", accessHeader, good.with("client_id", "nobody"), rsaKey(), "", []string{"AZ-12"}},
		{"a person's token", accessHeader, good.with("sub", "u-17"), rsaKey(), "ssf.read ssf.manage", nil},
		{"bound to a key", accessHeader, good.with("cnf", object{"jkt": "x"}), rsaKey(), "", nil},
		{"crit", accessHeader.with("crit", []string{"exp"}), good, rsaKey(), "", nil},
	} {
		g, err := h.Check(t.Context(), DefaultTenant, sign(t, tc.header, tc.claims, tc.key))
		if tc.scopes == "" {
			if hub.CodeOf(err) != hub.Unauthenticated {
				t.Errorf("%s: %v, %v", tc.name, g, err)
			}
		} else if err != nil || g.Client.Name != "rx" || strings.Join(g.Scopes, " ") != strings.Trim(tc.scopes, "-") {
			t.Errorf("%s: %+v, %v", tc.name, g, err)
		}
		if len(tc.covers) > 0 {
			req.Covers(t, tc.covers...)
		}
	}
	// The same token at a tenant that has no such issuer.
	if _, err := h.Check(t.Context(), "blue", sign(t, accessHeader, good.with("aud", hubIssuer+"/t/blue"), rsaKey())); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("another tenant takes it: %v", err)
	}
	// What the issuer says of a client counts no more than what we say of it now.
	token := sign(t, accessHeader, good, rsaKey())
	h.change("default/rx", func(c *hub.Client) { c.Scopes = []string{"ssf.read"} })
	if _, scopes, err := h.Resolve(t.Context(), DefaultTenant, token); err != nil || !slices.Equal(scopes, []string{"ssf.read"}) {
		t.Errorf("narrowed: %v %v", scopes, err)
	}
	h.change("default/rx", nil)
	if _, _, err := h.Resolve(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("its client is gone: %v", err)
	}
}

// A configured audience takes the place of the tenant's issuer.
func TestExternalAudience(t *testing.T) {
	h, _ := withOutsider(t, false)
	h.outside[DefaultTenant].Spec.Audience = "api://signals"
	for aud, ok := range map[string]bool{"api://signals": true, hubIssuer: false} {
		_, err := h.Check(t.Context(), DefaultTenant, sign(t, accessHeader, h.accessClaims().with("aud", aud), rsaKey()))
		if (err == nil) != ok {
			t.Errorf("%s: %v", aud, err)
		}
	}
}

// A real SET of a transmitter that signs with the very same key is no access token, and none is shown to the issuer.
func TestSETIsNoAccessToken(t *testing.T) {
	h, o := withOutsider(t, true)
	o.answer = func(string) (int, string) { return 200, `{"active":true,"client_id":"rx"}` }
	signer, err := set.NewSigner(set.RS256, "as-1", rsaKey())
	if err != nil {
		t.Fatal(err)
	}
	c := set.Claims{Issuer: outsideIssuer, Audience: []string{hubIssuer}, IssuedAt: h.now().Unix(), ID: "s-1", SubID: json.RawMessage(`{"format":"opaque","id":"x"}`),
		Events: []set.Event{{Type: "https://schemas.openid.net/secevent/caep/event-type/session-revoked"}}, Extra: []set.Member{{Name: "client_id", Value: json.RawMessage(`"rx"`)}, {Name: "scope", Value: json.RawMessage(`"ssf.manage"`)}}}
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Check(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("by introspection: %v", err)
	}
	if o.times() != 0 {
		t.Error("the issuer was shown a SET")
	}
	h.outside[DefaultTenant] = &External{Spec: &hub.ExternalOAuth{Issuer: outsideIssuer}}
	if _, err := h.Check(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("as JWT: %v", err)
	}
	// Nor the other way.
	at := sign(t, accessHeader, h.accessClaims(), rsaKey())
	if _, err := set.Verify(t.Context(), at, &set.Policy{Issuer: outsideIssuer, Audience: []string{hubIssuer}, Keys: set.StaticKeys{signer.Public()}, AllowSubExp: true, AllowNoSubject: true, Now: h.now}); err == nil {
		t.Error("an access token passes as a SET")
	}
	req.Covers(t, "AZ-5")
}

// An issuer that cannot be reached says nothing about a token.
func TestExternalAway(t *testing.T) {
	for _, introspection := range []bool{false, true} {
		h, o := withOutsider(t, introspection)
		o.answer = func(string) (int, string) { return 401, `{"error":"invalid_client"}` }
		token := sign(t, accessHeader, h.accessClaims(), rsaKey())
		for name, set := range map[string]func(){
			"500":                 func() { o.status = 500 },
			"a redirect":          func() { o.status = 302 },
			"nobody":              func() { h.fetched = nil },
			"no metadata":         func() { o.status, o.metadata, h.fetched = 0, nil, o },
			"another's metadata":  func() { o.metadata = object{"issuer": "https://evil.test", "jwks_uri": outsideIssuer + "/keys"} },
			"metadata of nothing": func() { o.metadata = object{"issuer": outsideIssuer} },
		} {
			set()
			h.wait(2 * time.Minute)
			if _, err := h.Check(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unavailable {
				t.Errorf("introspection %v, %s: %v", introspection, name, err)
			}
			o.status, h.fetched, o.metadata = 0, o, nil
		}
	}
	req.Covers(t, "AZ-27")
}

func TestDiscovery(t *testing.T) {
	h, o := withOutsider(t, false)
	token := sign(t, accessHeader, h.accessClaims(), rsaKey())
	for range 3 {
		if _, err := h.Check(t.Context(), DefaultTenant, token); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"/.well-known/oauth-authorization-server/realms/one", "/realms/one/keys"}; !slices.Equal(o.paths, want) { // AZ-26
		t.Errorf("asked %v, want %v", o.paths, want)
	}
	req.Covers(t, "AZ-26", "AZ-28")
	// Where there is none there, OpenID Connect Discovery is asked.
	h, o = withOutsider(t, false)
	o.metadata, o.openid = nil, o.metadata
	if _, err := h.Check(t.Context(), DefaultTenant, sign(t, accessHeader, h.accessClaims(), rsaKey())); err != nil {
		t.Error(err)
	}
	req.Covers(t, "AZ-30")
	// A configured jwks_uri needs no discovery, and a change takes effect at once.
	h.outside[DefaultTenant] = &External{Spec: &hub.ExternalOAuth{Issuer: outsideIssuer, JWKSURI: "https://as.example.test/realms/one/keys"}}
	o.paths, o.openid = nil, nil
	if _, err := h.Check(t.Context(), DefaultTenant, sign(t, accessHeader, h.accessClaims(), rsaKey())); err != nil || len(o.paths) != 1 {
		t.Errorf("%v, asked %v", err, o.paths)
	}
	// A failure is not repeated for each request.
	h, o = withOutsider(t, false)
	o.status = 500
	for range 5 {
		h.Check(t.Context(), DefaultTenant, sign(t, accessHeader, h.accessClaims(), rsaKey()))
	}
	if len(o.paths) != 1 {
		t.Errorf("asked %v", o.paths)
	}
	// Old metadata serves while the issuer is away.
	h, o = withOutsider(t, false)
	if _, err := h.Check(t.Context(), DefaultTenant, token); err != nil {
		t.Fatal(err)
	}
	o.status = 500
	h.wait(2 * time.Hour)
	if _, err := h.Check(t.Context(), DefaultTenant, sign(t, accessHeader, h.accessClaims(), rsaKey())); err != nil {
		t.Errorf("with old metadata: %v", err)
	}
}

const opaque = "an-opaque-token-of-the-issuer.0123456789"

func TestIntrospection(t *testing.T) {
	h, o := withOutsider(t, true)
	now := h.now().Unix()
	good := object{"active": true, "client_id": "rx", "scope": "ssf.read ssf.manage.receipts", "token_type": "Bearer", "aud": hubIssuer, "exp": now + 3600, "iss": outsideIssuer}
	for _, tc := range []struct {
		name   string
		answer object
		raw    string
		code   hub.Code // empty: valid
		covers []string
	}{
		{name: "as it should be", answer: good, covers: []string{"AZ-13", "AZ-14"}},
		{name: "several audiences", answer: good.with("aud", []string{"x", hubIssuer})},
		{name: "no exp", answer: good.with("exp", nil)},
		{name: "no iss", answer: good.with("iss", nil)},
		{name: "no token_type", answer: good.with("token_type", nil)},
		{name: "unknown members", answer: good.with("realm_access", object{"roles": []string{"a"}})},
		{name: "not active", answer: object{"active": false}, code: hub.Unauthenticated, covers: []string{"AZ-14"}},
		{name: "not active, with all the rest", answer: good.with("active", false), code: hub.Unauthenticated, covers: []string{"AZ-14"}},
		{name: "active is missing", answer: good.with("active", nil), code: hub.Unauthenticated, covers: []string{"AZ-14"}},
		{name: "active is text", answer: good.with("active", "true"), code: hub.Unauthenticated, covers: []string{"AZ-14"}},
		{name: "active is 1", answer: good.with("active", 1), code: hub.Unauthenticated},
		{name: "Active", answer: good.with("active", nil).with("Active", true), code: hub.Unauthenticated},
		{name: "expired", answer: good.with("exp", now-61), code: hub.Unauthenticated, covers: []string{"AZ-15"}},
		{name: "not yet valid", answer: good.with("nbf", now+120), code: hub.Unauthenticated, covers: []string{"AZ-15"}},
		{name: "another audience", answer: good.with("aud", "https://other.example.test"), code: hub.Unauthenticated, covers: []string{"AZ-15"}},
		{name: "no audience", answer: good.with("aud", nil), code: hub.Unauthenticated, covers: []string{"AZ-15"}},
		{name: "another issuer", answer: good.with("iss", "https://evil.test"), code: hub.Unauthenticated, covers: []string{"AZ-15"}},
		{name: "no client_id", answer: good.with("client_id", nil), code: hub.Unauthenticated},
		{name: "a client that there is not", answer: good.with("client_id", "nobody"), code: hub.Unauthenticated},
		{name: "a DPoP token", answer: good.with("token_type", "DPoP"), code: hub.Unauthenticated},
		{name: "bound to a key", answer: good.with("cnf", object{"x5t#S256": "x"}), code: hub.Unauthenticated},
		{name: "exp is text", answer: good.with("exp", "never"), code: hub.Unauthenticated},
		{name: "no JSON", raw: "yes", code: hub.Unavailable},
		{name: "active twice", raw: `{"active":false,"active":true}`, code: hub.Unavailable},
		{name: "a list", raw: `[true]`, code: hub.Unavailable},
		{name: "deep", raw: strings.Repeat("[", 100) + strings.Repeat("]", 100), code: hub.Unavailable},
		{name: "huge", raw: `{"active":true,"x":"` + strings.Repeat("a", maxAnswer) + `"}`, code: hub.Unavailable},
	} {
		body := tc.raw
		if body == "" {
			b, _ := json.Marshal(tc.answer)
			body = string(b)
		}
		o.answer = func(string) (int, string) { return 200, body }
		g, err := h.Check(t.Context(), DefaultTenant, opaque+strings.ReplaceAll(tc.name, " ", "-"))
		if tc.code == "" {
			if err != nil || g.Client.Name != "rx" || !slices.Equal(g.Scopes, []string{"ssf.read"}) {
				t.Errorf("%s: %+v, %v", tc.name, g, err)
			}
		} else if hub.CodeOf(err) != tc.code {
			t.Errorf("%s: %v, %v", tc.name, g, err)
		}
		if len(tc.covers) > 0 {
			req.Covers(t, tc.covers...)
		}
	}
	if o.accounts[0] != "the+hub:"+strings.ReplaceAll(introspectionSecret, " ", "+") { // RFC 6749 §2.3.1: form-encoded first
		t.Errorf("shown as %q", o.accounts[0])
	}
	if !strings.Contains(o.forms[0], "token=an-opaque") || !strings.Contains(o.forms[0], "token_type_hint=access_token") {
		t.Errorf("asked %q", o.forms[0])
	}
	// Our own tokens, and what is no token at all, are not shown to it.
	n := o.times()
	for _, token := range []string{"csa_" + strings.Repeat("x", 43), "cs_" + strings.Repeat("x", 43), "with a space in the middle", "short", strings.Repeat("x", maxJWT+1), "émile-is-not-ascii-at-all"} {
		if _, err := h.Check(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unauthenticated {
			t.Errorf("%.30q: %v", token, err)
		}
	}
	if o.times() != n {
		t.Error("the issuer was shown what is not its own")
	}
}

func TestIntrospectionCache(t *testing.T) {
	h, o := withOutsider(t, true)
	exp := h.now().Unix() + 3600
	active := true
	o.answer = func(string) (int, string) {
		return 200, fmt.Sprintf(`{"active":%v,"client_id":"rx","aud":%q,"exp":%d,"scope":"ssf.read"}`, active, hubIssuer, exp)
	}
	ask := func() error { _, err := h.Check(context.Background(), DefaultTenant, opaque); return err }
	for range 5 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if o.times() != 1 {
		t.Errorf("asked %d times", o.times())
	}
	active = false
	h.wait(59 * time.Second)
	if err := ask(); err != nil || o.times() != 1 {
		t.Errorf("%v, asked %d times", err, o.times())
	}
	h.wait(2 * time.Second)
	for range 3 {
		if err := ask(); hub.CodeOf(err) != hub.Unauthenticated { // revocation is seen within a minute
			t.Errorf("revoked: %v", err)
		}
	}
	if o.times() != 2 {
		t.Errorf("asked %d times", o.times())
	}
	active = true
	h.wait(11 * time.Second)
	if err := ask(); err != nil {
		t.Error(err)
	}
	// Never beyond exp.
	exp = h.now().Unix() + 5
	h.wait(61 * time.Second)
	exp = h.now().Unix() + 5
	if err := ask(); err != nil {
		t.Error(err)
	}
	n := o.times()
	active = false
	h.wait(6 * time.Second)
	if err := ask(); hub.CodeOf(err) != hub.Unauthenticated || o.times() != n+1 {
		t.Errorf("beyond exp: %v, asked %d times more", err, o.times()-n)
	}
	req.Covers(t, "AZ-16", "AZ-12")
}

// Many who ask about one token at one time share one call, and different tokens have their bound.
func TestIntrospectionTogether(t *testing.T) {
	h, o := withOutsider(t, true)
	o.hold = make(chan struct{})
	o.answer = func(string) (int, string) {
		return 200, fmt.Sprintf(`{"active":true,"client_id":"rx","aud":%q}`, hubIssuer)
	}
	var end sync.WaitGroup
	var good atomic.Int32
	for range 20 {
		end.Go(func() {
			if _, err := h.Check(context.Background(), DefaultTenant, opaque); err == nil {
				good.Add(1)
			}
		})
	}
	// One who does not wait is told that it is not known, not that the token is bad.
	gone, stop := context.WithCancel(context.Background())
	stop()
	for h.called() == 0 || o.pathCount("/realms/one/introspect") == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.Check(gone, DefaultTenant, opaque); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("one who left: %v", err)
	}
	close(o.hold)
	end.Wait()
	if good.Load() != 20 || o.times() != 1 {
		t.Errorf("%d are told, after %d calls", good.Load(), o.times())
	}
}

func (o *outsider) pathCount(path string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.paths {
		if p == path {
			n++
		}
	}
	return n
}

// The first caller's leaving ends nobody else's question.
func TestIntrospectionOutlivesItsCaller(t *testing.T) {
	h, o := withOutsider(t, true)
	o.answer = func(string) (int, string) {
		return 200, fmt.Sprintf(`{"active":true,"client_id":"rx","aud":%q}`, hubIssuer)
	}
	gone, stop := context.WithCancel(context.Background())
	stop()
	if _, err := h.Check(gone, DefaultTenant, opaque); err != nil {
		t.Errorf("%v", err)
	}
}
