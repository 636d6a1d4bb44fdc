package flow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hub"
)

// jobs is a store of jobs in memory.
type jobs struct {
	mu      sync.Mutex
	due     []hub.Job
	renewed map[int64]int
}

func (j *jobs) ClaimJobs(_ context.Context, kinds []string, n int) (out []hub.Job, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.due) > 0 && len(out) < n {
		out = append(out, j.due[0])
		j.due = j.due[1:]
	}
	return out, nil
}

func (j *jobs) RenewJobs(_ context.Context, all []hub.Job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.renewed == nil {
		j.renewed = map[int64]int{}
	}
	for _, x := range all {
		j.renewed[x.Seq]++
	}
	return nil
}

func run(t *testing.T, b *Belt) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	return func() { cancel(); <-done }
}

func TestBeltKeepsKeysApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hung, quick, most, now atomic.Int64
		b := NewBelt(Config{Jobs: &jobs{}, Steps: []Step{{Kind: "act", Limit: 8, PerKey: 3,
			Key: func(_ context.Context, w *Work) (string, error) { return w.Item.(string), nil },
			Do: func(ctx context.Context, w *Work) (time.Duration, error) {
				if w.Item == "hung" {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Minute)
					now.Add(-1)
					hung.Add(1)
					return 0, nil
				}
				quick.Add(1)
				return 0, nil
			}}}})
		for i := range 20 {
			b.Take(Work{Job: hub.Job{Seq: int64(i), Kind: "act"}, Item: "hung"}) // before Run: kept for it
		}
		stop := run(t, b)
		for i := range 50 {
			b.Take(Work{Job: hub.Job{Seq: int64(100 + i), Kind: "act"}, Item: "quick"})
		}
		synctest.Wait()
		if quick.Load() != 50 || hung.Load() != 0 || most.Load() != 3 {
			t.Errorf("quick %d of 50, hung %d, at once %d of one key, want 3", quick.Load(), hung.Load(), most.Load())
		}
		if n := b.Waiting("act"); n != 17 {
			t.Errorf("%d wait, want 17", n)
		}
		stop() // waits for what has begun
		if hung.Load() != 3 {
			t.Errorf("%d ended after the stop, want the 3 that had begun", hung.Load())
		}
	})
}

func TestBeltComesAgainRenewsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &jobs{}
		visits := map[int64][]time.Duration{}
		var mu sync.Mutex
		start := time.Now()
		b := NewBelt(Config{Jobs: st, Steps: []Step{{Kind: "k", Do: func(_ context.Context, w *Work) (time.Duration, error) {
			mu.Lock()
			visits[w.Job.Seq] = append(visits[w.Job.Seq], time.Since(start))
			n := len(visits[w.Job.Seq])
			mu.Unlock()
			switch {
			case w.Job.Seq == 1 && n < 3:
				return 15 * time.Second, nil
			case w.Job.Seq == 2:
				return 0, errors.New("the store is away")
			case w.Job.Seq == 3 && n == 1:
				panic("a fault of one work")
			}
			return 0, nil
		}}}})
		stop := run(t, b)
		b.Take(Work{Job: hub.Job{Seq: 1, Kind: "k"}}, Work{Job: hub.Job{Seq: 2, Kind: "k"}}, Work{Job: hub.Job{Seq: 3, Kind: "k"}}, Work{Job: hub.Job{Seq: 9, Kind: "nobody's"}})
		b.Take(Work{Job: hub.Job{Seq: 1, Kind: "k"}}) // held already: taken once
		time.Sleep(40 * time.Second)
		synctest.Wait()
		mu.Lock()
		if got := visits[1]; len(got) != 3 || got[1] != 15*time.Second || got[2] != 30*time.Second {
			t.Errorf("visits of 1: %v", got)
		}
		if len(visits[2]) != 1 || len(visits[3]) != 1 {
			t.Errorf("visits of 2 and 3: %v %v", visits[2], visits[3])
		}
		mu.Unlock()
		st.mu.Lock()
		if st.renewed[1] != 2 && st.renewed[1] != 3 || st.renewed[2] != 0 {
			t.Errorf("renewed %v: a lease is kept while a work waits, and only then", st.renewed)
		}
		// What was left to its lease comes back by the poll.
		st.due = append(st.due, hub.Job{Seq: 3, Kind: "k"})
		st.mu.Unlock()
		b.Poke()
		synctest.Wait()
		mu.Lock()
		if len(visits[3]) != 2 {
			t.Errorf("visits of 3 after the poll: %v", visits[3])
		}
		mu.Unlock()
		stop()
		b.Take(Work{Job: hub.Job{Seq: 4, Kind: "k"}})
		synctest.Wait()
		if len(visits[4]) != 0 {
			t.Error("a stopped belt took work")
		}
	})
}

// A step gives its job back to the store, and the poll claims it again before the step has returned.
func TestBeltTakesAJobThatComesBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var visits []string
		var b *Belt
		b = NewBelt(Config{Jobs: &jobs{}, Steps: []Step{{Kind: "k", Do: func(_ context.Context, w *Work) (time.Duration, error) {
			visits = append(visits, w.Job.Claim)
			if w.Job.Claim == "first" {
				b.Take(Work{Job: hub.Job{Seq: 1, Kind: "k", Claim: "second"}})
				b.Take(Work{Job: hub.Job{Seq: 1, Kind: "k", Claim: "second"}}) // once only
				time.Sleep(time.Second)
			}
			return 0, nil
		}, Limit: 1}}})
		stop := run(t, b)
		b.Take(Work{Job: hub.Job{Seq: 1, Kind: "k", Claim: "first"}})
		time.Sleep(5 * time.Second)
		stop()
		if len(visits) != 2 || visits[1] != "second" {
			t.Errorf("visits %v", visits)
		}
		if len(b.held) != 0 {
			t.Errorf("%d works are still held", len(b.held))
		}
	})
}

// A work that comes again is itself when it comes, though its place was taken by the next of its queue meanwhile.
func TestBeltBringsTheSameWorkBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var visits []int64
		b := NewBelt(Config{Jobs: &jobs{}, Steps: []Step{{Kind: "k", Limit: 1, PerKey: 1, Do: func(_ context.Context, w *Work) (time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			visits = append(visits, w.Job.Seq)
			if len(visits) == 1 {
				return time.Second, nil
			}
			return 0, nil
		}}}})
		for i := range int64(3) { // before Run, so that they are one queue when the first begins
			b.Take(Work{Job: hub.Job{Seq: i + 1, Kind: "k"}})
		}
		stop := run(t, b)
		time.Sleep(5 * time.Second)
		stop()
		if want := []int64{1, 2, 3, 1}; !slices.Equal(visits, want) {
			t.Errorf("visits %v, want %v", visits, want)
		}
	})
}
