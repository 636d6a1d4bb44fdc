package store

import (
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
)

// Eight workers on two stores of two nodes claim 3,000 jobs; nobody gets one twice (the trap of style.md's storage chapter).
func TestNoJobIsClaimedTwice(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		const jobs = 3000
		s := p.open(t, Config{Node: "a"})
		other := s
		if s.d == &postgresDialect {
			other = p.open(t, Config{Node: "b"})
		}
		must(t, s.write(t.Context(), pointNone, func(x *tx) error {
			key, err := s.seqs.within(x, jobs)
			for i := int64(0); i < jobs && err == nil; i++ {
				_, err = s.enqueue(x, tenant, hub.Job{Seq: key + i, Kind: "act", Ref: i, Due: 1}, "")
			}
			return err
		}))
		var mu sync.Mutex
		seen := map[int64]int{}
		var wg sync.WaitGroup
		for w := range 8 {
			from := s
			if w%2 == 1 {
				from = other
			}
			wg.Go(func() {
				for {
					got, err := from.ClaimJobs(t.Context(), []string{"process", "act"}, 7)
					if err != nil {
						t.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, j := range got {
						seen[j.Ref]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		twice := 0
		for _, n := range seen {
			if n > 1 {
				twice++
			}
		}
		if len(seen) != jobs || twice != 0 {
			t.Fatalf("%d of %d jobs claimed, %d of them twice", len(seen), jobs, twice)
		}
	})
}

func TestLeaseAndStaleClaims(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		c := newClock()
		s := p.open(t, Config{Now: c.now})
		ctx := t.Context()
		g := newSignal("j1")
		a := newAction("app")
		jobs := decided(t, s, g, DecideOptions{}, a)
		mine := jobs[0]
		if due, err := s.NextDue(ctx); err != nil || due != mine.Until {
			t.Fatalf("next due %v, %v; the lease ends %v", due, err, mine.Until)
		}
		c.add(Lease - time.Second)
		if got, _ := s.ClaimJobs(ctx, []string{"act"}, 1); len(got) != 0 {
			t.Fatal("claimed under another's lease")
		}
		must(t, s.RenewJobs(ctx, []hub.Job{mine}))
		c.add(Lease - time.Second)
		if got, _ := s.ClaimJobs(ctx, []string{"act"}, 1); len(got) != 0 {
			t.Fatal("claimed under a renewed lease")
		}
		c.add(2 * time.Second)
		got, err := s.ClaimJobs(ctx, []string{"act"}, 1)
		must(t, err)
		if len(got) != 1 || got[0].Tries != 2 || got[0].Claim == mine.Claim {
			t.Fatalf("claimed %+v", got)
		}
		// Whoever held it before can write nothing any more, though it is the same life of the same node.
		at := &hub.Attempt{No: 1}
		wantCode(t, s.BeginAttempt(ctx, a, at, &mine), hub.Conflict)
		a.State = hub.Succeeded
		_, err = s.SaveAction(ctx, a, nil, &mine, nil, nil)
		wantCode(t, err, hub.Conflict)
		wantCode(t, s.FinishJob(ctx, &mine, nil), hub.Conflict)
		later := hub.At(c.now())
		wantCode(t, s.FinishJob(ctx, &mine, &later), hub.Conflict)
		must(t, s.RenewJobs(ctx, []hub.Job{mine}))
		if n := count(t, s, "attempt"); n != 0 {
			t.Fatalf("%d attempts of a stale claim", n)
		}
		seen, err := s.ActionBySeq(ctx, a.Seq)
		must(t, err)
		if seen.State != hub.Planned {
			t.Fatalf("a stale claim made the action %s", seen.State)
		}
		must(t, s.FinishJob(ctx, &got[0], &later))
		got, err = s.ClaimJobs(ctx, []string{"act"}, 1)
		must(t, err)
		if len(got) != 1 {
			t.Fatal("a job put off until now is not due")
		}
		must(t, s.FinishJob(ctx, &got[0], nil))
		if due, err := s.NextDue(ctx); err != nil || due != 0 {
			t.Fatalf("next due %v, %v", due, err)
		}
	})
}

// A new life of a node has its jobs back at once; those of other nodes stay theirs.
func TestFormerLifeCostsNoLease(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		s := p.open(t, Config{Node: "a"})
		jobs := decided(t, s, newSignal("j1"), DecideOptions{}, newAction("app"))
		s.Close()
		stranger := p.open(t, Config{Node: "a2"})
		if got, err := stranger.ClaimJobs(t.Context(), []string{"act"}, 1); err != nil || len(got) != 0 {
			t.Fatalf("another node took %+v, %v", got, err)
		}
		stranger.Close()
		again := p.open(t, Config{Node: "a"})
		got, err := again.ClaimJobs(t.Context(), []string{"act"}, 1)
		must(t, err)
		if len(got) != 1 || got[0].Ref != jobs[0].Ref {
			t.Fatalf("claimed %+v", got)
		}
		wantCode(t, again.FinishJob(t.Context(), &jobs[0], nil), hub.Conflict)
	})
}

func TestEnqueueByKey(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		c := newClock()
		s := p.open(t, Config{Now: c.now})
		ctx := t.Context()
		later := hub.At(c.now().Add(time.Hour))
		must(t, s.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: "okta", Due: later}))
		must(t, s.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: "okta", Due: hub.At(c.now())}))
		must(t, s.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: "okta", Due: later}))
		got, err := s.ClaimJobs(ctx, []string{"enroll"}, 5)
		must(t, err)
		if len(got) != 1 || got[0].Key != "okta" {
			t.Fatalf("claimed %+v", got)
		}
		// What is asked for while it runs is not lost, and not before its time.
		must(t, s.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: "okta", Due: later}))
		must(t, s.FinishJob(ctx, &got[0], nil))
		if got, _ := s.ClaimJobs(ctx, []string{"enroll"}, 5); len(got) != 0 {
			t.Fatalf("claimed %+v", got)
		}
		c.add(time.Hour)
		got, err = s.ClaimJobs(ctx, []string{"enroll"}, 5)
		must(t, err)
		if len(got) != 1 {
			t.Fatal("what was asked for meanwhile is lost")
		}
	})
}
