package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"countersign/transmitter"
)

// sendingStreams is how many streams the sending child works on, one worker on each.
const sendingStreams = 8

// sendingChild enqueues, acknowledges, refuses, redrives and announces until it is killed, at a stop point where it
// was given one, and prints what it was told is kept.
func sendingChild(spec string) {
	f := strings.Split(spec, "|") // url, schema, run, stop point
	cfg := Config{Node: "child", Schema: f[1]}
	var mu sync.Mutex
	calls := 0
	cfg.Stop = func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if point != f[3] {
			return
		}
		if calls++; calls == 5 {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {}
		}
	}
	s, err := Open(context.Background(), f[0], cfg)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	v := s.Transmitter(tenant, nil)
	out := make(chan string, 1024)
	for w := range sendingStreams {
		go func() {
			id := fmt.Sprint("str_", w)
			st, err := v.Stream(ctx, "r", id)
			say := func(what, jti string, err error) bool {
				if err != nil {
					out <- "error " + what + " " + err.Error()
					return false
				}
				out <- what + " " + jti
				return true
			}
			if err != nil {
				say("stream", id, err)
				return
			}
			for i := 0; ; i++ {
				jti := fmt.Sprintf("%s-%d-%d", f[2], w, i)
				if !say("sent", jti, v.Enqueue(ctx, outgoing(st, 0, jti))) {
					return
				}
				switch i % 4 {
				case 1:
					_, err := v.Acknowledge(ctx, st.Key, []string{jti}, nil, 1)
					if !say("ended", jti, err) {
						return
					}
				case 2:
					_, err := v.Acknowledge(ctx, st.Key, nil, []transmitter.Refusal{{JTI: jti, Err: "invalid_request"}}, 1)
					if !say("dead", jti, err) {
						return
					}
					_, err = v.Redrive(ctx, transmitter.DeadFilter{Stream: st.Key, JTI: jti})
					if !say("again", jti, err) {
						return
					}
				case 3:
					_, err := v.Announce(ctx, "r", id, func(st *transmitter.Stream) (*transmitter.Outgoing, error) {
						told := outgoing(st, 0, "told-"+jti)
						told.Rows[0].Parting = true
						st.Status, st.Reason = transmitter.Paused, jti
						return told, nil
					})
					if !say("told", jti, err) {
						return
					}
				}
			}
		}()
	}
	for line := range out {
		fmt.Println(line)
	}
}

// What the transmitter was told is kept is there after kill -9, each row in exactly one place.
func TestKillLosesNothingSent(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		s := p.open(t, Config{Node: "child"})
		for w := range sendingStreams {
			must(t, s.Transmitter(tenant, nil).CreateStream(t.Context(), &transmitter.Stream{ID: fmt.Sprint("str_", w), Receiver: "r", Status: transmitter.Enabled}, 0))
		}
		s.Close()
		last := map[string]string{}
		for run, point := range []string{"", "poll.before-commit", "poll.after-commit", "announce.before-commit", "announce.after-commit", "redrive.before-commit", "keep.after-commit"} {
			for _, line := range runChild(t, place{url: "sent|" + p.url, schema: p.schema}, fmt.Sprint(run), point) {
				what, jti, _ := strings.Cut(line, " ")
				last[jti] = what
			}
			checkSent(t, p, point, last)
		}
	})
}

func checkSent(t *testing.T, p place, point string, last map[string]string) {
	t.Helper()
	s := p.open(t, Config{Node: "child"})
	defer s.Close()
	v := s.Transmitter(tenant, nil)
	waits, dead, delivered := map[string]int{}, map[string]int{}, map[string]int{}
	streams, _, err := v.AllStreams(t.Context())
	must(t, err)
	for _, st := range streams {
		items, err := v.Next(t.Context(), st.Key, 0, 1_000_000)
		must(t, err)
		for i := range items {
			waits[items[i].JTI]++
		}
		letters, err := v.Dead(t.Context(), st.Key, 1_000_000)
		must(t, err)
		for i := range letters {
			dead[letters[i].Item.JTI]++
		}
	}
	lines, err := v.Deliveries(t.Context(), transmitter.DeliveryFilter{Outcome: transmitter.Delivered, N: 1_000_000})
	must(t, err)
	for i := range lines {
		delivered[lines[i].JTI]++
	}
	for jti, what := range last {
		w, d, h := waits[jti], dead[jti], delivered[jti]
		ok := w+d+h == 1
		switch what {
		case "ended":
			ok = ok && h == 1
		case "again":
			ok = ok && w == 1
		case "dead":
			ok = ok && h == 0
		case "told":
			ok = ok && w == 1 && waits["told-"+jti] == 1
		}
		if !ok {
			t.Fatalf("%q: %s %s: %d wait, %d dead, %d delivered", point, what, jti, w, d, h)
		}
	}
}
