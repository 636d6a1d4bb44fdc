package transmitter

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/set"
)

// TestSnapshotWith: a snapshot that changes were added to is the one that reading all streams would make, and the one before
// stays as it was.
func TestSnapshotWith(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	types := []string{"a", "b", "c"}
	all := map[int64]Stream{}
	sorted := func() (out []Stream) {
		for _, key := range slices.Sorted(maps.Keys(all)) {
			out = append(out, all[key])
		}
		return out
	}
	plain := func(s *snapshot) string {
		out := ""
		for _, m := range []map[string][]*Stream{s.byType, s.byReceiver} {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				for _, st := range m[name] {
					out += fmt.Sprint(name, st.Key, st.ID, st.Status, st.Delivered, st.Generation, " ")
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(s.byKey)) {
			out += fmt.Sprint(key, s.byID[s.byKey[key].ID] == s.byKey[key], " ")
		}
		return out + fmt.Sprint(len(s.byKey), len(s.byID), s.generation)
	}
	was := newSnapshot(nil, 0)
	for g := int64(1); g < 300; g++ {
		var changed []Stream
		for _, key := range random.Perm(40)[:1+random.IntN(4)] {
			st := Stream{Key: int64(key), ID: fmt.Sprint("id", key), Receiver: fmt.Sprint("r", key%3), Status: []string{Enabled, Paused, Disabled}[random.IntN(3)], Generation: g}
			for _, typ := range types {
				if random.IntN(2) == 0 {
					st.Delivered = append(st.Delivered, typ)
				}
			}
			all[st.Key] = st
			changed = append(changed, st)
		}
		before := plain(was)
		now := was.with(changed, g)
		if diff := cmp.Diff(plain(newSnapshot(sorted(), g)), plain(now)); diff != "" {
			t.Fatalf("after change %d (-read anew +changed):\n%s", g, diff)
		}
		if plain(was) != before {
			t.Fatalf("change %d changed the snapshot before it", g)
		}
		was = now
	}
}

// sinceStore is a Memory that says what changed, and counts how often all streams were read.
type sinceStore struct {
	*Memory
	full int
}

func (s *sinceStore) AllStreams(ctx context.Context) ([]Stream, int64, error) {
	s.full++
	return s.Memory.AllStreams(ctx)
}

func (s *sinceStore) StreamsSince(ctx context.Context, generation int64) (changed []Stream, n int, now int64, err error) {
	all, now, err := s.Memory.AllStreams(ctx)
	for _, st := range all {
		if st.Generation > generation {
			changed = append(changed, st)
		}
	}
	return changed, len(all), now, err
}

// TestRefresh: what is made and changed is taken in without reading all streams; after a deletion they are read.
func TestRefresh(t *testing.T) {
	store := &sinceStore{Memory: new(Memory)}
	tr := &Transmitter{cfg: &Config{Store: store, Now: time.Now, Log: slog.New(slog.DiscardHandler)}}
	tr.Pump = newPump(tr)
	tr.ring.Store(&keyring{signers: []*set.Signer{nil}})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	see := func(want ...string) {
		t.Helper()
		s, err := tr.refresh(ctx)
		must(err)
		var got []string
		for _, st := range s.byType["x"] {
			got = append(got, st.ID+" "+st.Status)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	add := func(id string) {
		t.Helper()
		must(store.CreateStream(ctx, &Stream{ID: id, Receiver: "r", Status: Enabled, Delivered: []string{"x"}}, 0))
	}
	see()
	add("one")
	add("two")
	see("one enabled", "two enabled")
	_, err := store.UpdateStream(ctx, "r", "one", func(s *Stream) error { s.Status = Paused; return nil })
	must(err)
	see("one paused", "two enabled")
	see("one paused", "two enabled")
	if store.full != 1 {
		t.Errorf("all streams were read %d times, want once at the start", store.full)
	}
	must(store.DeleteStream(ctx, "r", "one"))
	add("three")
	see("two enabled", "three enabled")
	if store.full != 2 {
		t.Errorf("after a deletion all streams were read %d times, want 2", store.full)
	}
}
