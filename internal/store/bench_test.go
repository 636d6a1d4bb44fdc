package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/set"
	"countersign/transmitter"
)

// benchPlaces are the engines, SQLite also with 8 ms more for each commit.
func benchPlaces(b *testing.B, f func(b *testing.B, s *Store)) {
	b.Run("sqlite", func(b *testing.B) { f(b, sqlitePlace(b).open(b, Config{})) })
	b.Run("sqlite+8ms", func(b *testing.B) { f(b, sqlitePlace(b).open(b, Config{CommitDelay: 8 * time.Millisecond})) })
	b.Run("postgres", func(b *testing.B) { f(b, postgresPlace(b).open(b, Config{})) })
}

// waiters runs b.N calls of f from n goroutines and reports rate, latency, CPU, statements and the fsync floor.
func waiters(b *testing.B, s *Store, n int, f func(worker, i int)) {
	floor := fsyncFloor(b)
	before := s.Stats()
	cpu := cpuTime()
	all := make([][]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for w := range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				at := time.Now()
				f(w, i)
				all[w] = append(all[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	b.StopTimer()
	var ds []time.Duration
	for _, d := range all {
		ds = append(ds, d...)
	}
	slices.Sort(ds)
	after := s.Stats()
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(float64(b.N)/took.Seconds(), "ops/s")
	b.ReportMetric(ms(ds[len(ds)/2]), "p50-ms")
	b.ReportMetric(ms(ds[len(ds)*99/100]), "p99-ms")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(after.Statements-before.Statements)/float64(b.N), "statements/op")
	b.ReportMetric(float64(b.N)/float64(max(1, after.Commits-before.Commits)), "ops/commit")
	b.ReportMetric(ms(floor), "fsync-p50-ms")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fsyncFloor is the median time of a 4 KiB append with fsync, on the volume that the tests use.
func fsyncFloor(b *testing.B) time.Duration {
	f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	must(b, err)
	defer f.Close()
	page := make([]byte, 4096)
	var ds []time.Duration
	for range 50 {
		at := time.Now()
		f.Write(page)
		f.Sync()
		ds = append(ds, time.Since(at))
	}
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// BenchmarkKeep is the durable ingest of a received signal: dedup, signal and its job, 256 waiters.
func BenchmarkKeep(b *testing.B) {
	benchPlaces(b, func(b *testing.B, s *Store) {
		waiters(b, s, 256, func(_, i int) {
			if _, err := s.Keep(b.Context(), newSignal(fmt.Sprint("j", i)), "0123456789abcdef", nil, nil); err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkKeepOutbox is the durable ingest at the API door with one matching stream: dedup, signal, event, outbox row.
func BenchmarkKeepOutbox(b *testing.B) {
	benchPlaces(b, func(b *testing.B, s *Store) {
		v := s.Transmitter(tenant, nil)
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		must(b, v.CreateStream(b.Context(), st, 0))
		waiters(b, s, 256, func(_, i int) {
			g := newSignal(fmt.Sprint("j", i))
			g.State, g.Token, g.Door = hub.SignalDone, "", "api"
			if _, err := s.Keep(b.Context(), g, "0123456789abcdef", outgoing(st, st.Generation, g.JTI), nil); err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkAck removes delivered rows, 64 in each call.
func BenchmarkAck(b *testing.B) {
	benchPlaces(b, func(b *testing.B, s *Store) {
		v := s.Transmitter(tenant, nil)
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		must(b, v.CreateStream(b.Context(), st, 0))
		const each = 64
		done := make([][]transmitter.Outcome, b.N+1)
		for i := 1; i <= b.N; i++ {
			out := outgoing(st, 0, "")
			row := out.Rows[0]
			out.Rows = nil
			for range each {
				row.JTI = set.NewID()
				out.Rows = append(out.Rows, row)
			}
			must(b, v.Enqueue(b.Context(), out))
			for _, r := range out.Rows {
				at := transmitter.At(time.Now())
				done[i] = append(done[i], transmitter.Outcome{Stream: st.Key, Seq: r.Seq, Plain: true, Status: 202, At: at + 900, First: at, Tries: 1, JTI: r.JTI, Event: out.Event.Key})
			}
		}
		waiters(b, s, 8, func(_, i int) {
			if err := v.Done(b.Context(), done[i]); err != nil {
				b.Error(err)
			}
		})
	})
}

// BenchmarkLoop is the whole life of a signal with one action and a receipt, 64 at once.
func BenchmarkLoop(b *testing.B) {
	benchPlaces(b, func(b *testing.B, s *Store) {
		ctx := b.Context()
		waiters(b, s, 64, func(_, i int) {
			g := withOrderOf(newSignal(fmt.Sprint("j", i)))
			k, err := s.Keep(ctx, g, "0123456789abcdef", nil, nil)
			must(b, err)
			a := newAction("app")
			jobs, err := s.Decide(ctx, g, newDecision(g, a), []*hub.Action{a}, k.Job, DecideOptions{})
			must(b, err)
			at := &hub.Attempt{No: 1}
			must(b, s.BeginAttempt(ctx, a, at, &jobs[0]))
			a.State = hub.Succeeded
			cut, err := s.SaveAction(ctx, a, at, &jobs[0], nil, nil)
			must(b, err)
			r := newReceipt(g, 1)
			send, err := s.SaveReceipt(ctx, r, 0, &cut[0], nil)
			must(b, err)
			r.State = "accepted"
			must(b, s.MarkReceipt(ctx, r, send, nil))
		})
	})
}
