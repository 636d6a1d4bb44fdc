package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
)

// fill gives a path of the table with ids that are there, and a body where one is needed.
func (b *bench) fill(rt route) (path, body string) {
	path = strings.NewReplacer("{name}", "reader").Replace(rt.path)
	switch {
	case strings.HasPrefix(rt.path, "/signals/"):
		path = strings.Replace(path, "{id}", b.signal.ID, 1)
	case strings.HasPrefix(rt.path, "/actions/"):
		path = strings.Replace(path, "{id}", b.action.ID, 1)
	case strings.HasPrefix(rt.path, "/receipts/"):
		path = strings.Replace(path, "{id}", b.receipt.ID, 1)
	case strings.HasPrefix(rt.path, "/streams/"):
		path = strings.Replace(path, "{id}", pushID, 1)
	default:
		path = strings.Replace(path, "{id}", "tok_none", 1)
	}
	path = strings.NewReplacer("{ref}", "ord-10", "{kid}", "k1", "{verb}", "read").Replace(path)
	switch rt.method + " " + rt.path {
	case "GET /tenants/{name}", "DELETE /tenants/{name}":
		path = "/tenants/spare"
	case "POST /streams/{id}/status":
		body = `{"status":"enabled"}`
	case "POST /streams/{id}/explain":
		body = `{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"}}`
	case "POST /streams/{id}/subjects":
		body = `{"add":{"format":"email","email":"bob@example.test"}}`
	case "POST /deliveries/redrive":
		body = `{"all":true}`
	case "GET /accounts/{at}/{id}":
		path = "/accounts/crm/0017"
	case "POST /sources/{name}/subjects":
		body = `{"format":"email","email":"bob@example.test"}`
	case "POST /sources/{name}/authorize":
		body = `{"redirect_uri":"http://127.0.0.1:1/"}`
	case "POST /import/identities":
		body = "name\nimported\n"
	case "POST /import/accounts":
		body = `{"app":"wiki"}`
	case "POST /apply":
		body = `{"resources":[],"dry_run":true}`
	case "POST /signals":
		body = `{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"}}`
	case "PUT /secrets/{name}":
		body = `{"value":"x"}`
	case "POST /tokens":
		body = `{"client":"reader"}`
	}
	return path, body
}

// Every endpoint × no token, a wrong one, an expired one, a revoked one, each client, the operator.
func TestWhoMayDoWhat(t *testing.T) {
	b := newBench(t)
	expired, _, err := Mint(t.Context(), b.store, DefaultTenant, "auditor", "old", nil, start, start)
	if err != nil {
		t.Fatal(err)
	}
	revoked, row, err := Mint(t.Context(), b.store, DefaultTenant, "auditor", "gone", nil, start, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	b.want(200, b.call("DELETE", "/tokens/"+row.ID, b.operator, ""))
	foreign, _, err := Mint(t.Context(), b.store, "other", "", "operator of another tenant", nil, start, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	may := map[string][]string{ // scope of the route: clients whose token opens it
		ScopeSignalsRead: {"reader", "auditor"}, ScopeSignalsWrite: {"writer"}, ScopeSignalsToken: {"auditor"},
		ScopeResourcesRead: {"deployer"}, ScopeResourcesWrite: {"deployer"}, scopeOperator: nil,
		scopeAny: {"writer", "reader", "auditor", "deployer", "receiver"},
	}
	for _, rt := range routes {
		t.Run(rt.method+" "+rt.path, func(t *testing.T) {
			path, body := b.fill(rt)
			if rt.open {
				if w := b.call(rt.method, path, "", body); w.Code != 200 {
					t.Errorf("without a token: %d", w.Code)
				}
				return
			}
			for name, c := range map[string]struct {
				token  string
				status int
				words  string
			}{
				"no token":      {"", 401, "an access token is needed"},
				"wrong token":   {"cs_" + strings.Repeat("A", 43), 401, "the token is not valid"},
				"expired token": {expired, 401, "the token has expired"},
				"revoked token": {revoked, 401, "the token is not valid"},
				"other tenant":  {foreign, 401, "the token is not valid"},
				"short token":   {"x", 401, "the token is not valid"},
			} {
				w := b.call(rt.method, path, c.token, body)
				p := b.refused(c.status, hub.Unauthenticated, c.words, w)
				if w.Header().Get("WWW-Authenticate") == "" || p.Hint == "" {
					t.Errorf("%s: no challenge or no hint", name)
				}
			}
			for client, token := range b.tokens {
				allowed := false
				for _, m := range may[rt.scope] {
					allowed = allowed || m == client
				}
				if allowed {
					continue // that it works is TestEveryRouteAnswersAsDescribed
				}
				if p := b.refused(403, hub.Forbidden, "this needs", b.call(rt.method, path, token, body)); p.Hint == "" {
					t.Errorf("client %s is refused without a hint", client)
				}
			}
		})
	}
}

func TestBearerForms(t *testing.T) {
	b := newBench(t)
	for _, h := range []string{"Basic " + b.operator, "Bearer", b.operator, "Token " + b.operator} {
		b.refused(401, hub.Unauthenticated, "must be one Bearer token", b.call("GET", "/whoami", "", "", "Authorization", h))
	}
	if w := b.call("GET", "/whoami", "", "", "Authorization", "bearer "+b.operator); w.Code != 200 {
		t.Error("the scheme's case does not matter", w.Code)
	}
}

// A client's scopes of now bound its tokens, and without its client a token is nothing.
func TestScopesAreThoseOfNow(t *testing.T) {
	b := newBench(t)
	b.want(200, b.get("/signals", b.tokens["auditor"]))
	b.want(200, b.post("/apply", b.operator, `{"resources":[{"kind":"client","name":"auditor","auth":"bearer","scopes":["signals.token"]}]}`))
	b.refused(403, hub.Forbidden, "signals.read", b.get("/signals", b.tokens["auditor"]))
	b.want(200, b.call("DELETE", "/clients/auditor", b.operator, ""))
	b.refused(401, hub.Unauthenticated, "not valid", b.get("/whoami", b.tokens["auditor"]))
}

func TestNarrowTokens(t *testing.T) {
	b := newBench(t)
	var out tokenView
	b.decode(b.want(201, b.post("/tokens", b.operator, `{"client":"auditor","scopes":["signals.read"],"expires_in":"1h","name":"desk"}`)), &out)
	b.refused(403, hub.Forbidden, "signals.token", b.get("/receipts/"+b.receipt.ID+"/evidence", out.Token))
	if out.Expires != hub.At(start.Add(time.Hour)) || out.Name != "desk" {
		t.Errorf("%+v", out)
	}
	b.mu.Lock()
	b.now = start.Add(time.Hour)
	b.mu.Unlock()
	b.refused(401, hub.Unauthenticated, "expired", b.get("/signals", out.Token))
	for body, words := range map[string]string{
		`{"client":"auditor","scopes":["resources.write"]}`: "does not have the scope",
		`{"client":"nobody"}`:                               "there is no client",
		`{}`:                                                "client must name",
		`{"client":"auditor","expires_in":"99999h"}`: "expires_in must be a duration",
		`{"client":"auditor","expires_in":"-1h"}`:    "expires_in must be a duration",
		`{"client":"auditor","admin":true}`:          `unknown member "admin"`,
	} {
		w := b.post("/tokens", b.operator, body)
		if w.Code < 400 || !strings.Contains(w.Body.String(), words) && !strings.Contains(w.Body.String(), strings.ReplaceAll(words, `"`, `\"`)) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	var list page[tokenView]
	b.decode(b.want(200, b.get("/tokens", b.operator)), &list)
	for _, tk := range list.Items {
		if tk.Token != "" {
			t.Error("a list shows tokens")
		}
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	b := newBench(t)
	for host, ok := range map[string]bool{"localhost:8444": true, "127.0.0.1:1": true, "[::1]:8444": true, "evil.example": false, "localhost.evil.example": false, "": false} {
		w := b.call("GET", "/version", "", "", "Host", host)
		if ok != (w.Code == http.StatusOK) || !ok && w.Code != http.StatusMisdirectedRequest {
			t.Errorf("host %q: %d", host, w.Code)
		}
	}
	b.cfg.Hosts = []string{"hub.example.test"}
	b.door = New(b.cfg)
	if w := b.call("GET", "/version", "", "", "Host", "HUB.example.test:8444"); w.Code != 200 {
		t.Error(w.Code)
	}
}

// Who may apply may not thereby give itself more.
func TestNobodyGivesWhatItHasNot(t *testing.T) {
	b := newBench(t)
	doc := func(name, scopes string) string {
		return `{"resources":[{"kind":"client","name":"` + name + `","auth":"bearer","scopes":[` + scopes + `]}]}`
	}
	deployer := b.tokens["deployer"]
	b.refused(403, hub.Forbidden, "own document", b.post("/apply", deployer, doc("deployer", `"resources.read","resources.write","signals.read"`)))
	b.refused(403, hub.Forbidden, "signals.token", b.post("/apply", deployer, doc("reader", `"signals.read","signals.token"`)))
	b.refused(403, hub.Forbidden, "signals.token", b.post("/apply", deployer, strings.Replace(doc("reader", `"signals.token"`), `{"res`, `{"dry_run":true,"res`, 1)))
	b.want(200, b.post("/apply", deployer, doc("reader", `"resources.read"`))) // what it has itself
	b.want(200, b.post("/apply", deployer, doc("fresh", `"signals.read"`)))    // has no token yet
	b.want(200, b.post("/apply", b.operator, doc("deployer", `"resources.read","resources.write","signals.read"`)))
}
