package server

import (
	"encoding/json"
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

// One address is one address, also where its quoted part looks like several: nobody else is looked up.
func TestAddressThatHoldsOthers(t *testing.T) {
	w := newWorld(t)
	w.apply(docWiki + docRaw + docPolicy + `---
kind: identity
name: boss
emails: [bob@example.test]
protect: never
`)
	w.sites["wiki"].SignInAs("1")
	w.sites["wiki"].SignInAs("2")
	for jti, space := range map[string]string{"space": " ", "tab": "\t", "wide": "\u3000"} {
		sub, err := json.Marshal(map[string]string{"format": "email", "email": `"x` + space + "bob@example.test" + space + "alice@example.test" + space + `y"@evil.example`})
		if err != nil {
			t.Fatal(err)
		}
		status, _ := w.push("raw", w.sign(jti, string(sub), nil))
		if status == 400 {
			continue // a subject that is refused harms nobody
		}
		for _, a := range w.actions(w.signal("raw", jti, hub.SignalDone, hub.SignalUnresolved)) {
			if a.Attempts > 0 || a.Account != "" {
				t.Errorf("%s: acted on account %q", jti, a.Account)
			}
		}
	}
	for _, id := range []string{"1", "2"} {
		if n := w.sites["wiki"].Live(id); n != 1 {
			t.Errorf("account %s has %d sessions left, want 1", id, n)
		}
	}
}
