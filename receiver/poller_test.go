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

func TestPollerDoesNotSpin(t *testing.T) {
	req.Covers(t, "RX-95", "Q-54", "Q-58", "Q-60")
	t.Run("a transmitter that holds no polls", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			peer := &pollPeer{}
			p := newPoller(t, peer, new(box))
			p.Interval = 4 * time.Second
			stop := running(t, p)
			time.Sleep(10 * time.Minute)
			if n := peer.polls(); n < 600/4 || n > 2*600/2+10 {
				t.Errorf("%d polls in ten minutes, at most 4 s apart with jitter", n)
			}
			for i := 1; i < len(peer.at); i++ {
				if d := peer.at[i].Sub(peer.at[i-1]); d > 4*time.Second {
					t.Errorf("a pause of %s", d)
				}
			}
			stop()
		})
	})
	t.Run("a transmitter that says more without giving any", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			peer := &pollPeer{}
			for range 10_000 {
				peer.answers = append(peer.answers, func(*http.Request) *http.Response { return say(200, `{"sets":{},"moreAvailable":true}`) })
			}
			stop := running(t, newPoller(t, peer, new(box)))
			time.Sleep(10 * time.Minute)
			if n := peer.polls(); n > 100 {
				t.Errorf("%d polls in ten minutes", n)
			}
			stop()
		})
	})
	t.Run("a transmitter that forgets what it was told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			peer, b := &pollPeer{stubborn: true}, new(box)
			peer.put("bad", "not.a.token")
			stop := running(t, newPoller(t, peer, b))
			time.Sleep(10 * time.Minute)
			if n := peer.polls(); n < 10 || n > 100 {
				t.Errorf("%d polls in ten minutes", n)
			}
			stop()
		})
	})
}

func TestPollerBacksOff(t *testing.T) {
	req.Covers(t, "RX-96")
	for name, c := range map[string]struct {
		answer   func(*http.Request) *http.Response
		at       time.Duration // when the second poll comes at the latest and
		notUntil time.Duration
	}{
		"reset":     {func(*http.Request) *http.Response { return nil }, time.Second, 0},
		"trouble":   {func(*http.Request) *http.Response { return say(500, "") }, time.Second, 0},
		"forbidden": {func(*http.Request) *http.Response { return say(403, "") }, time.Second, 0},
		"gone":      {func(*http.Request) *http.Response { return say(404, "") }, time.Second, 0},
		"web page":  {func(*http.Request) *http.Response { return say(200, "<html>", "Content-Type", "text/html") }, time.Second, 0},
		"limited":   {func(*http.Request) *http.Response { return say(429, "", "Retry-After", "90") }, 90 * time.Second, 90 * time.Second},
		"until": {func(*http.Request) *http.Response {
			return say(503, "", "Retry-After", time.Now().Add(2*time.Minute).UTC().Format(http.TimeFormat))
		}, 121 * time.Second, 119 * time.Second},
		"a long wait": {func(*http.Request) *http.Response { return say(503, "", "Retry-After", "99999999") }, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer := &pollPeer{hold: time.Hour, answers: []func(*http.Request) *http.Response{c.answer}}
				p := newPoller(t, peer, new(box))
				p.Timeout = 2 * time.Hour
				var failed error
				p.Polled = func(n int, err error) { failed = errors.Join(failed, err) }
				stop := running(t, p)
				time.Sleep(c.at + time.Millisecond)
				synctest.Wait()
				if peer.polls() != 2 || peer.at[1].Sub(peer.at[0]) < c.notUntil || failed == nil {
					t.Errorf("%d polls, at %v, %v", peer.polls(), peer.at, failed)
				}
				stop()
			})
		})
	}
	t.Run("with jitter, doubling, to five minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			peer := new(pollPeer)
			for range 1000 {
				peer.answers = append(peer.answers, func(*http.Request) *http.Response { return say(502, "") })
			}
			stop := running(t, newPoller(t, peer, new(box)))
			time.Sleep(24 * time.Hour)
			n := peer.polls()
			if n < 24*12 || n > 3*24*12 { // full jitter: half of five minutes on average
				t.Errorf("%d polls in a day", n)
			}
			pauses := map[time.Duration]bool{}
			for i := 1; i < len(peer.at); i++ {
				d := peer.at[i].Sub(peer.at[i-1])
				if pauses[d] = true; d > 5*time.Minute || i < 5 && d > time.Second<<(i-1) {
					t.Errorf("pause %d is %s", i, d)
				}
			}
			if len(pauses) < n/2 {
				t.Error("the pauses are alike")
			}
			stop()
		})
	})
}

// A transmitter that does not like what a poll says of SETs must not keep us from the SETs.
func TestPollerForgetsWhatIsRefused(t *testing.T) {
	req.Covers(t, "RX-96")
	synctest.Test(t, func(t *testing.T) {
		peer, b := &pollPeer{hold: time.Minute}, new(box)
		peer.put("j1", signed(t, "j1"))
		peer.answers = []func(*http.Request) *http.Response{nil, func(*http.Request) *http.Response { return say(400, `{"err":"who knows"}`) }}
		stop := running(t, newPoller(t, peer, b))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if _, has := peer.asked[2]["ack"]; has || !slices.Equal(peer.acked, []string{"j1"}) || b.calls != 2 {
			t.Errorf("third poll %v, acknowledged %v, Keep called %d times", peer.asked[2], peer.acked, b.calls)
		}
		stop()
	})
}

func TestPollerAsksForFewerAfterTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := &pollPeer{hold: time.Minute}
		peer.answers = []func(*http.Request) *http.Response{
			func(*http.Request) *http.Response {
				r := say(200, "")
				r.Body = io.NopCloser(io.LimitReader(spaces{}, stream.MaxPollAnswer+10))
				return r
			},
		}
		stop := running(t, newPoller(t, peer, new(box)))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if peer.asked[0]["maxEvents"] != 100.0 || peer.asked[1]["maxEvents"] != 50.0 || peer.asked[2]["maxEvents"] != 100.0 {
			t.Errorf("asked for %v, %v, %v", peer.asked[0]["maxEvents"], peer.asked[1]["maxEvents"], peer.asked[2]["maxEvents"])
		}
		stop()
	})
}

// spaces never ends.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestPollerIsOne(t *testing.T) {
	req.Covers(t, "RX-97")
	synctest.Test(t, func(t *testing.T) {
		peer := &pollPeer{hold: time.Minute}
		p := newPoller(t, peer, new(box))
		stop := running(t, p)
		synctest.Wait()
		if _, _, err := p.Once(t.Context()); !errors.Is(err, receiver.ErrPolling) {
			t.Errorf("Once beside Run: %v", err)
		}
		if err := p.Run(t.Context()); !errors.Is(err, receiver.ErrPolling) {
			t.Errorf("Run beside Run: %v", err)
		}
		stop()
		if err := (&receiver.Poller{Client: p.Client, Handler: p.Handler}).Run(t.Context()); !errors.Is(err, receiver.ErrUnsupported) {
			t.Errorf("no address: %v", err)
		}
		if err := (&receiver.Poller{URL: p.URL}).Run(t.Context()); err == nil {
			t.Error("nothing to poll with")
		}
	})
}

func TestPollerShowsItsCredential(t *testing.T) {
	req.Covers(t, "RX-98", "RX-22", "Q-54/token")
	cfg := &stream.Configuration{Delivery: &stream.Delivery{Method: receiver.OldPollMethod, EndpointURL: "https://idp.example.test/poll/1?x=%2F", AuthorizationHeader: "Token poll-1"}}
	for name, c := range map[string]struct {
		quirks receiver.Quirks
		want   string
	}{"strict": {receiver.Quirks{}, "Bearer token-1"}, "quirk": {receiver.Quirks{PollToken: true}, "Token poll-1"}} {
		t.Run(name, func(t *testing.T) {
			peer := new(pollPeer)
			var at string
			client := &receiver.Client{Quirks: c.quirks, Credential: receiver.Bearer("token-1"), HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				at = r.URL.String()
				return peer.RoundTrip(r)
			})}}
			p, err := receiver.NewPoller(client, cfg, newBench(t).handler)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := peer.heads[0].Get("Authorization"); got != c.want || at != cfg.Delivery.EndpointURL {
				t.Errorf("showed %q at %q", got, at)
			}
		})
	}
	for _, d := range []*stream.Delivery{nil, {Method: stream.PushMethod, EndpointURL: "https://x"}, {Method: stream.PollMethod}} {
		if _, err := receiver.NewPoller(&receiver.Client{}, &stream.Configuration{Delivery: d}, nil); !errors.Is(err, receiver.ErrUnsupported) {
			t.Errorf("%v: %v", d, err)
		}
	}
	// A certificate that nobody vouches for is refused (RFC 8936 §4.3).
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	tls.Config.ErrorLog = nil
	p := &receiver.Poller{Client: &receiver.Client{}, URL: tls.URL, Handler: newBench(t).handler, Log: slog.New(slog.DiscardHandler)}
	if _, _, err := p.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What a Poller remembers is bounded by one answer.
func TestPollerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		good := signed(t, "j")
		peer := roundTrip(func(r *http.Request) (*http.Response, error) {
			if n++; n > 300 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			body, _ := io.ReadAll(r.Body)
			if len(body) > 3000 {
				t.Fatalf("poll %d has %d bytes", n, len(body))
			}
			sets := map[string]string{}
			for i := range 10 {
				sets[fmt.Sprint(n, "-", i)] = "bad.bad.bad"
			}
			sets["j"] = good
			out, _ := json.Marshal(stream.PollResponse{Sets: sets})
			return say(200, string(out)), nil
		})
		p := newPoller(t, new(pollPeer), new(box))
		p.Client.HTTP = &http.Client{Transport: peer}
		stop := running(t, p)
		synctest.Wait()
		if n != 301 {
			t.Errorf("%d polls", n)
		}
		stop()
	})
}

func FuzzPollAnswer(f *testing.F) {
	good := signed(f, "j1")
	f.Add([]byte(`{"sets":{"j1":"`+good+`"},"moreAvailable":true}`), 200)
	f.Add([]byte(`{"sets":{"j2":"`+good+`","j1":"a.b.c"}}`), 200)
	f.Add([]byte(`{"sets":{"j1":"`+good+`","j1":""}}`), 202)
	f.Add([]byte(`{"sets":null}`), 200)
	f.Add([]byte(`{"sets":[]}`), 200)
	f.Add([]byte(`{"sets":{"":""},"moreAvailable":"yes"}`), 200)
	f.Add([]byte(``), 204)
	f.Add([]byte(`[{"sets":{}}]`), 500)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if status < 200 || status > 599 {
			status = 200
		}
		var acked []string
		told := 0
		calls := 0
		b := new(box)
		p := newPoller(t, new(pollPeer), b)
		p.Client.HTTP = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			var in stream.PollRequest
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Fatal(err)
			}
			if calls == 1 {
				return say(status, string(body)), nil
			}
			acked, told = in.Ack, len(in.Ack)+len(in.SetErrs)
			for jti, wrong := range in.SetErrs {
				if wrong.Err == "" || wrong.Description == "" {
					t.Errorf("%q is refused with %v", jti, wrong)
				}
			}
			return say(200, `{"sets":{}}`), nil
		})}
		n, _, err := p.Once(t.Context())
		if calls > 2 || err == nil && told != n {
			t.Errorf("%d calls, %d SETs, %d answered for, %v", calls, n, told, err)
		}
		for _, jti := range acked {
			if jti != "j1" || !b.has("j1") {
				t.Errorf("%q is acknowledged", jti)
			}
		}
	})
}

// Poll delivery of a stream, from its create answer on.
func ExamplePoller() {
	transmitter := &pollPeer{waiting: map[string]string{"j1": "not.a.token"}}
	client := &receiver.Client{HTTP: &http.Client{Transport: transmitter}, Credential: receiver.Bearer("from-the-operator")}
	made := &stream.Configuration{ // what Create gave
		StreamID: "s1", Delivery: &stream.Delivery{Method: stream.PollMethod, EndpointURL: "https://idp.example.test/poll/s1"},
	}
	handler := &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			return &set.Policy{Issuer: "https://idp.example.test", Audience: []string{"https://app.example.com"}, Keys: set.StaticKeys{}}, nil
		},
		Keep: func(context.Context, *receiver.Delivery) error { return nil }, // write it to a table
	}
	poller, err := receiver.NewPoller(client, made, handler)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, more, err := poller.Once(context.Background()) // in a program: go poller.Run(ctx)
	fmt.Println(n, more, err, transmitter.refused["j1"].Err)
	// Output: 1 false <nil> invalid_request
}
