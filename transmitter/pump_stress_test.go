package transmitter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

// TestStress lets everything happen at once, at random: answers of every kind, pauses, changes, disabling, deletion,
// redrives, a store that fails, another process that writes. In the end every SET was delivered once or set aside
// once, or its stream was disabled or deleted; and those about one subject came in their order.
func TestStress(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stress(t, seed) })
		})
	}
}

// roughStore fails now and then, and is slow.
type roughStore struct {
	*transmitter.Memory
	mu   sync.Mutex
	dice *rand.Rand
	calm bool
	mine transmitter.Shards
}

func (s *roughStore) Shards(context.Context) (transmitter.Shards, error) { return s.mine, nil }

func (s *roughStore) trouble() error {
	s.mu.Lock()
	n, calm := s.dice.IntN(100), s.calm
	s.mu.Unlock()
	if calm {
		return nil
	}
	if n < 50 {
		time.Sleep(time.Duration(n) * time.Millisecond)
	}
	if n%10 == 0 {
		return errors.New("the store is moody")
	}
	return nil
}

func (s *roughStore) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	items, err := s.Memory.Next(ctx, stream, after, n)
	if bad := s.trouble(); bad != nil { // after the read: what it brings is old by then
		return nil, bad
	}
	return items, err
}

func (s *roughStore) Done(ctx context.Context, o []transmitter.Outcome) error {
	if err := s.trouble(); err != nil {
		return err
	}
	return s.Memory.Done(ctx, o)
}

func (s *roughStore) Waiting(ctx context.Context) ([]int64, error) {
	if err := s.trouble(); err != nil {
		return nil, err
	}
	return s.Memory.Waiting(ctx)
}

func (s *roughStore) Backoff(ctx context.Context, stream int64, tr transmitter.Trouble) error {
	if err := s.trouble(); err != nil {
		return err
	}
	return s.Memory.Backoff(ctx, stream, tr)
}

func stress(t *testing.T, seed uint64) {
	const streams, people, events = 6, 5, 1500
	dice := rand.New(rand.NewPCG(seed, 7))
	store := &roughStore{Memory: new(transmitter.Memory), dice: rand.New(rand.NewPCG(seed, 8))}
	w := &wire{}
	var mu sync.Mutex
	network := rand.New(rand.NewPCG(seed, 9))
	calm, taken, twice := false, map[string]int{}, 0
	order := map[string][]string{} // by host and person
	w.tell = func(d delivery, n int) (*http.Response, error) {
		mu.Lock()
		roll, wait := network.IntN(100), time.Duration(network.IntN(200))*time.Millisecond
		if calm {
			roll, wait = 0, 0
		}
		mu.Unlock()
		time.Sleep(wait)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case roll < 60:
			if taken[d.jti]++; taken[d.jti] > 1 {
				twice++
			}
			order[d.host+d.who] = append(order[d.host+d.who], d.jti)
			return answer([]int{202, 200, 204}[roll%3]), nil
		case roll < 70:
			return answer(422), nil
		case roll < 80:
			return answer([]int{500, 502, 503, 429}[roll%4]), nil
		case roll < 84:
			return answer([]int{401, 403}[roll%2]), nil
		case roll < 90:
			return nil, errors.New("reset")
		}
		return answer(408), nil
	}
	cfg := onWire(store, w)
	x, other := newTransmitter(t, cfg), newTransmitter(t, cfg)
	kept := map[int64]*transmitter.Stream{}
	for i := range streams {
		st := putStream(t, store, fmt.Sprintf("s%d", i), fmt.Sprintf("https://r%d.example/in", i))
		kept[st.Key] = st
	}
	// Where another process writes as well, it has its share of the shards.
	shared := seed%2 == 0
	store.mine = transmitter.AllShards
	if shared {
		store.mine = transmitter.Shards{}
		for key := range kept {
			store.mine.Add(transmitter.ShardOf(key))
		}
	}
	stop := begin(t, x)
	planned := map[string][]string{} // by host and person, in order
	change := func(id string, f func(*transmitter.Stream)) {
		if _, err := store.UpdateStream(t.Context(), "a", id, func(s *transmitter.Stream) error { f(s); return nil }); err != nil && !errors.Is(err, transmitter.ErrNotFound) {
			t.Fatal(err)
		}
		if dice.IntN(2) == 0 { // else the sweep finds it
			if err := x.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended := map[string]bool{} // hosts of streams that were disabled or deleted
	for range events {
		who := fmt.Sprintf("p%d", dice.IntN(people))
		by := x
		if shared && dice.IntN(10) == 0 {
			by = other
		}
		sent, err := by.Send(t.Context(), message(who))
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range sent.Queued {
			host := "r" + q.StreamID[1:] + ".example"
			planned[host+who] = append(planned[host+who], q.JTI)
		}
		id := fmt.Sprintf("s%d", dice.IntN(streams))
		switch dice.IntN(60) {
		case 0, 1:
			change(id, func(s *transmitter.Stream) {
				if s.Status == transmitter.Enabled {
					s.Status = transmitter.Paused
				}
			})
		case 2, 3, 4:
			change(id, func(s *transmitter.Stream) {
				if s.Status == transmitter.Paused {
					s.Status = transmitter.Enabled
				}
			})
		case 5:
			change(id, func(s *transmitter.Stream) { s.Authorization = fmt.Sprint("Bearer ", dice.IntN(9)) })
		case 6:
			if _, err := x.Redrive(t.Context(), transmitter.DeadFilter{}); err != nil {
				t.Fatal(err)
			}
		case 7:
			if dice.IntN(8) == 0 {
				ended["r"+id[1:]+".example"] = true
				change(id, func(s *transmitter.Stream) { s.Status = transmitter.Disabled })
			}
		case 8:
			if dice.IntN(12) == 0 {
				ended["r"+id[1:]+".example"] = true
				if err := store.DeleteStream(t.Context(), "a", id); err != nil && !errors.Is(err, transmitter.ErrNotFound) {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Duration(dice.IntN(40)) * time.Millisecond)
	}
	// Calm: everything that still waits arrives.
	mu.Lock()
	calm = true
	mu.Unlock()
	store.mu.Lock()
	store.calm = true
	store.mu.Unlock()
	for i := range streams {
		change(fmt.Sprintf("s%d", i), func(s *transmitter.Stream) {
			if s.Status == transmitter.Paused {
				s.Status = transmitter.Enabled
			}
		})
	}
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Minute)
	stop()

	if keys, _ := store.Waiting(t.Context()); len(keys) != 0 {
		t.Errorf("%d streams still wait", len(keys))
	}
	if are, counted := x.Pump.Rows(); are != 0 || counted != 0 || x.Pump.Lanes() != 0 {
		t.Errorf("%d rows are in memory, %d are counted, %d lanes", are, counted, x.Pump.Lanes())
	}
	if twice != 0 {
		t.Errorf("%d SETs were taken twice", twice)
	}
	dead := map[string]bool{}
	for key := range kept {
		letters, err := store.Dead(t.Context(), key, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range letters {
			if dead[d.Item.JTI] || taken[d.Item.JTI] != 0 {
				t.Errorf("%s was set aside and delivered, or set aside twice", d.Item.JTI)
			}
			dead[d.Item.JTI] = true
		}
	}
	for name, want := range planned {
		host := name[:len("r0.example")]
		got := order[name]
		at := -1
		for _, jti := range got {
			i := slices.Index(want, jti)
			if i < 0 {
				t.Errorf("%s got a SET that was not meant for it", name)
			}
			if i < at && !redriven(t, store, jti) {
				t.Errorf("%s: SET %d came after SET %d", name, i, at)
			}
			at = max(at, i)
		}
		if ended[host] {
			continue
		}
		for _, jti := range want {
			if taken[jti] == 0 && !dead[jti] {
				t.Errorf("%s: a SET is neither delivered nor set aside", name)
			}
		}
	}
	req.Covers(t, "TX-172", "TX-104", "TX-105", "TX-173")
}

// redriven reports whether a SET was set aside before it was delivered: it may come after later ones.
func redriven(t *testing.T, store *roughStore, jti string) bool {
	lines, err := store.Deliveries(t.Context(), transmitter.DeliveryFilter{JTI: jti, N: 100})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(lines, func(d transmitter.Delivery) bool { return d.Outcome == transmitter.DeadLettered })
}
