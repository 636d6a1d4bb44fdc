package transmitter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/ssftest"
	"countersign/transmitter"
)

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

func TestIdleStreamsHoldNothing(t *testing.T) {
	r := ssftest.NewReceiver(t)
	x, store, st := push(t, r, func(c *transmitter.Config) { c.Sweep = 5 * time.Millisecond })
	for i := range 300 {
		mustSend(t, x, message(fmt.Sprintf("u%d", i)))
	}
	eventually(t, "all delivered", func() bool { return count(t, store, st).Delivered == 300 })
	eventually(t, "nothing is left in memory", func() bool { return x.Pump.Lanes() == 0 })
}

// TestFourBadReceiversAmongAHundred sends the same load to a hundred receivers, and to a hundred of which one hangs,
// one is slow, one answers 500 and one resets connections. The clock is the bubble's: it has no noise, and counts
// what one stream waits for another.
func TestFourBadReceiversAmongAHundred(t *testing.T) {
	measure := func(bad bool) (p99, most time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			store := new(transmitter.Memory)
			var mu sync.Mutex
			planned, times := map[string]time.Time{}, []time.Duration(nil)
			w := &wire{}
			w.tell = func(d delivery, _ int) (*http.Response, error) {
				name := strings.TrimSuffix(d.host, ".example")
				if bad {
					switch name {
					case "r0":
						time.Sleep(10 * time.Second)
						return nil, context.DeadlineExceeded
					case "r1":
						time.Sleep(500 * time.Millisecond)
						return answer(202), nil
					case "r2":
						return answer(500), nil
					case "r3":
						return nil, errors.New("connection reset by peer")
					}
				}
				time.Sleep(2 * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				if n, _ := strconv.Atoi(name[1:]); n > 3 {
					times = append(times, time.Since(planned[d.who]))
				}
				return answer(202), nil
			}
			x := newTransmitter(t, onWire(store, w))
			for i := range 100 {
				putStream(t, store, fmt.Sprintf("s%d", i), fmt.Sprintf("https://r%d.example/in", i))
			}
			defer begin(t, x)()
			for i := range 100 {
				who := fmt.Sprintf("u%d", i)
				mu.Lock()
				planned[who] = time.Now()
				mu.Unlock()
				mustSend(t, x, message(who))
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			if len(times) != 96*100 {
				t.Fatalf("the good receivers got %d SETs", len(times))
			}
			slices.Sort(times)
			p99, most = times[len(times)*99/100], times[len(times)-1]
		})
		return p99, most
	}
	good, _ := measure(false)
	p99, most := measure(true)
	if p99 > good*3/2 || most > time.Second {
		t.Errorf("p99 %v beside bad receivers, %v without; the longest %v", p99, good, most)
	}
}

// crowdedStore has 10,000 streams more, made anew for each who asks.
type crowdedStore struct{ *transmitter.Memory }

func (s *crowdedStore) AllStreams(ctx context.Context) ([]transmitter.Stream, int64, error) {
	all, generation, err := s.Memory.AllStreams(ctx)
	for i := range 10_000 {
		id := fmt.Sprintf("idle-%d", i)
		all = append(all, transmitter.Stream{Key: int64(1000 + i), ID: id, Receiver: id, Audience: []string{"https://" + id + ".example"},
			Delivered: []string{sessionRevoked, credentialChange}, Method: "urn:ietf:rfc:8935", Endpoint: "https://" + id + ".example/in",
			Authorization: "Bearer " + id, Status: transmitter.Enabled, Generation: generation})
	}
	return all, generation, err
}

// TestTenThousandIdleStreams is about memory.
func TestTenThousandIdleStreams(t *testing.T) {
	store := &crowdedStore{Memory: new(transmitter.Memory)}
	putStream(t, store, "stream-0", "https://r.example/in")
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	w := new(wire)
	x := newTransmitter(t, onWire(store, w))
	running(t, x)
	eventually(t, "it delivers", func() bool {
		m := message("alice")
		m.Streams = []string{"stream-0"}
		mustSend(t, x, m)
		return len(w.pushes()) > 0
	})
	eventually(t, "the lane is gone", func() bool { return x.Pump.Lanes() == 0 })
	if after := heap(); after > before && after-before > 24<<20 {
		t.Errorf("10,000 idle streams take %d MB", (after-before)>>20)
	}
	runtime.KeepAlive(store)
}
