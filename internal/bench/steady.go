package bench

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// steady offers a share of the sign floor for as long as asked and compares the queue at the end with the one at the
// start: a hub that keeps up does not fall behind (engine §11).
func steady(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "RS256"
	}
	r := &Result{Alg: opt.Alg, FanOut: opt.FanOut}
	g, rc, f, err := deliverRig(ctx, opt, r)
	defer func() {
		if g != nil {
			g.close()
		}
		if rc != nil {
			rc.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	for range slices5 {
		if err := f.slice(floorSlice); err != nil {
			return nil, err
		}
	}
	f.fill(r)
	if opt.Rate <= 0 {
		opt.Rate = 0.75 * r.SignFloor / float64(opt.FanOut)
	}
	r.Offered = round(opt.Rate, 0)
	// Load and receivers do little: on one of Go's processors they spend less of it on waking each other.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	d := g.door()
	var acked, refusals atomic.Int64
	var fail atomic.Pointer[error]
	queue := func() int64 { return acked.Load()*int64(opt.FanOut) - rc.count.Load() }
	warm := opt.Seconds / 10
	cpu0, _ := usage(g.hub.PID())
	start := time.Now()
	noted := make(chan int64, 1)
	time.AfterFunc(time.Duration(warm*float64(time.Second)), func() { noted <- queue() })
	openLoop(ctx, opt.Rate, opt.Seconds, func(n int64, _ time.Time) {
		if _, err := d.post(ctx, n); err != nil {
			if b, ok := err.(*refused); ok && b.busy() {
				refusals.Add(1)
				return
			}
			fail.Store(&err)
			return
		}
		acked.Add(1)
	})
	if e := fail.Load(); e != nil {
		return nil, *e
	}
	r.QueueEnd = queue()
	r.QueueStart = <-noted
	took := time.Since(start).Seconds()
	cpu1, rss := usage(g.hub.PID())
	r.Events, r.RSS = acked.Load(), round(rss, 1)
	r.Rate = round(float64(rc.count.Load())/took, 0)
	waitFor(ctx, 120*time.Second, func() bool { return queue() <= 0 })
	r.SETs = rc.count.Load()
	r.Lost = max(0, r.Events*int64(opt.FanOut)-r.SETs)
	r.SentTwice = max(0, r.SETs-r.Events*int64(opt.FanOut))
	r.CPU = round(float64((cpu1-cpu0).Microseconds())/float64(max(r.SETs, 1)), 1)
	r.FloorName, r.Floor = "sign", r.SignFloor
	if n := refusals.Load(); n > 0 {
		r.problem("%d signals were refused as too many", n)
	}
	return r, nil
}
