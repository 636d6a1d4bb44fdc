package transmitter_test

import (
	"encoding/json"
	"errors"
	"testing"

	"countersign/internal/req"
	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/transmitter"
)

func (x *till) status(t testing.TB, id, status string) {
	t.Helper()
	if _, err := x.store.UpdateStream(t.Context(), "a", id, func(s *transmitter.Stream) error { s.Status = status; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// waiting gives what waits on a stream.
func waitingOn(t testing.TB, s transmitter.Store, receiver, id string) []transmitter.Item {
	t.Helper()
	st, err := s.Stream(t.Context(), receiver, id)
	if err != nil {
		t.Fatal(err)
	}
	items, err := s.Next(t.Context(), st.Key, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	return items
}

// An order that the receiver has is taken back by an event on the same stream.
func TestWithdrawDelivered(t *testing.T) {
	x := newTill(t)
	items := waitingOn(t, x.store, "a", x.ids[0])
	if err := x.store.Done(t.Context(), []transmitter.Outcome{{Stream: items[0].Stream, Seq: items[0].Seq, Status: 202, At: 5}}); err != nil {
		t.Fatal(err)
	}
	o, err := x.Withdraw(t.Context(), x.order.SetHash, " a \x00mistake\n")
	if err != nil || o.Withdrawn == 0 || o.WithdrawnWhy != "a mistake" || o.State != transmitter.OrderDelivered {
		t.Fatalf("%+v, %v", o, err)
	}
	if got := len(waitingOn(t, x.store, "a", x.ids[0])); got != 1 {
		t.Fatalf("%d rows wait", got)
	}
	c := keptClaims(t, x.Transmitter, x.store, x.ids[0])
	if c.TXN != "txn-1" || len(c.Events) != 1 || c.Events[0].Type != receipt.Default().Withdrawn {
		t.Fatalf("claims %+v", c)
	}
	if got, want := string(c.Events[0].Payload), `{"set_hash":"`+x.order.SetHash+`","reason_admin":{"en":"a mistake"}}`; got != want {
		t.Errorf("payload %s, want %s", got, want)
	}
	if got, want := string(c.SubID), `{"format":"jwt_id","iss":"`+issuer+`","jti":"`+x.order.JTI+`"}`; got != want {
		t.Errorf("sub_id %s, want %s", got, want)
	}
	if iss, jti, err := receipt.Named(&c); err != nil || iss != issuer || jti != x.order.JTI {
		t.Errorf("it names %s %s, %v", iss, jti, err)
	}
	if len(waitingOn(t, x.store, "b", x.ids[1])) != 1 {
		t.Error("the other receiver's stream has another row")
	}
	req.Covers(t, "AR-§6.6")
	// Once is enough.
	if _, err := x.Withdraw(t.Context(), x.order.JTI, "again"); !errors.Is(err, transmitter.ErrConflict) {
		t.Errorf("a second time: %v", err)
	}
	if len(waitingOn(t, x.store, "a", x.ids[0])) != 1 {
		t.Error("the second time was sent")
	}
	if _, err := x.Withdraw(t.Context(), "unknown", ""); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("an unknown order: %v", err)
	}
}

// An order that waits is removed; whether the receiver is told depends on whether it may have it.
func TestWithdrawWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		status, method string
		told           int
	}{
		"paused push":   {transmitter.Paused, stream.PushMethod, 0},
		"enabled push":  {transmitter.Enabled, stream.PushMethod, 1}, // it may be in flight
		"paused poll":   {transmitter.Paused, stream.PollMethod, 1},  // it may have been handed out
		"disabled push": {transmitter.Disabled, stream.PushMethod, 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTill(t)
			if _, err := x.store.UpdateStream(t.Context(), "a", x.ids[0], func(s *transmitter.Stream) error { s.Method = test.method; return nil }); err != nil {
				t.Fatal(err)
			}
			x.status(t, x.ids[0], test.status)
			o, err := x.Withdraw(t.Context(), x.order.JTI, "")
			if err != nil || o.State != transmitter.OrderDropped || o.Withdrawn == 0 {
				t.Fatalf("%+v, %v", o, err)
			}
			items := waitingOn(t, x.store, "a", x.ids[0])
			if len(items) != test.told {
				t.Fatalf("%d rows wait, want %d", len(items), test.told)
			}
			if test.told == 1 {
				if c := keptClaims(t, x.Transmitter, x.store, x.ids[0]); string(c.Events[0].Payload) != `{"set_hash":"`+x.order.SetHash+`"}` {
					t.Errorf("payload %s", c.Events[0].Payload)
				}
			}
		})
	}
}

// What was answered for good, or never arrived, is not taken back by an event.
func TestWithdrawTooLate(t *testing.T) {
	x := newTill(t)
	r := x.give(x.sign(t, x.claims(t, x.order, slip{number: "CS-1", seq: 1, stage: receipt.StageFinal})))
	if r.StatusCode != 202 {
		t.Fatalf("the receipt: %d", r.StatusCode)
	}
	if _, err := x.Withdraw(t.Context(), x.order.JTI, ""); !errors.Is(err, transmitter.ErrConflict) {
		t.Errorf("answered: %v", err)
	}
	if err := x.RemoveStream(t.Context(), x.ids[1]); err != nil {
		t.Fatal(err)
	}
	if o, err := x.Withdraw(t.Context(), x.other.JTI, ""); err != nil || o.Withdrawn == 0 {
		t.Errorf("its stream is gone: %+v, %v", o, err)
	}
}

// A row that was never delivered can be given another identity and key; an order keeps its directive.
func TestReplan(t *testing.T) {
	x := newTill(t)
	before := waitingOn(t, x.store, "a", x.ids[0])[0]
	plain := putListed(t, x.store, "plain", "")
	mustSend(t, x.Transmitter, message("bob"))
	if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{ssftest.Signer(set.ES256, "es-2"), ssftest.Signer(set.ES256, "es-1")}}); err != nil {
		t.Fatal(err)
	}
	if n, err := x.store.Reissue(t.Context(), "es-1", 100, x.Replan); err != nil || n != 5 { // two orders, bob on three streams
		t.Fatalf("%d rows, %v", n, err)
	}
	after := waitingOn(t, x.store, "a", x.ids[0])[0]
	if after.JTI == before.JTI || after.KeyID != "es-2" || after.Algorithm != "ES256" || after.Input == before.Input {
		t.Fatalf("replanned: %+v", after)
	}
	o, err := x.OrderOf(t.Context(), after.JTI)
	if err != nil || o.State != transmitter.OrderQueued || o.Input != after.Input || o.SetHash == x.order.SetHash || o.SetHash != set.Address(after.Input) || o.CompleteBy != 4102444800 {
		t.Fatalf("the order: %+v, %v", o, err)
	}
	if _, err := x.OrderOf(t.Context(), before.JTI); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("the order under its old jti: %v", err)
	}
	again := orderOf(t, after.Input, "https://a.example")
	if d, _ := again.Directive.Marshal(); len(again.Directive.Actions) != 1 || again.TXN != "txn-1" || string(again.SubID) != string(x.order.SubID) {
		t.Errorf("the order became %s", d)
	}
	var claims map[string]json.RawMessage
	u, err := set.Parse(after.Input + ".AA")
	if err != nil || json.Unmarshal(u.Payload(), &claims) != nil || len(claims) != 8 {
		t.Errorf("claims %s", u.Payload())
	}
	if token, err := x.Complete(after.Input); err != nil || len(token) < len(after.Input) {
		t.Errorf("signing: %v", err)
	}
	row := waitingOn(t, x.store, "a", plain.ID)[0]
	if row.KeyID != "es-2" || row.Input != "" {
		t.Errorf("a plain row: %+v", row)
	}
	// Without a key for the stream's algorithm nothing is changed.
	if _, err := x.store.UpdateStream(t.Context(), "a", plain.ID, func(s *transmitter.Stream) error { s.Algorithm = "RS256"; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := x.store.Reissue(t.Context(), "es-2", 100, x.Replan); err == nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
}
