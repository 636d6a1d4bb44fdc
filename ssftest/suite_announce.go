package ssftest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"countersign/transmitter"
)

func suiteRowForms(t *testing.T, s transmitter.Store) {
	plain, told, stopped := mustCreate(t, s, "r1", "plain"), mustCreate(t, s, "r1", "told"), mustCreate(t, s, "r1", "stopped")
	own := []byte(`,"sub_id":{"format":"opaque","id":"another"},"events":{"urn:example:a":{}}}`)
	a, b, c := row(plain, 1), row(told, 1), row(stopped, 1)
	b.Body = own
	c.Parting = true
	setStatus(t, s, "r1", "stopped", transmitter.Disabled)
	out := enqueue(t, s, 1, a, b, c, row(stopped, 2))
	want := eventNo(1)
	want.Key = out.Event.Key
	item := next(t, s, plain.Key, 0, 10)[0]
	same(t, item.Event, &want)
	same(t, item.Parting, false)
	want.Body = own
	same(t, next(t, s, told.Key, 0, 10)[0].Event, &want)
	items := next(t, s, stopped.Key, 0, 10)
	if len(items) != 1 || !items[0].Parting || items[0].JTI != c.JTI || out.Rows[3].Seq != 0 {
		t.Fatalf("on a disabled stream: %+v", items)
	}
	parting, err := s.Parting(t.Context())
	must(t, err)
	same(t, parting, items)
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: stopped.Key, Seq: items[0].Seq, Status: 202, At: 1}}))
	parting, err = s.Parting(t.Context())
	must(t, err)
	same(t, len(parting), 0)
}

func suiteOldest(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	at := func(want transmitter.Micros) {
		t.Helper()
		c, err := s.Counts(t.Context(), st.Key)
		must(t, err)
		same(t, c.Oldest, want)
	}
	at(0)
	first := enqueue(t, s, 1, row(st, 1))
	enqueue(t, s, 2, row(st, 2))
	at(eventNo(1).At)
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: first.Rows[0].Seq, Plain: true, At: 1}}))
	at(eventNo(2).At)
}

func suiteAnnounce(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	enqueue(t, s, 1, row(st, 1))
	enqueue(t, s, 2, order(st, "o1"))
	farewell := func(n int, parting bool) *transmitter.Outgoing {
		r := row(st, n)
		r.Parting = parting
		return &transmitter.Outgoing{Event: eventNo(n), Rows: []transmitter.Row{r}, Generation: 1} // not checked
	}
	no := errors.New("no")
	_, err := s.Announce(t.Context(), "r1", "s1", func(u *transmitter.Stream) (*transmitter.Outgoing, error) {
		u.Status = transmitter.Disabled
		return farewell(3, true), no
	})
	wantErr(t, err, no)
	same(t, len(next(t, s, st.Key, 0, 10)), 2)
	_, err = s.Announce(t.Context(), "r2", "s1", func(*transmitter.Stream) (*transmitter.Outgoing, error) {
		t.Error("change was called")
		return nil, nil
	})
	wantErr(t, err, transmitter.ErrNotFound)

	g := generation(t, s)
	var out *transmitter.Outgoing
	got, err := s.Announce(t.Context(), "r1", "s1", func(u *transmitter.Stream) (*transmitter.Outgoing, error) {
		u.Status, u.Reason = transmitter.Disabled, "maintenance"
		out = farewell(4, true)
		return out, nil
	})
	must(t, err)
	same(t, []string{got.Status, got.Reason}, []string{transmitter.Disabled, "maintenance"})
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 1 || !items[0].Parting || items[0].Seq != out.Rows[0].Seq || out.Rows[0].Seq == 0 {
		t.Fatalf("waiting after the farewell: %+v", items)
	}
	same(t, getOrder(t, s, st, "o1").State, transmitter.OrderDropped)
	if now := generation(t, s); now <= g {
		t.Fatalf("generation %d after %d", now, g)
	}
	// Without anything to announce it is UpdateStream.
	got, err = s.Announce(t.Context(), "r1", "s1", func(u *transmitter.Stream) (*transmitter.Outgoing, error) {
		u.Status = transmitter.Enabled
		return nil, nil
	})
	must(t, err)
	read, err := s.Stream(t.Context(), "r1", "s1")
	must(t, err)
	same(t, got, read)
	same(t, read.Status, transmitter.Enabled)
	// A row that is not parting goes to a stream that takes it.
	_, err = s.Announce(t.Context(), "r1", "s1", func(*transmitter.Stream) (*transmitter.Outgoing, error) { return farewell(5, false), nil })
	must(t, err)
	same(t, len(next(t, s, st.Key, 0, 10)), 2)
}

// Whatever the order of the two: on the disabled stream nothing waits but the farewell.
func suiteAnnounceRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			out := &transmitter.Outgoing{Event: eventNo(i), Rows: []transmitter.Row{row(st, i)}}
			if err := s.Enqueue(t.Context(), out); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		_, err := s.Announce(t.Context(), "r1", "s1", func(u *transmitter.Stream) (*transmitter.Outgoing, error) {
			u.Status = transmitter.Disabled
			r := row(st, n)
			r.Parting = true
			return &transmitter.Outgoing{Event: eventNo(n), Rows: []transmitter.Row{r}}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	items := next(t, s, st.Key, 0, n+1)
	if len(items) != 1 || !items[0].Parting {
		t.Fatalf("%d rows wait on a disabled stream", len(items))
	}
	same(t, counts(t, s, st.Key).Waiting, int64(1))
}

func suiteIdle(t *testing.T, s transmitter.Store) {
	const second = transmitter.Micros(1_000_000)
	made := func(id, status string, timeout int64) *transmitter.Stream {
		st := newStream("r1", id)
		st.InactivityTimeout = timeout
		must(t, s.CreateStream(t.Context(), st, 0))
		if status != transmitter.Enabled {
			setStatus(t, s, "r1", id, status)
		}
		return st
	}
	watched := made("watched", transmitter.Enabled, 60)
	made("unwatched", transmitter.Enabled, 0)
	made("paused", transmitter.Paused, 60)
	idle := func(now transmitter.Micros, want ...string) {
		t.Helper()
		got, err := s.Idle(t.Context(), now)
		must(t, err)
		ids := make([]string, 0)
		for _, st := range got {
			ids = append(ids, st.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, want) {
			t.Fatalf("idle: %v, want %v", ids, want)
		}
	}
	last := watched.Updated // later than Created
	idle(last + 60*second - 1)
	idle(last+60*second+1, "watched")
	g := generation(t, s)
	must(t, s.Touch(t.Context(), map[int64]transmitter.Micros{watched.Key: last + 100*second, 424242: 1}))
	must(t, s.Touch(t.Context(), map[int64]transmitter.Micros{watched.Key: last + 50*second}))
	must(t, s.Touch(t.Context(), nil))
	same(t, generation(t, s), g)
	idle(last + 160*second - 1)
	idle(last+160*second+1, "watched")
	read, err := s.Stream(t.Context(), "r1", "watched")
	must(t, err)
	same(t, read.Active, last+100*second)
	_, err = s.UpdateStream(t.Context(), "r1", "watched", func(u *transmitter.Stream) error { u.Updated = last + 200*second; return nil })
	must(t, err)
	idle(last + 260*second - 1)
	idle(last+260*second+1, "watched")
}

func suiteShards(t *testing.T, s transmitter.Store) {
	mine, err := s.Shards(t.Context())
	must(t, err)
	if mine == (transmitter.Shards{}) {
		t.Fatal("a process alone delivers nothing")
	}
}
