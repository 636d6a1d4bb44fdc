package ssftest

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign/transmitter"
)

func acknowledge(t testing.TB, s transmitter.Store, st *transmitter.Stream, at transmitter.Micros, refused []transmitter.Refusal, acks ...string) int {
	t.Helper()
	n, err := s.Acknowledge(t.Context(), st.Key, acks, refused, at)
	must(t, err)
	return n
}

func redrive(t testing.TB, s transmitter.Store, which transmitter.DeadFilter) int {
	t.Helper()
	n, err := s.Redrive(t.Context(), which)
	must(t, err)
	return n
}

func history(t testing.TB, s transmitter.Store, which transmitter.DeliveryFilter) []transmitter.Delivery {
	t.Helper()
	lines, err := s.Deliveries(t.Context(), which)
	must(t, err)
	return lines
}

// kill sets a row aside.
func kill(t testing.TB, s transmitter.Store, r transmitter.Row, reason string, at transmitter.Micros) {
	t.Helper()
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: r.Stream, Seq: r.Seq, JTI: r.JTI, Dead: true, Status: 400, Reason: reason, At: at}}))
}

func suiteAcknowledge(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "s2")
	for i := range 4 {
		enqueue(t, s, i, row(st, i))
	}
	enqueue(t, s, 4, order(st, "good"), order(other, "theirs"))
	enqueue(t, s, 5, order(st, "bad"))
	refused := []transmitter.Refusal{
		{JTI: "jti-s1-1", Err: "invalid_request", Description: "no such claim"}, {JTI: "bad", Err: "access_denied"},
		{JTI: "jti-s1-0", Err: "invalid_request"}, // acknowledged as well, which counts
		{JTI: "unknown", Err: "invalid_request"},
	}
	acks := []string{"jti-s1-0", "jti-s1-2", "good", "theirs", "unknown", "jti-s1-0"}
	same(t, acknowledge(t, s, st, 99, refused, acks...), 5)
	same(t, acknowledge(t, s, st, 100, refused, acks...), 0)
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 1 || items[0].JTI != "jti-s1-3" {
		t.Fatalf("waiting: %+v", items)
	}
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Delivered: 3, Dead: 2})
	same(t, counts(t, s, other.Key), transmitter.Counts{Waiting: 1}) // acknowledged on another stream
	reasons := map[string]string{}
	dead, err := s.Dead(t.Context(), st.Key, 10)
	must(t, err)
	for _, d := range dead {
		reasons[d.Item.JTI] = d.Reason
		same(t, d.At, transmitter.Micros(99))
	}
	same(t, reasons, map[string]string{"jti-s1-1": "invalid_request: no such claim", "bad": "access_denied"})
	same(t, getOrder(t, s, st, "good").State, transmitter.OrderDelivered)
	same(t, getOrder(t, s, st, "good").Arrived, transmitter.Micros(99))
	same(t, getOrder(t, s, st, "bad").State, transmitter.OrderRejected)
	same(t, getOrder(t, s, other, "theirs").State, transmitter.OrderQueued)
	lines := history(t, s, transmitter.DeliveryFilter{Stream: st.Key, JTI: "good"})
	if len(lines) != 1 || lines[0].Outcome != transmitter.Delivered || lines[0].Status != 0 || lines[0].At != 99 || lines[0].TXN != "t4" {
		t.Fatalf("history: %+v", lines)
	}
	same(t, acknowledge(t, s, st, 101, nil), 0)
	n, err := s.Acknowledge(t.Context(), 424242, []string{"jti-s1-3"}, nil, 1)
	must(t, err)
	same(t, n, 0)
}

func suiteAcknowledgeRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const rows, polls = 30, 8
	var acks []string
	for i := range rows {
		out := enqueue(t, s, i, row(st, i))
		acks = append(acks, out.Rows[0].JTI)
	}
	ended := make([]int, polls)
	var wg sync.WaitGroup
	for i := range polls {
		wg.Go(func() {
			n, err := s.Acknowledge(t.Context(), st.Key, acks, nil, 7)
			if err != nil {
				t.Error(err)
			}
			ended[i] = n
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range ended {
		sum += n
	}
	same(t, sum, rows)
	same(t, counts(t, s, st.Key), transmitter.Counts{Delivered: rows})
	same(t, len(history(t, s, transmitter.DeliveryFilter{Stream: st.Key, N: 2 * rows})), rows)
}

func suiteRedrive(t *testing.T, s transmitter.Store) {
	st, off := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "off")
	a, b := enqueue(t, s, 1, row(st, 1)), enqueue(t, s, 2, order(st, "o1"))
	c, d := enqueue(t, s, 3, row(st, 3)), enqueue(t, s, 4, row(off, 4))
	kill(t, s, a.Rows[0], "invalid_key: rotated", 10)
	kill(t, s, b.Rows[0], "invalid_request: no", 11)
	kill(t, s, d.Rows[0], "invalid_key: rotated", 12)
	setStatus(t, s, "r1", "off", transmitter.Disabled)
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key, JTI: "unknown"}), 0)
	same(t, redrive(t, s, transmitter.DeadFilter{Reason: "key"}), 0) // it begins otherwise
	same(t, redrive(t, s, transmitter.DeadFilter{Reason: "invalid_key"}), 1)
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key, Seq: b.Rows[0].Seq, JTI: "o1"}), 1)
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 3 {
		t.Fatalf("%d rows wait", len(items))
	}
	for i, out := range []*transmitter.Outgoing{a, b, c} { // each in its old place
		same(t, items[i].Seq, out.Rows[0].Seq)
		same(t, items[i].JTI, out.Rows[0].JTI)
		same(t, items[i].Input, out.Rows[0].Input)
	}
	same(t, items[0].Event.Body, eventNo(1).Body)
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 3})
	o := getOrder(t, s, st, "o1")
	same(t, o.State, transmitter.OrderQueued)
	same(t, o.Arrived, transmitter.Micros(0))
	keys, err := s.Waiting(t.Context())
	must(t, err)
	same(t, keys, []int64{st.Key})
	// The disabled stream's comes back once it is enabled, and all at once.
	same(t, redrive(t, s, transmitter.DeadFilter{}), 0)
	setStatus(t, s, "r1", "off", transmitter.Paused)
	kill(t, s, a.Rows[0], "again", 13)
	same(t, redrive(t, s, transmitter.DeadFilter{}), 2)
	// A row is known by the same seq and jti afterwards.
	must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: b.Rows[0].Seq, JTI: "o1", Status: 202, At: 14}}))
	same(t, getOrder(t, s, st, "o1").State, transmitter.OrderDelivered)
	// A withdrawn order stays where it is.
	e := enqueue(t, s, 5, order(st, "o2"))
	kill(t, s, e.Rows[0], "no", 15)
	_, err = s.WithdrawOrder(t.Context(), orderKey(st, "o2"), 16, "")
	must(t, err)
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key}), 0)
}

// Whoever comes first: the row is there once, waiting, delivered or dead.
func suiteRedriveRace(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const rounds = 20
	for i := range rounds {
		out := enqueue(t, s, i, row(st, i))
		kill(t, s, out.Rows[0], "no", 1)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, err := s.Redrive(t.Context(), transmitter.DeadFilter{Stream: st.Key}); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := s.Acknowledge(t.Context(), st.Key, []string{out.Rows[0].JTI}, nil, 2); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	c := counts(t, s, st.Key)
	if c.Waiting+c.Delivered+c.Dead != rounds || c.Dead != 0 {
		t.Fatalf("of %d rows: %+v", rounds, c)
	}
	same(t, int64(len(next(t, s, st.Key, 0, rounds))), c.Waiting)
}

func suiteExpire(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r2", "s2")
	setStatus(t, s, "r2", "s2", transmitter.Paused) // what waits there expires like the rest
	enqueue(t, s, 1, row(st, 1), row(other, 1))
	enqueue(t, s, 2, order(st, "o1"))
	enqueue(t, s, 3, row(st, 3))
	expire := func(before transmitter.Micros, n, want int) {
		t.Helper()
		got, err := s.Expire(t.Context(), before, n)
		must(t, err)
		same(t, got, want)
	}
	expire(eventNo(1).At, 10, 0) // not before, but at
	expire(eventNo(3).At, 1, 1)
	expire(eventNo(3).At, 10, 2)
	expire(eventNo(3).At, 10, 0)
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 1 || items[0].JTI != "jti-s1-3" {
		t.Fatalf("waiting: %+v", items)
	}
	same(t, len(next(t, s, other.Key, 0, 10)), 0)
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Dead: 2})
	same(t, counts(t, s, other.Key), transmitter.Counts{Dead: 1})
	dead, err := s.Dead(t.Context(), st.Key, 10)
	must(t, err)
	for _, d := range dead {
		same(t, d.Reason, "expired")
	}
	o := getOrder(t, s, st, "o1")
	same(t, o.State, transmitter.OrderExpired)
	same(t, o.Arrived, transmitter.Micros(0)) // nobody took it
	same(t, len(history(t, s, transmitter.DeliveryFilter{Outcome: transmitter.DeadLettered})), 3)
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key, Reason: "expired"}), 2)
	same(t, getOrder(t, s, st, "o1").State, transmitter.OrderQueued)
	// From the events on they are too old still; put back at a moment, they are as old as that.
	expire(eventNo(3).At, 10, 2)
	again := eventNo(3).At + 1_000_000
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key, Reason: "expired", At: again}), 2)
	expire(eventNo(3).At, 10, 0)
	expire(again, 10, 1) // the third row, which nobody put back
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 2, Dead: 1})
	expire(again+1, 10, 2)
	same(t, getOrder(t, s, st, "o1").State, transmitter.OrderExpired)
	// Once more, later than before.
	same(t, redrive(t, s, transmitter.DeadFilter{Stream: st.Key, Reason: "expired", At: again + 2}), 3)
	expire(again+2, 10, 0)
	expire(again+3, 10, 3)
}

func suiteHistory(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r2", "s2")
	a := &transmitter.Outgoing{Event: eventNo(1), Rows: []transmitter.Row{row(st, 1)},
		Skips: []transmitter.Skip{{Stream: other.Key, StreamID: "s2", Receiver: "r2", Reason: "the person has no account there"}}}
	must(t, s.Enqueue(t.Context(), a))
	b := enqueue(t, s, 2, row(st, 2))
	only := &transmitter.Outgoing{Event: eventNo(3), Skips: []transmitter.Skip{{Stream: other.Key, StreamID: "s2", Receiver: "r2", Reason: "again"}}}
	must(t, s.Enqueue(t.Context(), only)) // nothing but a skip is kept, too
	at := func(n int64) transmitter.Micros { return eventNo(1).At + transmitter.Micros(n)*1_000_000 }
	must(t, s.Done(t.Context(), []transmitter.Outcome{
		{Stream: st.Key, Seq: a.Rows[0].Seq, Plain: true, Status: 202, At: at(10), JTI: a.Rows[0].JTI, Event: a.Event.Key, Tries: 3, First: at(8)},
		{Stream: st.Key, Seq: b.Rows[0].Seq, Plain: true, Dead: true, Status: 400, Reason: "HTTP 400", At: at(20), JTI: b.Rows[0].JTI, Event: b.Event.Key, Tries: 1, First: at(19)},
	}))
	want := []transmitter.Delivery{
		{Stream: st.Key, StreamID: "s1", JTI: "jti-s1-2", Event: b.Event.Key, Type: "urn:example:a", TXN: "t2", Outcome: transmitter.DeadLettered,
			Status: 400, Reason: "HTTP 400", Tries: 1, First: at(19), At: at(20)},
		{Stream: st.Key, StreamID: "s1", JTI: "jti-s1-1", Event: a.Event.Key, Type: "urn:example:a", TXN: "t1", Outcome: transmitter.Delivered,
			Status: 202, Tries: 3, First: at(8), At: at(10)},
		{Stream: other.Key, StreamID: "s2", Event: only.Event.Key, Type: "urn:example:a", TXN: "t3", Outcome: transmitter.Skipped, Reason: "again", At: eventNo(3).At},
		{Stream: other.Key, StreamID: "s2", Event: a.Event.Key, Type: "urn:example:a", TXN: "t1", Outcome: transmitter.Skipped,
			Reason: "the person has no account there", At: eventNo(1).At},
	}
	check := func(which transmitter.DeliveryFilter, want ...transmitter.Delivery) {
		t.Helper()
		got := history(t, s, which)
		for i := range got {
			if got[i].Outcome == transmitter.Skipped {
				got[i].First = 0 // nothing was tried
			}
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%+v (-want +got):\n%s", which, d)
		}
	}
	check(transmitter.DeliveryFilter{}, want...)
	check(transmitter.DeliveryFilter{N: 2}, want[:2]...)
	check(transmitter.DeliveryFilter{Before: at(10)}, want[2:]...)
	check(transmitter.DeliveryFilter{Before: at(20), N: 1}, want[1])
	check(transmitter.DeliveryFilter{Stream: other.Key}, want[2:]...)
	check(transmitter.DeliveryFilter{JTI: "jti-s1-1"}, want[1])
	check(transmitter.DeliveryFilter{TXN: "t1"}, want[1], want[3])
	check(transmitter.DeliveryFilter{Outcome: transmitter.Delivered}, want[1])
	check(transmitter.DeliveryFilter{Outcome: transmitter.Skipped, TXN: "t3"}, want[2])
	check(transmitter.DeliveryFilter{JTI: "unknown"})
	for i := range want { // a page begins where another ended
		place := want[i].Place()
		check(transmitter.DeliveryFilter{From: &place}, want[i:]...)
		check(transmitter.DeliveryFilter{From: &place, N: 1}, want[i])
	}
	// The history outlives the stream, and then has no id of it.
	must(t, s.DeleteStream(t.Context(), "r1", "s1"))
	gone := want[1]
	gone.StreamID = ""
	check(transmitter.DeliveryFilter{JTI: "jti-s1-1"}, gone)
}

// suiteMoment has more lines of one moment than a page: each is found once, whatever the size of the pages.
func suiteMoment(t *testing.T, s transmitter.Store) {
	a, b, skipped := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r1", "s2"), mustCreate(t, s, "r2", "s3")
	const events = 60
	at := eventNo(1).At
	for n := range events {
		out := &transmitter.Outgoing{Event: eventNo(n), Rows: []transmitter.Row{row(a, n), row(b, n)},
			Skips: []transmitter.Skip{{Stream: skipped.Key, StreamID: "s3", Receiver: "r2", Reason: "why"}}}
		out.Event.At = at
		must(t, s.Enqueue(t.Context(), out))
		var ends []transmitter.Outcome
		for i, r := range out.Rows {
			ends = append(ends, transmitter.Outcome{Stream: r.Stream, Seq: r.Seq, Plain: true, Dead: i == 1, Reason: "HTTP 400", At: at, First: at, JTI: r.JTI, Event: out.Event.Key, Tries: 1})
		}
		must(t, s.Done(t.Context(), ends))
	}
	whole := history(t, s, transmitter.DeliveryFilter{N: 4 * events})
	same(t, len(whole), 3*events)
	for i := range whole[1:] {
		if whole[i].Place().Compare(whole[i+1].Place()) >= 0 {
			t.Fatalf("line %d stands at %+v, the next at %+v", i, whole[i].Place(), whole[i+1].Place())
		}
	}
	for _, size := range []int{1, 7, 64} {
		var got []transmitter.Delivery
		which := transmitter.DeliveryFilter{N: size + 1}
		for {
			page := history(t, s, which)
			got = append(got, page[:min(size, len(page))]...)
			if len(page) <= size {
				break
			}
			next := page[size].Place()
			which.From = &next
		}
		if d := cmp.Diff(whole, got); d != "" {
			t.Fatalf("pages of %d (-whole +pages):\n%s", size, d)
		}
	}
	place := whole[100].Place()
	for _, l := range history(t, s, transmitter.DeliveryFilter{From: &place, Stream: b.Key, Outcome: transmitter.DeadLettered, N: 4 * events}) {
		if l.Stream != b.Key || l.Outcome != transmitter.DeadLettered || l.Place().Compare(place) < 0 {
			t.Fatalf("found %+v", l)
		}
	}
}

func suitePurge(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	done := func(n int, at transmitter.Micros) {
		t.Helper()
		out := enqueue(t, s, n, row(st, n))
		must(t, s.Done(t.Context(), []transmitter.Outcome{{Stream: st.Key, Seq: out.Rows[0].Seq, Plain: true, Status: 202, At: at, JTI: out.Rows[0].JTI, Event: out.Event.Key, Tries: 1, First: at}}))
	}
	base := eventNo(0).At
	for i := range 6 {
		done(i, base+transmitter.Micros(i)*10)
	}
	waits := enqueue(t, s, 50, row(st, 50)) // older than all, and still needed
	o := enqueue(t, s, 51, order(st, "o1"))
	kill(t, s, o.Rows[0], "no", base+20)
	purge := func(before transmitter.Micros, n int) int {
		t.Helper()
		got, err := s.Purge(t.Context(), before, n)
		must(t, err)
		return got
	}
	lines := func() int { t.Helper(); return len(history(t, s, transmitter.DeliveryFilter{})) }
	same(t, lines(), 7)
	if purge(base, 100) != 0 || lines() != 7 {
		t.Fatal("something went that was not older")
	}
	for range 20 { // in steps, each bounded
		if purge(base+20, 1) == 0 {
			break
		}
	}
	same(t, lines(), 5)
	same(t, counts(t, s, st.Key).Dead, int64(1)) // set aside at that moment, not before
	for purge(base+21, 100) > 0 {
	}
	same(t, lines(), 3)
	same(t, counts(t, s, st.Key), transmitter.Counts{Waiting: 1, Delivered: 6})
	same(t, getOrder(t, s, st, "o1").State, transmitter.OrderRejected) // orders stay
	for purge(base+1_000_000_000, 100) > 0 {
	}
	same(t, lines(), 0)
	items := next(t, s, st.Key, 0, 10)
	if len(items) != 1 || items[0].Seq != waits.Rows[0].Seq {
		t.Fatalf("waiting: %+v", items)
	}
	same(t, items[0].Event.Body, eventNo(50).Body)
	same(t, redrive(t, s, transmitter.DeadFilter{}), 0)
}
