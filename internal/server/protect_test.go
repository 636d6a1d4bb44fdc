package server

import (
	"testing"

	"countersign/internal/hub"
)

// protect: never holds whatever address a signal uses: an app may know the person by one that nobody declared here.
func TestProtectedByAnotherAddress(t *testing.T) {
	w := newWorld(t)
	w.apply(docWiki + docRaw + docPolicy + `---
kind: identity
name: boss
emails: [boss@example.test]
accounts: [{at: wiki, id: "2"}]
protect: never
`)
	w.sites["wiki"].SignInAs("1")
	w.sites["wiki"].SignInAs("2")
	for jti, email := range map[string]string{"alias": "bob@example.test", "declared": "boss@example.test", "other": "alice@example.test"} {
		if status, body := w.push("raw", w.sign(jti, `{"format":"email","email":"`+email+`"}`, nil)); status != 202 {
			t.Fatalf("%d %s", status, body)
		}
		w.signal("raw", jti, hub.SignalDone)
	}
	got := w.actions(w.signal("raw", "alias", hub.SignalDone))
	if len(got) != 1 || got[0].State != hub.Failed || got[0].Reason != "policy_declined" || got[0].Attempts != 0 {
		t.Errorf("by another address: %+v", got)
	}
	if n := w.sites["wiki"].Live("2"); n != 1 {
		t.Errorf("the protected person has %d sessions left, want 1", n)
	}
	if n := w.sites["wiki"].Live("1"); n != 0 {
		t.Errorf("somebody else has %d sessions left, want 0", n)
	}
}
