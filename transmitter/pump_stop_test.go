package transmitter_test

import (
	"crypto"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

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

// slowSigner signs when it may.
type slowSigner struct {
	crypto.Signer
	gate chan struct{}
}

func (k *slowSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	<-k.gate
	return k.Signer.Sign(rand, digest, opts)
}

// TestAStopIsObeyedAtOnce stops a stream while its SETs wait for their signature: none of them leaves any more.
func TestAStopIsObeyedAtOnce(t *testing.T) {
	for _, status := range []string{transmitter.Paused, transmitter.Disabled} {
		t.Run(status, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(transmitter.Memory)
				key := &slowSigner{Signer: ssftest.Key(set.ES256, "slow"), gate: make(chan struct{})}
				signer, err := set.NewSigner(set.ES256, "slow", key)
				if err != nil {
					t.Fatal(err)
				}
				w := new(wire)
				cfg := onWire(store, w)
				cfg.Signers = []*set.Signer{signer}
				x := newTransmitter(t, cfg)
				st := putStream(t, store, "s1", "https://r.example/in")
				stop := begin(t, x)
				for i := range 8 {
					send(t, x, fmt.Sprintf("u%d", i))
				}
				synctest.Wait()
				if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"s1","status":"` + status + `"}`}); a.StatusCode != 200 {
					t.Fatal(a.StatusCode)
				}
				close(key.gate)
				time.Sleep(time.Minute)
				if n := len(w.pushes()); n != 0 {
					t.Errorf("%d pushes after the 200", n)
				}
				want := transmitter.Counts{Waiting: 8}
				if status == transmitter.Disabled {
					want = transmitter.Counts{}
				}
				if c := count(t, store, st); c != want {
					t.Errorf("%+v", c)
				}
				if x.Pump.Lanes() != 0 {
					t.Errorf("%d lanes", x.Pump.Lanes())
				}
				stop()
				req.Covers(t, "TX-104", "TX-106", "TX-173")
			})
		})
	}
}

// TestRetriesObeyAStop stops a stream that is in back-off, and enables it.
func TestRetriesObeyAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(delivery, int) (*http.Response, error) { return answer(503), nil }}
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		stop := begin(t, x)
		for i := range 5 {
			send(t, x, fmt.Sprintf("u%d", i))
		}
		time.Sleep(time.Minute)
		if _, err := x.SetStatus(t.Context(), "s1", transmitter.Paused, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		before := len(w.pushes())
		time.Sleep(24 * time.Hour)
		for _, d := range w.pushes()[before:] {
			if d.who != "" {
				t.Fatal("a SET was tried again while the stream was paused")
			}
		}
		if c := count(t, store, st); c.Waiting != 6 {
			t.Errorf("%+v", c)
		}
		stop()
		req.Covers(t, "TX-173")
	})
}

// TestTheLastWordOfAStoppedStream pauses and disables streams on the transmitter's own account: the stream-updated event
// goes out, once, and nothing else does.
func TestTheLastWordOfAStoppedStream(t *testing.T) {
	for _, status := range []string{transmitter.Paused, transmitter.Disabled} {
		for _, known := range []string{"announced", "found at a start", "found by a sweep"} {
			t.Run(status+", "+known, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := new(transmitter.Memory)
					w := new(wire)
					cfg := onWire(store, w)
					x := newTransmitter(t, cfg)
					st := putStream(t, store, "s1", "https://r.example/in")
					other := newTransmitter(t, cfg)
					if known != "found at a start" {
						defer begin(t, x)()
					}
					by := x
					if known == "found by a sweep" {
						by = other
					}
					if _, err := by.SetStatus(t.Context(), "s1", status, "maintenance"); err != nil {
						t.Fatal(err)
					}
					for i := range 3 { // while it is stopped
						mustSend(t, by, message(fmt.Sprintf("u%d", i)))
					}
					if known == "found at a start" {
						defer begin(t, x)()
					}
					time.Sleep(time.Minute)
					got := w.pushes()
					if len(got) != 1 || got[0].typ != "https://schemas.openid.net/secevent/ssf/event-type/stream-updated" {
						t.Fatalf("pushed %+v", got)
					}
					want := transmitter.Counts{Waiting: 3, Delivered: 1}
					if status == transmitter.Disabled {
						want.Waiting = 0
					}
					if c := count(t, store, st); c != want {
						t.Errorf("%+v", c)
					}
					if x.Pump.Lanes() != 0 {
						t.Errorf("%d lanes", x.Pump.Lanes())
					}
					if _, err := x.SetStatus(t.Context(), "s1", transmitter.Enabled, ""); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
					if n := int64(len(w.pushes())); n != 2+want.Waiting {
						t.Errorf("%d pushes after it was enabled", n)
					}
					req.Covers(t, "TX-107", "TX-104", "TX-106", "P-32")
				})
			})
		}
	}
}

// TestTheLastWordIsTriedAgain has a receiver that is down when its stream is stopped.
func TestTheLastWordIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(_ delivery, n int) (*http.Response, error) {
			if n < 4 {
				return answer(500), nil
			}
			return answer(202), nil
		}}
		cfg := onWire(store, w)
		cfg.Sweep = 24 * time.Hour
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		if _, err := x.SetStatus(t.Context(), "s1", transmitter.Paused, "over"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { s.Description = "other words"; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := x.Reload(t.Context()); err != nil { // a change of something else loses nothing
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 1}) || len(w.pushes()) != 4 {
			t.Errorf("%+v after %d pushes", c, len(w.pushes()))
		}
		if tr := x.Pump.Troubled(); len(tr) != 0 {
			t.Errorf("trouble %+v", tr)
		}
	})
}

// TestADeletedStreamIsSilent deletes a stream with SETs waiting, one in flight, and one to say that it stopped.
func TestADeletedStreamIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(delivery, int) (*http.Response, error) { time.Sleep(time.Second); return answer(503), nil }}
		cfg := onWire(store, w)
		cfg.Window = 1
		x := newTransmitter(t, cfg)
		id := create(t, x, "token-a", createBody("https://r.example/in"))
		defer begin(t, x)()
		for range 5 {
			send(t, x, "alice")
		}
		synctest.Wait()
		if _, err := x.SetStatus(t.Context(), id, transmitter.Paused, "so"); err != nil {
			t.Fatal(err)
		}
		if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"}); r.StatusCode != 204 {
			t.Fatal(r.StatusCode)
		}
		time.Sleep(time.Hour)
		if n := len(w.pushes()); n != 1 {
			t.Errorf("%d pushes", n)
		}
		if x.Pump.Lanes() != 0 || len(x.Pump.Troubled()) != 0 {
			t.Errorf("%d lanes, trouble %v", x.Pump.Lanes(), x.Pump.Troubled())
		}
	})
}

// TestWhatWasDroppedDoesNotComeBack disables and enables a stream at once, with SETs that were announced before.
func TestWhatWasDroppedDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		cfg := onWire(store, w)
		cfg.Sweep = time.Hour
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		send(t, x, "first")
		time.Sleep(time.Second)
		out, _, err := x.Plan(t.Context(), message("alice"))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Enqueue(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		for _, status := range []string{transmitter.Disabled, transmitter.Enabled} {
			if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"s1","status":"` + status + `"}`}); a.StatusCode != 200 {
				t.Fatal(a.StatusCode)
			}
		}
		synctest.Wait()
		x.Notify(out) // late
		time.Sleep(time.Minute)
		if n := len(w.pushes()); n != 1 {
			t.Errorf("%d pushes: what was dropped came after all", n)
		}
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 1}) {
			t.Errorf("%+v", c)
		}
		req.Covers(t, "TX-106")
	})
}

// TestADeletedStreamHasNoLastWord deletes a stream while the event that it stopped is in flight, and fails.
func TestADeletedStreamHasNoLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(delivery, int) (*http.Response, error) { time.Sleep(time.Second); return answer(503), nil }}
		x := newTransmitter(t, onWire(store, w))
		putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		if _, err := x.SetStatus(t.Context(), "s1", transmitter.Paused, "so"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=s1", token: "token-a"}); r.StatusCode != 204 {
			t.Fatal(r.StatusCode)
		}
		time.Sleep(time.Hour)
		if n := len(w.pushes()); n != 1 || x.Pump.Lanes() != 0 || len(x.Pump.Troubled()) != 0 {
			t.Errorf("%d pushes, %d lanes, trouble %v", n, x.Pump.Lanes(), x.Pump.Troubled())
		}
	})
}
