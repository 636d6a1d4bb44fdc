package store

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"

	"github.com/google/go-cmp/cmp"
)

func hashOf(n byte) []byte {
	h := make([]byte, 32)
	h[0] = n
	return h
}

func TestAccessTokens(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		now := time.Now()
		s := p.open(t, Config{Now: func() time.Time { return now }})
		ctx := t.Context()
		soon := hub.At(now.Add(time.Hour))
		a := Access{Hash: hashOf(1), Tenant: tenant, Client: "c", Scopes: []string{"ssf.read", "ssf.manage"}, Expires: soon, ID: "at_1"}
		must(t, s.PutAccess(ctx, a))
		wantCode(t, s.PutAccess(ctx, a), hub.Conflict)
		got, err := s.AccessByHash(ctx, hashOf(1))
		must(t, err)
		if d := cmp.Diff(&a, got); d != "" {
			t.Fatal(d)
		}
		for _, bad := range []Access{
			{Hash: hashOf(9), Client: "c", Expires: soon, ID: "x"}, {Hash: []byte{1}, Tenant: tenant, Client: "c", Expires: soon, ID: "x"},
			{Hash: hashOf(9), Tenant: tenant, Expires: soon, ID: "x"}, {Hash: hashOf(9), Tenant: tenant, Client: "c", ID: "x"}, {Hash: hashOf(9), Tenant: tenant, Client: "c", Expires: soon},
		} {
			wantCode(t, s.PutAccess(ctx, bad), hub.Invalid)
		}
		for i, who := range []struct{ tenant, client, id string }{{tenant, "c", "at_2"}, {tenant, "d", "at_3"}, {"other", "c", "at_4"}} {
			must(t, s.PutAccess(ctx, Access{Hash: hashOf(byte(i + 2)), Tenant: who.tenant, Client: who.client, Expires: soon, ID: who.id}))
		}
		revoke := func(what string, want int) {
			t.Helper()
			n, err := s.RevokeAccess(ctx, tenant, what)
			must(t, err)
			if n != want {
				t.Fatalf("%s: %d revoked, want %d", what, n, want)
			}
		}
		revoke("at_4", 0) // another tenant's
		revoke("at_3", 1)
		revoke("c", 2)
		for n, there := range []bool{false, false, false, true} {
			_, err := s.AccessByHash(ctx, hashOf(byte(n+1)))
			if there {
				must(t, err)
			} else {
				wantCode(t, err, hub.NotFound)
			}
		}
		now = now.Add(2 * time.Hour)
		_, err = s.AccessByHash(ctx, hashOf(4))
		wantCode(t, err, hub.NotFound)
		must(t, s.PutAccess(ctx, Access{Hash: hashOf(10), Tenant: tenant, Client: "c", Expires: hub.At(now.Add(time.Hour)), ID: "at_5"}))
		if n := count(t, s, "oauth_access"); n != 1 {
			t.Fatalf("%d rows, the expired one should be gone", n)
		}
	})
}

func TestAssertionsAreUsedOnce(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		now := time.Now()
		s := p.open(t, Config{Now: func() time.Time { return now }})
		until := hub.At(now.Add(time.Minute))
		var used atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if err := s.UseAssertion(t.Context(), tenant, "c", "j1", until); err == nil {
					used.Add(1)
				} else if hub.CodeOf(err) != hub.Conflict {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if used.Load() != 1 {
			t.Fatalf("it was used %d times", used.Load())
		}
		must(t, s.UseAssertion(t.Context(), tenant, "d", "j1", until))
		must(t, s.UseAssertion(t.Context(), "other", "c", "j1", until))
		wantCode(t, s.UseAssertion(t.Context(), tenant, "c", "", until), hub.Invalid)
		s.Close()
		s = p.open(t, Config{Now: func() time.Time { return now }})
		wantCode(t, s.UseAssertion(t.Context(), tenant, "c", "j1", until), hub.Conflict)
		now = now.Add(time.Hour)
		must(t, s.UseAssertion(t.Context(), tenant, "c", "j2", hub.At(now.Add(time.Minute))))
		if n := count(t, s, "oauth_assertion"); n != 1 {
			t.Fatalf("%d assertions are remembered", n)
		}
	})
}

func TestKeyStates(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		must(t, s.PutKey(ctx, Key{Tenant: tenant, KID: "k1", Alg: "RS256", State: KeyNext, Public: []byte(`{}`), Created: 5}))
		must(t, s.SetKeyState(ctx, tenant, "k1", KeyActive, 9))
		must(t, s.SetKeyState(ctx, tenant, "k1", KeyActive, 11))
		keys, err := s.Keys(ctx, tenant)
		must(t, err)
		if len(keys) != 1 || keys[0].State != KeyActive || keys[0].Changed != 9 {
			t.Fatalf("%+v", keys)
		}
		wantCode(t, s.SetKeyState(ctx, tenant, "k2", KeyActive, 9), hub.NotFound)
		wantCode(t, s.SetKeyState(ctx, "other", "k1", KeyActive, 9), hub.NotFound)
		wantCode(t, s.SetKeyState(ctx, tenant, "k1", "lost", 9), hub.Invalid)
	})
}

func TestTenants(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		_, err := s.Apply(ctx, tenant, []Change{put(hub.KindTenant, "named", `{"name":"named"}`)})
		must(t, err)
		must(t, s.Transmitter("streams", nil).CreateStream(ctx, &transmitter.Stream{ID: "s", Receiver: "r"}, 0))
		must(t, s.PutSecret(ctx, "secrets", "a", []byte("x")))
		got, err := s.Tenants(ctx)
		must(t, err)
		if want := []string{tenant, "named", "secrets", "streams"}; !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// What a decision transmits is kept with it, or neither is.
func TestDecisionTransmits(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		v := s.Transmitter(tenant, nil)
		st := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}
		must(t, v.CreateStream(ctx, st, 0))
		g := newSignal("j1")
		job := keepNew(t, s, g)
		stale := outgoing(st, st.Generation+1, "o1")
		if _, err := s.Decide(ctx, g, newDecision(g), nil, job, DecideOptions{Out: []*transmitter.Outgoing{stale}}); !errors.Is(err, transmitter.ErrStale) {
			t.Fatalf("stale: %v", err)
		}
		if n := count(t, s, "decision") + count(t, s, "event") + count(t, s, "outbox"); n != 0 || stale.Rows[0].Seq != 0 || g.State != hub.SignalReceived {
			t.Fatalf("%d rows were written", n)
		}
		one, two := outgoing(st, st.Generation, "o1"), outgoing(st, st.Generation, "o2")
		two.Rows[0].Body = []byte(`,"own":1}`)
		two.Skips = []transmitter.Skip{{Stream: st.Key, Reason: "no account"}}
		_, err := s.Decide(ctx, g, newDecision(g), nil, job, DecideOptions{Out: []*transmitter.Outgoing{one, two}})
		must(t, err)
		items, err := v.Next(ctx, st.Key, 0, 10)
		must(t, err)
		if len(items) != 2 || items[0].JTI != "o1" || items[0].Seq != one.Rows[0].Seq || items[1].Seq != two.Rows[0].Seq || string(items[1].Event.Body) != `,"own":1}` ||
			items[1].Event.Key != two.Event.Key {
			t.Fatalf("%+v", items)
		}
		lines, err := v.Deliveries(ctx, transmitter.DeliveryFilter{})
		must(t, err)
		if len(lines) != 1 || lines[0].Reason != "no account" || lines[0].StreamID != "str_1" {
			t.Fatalf("%+v", lines)
		}
	})
}
