package ssftest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"countersign/set"
	"countersign/transmitter"
)

func keysInUse(t testing.TB, s transmitter.Store) map[string]int64 {
	t.Helper()
	got, err := s.KeysInUse(t.Context())
	must(t, err)
	for kid, n := range got {
		if n == 0 {
			delete(got, kid)
		}
	}
	return got
}

// anew gives an item the identity that it had, with something before it, and another key.
func anew(stream int64, it *transmitter.Item) (transmitter.Row, error) {
	r := transmitter.Row{Stream: stream, JTI: "new-" + it.JTI, IssuedAt: it.IssuedAt + 1000, KeyID: "key-2", Algorithm: "ES256"}
	if it.Input != "" {
		r.Input = "new" + it.Input
		r.Order = &transmitter.SentOrder{JTI: r.JTI, SetHash: set.Address(r.Input), Input: r.Input, IssuedAt: r.IssuedAt, CompleteBy: 1_700_009_999}
	}
	return r, nil
}

func suiteReissue(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	a, b := enqueue(t, s, 1, row(st, 1)), enqueue(t, s, 2, row(st, 2))
	c := enqueue(t, s, 3, order(st, "o1"))
	d := row(st, 4)
	d.KeyID = "key-other"
	enqueue(t, s, 4, d)
	kill(t, s, b.Rows[0], "no", 5)
	same(t, keysInUse(t, s), map[string]int64{"key-1": 3, "key-other": 1})
	before := getOrder(t, s, st, "o1")

	no := errors.New("no")
	_, err := s.Reissue(t.Context(), "key-1", 10, func(stream int64, it *transmitter.Item) (transmitter.Row, error) {
		if it.Input != "" {
			return transmitter.Row{}, no
		}
		return anew(stream, it)
	})
	wantErr(t, err, no)
	same(t, keysInUse(t, s), map[string]int64{"key-1": 3, "key-other": 1})

	n, err := s.Reissue(t.Context(), "key-none", 10, anew)
	must(t, err)
	same(t, n, 0)
	var asked []string
	total := 0
	for range 5 { // two at a time
		n, err := s.Reissue(t.Context(), "key-1", 2, func(stream int64, it *transmitter.Item) (transmitter.Row, error) {
			if stream != st.Key || it.KeyID != "key-1" || it.Event == nil || len(it.Event.Body) == 0 {
				t.Errorf("again was asked about %d %+v", stream, it)
			}
			if !slices.Contains(asked, it.JTI) {
				asked = append(asked, it.JTI)
			}
			return anew(stream, it)
		})
		must(t, err)
		if n > 2 {
			t.Fatalf("%d rows where 2 were wanted", n)
		}
		if total += n; n == 0 {
			break
		}
	}
	same(t, total, 3)
	slices.Sort(asked)
	same(t, asked, []string{"jti-s1-1", "jti-s1-2", "o1"})
	same(t, keysInUse(t, s), map[string]int64{"key-2": 3, "key-other": 1})

	items := next(t, s, st.Key, 0, 10)
	same(t, items[0], transmitter.Item{Stream: st.Key, Seq: a.Rows[0].Seq, JTI: "new-jti-s1-1", IssuedAt: a.Rows[0].IssuedAt + 1000,
		KeyID: "key-2", Algorithm: "ES256", Event: &a.Event})
	same(t, []string{items[1].JTI, items[1].Input}, []string{"new-o1", "new" + c.Rows[0].Input})
	same(t, []string{items[2].JTI, items[2].KeyID}, []string{d.JTI, "key-other"})
	dead, err := s.Dead(t.Context(), st.Key, 10)
	must(t, err)
	same(t, []string{dead[0].Item.JTI, dead[0].Item.KeyID, dead[0].Reason}, []string{"new-jti-s1-2", "key-2", "no"})

	_, err = s.Order(t.Context(), orderKey(st, "o1"))
	wantErr(t, err, transmitter.ErrNotFound)
	want := *before
	want.JTI, want.Input, want.SetHash, want.IssuedAt, want.CompleteBy = "new-o1", items[1].Input, set.Address(items[1].Input), before.IssuedAt+1000, 1_700_009_999
	same(t, getOrder(t, s, st, "new-o1"), &want)
	// The new identity is what outcomes and acknowledgements name.
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: c.Rows[0].Seq, JTI: "o1", Status: 202, At: 9}}))
	same(t, getOrder(t, s, st, "new-o1").State, transmitter.OrderQueued)
	same(t, acknowledge(t, s, st, 9, nil, "o1", "new-o1"), 1)
	same(t, getOrder(t, s, st, "new-o1").State, transmitter.OrderDelivered)
}

// Each order is either delivered as what it was, or waits as what it became.
func suiteReissueRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const n = 24
	var outcomes []transmitter.Outcome
	for i := range n {
		out := enqueue(t, s, i, order(st, "o"+name(i)))
		outcomes = append(outcomes, transmitter.Outcome{Stream: st.Key, Seq: out.Rows[0].Seq, JTI: out.Rows[0].JTI, Event: out.Event.Key, Status: 202, At: 9})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range outcomes {
			if err := s.Done(t.Context(), outcomes[i:i+1]); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for {
			done, err := s.Reissue(context.WithoutCancel(t.Context()), "key-1", 5, anew)
			if err != nil {
				t.Error(err)
			}
			if done == 0 {
				return
			}
		}
	})
	wg.Wait()
	waiting := next(t, s, st.Key, 0, n)
	c := counts(t, s, st.Key)
	same(t, c, transmitter.Counts{Waiting: int64(len(waiting)), Delivered: int64(n - len(waiting))})
	became := map[string]bool{}
	for _, it := range waiting {
		same(t, it.KeyID, "key-2")
		became[it.JTI] = true
	}
	for i := range n {
		jti, state := "o"+name(i), transmitter.OrderDelivered
		if became["new-"+jti] {
			jti, state = "new-"+jti, transmitter.OrderQueued
		}
		same(t, getOrder(t, s, st, jti).State, state)
	}
}
