package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// pollPeer is a transmitter with poll delivery, without a network, for bubbles of synctest. What is neither acknowledged nor
// refused comes again with the next poll.
type pollPeer struct {
	mu       sync.Mutex
	waiting  map[string]string // jti: SET
	hold     time.Duration     // how long a poll is held that has nothing to give; 0: it is answered at once
	asked    []map[string]any  // bodies, as they came
	heads    []http.Header
	at       []time.Time
	acked    []string
	refused  map[string]stream.WireError
	answers  []func(r *http.Request) *http.Response // in place of the next answers; nil: as usual
	stubborn bool                                   // what was refused comes all the same
	atOnce   int
	most     int
}

func (p *pollPeer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	var in stream.PollRequest
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.atOnce++
	p.most = max(p.most, p.atOnce)
	p.asked, p.heads, p.at = append(p.asked, raw), append(p.heads, r.Header.Clone()), append(p.at, time.Now())
	var instead func(r *http.Request) *http.Response
	if len(p.answers) > 0 {
		instead, p.answers = p.answers[0], p.answers[1:]
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.atOnce--
		p.mu.Unlock()
	}()
	if instead != nil {
		res := instead(r)
		if res == nil {
			return nil, errors.New("connection reset")
		}
		return res, nil
	}
	p.mu.Lock()
	for _, jti := range in.Ack {
		p.acked = append(p.acked, jti)
		delete(p.waiting, jti)
	}
	for jti, wrong := range in.SetErrs {
		if p.refused == nil {
			p.refused = map[string]stream.WireError{}
		}
		p.refused[jti] = wrong
		if !p.stubborn {
			delete(p.waiting, jti)
		}
	}
	most := len(p.waiting)
	if in.MaxEvents != nil {
		most = min(most, *in.MaxEvents)
	}
	given := map[string]string{}
	for _, jti := range slices.Sorted(maps.Keys(p.waiting)) {
		if len(given) < most {
			given[jti] = p.waiting[jti]
		}
	}
	more := len(p.waiting) > len(given)
	p.mu.Unlock()
	if len(given) == 0 && !in.ReturnImmediately && p.hold > 0 {
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(p.hold):
		}
	}
	out, err := json.Marshal(stream.PollResponse{Sets: given, MoreAvailable: more})
	if err != nil {
		return nil, err
	}
	return say(200, string(out), ""), nil
}

// say is an answer; more are pairs of field and value.
func say(status int, body string, more ...string) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	for i := 0; i+1 < len(more); i += 2 {
		w.Header().Set(more[i], more[i+1])
	}
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	return w.Result()
}

func (p *pollPeer) put(jti, compact string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[string]string{}
	}
	p.waiting[jti] = compact
}

func (p *pollPeer) polls() int { p.mu.Lock(); defer p.mu.Unlock(); return len(p.asked) }

// signed is a good SET with a jti.
func signed(t testing.TB, jti string) string {
	t.Helper()
	c := claims()
	c.ID = jti
	return sign(t, c)
}

// box is a Keep that remembers what it kept, like a table.
type box struct {
	mu     sync.Mutex
	kept   map[string]bool
	calls  int
	refuse func(jti string) error
}

func (b *box) keep(_ context.Context, d *receiver.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	jti := d.Token.Claims().ID
	if b.refuse != nil {
		if err := b.refuse(jti); err != nil {
			return err
		}
	}
	if b.kept[jti] {
		return receiver.ErrRepeat
	}
	if b.kept == nil {
		b.kept = map[string]bool{}
	}
	b.kept[jti] = true
	return nil
}

func (b *box) has(jti string) bool { b.mu.Lock(); defer b.mu.Unlock(); return b.kept[jti] }

// newPoller is one that polls peer and keeps in b.
func newPoller(t testing.TB, peer *pollPeer, b *box) *receiver.Poller {
	t.Helper()
	h := newBench(t).handler
	h.Report, h.Keep = nil, b.keep
	h.Verification = nil
	return &receiver.Poller{
		Client: &receiver.Client{HTTP: &http.Client{Transport: peer}, Credential: receiver.Bearer("token-1")},
		URL:    "https://idp.example.test/poll/s1?tenant=blue", Handler: h, Log: slog.New(slog.DiscardHandler),
	}
}

// running runs a poller in a bubble until the test is over.
func running(t *testing.T, p *receiver.Poller) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestPollerKeepsThenAcknowledges(t *testing.T) {
	req.Covers(t, "RX-84", "RX-85", "RX-87", "RX-88", "RX-91", "RX-92", "RX-94", "IOP-20", "IOP-21")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{hold: 30 * time.Second}, new(box)
		for i := range 25 {
			peer.put(fmt.Sprintf("j%02d", i), signed(t, fmt.Sprintf("j%02d", i)))
		}
		b.refuse = func(jti string) error {
			peer.mu.Lock()
			defer peer.mu.Unlock()
			if slices.Contains(peer.acked, jti) {
				t.Errorf("%s was acknowledged before it was kept", jti)
			}
			return nil
		}
		p := newPoller(t, peer, b)
		p.MaxEvents = 10
		began := time.Now()
		stop := running(t, p)
		synctest.Wait()
		if took := time.Since(began); took != 0 || len(peer.acked) != 25 || b.calls != 25 {
			t.Errorf("acknowledged %d of 25, kept %d, in %s", len(peer.acked), b.calls, took)
		}
		// Three answers with SETs, each acknowledged by the poll after it, and that one is held.
		if peer.polls() != 4 {
			t.Errorf("%d polls", peer.polls())
		}
		for i, body := range peer.asked {
			for name := range body {
				if !slices.Contains([]string{"maxEvents", "ack"}, name) {
					t.Errorf("poll %d has %q", i, name)
				}
			}
			if body["maxEvents"] != 10.0 {
				t.Errorf("poll %d asks for %v", i, body["maxEvents"])
			}
		}
		if n := len(peer.asked[1]["ack"].([]any)); n != 10 {
			t.Errorf("the second poll acknowledges %d", n)
		}
		// What comes while the poll is held comes with the next one; {} is no error.
		peer.put("late", signed(t, "late"))
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if !b.has("late") {
			t.Error("a later SET was not fetched")
		}
		stop()
		if peer.most != 1 {
			t.Errorf("%d polls at once", peer.most)
		}
	})
}

func TestPollerAtShutdown(t *testing.T) {
	req.Covers(t, "RX-86", "RX-94")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{hold: 30 * time.Second}, new(box)
		peer.put("j1", signed(t, "j1"))
		p := newPoller(t, peer, b)
		ctx, cancel := context.WithCancel(t.Context())
		p.Polled = func(n int, err error) {
			if n == 1 {
				cancel() // told to stop while it holds something to acknowledge
			}
		}
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		last := peer.asked[len(peer.asked)-1]
		if peer.polls() != 2 || last["maxEvents"] != 0.0 || last["returnImmediately"] != true || !slices.Equal(peer.acked, []string{"j1"}) {
			t.Errorf("the last of %d polls is %v, acknowledged %v", peer.polls(), last, peer.acked)
		}
	})
}

func TestPollerSurvivesDeathBetweenKeepAndAck(t *testing.T) {
	req.Covers(t, "RX-90", "RX-58", "RX-80")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{}, new(box)
		peer.put("j1", signed(t, "j1"))
		// The process dies after Keep: its answer is never acknowledged.
		dead := newPoller(t, peer, b)
		res, err := dead.Client.Poll(t.Context(), dead.URL, &stream.PollRequest{ReturnImmediately: true})
		if err != nil || dead.Handler.Take(t.Context(), res.Sets["j1"]) != nil || !b.has("j1") {
			t.Fatal(err)
		}
		// Its successor gets it again, Keep says that it is a repeat, and it is acknowledged.
		n, more, err := newPoller(t, peer, b).Once(t.Context())
		if n != 1 || more || err != nil || !slices.Equal(peer.acked, []string{"j1"}) || b.calls != 2 {
			t.Errorf("%d, %v, %v: acknowledged %v after %d calls of Keep", n, more, err, peer.acked, b.calls)
		}
	})
}

func TestPollerOneBadAmongGood(t *testing.T) {
	req.Covers(t, "RX-89", "RX-93")
	other, err := set.GenerateKey(set.ES256)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := set.NewSigner(set.ES256, "k1", other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bad  func(t *testing.T) string
		keep error
		want string
	}{
		"no token": {func(*testing.T) string { return "not.a.token" }, nil, stream.InvalidRequest},
		"empty":    {func(*testing.T) string { return "" }, nil, stream.InvalidRequest},
		"another issuer": {func(t *testing.T) string {
			c := claims()
			c.Issuer, c.ID = "https://x.example", "bad"
			return sign(t, c)
		}, nil, stream.InvalidIssuer},
		"not for us": {func(t *testing.T) string { c := claims(); c.Audience, c.ID = []string{"x"}, "bad"; return sign(t, c) }, nil, stream.InvalidAudience},
		"another key": {func(t *testing.T) string {
			c := claims()
			c.ID = "bad"
			payload, _ := c.Marshal()
			compact, _ := stranger.Sign(payload)
			return compact
		}, nil, stream.InvalidKey},
		"another name": {func(t *testing.T) string { return signed(t, "other") }, nil, stream.InvalidRequest},
		"access":       {func(t *testing.T) string { return signed(t, "bad") }, &receiver.Refusal{Err: stream.AccessDenied, Description: "no"}, stream.AccessDenied},
		"clash":        {func(t *testing.T) string { return signed(t, "bad") }, receiver.ErrClash, stream.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, b := &pollPeer{hold: time.Minute}, new(box)
				b.refuse = func(jti string) error {
					if jti == "bad" {
						return c.keep
					}
					return nil
				}
				for i := range 99 {
					peer.put(fmt.Sprintf("j%02d", i), signed(t, fmt.Sprintf("j%02d", i)))
				}
				peer.put("bad", c.bad(t))
				stop := running(t, newPoller(t, peer, b))
				synctest.Wait()
				got := peer.refused["bad"]
				if len(peer.acked) != 99 || len(peer.refused) != 1 || got.Err != c.want || got.Description == "" {
					t.Errorf("acknowledged %d, refused %v", len(peer.acked), peer.refused)
				}
				if peer.heads[1].Get("Content-Language") != "en" || peer.heads[0].Get("Content-Language") != "" {
					t.Errorf("languages %q, %q", peer.heads[0].Get("Content-Language"), peer.heads[1].Get("Content-Language"))
				}
				stop()
			})
		})
	}
}

func TestPollerWrongState(t *testing.T) {
	req.Covers(t, "RX-41", "RX-42")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{hold: time.Minute}, new(box)
		for jti, payload := range map[string]string{"wrong": `{"state":"x"}`, "none": `{}`} {
			c := claims()
			c.ID, c.SubID = jti, json.RawMessage(`{"format":"opaque","id":"`+streamID+`"}`)
			c.Events = []set.Event{{Type: ssf.VerificationURI, Payload: json.RawMessage(payload)}}
			peer.put(jti, sign(t, c))
		}
		p := newPoller(t, peer, b)
		p.Handler.Verification = func(_ context.Context, state string, has bool) error { return receiver.ErrState }
		stop := running(t, p)
		synctest.Wait()
		if peer.refused["wrong"].Err != stream.InvalidState || !slices.Equal(peer.acked, []string{"none"}) {
			t.Errorf("refused %v, acknowledged %v", peer.refused, peer.acked)
		}
		stop()
	})
}

func TestPollerLeavesWhatItCannotKeep(t *testing.T) {
	req.Covers(t, "RX-88", "RX-81")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{hold: time.Minute}, new(box)
		var full atomic.Bool
		full.Store(true)
		b.refuse = func(jti string) error {
			if full.Load() && jti == "j2" {
				return &receiver.Busy{RetryAfter: 20 * time.Second, Err: errors.New("disk full")}
			}
			if full.Load() && jti == "j3" {
				panic("a bug")
			}
			return nil
		}
		for _, jti := range []string{"j1", "j2", "j3"} {
			peer.put(jti, signed(t, jti))
		}
		stop := running(t, newPoller(t, peer, b))
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if peer.polls() != 1 || len(peer.refused) != 0 {
			t.Errorf("%d polls, refused %v", peer.polls(), peer.refused)
		}
		full.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if slices.Sort(peer.acked); !slices.Equal(peer.acked, []string{"j1", "j2", "j3"}) || len(peer.refused) != 0 {
			t.Errorf("acknowledged %v, refused %v", peer.acked, peer.refused)
		}
		stop()
	})
}

// A transmitter that does not like what a poll says of SETs must not keep us from the SETs.
// spaces never ends.
func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// What a Poller remembers is bounded by one answer.
// Poll delivery of a stream, from its create answer on.

// A transmitter that answers with far more SETs than it was asked for, or with names without end, has us answer for no more
// than that; the rest comes again, and none is lost.
func TestPollerTakesNoMoreThanAskedFor(t *testing.T) {
	peer, b := &pollPeer{waiting: map[string]string{}}, &box{}
	p := newPoller(t, peer, b)
	p.MaxEvents = 10
	sets := map[string]string{strings.Repeat("a", 1<<20): "x"}
	for i := range 20_000 {
		sets[fmt.Sprint("j", i)] = "x"
	}
	flood, err := json.Marshal(stream.PollResponse{Sets: sets})
	if err != nil {
		t.Fatal(err)
	}
	peer.answers = []func(*http.Request) *http.Response{func(*http.Request) *http.Response { return say(200, string(flood)) }}
	n, more, err := p.Once(t.Context())
	if err != nil || n != 10 || !more {
		t.Errorf("%d taken, more %v, %v", n, more, err)
	}
	if said, _ := peer.asked[len(peer.asked)-1]["setErrs"].(map[string]any); len(said) != 10 {
		t.Errorf("%d SETs were answered for", len(said))
	}
	// What is good among too many comes with later polls.
	for i := range 25 {
		peer.put(fmt.Sprint("good", i), signed(t, fmt.Sprint("good", i)))
	}
	for range 5 {
		if _, _, err := p.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.kept) != 25 || len(peer.waiting) != 0 {
		t.Errorf("%d kept, %d left there", len(b.kept), len(peer.waiting))
	}
	req.Covers(t, "RX-88")
}
