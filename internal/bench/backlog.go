package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"countersign/stream"
)

// waitingRows is how many SETs wait on paused streams in the hub with a backlog.
const waitingRows = 1_000_000

// backlog compares the CPU of a SET in a hub with a million waiting ones with that in an empty hub, in slices that alternate.
func backlogged(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	r := &Result{Alg: opt.Alg, FanOut: 1}
	var rigs [2]*rig
	var rcs [2]*receivers
	for i := range rigs {
		g, err := newRig(ctx, opt, props{})
		if g != nil {
			defer g.close()
		}
		if err != nil {
			return nil, err
		}
		rc, err := startReceivers(g.cert, sampled)
		if err != nil {
			return nil, err
		}
		defer rc.close()
		if err := g.streams(ctx, 1, func(int) string { return rc.url + "/s" }, sessionRevoked); err != nil {
			return nil, err
		}
		rigs[i], rcs[i] = g, rc
	}
	rows := waitingRows
	if opt.Rows > 0 {
		rows = opt.Rows
	}
	if err := rigs[1].fill(ctx, opt, rows); err != nil {
		return nil, err
	}
	part := time.Duration(opt.Seconds / slices5 / 2 * float64(time.Second))
	var cpus [2][]float64
	var n [2]atomic.Int64
	for i := range slices5 {
		for k, g := range rigs {
			d := g.door()
			cpu0, _ := usage(g.hub.PID())
			before, end := rcs[k].count.Load(), time.Now().Add(part)
			var acked atomic.Int64
			var wg sync.WaitGroup
			var failed atomic.Pointer[error]
			for range opt.Clients {
				wg.Go(func() {
					for time.Now().Before(end) && failed.Load() == nil {
						if acked.Load()-(rcs[k].count.Load()-before) > backlog {
							time.Sleep(time.Millisecond)
							continue
						}
						if _, err := d.post(ctx, n[k].Add(1)); err != nil {
							failed.Store(&err)
							return
						}
						acked.Add(1)
					}
				})
			}
			wg.Wait()
			if e := failed.Load(); e != nil {
				return nil, *e
			}
			waitFor(ctx, 60*time.Second, func() bool { return rcs[k].count.Load()-before >= acked.Load() })
			cpu1, rss := usage(g.hub.PID())
			sets := rcs[k].count.Load() - before
			r.Lost += max(0, acked.Load()-sets)
			r.SETs += sets
			r.RSS = max(r.RSS, round(rss, 1))
			cpus[k] = append(cpus[k], float64((cpu1-cpu0).Microseconds())/float64(max(sets, 1)))
		}
		fmt.Fprintf(opt.Out, "pair %d: %.0f µs a SET empty, %.0f µs with the backlog\n", i+1, cpus[0][i], cpus[1][i])
	}
	r.Events = r.SETs
	r.CPU, r.Beside = round(median(cpus[1]), 1), round(median(cpus[0]), 1)
	r.Times = round(r.CPU/r.Beside, 2)
	return r, nil
}

// fill lets rows SETs wait on ten paused streams.
func (g *rig) fill(ctx context.Context, opt Options, rows int) error {
	const on = 10
	made, err := g.makeStreams(ctx, on, func(int) *stream.Configuration {
		return &stream.Configuration{EventsRequested: []string{sessionPresented}, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://localhost:9/never"}}
	})
	if err != nil {
		return err
	}
	client, md, err := g.api(ctx)
	if err != nil {
		return err
	}
	for _, s := range made {
		if _, err := client.SetStatus(ctx, md, stream.Status{StreamID: s.StreamID, Status: stream.Paused}); err != nil {
			return err
		}
	}
	d := g.door()
	d.event = sessionPresented
	var n atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for failed.Load() == nil {
				i := n.Add(1)
				if i > int64(rows/on) {
					return
				}
				if i%10_000 == 0 {
					fmt.Fprintf(opt.Out, "%d rows wait\n", i*on)
				}
				if _, err := d.post(ctx, i); err != nil {
					if b, ok := err.(*refused); ok && b.busy() {
						n.Add(-1)
						continue
					}
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return *e
	}
	return nil
}
