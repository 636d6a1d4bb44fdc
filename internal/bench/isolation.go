package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/stream"
)

// crowd is receivers of which some behave badly: path /s0 hangs, /s1 is slow, /s2 answers 500, /s3 resets.
type crowd struct {
	url string
	srv *http.Server

	mu    sync.Mutex
	due   map[int64]time.Time
	times []float64 // of the well-behaved, in milliseconds
	taken atomic.Int64
	bad   atomic.Int64
}

const (
	crowdSize  = 100
	badOnes    = 4
	hungFor    = 20 * time.Second
	slowFor    = 2 * time.Second
	isolatedAt = 25.0 // events a second, each to every stream
)

func startCrowd(cert tls.Certificate) (*crowd, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &crowd{url: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port), due: map[int64]time.Time{}}
	c.srv = &http.Server{Handler: c, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	go c.srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	return c, nil
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<18))
	if err != nil {
		return
	}
	switch r.URL.Path {
	case "/floor":
		w.WriteHeader(http.StatusAccepted)
		return
	case "/s0":
		c.bad.Add(1)
		wait(r.Context(), hungFor)
		panic(http.ErrAbortHandler)
	case "/s1":
		c.bad.Add(1)
		wait(r.Context(), slowFor)
		w.WriteHeader(http.StatusAccepted)
		return
	case "/s2":
		c.bad.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
		return
	case "/s3":
		c.bad.Add(1)
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusAccepted)
	if n, ok := number(body); ok {
		c.mu.Lock()
		if due, ok := c.due[n]; ok {
			c.times = append(c.times, float64(at.Sub(due).Microseconds())/1000)
		}
		c.mu.Unlock()
	}
	c.taken.Add(1)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// isolation compares the p99 of 96 streams in slices without and with four bad receivers among them.
func isolation(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	if opt.Rate <= 0 {
		opt.Rate = isolatedAt
	}
	r := &Result{Alg: opt.Alg, FanOut: crowdSize, Offered: opt.Rate}
	g, err := newRig(ctx, opt, props{})
	defer g.close()
	if err != nil {
		return nil, err
	}
	c, err := startCrowd(g.cert)
	if err != nil {
		return nil, err
	}
	defer c.srv.Close()
	made, err := g.makeStreams(ctx, crowdSize, func(i int) *stream.Configuration {
		return &stream.Configuration{EventsRequested: []string{sessionRevoked}, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: fmt.Sprintf("%s/s%d", c.url, i)}}
	})
	if err != nil {
		return nil, err
	}
	client, md, err := g.api(ctx)
	if err != nil {
		return nil, err
	}
	d := g.door()
	var n int64
	var calm, troubled []float64
	slice := func(bad bool) (p99 float64, err error) {
		status := stream.Disabled
		if bad {
			status = stream.Enabled
		}
		for _, s := range made[:badOnes] {
			if _, err := client.SetStatus(ctx, md, stream.Status{StreamID: s.StreamID, Status: status}); err != nil {
				return 0, err
			}
		}
		time.Sleep(500 * time.Millisecond) // what was under way comes to its end
		c.mu.Lock()
		c.times, c.due = nil, map[int64]time.Time{}
		c.mu.Unlock()
		first, before := n, c.taken.Load()
		var fail atomic.Pointer[error]
		openLoop(ctx, opt.Rate, opt.Seconds/10, func(i int64, due time.Time) {
			c.mu.Lock()
			c.due[first+i] = due
			c.mu.Unlock()
			if _, err := d.post(ctx, first+i); err != nil {
				fail.Store(&err)
			}
		})
		if e := fail.Load(); e != nil {
			return 0, *e
		}
		sent := int64(opt.Rate * opt.Seconds / 10)
		n += sent
		r.Events += sent
		want := sent * (crowdSize - badOnes)
		waitFor(ctx, 30*time.Second, func() bool { return c.taken.Load()-before >= want })
		c.mu.Lock()
		defer c.mu.Unlock()
		r.SETs += int64(len(c.times))
		r.Lost += max(0, want-int64(len(c.times)))
		slices.Sort(c.times)
		if bad {
			r.Max = max(r.Max, percentile(c.times, 1))
		}
		return percentile(c.times, .99), nil
	}
	if _, err := slice(false); err != nil { // warm
		return nil, err
	}
	for i := range slices5 {
		for _, bad := range []bool{false, true} {
			p99, err := slice(bad)
			if err != nil {
				return nil, err
			}
			if bad {
				troubled = append(troubled, p99)
			} else {
				calm = append(calm, p99)
			}
		}
		fmt.Fprintf(opt.Out, "pair %d: p99 %.1f ms without, %.1f ms with the bad ones\n", i+1, calm[i], troubled[i])
	}
	r.P99, r.Beside = round(median(troubled), 2), round(median(calm), 2)
	r.Times = round(r.P99/r.Beside, 2)
	_, rss := usage(g.hub.PID())
	r.RSS = round(rss, 1)
	if c.bad.Load() == 0 {
		r.problem("the bad receivers were never asked")
	}
	if r.SETs < 20000 {
		fmt.Fprintf(opt.Out, "only %d samples; a longer run says more\n", r.SETs)
	}
	return r, nil
}

// problem notes what makes a run worthless or wrong.
func (r *Result) problem(format string, args ...any) {
	r.Problems = append(r.Problems, strings.TrimSpace(fmt.Sprintf(format, args...)))
}
