package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/transmitter"
)

// An order whose subject stays unknown is not met with silence: it ends with a final receipt in time, and the signal
// stays visible with its reason.
func TestUnresolvedOrderEndsInTime(t *testing.T) { unresolvedOrderEnds(t, newWorld(t)) }

func TestUnresolvedOrderEndsInTimeOnPostgreSQL(t *testing.T) {
	address, schema := pgtest.URL(t)
	joint := "?"
	if strings.Contains(address, "?") {
		joint = "&"
	}
	unresolvedOrderEnds(t, newWorldOn(t, address+joint+"search_path="+schema))
}

func unresolvedOrderEnds(t *testing.T, w *world) {
	w.apply(strings.ReplaceAll(docApps, "accounts: {match: email}", "accounts: {match: declared}") + docIDP + `---
kind: identity
name: bob
emails: [bob@example.test, team@example.test]
---
kind: identity
name: carol
emails: [team@example.test]
`)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	began := time.Now()
	by := began.Add(4 * time.Second).Unix()
	send := func(sub, more string) string {
		t.Helper()
		sent, err := w.idp.Send(context.Background(), transmitter.Message{Type: sessionRevoked, SubID: json.RawMessage(sub), Payload: json.RawMessage(`{"event_timestamp":1700000000}`),
			Order: json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"},{"id":"a2","action":"refresh_claims","optional":true}],` + more + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		return sent.JTI
	}
	final := fmt.Sprintf(`"complete_by":%d,"receipt":{"when":"final","evidence":"assertion"}`, by)
	all := fmt.Sprintf(`"complete_by":%d,"receipt":{"when":"all","evidence":"assertion"}`, by)
	cases := []struct {
		name, jti, line string
		seq             int
	}{
		{"nobody", send(aliceMail, final), "a1 revoke_sessions  skipped no_such_subject", 1},
		{"nobody, with a proof of arrival", send(`{"format":"email","email":"dave@example.test"}`, all), "a1 revoke_sessions  skipped no_such_subject", 2},
		{"two people", send(`{"format":"email","email":"team@example.test"}`, final), "a1 revoke_sessions  failed ambiguous_subject", 1},
		{"of another party", send(`{"format":"iss_sub","iss":"https://other.example.test","sub":"1"}`, final), "a1 revoke_sessions  failed not_authorized", 1},
		{"not after", send(`{"format":"email","email":"erin@example.test"}`, fmt.Sprintf(`"not_after":%d,"receipt":{"when":"final","evidence":"assertion"}`, began.Add(2*time.Second).Unix())), "a1 revoke_sessions  failed expired", 1},
	}
	seqs := map[string]*hub.Signal{}
	for _, c := range cases {
		seqs[c.jti] = w.signal("idp", c.jti, hub.SignalUnresolved)
	}
	for _, c := range cases {
		r := w.await(c.jti)
		if got := lineIDs(r); len(got) != 1 || got[0] != c.line || r.Stage != "final" || r.Seq != c.seq {
			t.Errorf("%s: %q, stage %s, seq %d", c.name, got, r.Stage, r.Seq)
		}
		sig := w.signal("idp", c.jti, hub.SignalUnresolved)
		if sig.Reason == "" || sig.Order.Stage != "final" {
			t.Errorf("%s: the signal says %q, stage %q", c.name, sig.Reason, sig.Order.Stage)
		}
	}
	if now := time.Now(); now.Unix() > by {
		t.Errorf("the receipts came %s after complete_by", now.Sub(time.Unix(by, 0)))
	}
	req.Covers(t, "A28", "A43", "AR-§8")

	// A mapping that appears too late corrects what was said; one that changes nothing says nothing again.
	w.apply("kind: identity\nname: alice\nemails: [alice@example.test]\naccounts: [{at: wiki, id: \"1\"}]\n---\nkind: identity\nname: erin\nemails: [erin@example.test]\naccounts: [{at: wiki, id: \"2\"}]\n")
	late := func(i int, line string) {
		t.Helper()
		sig := w.signal("idp", cases[i].jti, hub.SignalDone)
		w.eventually("the amended receipt of "+cases[i].name, func() bool {
			rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
			if err != nil || len(rs) != 2 || rs[1].State != "accepted" {
				return false
			}
			var r receipt.Receipt
			if err := json.Unmarshal(rs[1].Body, &r); err != nil {
				t.Fatal(err)
			}
			if got := lineIDs(&r); r.Stage != "amended" || got[0] != line {
				t.Fatalf("%s: %s %q", cases[i].name, r.Stage, got)
			}
			return true
		})
	}
	late(0, "a1.1 revoke_sessions wiki succeeded done")
	late(4, "a1.1 revoke_sessions wiki failed expired")
	for _, i := range []int{1, 2, 3} {
		rs, err := w.srv.store.ReceiptsOf(context.Background(), seqs[cases[i].jti].Seq)
		if err != nil || len(rs) != cases[i].seq {
			t.Errorf("%s: %d receipts, %v", cases[i].name, len(rs), err)
		}
	}
}

// A mapping that appears before the deadline runs the order as usual, and the deadline then says nothing more.
func TestMappingBeforeTheDeadline(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.ReplaceAll(docApps, "accounts: {match: email}", "accounts: {match: declared}") + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	by := time.Now().Add(4 * time.Second)
	jti := w.order(fmt.Sprintf(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"complete_by":%d,"receipt":{"when":"final","evidence":"verified"}}`, by.Unix()))
	w.signal("idp", jti, hub.SignalUnresolved)
	w.apply("kind: identity\nname: alice\nemails: [alice@example.test]\naccounts: [{at: wiki, id: \"1\"}]\n")
	r := w.await(jti)
	if got := lineIDs(r); len(got) != 1 || got[0] != "a1.1 revoke_sessions wiki succeeded done" || r.Seq != 1 {
		t.Errorf("%q seq %d", got, r.Seq)
	}
	w.shift.Store(int64(10 * time.Second))
	if jobs, err := w.srv.store.ClaimJobs(context.Background(), []string{"cut"}, 10); err != nil || len(jobs) != 0 {
		t.Errorf("a cut is due still: %+v, %v", jobs, err)
	}
	rs, err := w.srv.store.ReceiptsOf(context.Background(), w.signal("idp", jti, hub.SignalDone).Seq)
	if err != nil || len(rs) != 1 {
		t.Errorf("%d receipts, %v", len(rs), err)
	}
}

// An order for one session that means nothing here, and a policy whose fallback goes wider: the wider action is work
// of its own, and the ordered line is done by it and says so.
func TestFallbackWiderThanOrdered(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP + `---
kind: policy
name: wider
on: [caep/session-revoked]
then:
  - {action: revoke_sessions, scope: session, fallback: app, at: [wiki]}
`)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	w.sites["forum"].SignInAs("1")
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"session"}}],"receipt":{"when":"all","evidence":"verified"}}`)
	r := w.await(jti)
	want := "a1.1 revoke_sessions forum failed not_supported|a1.2 revoke_sessions wiki succeeded done|x.1 revoke_sessions wiki succeeded done"
	if got := strings.Join(lineIDs(r), "|"); got != want {
		t.Fatalf("lines %s, want %s", got, want)
	}
	l, x := r.Lines[1], r.Lines[2]
	if l.Reach != "session" || x.Reach != "session_tokens" || !strings.Contains(l.ReasonText["en"], "x.1") || l.Evidence.Level != "verified" || l.Evidence.Hash != x.Evidence.Hash {
		t.Errorf("ordered %+v, extra %+v", l, x)
	}
	if w.sites["wiki"].Live("1") != 0 || w.sites["forum"].Live("1") != 1 {
		t.Error("sessions ended elsewhere than the policy says")
	}
	req.Covers(t, "B3")
}
