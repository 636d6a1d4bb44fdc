package ssftest

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/set"
	"countersign/transmitter"
)

// StoreSuite holds an implementation of transmitter.Store to its contract. open gives an empty store each time and
// closes it with the test. What a crash leaves behind is not in the suite: that needs a process to kill.
func StoreSuite(t *testing.T, open func(t *testing.T) transmitter.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s transmitter.Store)
	}{
		{"a stream comes back as it was kept", suiteRoundTrip},
		{"streams belong to their receiver", suiteOwnership},
		{"one stream only, also in a race", suiteOneStream},
		{"an update is atomic and keeps what may not change", suiteUpdate},
		{"updates do not get lost", suiteUpdateRace},
		{"the generation grows with every change", suiteGeneration},
		{"a row comes back with all that signing needs", suiteRows},
		{"rows come by rising seq, from where one asks", suitePaging},
		{"rows of many writers are all found", suiteWriters},
		{"a stale snapshot writes nothing", suiteStale},
		{"paused holds, disabled and gone hold nothing", suiteStatus},
		{"disabling and deleting drop what waits", suiteDrop},
		{"outcomes remove, set aside, and repeat without harm", suiteDone},
		{"back-off is kept and changes no generation", suiteBackoff},
		{"an order is found by its own receiver only", suiteOrder},
		{"a receipt is decided and kept as one", suiteReceipt},
		{"receipts of one order queue up", suiteReceiptRace},
		{"equivocation keeps both", suiteDispute},
		{"orders are listed latest first, and by what one asks for", suiteOrders},
		{"a withdrawn order is not delivered, and is withdrawn once", suiteWithdraw},
		{"withdrawing races with delivery", suiteWithdrawRace},
		{"a row may have a body of its own, and part from a stopped stream", suiteRowForms},
		{"since when the oldest row waits", suiteOldest},
		{"an announcement is kept with the change, or neither is", suiteAnnounce},
		{"stopping races with sending", suiteAnnounceRace},
		{"activity is kept, and idle streams are found", suiteIdle},
		{"a list finds its entries by their keys", suiteSubjects},
		{"the first entry of a list changes the generation, others do not", suiteListed},
		{"a list holds no more than its limit, also in a race", suiteSubjectLimit},
		{"polled rows end when they are acknowledged", suiteAcknowledge},
		{"acknowledging twice at once counts once", suiteAcknowledgeRace},
		{"a dead letter goes back to its old place", suiteRedrive},
		{"redriving races with acknowledging", suiteRedriveRace},
		{"what waits too long is set aside", suiteExpire},
		{"the history tells what happened, latest first", suiteHistory},
		{"lines of one moment are paged through", suiteMoment},
		{"what is old enough is forgotten, and nothing else", suitePurge},
		{"a key in use is counted, and its rows get another", suiteReissue},
		{"giving rows another key races with delivery", suiteReissueRace},
		{"a process alone delivers something", suiteShards},
		{"a canceled context is an error", suiteCanceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func newStream(receiver, id string) *transmitter.Stream {
	return &transmitter.Stream{
		ID: id, Receiver: receiver, Audience: []string{"https://receiver.example/" + id},
		Requested: []string{"urn:example:a", "urn:example:b"}, Delivered: []string{"urn:example:a"},
		Description: "tëst \"stream\"", Method: "urn:ietf:rfc:8935", Endpoint: "https://receiver.example/events?x=1",
		Authorization: "Bearer s3cret", Algorithm: "RS256", Status: transmitter.Enabled, Window: 3,
		Receipts:      json.RawMessage(`{"receipt_issuer":"https://receiver.example","status":"active"}`),
		ReceiptIssuer: "https://receiver.example", Created: 1_700_000_000_000_001, Updated: 1_700_000_000_000_002,
		Name: "stream-" + id, Set: "demo", DefaultSubjects: "ALL", Naming: json.RawMessage(`{"format":"email"}`),
		MinVerification: 30, InactivityTimeout: 3600, Shape: "sse-id1", Format: "iss_sub",
	}
}

func mustCreate(t testing.TB, s transmitter.Store, receiver, id string) *transmitter.Stream {
	t.Helper()
	st := newStream(receiver, id)
	must(t, s.CreateStream(t.Context(), st, 0))
	return st
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("differs (-want +got):\n%s", d)
	}
}

func row(st *transmitter.Stream, n int) transmitter.Row {
	return transmitter.Row{Stream: st.Key, StreamID: st.ID, JTI: "jti-" + st.ID + "-" + strconv.Itoa(n), IssuedAt: int64(1_700_000_000 + n), KeyID: "key-1", Algorithm: "RS256"}
}

func name(n int) string { return strconv.Itoa(n) }

func eventNo(n int) transmitter.Event {
	e := transmitter.Event{Type: "urn:example:a", TXN: "t" + strconv.Itoa(n), At: transmitter.Micros(1_700_000_000_000_000 + int64(n)), Body: []byte(`,"txn":"t` + strconv.Itoa(n) + `","sub_id":{"format":"opaque","id":"x"},"events":{"urn:example:a":{}}}`)}
	e.Subject[0], e.Subject[15] = byte(n), 0xff
	return e
}

// order makes a row that is an order, with the order beside it.
func order(st *transmitter.Stream, jti string) transmitter.Row {
	r := transmitter.Row{Stream: st.Key, StreamID: st.ID, JTI: jti, IssuedAt: 1_700_000_000, KeyID: "key-1", Algorithm: "RS256", Input: "aGVhZGVy.cGF5bG9hZA" + jti}
	r.Order = &transmitter.SentOrder{
		JTI: jti, Receiver: st.Receiver, Stream: st.ID, ReceiptIssuer: st.ReceiptIssuer, ReceiptAudience: "https://transmitter.example",
		SetHash: set.Address(r.Input), Input: r.Input, EventType: "urn:example:a", TXN: "txn-1", IssuedAt: r.IssuedAt,
		CompleteBy: 1_700_000_600, InterimBy: 1_700_000_060, When: "all", State: transmitter.OrderQueued,
	}
	return r
}

func enqueue(t testing.TB, s transmitter.Store, n int, rows ...transmitter.Row) *transmitter.Outgoing {
	t.Helper()
	out := &transmitter.Outgoing{Event: eventNo(n), Rows: rows}
	must(t, s.Enqueue(t.Context(), out))
	return out
}

func next(t testing.TB, s transmitter.Store, key, after int64, n int) []transmitter.Item {
	t.Helper()
	items, err := s.Next(t.Context(), key, after, n)
	must(t, err)
	return items
}

// counts leaves Oldest out, which has a test of its own.
func counts(t testing.TB, s transmitter.Store, key int64) transmitter.Counts {
	t.Helper()
	c, err := s.Counts(t.Context(), key)
	must(t, err)
	c.Oldest = 0
	return c
}

func generation(t testing.TB, s transmitter.Store) int64 {
	t.Helper()
	g, err := s.Generation(t.Context())
	must(t, err)
	return g
}

func orderKey(st *transmitter.Stream, jti string) transmitter.OrderKey {
	return transmitter.OrderKey{Receiver: st.Receiver, ReceiptIssuer: st.ReceiptIssuer, JTI: jti}
}

func getOrder(t testing.TB, s transmitter.Store, st *transmitter.Stream, jti string) *transmitter.SentOrder {
	t.Helper()
	o, err := s.Order(t.Context(), orderKey(st, jti))
	must(t, err)
	return o
}

func suiteCanceled(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Enqueue":      s.Enqueue(ctx, &transmitter.Outgoing{Event: eventNo(1), Rows: []transmitter.Row{row(st, 1)}}),
		"CreateStream": s.CreateStream(ctx, newStream("r1", "s2"), 0),
	} {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
