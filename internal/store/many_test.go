package store

import (
	"fmt"
	"testing"
	"time"

	"countersign/transmitter"

	"github.com/google/go-cmp/cmp"
)

// filled makes a stream with n waiting rows of one event each hundred.
func filled(t testing.TB, v *Transmitter, id string, n int) (*transmitter.Stream, []string) {
	t.Helper()
	st := &transmitter.Stream{ID: id, Receiver: "r", Status: transmitter.Enabled}
	must(t, v.CreateStream(t.Context(), st, 0))
	var jtis []string
	for len(jtis) < n {
		out := outgoing(st, 0, "")
		out.Event.At = transmitter.At(time.Now())
		row := out.Rows[0]
		out.Rows = nil
		for range min(100, n-len(jtis)) {
			row.JTI = fmt.Sprintf("%s-%d", id, len(jtis))
			jtis = append(jtis, row.JTI)
			out.Rows = append(out.Rows, row)
		}
		must(t, v.Enqueue(t.Context(), out))
	}
	return st, jtis
}

// A poll with 100,000 acks ends what is waiting and ignores the rest.
func TestHundredThousandAcks(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		st, jtis := filled(t, v, "str_1", 3000)
		acks := append([]string{}, jtis[:2500]...)
		for i := len(acks); i < 100_000; i++ {
			acks = append(acks, fmt.Sprint("unknown-", i))
		}
		refused := []transmitter.Refusal{{JTI: jtis[2600], Err: "invalid_request", Description: "no\x00\xff"}, {JTI: jtis[0], Err: "x"}}
		before := s.Stats().Statements
		n, err := v.Acknowledge(ctx, st.Key, acks, refused, 7)
		must(t, err)
		if n != 2501 {
			t.Fatalf("%d ended", n)
		}
		if took := s.Stats().Statements - before; took > 100 {
			t.Errorf("it took %d statements", took)
		}
		c, err := v.Counts(ctx, st.Key)
		must(t, err)
		if c.Waiting != 499 || c.Delivered != 2500 || c.Dead != 1 {
			t.Fatalf("%+v", c)
		}
		if n, err = v.Acknowledge(ctx, st.Key, acks, refused, 8); err != nil || n != 0 {
			t.Fatalf("again: %d, %v", n, err)
		}
		if n, err = s.Transmitter("other", nil).Acknowledge(ctx, st.Key, jtis[2900:], nil, 8); err != nil || n != 0 {
			t.Fatalf("of another tenant: %d, %v", n, err)
		}
		lines, err := v.Deliveries(ctx, transmitter.DeliveryFilter{Stream: st.Key, N: 10_000})
		must(t, err)
		if len(lines) != 2501 {
			t.Fatalf("%d lines", len(lines))
		}
	})
}

// More than one transaction moves: all of it is moved.
func TestManyDeadLetters(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		st, _ := filled(t, v, "str_1", moveAtOnce+500)
		if n, err := v.Expire(ctx, 5, 10_000); err != nil || n != 0 {
			t.Fatalf("nothing is that old: %d, %v", n, err)
		}
		later := transmitter.At(time.Now().Add(time.Hour))
		n, err := v.Expire(ctx, later, 10_000)
		must(t, err)
		c, err := v.Counts(ctx, st.Key)
		must(t, err)
		if n != moveAtOnce+500 || c.Dead != int64(n) || c.Waiting != 0 {
			t.Fatalf("%d expired, %+v", n, c)
		}
		if n, err = v.Redrive(ctx, transmitter.DeadFilter{Reason: "exp"}); err != nil || n != moveAtOnce+500 {
			t.Fatalf("%d put back, %v", n, err)
		}
		// Each call of Reissue goes on where the last one ended, and the last finds nothing.
		total, calls := 0, 0
		for {
			n, err := v.Reissue(ctx, "k", 400, func(_ int64, it *transmitter.Item) (transmitter.Row, error) {
				return transmitter.Row{JTI: "new-" + it.JTI, IssuedAt: 2, KeyID: "k2", Algorithm: it.Algorithm}, nil
			})
			must(t, err)
			if n == 0 {
				break
			}
			total += n
			calls++
		}
		used, err := v.KeysInUse(ctx)
		must(t, err)
		if total != moveAtOnce+500 || calls > total/400+1 || cmp.Diff(used, map[string]int64{"k2": int64(total)}) != "" {
			t.Fatalf("%d in %d calls, %v", total, calls, used)
		}
	})
}

// What nobody needs any more goes, whatever it is; what is young or needed stays.
func TestPurge(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		gone := &transmitter.Stream{ID: "str_2", Receiver: "r", Status: transmitter.Enabled}
		must(t, v.CreateStream(ctx, st, 0))
		must(t, v.CreateStream(ctx, gone, 0))
		var all []transmitter.Outcome
		for i := range 6 {
			out := outgoing(st, 0, fmt.Sprint("j", i))
			out.Event.At = transmitter.Micros(100 * (i + 1))
			out.Rows[0].Body = []byte(`,"own":1}`)
			out.Skips = []transmitter.Skip{{Stream: gone.Key, Reason: "why"}}
			must(t, v.Enqueue(ctx, out))
			all = append(all, transmitter.Outcome{Stream: st.Key, Seq: out.Rows[0].Seq, Plain: true, JTI: out.Rows[0].JTI, Event: out.Event.Key, At: out.Event.At, Status: 202})
		}
		all[1].Dead, all[1].Reason = true, "old"
		all[4].Dead, all[4].Reason = true, "young"
		must(t, v.Done(ctx, all[:5])) // the sixth waits
		for i := range 40 {
			e := &transmitter.SubjectEntry{Stream: gone.Key, ID: [16]byte{byte(i)}, Keys: [][16]byte{{byte(i)}, {99}}, Subject: []byte(`{"format":"complex"}`)}
			must(t, v.PutSubject(ctx, e, 0))
			must(t, v.PutSubject(ctx, &transmitter.SubjectEntry{Stream: st.Key, ID: [16]byte{byte(i)}, Keys: [][16]byte{{byte(i)}}}, 0))
		}
		must(t, v.DeleteStream(ctx, "r", "str_2"))
		left, err := v.Subjects(ctx, [][16]byte{{99}, {3}})
		must(t, err)
		if len(left) != 1 || left[0].Stream != st.Key {
			t.Fatalf("subjects of a stream that is gone are found: %+v", left)
		}
		total := 0
		for range 100 {
			n, err := v.Purge(ctx, 250, 7)
			must(t, err)
			if total += n; n == 0 {
				break
			}
		}
		// Two lines, two skips, one letter, two events, and the pairs of the stream that is gone.
		if want := 2 + 2 + 1 + 2 + 80; total != want {
			t.Errorf("%d went, want %d", total, want)
		}
		for table, want := range map[string]int{"delivery_page": 1, "skip": 4, "dead_letter": 1, "event": 4, "event_body": 4, "outbox": 1, "stream_subject": 40, "stream_gone": 0, "stream_complex": 0} {
			if n := count(t, s, table); n != want {
				t.Errorf("%s has %d rows, want %d", table, n, want)
			}
		}
		lines, err := v.Deliveries(ctx, transmitter.DeliveryFilter{Stream: st.Key})
		must(t, err)
		var jtis []string
		for _, l := range lines {
			jtis = append(jtis, l.JTI)
		}
		if d := cmp.Diff([]string{"j4", "j3", "j2"}, jtis); d != "" {
			t.Error(d)
		}
		// At last all of it can go but what waits.
		for range 100 {
			if n, err := v.Purge(ctx, 1_000, 100); err != nil || n == 0 {
				must(t, err)
				break
			}
		}
		if n := count(t, s, "event"); n != 1 {
			t.Errorf("%d events, one waits", n)
		}
	})
}

// The history is read page by page: over many of them, with every filter, and further back by Before.
func TestDeliveriesOverManyPages(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		st, other := &transmitter.Stream{ID: "str_1", Receiver: "r"}, &transmitter.Stream{ID: "str_2", Receiver: "r"}
		must(t, v.CreateStream(ctx, st, 0))
		must(t, v.CreateStream(ctx, other, 0))
		const n = 300
		for i := range n {
			on := st
			if i%3 == 0 {
				on = other
			}
			out := outgoing(on, 0, fmt.Sprint("j", i))
			out.Event.TXN = fmt.Sprint("t", i/2)
			out.Event.At = 1
			must(t, v.Enqueue(ctx, out))
			must(t, v.Done(ctx, []transmitter.Outcome{{Stream: on.Key, Seq: out.Rows[0].Seq, JTI: out.Rows[0].JTI, Event: out.Event.Key, Dead: i%10 == 0, Reason: "r", At: transmitter.Micros(1000 - i*3%1000 + i*10)}}))
		}
		seen := map[string]bool{}
		var before transmitter.Micros
		for {
			lines, err := v.Deliveries(ctx, transmitter.DeliveryFilter{Before: before, N: 7})
			must(t, err)
			for i, l := range lines {
				if seen[l.JTI] || l.Type != "urn:example:a" || l.TXN == "" || l.StreamID == "" || i > 0 && l.At > lines[i-1].At || before != 0 && l.At >= before {
					t.Fatalf("%+v", l)
				}
				seen[l.JTI] = true
			}
			if len(lines) < 7 {
				break
			}
			before = lines[len(lines)-1].At
		}
		if len(seen) < n-20 { // of one moment, those beyond a page are passed over
			t.Fatalf("%d of %d lines", len(seen), n)
		}
		for f, want := range map[transmitter.DeliveryFilter]int{
			{Stream: other.Key, N: 1000}: 100, {JTI: "j7"}: 1, {TXN: "t5"}: 2, {TXN: "none"}: 0, {Outcome: transmitter.DeadLettered}: 30,
			{Outcome: transmitter.Delivered, N: 1000}: 270, {Outcome: transmitter.Skipped}: 0, {}: 100,
		} {
			lines, err := v.Deliveries(ctx, f)
			must(t, err)
			if len(lines) != want {
				t.Errorf("%+v: %d lines, want %d", f, len(lines), want)
			}
		}
	})
}

// Every member of a stream comes back.
func TestStreamComesBackWhole(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		v := s.Transmitter(tenant, sealer{})
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Audience: []string{"a"}, Requested: []string{}, Delivered: []string{"d"}, Description: "x", Method: "m", Endpoint: "e",
			Authorization: "secret", Algorithm: "ES256", Status: transmitter.Enabled, Reason: "why", Receipts: []byte(`{ "a": 1 }`), ReceiptIssuer: "i", Window: 3, Name: "n", Set: "s",
			DefaultSubjects: "NONE", Naming: []byte(`{ "format": "<&>" }`), MinVerification: 5, InactivityTimeout: 9, Shape: "sse-id1", Format: "f", Active: 3, Created: 1, Updated: 2}
		must(t, v.CreateStream(t.Context(), st, 0))
		got, err := v.Stream(t.Context(), "r", "str_1")
		must(t, err)
		if d := cmp.Diff(st, got); d != "" {
			t.Fatal(d)
		}
	})
}
