package act_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/flow/act"
	"countersign/internal/hub"
	"countersign/internal/req"
)

// Of an order that its sender took back, ordered lines that were not started are withdrawn; work that a policy wants
// besides goes on (receipts design §6.6).
func TestWithdrawnBeforeTheStart(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(func(c *act.Config) { c.Withdrawn = func(*hub.Signal) bool { return true } })
	ordered, extra := revoke("wiki"), revoke("wiki")
	ordered.Ordered, ordered.Line = true, "a1"
	extra.Ordered, extra.Line = false, "x"
	all := b.final(b.plan(nil, ordered, extra))
	var got []hub.State
	for _, a := range all {
		got = append(got, a.State)
	}
	if !slices.Equal(got, []hub.State{hub.Withdrawn, hub.Succeeded}) || all[0].Attempts != 0 {
		t.Errorf("states %v, %d attempts", got, all[0].Attempts)
	}
	if status, reason := all[0].State.Line(all[0].Reason); status != "skipped" || reason != "withdrawn" {
		t.Errorf("its line says %s %s", status, reason)
	}
	req.Covers(t, "AR-§6.6")
}

// What was started is finished.
func TestWithdrawnAfterTheStart(t *testing.T) {
	s := newSite(t)
	var fails, withdrawn atomic.Bool
	fails.Store(true)
	s.end = func(w http.ResponseWriter, _ string) {
		if fails.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusForbidden) // a last word
	}
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(func(c *act.Config) { c.Withdrawn = func(*hub.Signal) bool { return withdrawn.Load() } })
	ordered := revoke("wiki")
	ordered.Ordered, ordered.Line = true, "a1"
	sig := b.plan(nil, ordered)
	for end := time.Now().Add(10 * time.Second); len(s.requests()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not started")
		}
	}
	withdrawn.Store(true)
	fails.Store(false)
	if a := b.final(sig)[0]; a.State == hub.Withdrawn || a.Attempts == 0 {
		t.Errorf("%s after %d attempts", a.State, a.Attempts)
	}
}
