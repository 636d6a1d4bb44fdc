package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/set"
)

const (
	// receiveSlice is how many tokens are made before the clock starts, and pushed before it stops.
	receiveSlice = 100_000
	// decidedWithin is how long after the last answer everything is correlated and decided.
	decidedWithin = 2 * time.Second
	// flat is how much more memory than at rest receiving may take, however much is received.
	flat = 128

	receiveIssuer   = "https://idp.bench.example"
	receiveAudience = "https://hub.bench.example/stream"
)

// receive pushes tokens that were signed before, and waits until each is correlated and decided. The rate is that of the
// answers; more than one slice shows whether memory stays flat.
func receive(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "RS256"
	}
	total := opt.Signals
	if total <= 0 {
		total = receiveSlice
	}
	key, err := set.GenerateKey(set.Algorithm(opt.Alg))
	if err != nil {
		return nil, err
	}
	signer, err := set.NewSigner(set.Algorithm(opt.Alg), "bench-1", key)
	if err != nil {
		return nil, err
	}
	r := &Result{Alg: opt.Alg}
	g, err := newRig(ctx, opt, props{resources: receiveYAML(signer), secrets: map[string]string{"app-token": "nobody-asks-for-it"}})
	if g != nil {
		defer g.close()
	}
	if err != nil {
		return nil, err
	}
	address, err := g.receiveURL(ctx, "idp")
	if err != nil {
		return nil, err
	}
	// A hub at rest is one that was started with what is set up, not the one that has just taken 5,000 people in.
	g.hub.Stop()
	if err := g.hub.Start(ctx); err != nil {
		return nil, err
	}
	_, idle := usage(g.hub.PID())
	r.IdleRSS = round(idle, 1)
	rc, err := startReceivers(g.cert, 1)
	if err != nil {
		return nil, err
	}
	defer rc.close()
	f, err := newFloors(opt.Alg, g.dir, rc.url+"/floor", g.ca.Pool())
	if err != nil {
		return nil, err
	}
	peak, stopPeak := g.watchRSS()
	defer stopPeak()

	client := g.light()
	var took, cpu, worst time.Duration
	for done := 0; done < total && ctx.Err() == nil; {
		n := min(receiveSlice, total-done)
		tokens, err := signed(signer, done, n)
		if err != nil {
			return nil, err
		}
		if err := f.slice(floorSlice); err != nil {
			return nil, err
		}
		cpu0, _ := usage(g.hub.PID())
		start := time.Now()
		if err := pushAll(ctx, client, address, tokens, opt.Clients); err != nil {
			return nil, fmt.Errorf("%w:\n%s", err, g.hub.Tail(1500))
		}
		took += time.Since(start)
		acked := time.Now()
		if !waitFor(ctx, time.Minute, func() bool { return g.decided(ctx) }) {
			r.problem("not everything was decided within a minute")
			break
		}
		late := time.Since(acked)
		worst = max(worst, late)
		cpu1, rss := usage(g.hub.PID())
		cpu += cpu1 - cpu0
		done += n
		r.Events = int64(done)
		fmt.Fprintf(opt.Out, "%d received, %.0f/s in all, the last ones decided after %.2f s, RSS %.0f MB\n", done, float64(done)/took.Seconds(), late.Seconds(), rss)
	}
	r.Rate = round(float64(r.Events)/took.Seconds(), 0)
	r.CPU = round(float64(cpu.Microseconds())/float64(max(r.Events, 1)), 1)
	r.Max = round(float64(worst.Microseconds())/1000, 1)
	r.RSS = round(peak(), 1)
	f.fill(r)
	r.FloorName, r.Floor = "HTTP", r.HTTPFloor
	g.trips(ctx, r)
	if worst > decidedWithin {
		r.problem("the last signals were decided %.1f s after the last answer, not within %.0f s", worst.Seconds(), decidedWithin.Seconds())
	}
	if r.RSS-r.IdleRSS > flat {
		r.problem("memory rose by %.0f MB, more than %d", r.RSS-r.IdleRSS, flat)
	}
	return r, g.auditReceived(ctx, r)
}

// receiveYAML is one source whose stream somebody else made, people, an app, and a policy that is worked out for each signal.
func receiveYAML(signer *set.Signer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\nkind: source\nname: idp\ntype: ssf\nissuer: %s\nstream: none\naudience: [%s]\nkeys: {jwks: %s, algs: [%s]}\ncorrelate: [{format: email}]\n",
		receiveIssuer, receiveAudience, set.MarshalJWKS([]set.Key{signer.Public()}), signer.Algorithm())
	b.WriteString("---\nkind: app\nname: app\npack: http-sessions\nsettings: {url: \"https://127.0.0.1:9\"}\nsecrets: {token: {file: app-token}}\naccounts: {match: declared}\n")
	// Nothing is done at the app: what is measured ends with the decision.
	b.WriteString("---\nkind: policy\nname: watch\nmode: monitor\non: [caep/session-revoked]\nfrom: [idp]\nwhen: signal.event.initiating_entity == \"policy\"\nthen: [{action: revoke_sessions, scope: app, at: all}]\n")
	for i := range people {
		fmt.Fprintf(&b, "---\nkind: identity\nname: p%d\nemails: [p%d@example.test]\naccounts: [{at: app, id: a%d}]\n", i, i, i)
	}
	return b.String()
}

// signed makes n tokens on all cores.
func signed(signer *set.Signer, first, n int) ([][]byte, error) {
	tokens := make([][]byte, n)
	now := time.Now().Unix()
	var wg sync.WaitGroup
	var next atomic.Int64
	var fail atomic.Pointer[error]
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				no := first + i
				token, err := signer.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":%q,"iat":%d,"jti":"bench-%d","txn":"b-%d.","sub_id":{"format":"email","email":"p%d@example.test"},"events":{%q:{"initiating_entity":"policy","reason_admin":{"en":"bench"},"event_timestamp":%d}}}`,
					receiveIssuer, receiveAudience, now, no, no, no%people, sessionRevoked, now))
				if err != nil {
					fail.Store(&err)
					return
				}
				tokens[i] = []byte(token)
			}
		})
	}
	wg.Wait()
	if e := fail.Load(); e != nil {
		return nil, *e
	}
	return tokens, nil
}

// pushAll pushes every token until it is answered 202.
func pushAll(ctx context.Context, client *http.Client, address string, tokens [][]byte, clients int) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	var fail atomic.Pointer[error]
	for range clients {
		wg.Go(func() {
			for fail.Load() == nil && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(tokens) {
					return
				}
				for {
					status, text, err := pushOne(ctx, client, address, tokens[i])
					if err == nil && status == http.StatusAccepted {
						break
					}
					if err == nil && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) {
						time.Sleep(5 * time.Millisecond)
						continue
					}
					if err == nil {
						err = &refused{status, text}
					}
					fail.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if e := fail.Load(); e != nil {
		return *e
	}
	return ctx.Err()
}

func pushOne(ctx context.Context, client *http.Client, address string, token []byte) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(token))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return resp.StatusCode, string(answer), nil
}

// receiveURL asks the hub for a source's receive address.
func (g *rig) receiveURL(ctx context.Context, source string) (string, error) {
	var shown struct {
		State struct {
			URL string `json:"receive_url"`
		} `json:"state"`
	}
	if err := g.ask(ctx, g.operator(), "/api/v1/sources/"+source, &shown); err != nil {
		return "", err
	}
	if shown.State.URL == "" {
		return "", errors.New("the source has no receive address")
	}
	return shown.State.URL, nil
}

// decided reports whether the newest signals are decided. They are worked on in the order in which they came.
func (g *rig) decided(ctx context.Context) bool {
	var page struct {
		Items []struct {
			State string `json:"state"`
		} `json:"items"`
	}
	if err := g.ask(ctx, g.token, "/api/v1/signals?limit=500", &page); err != nil || len(page.Items) == 0 {
		return false
	}
	for _, s := range page.Items {
		if s.State == "received" {
			return false
		}
	}
	return true
}

// auditReceived counts what was kept, and looks for what was left behind.
func (g *rig) auditReceived(ctx context.Context, r *Result) error {
	_, kept, err := g.metrics(ctx)
	if err != nil {
		return err
	}
	r.Lost = max(0, r.Events-int64(kept))
	for _, state := range []string{"received", "unresolved"} {
		var page struct {
			Items []json.RawMessage `json:"items"`
		}
		if err := g.ask(ctx, g.token, "/api/v1/signals?limit=1&state="+state, &page); err != nil {
			return err
		}
		if len(page.Items) > 0 {
			r.problem("there are signals that are %s", state)
		}
	}
	return nil
}
