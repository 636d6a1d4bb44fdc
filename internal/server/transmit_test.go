package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
	"countersign/transmitter"
)

// docPassOn: two receivers that know people by different names, and a policy that passes on what "raw" says.
const (
	docPassOn = docApps + docRaw + `---
kind: identity
name: alice
emails: [alice@example.test]
accounts: [{at: raw, id: raw-1}, {at: forum, id: f-1}]
---
kind: identity
name: bob
emails: [bob@example.test]
accounts: [{at: raw, id: raw-2}]
---
kind: client
name: crm
auth: bearer
scopes: [ssf.read, ssf.manage]
---
kind: client
name: siem
auth: bearer
scopes: [ssf.read, ssf.manage]
---
kind: stream
name: crm-signals
client: crm
deliver: {poll: true}
subject: {format: iss_sub, account_at: raw}
---
kind: stream
name: siem-signals
client: siem
deliver: {poll: true}
subject: {format: opaque, account_at: forum}
`
	docPassAll = `---
kind: policy
name: pass-on
on: [caep/session-revoked]
then:
  - {transmit: caep/session-revoked, to: all}
`
)

// streamAt gives the poll address of a stream resource.
func (w *world) streamAt(name string) (id, address string) {
	w.t.Helper()
	streams, _, err := w.srv.store.Transmitter("default", w.srv.vault).AllStreams(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range streams {
		if s.Name == name {
			return s.ID, w.srv.PublicURL() + "/ssf/streams/" + s.ID + "/poll"
		}
	}
	w.t.Fatalf("no stream %s", name)
	return "", ""
}

// reasons are the findings of a signal's decision.
func (w *world) reasons(sig *hub.Signal) string {
	w.t.Helper()
	d, err := w.srv.store.DecisionOf(context.Background(), sig.Seq)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, f := range d.Findings {
		out = append(out, f.Policy+" "+f.Result+" "+f.Reason)
	}
	return strings.Join(out, "\n")
}

// What a source says is told to two receivers, to each in its own words; who cannot be named is a visible skip, and
// nothing goes round.
func TestPassOn(t *testing.T) { onBoth(t, passOn) }

func passOn(t *testing.T, w *world) {
	w.apply(docPassOn + docPassAll)
	crm, siem := w.tokenOf("default", "crm"), w.tokenOf("default", "siem")
	_, crmPoll := w.streamAt("crm-signals")
	_, siemPoll := w.streamAt("siem-signals")

	const subject = `{"format":"complex","user":{"format":"iss_sub","iss":"` + rawIssuer + `","sub":"%s"},"session":{"format":"opaque","id":"secret-session"}}`
	if status, body := w.push("raw", w.sign("j1", fmt.Sprintf(subject, "raw-1"), nil)); status != 202 {
		t.Fatalf("push: %d %s", status, body)
	}
	sig := w.signal("raw", "j1", hub.SignalDone)
	told := func(address, token string) string {
		t.Helper()
		got := w.poll(address, token)
		if len(got) != 1 {
			t.Fatalf("%d SETs at %s: %s", len(got), address, w.reasons(sig))
		}
		c := got[0]
		if c.TXN != "t-j1" || c.ID == "j1" || c.Issuer != w.srv.PublicURL() || c.Events[0].Type != sessionRevoked || !strings.Contains(string(c.Events[0].Payload), "1700000000") {
			t.Errorf("claims %+v", c)
		}
		if strings.Contains(string(c.SubID), "secret-session") {
			t.Errorf("the session of another place: %s", c.SubID)
		}
		return string(c.SubID)
	}
	if got := told(crmPoll, crm); got != `{"format":"iss_sub","iss":"`+rawIssuer+`","sub":"raw-1"}` {
		t.Errorf("crm was told of %s", got)
	}
	if got := told(siemPoll, siem); got != `{"format":"opaque","id":"f-1"}` {
		t.Errorf("siem was told of %s", got)
	}
	if why := w.reasons(sig); !strings.Contains(why, "pass-on applies transmit caep/session-revoked to all; queued on") || !strings.Contains(why, "crm-signals") || !strings.Contains(why, "siem-signals") {
		t.Errorf("findings: %s", why)
	}
	req.Covers(t, "EV-15")

	// No account there: a skip with its reason, in the decision and in the history.
	w.push("raw", w.sign("j2", fmt.Sprintf(subject, "raw-2"), nil))
	sig = w.signal("raw", "j2", hub.SignalDone)
	if got := w.poll(siemPoll, siem); len(got) != 0 {
		t.Errorf("siem was told of somebody it does not know: %s", got[0].SubID)
	}
	if got := w.poll(crmPoll, crm); len(got) != 1 {
		t.Errorf("crm got %d", len(got))
	}
	if why := w.reasons(sig); !strings.Contains(why, "siem-signals: the person has no account at forum") {
		t.Errorf("findings: %s", why)
	}
	status, body := w.call("GET", "/deliveries?outcome=skipped&txn=t-j2", nil)
	if status != 200 || !strings.Contains(string(body), "the person has no account at forum") {
		t.Errorf("history: %d %s", status, body)
	}

	// The same txn comes back by another way: nobody is told twice.
	w.push("raw", w.sign("j3", fmt.Sprintf(subject, "raw-1"), func(c *set.Claims) { c.TXN = "t-j1" }))
	sig = w.signal("raw", "j3", hub.SignalDone)
	if got := w.poll(crmPoll, crm); len(got) != 0 {
		t.Errorf("crm was told again: %s", w.reasons(sig))
	}
	if why := w.reasons(sig); !strings.Contains(why, "it was sent this event of this txn already") {
		t.Errorf("findings: %s", why)
	}
	// Nor after a restart, when only the history knows.
	w.srv.home().told.forget()
	w.push("raw", w.sign("j4", fmt.Sprintf(subject, "raw-1"), func(c *set.Claims) { c.TXN = "t-j1" }))
	w.signal("raw", "j4", hub.SignalDone)
	if got := w.poll(crmPoll, crm); len(got) != 0 {
		t.Error("crm was told again after the memory was lost")
	}
	// Nor where it still waits, and is in no history.
	w.push("raw", w.sign("w1", fmt.Sprintf(subject, "raw-1"), nil))
	w.signal("raw", "w1", hub.SignalDone)
	w.srv.home().told.forget()
	if err := w.srv.home().recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.push("raw", w.sign("w2", fmt.Sprintf(subject, "raw-1"), func(c *set.Claims) { c.TXN = "t-w1" }))
	if why := w.reasons(w.signal("raw", "w2", hub.SignalDone)); !strings.Contains(why, "crm-signals: it was sent this event of this txn already") {
		t.Errorf("findings: %s", why)
	}
	if got := w.poll(crmPoll, crm); len(got) != 1 {
		t.Errorf("crm got %d of what waited at the start", len(got))
	}
	w.poll(siemPoll, siem)

	// A client's own signal does not come back to its stream; a rule that names the stream means it.
	give := func(policy, email, txn string) (crmGot, siemGot int) {
		t.Helper()
		w.apply("kind: policy\nname: pass-on\non: [caep/session-revoked]\nthen: [" + policy + "]\n")
		s := signalOf(email)
		s["do"], s["txn"] = []string{"act"}, txn
		operator := w.token
		w.token = crm
		status, body := w.call("POST", "/signals", s)
		w.token = operator
		if status >= 300 {
			t.Fatalf("signal: %d %s", status, body)
		}
		var kept struct{ ID string }
		if err := json.Unmarshal(body, &kept); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is decided", func() bool {
			sig, err := w.srv.store.Signal(context.Background(), "default", kept.ID)
			return err == nil && sig.State == hub.SignalDone
		})
		return len(w.poll(crmPoll, crm)), len(w.poll(siemPoll, siem))
	}
	w.apply("kind: client\nname: crm\nauth: bearer\nscopes: [ssf.read, ssf.manage, signals.write]\n")
	if c, s := give("{transmit: caep/session-revoked, to: all}", "alice@example.test", "t-own"); c != 0 || s != 1 {
		t.Errorf("to all: crm %d, siem %d", c, s)
	}
	if c, s := give("{transmit: caep/session-revoked, to: [crm-signals]}", "alice@example.test", "t-own2"); c != 1 || s != 0 {
		t.Errorf("to crm by name: crm %d, siem %d", c, s)
	}
	if c, s := give("{transmit: caep/session-revoked, to: all, when: 'false'}", "alice@example.test", "t-own3"); c != 0 || s != 0 {
		t.Errorf("a rule that does not hold: crm %d, siem %d", c, s)
	}
	// Monitor mode tells nobody.
	w.apply("kind: policy\nname: pass-on\nmode: monitor\non: [caep/session-revoked]\nthen: [{transmit: caep/session-revoked, to: all}]\n")
	w.push("raw", w.sign("j5", fmt.Sprintf(subject, "raw-1"), nil))
	sig = w.signal("raw", "j5", hub.SignalDone)
	if got := w.poll(siemPoll, siem); len(got) != 0 || !strings.Contains(w.reasons(sig), "pass-on monitor would apply: transmit") {
		t.Errorf("monitor: %d, %s", len(got), w.reasons(sig))
	}
}

func (g *told) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now, g.old = nil, nil
}

// A policy's order goes where receipts are agreed, with its moment, and nowhere else.
func TestPassOnOrder(t *testing.T) { onBoth(t, passOnOrder) }

func passOnOrder(t *testing.T, w *world) {
	w.apply(docPassOn + `---
kind: stream
name: crm-orders
client: siem
deliver: {poll: true}
orders: {receipts: true, issuer: "https://crm.example.test", jwks_uri: "https://crm.example.test/jwks.json"}
---
kind: policy
name: pass-on
on: [caep/session-revoked]
then:
  - {transmit: caep/session-revoked, to: all}
  - {transmit: caep/session-revoked, to: [crm-orders, crm-signals], order: {obligation: must, actions: [{id: a1, action: revoke_sessions}]}, within: 15m}
`)
	siem := w.tokenOf("default", "siem")
	_, orders := w.streamAt("crm-orders")
	began := time.Now().Unix()
	w.push("raw", w.sign("j1", `{"format":"email","email":"alice@example.test"}`, nil))
	sig := w.signal("raw", "j1", hub.SignalDone)
	got := w.poll(orders, siem)
	if len(got) != 1 {
		t.Fatalf("%d SETs: %s", len(got), w.reasons(sig))
	}
	i := slices.IndexFunc(got[0].Extra, func(m set.Member) bool { return strings.HasSuffix(m.Name, "directive") })
	if i < 0 {
		t.Fatalf("no directive in %+v: %s", got[0], w.reasons(sig))
	}
	var d struct {
		CompleteBy int64 `json:"complete_by"`
		Actions    []struct{ Action string }
	}
	if err := json.Unmarshal(got[0].Extra[i].Value, &d); err != nil || d.CompleteBy < began+15*60 || d.CompleteBy > time.Now().Unix()+15*60 || len(d.Actions) != 1 {
		t.Errorf("directive %s, %v", got[0].Extra[i].Value, err)
	}
	if why := w.reasons(sig); !strings.Contains(why, "crm-orders: it was sent this event of this txn already") {
		t.Errorf("findings: %s", why)
	}
	all, err := w.srv.home().streams.Orders(context.Background(), transmitter.OrderFilter{TXN: "t-j1"})
	if err != nil || len(all) != 1 {
		t.Fatalf("ledger: %d orders, %v", len(all), err)
	}
	if !strings.Contains(string(all[0].Agreed), "https://crm.example.test/jwks.json") {
		t.Errorf("the order forgets what was agreed: %s", all[0].Agreed)
	}
}
