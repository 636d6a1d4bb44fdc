package connector_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/connectors"
	"countersign/internal/connector"
	"countersign/internal/egress"
	"countersign/internal/hub"
)

func packs(t testing.TB) *connector.Packs {
	t.Helper()
	p, err := connector.Load(connectors.FS, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// app is a running site under the http-sessions pack, and a runner that reaches it through the guard.
func app(t testing.TB, h http.HandlerFunc) (*connector.Runner, *connector.App) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	client := egress.Client(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: pool, ResponseTimeout: 300 * time.Millisecond})
	pack, _ := packs(t).Lookup("http-sessions")
	return connector.NewRunner(connector.Config{Client: client}),
		&connector.App{Name: "wiki", Pack: pack, Settings: map[string]string{"url": s.URL}, Secrets: map[string]string{"token": "t0p-secret/token"}}
}

var endAll = connector.Input{Account: "17", Key: "k1", LookedUp: true}

// What did not reach the app is a retry, what may have reached it is unknown (design §3).
func TestSentOrNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		h      http.HandlerFunc
		change func(*connector.App, *connector.Config)
		class  connector.Class
		sent   bool
		reason string
		note   string
	}{
		{"answered", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, nil, connector.Done, true, "", "done: status == 204"},
		{"hangs up", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, nil, connector.Unknown, true, "app_unreachable", "sent, and the connection broke"},
		{"never answers", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, connector.Unknown, true, "app_unreachable", "sent, and no answer in time"},
		{"breaks off in the body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(204 - 4)
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, nil, connector.Unknown, true, "app_unreachable", "the answer broke off"},
		{"too large", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("x", 2<<20)) }, nil, connector.Unknown, true, "app_error", "larger than 1 MiB"},
		{"duplicate names", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"a":1,"\u0061":2}`)
		}, nil, connector.Unknown, true, "app_error", "no acceptable JSON"},
		{"deep", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, strings.Repeat("[", 40)+strings.Repeat("]", 40))
		}, nil, connector.Unknown, true, "app_error", "no acceptable JSON"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, nil, connector.Unknown, true, "app_error", "no rule of the pack names this answer"},
		{"the guard refuses", nil, func(a *connector.App, _ *connector.Config) { a.Settings["url"] = "https://10.0.0.1" }, connector.Retry, false, "app_unreachable", "egress: refused"},
		{"plain http", nil, func(a *connector.App, _ *connector.Config) { a.Settings["url"] = "http://127.0.0.1:1" }, connector.Retry, false, "app_unreachable", "egress: refused"},
		{"nobody listens", nil, func(a *connector.App, _ *connector.Config) { a.Settings["url"] = "https://127.0.0.1:1" }, connector.Retry, false, "app_unreachable", "nothing was sent"},
		{"unknown authority", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, func(_ *connector.App, cfg *connector.Config) {
			cfg.Client = egress.Client(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: x509.NewCertPool()})
		}, connector.Retry, false, "app_unreachable", "nothing was sent"},
		{"own account", nil, func(a *connector.App, _ *connector.Config) { a.Settings["own_account"] = "17" }, connector.Refused, false, "policy_declined", "never account.id == settings.own_account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.h == nil {
				c.h = func(http.ResponseWriter, *http.Request) { t.Error("the app was called") }
			}
			r, a := app(t, c.h)
			if c.change != nil {
				cfg := connector.Config{}
				c.change(a, &cfg)
				if cfg.Client != nil {
					r = connector.NewRunner(cfg)
				}
			}
			got := r.Do(t.Context(), a, hub.OpEndAllSessions, endAll)
			if got.Class != c.class || got.Sent != c.sent || got.Reason != c.reason || !strings.Contains(got.Note, c.note) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// net/http repeats requests that carry an idempotency key when a kept connection breaks. Ours must not.
func TestTransportDoesNotRepeat(t *testing.T) {
	var acting atomic.Int64
	var keys atomic.Value
	r, a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete {
			io.WriteString(w, "[]")
			return
		}
		acting.Add(1)
		keys.Store(r.Header.Get("Idempotency-Key"))
		panic(http.ErrAbortHandler)
	})
	for i := range int64(3) {
		// A read first, so that the acting request goes over a kept connection.
		if _, ans := r.Sessions(t.Context(), a, "17"); ans.Class != connector.Done {
			t.Fatalf("%+v", ans)
		}
		if ans := r.Do(t.Context(), a, hub.OpEndAllSessions, endAll); ans.Class != connector.Unknown || !ans.Sent {
			t.Fatalf("%+v", ans)
		}
		if acting.Load() != i+1 {
			t.Fatalf("%d acting requests for %d calls", acting.Load(), i+1)
		}
	}
	if keys.Load() != "k1" {
		t.Errorf("the key arrived as %v", keys.Load())
	}
}

func TestRedaction(t *testing.T) {
	r, a := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(403)
		fmt.Fprintf(w, `{"error": "bad token t0p-secret/token", "access_token": "live", "nested": [{"password": "p"}], "user": "17", "bell": "\u0007"}`)
	})
	ans := r.Do(t.Context(), a, hub.OpEndAllSessions, endAll)
	if ans.Class != connector.Refused || ans.Reason != "app_denied" || ans.Request != "DELETE /admin/users/17/sessions" {
		t.Errorf("%+v", ans)
	}
	for _, secret := range []string{"t0p-secret", "live", `"p"`} {
		if strings.Contains(ans.Body, secret) {
			t.Errorf("kept %q in %s", secret, ans.Body)
		}
	}
	if !strings.Contains(ans.Body, `"user":"17"`) {
		t.Error(ans.Body)
	}
	q, err := r.Describe(a, hub.OpEndAllSessions, endAll)
	if err != nil || q.Header["Authorization"][0] != "Bearer ***" || q.Header["Idempotency-Key"][0] != "k1" || q.String() != "DELETE /admin/users/17/sessions" {
		t.Errorf("%+v %v", q, err)
	}
	if _, err := r.Describe(a, hub.OpEndAllSessions, connector.Input{Account: "a/b"}); err == nil || !strings.Contains(err.Error(), "slash") {
		t.Error(err)
	}
}

func TestBasicAuthAndBodies(t *testing.T) {
	pack, err := connector.ParsePack([]byte(`
id: basic
title: Basic
checked: {date: 2026-11-24, how: run}
settings: {url: {type: url, title: Address}}
secrets: {user: {title: User}, pw: {title: Password}}
auth: {kind: basic, username: "${secrets.user}", password: "${secrets.pw}"}
redact: [hint]
operations:
  disable_account:
    request: {method: PATCH, path: "/u/${account.id}", slash: encoded, headers: {X-Who: "${account.id}"}, json: {id: "${account.id}", list: ["x-${account.id}", 1, true], off: true}}
    done: 'status == 200 && body.state == "off"'
    refused: 'status == 200 && body.state == "no"'
    repeat: same
  revoke_tokens:
    request: {method: POST, path: /revoke, form: {user: "${account.id}"}}
    done: 'status == 200 && body == "ok\n"'
    repeat: same
`))
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	r, a := app(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		u, p, _ := r.BasicAuth()
		seen = r.Method + " " + r.URL.EscapedPath() + " " + u + ":" + p + " " + r.Header.Get("Content-Type") + " " + string(b)
		if r.Method == "POST" {
			io.WriteString(w, "ok\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"state": "off", "hint": "hush"}`)
	})
	a.Pack, a.Secrets = pack, map[string]string{"user": "adm", "pw": "s3cret-pw"}
	ans := r.Do(t.Context(), a, hub.OpDisableAccount, connector.Input{Account: `a/"b`})
	if want := `PATCH /u/a%2F%22b adm:s3cret-pw application/json {"id":"a/\"b","list":["x-a/\"b",1,true],"off":true}`; ans.Class != connector.Done || seen != want {
		t.Errorf("%+v\n%s\n%s", ans, seen, want)
	}
	if strings.Contains(ans.Body, "hush") {
		t.Error(ans.Body)
	}
	ans = r.Do(t.Context(), a, hub.OpRevokeTokens, connector.Input{Account: "a&b=c"})
	if want := `POST /revoke adm:s3cret-pw application/x-www-form-urlencoded user=a%26b%3Dc`; ans.Class != connector.Done || seen != want {
		t.Errorf("%+v\n%s", ans, seen)
	}
	if ans := r.Do(t.Context(), a, hub.OpEndSession, connector.Input{}); ans.Class != connector.Refused || ans.Reason != "not_supported" || ans.Sent {
		t.Errorf("%+v", ans)
	}
	q, err := r.Describe(a, hub.OpRevokeTokens, connector.Input{Account: "x"})
	if err != nil || q.Header["Authorization"][0] != "Basic ***" {
		t.Errorf("%+v %v", q, err)
	}
}

// answers is a transport that always gives the same, at no cost of time.
type answers struct{ n atomic.Int64 }

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	a.n.Add(1)
	return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestRate(t *testing.T) {
	base := strings.Replace(read(t, "demo-crm/pack.yaml"), "residue:", "rates: {requests: 2, per: 1s}\nresidue:", 1)
	pack, err := connector.ParsePack([]byte(base))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		wire := &answers{}
		r := connector.NewRunner(connector.Config{Client: &http.Client{Transport: wire}})
		a := &connector.App{Name: "crm", Pack: pack, Settings: map[string]string{"url": "https://crm.example.test"}, Secrets: map[string]string{"token": "t"}}
		start := time.Now()
		for range 6 {
			if ans := r.Do(t.Context(), a, hub.OpEndAllSessions, endAll); ans.Class != connector.Done {
				t.Fatalf("%+v", ans)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("six requests at two a second took %v", took)
		}
		// No room before the deadline: nothing is sent and nothing is waited for.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		before, start := wire.n.Load(), time.Now()
		ans := r.Do(ctx, a, hub.OpEndAllSessions, endAll)
		if ans.Class != connector.Retry || ans.Reason != "rate_limited" || ans.Sent || wire.n.Load() != before || time.Since(start) != 0 {
			t.Errorf("%+v", ans)
		}
		// Another tenant's app of the same name has a rate of its own.
		b := *a
		b.Tenant = "other"
		if ans := r.Do(ctx, &b, hub.OpEndAllSessions, endAll); ans.Class != connector.Done {
			t.Errorf("%+v", ans)
		}
	})
}

func TestLoad(t *testing.T) {
	list := packs(t).List()
	if len(list) < 3 || list[0].ID != "demo-crm" || list[0].Residue() != time.Minute {
		t.Errorf("%+v", list)
	}
	p, _ := packs(t).Lookup("http-sessions")
	back, ok := p.ReadBack(hub.OpEndAllSessions)
	if !ok || back.Use != hub.OpListSessions || back.Every != 200*time.Millisecond || back.Tries != 3 || p.Repeat(hub.OpEndSession) != connector.RepeatGone || p.Repeat(hub.OpRevokeTokens) != connector.RepeatConflict {
		t.Errorf("%+v", back)
	}
	dir := t.TempDir()
	write := func(id, text string) {
		if err := os.MkdirAll(filepath.Join(dir, id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, id, "pack.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	own := strings.Replace(read(t, "demo-crm/pack.yaml"), "id: demo-crm", "id: ours", 1)
	write("ours", own)
	both, err := connector.Load(connectors.FS, dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := both.Lookup("ours"); !ok || p.ID != "ours" {
		t.Error("the operator's pack is missing")
	}
	write("demo-crm", read(t, "demo-crm/pack.yaml"))
	if _, err := connector.Load(connectors.FS, dir); err == nil || !strings.Contains(err.Error(), "cannot be replaced") {
		t.Error(err)
	}
	os.RemoveAll(filepath.Join(dir, "demo-crm"))
	write("other", own)
	if _, err := connector.Load(connectors.FS, dir); err == nil || !strings.Contains(err.Error(), "calls itself ours") {
		t.Error(err)
	}
	if _, err := connector.Load(connectors.FS, filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a missing folder passed")
	}
}

func TestCheckApp(t *testing.T) {
	p, _ := packs(t).Lookup("http-sessions")
	ok := func() *hub.App {
		return &hub.App{Name: "wiki", Pack: "http-sessions", Settings: map[string]string{"url": "https://wiki.example.test/base/"}, Secrets: map[string]hub.Secret{"token": {Stored: "x"}}, Accounts: hub.AccountRule{Match: "email"}}
	}
	if err := p.CheckApp(ok()); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		want   string
		change func(*hub.App)
	}{
		{"setting url (Address) is missing", func(a *hub.App) { a.Settings = nil }},
		{"setting ulr is not known", func(a *hub.App) { a.Settings["ulr"] = "x" }},
		{"secret token (API token) is missing", func(a *hub.App) { a.Secrets = nil }},
		{"write it whole", func(a *hub.App) { a.Settings["url"] = "wiki.example.test" }},
		{"holds no ? or #", func(a *hub.App) { a.Settings["url"] = "https://wiki.example.test/?x" }},
		{"no user name", func(a *hub.App) { a.Settings["url"] = "https://u:p@wiki.example.test/" }},
		{"email or declared", func(a *hub.App) { a.Accounts.Match = "name" }},
	} {
		a := ok()
		c.change(a)
		if err := p.CheckApp(a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if p.Match(hub.AccountRule{}) != "email" {
		t.Error("a pack that can look up does so by default")
	}
}
