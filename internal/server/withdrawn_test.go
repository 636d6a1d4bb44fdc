package server

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/set"
)

// An order that its sender took back ends at once: what was not begun is not begun, and the final receipt says so.
func TestOrderWithdrawn(t *testing.T) { onBoth(t, orderWithdrawn) }

func orderWithdrawn(t *testing.T, w *world) {
	w.apply(strings.ReplaceAll(docApps, "accounts: {match: email}", "accounts: {match: declared}") + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	// Nobody is known who fits, so that nothing can begin.
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"final","evidence":"assertion"}}`)
	w.signal("idp", jti, hub.SignalUnresolved)
	if err := w.idp.Withdraw(context.Background(), jti, "a mistake"); err != nil {
		t.Fatal(err)
	}
	r := w.await(jti)
	if got := lineIDs(r); len(got) != 1 || got[0] != "a1 revoke_sessions  skipped withdrawn" || r.Stage != "final" || r.Outcome != "withdrawn" {
		t.Fatalf("%q, %s, %s", got, r.Stage, r.Outcome)
	}
	req.Covers(t, "AR-§6.6")
	if sig := w.signal("idp", jti, hub.SignalUnresolved); sig.Order.Withdrawn == 0 {
		t.Error("the order does not say when it was taken back")
	}
	// Somebody who fits later changes nothing any more.
	w.apply("kind: identity\nname: alice\nemails: [alice@example.test]\naccounts: [{at: wiki, id: \"1\"}]\n")
	sig := w.signal("idp", jti, hub.SignalDone)
	if acts := w.actions(sig); len(acts) != 0 {
		t.Errorf("actions of an order that was taken back: %+v", acts)
	}
	if w.sites["wiki"].Live("1") != 1 {
		t.Error("sessions were ended for an order that was taken back")
	}
}

// A withdrawal that names no order of its sender withdraws nothing; one whose order may still come is asked for again.
func TestWithdrawalRefused(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP + docRaw)
	w.streamReady()
	w.agree()
	withdrawn := receipt.Default().Withdrawn
	jwtID := func(iss, jti string) string {
		return `{"format":"jwt_id","iss":"` + iss + `","jti":"` + jti + `"}`
	}
	now := time.Now().Unix()
	for i, c := range []struct {
		name, sub, event string
		iat              int64
		status           int
	}{
		{"no hash", jwtID(rawIssuer, "o1"), `{}`, now, 400},
		{"another subject", `{"format":"email","email":"alice@example.test"}`, `{"set_hash":"sha-256:x"}`, now, 400},
		{"another's order", jwtID("https://else.example.test", "o1"), `{"set_hash":"sha-256:x"}`, now, 400},
		{"not here yet", jwtID(rawIssuer, "o1"), `{"set_hash":"sha-256:x"}`, now, 503},
		{"never came", jwtID(rawIssuer, "o1"), `{"set_hash":"sha-256:x"}`, now - 600, 202},
	} {
		jti := "w" + string(rune('0'+i))
		status, body := w.push("raw", w.sign(jti, c.sub, func(claims *set.Claims) {
			claims.IssuedAt, claims.Events = c.iat, []set.Event{{Type: withdrawn, Payload: json.RawMessage(c.event)}}
		}))
		if status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, status, body, c.status)
		}
	}
	if sig := w.signal("raw", "w4", hub.SignalDone); !strings.Contains(sig.Reason, "never came") {
		t.Errorf("it is kept as %q", sig.Reason)
	}
}
