package act_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/flow/act"
	"countersign/internal/hub"
	"countersign/internal/req"
)

// record keeps the states that an action went through.
type record struct {
	mu   sync.Mutex
	list []string
}

func (r *record) note(a *hub.Action) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, string(a.State)+"/"+a.Reason)
}

func (r *record) all() []string { r.mu.Lock(); defer r.mu.Unlock(); return slices.Clone(r.list) }

type want struct {
	state              hub.State
	reason             string
	attempts           int
	found, acted, left int
	counted            bool
	level              hub.Level
}

func check(t *testing.T, a *hub.Action, w want) {
	t.Helper()
	got := want{a.State, a.Reason, a.Attempts, a.Found, a.Acted, a.Left, a.Counted, a.Level}
	if got != w {
		t.Errorf("%s at %s:\n got  %+v\n want %+v\n evidence %s", a.Name, a.App, got, w, a.Evidence)
	}
	if len(a.Tries) != a.Attempts {
		t.Errorf("%d attempts are kept and %d counted", len(a.Tries), a.Attempts)
	}
}

func TestSessionsEndAndAreProven(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("wiki")))[0]
	check(t, a, want{hub.Succeeded, "done", 1, 2, 2, 0, true, hub.Verified})
	req.Covers(t, "B1", "A37")
	if got := s.requests(); len(got) != 1 || got[0] != "DELETE /admin/users/a1/sessions key-wiki-a1" {
		t.Errorf("acting requests %q", got)
	}
	if a.Account != "a1" || a.Method != "read_back" || a.VerifiedAt < a.Completed || a.Completed < a.Started || a.Started < a.Requested {
		t.Errorf("account %q, method %q, times %d %d %d %d", a.Account, a.Method, a.Requested, a.Started, a.Completed, a.VerifiedAt)
	}
	sum := sha256.Sum256(a.Evidence)
	if a.EvidenceHash != "sha-256:"+base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Error("the evidence hash is not that of the kept bytes")
	}
	var doc struct{ Nonce string }
	if json.Unmarshal(a.Evidence, &doc) != nil || len(doc.Nonce) != 22 {
		t.Errorf("the evidence document has no 128 random bits: %s", a.Evidence)
	}
	if strings.Contains(string(a.Evidence), "t0ken") {
		t.Error("the evidence document shows a secret")
	}
	if at := a.Tries[0]; at.Class != "done" || at.Status != 204 || at.Answered == 0 || at.Sent == 0 {
		t.Errorf("attempt %+v", at)
	}
}

func TestResidueBoundsWhatLivesOn(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("crm", "demo-crm", s.URL)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("crm")))[0]
	if a.State != hub.Succeeded || a.Reason != "done_with_residue" {
		t.Fatalf("%s %s %s", a.State, a.Reason, a.Evidence)
	}
	if a.EffectiveBy != a.Completed+hub.Micros(b.apps["crm"].Pack.Residue()/time.Microsecond) {
		t.Errorf("effective_by %d, completed %d", a.EffectiveBy, a.Completed)
	}
}

func TestAcceptedIsReadBackUntilProven(t *testing.T) {
	s := newSite(t)
	s.end = func(w http.ResponseWriter, account string) {
		w.WriteHeader(http.StatusAccepted)
		time.AfterFunc(400*time.Millisecond, func() { s.mu.Lock(); defer s.mu.Unlock(); delete(s.sessions, account) })
	}
	b := newBench(t)
	b.app("forum", "demo-forum", s.URL)
	var seen record
	b.start(func(c *act.Config) { c.Changed = seen.note })
	a := b.final(b.plan(nil, revoke("forum")))[0]
	check(t, a, want{hub.Succeeded, "done", 1, 2, 2, 0, true, hub.Verified})
	if got := seen.all(); len(got) == 0 || got[0] != "delayed/" {
		t.Errorf("states %v, want delayed first", got)
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d acting requests", n)
	}
}

func TestAcceptedAndNeverDoneTimesOut(t *testing.T) {
	s := newSite(t)
	s.end = func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusAccepted) }
	b := newBench(t)
	b.app("forum", "demo-forum", s.URL)
	b.start(nil)
	a := revoke("forum")
	by := time.Now().Add(2 * time.Second)
	got := b.final(b.plan(&hub.Order{Directive: json.RawMessage(`{}`), ReceiptNo: "CS-1", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", CompleteBy: by.Unix()}, a))[0]
	check(t, got, want{hub.Failed, "timed_out", 1, 2, 0, 2, true, hub.Committed})
	if got.Completed.Time().After(by) {
		t.Error("given up after complete_by")
	}
}

func TestAppThatFailsUntilTheDeadline(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		reason string
	}{
		"500": {500, "app_error"},
		"503": {503, "app_error"},
		"429": {429, "rate_limited"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodDelete {
					w.WriteHeader(tc.status)
					return true
				}
				return false
			}
			b := newBench(t)
			b.app("wiki", "http-sessions", s.URL)
			b.start(nil)
			by := time.Now().Add(3 * time.Second)
			a := b.final(b.plan(&hub.Order{Directive: json.RawMessage(`{}`), ReceiptNo: "CS-1", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", CompleteBy: by.Unix()}, revoke("wiki")))[0]
			if a.State != hub.Failed || a.Reason != tc.reason || a.Attempts < 1 {
				t.Errorf("%s %s after %d attempts: %s", a.State, a.Reason, a.Attempts, a.Evidence)
			}
			if a.Completed.Time().After(by) {
				t.Errorf("given up at %s, complete_by is %s", a.Completed.Time(), by)
			}
			if a.Found != 2 || a.Acted != 0 || a.Left != 2 {
				t.Errorf("counts %d %d %d", a.Found, a.Acted, a.Left)
			}
		})
	}
}

func TestUnreachableAppIsTriedUntilTheDeadline(t *testing.T) {
	s := newSite(t)
	url := s.URL
	s.Close()
	b := newBench(t)
	b.app("wiki", "http-sessions", url)
	var pending record
	b.start(func(c *act.Config) { c.Changed = pending.note })
	by := time.Now().Add(2 * time.Second)
	a := b.final(b.plan(&hub.Order{Directive: json.RawMessage(`{}`), ReceiptNo: "CS-1", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", CompleteBy: by.Unix()}, revoke("wiki")))[0]
	check(t, a, want{hub.Failed, "app_unreachable", 0, 0, 0, 0, false, hub.Assertion})
	if got := pending.all(); len(got) == 0 || got[0] != "planned/app_unreachable" {
		t.Errorf("states %v", got)
	}
	req.Covers(t, "AR-§5.6")
}

func TestRefusedIsFinal(t *testing.T) {
	for _, status := range []int{401, 403} {
		s := newSite(t)
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodDelete {
				w.WriteHeader(status)
				return true
			}
			return false
		}
		b := newBench(t)
		b.app("wiki", "http-sessions", s.URL)
		b.start(nil)
		a := b.final(b.plan(nil, revoke("wiki")))[0]
		check(t, a, want{hub.Failed, "app_denied", 1, 2, 0, 2, true, hub.Committed})
		req.Covers(t, "AR-§6.8")
	}
}

// A request that reached the app and whose answer was lost is looked at before anything is sent again.
func TestLostAnswerIsReadBackFirst(t *testing.T) {
	for name, did := range map[string]bool{"the app had done it": true, "the app had not": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			first := true
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodDelete || !first {
					return false
				}
				first = false
				if did {
					delete(s.sessions, "a1")
				}
				c, _, _ := http.NewResponseController(w).Hijack()
				c.Close()
				return true
			}
			b := newBench(t)
			b.app("wiki", "http-sessions", s.URL)
			b.start(nil)
			a := b.final(b.plan(nil, revoke("wiki")))[0]
			n := 2
			if did {
				n = 1
			}
			check(t, a, want{hub.Succeeded, "done", n, 2, 2, 0, true, hub.Verified})
			if got := len(s.requests()); got != n {
				t.Errorf("%d acting requests, want %d", got, n)
			}
			if a.Tries[0].Class != "unknown" || a.Tries[0].Answered != 0 {
				t.Errorf("first attempt %+v", a.Tries[0])
			}
			// Between two acting requests there was a read-back.
			var doc struct{ Exchanges []struct{ What string } }
			if err := json.Unmarshal(a.Evidence, &doc); err != nil {
				t.Fatal(err)
			}
			last := ""
			for _, e := range doc.Exchanges {
				if e.What == "act" && last == "act" {
					t.Errorf("two acting requests without a look between: %s", a.Evidence)
				}
				last = e.What
			}
		})
	}
}

// The hub dies between sending and its commit: the next life finds the attempt and looks first.
func TestCrashAfterSending(t *testing.T) {
	for _, point := range []string{"act.before-send", "act.after-answer", "act.before-readback"} {
		t.Run(point, func(t *testing.T) {
			s := newSite(t)
			b := newBench(t)
			b.app("wiki", "http-sessions", s.URL)
			reached := make(chan struct{})
			b.start(func(c *act.Config) {
				c.Stop = func(p string) {
					if p == point {
						close(reached)
						panic("this life ends here") // nothing after it is written
					}
				}
			})
			sig := b.plan(nil, revoke("wiki"))
			<-reached
			b.halt()
			b.store.Close()
			b.open() // a new life over the same rows: what the old one held is free
			b.start(nil)
			a := b.final(sig)[0]
			if a.State != hub.Succeeded || a.Reason != "done" || a.Left != 0 || a.Level != hub.Verified {
				t.Errorf("%s %s %s", a.State, a.Reason, a.Evidence)
			}
			if got := len(s.requests()); got > a.Attempts {
				t.Errorf("%d acting requests, %d attempts", got, a.Attempts)
			}
			if point != "act.before-send" {
				if got := len(s.requests()); got != 1 || a.Attempts != 1 {
					t.Errorf("%d acting requests, %d attempts, want 1 and 1", got, a.Attempts)
				}
			}
		})
	}
}

func TestNothingToEnd(t *testing.T) {
	s := newSite(t)
	s.sessions = map[string][]string{}
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("wiki")))[0]
	check(t, a, want{hub.Skipped, "already_gone", 0, 0, 0, 0, true, hub.Verified})
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d acting requests", n)
	}
	req.Covers(t, "Q-56")
}

func TestNobodyThereGivesNoLine(t *testing.T) {
	s := newSite(t)
	s.users = map[string][]string{}
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("wiki")))[0]
	if a.State != hub.Skipped || a.Reason != "no_such_subject" || !a.Hidden {
		t.Errorf("%s %s hidden=%v", a.State, a.Reason, a.Hidden)
	}
}

func TestAmbiguousAddress(t *testing.T) {
	s := newSite(t)
	s.users = map[string][]string{"a1": {"alice@example.test"}, "a2": {"alice@example.test"}}
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("wiki")))[0]
	if a.State != hub.Failed || a.Reason != "ambiguous_subject" || len(s.requests()) != 0 {
		t.Errorf("%s %s, %d acting requests", a.State, a.Reason, len(s.requests()))
	}
}

func TestSeveralAccountsAreSeveralActions(t *testing.T) {
	s := newSite(t)
	s.users = map[string][]string{"a1": {"alice@example.test"}, "a2": {"alice@second.test"}}
	s.sessions = map[string][]string{"a1": {"s1"}, "a2": {"s2", "s3"}}
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := revoke("wiki")
	a.Email = "alice@example.test alice@second.test"
	all := b.final(b.plan(nil, a))
	if len(all) != 2 || all[0].Account != "a1" || all[1].Account != "a2" {
		t.Fatalf("%d actions", len(all))
	}
	check(t, all[0], want{hub.Succeeded, "done", 1, 1, 1, 0, true, hub.Verified})
	check(t, all[1], want{hub.Succeeded, "done", 1, 2, 2, 0, true, hub.Verified})
}

func TestOneSession(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := revoke("wiki")
	a.Reach, a.Session = hub.ReachSession, "s2"
	check(t, b.final(b.plan(nil, a))[0], want{hub.Succeeded, "done", 1, 1, 1, 0, true, hub.Verified})
	if left := s.sessions["a1"]; len(left) != 1 || left[0] != "s1" {
		t.Errorf("sessions left %v", left)
	}
	gone := revoke("wiki")
	gone.Reach, gone.Session = hub.ReachSession, "s2"
	check(t, b.final(b.plan(nil, gone))[0], want{hub.Skipped, "already_gone", 0, 0, 0, 0, true, hub.Verified})
}

func TestSaidDoneAndIsNot(t *testing.T) {
	s := newSite(t)
	s.end = func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNoContent) }
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := b.final(b.plan(&hub.Order{Directive: json.RawMessage(`{}`), ReceiptNo: "CS-1", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", CompleteBy: time.Now().Add(4 * time.Second).Unix()}, revoke("wiki")))[0]
	if a.State != hub.Failed || a.Reason != "verification_failed" || a.Left != 2 || a.Acted != 0 {
		t.Errorf("%s %s left=%d acted=%d: %s", a.State, a.Reason, a.Left, a.Acted, a.Evidence)
	}
	req.Covers(t, "A18")
}

func TestNotAfterForbidsTheStart(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(nil)
	a := revoke("wiki")
	a.NotAfter = hub.At(time.Now().Add(-time.Second))
	got := b.final(b.plan(nil, a))[0]
	if got.State != hub.Expired || len(s.requests()) != 0 {
		t.Errorf("%s, %d acting requests", got.State, len(s.requests()))
	}
	// A passed deadline is no reason not to act: it is tried once.
	late := revoke("wiki")
	got = b.final(b.plan(&hub.Order{Directive: json.RawMessage(`{}`), ReceiptNo: "CS-2", ReceiptIssuer: "https://hub.example.test", ReceiptAudience: "https://idp.example.test", CompleteBy: time.Now().Add(-time.Minute).Unix()}, late))[0]
	check(t, got, want{hub.Succeeded, "done", 1, 2, 2, 0, true, hub.Verified})
	req.Covers(t, "AR-§4")
}

// One hung app has its own queue: the others do not wait.
func TestHungAppDelaysNobody(t *testing.T) {
	hung, quick := newSite(t), newSite(t)
	release := make(chan struct{})
	hung.Server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release })
	b := newBench(t)
	b.app("hung", "http-sessions", hung.URL)
	b.app("quick", "http-sessions", quick.URL)
	b.start(nil)
	for range 20 {
		b.plan(nil, revoke("hung"))
	}
	start := time.Now()
	a := b.final(b.plan(nil, revoke("quick")))[0]
	if a.State != hub.Succeeded {
		t.Fatalf("%s %s", a.State, a.Reason)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("waited %s for a neighbour", took)
	}
	close(release)
	b.halt()
}

func TestDeadline(t *testing.T) {
	for _, tc := range []struct {
		span, want time.Duration
	}{
		{20 * time.Second, 18 * time.Second},
		{100 * time.Second, 90 * time.Second},
		{time.Hour, time.Hour - 10*time.Second},
	} {
		start := time.Unix(1_800_000_000, 0)
		got := act.Deadline(hub.At(start), start.Add(tc.span).Unix()).Time().Sub(start)
		if got != tc.want {
			t.Errorf("span %s: tries end after %s, want %s", tc.span, got, tc.want)
		}
	}
}

func TestRemovedApp(t *testing.T) {
	b := newBench(t)
	b.start(nil)
	a := b.final(b.plan(nil, revoke("gone")))[0]
	if a.State != hub.Failed || a.Reason != "internal_error" {
		t.Errorf("%s %s", a.State, a.Reason)
	}
}

const fullPack = `
id: full
title: An application that disables accounts
checked: {date: 2026-11-24, how: run}
settings:
  url: {type: url, title: Address}
secrets:
  token: {title: API token}
auth: {kind: bearer, token: "${secrets.token}"}
operations:
  lookup_account:
    request: {method: GET, path: /admin/users, query: {email: "${wanted.email}"}}
    found: 'body.users.map(u, {"id": u.id})'
  list_sessions:
    request: {method: GET, path: "/admin/users/${account.id}/sessions"}
    sessions: 'body.map(s, {"id": s.id})'
  disable_account:
    request: {method: PUT, path: "/admin/users/${account.id}/disabled"}
    done: "status == 204"
    repeat: same
  end_session:
    request: {method: DELETE, path: "/admin/sessions/${session.id}"}
    done: "status == 204"
    already_done: "status == 404 && looked_up"
    repeat: gone
    read_back: {use: list_sessions, proven: '!sessions.exists(s, s.id == session.id)', after: 0s, every: 50ms, tries: 3}
`

// Disabling is a sequence: its later steps are carried out too, and stand in lines of their own that nobody ordered.
func TestDisableIsASequence(t *testing.T) {
	s := newSite(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		return false
	}
	b := newBench(t)
	b.pack("full", fullPack+bounded, s.URL)
	b.start(nil)
	a := revoke("full")
	a.Name, a.Reach, a.Line, a.Ordered = hub.DisableAccount, "", "a1", true
	all := b.final(b.plan(nil, a))
	if len(all) != 2 {
		t.Fatalf("%d actions", len(all))
	}
	if got := all[0]; got.State != hub.Succeeded || got.Reason != "done_with_residue" || got.EffectiveBy != got.Completed+600e6 || got.Attempts != 3 || got.Level != hub.Committed || got.Counted {
		t.Errorf("disable: %s %s attempts %d level %s", got.State, got.Reason, got.Attempts, got.Level)
	}
	x := all[1]
	if x.Name != hub.RevokeSessions || x.Line != "x" || x.Ordered || x.State != hub.Succeeded || x.Found != 2 || x.Acted != 2 || x.Left != 0 || x.Level != hub.Verified || x.Account != "a1" || x.Reach != hub.ReachTokens {
		t.Errorf("the sessions' line: %+v", x)
	}
	got := s.requests()
	if len(got) != 3 || !strings.HasPrefix(got[0], "PUT ") || !strings.HasPrefix(got[1], "DELETE /admin/sessions/s1 ") || !strings.HasPrefix(got[2], "DELETE /admin/sessions/s2 ") {
		t.Fatalf("acting requests %q", got)
	}
	keys := map[string]bool{}
	for _, r := range got {
		keys[r[strings.LastIndex(r, " "):]] = true
	}
	if len(keys) != 3 {
		t.Errorf("idempotency keys are shared: %q", got)
	}
}
