package store

import (
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"countersign/transmitter"
)

// TestTallies: counted all at once, the streams have what each has by itself.
func TestTallies(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		v, ctx := s.Transmitter(tenant, nil), t.Context()
		other := s.Transmitter("other", nil)
		must(t, other.CreateStream(ctx, &transmitter.Stream{ID: "theirs", Receiver: "r", Status: transmitter.Enabled}, 0))
		var made []*transmitter.Stream
		for _, id := range []string{"one", "two", "three"} {
			st := &transmitter.Stream{ID: id, Receiver: "r", Status: transmitter.Enabled}
			must(t, v.CreateStream(ctx, st, 0))
			made = append(made, st)
		}
		gen, err := v.Generation(ctx)
		must(t, err)
		for i := range 3 { // 3 rows of one, 1 of two
			out := &transmitter.Outgoing{Generation: gen, Event: transmitter.Event{Type: "x", TXN: "t", Body: []byte("{}"), At: transmitter.Micros(1000 + i)}}
			for j, st := range made[:2] {
				if i == 0 || j == 0 {
					out.Rows = append(out.Rows, transmitter.Row{Stream: st.Key, JTI: st.ID + string(rune('a'+i)), KeyID: "k", Algorithm: "ES256"})
				}
			}
			must(t, v.Enqueue(ctx, out))
		}
		items, err := v.Next(ctx, made[0].Key, 0, 10)
		must(t, err)
		must(t, v.Done(ctx, []transmitter.Outcome{
			{Stream: made[0].Key, Seq: items[0].Seq, JTI: items[0].JTI, Event: items[0].Event.Key, Plain: true, Status: 202, At: 2000},
			{Stream: made[0].Key, Seq: items[1].Seq, JTI: items[1].JTI, Event: items[1].Event.Key, Plain: true, Status: 400, Dead: true, Reason: "no", At: 2000}}))
		must(t, v.Backoff(ctx, made[1].Key, transmitter.Trouble{Fails: 2, Next: 5000, Since: 4000, Reason: "no answer"}))
		got, err := v.Tallies(ctx)
		must(t, err)
		slices.SortFunc(got, func(a, b transmitter.Tally) int { return cmp.Compare(a.Key, b.Key) })
		var want []transmitter.Tally
		for _, st := range made {
			c, err := v.Counts(ctx, st.Key)
			must(t, err)
			want = append(want, transmitter.Tally{Key: st.Key, StreamID: st.ID, Counts: c, Failing: st.ID == "two"})
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-each by itself +all at once):\n%s", diff)
		}
		if c := got[0].Counts; c.Waiting != 1 || c.Delivered != 1 || c.Dead != 1 || c.Oldest != 1002 {
			t.Errorf("the first has %+v", c)
		}
	})
}
