package transmitter_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/transmitter"
)

// pieceStore notes in what pieces old rows go.
type pieceStore struct {
	shardStore
	pieces  []int // of Expire
	purged  []time.Duration
	largest int
	expires int
	mu      sync.Mutex
}

func (s *pieceStore) Expire(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	gone, err := s.shardStore.Expire(ctx, before, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires++
	s.largest = max(s.largest, n)
	if gone > 0 {
		s.pieces = append(s.pieces, gone)
	}
	return gone, err
}

func (s *pieceStore) Purge(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	s.mu.Lock()
	s.purged = append(s.purged, time.Since(before.Time()))
	s.mu.Unlock()
	return s.shardStore.Purge(ctx, before, n)
}

// so calls f with the notes locked.
func (s *pieceStore) so(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// TestRetention leaves SETs on a paused, a polled, a failing and a hopeless stream for longer than they are kept.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &pieceStore{shardStore: shardStore{Memory: new(transmitter.Memory), shards: transmitter.AllShards}}
		w := new(wire)
		w.tell = failFor("down.example")
		cfg := onWire(store, w)
		cfg.Retention, cfg.History = 24*time.Hour, 10*24*time.Hour
		x := newTransmitter(t, cfg)
		paused, polled, down, up := putStream(t, store, "s1", "https://r.example/in"), putPolled(t, store, "s2"),
			putStream(t, store, "s3", "https://down.example/in"), putStream(t, store, "s4", "https://r.example/in")
		defer begin(t, x)()
		if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { s.Status = transmitter.Paused; return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range 2500 {
			mustSend(t, x, message(fmt.Sprintf("u%d", i)))
		}
		time.Sleep(23 * time.Hour)
		mustSend(t, x, message("late"))
		for _, st := range []*transmitter.Stream{paused, polled, down} {
			if c := count(t, store, st); c.Waiting != 2501 {
				t.Errorf("%s before: %+v", st.ID, c)
			}
		}
		time.Sleep(time.Hour + 2*time.Minute)
		for _, st := range []*transmitter.Stream{paused, polled, down} {
			if c := count(t, store, st); c != (transmitter.Counts{Waiting: 1, Dead: 2500}) {
				t.Errorf("%s after: %+v", st.ID, c)
			}
			if dead, _ := store.Dead(t.Context(), st.Key, 1); len(dead) != 1 || dead[0].Reason != "expired" {
				t.Errorf("%s: %+v", st.ID, dead)
			}
		}
		if c := count(t, store, up); c != (transmitter.Counts{Delivered: 2501}) {
			t.Errorf("%s: %+v", up.ID, c)
		}
		store.so(func() {
			if store.largest != 1000 || len(store.pieces) < 7 {
				t.Errorf("they went in pieces %v of at most %d", store.pieces, store.largest)
			}
			if n := len(store.purged); n < 24*5 || store.purged[n-1] < cfg.History || store.purged[n-1] > cfg.History+time.Second {
				t.Errorf("history was purged %d times", n)
			}
		})
		if are, counted := x.Pump.Rows(); are > 1 || counted != are {
			t.Errorf("%d rows are in memory, %d are counted", are, counted)
		}
	})
}

// TestOneProcessGivesUpForAll has one that does not have the first shard.
func TestOneProcessGivesUpForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &pieceStore{shardStore: shardStore{Memory: new(transmitter.Memory)}}
		for shard := 1; shard < transmitter.ShardCount; shard++ {
			store.shards.Add(shard)
		}
		x := newTransmitter(t, onWire(store, new(wire)))
		defer begin(t, x)()
		time.Sleep(time.Hour)
		store.so(func() {
			if store.expires != 0 || len(store.purged) != 0 {
				t.Errorf("%d times given up, %d purged", store.expires, len(store.purged))
			}
		})
		store.set(transmitter.AllShards, nil)
		time.Sleep(time.Hour)
		store.so(func() {
			if store.expires == 0 || len(store.purged) == 0 {
				t.Error("with the first shard it does neither")
			}
		})
	})
}

// TestRedriveOfWhatExpired puts rows back that waited too long: their age counts anew, also for a
// process that did not put them back.
func TestRedriveOfWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		w.tell = failFor("down.example")
		cfg := onWire(store, w)
		cfg.Retention = time.Hour
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://down.example/in")
		defer begin(t, x)()
		for i := range 10 {
			send(t, x, fmt.Sprintf("u%d", i))
		}
		time.Sleep(2 * time.Hour)
		if n, err := newTransmitter(t, cfg).Redrive(t.Context(), transmitter.DeadFilter{Reason: "expired"}); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(50 * time.Minute)
		if c := count(t, store, st); c != (transmitter.Counts{Waiting: 10}) {
			t.Errorf("given up at once: %+v", c)
		}
		time.Sleep(12 * time.Minute)
		if c := count(t, store, st); c != (transmitter.Counts{Dead: 10}) {
			t.Errorf("not given up: %+v", c)
		}
		w.mu.Lock()
		w.tell = nil
		w.mu.Unlock()
		if n, err := x.Redrive(t.Context(), transmitter.DeadFilter{Stream: st.Key, Reason: "expired"}); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Second)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 10}) {
			t.Errorf("%+v", c)
		}
	})
}
