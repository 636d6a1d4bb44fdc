package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"countersign/transmitter"
)

// crowded makes a file with lists, and gives what a look-up takes.
func crowded(t testing.TB, streams, people int) float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "subjects.db")
	s, err := place{url: "sqlite:" + path}.tryOpen(Config{})
	must(t, err)
	var ids []string
	for i := range streams {
		st := &transmitter.Stream{ID: fmt.Sprint("str_", i), Receiver: "r", Status: transmitter.Enabled}
		must(t, s.Transmitter(tenant, nil).CreateStream(t.Context(), st, 0))
		ids = append(ids, st.ID)
	}
	must(t, s.Close())
	took, err := FillSubjects(t.Context(), path, ids, people)
	must(t, err)
	again := place{url: "sqlite:" + path}.open(t, Config{})
	for _, id := range ids {
		st, err := again.Transmitter(tenant, nil).Stream(t.Context(), "r", id)
		must(t, err)
		c, err := again.Transmitter(tenant, nil).Counts(t.Context(), st.Key)
		must(t, err)
		if !st.Listed || c.Subjects != int64(people) {
			t.Fatalf("stream %s: listed %v, %d subjects", id, st.Listed, c.Subjects)
		}
	}
	return took
}

// TestFillSubjects: everybody is on every list, and nobody else.
func TestFillSubjects(t *testing.T) { crowded(t, 3, 200) }

// BenchmarkSubjects10M looks people up among 10 million stream-subject pairs of 10 streams, SQLite, at a cache of 64 MB in all.
func BenchmarkSubjects10M(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(crowded(b, 10, 1_000_000), "µs/lookup")
	}
}
