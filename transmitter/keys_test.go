package transmitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

func TestAMissingKeyDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		cfg := onWire(store, w)
		st := putStream(t, store, "s1", "https://r.example/in")
		mustSend(t, newTransmitter(t, cfg), message("alice"))
		cfg.Signers = []*set.Signer{ssftest.Signer(set.ES256, "es-2")}
		x := newTransmitter(t, cfg)
		defer begin(t, x)()
		later := send(t, x, "alice")
		time.Sleep(time.Minute)
		v := view(t, x, "s1")
		if c := count(t, store, st); c.Waiting != 2 || len(w.pushes()) != 0 {
			t.Errorf("%+v, %d pushes", c, len(w.pushes()))
		}
		if want := `rows wait for the signing key "es-1", which is not here: put it back, or have them reissued under a current one`; !v.Stream.Trouble.Open || v.Stream.Trouble.Reason != want {
			t.Errorf("trouble %+v", v.Stream.Trouble)
		}
		// It comes back: nobody waits for the next probe.
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{ssftest.Signer(set.ES256, "es-2"), ssftest.Signer(set.ES256, "es-1")}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := w.pushes()
		if len(got) != 2 || got[0].kid != "es-1" || got[1].kid != "es-2" || got[1].jti != later {
			t.Errorf("pushed %+v", got)
		}
		req.Covers(t, "TX-30", "TX-172")
	})
}

// published gives the kids of the key set that is served.
func published(t *testing.T, x *transmitter.Transmitter) (kids []string) {
	t.Helper()
	r := do(x, call{method: "GET", path: "/t/blue/jwks.json"})
	var keys struct {
		Keys []struct {
			ID string `json:"kid"`
		}
	}
	decode(t, r, &keys)
	for _, k := range keys.Keys {
		kids = append(kids, k.ID)
	}
	return kids
}

// TestKeysChangeInTheRunningProcess rotates a key with overlap.
func TestKeysChangeInTheRunningProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		cfg := onWire(store, w)
		old, fresh := ssftest.Signer(set.ES256, "es-1"), ssftest.Signer(set.ES256, "es-2")
		cfg.Signers, cfg.Also = []*set.Signer{old}, []set.Key{fresh.Public()} // published before its first use
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		if kids := published(t, x); !slices.Equal(kids, []string{"es-1", "es-2"}) {
			t.Errorf("published %v", kids)
		}
		if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { s.Status = transmitter.Paused; return nil }); err != nil {
			t.Fatal(err)
		}
		send(t, x, "alice")
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{fresh, old}}); err != nil {
			t.Fatal(err)
		}
		if kids := published(t, x); !slices.Equal(kids, []string{"es-2", "es-1"}) {
			t.Errorf("published %v", kids)
		}
		send(t, x, "alice")
		if use, err := x.KeysInUse(t.Context()); err != nil || use["es-1"] != 1 || use["es-2"] != 1 {
			t.Errorf("in use %v, %v", use, err)
		}
		if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { s.Status = transmitter.Enabled; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		got := w.pushes()
		if len(got) != 2 || got[0].kid != "es-1" || got[1].kid != "es-2" {
			t.Fatalf("pushed %+v", got)
		}
		keys := set.StaticKeys{old.Public(), fresh.Public()}
		for _, d := range got {
			if _, err := set.Verify(t.Context(), d.token, &set.Policy{Issuer: issuer, Audience: st.Audience, Algorithms: []set.Algorithm{set.ES256}, Keys: keys}); err != nil {
				t.Errorf("%s: %v", d.kid, err)
			}
		}
		if use, err := x.KeysInUse(t.Context()); err != nil || len(use) != 0 {
			t.Errorf("in use %v, %v: the old key may go", use, err)
		}
		req.Covers(t, "TX-28", "TX-29", "TX-30")
	})
}

func TestFaultyKeysAreRefused(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	es1, es2 := ssftest.Signer(set.ES256, "es-1"), ssftest.Signer(set.ES256, "es-2")
	stranger := es2.Public()
	stranger.ID = "es-1"
	nameless := es2.Public()
	nameless.ID = ""
	for name, keys := range map[string]transmitter.Keys{
		"none":                   {},
		"only others":            {Also: []set.Key{es1.Public()}},
		"one kid twice":          {Signers: []*set.Signer{es1, es1}},
		"one kid for two keys":   {Signers: []*set.Signer{es1}, Also: []set.Key{stranger}},
		"another without a kid":  {Signers: []*set.Signer{es1}, Also: []set.Key{nameless}},
		"one twice among others": {Signers: []*set.Signer{es1}, Also: []set.Key{es2.Public(), es2.Public()}},
	} {
		if err := x.SetKeys(keys); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if kids := published(t, x); !slices.Equal(kids, []string{"es-1", "ed-1"}) {
		t.Errorf("published %v", kids)
	}
	if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{es1}, Also: []set.Key{es1.Public(), es2.Public()}}); err != nil {
		t.Error(err)
	}
	if kids := published(t, x); !slices.Equal(kids, []string{"es-1", "es-2"}) {
		t.Errorf("published %v: each once", kids)
	}
	req.Covers(t, "TX-29")
}

// TestReissue withdraws a key that somebody else may have: of what waits, what is in flight and what was set aside,
// nothing is sent under it any more.
func TestReissue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := &wire{}
		w.tell = func(d delivery, _ int) (*http.Response, error) {
			switch {
			case d.kid == "es-2":
				return answer(202), nil
			case d.who == "flying":
				time.Sleep(5 * time.Second)
				return answer(202), nil // it arrives all the same
			case d.who == "dead":
				return answer(422), nil
			}
			return answer(401), nil
		}
		cfg := onWire(store, w)
		cfg.Sweep = time.Hour
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		stop := begin(t, x)
		defer stop()
		before := map[string]bool{send(t, x, "dead"): true}
		time.Sleep(time.Second)
		before[send(t, x, "flying")] = true
		synctest.Wait()
		for i := range 600 {
			before[send(t, x, fmt.Sprintf("u%d", i%5))] = true
		}
		time.Sleep(time.Second)

		compromised, fresh := ssftest.Signer(set.ES256, "es-1"), ssftest.Signer(set.ES256, "es-2")
		if n, err := x.Reissue(t.Context(), "es-1"); err == nil || n != 0 || !strings.Contains(err.Error(), "signs ES256") {
			t.Errorf("the current key: %d, %v", n, err)
		}
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{fresh, compromised}}); err != nil {
			t.Fatal(err)
		}
		pushed := len(w.pushes())
		n, err := x.Reissue(t.Context(), "es-1")
		if n != 602 || err != nil {
			t.Fatalf("%d rows, %v", n, err)
		}
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{fresh}}); err != nil {
			t.Fatal(err)
		}
		if use, err := x.KeysInUse(t.Context()); err != nil || use["es-1"] != 0 || use["es-2"] != 602 {
			t.Errorf("in use %v, %v", use, err)
		}
		// A change of the stream ends the back-off that its 401 brought.
		if _, err := store.UpdateStream(t.Context(), "a", "s1", func(s *transmitter.Stream) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := x.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 601, Dead: 1}) {
			t.Errorf("%+v", c)
		}
		if n, err := x.Redrive(t.Context(), transmitter.DeadFilter{}); n != 1 || err != nil {
			t.Errorf("redriven: %d, %v", n, err)
		}
		time.Sleep(time.Second)
		after, by := map[string]bool{}, map[string]int{}
		for _, d := range w.pushes()[pushed:] {
			if d.kid != "es-2" || before[d.jti] || after[d.jti] {
				t.Fatalf("pushed again: %+v", d)
			}
			after[d.jti] = true
			by[d.who]++
		}
		if len(after) != 602 || by["flying"] != 1 || by["dead"] != 1 {
			t.Errorf("%d SETs under the new key: %v", len(after), by)
		}
		req.Covers(t, "TX-30")
	})
}

// TestReissueOfAnOrder gives the order another content address, under which it is sent and known.
func TestReissueOfAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		x := newTransmitter(t, onWire(store, w))
		id := create(t, x, "token-a", strings.TrimSuffix(createBody("https://r.example/in"), "}")+","+theirs("https://a.example", ssftest.Signer(set.ES256, "rcpt-a"))+"}")
		status := func(status string) {
			if _, err := store.UpdateStream(t.Context(), "a", id, func(s *transmitter.Stream) error { s.Status = status; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		status(transmitter.Paused)
		defer begin(t, x)()
		m := message("alice")
		m.Order = json.RawMessage(directive)
		sent := mustSend(t, x, m)
		was := sent.Queued[0]
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{ssftest.Signer(set.ES256, "es-2")}}); err != nil {
			t.Fatal(err)
		}
		if n, err := x.Reissue(t.Context(), "es-1"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := store.Order(t.Context(), transmitter.OrderKey{Receiver: "a", ReceiptIssuer: "https://a.example", JTI: was.JTI}); !errors.Is(err, transmitter.ErrNotFound) {
			t.Errorf("the order under its old jti: %v", err)
		}
		status(transmitter.Enabled)
		time.Sleep(5 * time.Second)
		got := w.pushes()
		if len(got) != 1 || got[0].kid != "es-2" || got[0].jti == was.JTI {
			t.Fatalf("pushed %+v", got)
		}
		o, err := store.Order(t.Context(), transmitter.OrderKey{Receiver: "a", ReceiptIssuer: "https://a.example", JTI: got[0].jti})
		if err != nil {
			t.Fatal(err)
		}
		u, err := set.Parse(got[0].token)
		if err != nil || o.SetHash != u.Address() || o.SetHash == was.SetHash || o.State != transmitter.OrderDelivered {
			t.Errorf("order %+v, pushed %s, %v", o, u.Address(), err)
		}
	})
}

// slowReissue takes its time, and notes nothing.
type slowReissue struct {
	*transmitter.Memory
	fail error
}

func (s *slowReissue) Reissue(ctx context.Context, kid string, n int, again func(int64, *transmitter.Item) (transmitter.Row, error)) (int, error) {
	time.Sleep(time.Second)
	if s.fail != nil {
		return 0, s.fail
	}
	return s.Memory.Reissue(ctx, kid, n, again)
}

// TestOrderThroughAReissue sends on while the rows of a key are being reissued: they wait, and so
// do new ones that come after them.
func TestOrderThroughAReissue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowReissue{Memory: new(transmitter.Memory)}
		w := &wire{tell: func(d delivery, _ int) (*http.Response, error) {
			if d.kid == "es-1" {
				return answer(503), nil
			}
			return answer(202), nil
		}}
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		defer begin(t, x)()
		for range 1000 {
			send(t, x, "alice")
		}
		time.Sleep(time.Second)
		fresh, old := ssftest.Signer(set.ES256, "es-2"), ssftest.Signer(set.ES256, "es-1")
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{fresh, old}}); err != nil {
			t.Fatal(err)
		}
		last := send(t, x, "alice")
		store.fail = errors.New("the database is gone")
		if n, err := x.Reissue(t.Context(), "es-1"); n != 0 || !errors.Is(err, store.fail) {
			t.Errorf("%d, %v", n, err)
		}
		store.fail = nil
		before := len(w.pushes())
		done := make(chan error, 1)
		go func() { _, err := x.Reissue(t.Context(), "es-1"); done <- err }()
		time.Sleep(4 * time.Second)
		for _, d := range w.pushes()[before:] {
			if d.kid == "es-1" {
				t.Error("pushed under the old key meanwhile")
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		var got []string
		for _, d := range w.pushes() {
			if d.kid == "es-2" {
				got = append(got, d.jti)
			}
		}
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 1001}) || len(got) != 1001 || got[1000] != last {
			t.Errorf("%+v; the newest about the subject is not the last", c)
		}
		req.Covers(t, "TX-172")
	})
}

// TestAStreamThatStartsDuringAReissue is enabled while its rows are being reissued: they are read then, and wait.
func TestAStreamThatStartsDuringAReissue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowReissue{Memory: new(transmitter.Memory)}
		w := new(wire)
		x := newTransmitter(t, onWire(store, w))
		st := putStream(t, store, "s1", "https://r.example/in")
		status := func(status string) {
			if a := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"s1","status":"` + status + `"}`}); a.StatusCode != 200 {
				t.Fatal(a.StatusCode)
			}
		}
		defer begin(t, x)()
		status("paused")
		for range 10 {
			send(t, x, "alice")
		}
		fresh, old := ssftest.Signer(set.ES256, "es-2"), ssftest.Signer(set.ES256, "es-1")
		if err := x.SetKeys(transmitter.Keys{Signers: []*set.Signer{fresh, old}}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, err := x.Reissue(t.Context(), "es-1"); done <- err }()
		time.Sleep(100 * time.Millisecond)
		status("enabled")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, d := range w.pushes() {
			if d.kid != "es-2" {
				t.Errorf("pushed under %s", d.kid)
			}
		}
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 10}) {
			t.Errorf("%+v", c)
		}
	})
}

// TestAnotherProcessReissues has the rows of a missing key reissued where it is not known: the next probe sees it.
func TestAnotherProcessReissues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		w := new(wire)
		cfg := onWire(store, w)
		st := putStream(t, store, "s1", "https://r.example/in")
		for range 5 {
			mustSend(t, newTransmitter(t, cfg), message("alice"))
		}
		cfg.Signers = []*set.Signer{ssftest.Signer(set.ES256, "es-2")}
		cfg.Sweep = time.Hour
		x, other := newTransmitter(t, cfg), newTransmitter(t, cfg)
		defer begin(t, x)()
		time.Sleep(time.Second)
		if !view(t, x, "s1").Stream.Trouble.Open {
			t.Fatal("no trouble")
		}
		if n, err := other.Reissue(t.Context(), "es-1"); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(6 * time.Minute)
		if c := count(t, store, st); c != (transmitter.Counts{Delivered: 5}) {
			t.Errorf("%+v", c)
		}
	})
}
