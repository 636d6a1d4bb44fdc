package act_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hub"
)

// Without complete_by, tries end 24 h after the action was planned, and an hour after an app accepted (design section
// 3, when to give up). Until then it goes on.
func TestGivesUpWithoutCompleteBy(t *testing.T) {
	for name, tc := range map[string]struct {
		pack       string
		status     int
		still, end time.Duration
		reason     string
	}{
		"never accepted":           {"http-sessions", http.StatusInternalServerError, 23 * time.Hour, 24 * time.Hour, "app_error"},
		"accepted, never finished": {"demo-forum", http.StatusAccepted, 59 * time.Minute, time.Hour, "timed_out"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.end = func(w http.ResponseWriter, _ string) { w.WriteHeader(tc.status) }
			b := newBench(t)
			var shift atomic.Int64
			b.clock = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
			b.app("app", tc.pack, s.URL)
			b.start(nil)
			sig := b.plan(nil, revoke("app"))
			asked := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.acting) + s.looks }
			more := func(n int) {
				t.Helper()
				for end := time.Now().Add(10 * time.Second); asked() < n; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("asked %d times, want %d", asked(), n)
					}
				}
			}
			more(3)
			n := asked()
			shift.Store(int64(tc.still))
			more(n + 2)
			all, err := b.store.ActionsOf(t.Context(), sig.Seq)
			if err != nil || all[0].State.Final() {
				t.Fatalf("after %s: %+v, %v", tc.still, all[0], err)
			}
			shift.Store(int64(tc.end))
			a := b.final(sig)[0]
			if a.State != hub.Failed || a.Reason != tc.reason {
				t.Errorf("%s/%s, want failed/%s", a.State, a.Reason, tc.reason)
			}
			if took := time.Duration(a.Completed-a.Requested) * time.Microsecond; took < tc.end {
				t.Errorf("given up after %s", took)
			}
		})
	}
}

// The states that an answer alone leads to.
func TestStatesOfOneAnswer(t *testing.T) {
	disable := func(more string) string {
		return strings.Replace(fullPack, "    repeat: same\n", more+"    repeat: same\n", 1) + tokens + bounded
	}
	for name, tc := range map[string]struct {
		pack   string
		status int
		none   bool // the account has no session
		state  hub.State
		reason string
	}{
		"done":             {disable(""), 204, false, hub.Succeeded, "done_with_residue"},
		"refused":          {disable("    refused: \"status == 403\"\n"), 403, false, hub.Failed, "app_denied"},
		"in this state":    {disable("    already_done: \"status == 409\"\n"), 409, true, hub.Succeeded, "done_with_residue"}, // the tokens were revoked by us
		"accepted, silent": {disable("    accepted: \"status == 202\"\n"), 202, false, hub.Unconfirmed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if tc.none {
				s.sessions = map[string][]string{}
			}
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method != http.MethodPut:
					return false
				case strings.HasSuffix(r.URL.Path, "/disabled"):
					w.WriteHeader(tc.status)
				default:
					w.WriteHeader(http.StatusNoContent)
				}
				return true
			}
			b := newBench(t)
			b.pack("full", tc.pack, s.URL)
			b.start(nil)
			a := b.final(b.plan(nil, account(hub.DisableAccount)))[0]
			if a.State != tc.state || a.Reason != tc.reason {
				t.Errorf("%s/%s, want %s/%s: %s", a.State, a.Reason, tc.state, tc.reason, a.Evidence)
			}
			if got := len(s.paths()); tc.state != hub.Failed && !tc.none && got != 4 { // the account, two sessions, the tokens
				t.Errorf("%d acting requests, want the whole sequence: %q", got, s.paths())
			}
			// An answer or a recorded state is never proof of refusal (design section 2.4).
			if a.Level == hub.Verified {
				t.Errorf("the level is %s", a.Level)
			}
		})
	}
}
