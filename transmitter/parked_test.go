package transmitter_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

// putPolled keeps a poll stream.
func putPolled(t testing.TB, s transmitter.Store, id string) *transmitter.Stream {
	t.Helper()
	st := &transmitter.Stream{ID: id, Receiver: "a", Audience: []string{"https://" + id + ".example"}, Delivered: []string{sessionRevoked},
		Method: "urn:ietf:rfc:8936", Endpoint: "https://ssf.example/ssf/streams/" + id + "/poll", Status: transmitter.Enabled}
	if err := s.CreateStream(t.Context(), st, 0); err != nil {
		t.Fatal(err)
	}
	return st
}

// park parks a poll that must be taken.
func park(t testing.TB, x *transmitter.Transmitter, st *transmitter.Stream) <-chan struct{} {
	t.Helper()
	woken, leave, ok := x.Park(st.Key)
	if !ok {
		t.Fatal("the poll is not held")
	}
	t.Cleanup(leave)
	return woken
}

func open(woken <-chan struct{}) bool {
	select {
	case <-woken:
		return true
	default:
		return false
	}
}

func TestHeldPollsAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		cfg := onWire(store, w)
		cfg.PollParkedStream = 100
		x := newTransmitter(t, cfg)
		st, other := putPolled(t, store, "p1"), putPolled(t, store, "p2")
		stop := begin(t, x)
		bystander := park(t, x, other)

		woken := park(t, x, st)
		time.Sleep(time.Minute)
		if open(woken) {
			t.Fatal("it was woken for nothing")
		}
		m := message("alice")
		m.Streams = []string{"p1"}
		mustSend(t, x, m)
		if !open(woken) {
			t.Error("not woken by a SET")
		}
		if _, err := store.Acknowledge(t.Context(), st.Key, nil, []transmitter.Refusal{{JTI: items(t, store, st)[0].JTI, Err: "invalid_request"}}, 1); err != nil {
			t.Fatal(err)
		}
		woken = park(t, x, st)
		if n, err := x.Redrive(t.Context(), transmitter.DeadFilter{Stream: st.Key}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if !open(woken) {
			t.Error("not woken by a redrive")
		}
		ack := func() {
			if _, err := store.Acknowledge(t.Context(), st.Key, []string{items(t, store, st)[0].JTI}, nil, 1); err != nil {
				t.Fatal(err)
			}
		}
		ack()
		woken = park(t, x, st)
		mustSend(t, newTransmitter(t, cfg), m) // another process
		time.Sleep(1100 * time.Millisecond)
		if !open(woken) {
			t.Error("not woken by a SET of another process")
		}
		if open(bystander) {
			t.Error("a poll of another stream was woken")
		}
		woken = park(t, x, st)
		if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"p1","status":"paused"}`}); a.StatusCode != 200 {
			t.Fatal(a.StatusCode)
		}
		if !open(woken) {
			t.Error("not woken by a pause")
		}
		woken = park(t, x, st) // a SET waits, and nobody may have it
		time.Sleep(time.Minute)
		if open(woken) {
			t.Error("woken for SETs that are held")
		}
		if err := store.DeleteStream(t.Context(), "a", "p1"); err != nil { // by another process
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		if !open(woken) {
			t.Error("not woken by the deletion")
		}
		stop()
		if !open(bystander) {
			t.Error("not woken when the transmitter stopped")
		}
		if _, _, ok := x.Park(other.Key); ok {
			t.Error("a poll is held by a transmitter that stopped")
		}
		if n := len(w.pushes()); n != 0 {
			t.Errorf("%d pushes on poll streams", n)
		}
		req.Covers(t, "TX-103")
	})
}

// items gives what waits.
func items(t testing.TB, s transmitter.Store, st *transmitter.Stream) []transmitter.Item {
	t.Helper()
	out, err := s.Next(t.Context(), st.Key, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHeldPollsAreBounded(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.PollParked = 3
	x := newTransmitter(t, cfg)
	var leave []func()
	for i, stream := range []int64{1, 1, 1, 2, 3} {
		_, gone, ok := x.Park(stream)
		if want := i != 2 && i != 4; ok != want { // two for each stream, three in all
			t.Errorf("poll %d on stream %d: held %v", i, stream, ok)
		}
		if ok {
			leave = append(leave, gone)
		}
	}
	for _, gone := range leave {
		gone()
		gone() // does no harm
	}
	for range 2 {
		if _, _, ok := x.Park(1); !ok {
			t.Error("a place that was left is not free")
		}
	}
}

// One receiver with many streams leaves places for the others.
func TestHeldPollsOfOneReceiverAreBounded(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.PollParked = 10
	x := newTransmitter(t, cfg)
	var greedy []int64
	for i := range 8 {
		greedy = append(greedy, putListed(t, store, fmt.Sprint("greedy-", i), "", func(s *transmitter.Stream) { s.Receiver = "greedy" }).Key)
	}
	modest := putListed(t, store, "modest", "", func(s *transmitter.Stream) { s.Receiver = "modest" }).Key
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	var leave []func()
	for _, key := range append(greedy, greedy...) {
		if _, gone, ok := x.Park(key); ok {
			leave = append(leave, gone)
		}
	}
	if len(leave) != 5 {
		t.Errorf("%d of 10 places are one receiver's", len(leave))
	}
	_, gone, ok := x.Park(modest)
	if !ok {
		t.Fatal("the other receiver's poll is not held")
	}
	gone()
	leave[0]()
	if _, _, ok := x.Park(greedy[7]); !ok {
		t.Error("a place that was left is not free")
	}
}

// TestAPollStreamIsNeverPushed has one with a push address, as a stream has that was changed.
func TestAPollStreamIsNeverPushed(t *testing.T) {
	for _, method := range []string{"urn:ietf:rfc:8936", "https://schemas.openid.net/secevent/risc/delivery-method/poll"} {
		synctest.Test(t, func(t *testing.T) {
			store := new(transmitter.Memory)
			w := new(wire)
			x := newTransmitter(t, onWire(store, w))
			st := putStream(t, store, "s1", "https://r.example/in")
			defer begin(t, x)()
			send(t, x, "alice")
			time.Sleep(time.Second)
			if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { s.Method = method; return nil }); err != nil {
				t.Fatal(err)
			}
			send(t, x, "bob")
			if _, err := x.SetStatus(t.Context(), "s1", transmitter.Paused, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if n := len(w.pushes()); n != 1 {
				t.Errorf("%d pushes", n)
			}
			if c := count(t, store, st); c.Waiting != 2 {
				t.Errorf("%+v", c)
			}
		})
	}
}
