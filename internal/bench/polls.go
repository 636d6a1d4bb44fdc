package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/stream"
)

// parkedPolls is how many polls are held at once.
const parkedPolls = 1000

// polls holds a thousand polls, each of a stream of its own over TLS, and wakes them with one event. It gives what a parked
// poll costs the hub in memory, and when the answers came.
func polls(ctx context.Context, opt Options) (*Result, error) { return heldPolls(ctx, opt, props{}) }

// plainPolls is polls behind a proxy that ends TLS.
func plainPolls(ctx context.Context, opt Options) (*Result, error) {
	return heldPolls(ctx, opt, props{plain: true})
}

func heldPolls(ctx context.Context, opt Options, p props) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	r := &Result{Alg: opt.Alg, FanOut: parkedPolls}
	g, err := newRig(ctx, opt, p)
	defer g.close()
	if err != nil {
		return nil, err
	}
	made, err := g.makeStreams(ctx, parkedPolls, func(int) *stream.Configuration {
		return &stream.Configuration{EventsRequested: []string{sessionRevoked}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	})
	if err != nil {
		return nil, err
	}
	// What creating them left behind is no part of the figure.
	g.hub.Stop()
	if err := g.hub.Start(ctx); err != nil {
		return nil, err
	}
	r.IdleRSS = round(g.rest(), 1)
	return r, g.parkAndWake(ctx, r, made)
}

// parkAndWake holds a poll of each stream, has the hub rest, and wakes them all with one event. What the hub took before is
// in r.
func (g *rig) parkAndWake(ctx context.Context, r *Result, streams []*stream.Configuration) error {
	var conns []*parked
	defer func() {
		for _, p := range conns {
			p.conn.Close()
		}
	}()
	for _, s := range streams {
		p, err := g.park(ctx, s.Delivery.EndpointURL)
		if err != nil {
			return err
		}
		conns = append(conns, p)
	}
	r.RSS = round(g.rest(), 1)
	r.KB = round((r.RSS-r.IdleRSS)*1024/float64(len(streams)), 1)
	// One event wakes them all.
	var mu sync.Mutex
	var times []float64
	var wg sync.WaitGroup
	start := time.Now()
	for _, p := range conns {
		wg.Go(func() {
			sets, err := p.answer()
			took := float64(time.Since(start).Microseconds()) / 1000
			mu.Lock()
			defer mu.Unlock()
			if err != nil || sets != 1 {
				r.Lost++
				return
			}
			times = append(times, took)
		})
	}
	if _, err := g.door().post(ctx, 1); err != nil {
		return err
	}
	wg.Wait()
	slices.Sort(times)
	r.Events, r.SETs = 1, int64(len(times))
	r.P50, r.P99, r.Max = percentile(times, .5), percentile(times, .99), percentile(times, 1)
	return nil
}

// parked is one poll that waits.
type parked struct {
	conn net.Conn
	in   *bufio.Reader
	req  *http.Request
}

// park sends a poll on a connection of its own.
func (g *rig) park(ctx context.Context, endpoint string) (*parked, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	if g.plain {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	} else {
		conn, err = (&tls.Dialer{Config: &tls.Config{RootCAs: g.ca.Pool()}}).DialContext(ctx, "tcp", u.Host)
	}
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("Content-Type", "application/json")
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	return &parked{conn, bufio.NewReaderSize(conn, 512), req}, nil
}

// answer waits for it and counts its SETs.
func (p *parked) answer() (int, error) {
	p.conn.SetReadDeadline(time.Now().Add(40 * time.Second))
	resp, err := http.ReadResponse(p.in, p.req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var got struct {
		Sets map[string]string `json:"sets"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the poll was answered %d", resp.StatusCode)
	}
	return len(got.Sets), nil
}
