package ssftest

import (
	"slices"
	"sync"
	"testing"

	"countersign/transmitter"
)

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
		same(t, o.Arrived != 0, true)
	}
	keys, err := s.Waiting(t.Context())
	must(t, err)
	same(t, keys, []int64{st.Key})
	must(t, s.Done(t.Context(), nil))
	// An outcome of what the row was before it was given another jti says nothing of what it is now.
	must(t, s.Done(t.Context(), []transmitter.Outcome{
		{Stream: st.Key, Seq: d.Rows[0].Seq, JTI: "another", Status: 202, At: 126},
		{Stream: st.Key, Seq: d.Rows[0].Seq, JTI: "another", Plain: true, Dead: true, Status: 400, At: 126},
	}))
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Delivered: 2, Dead: 1})
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
