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

// choringStreams is how many streams the child works on, one worker on each.
const choringStreams = 4

// choringChild lets rows grow too old, puts them back, gives others a new key and withdraws orders, until it is killed at
// its stop point, and prints what it was told is kept.
func choringChild(spec string) {
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
		if calls++; calls == 9 {
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
	for w := range choringStreams {
		go func() {
			say := func(what, jti string, err error) {
				if err != nil {
					out <- "error " + what + " " + err.Error()
					select {}
				}
				out <- what + " " + jti
			}
			st, err := v.Stream(ctx, "r", fmt.Sprint("str_", w))
			if err != nil {
				say("stream", "", err)
			}
			kid := fmt.Sprint("worn-", f[2], "-", w)
			for i := 0; ; i++ {
				jti := fmt.Sprintf("%s-%d-%d", f[2], w, i)
				old := outgoing(st, 0, "old-"+jti)
				old.Event.At = 5
				say("sent", "old-"+jti, v.Enqueue(ctx, old))
				_, err := v.Expire(ctx, 10, 100)
				say("expired", "old-"+jti, err)
				_, err = v.Redrive(ctx, transmitter.DeadFilter{Stream: st.Key, JTI: "old-" + jti, At: 20})
				say("again", "old-"+jti, err)

				worn := outgoing(st, 0, "worn-"+jti)
				worn.Rows[0].KeyID = kid
				say("sent", "worn-"+jti, v.Enqueue(ctx, worn))
				_, err = v.Reissue(ctx, kid, 100, func(_ int64, it *transmitter.Item) (transmitter.Row, error) {
					return transmitter.Row{JTI: it.JTI + "-new", IssuedAt: 2, KeyID: "k", Algorithm: "ES256"}, nil
				})
				say("reissued", "worn-"+jti, err)

				ordered := outgoing(st, 0, "order-"+jti)
				ordered.Rows[0].Order = &transmitter.SentOrder{JTI: "order-" + jti, Receiver: "r", Stream: st.ID, SetHash: "h-" + jti, Input: "a.b", State: transmitter.OrderQueued, IssuedAt: 1}
				ordered.Rows[0].Input = "a.b"
				say("ordered", "order-"+jti, v.Enqueue(ctx, ordered))
				_, err = v.WithdrawOrder(ctx, transmitter.OrderKey{Receiver: "r", JTI: "order-" + jti}, 7, "a mistake")
				say("withdrawn", "order-"+jti, err)
			}
		}()
	}
	for line := range out {
		fmt.Println(line)
	}
}

// A kill in the middle of a chore leaves each row in exactly one place, in its old state or the new one, and an order
// withdrawn together with its row or not at all.
func TestKillInTheMiddleOfChores(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		s := p.open(t, Config{Node: "child"})
		for w := range choringStreams {
			must(t, s.Transmitter(tenant, nil).CreateStream(t.Context(), &transmitter.Stream{ID: fmt.Sprint("str_", w), Receiver: "r", Status: transmitter.Enabled}, 0))
		}
		s.Close()
		last := map[string]string{}
		for run, point := range []string{"expire.before-commit", "expire.after-commit", "redrive.before-commit", "redrive.after-commit",
			"reissue.before-commit", "reissue.after-commit", "withdraw.before-commit", "withdraw.after-commit"} {
			for _, line := range runChild(t, place{url: "chores|" + p.url, schema: p.schema}, fmt.Sprint(run), point) {
				what, jti, _ := strings.Cut(line, " ")
				last[jti] = what
			}
			checkChores(t, p, point, last)
		}
	})
}

func checkChores(t *testing.T, p place, point string, last map[string]string) {
	t.Helper()
	s := p.open(t, Config{Node: "child"})
	defer s.Close()
	v := s.Transmitter(tenant, nil)
	waits, dead := map[string]int{}, map[string]int{}
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
	for jti, what := range last {
		w, d, fresh := waits[jti], dead[jti], waits[jti+"-new"]
		ok := w+d+fresh == 1
		switch what {
		case "again":
			ok = ok && w == 1
		case "expired":
			ok = ok && fresh == 0
		case "reissued":
			ok = ok && fresh == 1
		case "ordered", "withdrawn":
			o, err := v.Order(t.Context(), transmitter.OrderKey{Receiver: "r", JTI: jti})
			must(t, err)
			if o.Withdrawn == 0 {
				ok = ok && w == 1 && what == "ordered" && o.State == transmitter.OrderQueued
			} else {
				ok = w+d+fresh == 0 && o.State == transmitter.OrderDropped && o.WithdrawnWhy == "a mistake"
			}
		}
		if !ok {
			t.Fatalf("%q: %s %s: %d wait, %d dead, %d with a new name", point, what, jti, w, d, fresh)
		}
	}
	// What was put back stays put back, whoever looks for what is too old.
	if _, err := v.Expire(t.Context(), 10, 1_000_000); err != nil {
		t.Fatal(err)
	}
	for jti, what := range last {
		if what != "again" {
			continue
		}
		found := false
		for _, st := range streams {
			items, err := v.Next(t.Context(), st.Key, 0, 1_000_000)
			must(t, err)
			for i := range items {
				found = found || items[i].JTI == jti
			}
		}
		if !found {
			t.Fatalf("%q: %s was put back and given up again", point, jti)
		}
		break // one says it: all were put back at one moment
	}
}
