package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/pgtest"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

const aliceMail = `{"format":"email","email":"alice@example.test"}`

func (w *world) order(directive string) string {
	w.t.Helper()
	sent, err := w.idp.Send(context.Background(), transmitter.Message{Type: sessionRevoked, SubID: json.RawMessage(aliceMail),
		Payload: json.RawMessage(`{"event_timestamp":1700000000}`), Order: json.RawMessage(directive)})
	if err != nil {
		w.t.Fatal(err)
	}
	return sent.JTI
}

// agree gives the source "raw" the agreement of the identity provider, so that the test can write its orders itself.
func (w *world) agree() {
	w.t.Helper()
	v := w.srv.home().view.Load()
	src := *v.sources["raw"]
	in := *src.in
	in.Receipts = v.sources["idp"].in.Receipts
	next := *v
	next.receive = map[string]*ingest.Source{src.state.ReceiveID: w.srv.door.Prepare(&in)}
	w.srv.home().view.Store(&next)
}

// with puts a directive into a SET.
func with(directive string, change func(*set.Claims)) func(*set.Claims) {
	return func(c *set.Claims) {
		c.Extra = []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(directive)}}
		if change != nil {
			change(c)
		}
	}
}

// cut waits for the latest receipt of a signal that has nothing open.
func (w *world) cut(source, jti string) *receipt.Receipt {
	w.t.Helper()
	sig := w.signal(source, jti, hub.SignalDone)
	var r receipt.Receipt
	w.eventually("the receipt of "+jti, func() bool {
		rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		return err == nil && len(rs) > 0 && rs[len(rs)-1].Stage != "interim" && json.Unmarshal(rs[len(rs)-1].Body, &r) == nil
	})
	return &r
}

func lineIDs(r *receipt.Receipt) (out []string) {
	for _, l := range r.Lines {
		app := ""
		if l.Target != nil {
			app = l.Target.App
		}
		out = append(out, strings.Join([]string{l.ID, l.Action, app, l.Status, l.Reason}, " "))
	}
	return out
}

// An order ends sessions at every app; what a policy decides besides is an x line; what both want is done once.
func TestOrderAndPolicyTogether(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP + `---
kind: policy
name: also
on: [caep/session-revoked]
then:
  - {action: revoke_sessions, scope: app, at: [wiki]}
  - {action: reauthenticate, at: [wiki]}
`)
	w.streamReady()
	for range 2 {
		w.sites["wiki"].SignInAs("1")
	}
	w.sites["forum"].SignInAs("1")
	w.sites["wiki"].SignInAs("2")
	jti := w.order(fmt.Sprintf(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"}}],"complete_by":%d,"receipt":{"when":"final","evidence":"verified"}}`, time.Now().Add(20*time.Second).Unix()))
	r := w.await(jti)
	got := lineIDs(r)
	slices.Sort(got)
	// Which of the two at wiki comes first is open; what it ended, the other one finds gone (A38).
	first := len(got) == 3 && strings.HasPrefix(got[1], "a1.2 revoke_sessions wiki succeeded done") && strings.HasPrefix(got[2], "x.1 reauthenticate wiki ")
	second := len(got) == 3 && got[1] == "a1.2 revoke_sessions wiki skipped already_gone" && strings.HasPrefix(got[2], "x.1 reauthenticate wiki succeeded done")
	if !first && !second || !strings.HasPrefix(got[0], "a1.1 revoke_sessions forum succeeded done") {
		t.Fatalf("lines %q", got)
	}
	if r.Outcome != "fulfilled" || r.Stage != "final" || r.Seq != 1 || r.Totals.Requested != 1 || r.Totals.Lines != 3 {
		t.Errorf("receipt %+v", r)
	}
	for _, l := range r.Lines[:2] {
		if l.Evidence.Level != "verified" || l.Counts == nil || *l.Counts.Left != 0 || l.Reach != "global" || !strings.HasPrefix(l.Target.ID, "p-") {
			t.Errorf("line %+v", l)
		}
	}
	req.Covers(t, "A30", "A38", "A39", "B1", "AR-§5.3", "AR-§5.7")
	if n := w.sites["wiki"].Live("1"); n != 0 {
		t.Errorf("alice has %d sessions at wiki", n)
	}
	if n := w.sites["wiki"].Live("2"); n != 1 {
		t.Errorf("bob has %d sessions at wiki", n)
	}
	ends := 0
	for _, c := range w.sites["wiki"].Calls() {
		if c.Acting {
			ends++
			if c.Key == "" {
				t.Error("an acting request without idempotency key")
			}
		}
	}
	// One for the order and the policy together. The re-authentication finds nothing left, or asks once more.
	if ends < 1 || ends > 2 {
		t.Errorf("%d acting requests at wiki", ends)
	}
}

// The same on PostgreSQL: the flow knows no engine.
func TestOrderOnPostgreSQL(t *testing.T) {
	address, schema := pgtest.URL(t)
	joint := "?"
	if strings.Contains(address, "?") {
		joint = "&"
	}
	w := newWorldOn(t, address+joint+"search_path="+schema)
	w.apply(docApps + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	w.sites["forum"].SignInAs("1")
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"all","evidence":"verified"}}`)
	if r := w.await(jti); r.Outcome != "fulfilled" || r.Totals.Succeeded != 2 {
		t.Errorf("%s %q", r.Outcome, lineIDs(r))
	}
	if w.sites["wiki"].Live("1") != 0 {
		t.Error("alice is still in")
	}
}

// A repeated order is not acted on again; its receipt goes out again, at most once a minute.
func TestRepeatedOrder(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`)
	w.await(jti)
	w.eventually("the receipt is marked", func() bool {
		sig := w.signal("idp", jti, hub.SignalDone)
		rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		return err == nil && len(rs) == 1 && rs[0].State == "accepted"
	})
	acting := len(w.sites["wiki"].Calls())
	token := w.idp.OrderToken(jti)
	posts := w.posts.Load()
	for range 3 {
		if status, body := w.push("idp", token); status != 202 || body != "" {
			t.Fatalf("a repeated order: %d %q", status, body)
		}
	}
	w.eventually("the receipt is sent again", func() bool { return w.posts.Load() == posts+1 })
	w.shift.Store(int64(61 * time.Second))
	if status, _ := w.push("idp", token); status != 202 {
		t.Fatalf("a repeated order: %d", status)
	}
	w.eventually("the receipt is sent again after a minute", func() bool { return w.posts.Load() == posts+2 })
	if n := len(w.sites["wiki"].Calls()); n != acting {
		t.Errorf("%d calls at the app after the repeats, %d before", n, acting)
	}
	req.Covers(t, "AR-§6.1", "RX-58")
}

// An order that cannot be accepted is refused by receipt, and its event still counts.
func TestRefusedOrder(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP + docRaw + docPolicy)
	w.streamReady()
	w.agree()
	w.sites["wiki"].SignInAs("1")
	if status, body := w.push("raw", w.sign("r1", aliceMail, with(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"crit":["frobnicate"]}`, nil))); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	r := w.cut("raw", "r1")
	got := lineIDs(r)
	if len(got) != 2 || got[0] != "a1 revoke_sessions  failed invalid_directive" || !strings.HasPrefix(got[1], "x.1 revoke_sessions wiki succeeded") || r.Outcome != "refused" {
		t.Errorf("%s %q", r.Outcome, got)
	}
	req.Covers(t, "A35")
}

// With when: all a first receipt proves arrival, also while nobody is known; the final follows when the mapping appears.
func TestUnresolvedOrderRunsWhenTheMappingAppears(t *testing.T) {
	w := newWorld(t)
	w.apply(strings.ReplaceAll(docApps, "accounts: {match: email}", "accounts: {match: declared}") + docIDP)
	w.streamReady()
	w.sites["wiki"].SignInAs("1")
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"all","evidence":"counted"}}`)
	sig := w.signal("idp", jti, hub.SignalUnresolved)
	if sig.Reason == "" || len(sig.Misses) == 0 {
		t.Errorf("unresolved without a reason or misses: %+v", sig)
	}
	var first *hub.Receipt
	w.eventually("the interim", func() bool {
		rs, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		if err != nil || len(rs) != 1 || rs[0].State != "accepted" {
			return false
		}
		first = rs[0]
		return true
	})
	var body receipt.Receipt
	if err := json.Unmarshal(first.Body, &body); err != nil {
		t.Fatal(err)
	}
	if got := lineIDs(&body); len(got) != 1 || got[0] != "a1 revoke_sessions  pending queued" || first.Stage != "interim" || body.NextUpdateBy == 0 {
		t.Errorf("interim %q %s next %d", got, first.Stage, body.NextUpdateBy)
	}
	w.apply(`
kind: identity
name: alice
emails: [alice@example.test]
accounts: [{at: wiki, id: "1"}]
`)
	r := w.await(jti)
	if got := lineIDs(r); len(got) != 1 || got[0] != "a1.1 revoke_sessions wiki succeeded done" || r.Seq != 2 || r.Supersedes == nil || r.Supersedes.Hash != first.Hash {
		t.Errorf("final %q seq %d supersedes %+v", got, r.Seq, r.Supersedes)
	}
	req.Covers(t, "A25", "A28", "AR-§6.3", "AR-§5.2")
}

// A SET without a directive is a repeat when its claims are the same apart from iat; the same jti with anything
// else is refused and kept as evidence.
func TestRepeatAndClash(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docRaw + docPolicy)
	w.sites["wiki"].SignInAs("1")
	if status, body := w.push("raw", w.sign("j1", aliceMail, nil)); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	sig := w.signal("raw", "j1", hub.SignalDone)
	if a := w.actions(sig); len(a) != 1 || a[0].State != hub.Succeeded || a[0].Policy == "" {
		t.Fatalf("actions %+v", a)
	}
	calls := len(w.sites["wiki"].Calls())
	if status, _ := w.push("raw", w.sign("j1", aliceMail, func(c *set.Claims) { c.IssuedAt -= 7 })); status != 202 {
		t.Errorf("re-signed with another iat: %d", status)
	}
	status, body := w.push("raw", w.sign("j1", `{"format":"email","email":"bob@example.test"}`, nil))
	if status != 400 || !strings.Contains(body, `"invalid_request"`) {
		t.Errorf("another subject: %d %s", status, body)
	}
	clashes, err := w.srv.store.Clashes(context.Background(), "default", "raw", "j1")
	if err != nil || len(clashes) != 1 || clashes[0].Token == "" {
		t.Errorf("evidence of the clash: %d, %v", len(clashes), err)
	}
	if n := len(w.sites["wiki"].Calls()); n != calls {
		t.Errorf("%d calls after repeats, %d before", n, calls)
	}
	req.Covers(t, "RX-80")

	// A directive on a stream where nothing was negotiated is ignored (receipts design §3.3).
	token := w.sign("j2", aliceMail, func(c *set.Claims) {
		c.Extra = []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(`{"obligation":"must"}`)}}
	})
	if status, body := w.push("raw", token); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	if sig := w.signal("raw", "j2", hub.SignalDone); sig.Order != nil {
		t.Error("an order was made of it")
	}
	req.Covers(t, "AR-§3.3")
}
