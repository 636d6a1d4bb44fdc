package bench

import (
	"context"
	"fmt"
	"time"

	"countersign/stream"
)

// idleCount is how many streams lie idle.
const idleCount = 10_000

// idleStreams gives what streams cost that have nothing to do: the memory of a hub that was started anew with them over that of
// one without.
func idleStreams(ctx context.Context, opt Options) (*Result, error) {
	n := idleCount
	if opt.Rows > 0 {
		n = opt.Rows
	}
	r := &Result{FanOut: n}
	g, err := newRig(ctx, opt, props{})
	defer g.close()
	if err != nil {
		return nil, err
	}
	anew := func() (float64, error) {
		g.hub.Stop()
		if err := g.hub.Start(ctx); err != nil {
			return 0, err
		}
		return g.rest(), nil
	}
	if r.IdleRSS, err = anew(); err != nil {
		return nil, err
	}
	start := time.Now()
	if _, err := g.makeStreams(ctx, n, func(i int) *stream.Configuration {
		if i%1000 == 999 {
			fmt.Fprintf(opt.Out, "%d streams after %.0f s\n", i+1, time.Since(start).Seconds())
		}
		return &stream.Configuration{EventsRequested: []string{sessionPresented},
			Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: fmt.Sprintf("https://localhost:9/s%d", i)}}
	}); err != nil {
		return nil, err
	}
	r.Rate = round(float64(n)/time.Since(start).Seconds(), 0)
	if r.RSS, err = anew(); err != nil {
		return nil, err
	}
	r.KB = round((r.RSS-r.IdleRSS)*1024/float64(n), 2)
	r.IdleRSS, r.RSS = round(r.IdleRSS, 1), round(r.RSS, 1)
	return r, nil
}
