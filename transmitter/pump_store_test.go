package transmitter_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/ssftest"
	"countersign/transmitter"
)

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

// readingStore holds back what a read brings until it may.
type readingStore struct {
	*transmitter.Memory
	mu   sync.Mutex
	gate chan struct{} // nil: reads end at once
}

func (s *readingStore) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gate = gate
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gate = nil
		close(gate)
	}
}

func (s *readingStore) pass() {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

func (s *readingStore) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	items, err := s.Memory.Next(ctx, stream, after, n)
	s.pass()
	return items, err
}

func (s *readingStore) Parting(ctx context.Context) ([]transmitter.Item, error) {
	items, err := s.Memory.Parting(ctx)
	s.pass()
	return items, err
}

// TestARowThatLeftDuringARead has a read of the store under way while the row it brings is delivered and removed. It
// must not be sent again.
func TestARowThatLeftDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &readingStore{Memory: new(transmitter.Memory)}
		w := &wire{tell: func(delivery, int) (*http.Response, error) {
			time.Sleep(500 * time.Millisecond)
			return answer(202), nil
		}}
		cfg := onWire(store, w)
		cfg.Sweep = 200 * time.Millisecond // comes while the row is in flight
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		send(t, x, "alice")
		synctest.Wait()
		release := store.hold()
		time.Sleep(10 * time.Second) // the read has the row, which is delivered and removed meanwhile
		if c := count(t, store, st); c.Delivered != 1 {
			t.Fatalf("%+v", c)
		}
		release()
		time.Sleep(10 * time.Second)
		if n := len(w.pushes()); n != 1 {
			t.Errorf("it was sent %d times", n)
		}
		if x.Pump.Lanes() != 0 {
			t.Errorf("%d lanes", x.Pump.Lanes())
		}
	})
}

// TestALastWordThatLeftDuringARead is the same for the rows of stopped streams.
func TestALastWordThatLeftDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &readingStore{Memory: new(transmitter.Memory)}
		w := &wire{tell: func(delivery, int) (*http.Response, error) {
			time.Sleep(500 * time.Millisecond)
			return answer(202), nil
		}}
		cfg := onWire(store, w)
		cfg.Sweep = 200 * time.Millisecond
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		if _, err := x.SetStatus(t.Context(), "s1", transmitter.Paused, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		release := store.hold()
		time.Sleep(10 * time.Second)
		if c := count(t, store, st); c.Delivered != 1 {
			t.Fatalf("%+v", c)
		}
		release()
		time.Sleep(10 * time.Second)
		if n := len(w.pushes()); n != 1 {
			t.Errorf("it was sent %d times", n)
		}
	})
}

// TestADroppedRowThatAReadBrings disables and enables a stream while a read of its rows is under way.
func TestADroppedRowThatAReadBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &readingStore{Memory: new(transmitter.Memory)}
		w := new(wire)
		cfg := onWire(store, w)
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		release := store.hold()
		send(t, newTransmitter(t, cfg), "alice") // of another process: it is read
		time.Sleep(5 * time.Second)
		for _, status := range []string{transmitter.Disabled, transmitter.Enabled} {
			if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"s1","status":"` + status + `"}`}); a.StatusCode != 200 {
				t.Fatal(a.StatusCode)
			}
		}
		release()
		time.Sleep(10 * time.Second)
		if n := len(w.pushes()); n != 0 {
			t.Errorf("%d pushes of a row that was dropped", n)
		}
		if c := count(t, store, st); c != (transmitter.Counts{}) {
			t.Errorf("%+v", c)
		}
	})
}
