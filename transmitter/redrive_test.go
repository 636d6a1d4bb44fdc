package transmitter_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"countersign/transmitter"
)

// failFor answers 503 for one host.
func failFor(host string) func(delivery, int) (*http.Response, error) {
	return func(d delivery, _ int) (*http.Response, error) {
		if d.host == host {
			return answer(503), nil
		}
		return answer(202), nil
	}
}

// TestRedrive puts dead letters back: one, those of a reason, and all.
func TestRedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(d delivery, n int) (*http.Response, error) {
			switch {
			case n > 1:
				return answer(202), nil
			case d.who < "u5":
				return answer(413), nil
			}
			return answer(422), nil
		}}
		cfg := onWire(store, w)
		cfg.Sweep = time.Hour
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		var jtis []string
		for i := range 10 {
			jtis = append(jtis, send(t, x, fmt.Sprintf("u%d", i)))
		}
		time.Sleep(time.Second)
		if c := count(t, store, st); c.Dead != 10 {
			t.Fatalf("%+v", c)
		}
		for _, step := range []struct {
			which     transmitter.DeadFilter
			n         int
			delivered int64
		}{
			{transmitter.DeadFilter{Stream: st.Key, JTI: jtis[7]}, 1, 1},
			{transmitter.DeadFilter{Stream: st.Key, JTI: jtis[7]}, 0, 1}, // it is no longer there
			{transmitter.DeadFilter{Reason: "HTTP 413"}, 5, 6},
			{transmitter.DeadFilter{Stream: st.Key + 1}, 0, 6},
			{transmitter.DeadFilter{}, 4, 10},
		} {
			n, err := x.Redrive(t.Context(), step.which)
			time.Sleep(time.Second)
			if c := count(t, store, st); n != step.n || err != nil || c.Delivered != step.delivered {
				t.Errorf("%+v: %d, %v, then %+v", step.which, n, err, c)
			}
		}
	})
}

// TestRedriveKeepsItsPlace puts a SET back while later ones about the same subject wait behind a failing receiver.
func TestRedriveKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		down, first := false, ""
		w := &wire{}
		w.tell = func(d delivery, n int) (*http.Response, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			switch {
			case first == "":
				first = d.jti
				return answer(422), nil
			case down:
				return answer(401), nil
			}
			return answer(202), nil
		}
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		want := []string{send(t, x, "alice")}
		time.Sleep(time.Second)
		w.mu.Lock()
		down = true
		w.mu.Unlock()
		for range 20 {
			want = append(want, send(t, x, "alice"))
		}
		time.Sleep(time.Second)
		w.mu.Lock()
		down = false
		w.mu.Unlock()
		before := len(w.pushes())
		// The breaker is open for minutes still: somebody who redrives wants to see it tried now.
		if n, err := x.Redrive(t.Context(), transmitter.DeadFilter{Stream: st.Key}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Second)
		if got := w.jtis()[before:]; !slices.Equal(got, want) {
			t.Errorf("%d of %d, or in another order", len(got), len(want))
		}
	})
}
