package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// nodes compares two hubs on one PostgreSQL database with one of them, each held to one core. Streams are spread over the
// nodes; the load goes to the first.
func nodes(ctx context.Context, opt Options) (*Result, error) {
	if opt.Database == "" {
		return nil, errors.New("nodes is measured on PostgreSQL: --database postgres://…")
	}
	if opt.Alg == "" {
		opt.Alg = "RS256"
	}
	opt.FanOut = max(opt.FanOut, 10)
	r := &Result{Alg: opt.Alg, FanOut: opt.FanOut}
	g, err := newRig(ctx, opt, props{env: []string{"GOMAXPROCS=1"}})
	defer g.close()
	if err != nil {
		return nil, err
	}
	rc, err := startReceivers(g.cert, sampled)
	if err != nil {
		return nil, err
	}
	defer rc.close()
	if err := g.streams(ctx, opt.FanOut, func(i int) string { return fmt.Sprintf("%s/s%d", rc.url, i) }, sessionRevoked); err != nil {
		return nil, err
	}
	var n atomic.Int64
	measure := func() (float64, error) {
		d := g.door()
		var acked atomic.Int64
		before, start := rc.count.Load(), time.Now()
		end := start.Add(time.Duration(opt.Seconds / 4 * float64(time.Second)))
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		for range opt.Clients {
			wg.Go(func() {
				for time.Now().Before(end) && failed.Load() == nil {
					if acked.Load()*int64(opt.FanOut)-(rc.count.Load()-before) > backlog {
						time.Sleep(time.Millisecond)
						continue
					}
					if _, err := d.post(ctx, n.Add(1)); err != nil {
						failed.Store(&err)
						return
					}
					acked.Add(1)
				}
			})
		}
		wg.Wait()
		if e := failed.Load(); e != nil {
			return 0, *e
		}
		want := acked.Load() * int64(opt.FanOut)
		waitFor(ctx, 60*time.Second, func() bool { return rc.count.Load()-before >= want })
		got := rc.count.Load() - before
		r.Events += acked.Load()
		r.SETs += got
		r.Lost += max(0, want-got)
		r.SentTwice += max(0, got-want)
		return float64(got) / time.Since(start).Seconds(), nil
	}
	var one, two []float64
	for i := range 2 {
		rate, err := measure()
		if err != nil {
			return nil, err
		}
		one = append(one, rate)
		second, err := g.another(ctx, props{env: []string{"GOMAXPROCS=1"}})
		if err != nil {
			return nil, err
		}
		time.Sleep(20 * time.Second) // the shards are shared out again
		rate, err = measure()
		second.Stop()
		if err != nil {
			return nil, err
		}
		two = append(two, rate)
		fmt.Fprintf(opt.Out, "pair %d: %.0f SETs/s with one node, %.0f with two\n", i+1, one[i], two[i])
		time.Sleep(5 * time.Second)
	}
	r.Rate, r.Beside = round(median(two), 0), round(median(one), 0)
	r.Times = round(r.Rate/r.Beside, 2)
	return r, nil
}
