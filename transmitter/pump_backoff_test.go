package transmitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

// TestBackoff watches the clock: a bubble with a transport that is no network.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var tries []time.Time
		failing := true
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.Sweep = time.Hour
		cfg.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Now())
			if failing {
				return nil, errors.New("connection refused")
			}
			return answer(202), nil
		})
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		mustSend(t, x, message("alice"))
		synctest.Wait()
		for range 99 { // of a dead receiver: one probe at a time, whatever waits
			mustSend(t, x, message("bob"))
		}
		time.Sleep(24 * time.Hour)
		mu.Lock()
		n := len(tries)
		if n < 24*60/5 || n > 2*24*60 {
			t.Fatalf("%d tries in a day", n)
		}
		longest := time.Duration(0)
		for i := 1; i < n; i++ {
			longest = max(longest, tries[i].Sub(tries[i-1]))
			if gap := tries[i].Sub(tries[i-1]); i < 8 && gap > time.Second<<(i-1)+10*time.Millisecond {
				t.Errorf("after %d failures it waited %v", i, gap)
			}
		}
		if longest > 5*time.Minute+time.Second || longest < 4*time.Minute {
			t.Errorf("the longest wait is %v", longest)
		}
		got, _ := store.Stream(t.Context(), "a", "s1")
		if got.Trouble.Fails != n || got.Trouble.Open {
			t.Errorf("trouble %+v after %d tries", got.Trouble, n)
		}
		if c := count(t, store, st); c != (transmitter.Counts{Waiting: 100}) {
			t.Errorf("given up by count: %+v", c)
		}
		failing = false
		mu.Unlock()
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 100}) {
			t.Errorf("after recovery: %+v", c)
		}
		got, _ = store.Stream(t.Context(), "a", "s1")
		if got.Trouble != (transmitter.Trouble{}) || len(x.Pump.Troubled()) != 0 {
			t.Errorf("trouble stays: %+v", got.Trouble)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		req.Covers(t, "TX-168")
	})
}

func TestBackoffSurvivesARestartAndEndsWithAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.Sweep = time.Hour
		cfg.Transport = roundTripper(func(*http.Request) (*http.Response, error) { tries.Add(1); return answer(401), nil })
		st := putStream(t, store, "s1", "https://r.example/in")
		run := func(x *transmitter.Transmitter) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- x.Run(ctx) }()
			synctest.Wait()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		x := newTransmitter(t, cfg)
		stop := run(x)
		mustSend(t, x, message("alice"))
		time.Sleep(time.Second)
		stop()
		if tries.Load() != 1 {
			t.Fatalf("%d tries", tries.Load())
		}
		x = newTransmitter(t, cfg)
		stop = run(x)
		time.Sleep(time.Minute)
		if tries.Load() != 1 {
			t.Errorf("the restart forgot the back-off: %d tries", tries.Load())
		}
		// The receiver puts its stream right: it is tried at once.
		r := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a",
			body: `{"stream_id":"s1","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/new"}}`})
		if r.StatusCode != 200 {
			t.Fatal(text(t, r))
		}
		synctest.Wait()
		if tries.Load() != 2 {
			t.Errorf("after the change: %d tries", tries.Load())
		}
		if c := count(t, store, st); c.Waiting != 1 {
			t.Errorf("%+v", c)
		}
		stop()
	})
}

// TestRetryAfter gives both forms of the header, and more than is obeyed.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		name     string
		value    func(now time.Time) string
		min, max time.Duration
	}{
		{"seconds", func(time.Time) string { return "120" }, 120 * time.Second, 133 * time.Second},
		{"a date", func(now time.Time) string { return now.Add(10 * time.Minute).UTC().Format(http.TimeFormat) }, 599 * time.Second, 611 * time.Second},
		{"a date that is over", func(now time.Time) string { return now.Add(-time.Hour).UTC().Format(http.TimeFormat) }, 0, 2 * time.Second},
		{"a day", func(time.Time) string { return "86400" }, time.Hour, time.Hour + 11*time.Second},
		{"more than fits", func(time.Time) string { return "99999999999999999999999" }, time.Hour, time.Hour + 11*time.Second},
		{"more seconds than a duration has", func(time.Time) string { return "9300000000" }, time.Hour, time.Hour + 11*time.Second},
		{"negative", func(time.Time) string { return "-5" }, 0, 2 * time.Second},
		{"words", func(time.Time) string { return "soon" }, 0, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(transmitter.Memory)
				w := &wire{tell: func(_ delivery, n int) (*http.Response, error) {
					if n > 1 {
						return answer(202), nil
					}
					r := answer(429)
					r.Header.Set("Retry-After", test.value(time.Now()))
					return r, nil
				}}
				x := newTransmitter(t, onWire(store, w))
				putStream(t, store, "s1", "https://r.example/in")
				defer begin(t, x)()
				send(t, x, "alice")
				time.Sleep(2 * time.Hour)
				got := w.pushes()
				if len(got) != 2 {
					t.Fatalf("%d pushes", len(got))
				}
				if wait := got[1].at.Sub(got[0].at); wait < test.min || wait > test.max {
					t.Errorf("tried again after %v", wait)
				}
				if got[0].token != got[1].token {
					t.Error("the bytes differ")
				}
				req.Covers(t, "TX-168")
			})
		})
	}
}

// TestAChangeIsUsedByTheNextTry changes address and credential while SETs wait behind an open breaker.
func TestAChangeIsUsedByTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(d delivery, _ int) (*http.Response, error) {
			if d.authorization != "Bearer fresh" {
				r := answer(401)
				r.Header.Set("WWW-Authenticate", `Bearer realm="r", error="invalid_token", error_description="it is over"`)
				return r, nil
			}
			return answer(202), nil
		}}
		x := newTransmitter(t, onWire(store, w))
		id := create(t, x, "token-a", createBody("https://r.example/in"))
		defer begin(t, x)()
		for range 20 {
			send(t, x, "alice")
		}
		time.Sleep(time.Second)
		v := view(t, x, id)
		if len(w.pushes()) != 1 || !v.Stream.Trouble.Open {
			t.Fatalf("%d tries, %+v", len(w.pushes()), v.Stream.Trouble)
		}
		if want := "the receiver answers 401 invalid_token: check the authorization_header of the stream"; v.Stream.Trouble.Reason != want {
			t.Errorf("reason %q", v.Stream.Trouble.Reason)
		}
		r := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a",
			body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://new.example/set","authorization_header":"Bearer fresh"}}`})
		if r.StatusCode != 200 {
			t.Fatal(text(t, r))
		}
		time.Sleep(time.Second)
		got := w.pushes()
		if len(got) != 21 {
			t.Fatalf("%d pushes", len(got))
		}
		for _, d := range got[1:] {
			if d.authorization != "Bearer fresh" || d.host != "new.example" || d.path != "/set" {
				t.Errorf("pushed to %s%s with %q", d.host, d.path, d.authorization)
			}
		}
		req.Covers(t, "TX-163")
	})
}

// TestManyFailingStreams is about what a failure costs: each stream is looked at when its own time has come.
func TestManyFailingStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(delivery, int) (*http.Response, error) { return nil, errors.New("refused") }}
		cfg := onWire(store, w)
		cfg.Sweep = time.Hour
		x := newTransmitter(t, cfg)
		for i := range 200 {
			putStream(t, store, fmt.Sprintf("s%d", i), "https://r.example/in")
		}
		defer begin(t, x)()
		mustSend(t, x, message("alice"))
		time.Sleep(time.Hour)
		n := len(w.pushes())
		if n < 200*12 || n > 200*80 {
			t.Errorf("%d tries in an hour", n)
		}
		if len(x.Pump.Troubled()) != 200 {
			t.Errorf("%d in trouble", len(x.Pump.Troubled()))
		}
	})
}
