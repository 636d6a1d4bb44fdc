package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// fakeHub answers each path with what is written for it, and remembers what was asked.
type fakeHub struct {
	*httptest.Server
	answers map[string]any // METHOD path, below /api/v1
	asked   []string       // METHOD path?query body
	tenant  string         // of the latest call
}

func newFakeHub(t *testing.T, answers map[string]any) *fakeHub {
	t.Helper()
	h := &fakeHub{answers: answers}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		path := strings.TrimPrefix(r.URL.Path, "/api/v1")
		h.asked = append(h.asked, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v1")+" "+string(body)))
		h.tenant = r.Header.Get("Countersign-Tenant")
		answer, ok := h.answers[r.Method+" "+path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = problem{Title: "there is no such stream", Code: hub.NotFound, Hint: "countersign stream list"}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *fakeHub) run(t *testing.T, args ...string) run {
	t.Helper()
	return command(t, nil, "", append(args, "--server", h.URL, "--token", "t")...)
}

// last is what was asked last.
func (h *fakeHub) last() string {
	if len(h.asked) == 0 {
		return ""
	}
	return h.asked[len(h.asked)-1]
}

var crm = api.StreamStory{StreamInfo: api.StreamInfo{ID: "str_1", Name: "crm-signals", Client: "crm", Status: "enabled", Health: "failing", Why: "the receiver answers 503",
	Step: "countersign doctor stream crm-signals", Delivery: api.StreamDelivery{Method: "push", Endpoint: "https://crm.example.test/events", Authorization: true},
	Delivered: []string{"https://schemas.openid.net/secevent/caep/event-type/session-revoked"}, Subjects: "NONE", Waiting: 3, Dead: 1,
	Last: &api.Answer{At: 1763990000000000, Status: 503, Reason: "busy\x1b[2J"}, Warnings: []string{"delivers nothing: nobody is on its list"}},
	DeadBy: []api.ReasonCount{{Reason: "invalid_request", Count: 1, Latest: 1763990000000000}},
	Skips:  []api.Delivery{{Outcome: "skipped", Reason: "the person has no account at keycloak", At: 1763990000000000}},
}

// What each command asks of the hub, and what a person sees.
func TestStreamCommands(t *testing.T) {
	h := newFakeHub(t, map[string]any{
		"GET /streams":                     map[string]any{"items": []any{crm.StreamInfo}},
		"GET /streams/crm-signals":         crm,
		"POST /streams/crm-signals/status": crm, "POST /streams/crm-signals/verify": api.StreamAsked{Stream: "str_1", Asked: "verification"},
		"POST /streams/crm-signals/explain":    api.Explained{Stream: "str_1", Steps: []api.ExplainStep{{What: "subject", Why: "nobody is on its list"}}},
		"POST /streams/crm-signals/subjects":   api.SubjectChanged{Stream: "str_1", Op: "add"},
		"POST /streams/crm-signals/each-event": api.EachAnswer{Stream: "str_1", TXN: "t", Queued: 1, Events: []api.EachSent{{Type: "a/session-revoked", Outcome: "queued", JTI: "j1"}, {Type: "a/x", Outcome: "skipped", Reason: "why"}}},
		"DELETE /streams/crm-signals":          api.StreamAsked{Stream: "str_1", Asked: "delete"},
		"GET /streams/crm-signals/doctor":      api.Examination{Stream: "str_1", Findings: []api.Diagnosis{{Check: "endpoint", Result: "fail", Seen: "503", Fix: "start it", Side: "receiver"}}},
		"GET /deliveries":                      map[string]any{"items": []any{api.Delivery{Name: "crm-signals", JTI: "j1", Outcome: "dead", Status: 400, Reason: "invalid_request"}}},
		"POST /deliveries/redrive":             api.Redriven{Redriven: 2},
		"POST /signals":                        map[string]string{"id": "sig_1"},
	})
	for _, c := range []struct {
		args   []string
		status int
		asked  string
		shows  []string // in stdout and stderr
	}{
		{[]string{"stream", "list"}, 0, "GET /streams?limit=200", []string{"crm-signals", "failing", "delivers nothing: nobody is on its list"}},
		{[]string{"stream", "show", "crm-signals"}, 0, "GET /streams/crm-signals", []string{"failing: the receiver answers 503", "NONE, and its list is empty", "503  busy", "invalid_request", "the person has no account at keycloak", "next: countersign doctor stream crm-signals"}},
		{[]string{"stream", "status", "crm-signals"}, 0, "GET /streams/crm-signals", []string{"crm-signals  enabled, failing: the receiver answers 503"}},
		{[]string{"stream", "pause", "crm-signals", "--reason", "work"}, 0, `POST /streams/crm-signals/status {"status":"paused","reason":"work"}`, nil},
		{[]string{"stream", "resume", "crm-signals"}, 0, `POST /streams/crm-signals/status {"status":"enabled","reason":""}`, nil},
		{[]string{"stream", "disable", "crm-signals"}, 2, "", []string{"next: repeat with --yes"}},
		{[]string{"stream", "disable", "crm-signals", "--yes"}, 0, `POST /streams/crm-signals/status {"status":"disabled","reason":""}`, nil},
		{[]string{"stream", "verify", "crm-signals"}, 0, "POST /streams/crm-signals/verify", []string{"a verification event is on its way on str_1"}},
		{[]string{"stream", "explain", "crm-signals", "--event", "caep/session-revoked", "--subject", `{"format":"opaque","id":"u"}`}, 0,
			`POST /streams/crm-signals/explain {"event_type":"caep/session-revoked","sub_id":{"format":"opaque","id":"u"},"event":null,"order":null}`, []string{"no   subject", "It would not be sent."}},
		{[]string{"stream", "explain", "crm-signals", "--event", "caep/session-revoked"}, 2, "", []string{"--event and --subject are needed"}},
		{[]string{"stream", "explain", "crm-signals", "--event", "x", "--subject", "{"}, 2, "", []string{"--subject is not JSON"}},
		{[]string{"stream", "subject", "add", "crm-signals", `{"format":"opaque","id":"u"}`}, 0, `POST /streams/crm-signals/subjects {"add":{"format":"opaque","id":"u"},"verified":true}`, []string{"added"}},
		{[]string{"stream", "subject", "add", "crm-signals", `{"format":"opaque","id":"u"}`, "--unverified"}, 0, `POST /streams/crm-signals/subjects {"add":{"format":"opaque","id":"u"},"verified":false}`, nil},
		{[]string{"stream", "subject", "remove", "crm-signals", `{"format":"opaque","id":"u"}`}, 0, `POST /streams/crm-signals/subjects {"remove":{"format":"opaque","id":"u"}}`, []string{"removed"}},
		{[]string{"stream", "subject", "remove", "crm-signals", `u`}, 2, "", []string{"the subject is not JSON"}},
		{[]string{"stream", "delete", "crm-signals"}, 2, "", []string{"needs a yes"}},
		{[]string{"stream", "delete", "crm-signals", "--yes"}, 0, "DELETE /streams/crm-signals", []string{"deleted stream crm-signals"}},
		{[]string{"stream", "show", "none"}, 4, "GET /streams/none", []string{"next: countersign stream list"}},
		{[]string{"doctor", "stream", "crm-signals"}, 1, "GET /streams/crm-signals/doctor", []string{"-> start it (at the receiver)"}},
		{[]string{"delivery", "list", "--stream", "crm-signals", "--outcome", "dead"}, 0, "GET /deliveries?limit=50&outcome=dead&stream=crm-signals", []string{"invalid_request", "400"}},
		{[]string{"delivery", "redrive"}, 2, "", []string{"which ones?", "next: countersign delivery list --outcome dead"}},
		{[]string{"delivery", "redrive", "--all", "--jti", "j"}, 2, "", []string{"--all goes with no other choice"}},
		{[]string{"delivery", "redrive", "--all"}, 2, "", []string{"next: repeat with --yes"}},
		{[]string{"delivery", "redrive", "--reason", "invalid"}, 0, `POST /deliveries/redrive {"stream":"","jti":"","reason":"invalid","all":false}`, []string{"2 on their way again"}},
		{[]string{"signal", "send", "--stream", "crm-signals", "--each-event"}, 0, "POST /streams/crm-signals/each-event {}", []string{"queued   session-revoked", "j1", "skipped", "why", "1 of 2 are on their way"}},
		{[]string{"signal", "send", "--each-event"}, 2, "", []string{"--each-event needs one --stream"}},
		{[]string{"signal", "send", "--each-event", "--stream", "a", "--event", "x"}, 2, "", []string{"--each-event makes the events itself"}},
		{[]string{"signal", "send", "--stream", "crm-signals", "--event", "caep/session-revoked", "--subject", `{}`}, 0,
			`POST /signals {"do":"transmit","event_type":"caep/session-revoked","streams":["crm-signals"],"sub_id":{}}`, []string{"sig_1"}},
		{[]string{"signal", "send", "--stream", "crm-signals", "--do", "act", "--event", "caep/session-revoked", "--subject", `{}`}, 2, "", []string{"it does not go with --do act"}},
	} {
		h.asked = nil
		r := h.run(t, c.args...)
		name := strings.Join(c.args, " ")
		if r.status != c.status || h.last() != c.asked || strings.ContainsRune(r.stdout+r.stderr, 0x1b) {
			t.Errorf("%s: status %d, asked %q; want %d, %q\n%s%s", name, r.status, h.last(), c.status, c.asked, r.stdout, r.stderr)
		}
		for _, s := range c.shows {
			if !strings.Contains(r.stdout+r.stderr, s) {
				t.Errorf("%s does not show %q:\n%s%s", name, s, r.stdout, r.stderr)
			}
		}
		if c.status == 0 {
			r := h.run(t, append(c.args, "--json")...)
			for _, line := range strings.Split(strings.TrimSpace(r.stdout), "\n") {
				if r.status != 0 || !json.Valid([]byte(line)) || !strings.HasPrefix(line, "{") {
					t.Errorf("%s --json: %d %q", name, r.status, r.stdout)
				}
			}
		}
	}
}

// --tenant travels as a header, and is not sent where nobody gave it.
func TestTenantTravels(t *testing.T) {
	h := newFakeHub(t, map[string]any{"GET /streams": map[string]any{"items": []any{}}})
	for arg, want := range map[string]string{"acme": "acme", "default": "default", "": ""} {
		h.tenant = "?"
		if r := h.run(t, "stream", "list", "--tenant", arg); r.status != 0 || h.tenant != want {
			t.Errorf("--tenant %q: sent %q, %+v", arg, h.tenant, r)
		}
	}
	h.tenant = "?"
	if r := h.run(t, "stream", "list", "--tenant", "a/b"); r.status != 2 || h.tenant != "?" {
		t.Errorf("%+v, sent %q", r, h.tenant)
	}
}

func TestOrderAndKeyCommands(t *testing.T) {
	order := api.OrderStory{OrderInfo: api.OrderInfo{JTI: "j1", SetHash: "sha-256:x", Stream: "str_1", Client: "crm", Type: "a/session-revoked", Standing: "delivered", Overdue: true, CompleteBy: 1763990000},
		Timeline: []api.Moment{{At: 1763990000000000, What: "delivered", Text: "taken by the receiver"}}, Explanation: []string{"The receiver has it.", "No receipt came by 13:00."}}
	key := api.KeyInfo{KID: "k1", Alg: "ES256", State: "next", ActiveAt: 1763990000000000, Thumbprint: "tp"}
	h := newFakeHub(t, map[string]any{
		"GET /orders": map[string]any{"items": []any{order.OrderInfo}}, "GET /orders/j1": order, "POST /orders/j1/withdraw": order,
		"GET /keys": map[string]any{"items": []any{key, api.KeyInfo{KID: "gone", State: "retired"}}}, "POST /keys/rotate": key, "POST /keys/k1/retire": api.KeyInfo{KID: "k1", State: "compromised", Reissued: 4},
	})
	for _, c := range []struct {
		args   string
		status int
		asked  string
		shows  string
	}{
		{"order list --overdue --client crm --state delivered", 0, "GET /orders?client=crm&limit=50&overdue=true&state=delivered", "delivered, overdue"},
		{"order show j1", 0, "GET /orders/j1", "taken by the receiver"},
		{"order explain j1", 0, "GET /orders/j1", "No receipt came by 13:00."},
		{"order withdraw j1 --reason mistake", 2, "", "next: repeat with --yes"},
		{"order withdraw j1 --reason mistake --yes", 0, `POST /orders/j1/withdraw {"reason_admin":"mistake"}`, "j1 delivered, overdue"},
		{"order show", 2, "", "usage: countersign order show"},
		{"key list", 0, "GET /keys", "next, signs from 2025-11-24"},
		{"key rotate --alg ES256 --now", 0, `POST /keys/rotate {"alg":"ES256","now":true}`, "k1 ES256, next"},
		{"key retire k1 --compromised", 2, "GET /keys", "so that receivers refuse what it signed"},
		{"key retire k2 --compromised", 4, "GET /keys", "there is no key"}, // without a question
		{"key retire gone", 4, "GET /keys", "the key gone is retired already"},
		{"key retire k1 --compromised --yes", 0, `POST /keys/k1/retire {"compromised":true}`, "4 waiting tokens were made anew"},
	} {
		h.asked = nil
		r := h.run(t, strings.Fields(c.args)...)
		if r.status != c.status || h.last() != c.asked || !strings.Contains(r.stdout+r.stderr, c.shows) {
			t.Errorf("%s: status %d, asked %q\n%s%s", c.args, r.status, h.last(), r.stdout, r.stderr)
		}
	}
}

// diff shows fields, and no value of a secret.
func TestDiff(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	for name, text := range map[string]string{"f.yaml": "apiVersion: countersign/v1\nkind: identity\nname: alice\nemails: [alice@example.test, a@example.test]\nlabels: [vip]\n---\n" +
		"kind: app\nname: wiki\npack: http-sessions\nsettings: {url: https://wiki.example.test}\nsecrets: {token: {file: t}}\n", "t": "s3cret-value"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan := applyAnswer{DryRun: true, Plan: []applyStep{{Op: "update", Kind: "identity", Name: "alice"}, {Op: "create", Kind: "app", Name: "wiki"}, {Op: "unchanged", Kind: "app", Name: "crm"}}}
	h := newFakeHub(t, map[string]any{"POST /apply": plan, "GET /export": map[string]any{"resources": []any{
		map[string]any{"kind": "identity", "name": "alice", "emails": []string{"alice@example.test"}, "protect": "never", "accounts": []any{map[string]string{"at": "crm", "id": "1"}}}}}})
	r := h.run(t, "diff", "-f", file)
	for _, want := range []string{"~ identity alice\n", `    ~ emails: ["alice@example.test"] -> ["alice@example.test","a@example.test"]`, `    + labels: ["vip"]`, "    - protect: never",
		"    - accounts[0].id: 1", "+ app wiki\n", "    + secrets.token.stored: app.wiki.token", "its value is not compared"} {
		if r.status != 0 || !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%d, no %q in\n%s%s", r.status, want, r.stdout, r.stderr)
		}
	}
	if strings.Contains(r.stdout+r.stderr, "s3cret") || strings.Contains(r.stdout, "app crm") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
	if !strings.Contains(h.asked[0], `"dry_run":true`) {
		t.Errorf("asked %q", h.asked[0])
	}
	if r := h.run(t, "diff", "-f", file, "--exit-code"); r.status != 1 {
		t.Errorf("a difference with --exit-code is %d", r.status)
	}
	if r := h.run(t, "diff", "-f", file, "--json"); r.status != 0 || !strings.HasPrefix(r.stdout, `{"changed":true,"resources":[{"op":"update"`) || strings.Contains(r.stdout, "s3cret") {
		t.Errorf("%+v", r)
	}
	h.answers["POST /apply"] = applyAnswer{Plan: []applyStep{}}
	if r := h.run(t, "diff", "-f", file, "--exit-code"); r.status != 0 || !strings.Contains(r.stdout, "No difference.") {
		t.Errorf("%+v", r)
	}
	if r := h.run(t, "diff"); r.status != 2 || !strings.Contains(r.stderr, "at least one -f FILE") {
		t.Errorf("%+v", r)
	}
}

// Completion asks the hub for names, and is quiet where there is none.
func TestCompletion(t *testing.T) {
	h := newFakeHub(t, map[string]any{
		"GET /streams": map[string]any{"items": []any{crm.StreamInfo, api.StreamInfo{ID: "str_2"}}}, "GET /keys": map[string]any{"items": []any{api.KeyInfo{KID: "k1"}}},
		"GET /clients": map[string]any{"items": []any{hub.Resource{Name: "crm"}}}, "GET /orders": map[string]any{"items": []any{api.OrderInfo{JTI: "j1"}}},
		"GET /tenants": map[string]any{"items": []any{hub.Resource{Name: "acme"}}}, "GET /sources": map[string]any{"items": []any{hub.Resource{Name: "idp"}}}, "GET /apps": map[string]any{"items": []any{hub.Resource{Name: "wiki"}}}, "GET /secrets": map[string]any{"items": []any{map[string]string{"name": "kc"}}},
	})
	for _, c := range []struct{ args, want string }{
		{"stream pause ", "crm-signals\nstr_2\n"}, {"doctor stream ", "crm-signals"}, {"client show ", "crm\n"}, {"key retire ", "k1\n"}, {"order show ", "j1\n"},
		{"delivery list --stream ", "str_2"}, {"delivery list --outcome ", "waiting\ndelivered\ndead\nskipped\n"}, {"signal send --event ", "caep/session-revoked"},
		{"stream subject add ", "crm-signals"}, {"send --event ", "risc/account-disabled"}, {"token create --client ", "crm\n"}, {"order list --client ", "crm\n"},
		{"signal list --state ", "unresolved"}, {"stream explain --event ", "caep/session-revoked"}, {"stream list --tenant ", "acme\n"}, {"secret delete ", "kc\n"},
		{"source subjects add ", "idp\n"}, {"source subjects add idp ", ":0\n"}, {"source stream idp status --set ", "paused\n"}, {"source stream idp ", "replace\n"}, {"account list --at ", "wiki\nidp\n"}, {"event show ", "caep/session-revoked"},
	} {
		words := append(strings.Fields(c.args), "")
		args := append([]string{"__complete", "--server", h.URL, "--token", "t"}, words...)
		if r := command(t, nil, "", args...); r.status != 0 || !strings.Contains(r.stdout, c.want) {
			t.Errorf("%q offers %q %q", c.args, r.stdout, r.stderr)
		}
	}
	if r := command(t, nil, "", "__complete", "--server", "http://127.0.0.1:1", "--token", "t", "stream", "pause", ""); r.status != 0 || strings.Contains(r.stdout, "str") {
		t.Errorf("without a hub: %+v", r)
	}
	h.asked = nil
	if r := command(t, nil, "", "__complete", "--server", h.URL, "--token", "t", "stream", "pause", "crm-signals", ""); r.status != 0 || len(h.asked) != 0 {
		t.Errorf("a second name: %+v, asked %q", r, h.asked)
	}
}
