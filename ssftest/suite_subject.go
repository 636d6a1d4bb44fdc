package ssftest

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"countersign/transmitter"
)

// mark makes a key that is easy to read in a failure.
func mark(n int) (key [16]byte) {
	key[0], key[1], key[15] = byte(n), byte(n>>8), 0xab
	return key
}

func simple(st *transmitter.Stream, n int) *transmitter.SubjectEntry {
	return &transmitter.SubjectEntry{Stream: st.Key, ID: mark(n), Keys: [][16]byte{mark(n)}, Verified: true, At: 5}
}

func subjects(t testing.TB, s transmitter.Store, keys ...[16]byte) []transmitter.SubjectEntry {
	t.Helper()
	got, err := s.Subjects(t.Context(), keys)
	must(t, err)
	slices.SortFunc(got, func(a, b transmitter.SubjectEntry) int {
		if a.Stream != b.Stream {
			return int(a.Stream - b.Stream)
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	for i := range got {
		slices.SortFunc(got[i].Keys, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
	}
	return got
}

func suiteSubjects(t *testing.T, s transmitter.Store) {
	st, other := mustCreate(t, s, "r1", "s1"), mustCreate(t, s, "r2", "s2")
	one := simple(st, 1)
	whole := &transmitter.SubjectEntry{Stream: st.Key, ID: mark(90), Keys: [][16]byte{mark(1), mark(2)},
		Subject: json.RawMessage(`{"format":"complex","user":{"format":"opaque","id":"1"}}`), Off: true, Until: 77, At: 6}
	theirs := simple(other, 1)
	for _, e := range []*transmitter.SubjectEntry{one, whole, theirs} {
		must(t, s.PutSubject(t.Context(), e, 0))
	}
	same(t, subjects(t, s, mark(1), mark(2), mark(1)), []transmitter.SubjectEntry{*one, *whole, *theirs})
	same(t, subjects(t, s, mark(2)), []transmitter.SubjectEntry{*whole})
	same(t, len(subjects(t, s, mark(3))), 0)
	same(t, len(subjects(t, s)), 0)
	same(t, len(subjects(t, s, mark(90))), 0) // the whole is no part
	same(t, counts(t, s, st.Key).Subjects, int64(2))

	// A second entry of the same ID takes the place of the first, keys included.
	again := *whole
	again.Keys, again.Off, again.Until, again.At = [][16]byte{mark(3)}, false, 0, 7
	must(t, s.PutSubject(t.Context(), &again, 0))
	same(t, subjects(t, s, mark(1), mark(2), mark(3)), []transmitter.SubjectEntry{*one, again, *theirs})
	same(t, counts(t, s, st.Key).Subjects, int64(2))

	wantErr(t, s.PutSubject(t.Context(), &transmitter.SubjectEntry{Stream: 424242, ID: mark(1), Keys: [][16]byte{mark(1)}}, 0), transmitter.ErrNotFound)
	must(t, s.DeleteStream(t.Context(), "r1", "s1"))
	same(t, subjects(t, s, mark(1), mark(3)), []transmitter.SubjectEntry{*theirs})
	same(t, counts(t, s, st.Key), transmitter.Counts{})
	wantErr(t, s.PutSubject(t.Context(), one, 0), transmitter.ErrNotFound)
}

func suiteListed(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	listed := func() bool {
		t.Helper()
		all, g, err := s.AllStreams(t.Context())
		must(t, err)
		same(t, g, generation(t, s))
		return all[0].Listed
	}
	same(t, listed(), false)
	before := generation(t, s)
	must(t, s.PutSubject(t.Context(), simple(st, 1), 0))
	first := generation(t, s)
	if first <= before {
		t.Fatalf("generation %d after the first entry, %d before", first, before)
	}
	same(t, listed(), true)
	must(t, s.PutSubject(t.Context(), simple(st, 2), 0))
	must(t, s.PutSubject(t.Context(), simple(st, 1), 0))
	same(t, generation(t, s), first)
	// What was matched before the first entry is stale.
	wantErr(t, s.Enqueue(t.Context(), &transmitter.Outgoing{Event: eventNo(1), Rows: []transmitter.Row{row(st, 1)}, Generation: before}), transmitter.ErrStale)
}

func suiteSubjectLimit(t *testing.T, s transmitter.Store) {
	st := mustCreate(t, s, "r1", "s1")
	const writers, limit = 16, 5
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { errs[i] = s.PutSubject(t.Context(), simple(st, i), limit) })
	}
	wg.Wait()
	kept := -1
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won, kept = won+1, i
		case !errors.Is(err, transmitter.ErrTooMany):
			t.Errorf("%v, want %v", err, transmitter.ErrTooMany)
		}
	}
	same(t, won, limit)
	same(t, counts(t, s, st.Key).Subjects, int64(limit))
	must(t, s.PutSubject(t.Context(), simple(st, kept), limit)) // it is not a new one
	must(t, s.PutSubject(t.Context(), simple(st, 100), limit+1))
}
