package transmitter_test

import (
	"context"
	"fmt"
	"net/http"
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
