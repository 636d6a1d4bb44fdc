package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"countersign/stream"
)

// points are the named moments at which the hub can be made to end itself (docs/flow.md), each of
// which is hit at least three times in a run.
var points = []string{
	"keep.before-commit", "keep.after-commit",
	"decide.before-commit", "decide.after-commit",
	"attempt.after-commit", "act.before-send", "act.after-answer", "act.before-readback",
	"action.before-commit", "action.after-commit",
	"receipt.before-commit", "receipt.after-commit", "receipt.before-send", "receipt.after-answer",
	"push.after-202", "ack.before-commit", "ack.after-commit", "poll.before-commit", "poll.after-commit",
}

const (
	hitsPerPoint = 3
	window       = 8   // SETs in flight on one stream
	ackBatch     = 256 // deliveries acknowledged in one commit
	manyOrders   = 16
)

// kill runs orders and deliveries against a hub that is killed over and over, and then counts.
func kill(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	if opt.Kills <= 0 {
		opt.Kills = 5
	}
	if opt.Rate <= 0 {
		opt.Rate = 150
	}
	if opt.FanOut < 2 {
		opt.FanOut = 2
	}
	w, err := newWorld(ctx, opt, 200000, props{args: []string{"--dev"}})
	defer w.close()
	if err != nil {
		return nil, err
	}
	rc, err := startReceivers(w.cert, 1)
	if err != nil {
		return nil, err
	}
	defer rc.close()
	if err := w.streams(ctx, opt.FanOut, func(i int) string { return fmt.Sprintf("%s/s%d", rc.url, i) }, sessionRevoked); err != nil {
		return nil, err
	}
	polled, err := w.makeStreams(ctx, 1, func(int) *stream.Configuration {
		return &stream.Configuration{EventsRequested: []string{sessionRevoked}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	})
	if err != nil {
		return nil, err
	}
	// The stream that is polled is one more of the receivers' paths.
	path := fmt.Sprintf("/s%d", opt.FanOut)
	opt.FanOut++
	pollCtx, stopPolls := context.WithCancel(ctx)
	polls := make(chan struct{})
	go func() {
		w.poll(pollCtx, polled[0].Delivery.EndpointURL, func(set string) { rc.note(path, []byte(set)) })
		close(polls)
	}()
	defer func() { stopPolls(); <-polls }()
	r := &Result{Alg: opt.Alg, FanOut: opt.FanOut, Points: map[string]int{}}
	load := w.startLoad(ctx, opt.Rate)
	load.width.Store(1)

	fail := func(err error) (*Result, error) {
		load.stop()
		return nil, fmt.Errorf("after %d kills: %w", r.Kills, err)
	}
	// Named points: the next start of the hub ends itself at the nth passing.
	w.hub.Kill()
	w.killed("first")
	r.Kills++
	for _, p := range points {
		for range hitsPerPoint {
			w.hub.Env = []string{fmt.Sprintf("COUNTERSIGN_STOP=%s:%d", p, 1+rand.IntN(12))}
			if err := w.hub.Start(ctx); err != nil && !ended(w.hub.Exited()) {
				return fail(err)
			}
			select {
			case <-w.hub.Exited():
				r.Points[p]++
				w.killed(p)
			case <-time.After(15 * time.Second):
				r.Problems = append(r.Problems, fmt.Sprintf("stop point %s was not reached within 15 s", p))
				w.hub.Kill()
			case <-ctx.Done():
				return fail(ctx.Err())
			}
			r.Kills++
		}
		fmt.Fprintf(opt.Out, "%-24s hit %d times, %d orders answered\n", p, r.Points[p], w.done.Load())
	}
	// Random moments, and now with many actions under way at each.
	w.hub.Env = nil
	load.width.Store(manyOrders)
	for range opt.Kills {
		if err := w.hub.Start(ctx); err != nil {
			return fail(err)
		}
		time.Sleep(time.Duration(50+rand.IntN(900)) * time.Millisecond)
		w.hub.Kill()
		w.killed("random")
		r.Kills++
	}
	fmt.Fprintf(opt.Out, "%-24s %d times\n", "random moments", opt.Kills)
	if err := w.hub.Start(ctx); err != nil {
		return fail(err)
	}
	load.stop()
	w.settle(ctx, r, rc, load)
	return r, nil
}

// poll polls and acknowledges through every outage.
func (g *rig) poll(ctx context.Context, endpoint string, take func(set string)) {
	client := g.caller()
	var ack []string
	for ctx.Err() == nil {
		got, err := client.Poll(ctx, endpoint, &stream.PollRequest{Ack: ack})
		if err != nil { // what was acknowledged in it may not have arrived: it is said again
			time.Sleep(20 * time.Millisecond)
			continue
		}
		ack = ack[:0]
		for jti, set := range got.Sets {
			take(set)
			ack = append(ack, jti)
		}
	}
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// load posts events and sends orders at a steady rate, through every outage.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	orders atomic.Int64
	width  atomic.Int64 // orders that may be open at once: one at the named points, so that each kill meets at most one
	mu     sync.Mutex
	acked  map[int64]bool // events that the hub acknowledged
}

func (w *world) startLoad(ctx context.Context, rate float64) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, acked: map[int64]bool{}}
	d := w.door()
	d.client.Timeout = 5 * time.Second
	l.wg.Go(func() {
		openLoop(ctx, rate, 3600, func(n int64, _ time.Time) {
			if _, err := d.post(ctx, n); err == nil {
				l.mu.Lock()
				l.acked[n] = true
				l.mu.Unlock()
			}
		})
	})
	l.wg.Go(func() {
		openLoop(ctx, rate, 3600, func(n int64, _ time.Time) {
			if int64(w.open()) >= l.width.Load() {
				return
			}
			if w.order(ctx, int(n), 10*time.Minute) == nil {
				l.orders.Add(1)
			}
		})
	})
	return l
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// settle waits until everything acknowledged has ended, and counts what did not.
func (w *world) settle(ctx context.Context, r *Result, rc *receivers, l *load) {
	waitFor(ctx, 3*time.Minute, func() bool {
		return w.done.Load() >= l.orders.Load() && rc.missing(l.acked, r.FanOut) == 0
	})
	_, rss := usage(w.hub.PID())
	r.RSS = round(rss, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Events = int64(len(l.acked)) + l.orders.Load()
	lostOrders := int64(0)
	for jti := range w.sent {
		if w.final[jti] == nil {
			lostOrders++
		}
	}
	for jti, rcpt := range w.final {
		if rcpt.Outcome != "fulfilled" {
			r.Problems = append(r.Problems, fmt.Sprintf("order %s: %s", jti, rcpt.Outcome))
		}
	}
	r.Lost = lostOrders + rc.missing(l.acked, r.FanOut)
	r.SETs, r.SentTwice = rc.count.Load(), rc.twice()
	if limit := int64(r.Kills) * int64(r.FanOut*window+ackBatch); r.SentTwice > limit {
		r.Problems = append(r.Problems, fmt.Sprintf("%d SETs were sent twice; streams x window + one ack batch a kill allows %d", r.SentTwice, limit))
	}
	w.audit(r)
	for _, p := range points {
		if r.Points[p] < hitsPerPoint {
			r.Problems = append(r.Problems, fmt.Sprintf("stop point %s was hit %d times, not %d", p, r.Points[p], hitsPerPoint))
		}
	}
	if len(r.Problems) > 12 {
		r.Problems = append(r.Problems[:12], fmt.Sprintf("and %d more", len(r.Problems)-12))
	}
}

// missing counts acknowledged events that did not arrive on a stream.
func (rc *receivers) missing(acked map[int64]bool, streams int) (n int64) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	for i := range streams {
		seen := rc.seen[fmt.Sprintf("/s%d", i)]
		for e := range acked {
			if seen[e] == 0 {
				n++
			}
		}
	}
	return n
}

// twice counts repeats.
func (rc *receivers) twice() (n int64) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	for _, m := range rc.seen {
		for _, times := range m {
			n += int64(times - 1)
		}
	}
	return n
}
