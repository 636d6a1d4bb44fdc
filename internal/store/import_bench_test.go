package store

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"countersign/internal/hub"
)

// benchPeople imports n people with three accounts each and gives how long it took.
func benchPeople(b *testing.B, s *Store, n int) time.Duration {
	b.Helper()
	const size = 5000
	var took time.Duration
	for from := 0; from < n; from += size {
		batch := make([]hub.Resource, 0, size)
		for i := from; i < min(from+size, n); i++ {
			// As files of a directory are: sorted by name, with ids in no order.
			x := uint64(i+1) * 0x9e3779b97f4a7c15
			id := hub.Identity{Name: fmt.Sprintf("person%07d", i), Set: "hr", Emails: []string{fmt.Sprintf("p%x@example.test", x>>20)}, Groups: []string{"staff"},
				Accounts: []hub.Account{{At: "kc", ID: fmt.Sprintf("%016x", x)}, {At: "crm", ID: fmt.Sprint(i)}, {At: "wiki", ID: fmt.Sprintf("w%x", x>>8)}}}
			spec, _ := json.Marshal(id)
			batch = append(batch, hub.Resource{Kind: hub.KindIdentity, Name: id.Name, Set: id.Set, Spec: spec})
		}
		at := time.Now()
		if _, err := s.ImportIdentities(b.Context(), tenant, batch, false); err != nil {
			b.Fatal(err)
		}
		took += time.Since(at)
	}
	return took
}

func importPlaces(b *testing.B, f func(b *testing.B, s *Store)) {
	b.Run("sqlite", func(b *testing.B) { f(b, sqlitePlace(b).open(b, Config{})) })
	b.Run("postgres", func(b *testing.B) { f(b, postgresPlace(b).open(b, Config{})) })
}

// BenchmarkImport imports b.N people with three accounts each; run it with -benchtime 200000x. Its floor is the same rows
// written as single statements of one open transaction, without any index to keep but the key.
func BenchmarkImport(b *testing.B) {
	importPlaces(b, func(b *testing.B, s *Store) {
		took := benchPeople(b, s, b.N)
		b.ReportMetric(float64(b.N)/took.Seconds(), "rows/s")
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkLookup finds people by an account id among a million with three accounts each, then reads them, as correlation
// does; run it with -benchtime 20000x. Its floor is one read of the resource by its key.
func BenchmarkLookup(b *testing.B) {
	importPlaces(b, func(b *testing.B, s *Store) {
		const people = 1_000_000
		took := benchPeople(b, s, people)
		b.Logf("%d people imported in %s: %.0f rows/s", people, took.Round(time.Millisecond), people/took.Seconds())
		var all, floor []time.Duration
		b.ResetTimer()
		for range b.N {
			i := rand.IntN(people)
			x := uint64(i+1) * 0x9e3779b97f4a7c15
			name := fmt.Sprintf("person%07d", i)
			at := time.Now()
			names, err := s.FindIdentityByAccount(b.Context(), tenant, "kc", fmt.Sprintf("%016x", x))
			if err != nil || len(names) != 1 || names[0] != name {
				b.Fatal(names, err)
			}
			if _, err := s.Identity(b.Context(), tenant, names[0]); err != nil {
				b.Fatal(err)
			}
			all = append(all, time.Since(at))
			at = time.Now()
			if _, err := s.Resource(b.Context(), tenant, hub.KindIdentity, name); err != nil {
				b.Fatal(err)
			}
			floor = append(floor, time.Since(at))
		}
		b.StopTimer()
		ms := func(ds []time.Duration, part int) float64 {
			slices.Sort(ds)
			return float64(ds[len(ds)*part/100].Microseconds()) / 1000
		}
		b.ReportMetric(ms(all, 50), "p50-ms")
		b.ReportMetric(ms(all, 99), "p99-ms")
		b.ReportMetric(ms(floor, 50), "floor-p50-ms")
		b.ReportMetric(ms(floor, 99), "floor-p99-ms")
		b.ReportMetric(0, "ns/op")
	})
}
