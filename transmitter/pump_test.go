package transmitter_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// push makes a transmitter that delivers to r, with one stream.
func push(t *testing.T, r *ssftest.Receiver, adjust func(*transmitter.Config)) (*transmitter.Transmitter, *transmitter.Memory, *transmitter.Stream) {
	t.Helper()
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	if adjust != nil {
		adjust(&cfg)
	}
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", r.URL)
	running(t, x)
	return x, store, st
}

func count(t testing.TB, s transmitter.Store, st *transmitter.Stream) transmitter.Counts {
	t.Helper()
	c, err := s.Counts(t.Context(), st.Key)
	if err != nil {
		t.Fatal(err)
	}
	c.Oldest = 0 // compared as a whole
	return c
}

func TestPushIsWhatTheStandardsSay(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", createBody(r.URL))
	running(t, x)
	m := message("alice")
	m.TXN, m.TimeOfEvent = "txn-1", 1_699_999_999
	sent := mustSend(t, x, m)
	if len(sent.Queued) != 1 || sent.Queued[0].StreamID != id || sent.TXN != "txn-1" {
		t.Fatalf("sent: %+v", sent)
	}
	p := r.Wait(t, 1)[0]
	if p.Method != "POST" || p.Header.Get("Content-Type") != "application/secevent+jwt" || p.Header.Get("Accept") != "application/json" {
		t.Errorf("%s %v", p.Method, p.Header)
	}
	if p.Header.Get("Authorization") != "Bearer push-secret" || p.Header["Idempotency-Key"] != nil {
		t.Errorf("headers %v", p.Header)
	}
	req.Covers(t, "TX-161", "TX-163", "P-19", "P-79")

	token, err := set.Verify(t.Context(), p.Token, &set.Policy{Issuer: issuer, Audience: []string{"https://ssf.example/t/blue/streams/" + id},
		Algorithms: []set.Algorithm{set.ES256}, Keys: set.StaticKeys{ssftest.Signer(set.ES256, "es-1").Public()}, ExactType: true, RequireKeyID: true})
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims()
	if c.ID != sent.Queued[0].JTI || c.IssuedAt != sent.Queued[0].IssuedAt || c.TXN != "txn-1" || c.TimeOfEvent != 1_699_999_999 || len(c.Events) != 1 {
		t.Errorf("claims %+v", c)
	}
	if c.IssuedAt > time.Now().Unix() {
		t.Error("iat is in the future")
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(token.Payload(), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != nil || claims["exp"] != nil || string(claims["sub_id"]) != `{"format":"email","email":"alice@example.com"}` ||
		string(claims["events"]) != `{"`+sessionRevoked+`":{"event_timestamp":1700000000,"reason_admin":{"en":"test"}}}` {
		t.Errorf("payload %s", token.Payload())
	}
	req.Covers(t, "TX-140", "TX-141", "TX-142", "TX-143", "TX-144", "TX-145", "TX-148", "TX-149", "TX-150", "TX-151", "TX-152", "TX-154", "TX-158", "TX-159", "IOP-31", "P-38", "P-39", "P-51")
	eventually(t, "the row is gone", func() bool { return store.CountsOf(id) == transmitter.Counts{Delivered: 1} })
	req.Covers(t, "TX-103", "TX-166")
}

func TestNoAuthorizationWhereNoneIsConfigured(t *testing.T) {
	r := ssftest.NewReceiver(t)
	x, _, _ := push(t, r, nil)
	mustSend(t, x, message("alice"))
	if p := r.Wait(t, 1)[0]; p.Header["Authorization"] != nil {
		t.Errorf("Authorization %q", p.Header["Authorization"])
	}
	req.Covers(t, "TX-164", "P-20")
}

func TestVerificationIsDelivered(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", createBody(r.URL))
	running(t, x)
	for _, body := range []string{`{"stream_id":"` + id + `","state":"a \"b\" ü"}`, `{"stream_id":"` + id + `"}`} {
		if a := do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: body}); a.StatusCode != 204 {
			t.Fatal(a.StatusCode)
		}
	}
	const typ = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	var events []string
	for _, p := range r.Wait(t, 2) {
		c := p.Set.Claims()
		if string(c.SubID) != `{"format":"opaque","id":"`+id+`"}` || c.Events[0].Type != typ {
			t.Errorf("claims %+v", c)
		}
		events = append(events, string(c.Events[0].Payload))
	}
	if !slices.Equal(events, []string{`{"state":"a \"b\" ü"}`, `{}`}) {
		t.Errorf("events %q", events)
	}
	req.Covers(t, "TX-124", "TX-126", "TX-127", "TX-128", "TX-129", "TX-131", "TX-132", "TX-134", "IOP-11", "IOP-18", "P-68", "P-71", "P-74")
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer ssftest.Answer
		dead   string // reason of the dead letter; empty: no dead letter
		open   bool   // the breaker is open
		fails  bool   // back-off
		covers []string
	}{
		{name: "202", answer: ssftest.Answer{}, covers: []string{"TX-166"}},
		{name: "200", answer: ssftest.Answer{Status: 200, Body: strings.NewReader("ok")}, covers: []string{"TX-170", "P-75"}},
		{name: "204", answer: ssftest.Answer{Status: 204}, covers: []string{"TX-170"}},
		{name: "invalid_request", answer: ssftest.Answer{Status: 400, Err: "invalid_request", Text: "no\\u001b[31m sub"}, dead: "HTTP 400 invalid_request: no[31m sub", covers: []string{"TX-167", "TX-169"}},
		{name: "invalid_state", answer: ssftest.Answer{Status: 400, Err: "invalid_state"}, dead: "HTTP 400 invalid_state", covers: []string{"TX-169"}},
		{name: "400 without err", answer: ssftest.Answer{Status: 400}, dead: "HTTP 400"},
		{name: "413", answer: ssftest.Answer{Status: 413}, dead: "HTTP 413"},
		{name: "invalid_key", answer: ssftest.Answer{Status: 400, Err: "invalid_key"}, open: true, covers: []string{"TX-169", "P-83"}},
		{name: "invalid_issuer", answer: ssftest.Answer{Status: 400, Err: "invalid_issuer"}, open: true},
		{name: "invalid_audience", answer: ssftest.Answer{Status: 400, Err: "invalid_audience"}, open: true},
		{name: "authentication_failed", answer: ssftest.Answer{Status: 400, Err: "authentication_failed"}, open: true, covers: []string{"TX-169"}},
		{name: "access_denied", answer: ssftest.Answer{Status: 400, Err: "access_denied"}, open: true, covers: []string{"TX-169"}},
		{name: "401", answer: ssftest.Answer{Status: 401}, open: true, covers: []string{"TX-169"}},
		{name: "403", answer: ssftest.Answer{Status: 403}, open: true, covers: []string{"TX-169"}},
		{name: "404", answer: ssftest.Answer{Status: 404}, open: true},
		{name: "redirect", answer: ssftest.Answer{Status: 307, Header: http.Header{"Location": {"/elsewhere"}}}, open: true, covers: []string{"TX-174"}},
		{name: "429", answer: ssftest.Answer{Status: 429, Header: http.Header{"Retry-After": {"3000"}}}, fails: true, covers: []string{"TX-169"}},
		{name: "500", answer: ssftest.Answer{Status: 500, Body: strings.NewReader(strings.Repeat("x", 1<<17))}, fails: true, covers: []string{"TX-169"}},
		{name: "503", answer: ssftest.Answer{Status: 503, Header: http.Header{"Retry-After": {"3000"}}}, fails: true},
		{name: "reset", answer: ssftest.Answer{Reset: true}, fails: true, covers: []string{"TX-169"}},
		{name: "silence", answer: ssftest.Answer{Hang: true}, fails: true, covers: []string{"TX-174"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := ssftest.NewReceiver(t)
			r.Always(test.answer)
			x, store, st := push(t, r, func(c *transmitter.Config) { c.Timeout = 300 * time.Millisecond })
			mustSend(t, x, message("alice"))
			switch {
			case test.dead != "":
				eventually(t, "set aside", func() bool { return count(t, store, st).Dead == 1 })
				dead, _ := store.Dead(t.Context(), st.Key, 1)
				if dead[0].Reason != test.dead || dead[0].Status != test.answer.Status {
					t.Errorf("reason %q, status %d", dead[0].Reason, dead[0].Status)
				}
				r.Always(ssftest.Answer{})
				mustSend(t, x, message("alice")) // the stream goes on
				eventually(t, "the next is delivered", func() bool { return count(t, store, st) == transmitter.Counts{Delivered: 1, Dead: 1} })
			case test.open, test.fails:
				eventually(t, "back-off is kept", func() bool {
					got, err := store.Stream(t.Context(), "a", "s1")
					return err == nil && got.Trouble.Fails > 0
				})
				got, _ := store.Stream(t.Context(), "a", "s1")
				if got.Trouble.Open != test.open || got.Trouble.Reason == "" || got.Trouble.Since == 0 {
					t.Errorf("trouble %+v", got.Trouble)
				}
				if wait := time.Until(got.Trouble.Next.Time()); test.open && (wait < 2*time.Minute || wait > 5*time.Minute) {
					t.Errorf("an open breaker probes in %v", wait)
				}
				if wait := time.Until(got.Trouble.Next.Time()); test.answer.Header.Get("Retry-After") != "" && (wait < 40*time.Minute || wait > time.Hour) {
					t.Errorf("Retry-After of 3000 s gives %v", wait)
				}
				if c := count(t, store, st); c != (transmitter.Counts{Waiting: 1}) {
					t.Errorf("something was dropped: %+v", c)
				}
				if trouble := x.Pump.Troubled()["s1"]; trouble.Fails == 0 {
					t.Error("Troubled does not name the stream")
				}
				for _, p := range r.Pushes() {
					if p.Path == "/elsewhere" {
						t.Error("the redirect was followed")
					}
				}
			default:
				eventually(t, "delivered", func() bool { return count(t, store, st) == transmitter.Counts{Delivered: 1} })
			}
			req.Covers(t, test.covers...)
		})
	}
}

func TestARepeatHasTheSameSigningInput(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Answer(ssftest.Answer{Status: 500})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	cfg.Signers = []*set.Signer{ssftest.Signer(set.RS256, "rs-1")}
	x := newTransmitter(t, cfg)
	putStream(t, store, "s1", r.URL)
	stop := running(t, x)
	mustSend(t, x, message("alice"))
	r.Wait(t, 1)
	stop()

	// Another life, with a new default key: the row still names the old one.
	if err := store.Backoff(t.Context(), 1, transmitter.Trouble{}); err != nil {
		t.Fatal(err)
	}
	cfg.Signers = []*set.Signer{ssftest.Signer(set.RS256, "rs-2"), ssftest.Signer(set.RS256, "rs-1")}
	running(t, newTransmitter(t, cfg))
	got := r.Wait(t, 2)
	if got[0].Token != got[1].Token {
		t.Errorf("the repeat differs:\n%s\n%s", got[0].Token, got[1].Token)
	}
	req.Covers(t, "TX-30", "TX-157", "P-41", "P-44", "P-82")
}

func TestAMissingKeyDropsNothing(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	st := putStream(t, store, "s1", r.URL)
	mustSend(t, newTransmitter(t, cfg), message("alice"))
	cfg.Signers = []*set.Signer{ssftest.Signer(set.ES256, "es-2")}
	x := newTransmitter(t, cfg)
	running(t, x)
	eventually(t, "trouble", func() bool { return x.Pump.Troubled()["s1"].Open })
	if c := count(t, store, st); c.Waiting != 1 || len(r.Pushes()) != 0 {
		t.Errorf("%+v, %d pushes", c, len(r.Pushes()))
	}
}

func TestWhatWaitedIsDeliveredAfterAStart(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	st := putStream(t, store, "s1", r.URL)
	before := newTransmitter(t, cfg)
	for i := range 500 { // many more than fit in memory
		mustSend(t, before, message(fmt.Sprintf("u%d", i)))
	}
	running(t, newTransmitter(t, cfg))
	eventually(t, "all delivered", func() bool { return count(t, store, st) == transmitter.Counts{Delivered: 500} })
	seen := map[string]bool{}
	for _, p := range r.Pushes() {
		seen[p.Set.Claims().ID] = true
	}
	if len(seen) != 500 || len(r.Pushes()) != 500 {
		t.Errorf("%d pushes of %d SETs", len(r.Pushes()), len(seen))
	}
}

func TestRowsOfAnotherProcessAreFound(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	cfg.Sweep = 10 * time.Millisecond
	running(t, newTransmitter(t, cfg))
	other := newTransmitter(t, cfg) // has a memory of its own and does not run
	create(t, other, "token-a", createBody(r.URL))
	mustSend(t, other, message("alice"))
	r.Wait(t, 1)
}

func TestPausedHoldsAndThenSends(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	cfg.Sweep = time.Hour
	x := newTransmitter(t, cfg)
	id := create(t, x, "token-a", createBody(r.URL))
	running(t, x)
	status := func(s string) {
		if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"` + s + `"}`}); a.StatusCode != 200 {
			t.Fatal(a.StatusCode)
		}
	}
	want := []string{mustSend(t, x, message("alice")).Queued[0].JTI}
	r.Wait(t, 1) // the pump runs
	eventually(t, "the lane is gone", func() bool { return x.Pump.Lanes() == 0 })
	status("paused")
	for range 20 {
		want = append(want, mustSend(t, x, message("alice")).Queued[0].JTI)
	}
	if n := len(r.Pushes()); n != 1 {
		t.Errorf("%d pushes while paused", n-1)
	}
	status("enabled")
	var got []string
	for _, p := range r.Wait(t, 21) {
		got = append(got, p.Set.Claims().ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order about one subject:\n%v\n%v", got, want)
	}
	req.Covers(t, "TX-104", "TX-105", "TX-173", "P-33")
}

func TestNeverTwoAboutOneSubjectInFlight(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Delay: 2 * time.Millisecond})
	var mu sync.Mutex
	flying, most := map[string]int{}, 0
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Window = 8
	cfg.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(q.Body)
		u, err := set.Parse(string(body))
		if err != nil {
			return nil, err
		}
		subject := string(u.Claims().SubID)
		mu.Lock()
		flying[subject]++
		most = max(most, flying[subject])
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		flying[subject]--
		mu.Unlock()
		return answer(202), nil
	})
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", r.URL)
	running(t, x)
	for i := range 120 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i%3)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 120 })
	if most != 1 {
		t.Errorf("%d SETs about one subject were in flight at once", most)
	}
	req.Covers(t, "TX-172", "TX-105")
}

func TestWindow(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Delay: 5 * time.Millisecond})
	x, store, st := push(t, r, func(c *transmitter.Config) { c.Window = 3 })
	for i := range 60 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 60 })
	if r.MostAtOnce() != 3 {
		t.Errorf("%d in flight at once", r.MostAtOnce())
	}
}

func TestAHungReceiverDelaysNobody(t *testing.T) {
	good, hung := ssftest.NewReceiver(t), ssftest.NewReceiver(t)
	hung.Always(ssftest.Answer{Hang: true})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = byHost{good.URL: good.Transport(), hung.URL: hung.Transport()}
	cfg.Timeout = 30 * time.Second
	x := newTransmitter(t, cfg)
	fine, stuck := putStream(t, store, "s1", good.URL), putStream(t, store, "s2", hung.URL)
	stop := running(t, x)
	begun := time.Now()
	for i := range 200 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "the good receiver has all", func() bool { return count(t, store, fine).Delivered == 200 })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if c := count(t, store, stuck); c != (transmitter.Counts{Waiting: 200}) || len(hung.Pushes()) > 8 {
		t.Errorf("the hung one: %+v after %d pushes", c, len(hung.Pushes()))
	}
	stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("stopping waited for the hung receiver: %v", took)
	}
}

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
		req.Covers(t, "TX-168", "TX-171")
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

// TestOutcomesAreKeptInTheEnd delivers while the store does not take outcomes: nothing is sent twice within one life.
func TestOutcomesAreKeptInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &forgetfulStore{Memory: new(transmitter.Memory), refuse: 5}
		var pushes atomic.Int64
		cfg := newConfig(store)
		cfg.Sweep = 10 * time.Millisecond
		cfg.Transport = roundTripper(func(*http.Request) (*http.Response, error) { pushes.Add(1); return answer(202), nil })
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		for range 10 {
			mustSend(t, x, message("alice"))
		}
		time.Sleep(time.Minute)
		if c := count(t, store, st); c.Delivered != 10 || pushes.Load() != 10 {
			t.Errorf("%+v after %d pushes", c, pushes.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestALateVisibleRowIsFound is the trap of engine §10.4: a row of lower seq appears after one of higher seq was
// delivered.
func TestALateVisibleRowIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &trapStore{Memory: new(transmitter.Memory)}
		var mu sync.Mutex
		var got []string
		delivered := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}
		cfg := newConfig(store)
		cfg.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(q.Body)
			u, err := set.Parse(string(body))
			if err != nil {
				return nil, err
			}
			mu.Lock()
			got = append(got, u.Claims().ID)
			mu.Unlock()
			return answer(202), nil
		})
		putStream(t, store, "s1", "https://r.example/in")
		writer := newTransmitter(t, cfg) // another process: nobody announces its rows
		first := mustSend(t, writer, message("alice")).Queued[0].JTI
		second := mustSend(t, writer, message("bob")).Queued[0].JTI
		store.hide(first)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- newTransmitter(t, cfg).Run(ctx) }()
		time.Sleep(3 * time.Second)
		if got := delivered(); !slices.Equal(got, []string{second}) {
			t.Fatalf("delivered %v", got)
		}
		store.hide("")
		time.Sleep(3 * time.Second)
		if got := delivered(); !slices.Equal(got, []string{second, first}) {
			t.Errorf("delivered %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSlowStreamsShareAQuarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		slow, mostSlow, start := 0, 0, time.Now()
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.InFlight = 40
		cfg.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			if q.URL.Host == "fast.example" {
				return answer(202), nil
			}
			mu.Lock()
			slow++
			late := time.Since(start) > 10*time.Second // every stream has been slow once
			if late {
				mostSlow = max(mostSlow, slow)
			}
			mu.Unlock()
			time.Sleep(2 * time.Second)
			mu.Lock()
			slow--
			mu.Unlock()
			return answer(202), nil
		})
		x := newTransmitter(t, cfg)
		for i := range 10 {
			putStream(t, store, fmt.Sprintf("slow%d", i), "https://slow.example/in")
		}
		fast := putStream(t, store, "fast", "https://fast.example/in")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- x.Run(ctx) }()
		for i := range 100 {
			mustSend(t, x, message(fmt.Sprintf("u%d", i)))
		}
		time.Sleep(30 * time.Second)
		mu.Lock()
		if mostSlow != 10 {
			t.Errorf("slow streams had %d of 40 places", mostSlow)
		}
		mu.Unlock()
		if c := count(t, store, fast); c.Delivered != 100 {
			t.Errorf("the fast one: %+v", c)
		}
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if keys, _ := store.Waiting(t.Context()); len(keys) != 0 {
			t.Errorf("%d streams still wait", len(keys))
		}
	})
}

func TestTriesAreReported(t *testing.T) {
	r := ssftest.NewReceiver(t)
	tries := make(chan transmitter.Try, 1)
	x, _, _ := push(t, r, func(c *transmitter.Config) { c.Delivered = func(d transmitter.Try) { tries <- d } })
	sent := mustSend(t, x, message("alice"))
	d := <-tries
	if d.StreamID != "s1" || d.Receiver != "a" || d.Type != sessionRevoked || d.JTI != sent.Queued[0].JTI || d.Status != 202 || d.Reason != "" || d.Dead {
		t.Errorf("%+v", d)
	}
}

func TestIdleStreamsHoldNothing(t *testing.T) {
	r := ssftest.NewReceiver(t)
	x, store, st := push(t, r, func(c *transmitter.Config) { c.Sweep = 5 * time.Millisecond })
	for i := range 300 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 300 })
	eventually(t, "nothing is left in memory", func() bool { return x.Pump.Lanes() == 0 })
}

// countingKey counts how many signatures are made at once.
type countingKey struct {
	crypto.Signer
	now, most atomic.Int64
}

func (k *countingKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	now := k.now.Add(1)
	for most := k.most.Load(); now > most && !k.most.CompareAndSwap(most, now); most = k.most.Load() {
	}
	time.Sleep(time.Millisecond)
	defer k.now.Add(-1)
	return k.Signer.Sign(rand, digest, opts)
}

func TestSignaturesAtOnce(t *testing.T) {
	r := ssftest.NewReceiver(t)
	key := &countingKey{Signer: ssftest.Key(set.ES256, "counted")}
	signer, err := set.NewSigner(set.ES256, "counted", key)
	if err != nil {
		t.Fatal(err)
	}
	x, store, st := push(t, r, func(c *transmitter.Config) { c.Window, c.Signers = 32, []*set.Signer{signer} })
	for i := range 100 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 100 })
	if most := key.most.Load(); most > int64(runtime.GOMAXPROCS(0)) {
		t.Errorf("%d signatures at once", most)
	}
}

// TestAStreamOfAnotherProcessIsNotMissed creates a stream behind the back of a transmitter that has its streams in memory.
func TestAStreamOfAnotherProcessIsNotMissed(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	mustSend(t, x, message("alice")) // reads the streams
	putStream(t, store, "s1", "https://r.example/in")
	if sent := mustSend(t, x, message("alice")); len(sent.Queued) != 1 {
		t.Errorf("queued on %d of 1 streams", len(sent.Queued))
	}
	putStream(t, store, "s2", "https://r.example/in")
	if sent := mustSend(t, x, message("alice")); len(sent.Queued) != 2 {
		t.Errorf("queued on %d of 2 streams", len(sent.Queued))
	}
}
