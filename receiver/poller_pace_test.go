package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

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

type spaces struct{}

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
