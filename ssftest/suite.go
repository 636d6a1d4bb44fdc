package ssftest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
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
	}
}

func mustCreate(t testing.TB, s transmitter.Store, receiver, id string) *transmitter.Stream {
	t.Helper()
	st := newStream(receiver, id)
	must(t, s.CreateStream(t.Context(), st, true))
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

func eventNo(n int) transmitter.Event {
	e := transmitter.Event{Type: "urn:example:a", Body: []byte(`,"txn":"t` + strconv.Itoa(n) + `","sub_id":{"format":"opaque","id":"x"},"events":{"urn:example:a":{}}}`)}
	e.Subject[0], e.Subject[15] = byte(n), 0xff
	return e
}

// order makes a row that is an order, with the order beside it.
func order(st *transmitter.Stream, jti string) transmitter.Row {
	r := transmitter.Row{Stream: st.Key, StreamID: st.ID, JTI: jti, IssuedAt: 1_700_000_000, KeyID: "key-1", Algorithm: "RS256", Input: "aGVhZGVy.cGF5bG9hZA" + jti}
	r.Order = &transmitter.SentOrder{
		JTI: jti, Receiver: st.Receiver, Stream: st.ID, ReceiptIssuer: st.ReceiptIssuer, ReceiptAudience: "https://transmitter.example",
		SetHash: set.Address(r.Input), Input: r.Input, EventType: "urn:example:a", TXN: "txn-1", IssuedAt: r.IssuedAt,
		CompleteBy: 1_700_000_600, State: transmitter.OrderQueued,
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

func counts(t testing.TB, s transmitter.Store, key int64) transmitter.Counts {
	t.Helper()
	c, err := s.Counts(t.Context(), key)
	must(t, err)
	return c
}

func suiteRoundTrip(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	if st.Key <= 0 || st.Generation <= 0 {
		t.Fatalf("key %d and generation %d are not set", st.Key, st.Generation)
	}
	got, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, got, st)
	bare := &transmitter.Stream{ID: "s2", Receiver: "r1", Audience: []string{"a", "b"}, Method: "urn:ietf:rfc:8935", Endpoint: "https://r.example", Status: transmitter.Paused}
	must(t, s.CreateStream(t.Context(), bare, true))
	got, err = s.Stream(t.Context(), "r1", "s2")
	must(t, err)
	if got.Requested != nil || got.Receipts != nil {
		t.Fatalf("what was nil is no longer: %v, %s", got.Requested, got.Receipts)
	}
	same(t, got.Audience, []string{"a", "b"})
	if bare.Key <= st.Key {
		t.Fatalf("keys do not grow: %d, %d", st.Key, bare.Key)
	}
	got.Audience[0] = "changed by the caller"
	again, err := s.Stream(t.Context(), "r1", "s2")
	must(t, err)
	same(t, again.Audience[0], "a")
}

func suiteOwnership(t *testing.T, s transmitter.Store) {
	mustCreate(t, s, "r1", "s1")
	mustCreate(t, s, "r2", "s2")
	mustCreate(t, s, "r1", "s3")
	_, err := s.Stream(t.Context(), "r2", "s1")
	wantErr(t, err, transmitter.ErrNotFound)
	_, err = s.Stream(t.Context(), "r1", "none")
	wantErr(t, err, transmitter.ErrNotFound)
	_, err = s.UpdateStream(t.Context(), "r2", "s1", func(*transmitter.Stream) error { t.Error("change was called"); return nil })
	wantErr(t, err, transmitter.ErrNotFound)
	wantErr(t, s.DeleteStream(t.Context(), "r2", "s1"), transmitter.ErrNotFound)
	list, err := s.Streams(t.Context(), "r1")
	must(t, err)
	if len(list) != 2 || list[0].ID != "s1" || list[1].ID != "s3" {
		t.Fatalf("streams of r1: %v", list)
	}
	list, err = s.Streams(t.Context(), "nobody")
	must(t, err)
	if len(list) != 0 {
		t.Fatalf("streams of nobody: %v", list)
	}
	all, _, err := s.AllStreams(t.Context())
	must(t, err)
	if len(all) != 3 {
		t.Fatalf("all streams: %d", len(all))
	}
	same(t, all[0].Authorization, "Bearer s3cret")
}

func suiteOneStream(t *testing.T, s transmitter.Store) {
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = s.CreateStream(t.Context(), newStream("r1", fmt.Sprintf("s%d", i)), false) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantErr(t, err, transmitter.ErrConflict)
	}
	if won != 1 {
		t.Fatalf("%d of %d got a stream", won, len(errs))
	}
	must(t, s.CreateStream(t.Context(), newStream("r2", "other"), false))
	must(t, s.CreateStream(t.Context(), newStream("r1", "second"), true))
}

func suiteUpdate(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	must(t, s.Backoff(t.Context(), st.Key, transmitter.Trouble{Fails: 2, Next: 5}))
	got, err := s.UpdateStream(t.Context(), "r1", "s1", func(u *transmitter.Stream) error {
		u.Description, u.Endpoint, u.Authorization, u.Delivered, u.Requested = "new", "https://new.example", "", []string{"urn:example:b"}, nil
		u.Receipts, u.ReceiptIssuer, u.Updated = nil, "", 77
		u.Key, u.ID, u.Receiver, u.Audience, u.Trouble = 99, "x", "x", []string{"x"}, transmitter.Trouble{}
		return nil
	})
	must(t, err)
	read, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, read, got)
	if got.Key != st.Key || got.ID != "s1" || got.Receiver != "r1" || !slices.Equal(got.Audience, st.Audience) || got.Trouble.Fails != 2 {
		t.Fatalf("what may not change did: %+v", got)
	}
	if got.Description != "new" || got.Authorization != "" || got.Requested != nil || got.Receipts != nil || got.Generation <= st.Generation {
		t.Fatalf("the change is not there: %+v", got)
	}
	no := errors.New("no")
	_, err = s.UpdateStream(t.Context(), "r1", "s1", func(u *transmitter.Stream) error { u.Description = "never"; return no })
	wantErr(t, err, no)
	read, err = s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, read, got)
}

func suiteUpdateRace(t *testing.T, s transmitter.Store) {
	mustCreate(t, s, "r1", "s1")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := s.UpdateStream(t.Context(), "r1", "s1", func(u *transmitter.Stream) error { u.Window++; return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, got.Window, 23)
}

func suiteGeneration(t *testing.T, s transmitter.Store) {
	var last int64 = -1
	grown := func(what string) {
		t.Helper()
		g, err := s.Generation(t.Context())
		must(t, err)
		_, all, err := s.AllStreams(t.Context())
		must(t, err)
		if g <= last || all != g {
			t.Fatalf("after %s: generation %d, with all streams %d, before %d", what, g, all, last)
		}
		last = g
	}
	grown("nothing")
	st := mustCreate(t, s, "r1", "s1")
	grown("create")
	_, err := s.UpdateStream(t.Context(), "r1", "s1", func(u *transmitter.Stream) error { u.Status = transmitter.Paused; return nil })
	must(t, err)
	grown("update")
	enqueue(t, s, 1, row(st, 1))
	if g, _ := s.Generation(t.Context()); g != last {
		t.Fatalf("enqueue changed the generation")
	}
	must(t, s.DeleteStream(t.Context(), "r1", "s1"))
	grown("delete")
}

func suiteRows(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r2", "s2")
	out := enqueue(t, s, 1, row(st, 1), order(other, "order-1"))
	if out.Event.Key <= 0 || out.Rows[0].Seq <= 0 || out.Rows[1].Seq <= 0 {
		t.Fatalf("keys are not set: %+v", out)
	}
	want := eventNo(1)
	want.Key = out.Event.Key
	same(t, next(t, s, st.Key, 0, 10), []transmitter.Item{{Stream: st.Key, Seq: out.Rows[0].Seq, JTI: "jti-s1-1", IssuedAt: 1_700_000_001,
		KeyID: "key-1", Algorithm: "RS256", Event: &want}})
	items := next(t, s, other.Key, 0, 10)
	if len(items) != 1 || items[0].Input != out.Rows[1].Input || items[0].JTI != "order-1" {
		t.Fatalf("the order came back as %+v", items)
	}
	keys, err := s.Waiting(t.Context())
	must(t, err)
	slices.Sort(keys)
	same(t, keys, []int64{st.Key, other.Key})
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1})
	same(t, counts(t, s, 424242), transmitter.Counts{})
}

func suitePaging(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "s2")
	var seqs []int64
	for i := range 25 {
		out := enqueue(t, s, i, row(st, i), row(other, i))
		seqs = append(seqs, out.Rows[0].Seq)
	}
	if !slices.IsSorted(seqs) {
		t.Fatalf("seqs do not rise: %v", seqs)
	}
	var got []int64
	var after int64
	for {
		items := next(t, s, st.Key, after, 10)
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if it.Stream != st.Key {
				t.Fatalf("a row of stream %d came", it.Stream)
			}
			got = append(got, it.Seq)
			after = it.Seq
		}
	}
	same(t, got, seqs)
}

func suiteWriters(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "s2")
	const writers, each = 8, 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	wrote := map[int64]bool{}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				out := &transmitter.Outgoing{Event: eventNo(i), Rows: []transmitter.Row{row(st, w*each+i), row(other, w*each+i)}}
				if err := s.Enqueue(t.Context(), out); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if wrote[out.Rows[0].Seq] {
					t.Errorf("seq %d was given twice", out.Rows[0].Seq)
				}
				wrote[out.Rows[0].Seq] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	items := next(t, s, st.Key, 0, writers*each+1)
	if len(items) != writers*each {
		t.Fatalf("%d rows, want %d", len(items), writers*each)
	}
	for i, it := range items {
		if !wrote[it.Seq] || i > 0 && items[i-1].Seq >= it.Seq {
			t.Fatalf("row %d has seq %d", i, it.Seq)
		}
	}
}

func suiteStale(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	g, err := s.Generation(t.Context())
	must(t, err)
	must(t, s.Enqueue(t.Context(), &transmitter.Outgoing{Event: eventNo(1), Rows: []transmitter.Row{row(st, 1)}, Generation: g}))
	mustCreate(t, s, "r2", "s2")
	wantErr(t, s.Enqueue(t.Context(), &transmitter.Outgoing{Event: eventNo(2), Rows: []transmitter.Row{order(st, "stale")}, Generation: g}), transmitter.ErrStale)
	same(t, len(next(t, s, st.Key, 0, 10)), 1)
	_, err = s.Order(t.Context(), transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "stale"})
	wantErr(t, err, transmitter.ErrNotFound)
}

func setStatus(t testing.TB, s transmitter.Store, receiver, id, status string) {
	t.Helper()
	_, err := s.UpdateStream(t.Context(), receiver, id, func(u *transmitter.Stream) error { u.Status = status; return nil })
	must(t, err)
}

func suiteStatus(t *testing.T, s transmitter.Store) {
	paused, disabled, gone := mustCreate(t, s, "r1", "paused"), mustCreate(t, s, "r1", "disabled"), mustCreate(t, s, "r1", "gone")
	setStatus(t, s, "r1", "paused", transmitter.Paused)
	setStatus(t, s, "r1", "disabled", transmitter.Disabled)
	must(t, s.DeleteStream(t.Context(), "r1", "gone"))
	out := enqueue(t, s, 1, row(paused, 1), order(disabled, "o1"), row(gone, 1))
	if out.Rows[0].Seq == 0 || out.Rows[1].Seq != 0 || out.Rows[2].Seq != 0 {
		t.Fatalf("seqs of paused, disabled and deleted: %d %d %d", out.Rows[0].Seq, out.Rows[1].Seq, out.Rows[2].Seq)
	}
	same(t, len(next(t, s, paused.Key, 0, 10)), 1)
	same(t, len(next(t, s, disabled.Key, 0, 10)), 0)
	_, err := s.Order(t.Context(), transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: disabled.ReceiptIssuer, JTI: "o1"})
	wantErr(t, err, transmitter.ErrNotFound)
}

func suiteDrop(t *testing.T, s transmitter.Store) {
	for _, how := range []string{"disable", "delete"} {
		st := mustCreate(t, s, "r1", how)
		enqueue(t, s, 1, row(st, 1))
		enqueue(t, s, 2, order(st, "order-"+how))
		if how == "disable" {
			setStatus(t, s, "r1", how, transmitter.Disabled)
		} else {
			must(t, s.DeleteStream(t.Context(), "r1", how))
			_, err := s.Stream(t.Context(), "r1", how)
			wantErr(t, err, transmitter.ErrNotFound)
		}
		same(t, len(next(t, s, st.Key, 0, 10)), 0)
		keys, err := s.Waiting(t.Context())
		must(t, err)
		same(t, len(keys), 0)
		o, err := s.Order(t.Context(), transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "order-" + how})
		must(t, err)
		same(t, o.State, transmitter.OrderDropped)
	}
}

func suiteDone(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "s2")
	a := enqueue(t, s, 1, row(st, 1), row(other, 1))
	b := enqueue(t, s, 2, order(st, "good"))
	c := enqueue(t, s, 3, order(st, "bad"))
	d := enqueue(t, s, 4, row(st, 4))
	outcomes := []transmitter.Outcome{
		{Stream: st.Key, Seq: c.Rows[0].Seq, Dead: true, Status: 400, Reason: "HTTP 400 invalid_request: no", At: 123},
		{Stream: st.Key, Seq: a.Rows[0].Seq, Plain: true, Status: 202, At: 124},
		{Stream: other.Key, Seq: a.Rows[1].Seq, Plain: true, Status: 202, At: 124},
		{Stream: st.Key, Seq: b.Rows[0].Seq, Status: 202, At: 125},
	}
	for range 2 { // a second time changes nothing
		must(t, s.Done(t.Context(), outcomes))
		items := next(t, s, st.Key, 0, 10)
		if len(items) != 1 || items[0].Seq != d.Rows[0].Seq {
			t.Fatalf("waiting: %+v", items)
		}
		same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Delivered: 2, Dead: 1})
		same(t, counts(t, s, other.Key), transmitter.Counts{Delivered: 1})
	}
	dead, err := s.Dead(t.Context(), st.Key, 10)
	must(t, err)
	if len(dead) != 1 || dead[0].Item.JTI != "bad" || dead[0].Status != 400 || dead[0].Reason != outcomes[0].Reason || dead[0].At != 123 || dead[0].Item.Input == "" {
		t.Fatalf("set aside: %+v", dead)
	}
	for jti, state := range map[string]string{"good": transmitter.OrderDelivered, "bad": transmitter.OrderRejected} {
		o, err := s.Order(t.Context(), transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: jti})
		must(t, err)
		same(t, o.State, state)
	}
	keys, err := s.Waiting(t.Context())
	must(t, err)
	same(t, keys, []int64{st.Key})
	must(t, s.Done(t.Context(), nil))
}

func suiteBackoff(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	g, err := s.Generation(t.Context())
	must(t, err)
	tr := transmitter.Trouble{Fails: 3, Next: 1_700_000_000_000_000, Since: 1_600_000_000_000_000, Open: true, Reason: "HTTP 401"}
	must(t, s.Backoff(t.Context(), st.Key, tr))
	must(t, s.Backoff(t.Context(), 424242, tr))
	got, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, got.Trouble, tr)
	must(t, s.Backoff(t.Context(), st.Key, transmitter.Trouble{}))
	all, now, err := s.AllStreams(t.Context())
	must(t, err)
	same(t, all[0].Trouble, transmitter.Trouble{})
	same(t, now, g)
}

func suiteOrder(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	out := enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	o, err := s.Order(t.Context(), key)
	must(t, err)
	o.Receipts = nil
	same(t, o, out.Rows[0].Order)
	for name, k := range map[string]transmitter.OrderKey{
		"another receiver": {Receiver: "r2", ReceiptIssuer: key.ReceiptIssuer, JTI: "o1"},
		"another issuer":   {Receiver: "r1", ReceiptIssuer: "https://evil.example", JTI: "o1"},
		"another jti":      {Receiver: "r1", ReceiptIssuer: key.ReceiptIssuer, JTI: "o2"},
	} {
		_, err := s.Order(t.Context(), k)
		if !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		_, err = s.AcceptReceipt(t.Context(), k, kept("j", "n", 1), func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict {
			t.Errorf("%s: decide was called", name)
			return transmitter.Accept
		})
		if !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func kept(jti, number string, seq int) *transmitter.KeptReceipt {
	k := &transmitter.KeptReceipt{JTI: jti, Issuer: "https://receiver.example", Number: number, Seq: seq, Stage: "interim", Outcome: "pending",
		Hash: set.Address("h." + jti), IssuedAt: 1_700_000_100, ReceivedAt: 1_700_000_050, Compact: "h." + jti + ".s", Accepted: 1_700_000_100_000_000}
	if seq > 1 {
		k.Supersedes = set.Address("h.before")
		k.Gap = true
	}
	return k
}

func suiteReceipt(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	enqueue(t, s, 2, order(st, "o2"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	give := func(k transmitter.OrderKey, r *transmitter.KeptReceipt, v transmitter.Verdict, want transmitter.Elsewhere, before int) {
		t.Helper()
		got, err := s.AcceptReceipt(t.Context(), k, r, func(o *transmitter.SentOrder, e transmitter.Elsewhere) transmitter.Verdict {
			same(t, e, want)
			same(t, len(o.Receipts), before)
			same(t, o.JTI, k.JTI)
			return v
		})
		must(t, err)
		same(t, got, v)
	}
	one, three, two := kept("j1", "CS-1", 1), kept("j3", "CS-1", 3), kept("j2", "CS-1", 2)
	give(key, one, transmitter.KeepNothing, transmitter.Elsewhere{}, 0)
	give(key, one, transmitter.Accept, transmitter.Elsewhere{}, 0)
	give(key, one, transmitter.Accept, transmitter.Elsewhere{JTIHash: one.Hash, NumberOrder: "o1"}, 1) // kept once all the same
	give(key, three, transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 1)
	two.Late = true
	give(key, two, transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 2)
	o, err := s.Order(t.Context(), key)
	must(t, err)
	same(t, o.Receipts, []transmitter.KeptReceipt{*one, *two, *three})
	// What is known of one order is known at the other.
	key.JTI = "o2"
	give(key, one, transmitter.KeepNothing, transmitter.Elsewhere{JTIHash: one.Hash, NumberOrder: "o1"}, 0)
	// Receipts outlive the stream.
	must(t, s.DeleteStream(t.Context(), "r1", "s1"))
	key.JTI = "o1"
	give(key, kept("j4", "CS-1", 4), transmitter.Accept, transmitter.Elsewhere{NumberOrder: "o1"}, 3)
}

func suiteReceiptRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	const n = 16
	var wg sync.WaitGroup
	accepted := make([]bool, n)
	for i := range n { // all of seq 1, each with other content: one may win
		wg.Go(func() {
			v, err := s.AcceptReceipt(t.Context(), key, kept(fmt.Sprintf("j%d", i), "CS-1", 1), func(o *transmitter.SentOrder, _ transmitter.Elsewhere) transmitter.Verdict {
				if len(o.Receipts) > 0 {
					return transmitter.KeepNothing
				}
				return transmitter.Accept
			})
			if err != nil {
				t.Error(err)
			}
			accepted[i] = v == transmitter.Accept
		})
	}
	wg.Wait()
	o, err := s.Order(t.Context(), key)
	must(t, err)
	won := 0
	for _, a := range accepted {
		if a {
			won++
		}
	}
	if won != 1 || len(o.Receipts) != 1 {
		t.Fatalf("%d were accepted, %d kept", won, len(o.Receipts))
	}
}

func suiteDispute(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, order(st, "o1"))
	key := transmitter.OrderKey{Receiver: "r1", ReceiptIssuer: st.ReceiptIssuer, JTI: "o1"}
	verdict := func(r *transmitter.KeptReceipt, v transmitter.Verdict) {
		t.Helper()
		got, err := s.AcceptReceipt(t.Context(), key, r, func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict { return v })
		must(t, err)
		same(t, got, v)
	}
	first := kept("j1", "CS-1", 1)
	verdict(first, transmitter.Accept)
	verdict(kept("j1b", "CS-1", 1), transmitter.Dispute)
	verdict(kept("j1b", "CS-1", 1), transmitter.Dispute)
	o, err := s.Order(t.Context(), key)
	must(t, err)
	if o.Disputed == "" || len(o.Receipts) != 1 || o.Receipts[0].Hash != first.Hash {
		t.Fatalf("disputed %q with %d accepted", o.Disputed, len(o.Receipts))
	}
}

func suiteCanceled(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"Enqueue":      s.Enqueue(ctx, &transmitter.Outgoing{Event: eventNo(1), Rows: []transmitter.Row{row(st, 1)}}),
		"CreateStream": s.CreateStream(ctx, newStream("r1", "s2"), true),
	} {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
