package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/stage"
	"countersign/internal/stage/idp"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
	"countersign/transmitter"
)

// world is the rig of the loop: an identity provider that orders, one app, and the receipts that come back.
type world struct {
	*rig
	app *stage.Site
	idp *idp.Provider

	mu    sync.Mutex
	sent  map[string]*sentOrder       // by order jti
	final map[string]*receipt.Receipt // order jti → final receipt
	times []float64                   // milliseconds from order to accepted receipt
	done  atomic.Int64
}

func newWorld(ctx context.Context, opt Options, people int, p props) (*world, error) {
	w := &world{sent: map[string]*sentOrder{}, final: map[string]*receipt.Receipt{}}
	ca, err := stage.NewCA("Countersign bench world")
	if err != nil {
		return nil, err
	}
	cert, err := ca.Leaf("world")
	if err != nil {
		return nil, err
	}
	w.app = stage.NewSite("app", stage.Wiki)
	for i := range people {
		p := stage.Person{ID: fmt.Sprintf("u%d", i), Email: fmt.Sprintf("p%d@example.test", i)}
		w.app.AddPerson(p)
		w.app.SignInAs(p.ID)
	}
	if err := w.app.Start(&cert); err != nil {
		return w, err
	}
	const bearer = "bench-idp-token"
	if w.idp, err = idp.Start(idp.Config{Token: bearer, Cert: cert, Roots: ca.Pool(), Algorithm: set.ES256, Took: w.took}); err != nil {
		return w, err
	}
	resources := fmt.Sprintf(`---
kind: app
name: app
pack: http-sessions
settings: {url: %q}
secrets: {token: {file: app-token}}
accounts: {match: email}
---
kind: source
name: idp
type: ssf
issuer: %q
delivery: push
stream: create
auth: {method: bearer, token: {file: idp-token}}
correlate:
  - {format: email}
orders: {accept: [revoke_sessions], at: all}
receipts: {send: auto, alg: EdDSA}
`, w.app.URL(), w.idp.Issuer)
	p.ca, p.resources, p.secrets = ca, resources, map[string]string{"app-token": w.app.AdminToken(), "idp-token": bearer}
	if w.rig, err = newRig(ctx, opt, p); err != nil {
		return w, err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := w.idp.WaitStream(wait); err != nil {
		return w, fmt.Errorf("%w:\n%s", err, w.hub.Tail(2000))
	}
	return w, nil
}

func (w *world) close() {
	if w == nil {
		return
	}
	if w.rig != nil {
		w.rig.close()
	}
	if w.idp != nil {
		w.idp.Close()
	}
	if w.app != nil && w.app.URL() != "" {
		w.app.Close()
	}
}

// order sends the order to end every session of person n.
func (w *world) order(ctx context.Context, n int, within time.Duration) error {
	now := time.Now()
	directive := fmt.Sprintf(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"}}],"complete_by":%d,"priority":"urgent","receipt":{"when":"final","evidence":"verified"}}`, now.Add(within).Unix())
	w.mu.Lock()
	defer w.mu.Unlock()
	sent, err := w.idp.Send(ctx, transmitter.Message{
		Type: sessionRevoked, SubID: subject.Email(fmt.Sprintf("p%d@example.test", n)).Raw(),
		Payload: json.RawMessage(fmt.Sprintf(`{"initiating_entity":"policy","event_timestamp":%d}`, now.Unix())), Order: json.RawMessage(directive),
	})
	if err != nil {
		return err
	}
	w.sent[sent.JTI] = &sentOrder{at: now, target: fmt.Sprintf("u%d", n)}
	return nil
}

// sentOrder is an order on its way: about whom, since when, and at which points the hub was killed meanwhile.
type sentOrder struct {
	at     time.Time
	target string // account id at the app
	kills  []string
}

// open counts the orders without a final receipt.
func (w *world) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent) - len(w.final)
}

// killed notes that the hub died at a point while some orders were open.
func (w *world) killed(point string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for jti, o := range w.sent {
		if w.final[jti] == nil {
			o.kills = append(o.kills, point)
		}
	}
}

func (w *world) took(r transmitter.AcceptedReceipt) {
	at := time.Now()
	u, err := set.Parse(r.Receipt.Compact)
	if err != nil {
		return
	}
	var body receipt.Receipt
	if json.Unmarshal(u.Claims().Events[0].Payload, &body) != nil || body.Stage == "interim" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.final[r.Order.JTI] != nil {
		return
	}
	w.final[r.Order.JTI] = &body
	w.times = append(w.times, float64(at.Sub(w.sent[r.Order.JTI].at).Microseconds())/1000)
	w.done.Add(1)
}

// loop offers orders at a steady rate and times each until its receipt is accepted.
func loop(ctx context.Context, opt Options) (*Result, error) {
	if opt.Rate <= 0 {
		opt.Rate = 200
	}
	total := int(opt.Rate * opt.Seconds)
	w, err := newWorld(ctx, opt, total+1, props{})
	defer w.close()
	if err != nil {
		return nil, err
	}
	r := &Result{Alg: "EdDSA", Offered: opt.Rate}
	_, idle := usage(w.hub.PID())
	r.IdleRSS = round(idle, 1)
	f, err := newFloors("EdDSA", w.dir, w.app.URL()+"/", w.ca.Pool())
	if err != nil {
		return nil, err
	}
	if err := f.slice(floorSlice); err != nil {
		return nil, err
	}
	cpu0, _ := usage(w.hub.PID())
	start := time.Now()
	var mu sync.Mutex
	var fail error
	openLoop(ctx, opt.Rate, opt.Seconds, func(n int64, _ time.Time) {
		if err := w.order(ctx, int(n), time.Minute); err != nil {
			mu.Lock()
			fail = err
			mu.Unlock()
		}
	})
	if fail != nil {
		return nil, fail
	}
	waitFor(ctx, 60*time.Second, func() bool { return w.done.Load() >= int64(total) })
	took := time.Since(start).Seconds()
	cpu1, rss := usage(w.hub.PID())
	r.RSS, r.CPU = round(rss, 1), round(float64((cpu1-cpu0).Microseconds())/float64(total), 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Events, r.Rate = int64(len(w.final)), round(float64(len(w.final))/took, 0)
	r.Lost = int64(total - len(w.final))
	slices.Sort(w.times)
	r.P50, r.P99, r.Max = percentile(w.times, .5), percentile(w.times, .99), percentile(w.times, 1)
	for jti, rc := range w.final {
		if rc.Outcome != "fulfilled" {
			r.Problems = append(r.Problems, fmt.Sprintf("order %s: %s", jti, rc.Outcome))
		}
	}
	if len(r.Problems) > 5 {
		r.Problems = append(r.Problems[:5], fmt.Sprintf("and %d more", len(r.Problems)-5))
	}
	f.fill(r)
	r.FloorName, r.Floor = "HTTP", r.HTTPFloor
	w.audit(r)
	return r, nil
}

// audit compares what the app counted with what the receipts admit, and looks for blind repeats: two acting
// requests on one target without a look between them or the same idempotency key. For each order: requests ≤
// attempts ≤ requests + the kills it lived through, and attempts = requests where all of them came after sending.
func (w *world) audit(r *Result) {
	type last struct {
		acted bool
		key   string
	}
	byTarget := map[string]last{}
	requests := map[string]int{}
	for _, c := range w.app.Calls() {
		if c.Target == "" {
			continue
		}
		if !c.Acting {
			byTarget[c.Target] = last{}
			continue
		}
		r.Acted++
		requests[c.Target]++
		if l := byTarget[c.Target]; l.acted && (c.Key == "" || c.Key != l.key) {
			r.Blind++
		}
		byTarget[c.Target] = last{true, c.Key}
	}
	for jti, rc := range w.final {
		o, attempts := w.sent[jti], 0
		for _, l := range rc.Lines {
			if l.Attempts != nil {
				attempts += *l.Attempts
			}
		}
		r.Attempts += int64(attempts)
		asked := requests[o.target]
		may := asked
		for _, k := range o.kills {
			if !afterSending[k] {
				may++
			}
		}
		if attempts < asked || attempts > may {
			r.Problems = append(r.Problems, fmt.Sprintf("order %s: the app was asked to act %d times, the receipt admits %d, killed at %v", jti, asked, attempts, o.kills))
		}
	}
}

// afterSending are the points at which the request has left: no attempt is spent without one.
var afterSending = map[string]bool{
	"act.after-answer": true, "act.before-readback": true, "action.before-commit": true, "action.after-commit": true,
	"receipt.before-commit": true, "receipt.after-commit": true, "receipt.before-send": true, "receipt.after-answer": true,
}
