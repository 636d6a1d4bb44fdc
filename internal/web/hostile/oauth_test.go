package hostile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/set"
)

// Secrets of the clients that get tokens. Wrong credentials are bounded by client, so the cases share several.
const (
	postSecret   = "what-the-post-clients-show-0123456789"
	basicSecret  = "what the basic clients/show: 0123456789"
	oauthClients = 20
)

// The folder oauth has counts of its own, which nothing in the other folders changes.
func init() {
	usual["oauth"] = struct{ request, auth string }{"POST /oauth/token", "none"}
	tables = append(tables, struct{ name, query string }{"access", "oauth_access"}, struct{ name, query string }{"assertions", "oauth_assertion"})
	var parts []string
	for _, tb := range tables {
		parts = append(parts, "(SELECT count(*) FROM "+tb.query+")")
	}
	counting = "SELECT " + strings.Join(parts, ", ")
}

// TestOAuth sends the cases of the folder oauth to a hub on SQLite over HTTP/1.1, and to one on PostgreSQL over HTTP/2.
func TestOAuth(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { oauthDoors(t, "", false) })
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		u, err := url.Parse(address)
		must(t, err)
		q := u.Query()
		q.Set("search_path", schema)
		u.RawQuery = q.Encode()
		oauthDoors(t, u.String(), true)
	})
}

func oauthDoors(t *testing.T, database string, http2 bool) {
	h := build(t, database, http2, func(h *house) (out []any) {
		type m = map[string]any
		out = append(out, m{"kind": "tenant", "name": "blue"},
			m{"kind": "client", "name": "writer", "auth": "client_secret_post", "client_secret": m{"stored": "post"}, "scopes": []string{"signals.read", "signals.write"}})
		keys := json.RawMessage(set.MarshalJWKS([]set.Key{h.keys.byAlg["RS256"].Public()}))
		for i := range oauthClients {
			scopes := []string{"ssf.read", "ssf.manage"}
			out = append(out,
				m{"kind": "client", "name": fmt.Sprintf("post-%d", i), "auth": "client_secret_post", "client_secret": m{"stored": "post"}, "scopes": scopes},
				m{"kind": "client", "name": fmt.Sprintf("basic-%d", i), "auth": "client_secret_basic", "client_secret": m{"stored": "basic"}, "scopes": scopes},
				m{"kind": "client", "name": fmt.Sprintf("signed-%d", i), "auth": "private_key_jwt", "keys": m{"jwks": keys}, "scopes": scopes})
		}
		return out
	})
	for name, value := range map[string]string{"post": postSecret, "basic": basicSecret} {
		body, err := json.Marshal(map[string]string{"value": value})
		must(t, err)
		h.call(t, "PUT", "/api/v1/secrets/"+name, body, nil)
	}
	cases := readCases(t, "oauth", 70)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { h.runOAuth(t, c, i/4) })
		req.Covers(t, ids(c.clause)...)
	}
	for _, c := range cases {
		like := c.steps[len(c.steps)-1].sameAs
		if like != "" && h.bodies[c.name] != h.bodies[like] {
			t.Errorf("%s is answered with %s, %s with %s", c.name, h.bodies[c.name], like, h.bodies[like])
		}
	}
	if h.trapped.Load() != 0 {
		t.Errorf("%d connections came to the listener that tokens point at", h.trapped.Load())
	}
	h.tokens["post"], h.tokens["basic"], h.tokens["any"] = postSecret, basicSecret, "csa_"
	h.silentLog(t)
}

// runOAuth sends a case as the clients of that number.
func (h *house) runOAuth(t *testing.T, c *testCase, number int) {
	sc := h.scope(c)
	post, basic, signed := fmt.Sprintf("post-%d", number), fmt.Sprintf("basic-%d", number), fmt.Sprintf("signed-%d", number)
	maps.Copy(sc, scope{"post": post, "post-secret": postSecret, "post-secret-cut": postSecret[:len(postSecret)-1], "signed": signed, "basic-client": basic,
		"basic-secret": url.QueryEscape(basicSecret), "basic": base64.StdEncoding.EncodeToString([]byte(basic + ":" + url.QueryEscape(basicSecret)))})
	h.assertions(t, sc, signed)
	sc["kept"] = sc["assertion"]
	for i, s := range c.steps {
		before := h.last
		if before == nil {
			before = h.count(t)
		}
		h.assertions(t, sc, signed)
		if !slices.ContainsFunc(s.headers, func(f [2]string) bool { return http.CanonicalHeaderKey(f[0]) == "Content-Type" }) {
			s.headers = append(s.headers, [2]string{"Content-Type", "application/x-www-form-urlencoded"})
		}
		allocated := totalAlloc()
		answers := h.send(t, s, sc, "oauth")
		if used := totalAlloc() - allocated; used > s.memory {
			t.Errorf("step %d: %d bytes were allocated for one request, at most %d may be", i+1, used, s.memory)
		}
		for j, got := range answers {
			h.checkOAuth(t, s, sc, s.expect[j], got)
			var made struct {
				Token string `json:"access_token"`
			}
			if json.Unmarshal(got.body, &made) == nil && made.Token != "" {
				sc["token"] = made.Token
			}
			h.bodies[c.name] = fmt.Sprintf("%d %s", got.status, got.body)
		}
		h.settle(t, before, s.effects, s.times, fmt.Sprintf("%s, step %d", c.name, i+1))
	}
}

// assertions makes one that is right, and what comes near it.
func (h *house) assertions(t *testing.T, sc scope, client string) {
	now := h.now().Unix()
	hub := h.hub.PublicURL()
	claims := func(change func(map[string]any)) string {
		c := map[string]any{"iss": client, "sub": client, "aud": hub, "iat": now, "exp": now + 60, "jti": set.NewID()}
		if change != nil {
			change(c)
		}
		b, err := json.Marshal(c)
		must(t, err)
		return string(b)
	}
	const jose = `{"alg":"RS256","typ":"JWT","kid":"rs1"}`
	for name, token := range map[string]string{
		"assertion":          h.keys.sign(t, "RS256", jose, claims(nil)),
		"assertion-stranger": h.keys.sign(t, "stranger", jose, claims(nil)),
		"assertion-none":     h.keys.sign(t, "none", `{"alg":"none","typ":"JWT"}`, claims(nil)),
		"assertion-hs256":    h.keys.sign(t, "hs256", `{"alg":"HS256","typ":"JWT","kid":"rs1"}`, claims(nil)),
		"assertion-aud":      h.keys.sign(t, "RS256", jose, claims(func(c map[string]any) { c["aud"] = []string{hub, "https://elsewhere.example.test"} })),
		"assertion-forever":  h.keys.sign(t, "RS256", jose, claims(func(c map[string]any) { delete(c, "exp") })),
		"assertion-other":    h.keys.sign(t, "RS256", jose, claims(func(c map[string]any) { c["sub"] = "signed-19" })),
		"assertion-set":      h.keys.sign(t, "RS256", "", claims(nil)),
		"assertion-jku":      h.keys.sign(t, "stranger", `{"alg":"RS256","typ":"JWT","kid":"rs1","jku":"`+sc["trap"]+`/jwks.json"}`, claims(nil)),
	} {
		sc[name] = token
	}
}

// checkOAuth holds one answer to RFC 6749 §5, and at the other doors to what they answer.
func (h *house) checkOAuth(t *testing.T, s *step, sc scope, want answer, got reply) {
	t.Helper()
	if got.closed {
		t.Error("the connection was closed")
		return
	}
	var e struct {
		Error string `json:"error"`
		Err   string `json:"err"`
		Code  string `json:"code"`
		Why   string `json:"error_description"`
	}
	if len(got.body) > 0 && got.status >= 400 {
		if err := json.Unmarshal(got.body, &e); err != nil {
			t.Errorf("the body is no JSON: %s", short(got.body))
		}
	}
	if code := e.Error + e.Err + e.Code; got.status != want.status || code != want.err {
		t.Errorf("answered %d %s, want %d %s: %s", got.status, code, want.status, want.err, short(got.body))
	}
	if e.Error != "" {
		if got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" || e.Why == "" {
			t.Errorf("no error of RFC 6749: %v %s", got.header, got.body)
		}
		if (got.status == 401) != strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("WWW-Authenticate: %q", got.header.Get("WWW-Authenticate"))
		}
	}
	for _, field := range s.has {
		name, value, _ := strings.Cut(sc.expand(t, field), ": ")
		if !slices.Contains(got.header.Values(name), value) {
			t.Errorf("%s is %q, want %q", name, got.header.Values(name), value)
		}
	}
	for _, text := range s.body {
		if text = sc.expand(t, text); !strings.Contains(string(got.body), text) {
			t.Errorf("the body has no %q: %s", text, short(got.body))
		}
	}
	for _, secret := range []string{postSecret, basicSecret} {
		if strings.Contains(string(got.body), secret) {
			t.Errorf("the answer tells a secret: %s", short(got.body))
		}
	}
	h.silent(t, s, sc, "oauth", got)
}
