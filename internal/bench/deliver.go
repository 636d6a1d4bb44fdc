package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	sessionPresented = "https://schemas.openid.net/secevent/caep/event-type/session-presented"
)

// door posts signals to the API with do: transmit.
type door struct {
	client *http.Client
	url    string
	auth   string
	event  string        // its type
	bare   *atomic.Int64 // counts refusals with 503 that name no time to come again; nil: nothing is counted
}

func (g *rig) door() *door {
	return &door{g.light(), g.hub.Admin + "/api/v1/signals", "Bearer " + g.token, sessionRevoked, nil}
}

// post sends event number n about a person of its own and gives the time to the acknowledgement.
func (d *door) post(ctx context.Context, n int64) (time.Duration, error) {
	body := fmt.Sprintf(`{"event_type":%q,"sub_id":{"format":"email","email":"p%d@example.test"},"event":{"initiating_entity":"policy","reason_admin":{"en":"bench"},"event_timestamp":%d},"txn":"b-%d.","do":"transmit"}`,
		d.event, n%people, time.Now().Unix(), n)
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", d.auth)
	req.Header.Set("Content-Type", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return 0, err
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	resp.Body.Close()
	if d.bare != nil && resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		d.bare.Add(1)
	}
	if resp.StatusCode != http.StatusAccepted {
		return 0, &refused{resp.StatusCode, strings.TrimSpace(string(answer))}
	}
	return time.Since(start), nil
}

type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return fmt.Sprintf("the hub answered %d: %s", r.status, r.text) }

func (r *refused) busy() bool { return r.status == 429 || r.status == 503 }

const (
	slices5 = 5
	// backlog is how far the load may run ahead of the deliveries, in SETs, so that each slice is a steady state.
	backlog = 1000
	// sampled: deliver times each such event from before its request to its first arrival.
	sampled = 16
)

// deliver runs a closed loop in five slices that alternate with the floors. The load waits where deliveries lag behind.
func deliver(ctx context.Context, opt Options) (*Result, error) {
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
	d := g.door()
	part := time.Duration(opt.Seconds / slices5 * float64(time.Second))
	var n, acked atomic.Int64
	var rates, cpus []float64
	var mu sync.Mutex
	sent := map[int64]time.Time{}
	for i := range slices5 {
		if err := f.slice(floorSlice); err != nil {
			return nil, err
		}
		cpu0, _ := usage(g.hub.PID())
		before := rc.count.Load()
		start := time.Now()
		end := start.Add(part)
		var wg sync.WaitGroup
		var failed atomic.Pointer[error]
		for range opt.Clients {
			wg.Go(func() {
				for time.Now().Before(end) && failed.Load() == nil {
					if acked.Load()*int64(opt.FanOut)-rc.count.Load() > backlog {
						time.Sleep(time.Millisecond)
						continue
					}
					no := n.Add(1)
					if no%sampled == 0 {
						mu.Lock()
						sent[no] = time.Now()
						mu.Unlock()
					}
					if _, err := d.post(ctx, no); err != nil {
						if b, ok := err.(*refused); ok && b.busy() {
							continue
						}
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
		// What was acknowledged in the slice is delivered before the next one; the time until then counts.
		want := acked.Load() * int64(opt.FanOut)
		if !waitFor(ctx, 120*time.Second, func() bool { return rc.count.Load() >= want }) {
			break
		}
		took := time.Since(start).Seconds()
		sets := rc.count.Load() - before
		cpu1, rss := usage(g.hub.PID())
		rates = append(rates, float64(sets)/took)
		cpus = append(cpus, float64((cpu1-cpu0).Microseconds())/float64(sets))
		r.RSS = max(r.RSS, round(rss, 1))
		fmt.Fprintf(opt.Out, "slice %d: %.0f SETs/s, sign floor %.0f/s, HTTP floor %.0f/s\n", i+1, rates[len(rates)-1], f.sign[len(f.sign)-1], f.http[len(f.http)-1])
	}
	r.Events, r.SETs = acked.Load(), rc.count.Load()
	r.Lost = max(0, r.Events*int64(opt.FanOut)-r.SETs)
	r.SentTwice = max(0, r.SETs-r.Events*int64(opt.FanOut))
	f.fill(r)
	r.Rate, r.CPU = round(median(rates), 0), round(median(cpus), 1)
	rc.latencies(sent, r)
	r.FloorName, r.Floor = "sign", r.SignFloor
	if opt.Alg != "RS256" {
		r.FloorName, r.Floor = "HTTP", r.HTTPFloor
	}
	r.CPURatio = round(r.CPU/median(f.signCPU), 2)
	g.trips(ctx, r)
	return r, nil
}

const floorSlice = 700 * time.Millisecond

func deliverRig(ctx context.Context, opt Options, r *Result) (*rig, *receivers, *floors, error) {
	g, err := newRig(ctx, opt, props{named: opt.What == "deliver" || opt.What == "steady"})
	if err != nil {
		return g, nil, nil, err
	}
	every := int64(1)
	if opt.What == "deliver" || opt.What == "steady" {
		every = sampled
	}
	rc, err := startReceivers(g.cert, every)
	if err != nil {
		return g, nil, nil, err
	}
	if err := g.streams(ctx, opt.FanOut, func(i int) string { return fmt.Sprintf("%s/s%d", rc.url, i) }, sessionRevoked); err != nil {
		return g, rc, nil, err
	}
	f, err := newFloors(opt.Alg, g.dir, rc.url+"/floor", g.ca.Pool())
	return g, rc, f, err
}

// ingest offers a steady rate and times acknowledgements and arrivals; with Rate 0 < it is open loop, and
// with --clients and a delayed fsync it is the closed loop that shows what group commit carries.
func ingest(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
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
	if err := f.slice(floorSlice); err != nil {
		return nil, err
	}
	d := g.door()
	var (
		mu   sync.Mutex
		acks []float64
		sent = map[int64]time.Time{}
		fail error
	)
	one := func(n int64, due time.Time) {
		_, err := d.post(ctx, n)
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if b, ok := err.(*refused); !ok || !b.busy() {
				fail = err
			}
			return
		}
		sent[n] = due
		acks = append(acks, float64(now.Sub(due).Microseconds())/1000)
	}
	cpu0, _ := usage(g.hub.PID())
	start := time.Now()
	if opt.Rate > 0 {
		r.Offered = opt.Rate
		openLoop(ctx, opt.Rate, opt.Seconds, one)
	} else {
		closedLoop(opt.Clients, opt.Seconds, one)
	}
	if fail != nil {
		return nil, fail
	}
	r.Rate = round(float64(len(acks))/time.Since(start).Seconds(), 0)
	r.Events = int64(len(acks))
	waitFor(ctx, 120*time.Second, func() bool { return rc.count.Load() >= r.Events*int64(opt.FanOut) })
	cpu1, rss := usage(g.hub.PID())
	r.RSS = round(rss, 1)
	r.SETs = rc.count.Load()
	done := r.SETs
	if opt.FanOut == 0 {
		done = r.Events
	}
	r.CPU = round(float64((cpu1-cpu0).Microseconds())/float64(max(done, 1)), 1)
	r.Lost = max(0, r.Events*int64(opt.FanOut)-r.SETs)
	r.SentTwice = max(0, r.SETs-r.Events*int64(opt.FanOut))
	slices.Sort(acks)
	r.AckP50, r.AckP99 = percentile(acks, .5), percentile(acks, .99)
	rc.latencies(sent, r)
	if err := f.slice(floorSlice); err != nil {
		return nil, err
	}
	f.fill(r)
	r.FloorName, r.Floor = "HTTP", r.HTTPFloor
	g.trips(ctx, r)
	return r, nil
}

// openLoop calls one at fixed moments, whether or not earlier calls have ended: a slow hub does not slow the load.
func openLoop(ctx context.Context, rate, seconds float64, one func(n int64, due time.Time)) {
	var wg sync.WaitGroup
	total := int64(rate * seconds)
	start := time.Now().Add(50 * time.Millisecond)
	for n := int64(1); n <= total && ctx.Err() == nil; n++ {
		due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if d := time.Until(due); d > 0 {
			time.Sleep(d)
		}
		wg.Go(func() { one(n, time.Now()) })
	}
	wg.Wait()
}

func closedLoop(clients int, seconds float64, one func(n int64, due time.Time)) {
	var wg sync.WaitGroup
	var n atomic.Int64
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				one(n.Add(1), time.Now())
			}
		})
	}
	wg.Wait()
}

func waitFor(ctx context.Context, limit time.Duration, ok func() bool) bool {
	end := time.Now().Add(limit)
	for !ok() {
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
		time.Sleep(2 * time.Millisecond)
	}
	return true
}

// trips reads from the hub's metrics how many SQL statements keeping took per signal.
func (g *rig) trips(ctx context.Context, r *Result) {
	statements, signals, err := g.metrics(ctx)
	if err == nil && signals > 0 {
		r.Trips = round(statements/signals, 4)
	}
}
