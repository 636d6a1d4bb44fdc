package ssftest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"countersign/transmitter"
)

func suiteRoundTrip(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	if st.Key <= 0 || st.Generation <= 0 {
		t.Fatalf("key %d and generation %d are not set", st.Key, st.Generation)
	}
	got, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, got, st)
	bare := &transmitter.Stream{ID: "s2", Receiver: "r1", Audience: []string{"a", "b"}, Method: "urn:ietf:rfc:8935", Endpoint: "https://r.example", Status: transmitter.Paused}
	must(t, s.CreateStream(t.Context(), bare, 0))
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
		wg.Go(func() { errs[i] = s.CreateStream(t.Context(), newStream("r1", fmt.Sprintf("s%d", i)), 1) })
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
	must(t, s.CreateStream(t.Context(), newStream("r2", "other"), 1))
	must(t, s.CreateStream(t.Context(), newStream("r1", "second"), 0))
}

func suiteUpdate(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	must(t, s.Backoff(t.Context(), st.Key, transmitter.Trouble{Fails: 2, Next: 5}))
	got, err := s.UpdateStream(t.Context(), "r1", "s1", func(u *transmitter.Stream) error {
		u.Description, u.Endpoint, u.Authorization, u.Delivered, u.Requested = "new", "https://new.example", "", []string{"urn:example:b"}, nil
		u.Receipts, u.ReceiptIssuer, u.Updated = nil, "", 77
		u.Name, u.Naming, u.Shape, u.Format, u.MinVerification, u.InactivityTimeout = "renamed", nil, "", "", 0, 7
		u.Key, u.ID, u.Receiver, u.Audience, u.Trouble = 99, "x", "x", []string{"x"}, transmitter.Trouble{}
		u.Listed, u.Active = true, 99
		return nil
	})
	must(t, err)
	read, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, read, got)
	if got.Key != st.Key || got.ID != "s1" || got.Receiver != "r1" || !slices.Equal(got.Audience, st.Audience) || got.Trouble.Fails != 2 || got.Listed || got.Active != 0 {
		t.Fatalf("what may not change did: %+v", got)
	}
	if got.Name != "renamed" || got.Naming != nil || got.Shape != "" || got.InactivityTimeout != 7 {
		t.Fatalf("the change is not there: %+v", got)
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
