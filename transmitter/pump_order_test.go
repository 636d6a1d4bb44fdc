package transmitter_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

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
	req.Covers(t, "TX-172")
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

// TestOneBadSETHoldsBackOnlyItsSubject has a receiver that answers 500 to one SET and takes the others.
func TestOneBadSETHoldsBackOnlyItsSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		var bad string
		cured := false
		w := &wire{}
		w.tell = func(d delivery, _ int) (*http.Response, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if d.jti == bad && !cured {
				return answer(500), nil
			}
			return answer(202), nil
		}
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		stop := begin(t, x)
		defer stop()
		w.mu.Lock() // before anything is pushed
		bad = send(t, x, "mallory")
		w.mu.Unlock()
		later := []string{send(t, x, "mallory"), send(t, x, "mallory")}
		for i := range 300 {
			send(t, x, fmt.Sprintf("u%d", i))
		}
		time.Sleep(10 * time.Second)
		if c := count(t, store, st); c != (transmitter.Counts{Waiting: 3, Delivered: 300}) {
			t.Errorf("after 10 s: %+v", c)
		}
		for range 100 { // more about the same subject than are looked through for another one
			later = append(later, send(t, x, "mallory"))
		}
		time.Sleep(time.Second)
		send(t, x, "bob")
		time.Sleep(10 * time.Second)
		if c := count(t, store, st); c.Delivered != 301 {
			t.Errorf("behind many of the same subject: %+v", c)
		}
		time.Sleep(time.Hour)
		tries := 0
		for _, d := range w.pushes() {
			if d.jti == bad {
				tries++
			} else if d.who == "mallory" {
				t.Fatal("a later SET about the same subject got before it")
			}
		}
		if tries < 15 || tries > 120 {
			t.Errorf("it was tried %d times in an hour", tries)
		}
		if v := view(t, x, "s1"); v.Held != 1 || v.Stream.Trouble.Fails != 0 || !slices.ContainsFunc(v.Warnings, func(s string) bool { return strings.Contains(s, "1 SET fails again and again") }) {
			t.Errorf("held %d, trouble %+v, warnings %q", v.Held, v.Stream.Trouble, v.Warnings)
		}
		w.mu.Lock()
		cured = true
		w.mu.Unlock()
		time.Sleep(6 * time.Minute)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 301 + 103}) {
			t.Errorf("after the cure: %+v", c)
		}
		var got []string
		for _, d := range w.pushes() {
			if d.who == "mallory" && d.jti != bad {
				got = append(got, d.jti)
			}
		}
		if !slices.Equal(got, later) {
			t.Error("the SETs about the subject changed places")
		}
		req.Covers(t, "TX-172")
	})
}

// TestStrictOrder has a window of 1: the oldest row is the probe, whatever it takes.
func TestStrictOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(d delivery, n int) (*http.Response, error) {
			if d.who == "u3" && n < 5 {
				return answer(503), nil
			}
			return answer(202), nil
		}}
		cfg := onWire(store, w)
		cfg.Window = 1
		x := newTransmitter(t, cfg)
		putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		for i := range 6 {
			send(t, x, fmt.Sprintf("u%d", i))
		}
		time.Sleep(time.Minute)
		if got := w.names(); !slices.Equal(got, []string{"u0", "u1", "u2", "u3", "u3", "u3", "u3", "u3", "u4", "u5"}) {
			t.Errorf("pushed %v", got)
		}
	})
}

// TestOrderThroughAChangeOfTheStream changes the stream while a SET is in flight that then fails.
func TestOrderThroughAChangeOfTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(d delivery, n int) (*http.Response, error) {
			if d.path == "/old" {
				time.Sleep(2 * time.Second)
				return answer(503), nil
			}
			return answer(202), nil
		}}
		x := newTransmitter(t, onWire(store, w))
		putStream(t, store, "s1", "https://r.example/old")
		defer begin(t, x)()
		want := []string{send(t, x, "alice")}
		for range 5 {
			want = append(want, send(t, x, "alice"))
		}
		time.Sleep(time.Second)
		r := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a",
			body: `{"stream_id":"s1","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/new","authorization_header":"Bearer fresh"}}`})
		if r.StatusCode != 200 {
			t.Fatal(text(t, r))
		}
		time.Sleep(5 * time.Second)
		var got []string
		for _, d := range w.pushes() {
			if d.path == "/new" {
				got = append(got, d.jti)
				if d.authorization != "Bearer fresh" {
					t.Errorf("pushed with %q", d.authorization)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("at the new address %d of %d, or in another order", len(got), len(want))
		}
		req.Covers(t, "TX-172", "TX-163")
	})
}

// TestOrderAcrossProcesses has two processes on one store write about one subject, one after the other. The one that
// delivers knows only its own row.
func TestOrderAcrossProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shardStore{Memory: new(transmitter.Memory)}
		w := new(wire)
		cfg := onWire(store, w)
		cfg.Sweep = time.Hour
		st := putStream(t, store, "s1", "https://r.example/in")
		var ours transmitter.Shards
		ours.Add(transmitter.ShardOf(st.Key))
		store.set(ours, nil)
		here, there := newTransmitter(t, cfg), newTransmitter(t, cfg)
		defer begin(t, here)()
		want := []string{send(t, there, "alice"), send(t, here, "alice"), send(t, there, "alice"), send(t, here, "alice")}
		time.Sleep(time.Second)
		if got := w.jtis(); !slices.Equal(got, want) {
			t.Errorf("pushed %d of 4, or in another order", len(got))
		}
		req.Covers(t, "TX-172")
	})
}

// TestOneBadSETInALongQueue starts with a bad SET and hundreds about the same subject before any other.
func TestOneBadSETInALongQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{}
		cfg := onWire(store, w)
		st := putStream(t, store, "s1", "https://r.example/in")
		before := newTransmitter(t, cfg)
		send(t, before, "early")
		bad := send(t, before, "mallory")
		w.tell = func(d delivery, _ int) (*http.Response, error) {
			if d.jti == bad {
				return answer(500), nil
			}
			return answer(202), nil
		}
		for range 500 {
			send(t, before, "mallory")
		}
		for i := range 50 {
			send(t, before, fmt.Sprintf("u%d", i))
		}
		defer begin(t, newTransmitter(t, cfg))()
		time.Sleep(30 * time.Second)
		if c := count(t, store, st); c != (transmitter.Counts{Waiting: 501, Delivered: 51}) {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-172")
	})
}
