package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/transmitter"

	"github.com/google/go-cmp/cmp"
)

func TestKeepComesBackByteForByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		g := withOrderOf(newSignal("j1"))
		g.Misses = []string{"one", "two"}
		job := keepNew(t, s, g)
		if job.Kind != "process" || job.Ref != g.Seq || job.Claim == "" {
			t.Fatalf("job %+v", job)
		}
		for name, get := range map[string]func() (*hub.Signal, error){
			"id":  func() (*hub.Signal, error) { return s.Signal(t.Context(), tenant, g.ID) },
			"seq": func() (*hub.Signal, error) { return s.SignalBySeq(t.Context(), g.Seq) },
			"jti": func() (*hub.Signal, error) { return s.SignalByJTI(t.Context(), tenant, "okta", "j1") },
		} {
			got, err := get()
			must(t, err)
			if d := cmp.Diff(g, got); d != "" {
				t.Errorf("by %s:\n%s", name, d)
			}
		}
		_, err := s.Signal(t.Context(), tenant, "sig_none")
		wantCode(t, err, hub.NotFound)
	})
}

func TestRepeatAndClash(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		first := newSignal("j1")
		keepNew(t, s, first)

		again := newSignal("j1")
		k, err := s.Keep(t.Context(), again, "print-j1", nil, nil)
		must(t, err)
		if k.Status != hub.KeptRepeat || k.ID != first.ID || k.Seq != first.Seq || k.Job != nil {
			t.Fatalf("repeat gave %+v", k)
		}
		other := newSignal("j1")
		other.Token = "other.token."
		for range 2 { // the same evidence is kept once
			k, err = s.Keep(t.Context(), other, "another", nil, nil)
			must(t, err)
			if k.Status != hub.KeptClash || k.ID != first.ID || k.Job != nil {
				t.Fatalf("clash gave %+v", k)
			}
		}
		req.Covers(t, "RX-58")
		n, err := s.CountClashes(t.Context(), tenant)
		must(t, err)
		cs, err := s.Clashes(t.Context(), tenant, "okta", "j1")
		must(t, err)
		if n != 1 || len(cs) != 1 || cs[0].Token != "other.token." || cs[0].Print != "another" || cs[0].At == 0 {
			t.Fatalf("%d clashes: %+v", n, cs)
		}
		// The same jti of another source or tenant is another signal.
		elsewhere := newSignal("j1")
		elsewhere.Source = "entra"
		keepNew(t, s, elsewhere)
		foreign := newSignal("j1")
		foreign.Tenant = "other"
		keepNew(t, s, foreign)
		if n := count(t, s, "signal"); n != 3 {
			t.Fatalf("%d signals", n)
		}
		if n := count(t, s, "job"); n != 3 {
			t.Fatalf("%d jobs", n)
		}
	})
}

// One batch holds new ones, repeats of each other, and clashes with each other; exactly one of each jti is new.
func TestRepeatAndClashInOneBatch(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		const jtis, each = 40, 6
		var mu sync.Mutex
		got := map[string]map[hub.KeptStatus]int{}
		var wg sync.WaitGroup
		for i := range jtis {
			for n := range each {
				wg.Go(func() {
					g := newSignal(fmt.Sprintf("j%d", i))
					print := "same"
					if n == each-1 {
						print = "different"
					}
					k, err := s.Keep(t.Context(), g, print, nil, nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					if got[g.JTI] == nil {
						got[g.JTI] = map[hub.KeptStatus]int{}
					}
					got[g.JTI][k.Status]++
				})
			}
		}
		wg.Wait()
		for jti, by := range got {
			// Where the odd one came first, all others clash with it.
			if by[hub.KeptNew] != 1 || by[hub.KeptRepeat]+by[hub.KeptClash] != each-1 || (by[hub.KeptClash] != 1 && by[hub.KeptClash] != each-1) {
				t.Errorf("%s: %v", jti, by)
			}
		}
		if n := count(t, s, "signal"); n != jtis {
			t.Errorf("%d signals", n)
		}
		if n := count(t, s, "job"); n != jtis {
			t.Errorf("%d jobs", n)
		}
	})
}

func outgoing(st *transmitter.Stream, gen int64, jti string) *transmitter.Outgoing {
	return &transmitter.Outgoing{
		Event:      transmitter.Event{Type: "urn:example:a", Subject: [16]byte{1}, Body: []byte(`,"events":{}}`)},
		Rows:       []transmitter.Row{{Stream: st.Key, StreamID: st.ID, JTI: jti, IssuedAt: 1, KeyID: "k", Algorithm: "ES256"}},
		Generation: gen,
	}
}

func TestKeepWithOutbox(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		v := s.Transmitter(tenant, nil)
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		must(t, v.CreateStream(t.Context(), st, 0))
		gen, err := v.Generation(t.Context())
		must(t, err)

		g := newSignal("j1")
		g.State = hub.SignalDone
		out := outgoing(st, gen, "out-1")
		k, err := s.Keep(t.Context(), g, "p", out, nil)
		must(t, err)
		if k.Status != hub.KeptNew || k.Job != nil || out.Rows[0].Seq == 0 || out.Event.Key == 0 {
			t.Fatalf("kept %+v, out %+v", k, out)
		}
		// A repeat sends nothing again.
		k, err = s.Keep(t.Context(), newSignal("j1"), "p", outgoing(st, gen, "out-2"), nil)
		must(t, err)
		if k.Status != hub.KeptRepeat {
			t.Fatalf("kept %+v", k)
		}
		items, err := v.Next(t.Context(), st.Key, 0, 10)
		must(t, err)
		if len(items) != 1 || items[0].JTI != "out-1" || items[0].Seq != out.Rows[0].Seq || string(items[0].Event.Body) != `,"events":{}}` {
			t.Fatalf("waiting: %+v", items)
		}
		// What was matched against other streams is matched again, and nothing is written.
		g2 := newSignal("j2")
		idem := &Idempotency{Client: "c", Key: "k", BodyHash: "h"}
		if _, err := s.Keep(t.Context(), g2, "p", outgoing(st, gen+7, "out-3"), idem); !errors.Is(err, transmitter.ErrStale) {
			t.Fatalf("error is %v", err)
		}
		if n := count(t, s, "signal"); n != 1 {
			t.Fatalf("%d signals", n)
		}
		if n := count(t, s, "idempotency"); n != 0 {
			t.Fatalf("%d keys", n)
		}
		if _, err := s.Keep(t.Context(), g2, "p", outgoing(st, gen, "out-3"), idem); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKeepUnderAnIdempotencyKey(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		idem := &Idempotency{Client: "c", Key: "k", BodyHash: "h"}
		first := newSignal("j1")
		k, err := s.Keep(t.Context(), first, "p", nil, idem)
		must(t, err)
		if k.Status != hub.KeptNew {
			t.Fatalf("kept %+v", k)
		}
		// The client repeats with the key; the door made another jti.
		k, err = s.Keep(t.Context(), newSignal("j2"), "p", nil, idem)
		must(t, err)
		if k.Status != hub.KeptRepeat || k.ID != first.ID || k.Seq != first.Seq {
			t.Fatalf("kept %+v", k)
		}
		_, err = s.Keep(t.Context(), newSignal("j3"), "p", nil, &Idempotency{Client: "c", Key: "k", BodyHash: "other"})
		wantCode(t, err, hub.Conflict)
		if n := count(t, s, "signal"); n != 1 {
			t.Fatalf("%d signals", n)
		}
	})
}

func TestTextThatOneEngineWouldRefuse(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		for _, bad := range []string{"a\x00b", "a\xffb"} {
			g := newSignal("j1")
			g.TXN = bad
			_, err := s.Keep(t.Context(), g, "p", nil, nil)
			wantCode(t, err, hub.Invalid)
			_, err = s.Signal(t.Context(), tenant, bad)
			wantCode(t, err, hub.Invalid)
			wantCode(t, s.PutSourceStream(t.Context(), tenant, "s", []byte(bad)), hub.Invalid)
		}
		if n := count(t, s, "signal"); n != 0 {
			t.Fatalf("%d signals", n)
		}
	})
}

func TestFullQueueIsUnavailable(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		inside, let := make(chan bool), make(chan bool)
		s := p.open(t, Config{QueueLimit: 2})
		var wg sync.WaitGroup
		wg.Go(func() {
			s.write(t.Context(), pointNone, func(*tx) error { inside <- true; <-let; return nil })
		})
		<-inside
		leave, err := s.admit() // the second place
		must(t, err)
		_, err = s.Keep(t.Context(), newSignal("j1"), "p", nil, nil)
		wantCode(t, err, hub.Unavailable)
		if !errors.Is(err, transmitter.ErrBusy) {
			t.Fatalf("error %v is not ErrBusy", err)
		}
		leave()
		close(let)
		wg.Wait()
		if n := s.Stats().Waiting; n != 0 {
			t.Fatalf("%d are waiting", n)
		}
		keepNew(t, s, newSignal("j1"))
	})
}

// A caller that leaves while it waits is not written; one that leaves later gets its answer.
func TestCanceledWhileQueued(t *testing.T) {
	p := sqlitePlace(t)
	s := p.open(t, Config{})
	inside, let := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() { s.write(t.Context(), pointNone, func(*tx) error { inside <- true; <-let; return nil }) })
	keepNewDone := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.seqs.take(t.Context(), 0); err != nil { // nothing to reserve while the writer is held
		t.Fatal(err)
	}
	<-inside
	go func() {
		_, err := s.Keep(ctx, newSignal("j1"), "p", nil, nil)
		keepNewDone <- err
	}()
	for s.Stats().Waiting < 2 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-keepNewDone; !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	close(let)
	wg.Wait()
	if n := count(t, s, "signal"); n != 0 {
		t.Fatalf("%d signals", n)
	}
}

// A write that fails in a shared transaction undoes only itself.
func TestFailureUndoesOnlyItself(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		boom := errors.New("boom")
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				err := s.write(t.Context(), pointNone, func(x *tx) error {
					if _, err := x.exec(`INSERT INTO secret (tenant, name, sealed, created, updated) VALUES ($1, $2, $3, 0, 0)`, tenant, fmt.Sprint(i), []byte{1}); err != nil {
						return err
					}
					switch i % 4 {
					case 1:
						return boom
					case 2:
						_, err := x.exec(`INSERT INTO secret (tenant, name, sealed, created, updated) VALUES ('', 'x', $1, 0, 0)`, []byte{1}) // breaks a CHECK
						return err
					}
					return nil
				})
				if (err == nil) != (i%4 == 0 || i%4 == 3) {
					t.Errorf("%d: %v", i, err)
				}
			})
			wg.Go(func() {
				if _, err := s.Keep(t.Context(), newSignal(fmt.Sprint(i)), "p", nil, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := count(t, s, "secret"); n != 32 {
			t.Errorf("%d rows, want 32", n)
		}
		if n := count(t, s, "signal"); n != 64 {
			t.Errorf("%d signals, want 64", n)
		}
	})
}

// A row of a hot batch that breaks a rule of the tables does not take its neighbours with it.
func TestHotBatchFallsBackToSingles(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		twice := newSignal("same-id")
		keepNew(t, s, twice)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				g := newSignal(fmt.Sprint(i))
				if i%10 == 0 {
					g.ID = twice.ID // a second signal of one id breaks the unique index
				}
				_, err := s.Keep(t.Context(), g, "p", nil, nil)
				if (err != nil) != (i%10 == 0) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if n := count(t, s, "signal"); n != 37 {
			t.Errorf("%d signals, want 37", n)
		}
	})
}

func TestTenantsNeverCross(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		g := newSignal("j1")
		a := newAction("app")
		decided(t, s, g, DecideOptions{}, a)
		_, err := s.Signal(ctx, "other", g.ID)
		wantCode(t, err, hub.NotFound)
		_, err = s.Action(ctx, "other", a.ID)
		wantCode(t, err, hub.NotFound)
		l, err := s.ListSignals(ctx, "other", SignalFilter{}, hub.Page{})
		must(t, err)
		if len(l.Items) != 0 {
			t.Fatalf("the other tenant sees %v", l.Items)
		}
		al, err := s.ListActions(ctx, "other", ActionFilter{SignalID: g.ID}, hub.Page{})
		must(t, err)
		if len(al.Items) != 0 {
			t.Fatalf("the other tenant sees %v", al.Items)
		}
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		must(t, s.Transmitter(tenant, nil).CreateStream(ctx, st, 0))
		out := outgoing(st, 0, "x")
		must(t, s.Transmitter("other", nil).Enqueue(ctx, out))
		if out.Rows[0].Seq != 0 {
			t.Fatal("a row was written on a stream of another tenant")
		}
		// An empty tenant is refused everywhere.
		g2 := newSignal("j2")
		g2.Tenant = ""
		_, err = s.Keep(ctx, g2, "p", nil, nil)
		wantCode(t, err, hub.Invalid)
		for name, err := range map[string]error{
			"Signal":        second(s.Signal(ctx, "", g.ID)),
			"SignalByJTI":   second(s.SignalByJTI(ctx, "", "okta", "j1")),
			"ListSignals":   second(s.ListSignals(ctx, "", SignalFilter{}, hub.Page{})),
			"Action":        second(s.Action(ctx, "", a.ID)),
			"ListActions":   second(s.ListActions(ctx, "", ActionFilter{}, hub.Page{})),
			"Receipt":       second(s.Receipt(ctx, "", "x")),
			"ListReceipts":  second(s.ListReceipts(ctx, "", ReceiptFilter{}, hub.Page{})),
			"Apply":         second(s.Apply(ctx, "", nil)),
			"Resources":     second(s.Resources(ctx, "", hub.KindApp)),
			"ListResources": second(s.ListResources(ctx, "", hub.KindApp, hub.Page{})),
			"Resource":      second(s.Resource(ctx, "", hub.KindApp, "x")),
			"ByEmail":       second(s.FindIdentityByEmail(ctx, "", "x")),
			"ByAccount":     second(s.FindIdentityByAccount(ctx, "", "x", "x")),
			"PutSecret":     s.PutSecret(ctx, "", "x", nil),
			"Secret":        second(s.Secret(ctx, "", "x")),
			"ListSecrets":   second(s.ListSecrets(ctx, "")),
			"DeleteSecret":  s.DeleteSecret(ctx, "", "x"),
			"PutKey":        s.PutKey(ctx, Key{KID: "k"}),
			"Keys":          second(s.Keys(ctx, "")),
			"PutToken":      s.PutToken(ctx, Token{ID: "x", Hash: make([]byte, 32)}),
			"ListTokens":    second(s.ListTokens(ctx, "")),
			"RevokeToken":   s.RevokeToken(ctx, "", "x"),
			"SourceStream":  second(s.SourceStream(ctx, "", "x")),
			"PutSource":     s.PutSourceStream(ctx, "", "x", nil),
			"Requeue":       second(s.RequeueUnresolved(ctx, "")),
			"Enqueue":       s.Enqueue(ctx, "", hub.Job{Kind: "enroll"}),
			"SaveReceipt":   second(s.SaveReceipt(ctx, &hub.Receipt{}, 0, nil, nil)),
			"CountClashes":  second(s.CountClashes(ctx, "")),
			"CreateStream":  s.Transmitter("", nil).CreateStream(ctx, &transmitter.Stream{ID: "x"}, 0),
			"Enqueue out":   s.Transmitter("", nil).Enqueue(ctx, outgoing(st, 0, "y")),
			"Order":         second(s.Transmitter("", nil).Order(ctx, transmitter.OrderKey{})),
		} {
			if hub.CodeOf(err) != hub.Invalid {
				t.Errorf("%s without a tenant: %v", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// At load, many signals share each round trip.
func TestRoundTripsPerSignal(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for w := range 256 {
			wg.Go(func() {
				for i := range 10 {
					if _, err := s.Keep(t.Context(), newSignal(fmt.Sprintf("%d-%d", w, i)), "p", nil, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		st := s.Stats()
		if st.Signals != 2560 || float64(st.KeepTrips) > 0.1*float64(st.Signals) {
			t.Fatalf("%d round trips for %d signals", st.KeepTrips, st.Signals)
		}
	})
}
