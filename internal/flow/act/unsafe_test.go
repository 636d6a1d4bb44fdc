package act_test

import (
	"testing"

	"countersign/internal/flow/act"
	"countersign/internal/hub"
)

// An account id that would lead to another address of the app is not called, and not tried for a day either.
func TestAccountThatIsAnotherAddress(t *testing.T) {
	s := newSite(t)
	b := newBench(t)
	b.app("wiki", "http-sessions", s.URL)
	b.start(func(*act.Config) {})
	for _, id := range []string{"..", "../../settings", "a/b", "a\\b", "a\r\nX: y"} {
		r := revoke("wiki")
		r.Email, r.Account = "", id
		a := b.final(b.plan(nil, r))[0]
		if a.State != hub.Failed || a.Reason != "internal_error" || a.Attempts != 0 {
			t.Errorf("%q: %s %s, %d attempts", id, a.State, a.Reason, a.Attempts)
		}
	}
	if got := s.requests(); len(got) != 0 {
		t.Errorf("acting requests %q", got)
	}
}
