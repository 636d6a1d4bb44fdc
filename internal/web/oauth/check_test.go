package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/internal/store"
)

// tokens is what makes and ends pre-shared tokens; both stores have it.
type tokens interface {
	PutToken(ctx context.Context, k store.Token) error
	RevokeToken(ctx context.Context, tenant, id string) error
}

// preshare keeps a pre-shared token, as `token create` does.
func (h *house) preshare(token, tenant, client string, life time.Duration, scopes ...string) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(token))
	k := store.Token{ID: hub.NewID(hub.PrefixToken, h.now()), Tenant: tenant, Name: "n", Client: client, Hash: sum[:], Scopes: scopes, Created: hub.At(h.now())}
	if life != 0 {
		k.Expires = hub.At(h.now().Add(life))
	}
	if err := h.store.(tokens).PutToken(h.t.Context(), k); err != nil {
		h.t.Fatal(err)
	}
	return k.ID
}

// may is what a token may do; "-" where it is not valid.
func (h *house) may(tenant, token string) string {
	_, scopes, err := h.Resolve(context.Background(), tenant, token)
	switch {
	case err == nil:
		return strings.Join(scopes, " ")
	case hub.CodeOf(err) == hub.Unauthenticated:
		return "-"
	}
	return err.Error()
}

func TestCheck(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		want := func(what, tenant, token, scopes string) {
			t.Helper()
			if got := h.may(tenant, token); got != scopes {
				t.Errorf("%s: %q, want %q", what, got, scopes)
			}
		}
		access := h.tokenOf("post", postSecret, "scope=ssf.read ssf.manage")
		other := h.tokenOf("post", postSecret)
		const shared, whole, operator, short = "cs_0123456789abcdefghij-shared", "cs_0123456789abcdefghij-whole", "cs_0123456789abcdefghij-operator", "cs_0123456789abcdefghij-short"
		id := h.preshare(shared, DefaultTenant, "rx", 0, "ssf.read")
		h.preshare(whole, DefaultTenant, "rx", 0)
		h.preshare(operator, DefaultTenant, "", 0)
		h.preshare(short, DefaultTenant, "rx", time.Minute)
		want("an access token", DefaultTenant, access, "ssf.read ssf.manage")
		want("at another tenant", "blue", access, "-")
		want("a pre-shared one", DefaultTenant, shared, "ssf.read")
		want("a pre-shared one at another tenant", "blue", shared, "-")
		want("one without scopes", DefaultTenant, whole, "ssf.read ssf.manage")
		want("the operator's", DefaultTenant, operator, "-")
		want("one that will expire", DefaultTenant, short, "ssf.read ssf.manage")
		for _, bad := range []string{"", "x", access + "x", access[:len(access)-1], strings.ToUpper(access), " " + access, access[4:], strings.Repeat("x", 1<<16), "csa_" + shared} {
			want("a bad one", DefaultTenant, bad, "-")
		}
		// What the client may do now bounds its tokens at once.
		h.change("default/post", func(c *hub.Client) { c.Scopes = []string{"ssf.read"} })
		want("narrowed", DefaultTenant, access, "ssf.read")
		h.change("default/post", func(c *hub.Client) { c.Scopes = []string{"ssf.manage.receipts", "resources.write"} })
		want("other scopes", DefaultTenant, access, "")
		h.change("default/post", func(c *hub.Client) { c.Scopes = []string{"ssf.read", "ssf.manage"} })
		req.Covers(t, "IOP-44")
		// Revocation, of one and of all, seen within a second at other nodes and at once here.
		if a := h.do(request{path: "/oauth/revoke", body: form("token="+access, "client_id=post", "client_secret="+postSecret)}); a.status != 200 || a.text != "" {
			t.Errorf("revoke: %d %s", a.status, a.text)
		}
		want("revoked", DefaultTenant, access, "-")
		want("the other one", DefaultTenant, other, "ssf.read ssf.manage")
		if n, err := h.store.RevokeAccess(t.Context(), DefaultTenant, "post"); err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
		if err := h.store.(tokens).RevokeToken(t.Context(), DefaultTenant, id); err != nil {
			t.Error(err)
		}
		h.wait(time.Second)
		want("all revoked", DefaultTenant, other, "-")
		want("a revoked pre-shared one", DefaultTenant, shared, "-")
		h.wait(time.Minute)
		want("a pre-shared one that expired", DefaultTenant, short, "-")
		late := h.tokenOf("post", postSecret)
		h.wait(time.Hour - time.Second)
		want("before its end", DefaultTenant, late, "ssf.read ssf.manage")
		h.wait(time.Second)
		want("at its end", DefaultTenant, late, "-")
		h.change("default/rx", nil)
		want("its client is gone", DefaultTenant, whole, "-")
		req.Covers(t, "IOP-43")
	})
}

func TestRevoke(t *testing.T) {
	h := newHouse(t, nil)
	post := func(token string, pairs ...string) answer {
		return h.do(request{path: "/oauth/revoke", body: form(append(pairs, "token="+token)...)})
	}
	mine := []string{"client_id=post", "client_secret=" + postSecret}
	token := h.tokenOf("post", postSecret)
	const shared = "cs_0123456789abcdefghij-shared"
	h.preshare(shared, DefaultTenant, "post", 0)
	a := h.basic("/oauth/revoke", "rx", rxSecret, "token="+token)
	unknown := h.basic("/oauth/revoke", "rx", rxSecret, "token=csa_"+strings.Repeat("0", 43))
	if a.status != 200 || a.status != unknown.status || a.text != unknown.text || len(a.header) != len(unknown.header) {
		t.Errorf("another's token: %d %s, one that there is not: %d %s", a.status, a.text, unknown.status, unknown.text)
	}
	for name, got := range map[string]answer{"no token": post("", mine...), "a token in the address": h.do(request{path: "/oauth/revoke?token=" + token, body: form(mine...)})} {
		if got.status != 400 || got.body.Error != invalidRequest {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
	for name, got := range map[string]answer{"nobody": post(token), "a wrong secret": post(token, "client_id=post", "client_secret=wrong"),
		"the token itself": h.do(request{path: "/oauth/revoke", body: form("token=" + token), header: http.Header{"Authorization": {"Bearer " + token}}})} {
		if got.status != 401 || got.body.Error != invalidClient {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
	if got := h.do(request{method: "GET", path: "/oauth/revoke"}); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d", got.status)
	}
	if got := h.may(DefaultTenant, token); got == "-" {
		t.Error("somebody else revoked it")
	}
	for _, what := range []string{token, token, "junk", shared, strings.Repeat("x", 20_000)} {
		if got := post(what, append(mine, "token_type_hint=refresh_token")...); got.status != 200 || got.text != "" {
			t.Errorf("%.20s: %d %s", what, got.status, got.text)
		}
	}
	if h.may(DefaultTenant, token) != "-" {
		t.Error("it is not revoked")
	}
	if h.may(DefaultTenant, shared) == "-" {
		t.Error("a pre-shared token is the operator's to revoke")
	}
}

// A busy client costs one read in a second, and a look-up that began before a change is not remembered.
func TestCheckIsCheap(t *testing.T) {
	h := newHouse(t, nil)
	token := h.tokenOf("post", postSecret)
	for range 50 {
		h.may(DefaultTenant, token)
	}
	f := h.store.(*fake)
	if f.reads != 1 {
		t.Errorf("%d reads", f.reads)
	}
	gen := h.known.generation()
	h.Forget()
	h.known.put([32]byte{1}, finding{}, gen, time.Second)
	if _, ok := h.known.get([32]byte{1}); ok {
		t.Error("what was read before a change is remembered after it")
	}
	f.away = hub.Errorf(hub.Unavailable, "no")
	if _, err := h.Check(t.Context(), DefaultTenant, token); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("the store is away: %v", err)
	}
}

func TestMemoIsBounded(t *testing.T) {
	m := newMemo(newClock().now)
	for i := range 3 * maxMemo {
		m.put([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, finding{}, 0, time.Minute)
	}
	if len(m.all) > maxMemo {
		t.Errorf("%d", len(m.all))
	}
}

func TestDocuments(t *testing.T) {
	h := newHouse(t, nil)
	h.outside["blue"] = &External{Spec: &hub.ExternalOAuth{Issuer: outsideIssuer}}
	get := func(path string, into any) *httptest.ResponseRecorder {
		t.Helper()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if into != nil {
			if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil || rec.Code != 200 {
				t.Errorf("%s: %d, %v", path, rec.Code, err)
			}
		}
		return rec
	}
	for tenant, path := range map[string]string{DefaultTenant: "", "blue": "/t/blue"} {
		issuer := tenantIssuer(tenant)
		for _, at := range []string{"/.well-known/oauth-authorization-server" + path, path + "/.well-known/oauth-authorization-server"} {
			var m map[string]any
			rec := get(at, &m)
			if m["issuer"] != issuer || m["token_endpoint"] != issuer+"/oauth/token" || m["revocation_endpoint"] != issuer+"/oauth/revoke" {
				t.Errorf("%s: %v", at, m)
			}
			for name, want := range map[string][]any{
				"grant_types_supported":                            {"client_credentials"},
				"token_endpoint_auth_methods_supported":            {"client_secret_basic", "client_secret_post", "private_key_jwt"},
				"token_endpoint_auth_signing_alg_values_supported": {"RS256", "PS256", "ES256", "EdDSA"},
				"scopes_supported":                                 {"ssf.read", "ssf.manage", "ssf.manage.receipts", "signals.read", "signals.write", "signals.token", "resources.read", "resources.write"},
			} {
				if got, _ := m[name].([]any); !slices.Equal(got, want) {
					t.Errorf("%s: %s: %v", at, name, m[name])
				}
			}
			for name, v := range m {
				if list, ok := v.([]any); ok && len(list) == 0 || v == "" || v == nil {
					t.Errorf("%s is empty", name) // RFC 8414 §3.2
				}
			}
			if rec.Header().Get("Content-Type") != "application/json" || !strings.Contains(rec.Header().Get("Cache-Control"), "max-age=") {
				t.Errorf("header: %v", rec.Header())
			}
		}
		var r struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
			Scopes   []string `json:"scopes_supported"`
			Methods  []string `json:"bearer_methods_supported"`
		}
		get("/.well-known/oauth-protected-resource"+path, &r)
		servers := []string{issuer}
		if tenant == "blue" {
			servers = append(servers, outsideIssuer)
		}
		if r.Resource != issuer || !slices.Equal(r.Servers, servers) || !slices.Equal(r.Scopes, StreamScopes) || !slices.Equal(r.Methods, []string{"header"}) {
			t.Errorf("%s: %+v", tenant, r)
		}
		for _, s := range r.Scopes {
			if !strings.HasPrefix(s, "ssf") {
				t.Errorf("scope %s", s)
			}
		}
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server/t/red", "/.well-known/oauth-authorization-server/blue", "/.well-known/oauth-authorization-server/t/blue/x",
		"/.well-known/oauth-authorization-serverx", "/.well-known/openid-configuration", "/t//oauth/token", "/t/blue", "/oauth", "/t/default/.well-known/oauth-protected-resource"} {
		if rec := get(path, nil); rec.Code != 404 || h.Owns(path) {
			t.Errorf("%s: %d, owned %v", path, rec.Code, h.Owns(path))
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/.well-known/oauth-authorization-server", nil))
	if rec.Code != 405 || rec.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", rec.Code)
	}
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("HEAD", "/.well-known/oauth-authorization-server", nil))
	if rec.Code != 200 || rec.Body.Len() != 0 || rec.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d %q", rec.Code, rec.Body)
	}
	req.Covers(t, "IOP-32", "IOP-34", "IOP-35", "IOP-46", "AZ-26", "AZ-28", "AZ-29")
}
