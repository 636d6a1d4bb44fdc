package transmitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/transmitter"
)

// shardStore gives the shards that it was told.
type shardStore struct {
	*transmitter.Memory
	mu     sync.Mutex
	shards transmitter.Shards
	err    error
	asked  int
}

func (s *shardStore) set(shards transmitter.Shards, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards, s.err = shards, err
}

func (s *shardStore) Shards(context.Context) (transmitter.Shards, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.shards, s.err
}

func (s *shardStore) renewals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// view is View.
func view(t testing.TB, x *transmitter.Transmitter, id string) *transmitter.StreamView {
	t.Helper()
	v, err := x.View(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shardStore{Memory: new(transmitter.Memory)}
		w := new(wire)
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		var other transmitter.Shards
		other.Add((transmitter.ShardOf(st.Key) + 1) % transmitter.ShardCount)
		store.set(other, nil)
		defer begin(t, x)()
		send(t, x, "alice")
		time.Sleep(time.Minute)
		if len(w.pushes()) != 0 || view(t, x, "s1").Here {
			t.Fatalf("%d pushes of a stream that is another's", len(w.pushes()))
		}
		if n := store.renewals(); n < 15 || n > 25 {
			t.Errorf("the claim was renewed %d times in a minute", n)
		}
		store.set(transmitter.AllShards, nil)
		time.Sleep(4 * time.Second)
		if len(w.pushes()) != 1 || !view(t, x, "s1").Here {
			t.Fatalf("%d pushes after the shard was gained", len(w.pushes()))
		}
		store.set(other, nil)
		time.Sleep(4 * time.Second)
		for range 3 {
			send(t, x, "alice")
		}
		time.Sleep(time.Minute)
		if len(w.pushes()) != 1 || x.Pump.Lanes() != 0 {
			t.Errorf("%d pushes after the shard was lost, %d lanes", len(w.pushes()), x.Pump.Lanes())
		}
		store.set(transmitter.AllShards, nil)
		time.Sleep(4 * time.Second)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 4}) {
			t.Errorf("%+v", c)
		}
		// A store that does not answer: the claim stands for a while, and then it may be another's.
		store.set(transmitter.Shards{}, errors.New("the database is gone"))
		time.Sleep(8 * time.Second)
		send(t, x, "bob")
		time.Sleep(time.Second)
		if len(w.pushes()) != 5 {
			t.Error("a claim that still stands was given up")
		}
		time.Sleep(10 * time.Second)
		send(t, x, "bob")
		time.Sleep(time.Minute)
		if len(w.pushes()) != 5 {
			t.Error("a claim that nobody renewed was used")
		}
		store.set(transmitter.AllShards, nil)
		time.Sleep(4 * time.Second)
		if len(w.pushes()) != 6 {
			t.Error("it was not taken up again")
		}
	})
}

func TestAStoreWithoutShardsBelongsToOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shardStore{Memory: new(transmitter.Memory), err: fmt.Errorf("no shards here: %w", errors.ErrUnsupported)}
		w := new(wire)
		x := newTransmitter(t, onWire(store, w))
		putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		send(t, x, "alice")
		synctest.Wait()
		if len(w.pushes()) != 1 {
			t.Errorf("%d pushes", len(w.pushes()))
		}
	})
}

// TestBackoffGoesWithTheShard has two processes; the second takes over a stream whose receiver is down.
func TestBackoffGoesWithTheShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(transmitter.Memory)
		first, second := &shardStore{Memory: memory, shards: transmitter.AllShards}, &shardStore{Memory: memory}
		w := &wire{tell: func(delivery, int) (*http.Response, error) { return answer(401), nil }}
		putStream(t, memory, "s1", "https://r.example/in")
		a, b := newTransmitter(t, onWire(first, w)), newTransmitter(t, onWire(second, w))
		stopA, stopB := begin(t, a), begin(t, b)
		defer stopA()
		defer stopB()
		send(t, a, "alice")
		time.Sleep(time.Second)
		first.set(transmitter.Shards{}, nil)
		second.set(transmitter.AllShards, nil)
		time.Sleep(time.Minute)
		if n := len(w.pushes()); n != 1 {
			t.Errorf("%d tries: the back-off was not taken over", n)
		}
		if v := view(t, b, "s1"); v.Stream.Trouble.Fails != 1 || !v.Stream.Trouble.Open || v.Next == 0 {
			t.Errorf("trouble %+v", v.Stream.Trouble)
		}
		time.Sleep(5 * time.Minute)
		if n := len(w.pushes()); n != 2 {
			t.Errorf("%d tries after the back-off", n)
		}
	})
}

// TestTwoProcessesShareTheWork sends 500 events on 20 streams, half of them each process's.
func TestTwoProcessesShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(transmitter.Memory)
		stores := []*shardStore{{Memory: memory}, {Memory: memory}}
		for shard := range transmitter.ShardCount {
			stores[shard%2].shards.Add(shard)
		}
		w := new(wire)
		for i := range 20 {
			putStream(t, memory, fmt.Sprintf("s%d", i), fmt.Sprintf("https://r%d.example/in", i))
		}
		var x []*transmitter.Transmitter
		for _, s := range stores {
			x = append(x, newTransmitter(t, onWire(s, w)))
			defer begin(t, x[len(x)-1])()
		}
		for i := range 500 {
			mustSend(t, x[i%2], message(fmt.Sprintf("u%d", i%7)))
		}
		time.Sleep(10 * time.Second)
		seen := map[string]int{}
		for _, jti := range w.jtis() {
			seen[jti]++
		}
		if len(seen) != 500*20 || len(w.jtis()) != 500*20 {
			t.Errorf("%d pushes of %d SETs", len(w.jtis()), len(seen))
		}
		if keys, _ := memory.Waiting(t.Context()); len(keys) != 0 {
			t.Errorf("%d streams still wait", len(keys))
		}
	})
}
