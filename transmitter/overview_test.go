package transmitter_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/transmitter"
)

func TestOverview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{tell: func(d delivery, n int) (*http.Response, error) {
			switch {
			case d.who == "bad" && d.host == "r.example":
				return answer(422), nil
			case d.host == "down.example":
				return nil, errors.New("refused")
			case d.host == "hung.example":
				time.Sleep(9 * time.Second)
			case d.who == "slow":
				time.Sleep(900 * time.Millisecond)
			default:
				time.Sleep(10 * time.Millisecond)
			}
			return answer(202), nil
		}}
		x := newTransmitter(t, onWire(store, w))
		fine, down, hung, polled := putStream(t, store, "fine", "https://r.example/in"), putStream(t, store, "down", "https://down.example/in"),
			putStream(t, store, "hung", "https://hung.example/in"), putPolled(t, store, "polled")
		if _, err := store.UpdateStream(t.Context(), "a", "fine", func(s *transmitter.Stream) error { s.Authorization = "Bearer push-secret"; return nil }); err != nil {
			t.Fatal(err)
		}
		defer begin(t, x)()
		begun := time.Now()
		for i := range 200 {
			who := fmt.Sprintf("u%d", i)
			if i == 0 {
				who = "bad"
			} else if i > 195 {
				who = "slow"
			}
			mustSend(t, x, message(who))
			time.Sleep(10 * time.Millisecond)
		}
		_, leave, ok := x.Park(polled.Key)
		if !ok {
			t.Fatal("not held")
		}
		defer leave()
		time.Sleep(4 * time.Second)
		all, err := x.Overview(t.Context())
		if err != nil || len(all) != 4 {
			t.Fatal(len(all), err)
		}
		for i, st := range []*transmitter.Stream{fine, down, hung, polled} {
			if all[i].Stream.ID != st.ID || all[i].Stream.Authorization != "" || !all[i].Here {
				t.Errorf("%d: %+v", i, all[i].Stream)
			}
			if one := view(t, x, st.ID); !cmp.Equal(*one, all[i]) {
				t.Errorf("View and Overview differ:\n%s", cmp.Diff(*one, all[i]))
			}
		}
		v := all[0]
		if v.Counts.Delivered != 199 || v.Counts.Dead != 1 || v.P50 < 8*time.Millisecond || v.P50 > 13*time.Millisecond || v.P99 < 700*time.Millisecond || v.P99 > 4*time.Second {
			t.Errorf("%+v, p50 %v, p99 %v", v.Counts, v.P50, v.P99)
		}
		if v.Last.Status != 202 || v.Last.Reason != "" || v.Last.At.Time().Before(begun) || v.Next != 0 {
			t.Errorf("last %+v, next %v", v.Last, v.Next)
		}
		if !slices.Equal(v.Warnings, []string{"1 SET is set aside; see why, and redrive"}) {
			t.Errorf("warnings %q", v.Warnings)
		}
		v = all[1]
		if v.Next <= transmitter.At(begun) || v.Stream.Trouble.Fails == 0 || v.Last.Status != 0 || v.Last.Reason != "no answer: refused" || v.Counts.Waiting != 200 || v.Counts.Oldest == 0 {
			t.Errorf("%+v, last %+v, next %v", v.Counts, v.Last, v.Next)
		}
		if len(v.Warnings) != 1 || !strings.HasPrefix(v.Warnings[0], "delivery fails since 2000-01-01T00:00:00Z (") || !strings.Contains(v.Warnings[0], "no answer: refused; the next try is at 2000-01-01T00:00:") {
			t.Errorf("warnings %q", v.Warnings)
		}
		if all[2].InFlight != 8 {
			t.Errorf("in flight: %d", all[2].InFlight)
		}
		if all[3].Parked != 1 || all[3].InFlight != 0 || all[3].Counts.Waiting != 200 {
			t.Errorf("%+v, %d held", all[3].Counts, all[3].Parked)
		}
		time.Sleep(2 * time.Hour)
		if v := view(t, x, "polled"); !slices.Equal(v.Warnings, []string{"200 SETs wait since 2000-01-01T00:00:00Z: its receiver does not poll, or does not acknowledge"}) {
			t.Errorf("warnings %q", v.Warnings)
		}
		if _, err := x.View(t.Context(), "nobody"); !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("no such stream: %v", err)
		}
	})
}

// TestAStreamThatCanDeliverNothing is warned of in its view, and in the log when it is made.
func TestAStreamThatCanDeliverNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*transmitter.Stream)
		want   string // "": nothing is wrong
	}{
		{"fine", func(*transmitter.Stream) {}, ""},
		{"no subjects", func(s *transmitter.Stream) { s.DefaultSubjects = "NONE" }, "delivers nothing: default_subjects is NONE and its list is empty; add subjects"},
		{"its subjects went", func(s *transmitter.Stream) { s.DefaultSubjects, s.Listed = "NONE", true }, "delivers nothing: default_subjects is NONE and its list is empty; add subjects"},
		{"no events", func(s *transmitter.Stream) { s.Delivered = nil }, "delivers nothing: events_delivered is empty; its receiver asked for no event type that it may have"},
		{"disabled", func(s *transmitter.Stream) { s.Status = transmitter.Disabled }, "delivers nothing: it is disabled, and nothing is kept for it; enable it"},
		{"no key", func(s *transmitter.Stream) { s.Algorithm = "RS256" }, "delivers nothing: there is no key for its algorithm RS256"},
		{"no address", func(s *transmitter.Stream) { s.Endpoint = "" }, "delivers nothing: it has no endpoint_url"},
		{"polled", func(s *transmitter.Stream) { s.Method, s.Endpoint = "urn:ietf:rfc:8936", "" }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(transmitter.Memory)
				var log bytes.Buffer
				cfg := onWire(store, new(wire))
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
				x := newTransmitter(t, cfg)
				stop := begin(t, x)
				st := &transmitter.Stream{ID: "s1", Receiver: "a", Audience: []string{"https://a.example"}, Delivered: []string{sessionRevoked},
					Method: "urn:ietf:rfc:8935", Endpoint: "https://r.example/in", Status: transmitter.Enabled}
				test.change(st)
				if err := store.CreateStream(t.Context(), st, 0); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				v := view(t, x, "s1")
				stop()
				if got := strings.Join(v.Warnings, "|"); got != test.want {
					t.Errorf("warnings %q", got)
				}
				want := 0
				if test.want != "" && !st.Listed {
					want = 1
				}
				if n := strings.Count(log.String(), "delivers nothing"); n != want {
					t.Errorf("%d lines in the log:\n%s", n, log.String())
				}
				req.Covers(t, "IOP-26", "P-66")
			})
		})
	}
}

func TestDeliveryTimes(t *testing.T) {
	var times transmitter.Times
	if times.Quantile(0.5) != 0 {
		t.Error("a time of nothing")
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 100_000 { // from 1 ms to 1 s, evenly; more than are counted apart
		times.Add(time.Duration(1+dice.IntN(1000)) * time.Millisecond)
	}
	for _, q := range []float64{0.1, 0.5, 0.9, 0.99} {
		got, want := times.Quantile(q).Seconds(), q
		if got < want/1.2 || got > want*1.2 {
			t.Errorf("%v is %.3f s", q, got)
		}
	}
	for _, d := range []time.Duration{-time.Hour, 0, time.Microsecond, time.Millisecond, time.Hour, 30 * 24 * time.Hour, 10000 * time.Hour} {
		var one transmitter.Times
		one.Add(d)
		want := min(max(d, 64*time.Microsecond), 48*24*time.Hour).Seconds()
		if got := one.Quantile(0.5).Seconds(); got < want/1.25 || got > want*1.25 {
			t.Errorf("%v is told as %v", d, one.Quantile(0.5))
		}
	}
}
