package oauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
)

const grant = "grant_type=client_credentials"

// A client gets a token by the method it is registered for, and by no other.
func TestTokenByEachMethod(t *testing.T) {
	eachStore(t, func(t *testing.T, h *house) {
		ways := map[string]func(client string, pairs ...string) answer{
			methodBasic: func(client string, pairs ...string) answer {
				return h.basic("/oauth/token", client, rxSecret, append(pairs, grant)...)
			},
			methodPost: func(client string, pairs ...string) answer {
				return h.post(append(pairs, grant, "client_id="+client, "client_secret="+postSecret)...)
			},
			methodPrivateKey: func(client string, pairs ...string) answer {
				return h.post(append(pairs, grant, "client_assertion_type="+assertionType,
					"client_assertion="+sign(t, assertionHeader, h.assertion(client), rsaKey()))...)
			},
		}
		clients := map[string]string{"rx": methodBasic, "post": methodPost, "signed": methodPrivateKey, "told": "bearer"}
		for way, ask := range ways {
			for client, method := range clients {
				a := ask(client)
				if way != method {
					if a.status != 401 || a.body.Error != "invalid_client" || a.header.Get("WWW-Authenticate") == "" {
						t.Errorf("%s by %s: %d %s", client, way, a.status, a.text)
					}
					continue
				}
				if a.status != 200 || a.body.Type != "Bearer" || a.body.Expires <= 0 || a.body.Expires > 3600 || !strings.HasPrefix(a.body.Token, Prefix) || len(a.body.Token) != len(Prefix)+43 {
					t.Errorf("%s by %s: %d %s", client, way, a.status, a.text)
				}
				if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || a.header.Get("Content-Type") != "application/json" {
					t.Errorf("header: %v", a.header)
				}
				name, scopes, err := h.Resolve(t.Context(), DefaultTenant, a.body.Token)
				if err != nil || name != client || strings.Join(scopes, " ") != a.body.Scope {
					t.Errorf("%s %q %v, granted %q", name, scopes, err, a.body.Scope)
				}
			}
		}
		req.Covers(t, "IOP-33")
	})
}

// The secret of client_secret_basic is form-encoded by those who read RFC 6749 §2.3.1, and by the others not.
func TestBasicSpelling(t *testing.T) {
	h := newHouse(t, nil)
	for name, field := range map[string]string{
		"encoded":    basicField("rx", rxSecret),
		"plain":      "Basic " + base64.StdEncoding.EncodeToString([]byte("rx:"+rxSecret)),
		"lower case": strings.Replace(basicField("rx", rxSecret), "Basic", "basic", 1),
	} {
		if a := h.do(request{path: "/oauth/token", body: grant, header: http.Header{"Authorization": {field}}}); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}

func TestScope(t *testing.T) {
	h := newHouse(t, nil)
	for _, tc := range []struct {
		name, client, scope string
		want                string // empty: invalid_scope
	}{
		{"none: all of the client", "post", "", "ssf.read ssf.manage ssf.manage.receipts signals.write"},
		{"one", "post", "ssf.read", "ssf.read"},
		{"two", "post", "ssf.manage ssf.read", "ssf.manage ssf.read"},
		{"twice", "post", "ssf.read ssf.read", "ssf.read"},
		{"unknown", "post", "ssf.read no.such", ""},
		{"finer ones, which no edition has any more", "post", "ssf.manage.create", ""},
		{"not the client's", "post", "resources.write", ""},
		{"other case", "post", "SSF.read", ""},
		{"two spaces", "post", "ssf.read  ssf.manage", ""},
		{"a space behind", "post", "ssf.read ", ""},
		{"a tab", "post", "ssf.read\tssf.manage", "-"},
		{"a quote", "post", `ssf.read"`, ""},
		{"a client without any", "nothing", "", ""},
	} {
		a := h.post(grant, "client_id="+tc.client, "client_secret="+postSecret, "scope="+tc.scope)
		switch tc.want {
		case "":
			if a.status != 400 || a.body.Error != "invalid_scope" || a.body.Token != "" {
				t.Errorf("%s: %d %s", tc.name, a.status, a.text)
			}
		case "-":
			if a.status != 400 || a.body.Error != "invalid_request" {
				t.Errorf("%s: %d %s", tc.name, a.status, a.text)
			}
		default:
			if a.status != 200 || a.body.Scope != tc.want {
				t.Errorf("%s: %d %s", tc.name, a.status, a.text)
			}
			if _, scopes, err := h.Resolve(t.Context(), DefaultTenant, a.body.Token); err != nil || len(scopes) != len(strings.Fields(tc.want)) {
				t.Errorf("%s: the token may %v, %v", tc.name, scopes, err)
			}
		}
	}
	req.Covers(t, "IOP-35", "IOP-38")
}

// What is wrong is told in the form of RFC 6749 §5.2, and gives no token.
func TestTokenRefusals(t *testing.T) {
	good := form(grant, "client_id=post", "client_secret="+postSecret)
	plain := func(v string) http.Header { return http.Header{"Content-Type": {v}} }
	auth := func(v ...string) http.Header { return http.Header{"Authorization": v} }
	for _, tc := range []struct {
		name   string
		r      request
		status int
		code   string
	}{
		{"nothing", request{body: ""}, 401, invalidClient},
		{"no client", request{body: grant}, 401, invalidClient},
		{"no grant type", request{body: form("client_id=post", "client_secret="+postSecret)}, 400, invalidRequest},
		{"a grant type without value", request{body: form("grant_type=", "client_id=post", "client_secret="+postSecret)}, 400, invalidRequest},
		{"another grant type", request{body: form("grant_type=password", "client_id=post", "client_secret="+postSecret)}, 400, unsupportedGrantType},
		{"refresh", request{body: form("grant_type=refresh_token", "client_id=post", "client_secret="+postSecret)}, 400, unsupportedGrantType},
		{"another grant type and a wrong secret", request{body: form("grant_type=password", "client_id=post", "client_secret=wrong")}, 401, invalidClient},
		{"a parameter twice", request{body: good + "&scope=ssf.read&scope=ssf.manage"}, 400, invalidRequest},
		{"an unknown one twice", request{body: good + "&x=1&x=1"}, 400, invalidRequest},
		{"grant_type twice", request{body: good + "&" + grant}, 400, invalidRequest},
		{"an unknown one", request{body: good + "&x=1"}, 200, ""},
		{"another resource", request{body: good + "&resource=https%3A%2F%2Felsewhere.example.test"}, 400, invalidTarget},
		{"the resource", request{body: good + "&resource=https%3A%2F%2Fhub.example.test"}, 200, ""},
		{"the secret in the address", request{path: "/oauth/token?client_secret=" + postSecret, body: form(grant, "client_id=post")}, 400, invalidRequest},
		{"all in the address", request{path: "/oauth/token?" + good}, 400, invalidRequest},
		{"an empty query", request{path: "/oauth/token?", body: good}, 400, invalidRequest},
		{"JSON", request{body: `{"grant_type":"client_credentials"}`, header: plain("application/json")}, 400, invalidRequest},
		{"a form without media type", request{body: good, header: plain("")}, 400, invalidRequest},
		{"multipart", request{body: good, header: plain("multipart/form-data; boundary=x")}, 400, invalidRequest},
		{"two media types", request{body: good, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded", "text/plain"}}}, 400, invalidRequest},
		{"another charset", request{body: good, header: plain("application/x-www-form-urlencoded; charset=utf-16")}, 400, invalidRequest},
		{"the charset", request{body: good, header: plain("application/x-www-form-urlencoded;charset=UTF-8")}, 200, ""},
		{"gzip", request{body: good, header: http.Header{"Content-Encoding": {"gzip"}}}, 400, invalidRequest},
		{"huge", request{body: good + "&x=" + strings.Repeat("a", maxForm)}, 413, invalidRequest},
		{"many parameters", request{body: good + strings.Repeat("&x", 100)}, 400, invalidRequest},
		{"a broken escape", request{body: good + "&x=%zz"}, 400, invalidRequest},
		{"a semicolon", request{body: good + ";x=1"}, 400, invalidRequest},
		{"no UTF-8", request{body: good + "&x=%ff"}, 400, invalidRequest},
		{"a NUL", request{body: good + "&x=%00"}, 400, invalidRequest},
		{"GET", request{method: "GET", body: good}, 405, invalidRequest},
		{"PUT", request{method: "PUT", body: good}, 405, invalidRequest},
		{"a wrong secret", request{body: form(grant, "client_id=post", "client_secret=wrong")}, 401, invalidClient},
		{"an empty secret", request{body: form(grant, "client_id=post", "client_secret=")}, 401, invalidClient},
		{"an empty secret of a client without one", request{body: grant, header: auth(basicField("empty", ""))}, 401, invalidClient},
		{"an unknown client", request{body: form(grant, "client_id=nobody", "client_secret=wrong")}, 401, invalidClient},
		{"a secret and nobody", request{body: form(grant, "client_secret="+postSecret)}, 400, invalidRequest},
		{"a long name", request{body: form(grant, "client_id="+strings.Repeat("n", 300), "client_secret=x")}, 401, invalidClient},
		{"basic and post", request{body: good, header: auth(basicField("rx", rxSecret))}, 400, invalidRequest},
		{"basic and an assertion", request{body: form(grant, "client_assertion=x"), header: auth(basicField("rx", rxSecret))}, 400, invalidRequest},
		{"post and an assertion", request{body: good + "&client_assertion=x"}, 400, invalidRequest},
		{"two Authorization fields", request{body: grant, header: auth(basicField("rx", rxSecret), basicField("rx", rxSecret))}, 400, invalidRequest},
		{"basic and the same client_id", request{body: form(grant, "client_id=rx"), header: auth(basicField("rx", rxSecret))}, 200, ""},
		{"basic and another client_id", request{body: form(grant, "client_id=post"), header: auth(basicField("rx", rxSecret))}, 400, invalidRequest},
		{"basic without colon", request{body: grant, header: auth("Basic " + base64.StdEncoding.EncodeToString([]byte("rx")))}, 401, invalidClient},
		{"basic of junk", request{body: grant, header: auth("Basic !!!")}, 401, invalidClient},
		{"basic of bytes", request{body: grant, header: auth("Basic " + base64.StdEncoding.EncodeToString([]byte("rx:\xff\xfe")))}, 401, invalidClient},
		{"bearer", request{body: grant, header: auth("Bearer " + rxSecret)}, 401, invalidClient},
		{"the secret of the same client at another tenant", request{path: "/t/blue/oauth/token", body: grant, header: auth(basicField("rx", rxSecret))}, 401, invalidClient},
		{"a tenant that there is not", request{path: "/t/red/oauth/token", body: good}, 404, invalidRequest},
		{"the default tenant by name", request{path: "/t/default/oauth/token", body: good}, 404, invalidRequest},
		{"below the endpoint", request{path: "/oauth/token/", body: good}, 404, invalidRequest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, nil)
			if tc.r.path == "" {
				tc.r.path = "/oauth/token"
			}
			a := h.do(tc.r)
			if a.status != tc.status || a.body.Error != tc.code {
				t.Fatalf("%d %s, want %d %s", a.status, a.text, tc.status, tc.code)
			}
			kept := len(h.store.(*fake).access)
			if tc.code == "" {
				if kept != 1 || a.body.Token == "" {
					t.Errorf("%d tokens are kept, %s", kept, a.text)
				}
				return
			}
			if kept != 0 || len(h.store.(*fake).used) != 0 || a.body.Token != "" {
				t.Errorf("a refusal left %d tokens: %s", kept, a.text)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("header: %v", a.header)
			}
			if got := a.header.Get("WWW-Authenticate"); (a.status == 401) != strings.HasPrefix(got, "Basic realm=") {
				t.Errorf("WWW-Authenticate: %q", got)
			}
			if a.status == 405 && a.header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", a.header.Get("Allow"))
			}
			if strings.ContainsFunc(a.body.Why, func(c rune) bool { return c < ' ' || c == '"' || c == '\\' || c > '~' }) {
				t.Errorf("error_description: %q", a.body.Why) // RFC 6749 §5.2
			}
		})
	}
}

// Which clients there are, and how they sign in, is not told.
func TestRefusalsLookTheSame(t *testing.T) {
	h := newHouse(t, nil)
	want := h.post(grant, "client_id=nobody", "client_secret=wrong")
	for _, client := range []string{"post", "rx", "signed", "told", "empty"} {
		if a := h.post(grant, "client_id="+client, "client_secret=wrong"); a.text != want.text || a.status != want.status {
			t.Errorf("%s: %d %s", client, a.status, a.text)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	try := func(client, secret, remote string) answer {
		return h.do(request{path: "/oauth/token", body: form(grant, "client_id="+client, "client_secret="+secret), remote: remote})
	}
	for i := range int(failuresOfClient) {
		if a := try("post", "wrong", "192.0.2.1:999"); a.status != 401 {
			t.Fatalf("try %d: %d", i, a.status)
		}
	}
	a := try("post", postSecret, "192.0.2.1:1000")
	if a.status != 429 || a.header.Get("Retry-After") == "" || a.body.Error != unavailable {
		t.Errorf("beyond the bound: %d %s", a.status, a.text)
	}
	if a := try("post", postSecret, "192.0.2.2:999"); a.status != 200 {
		t.Errorf("from elsewhere: %d %s", a.status, a.text)
	}
	if a := try("nothing", postSecret, "192.0.2.1:999"); a.body.Error != invalidScope {
		t.Errorf("another client: %d %s", a.status, a.text)
	}
	h.wait(7 * time.Second)
	if a := try("post", postSecret, "192.0.2.1:999"); a.status != 200 {
		t.Errorf("after a wait: %d %s", a.status, a.text)
	}
	for i := range int(failuresOfAddress) {
		try(fmt.Sprint("guess-", i), "wrong", "[2001:db8::1]:999")
	}
	if a := try("post", postSecret, "[2001:db8::2]:999"); a.status != 429 {
		t.Errorf("an address that tries many names: %d %s", a.status, a.text)
	}
	if a := try("post", postSecret, "[2001:db8:0:1::2]:999"); a.status != 200 {
		t.Errorf("another network: %d %s", a.status, a.text)
	}
}

func TestTokensAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	for range int(grantsOfClient) {
		h.tokenOf("post", postSecret)
	}
	if a := h.post(grant, "client_id=post", "client_secret="+postSecret); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	h.wait(time.Second)
	h.tokenOf("post", postSecret)
}

func TestMeterIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := newMeter(func() time.Time { return now })
	for i := range 3 * maxMeter {
		m.count(fmt.Sprint(i), failuresOfClient)
		now = now.Add(time.Microsecond)
	}
	if len(m.all) > maxMeter {
		t.Errorf("%d keys", len(m.all))
	}
}

// What the store cannot do now is 503, and never a token.
func TestStoreAway(t *testing.T) {
	h := newHouse(t, nil)
	h.store.(*fake).away = hub.Errorf(hub.Unavailable, "no")
	for name, a := range map[string]answer{
		"token":     h.post(grant, "client_id=post", "client_secret="+postSecret),
		"revoke":    h.do(request{path: "/oauth/revoke", body: form("token=csa_0123456789012345678901234", "client_id=post", "client_secret="+postSecret)}),
		"assertion": h.post(grant, "client_assertion_type="+assertionType, "client_assertion="+sign(t, assertionHeader, h.assertion("signed"), rsaKey())),
	} {
		if a.status != 503 || a.body.Error != unavailable || a.body.Token != "" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	h.away = fmt.Errorf("the view is not there")
	if a := h.post(grant, "client_id=post", "client_secret="+postSecret); a.status != 503 {
		t.Errorf("clients away: %d %s", a.status, a.text)
	}
}

// The log tells what the answer does not, and no name that nobody has.
func TestLogTellsWhy(t *testing.T) {
	h := newHouse(t, nil)
	h.post(grant, "client_id=somebody-s-password", "client_secret=wrong")
	h.post(grant, "client_id=post", "client_secret=wrong")
	h.post(grant, "client_id=rx", "client_secret="+rxSecret)
	h.assert1(sign(t, assertionHeader, h.assertion("signed").with("exp", nil), rsaKey()))
	log := h.log.String()
	for _, want := range []string{"there is no such client", "client=post why=\"the secret is wrong\"", "client=rx why=\"it is registered for another method\"", "exp is missing"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "somebody") {
		t.Errorf("the log tells a name that nobody has:\n%s", log)
	}
}

// A secret that costs something is read where it is compared, and nowhere else.
func TestReveal(t *testing.T) {
	h := newHouse(t, nil)
	asked := 0
	var away error
	h.clients["default/post"] = &Client{Spec: h.clients["default/post"].Spec, Reveal: func(context.Context) (string, error) { asked++; return postSecret, away }}
	token := h.tokenOf("post", postSecret)
	if h.may(DefaultTenant, token) == "-" || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	away = hub.Errorf(hub.Unavailable, "no")
	if a := h.post(grant, "client_id=post", "client_secret="+postSecret); a.status != 503 {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestTokensDiffer(t *testing.T) {
	h := newHouse(t, nil)
	var all []string
	for range 20 {
		all = append(all, h.tokenOf("post", postSecret))
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 20 {
		t.Error("two tokens are the same")
	}
	for hash := range h.store.(*fake).access {
		if strings.Contains(hash, "csa_") || len(hash) != 32 {
			t.Errorf("kept under %q", hash)
		}
	}
}
