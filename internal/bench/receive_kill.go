package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/stage"
	"countersign/set"
)

// receivePoints are the moments at which a hub that receives is made to end itself.
var receivePoints = []string{
	"receive.before-keep", "keep.before-commit", "keep.after-commit", "receive.after-keep", "polled.before-ack",
	"decide.before-commit", "decide.after-commit",
}

const (
	receiveHits  = 6
	receiveKills = 8 // random ones besides: 50 in all
)

// killReceive pushes and offers for polling while the hub is killed over and over, and then looks that what was acknowledged
// was kept, once, and acted on, once.
func killReceive(ctx context.Context, opt Options) (*Result, error) {
	if opt.Alg == "" {
		opt.Alg = "ES256"
	}
	if opt.Rate <= 0 {
		opt.Rate = 60
	}
	opt.Kills = max(opt.Kills, receiveKills)
	k, err := newReceiving(ctx, opt)
	defer k.close()
	if err != nil {
		return nil, err
	}
	r := &Result{Alg: opt.Alg, Points: map[string]int{}}
	stop := k.load(ctx, opt.Rate)
	fail := func(err error) (*Result, error) {
		stop()
		return nil, fmt.Errorf("after %d kills: %w", r.Kills, err)
	}
	k.hub.Kill()
	for _, p := range receivePoints {
		for range receiveHits {
			k.hub.Env = []string{fmt.Sprintf("COUNTERSIGN_STOP=%s:%d", p, 1+rand.IntN(12))}
			if err := k.hub.Start(ctx); err != nil && !ended(k.hub.Exited()) {
				return fail(err)
			}
			select {
			case <-k.hub.Exited():
				r.Points[p]++
			case <-time.After(20 * time.Second):
				r.problem("stop point %s was not reached within 20 s", p)
				k.hub.Kill()
			case <-ctx.Done():
				return fail(ctx.Err())
			}
			r.Kills++
		}
		fmt.Fprintf(opt.Out, "%-24s hit %d times, %d pushed, %d acknowledged by polls\n", p, r.Points[p], k.pushed.Load(), k.acked())
	}
	k.hub.Env = nil
	for range opt.Kills {
		if err := k.hub.Start(ctx); err != nil {
			return fail(err)
		}
		time.Sleep(time.Duration(50+rand.IntN(900)) * time.Millisecond)
		k.hub.Kill()
		r.Kills++
	}
	fmt.Fprintf(opt.Out, "%-24s %d times\n", "random moments", opt.Kills)
	if err := k.hub.Start(ctx); err != nil {
		return fail(err)
	}
	stop()
	return r, k.settle(ctx, r)
}

// receiving is a hub with a source that pushes, one that is polled, and an app.
type receiving struct {
	*rig
	app    *stage.Site
	peer   *peer
	signer *set.Signer
	url    string // receive address

	pushed atomic.Int64
	mu     sync.Mutex
	took   map[string]bool // jti that was answered 202
}

// manyPeople is how many people there are: each signal is about one of its own.
const manyPeople = 60_000

func newReceiving(ctx context.Context, opt Options) (*receiving, error) {
	k := &receiving{took: map[string]bool{}}
	ca, err := stage.NewCA("Countersign bench receiving")
	if err != nil {
		return k, err
	}
	cert, err := ca.Leaf("world")
	if err != nil {
		return k, err
	}
	key, err := set.GenerateKey(set.Algorithm(opt.Alg))
	if err != nil {
		return k, err
	}
	if k.signer, err = set.NewSigner(set.Algorithm(opt.Alg), "bench-1", key); err != nil {
		return k, err
	}
	k.app = stage.NewSite("app", stage.Wiki)
	for i := range manyPeople {
		k.app.AddPerson(stage.Person{ID: fmt.Sprint("u", i), Email: fmt.Sprintf("p%d@example.test", i)})
		k.app.SignInAs(fmt.Sprint("u", i))
	}
	if err := k.app.Start(&cert); err != nil {
		return k, err
	}
	if k.peer, err = startPeer(cert, k.signer); err != nil {
		return k, err
	}
	resources := fmt.Sprintf("---\nkind: app\nname: app\npack: http-sessions\nsettings: {url: %q}\nsecrets: {token: {file: app-token}}\naccounts: {match: email}\n"+
		"---\nkind: source\nname: idp\ntype: ssf\nissuer: %s\nstream: none\naudience: [%s]\nkeys: {jwks: %s}\ncorrelate: [{format: email}]\n"+
		"---\nkind: source\nname: peer\ntype: ssf\nissuer: %q\ndelivery: poll\nstream: create\ncorrelate: [{format: email}]\nevents: [caep/session-revoked]\n"+
		"---\nkind: policy\nname: ends\non: [caep/session-revoked]\nthen: [{action: revoke_sessions, scope: app, at: all}]\n",
		k.app.URL(), receiveIssuer, receiveAudience, set.MarshalJWKS([]set.Key{k.signer.Public()}), k.peer.url)
	k.rig, err = newRig(ctx, opt, props{ca: ca, resources: resources, secrets: map[string]string{"app-token": k.app.AdminToken()}, args: []string{"--dev"}})
	if err != nil {
		return k, err
	}
	k.url, err = k.receiveURL(ctx, "idp")
	return k, err
}

func (k *receiving) close() {
	if k.rig != nil {
		k.rig.close()
	}
	if k.peer != nil {
		k.peer.close()
	}
	if k.app != nil && k.app.URL() != "" {
		k.app.Close()
	}
}

// load pushes and offers at a steady rate through every outage; what is pushed is pushed until it is answered. Even numbers
// are pushed, odd ones are polled. stop ends it when all of it is answered.
func (k *receiving) load(ctx context.Context, rate float64) (stop func()) {
	load, cancel := context.WithCancel(ctx)
	client := k.light()
	client.Timeout = 5 * time.Second
	var wg, pushes sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer tick.Stop()
		for n := 0; n < manyPeople; n += 2 {
			select {
			case <-load.Done():
				return
			case <-tick.C:
			}
			pushes.Go(func() { k.push(ctx, client, n) })
			if jti, token, err := k.token(n+1, k.peer.url, k.peer.url+"/bench"); err == nil {
				k.peer.offer(jti, token)
			}
		}
	})
	return func() { cancel(); wg.Wait(); pushes.Wait() }
}

func (k *receiving) push(ctx context.Context, client *http.Client, n int) {
	jti, token, err := k.token(n, receiveIssuer, receiveAudience)
	for err == nil && ctx.Err() == nil {
		if status, _, err := pushOne(ctx, client, k.url, []byte(token)); err == nil && status == http.StatusAccepted {
			k.mu.Lock()
			k.took[jti] = true
			k.mu.Unlock()
			k.pushed.Add(1)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (k *receiving) token(n int, issuer, audience string) (jti, token string, err error) {
	jti = fmt.Sprint("kill-", n)
	token, err = k.signer.Sign(fmt.Appendf(nil, `{"iss":%q,"aud":%q,"iat":%d,"jti":%q,"sub_id":{"format":"email","email":"p%d@example.test"},"events":{%q:{"initiating_entity":"policy"}}}`,
		issuer, audience, time.Now().Unix(), jti, n, sessionRevoked))
	return jti, token, err
}

func (k *receiving) acked() int {
	k.peer.mu.Lock()
	defer k.peer.mu.Unlock()
	return len(k.peer.acked)
}

// settle waits until all is acknowledged and acted on, and counts.
func (k *receiving) settle(ctx context.Context, r *Result) error {
	if !waitFor(ctx, 2*time.Minute, func() bool { return k.peer.waiting() == 0 }) {
		r.problem("%d tokens were never acknowledged by polls", k.peer.waiting())
	}
	for jti, e := range k.peer.errs {
		r.problem("%s was refused: %s", jti, e)
	}
	want := map[string]bool{}
	for jti := range k.took {
		want["idp "+jti] = true
	}
	for jti := range k.peer.acked {
		want["peer "+jti] = true
	}
	var got map[string]received
	var err error
	if !waitFor(ctx, 3*time.Minute, func() bool {
		if got, err = k.signals(ctx); err != nil {
			return false
		}
		for _, s := range got {
			if s.State == "received" || s.State == "decided" {
				return false
			}
		}
		return true
	}) && err != nil {
		return err
	}
	r.Events = int64(len(want))
	for key := range want {
		switch s, ok := got[key]; {
		case !ok:
			r.Lost++
		case s.State != "done" || s.times != 1:
			r.problem("%s is %s, kept %d times", key, s.State, s.times)
		}
	}
	acts, err := k.actions(ctx)
	if err != nil {
		return err
	}
	for signal, n := range acts {
		if n != 1 {
			r.problem("signal %s led to %d actions", signal, n)
		}
	}
	if len(acts) != len(got) {
		r.problem("%d signals led to actions, of %d", len(acts), len(got))
	}
	k.blind(r)
	for _, p := range receivePoints {
		if r.Points[p] < receiveHits {
			r.problem("stop point %s was hit %d times, not %d", p, r.Points[p], receiveHits)
		}
	}
	_, rss := usage(k.hub.PID())
	r.RSS = round(rss, 1)
	if len(r.Problems) > 12 {
		r.Problems = append(r.Problems[:12], fmt.Sprintf("and %d more", len(r.Problems)-12))
	}
	return nil
}

// received is one signal as the hub shows it.
type received struct {
	State string
	times int
}

// signals reads all that was kept, by source and jti.
func (k *receiving) signals(ctx context.Context) (map[string]received, error) {
	all := map[string]received{}
	err := k.pages(ctx, "/api/v1/signals", func(raw json.RawMessage) error {
		var s struct {
			Source string `json:"source"`
			JTI    string `json:"jti"`
			State  string `json:"state"`
		}
		err := json.Unmarshal(raw, &s)
		key := s.Source + " " + s.JTI
		all[key] = received{s.State, all[key].times + 1}
		return err
	})
	return all, err
}

// actions counts the actions of each signal.
func (k *receiving) actions(ctx context.Context) (map[string]int, error) {
	all := map[string]int{}
	err := k.pages(ctx, "/api/v1/actions", func(raw json.RawMessage) error {
		var a struct {
			Signal string `json:"signal"`
		}
		err := json.Unmarshal(raw, &a)
		all[a.Signal]++
		return err
	})
	return all, err
}

func (k *receiving) pages(ctx context.Context, path string, each func(json.RawMessage) error) error {
	for after := ""; ; {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next"`
		}
		if err := k.ask(ctx, k.operator(), path+"?limit=500&after="+after, &page); err != nil {
			return err
		}
		for _, raw := range page.Items {
			if err := each(raw); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// blind counts acting requests that were repeated without a look between them or the same key.
func (k *receiving) blind(r *Result) {
	type last struct {
		acted bool
		key   string
	}
	by := map[string]last{}
	for _, c := range k.app.Calls() {
		switch {
		case c.Target == "":
		case !c.Acting:
			by[c.Target] = last{}
		default:
			r.Acted++
			if l := by[c.Target]; l.acted && (c.Key == "" || c.Key != l.key) {
				r.Blind++
			}
			by[c.Target] = last{true, c.Key}
		}
	}
}
