package store

import (
	"slices"
	"strings"
	"testing"

	"countersign/transmitter"
)

// TestStreamsSince: what was made, changed, or got its first subject after a generation is given, and how many streams there are.
func TestStreamsSince(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		s := p.open(t, Config{})
		v, ctx := s.Transmitter(tenant, nil), t.Context()
		var known int64
		see := func(step string, all int, want ...string) {
			t.Helper()
			changed, n, now, err := v.StreamsSince(ctx, known)
			must(t, err)
			var got []string
			for _, st := range changed {
				got = append(got, st.ID)
			}
			if !slices.Equal(got, want) || n != all {
				t.Errorf("%s: changed %q of %d, want %q of %d", step, got, n, want, all)
			}
			if g, err := v.Generation(ctx); err != nil || g != now {
				t.Errorf("%s: generation %d, the store's is %d, %v", step, now, g, err)
			}
			known = now
		}
		see("empty", 0)
		for _, id := range []string{"one", "two", "three"} {
			must(t, v.CreateStream(ctx, &transmitter.Stream{ID: id, Receiver: "r", Status: transmitter.Enabled}, 0))
		}
		must(t, s.Transmitter("other", nil).CreateStream(ctx, &transmitter.Stream{ID: "theirs", Receiver: "r", Status: transmitter.Enabled}, 0))
		see("made", 3, "one", "two", "three")
		see("nothing", 3)
		st, err := v.UpdateStream(ctx, "r", "two", func(st *transmitter.Stream) error { st.Status = transmitter.Paused; return nil })
		must(t, err)
		see("changed", 3, "two")
		must(t, v.PutSubject(ctx, &transmitter.SubjectEntry{Stream: st.Key + 1, ID: [16]byte{1}, Keys: [][16]byte{{1}}}, 0))
		see("listed", 3, "three")
		must(t, v.DeleteStream(ctx, "r", "one"))
		see("deleted", 2)
	})
}

// What changed of 10,000 streams is found by an index.
func TestStreamsSincePlan(t *testing.T) {
	s := sqlitePlace(t).open(t, Config{})
	var plan strings.Builder
	must(t, s.read(t.Context(), func(x *tx) error {
		return x.each(func(scan scanFunc) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			plan.WriteString(detail + "\n")
			return err
		}, `EXPLAIN QUERY PLAN SELECT `+streamColumns+` FROM stream WHERE tenant = $1 AND generation > $2 ORDER BY seq`, tenant, 1)
	}))
	if !strings.Contains(plan.String(), "stream_generation (tenant=? AND generation>?)") {
		t.Errorf("has\n%s", plan.String())
	}
}
