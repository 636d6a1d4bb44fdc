package store

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// clock is a Now that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.UnixMicro(1_800_000_000_000_000).UTC()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestSignalToReceipt(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		g := withOrderOf(newSignal("j1"))
		job := keepNew(t, s, g)
		a, b, skipped := newAction("app-a"), newAction("app-b"), newAction("app-c")
		skipped.State, skipped.Reason = hub.Skipped, "no_such_subject"
		g.IdentityName = "anna"
		d := newDecision(g, a, b, skipped)
		jobs, err := s.Decide(ctx, g, d, []*hub.Action{a, b, skipped}, job, DecideOptions{})
		must(t, err)
		if len(jobs) != 2 || jobs[0].Kind != "act" || jobs[0].Ref != a.Seq || jobs[1].Ref != b.Seq || g.State != hub.SignalDecided {
			t.Fatalf("jobs %+v, signal %s", jobs, g.State)
		}
		// The decision, once more, is stale; and so is the job.
		_, err = s.Decide(ctx, g, newDecision(g), nil, job, DecideOptions{})
		wantCode(t, err, hub.Conflict)
		got, err := s.DecisionOf(ctx, g.Seq)
		must(t, err)
		if diff := cmp.Diff(d, got); diff != "" {
			t.Fatal(diff)
		}

		a.State, a.Progress, a.Attempts = hub.Running, json.RawMessage(`{"step":1}`), 1
		at := &hub.Attempt{No: 1, Op: hub.OpEndAllSessions, Request: "DELETE /s", Key: "k", Sent: 5}
		must(t, s.BeginAttempt(ctx, a, at, &jobs[0]))
		seen, err := s.Action(ctx, tenant, a.ID)
		must(t, err)
		if seen.State != hub.Running || len(seen.Tries) != 1 || seen.Tries[0].Answered != 0 || seen.Email != a.Email {
			t.Fatalf("action %+v", seen)
		}
		// Not finished: due again later, and free.
		at.Answered, at.Status, at.Class = 6, 503, "retry"
		a.State = hub.Planned
		next := hub.At(time.Now().Add(-time.Second))
		more, err := s.SaveAction(ctx, a, at, &jobs[0], &next, nil)
		must(t, err)
		if len(more) != 0 {
			t.Fatalf("jobs %+v", more)
		}
		_, err = s.SaveAction(ctx, a, nil, &jobs[0], nil, nil)
		wantCode(t, err, hub.Conflict)
		claimed, err := s.ClaimJobs(ctx, []string{"act"}, 10)
		must(t, err)
		if len(claimed) != 1 || claimed[0].Ref != a.Seq || claimed[0].Tries != 2 {
			t.Fatalf("claimed %+v", claimed)
		}
		at2 := &hub.Attempt{No: 2, Op: hub.OpEndAllSessions, Sent: 7}
		must(t, s.BeginAttempt(ctx, a, at2, &claimed[0]))
		at2.Answered, at2.Status, at2.Class = 8, 204, "done"
		// Evidence is hashed: its bytes must not change, not even what JSON would write another way.
		a.State, a.Evidence, a.Level = hub.Succeeded, json.RawMessage("{\"q\": \"a<b & \\u00e9\",\n \"n\":1.0}"), hub.Verified
		extra := newAction("app-a")
		extra.Account = "a-2"
		more, err = s.SaveAction(ctx, a, at2, &claimed[0], nil, []*hub.Action{extra})
		must(t, err)
		if len(more) != 1 || more[0].Ref != extra.Seq {
			t.Fatalf("jobs %+v", more)
		}
		seen, err = s.ActionBySeq(ctx, a.Seq)
		must(t, err)
		if diff := cmp.Diff(a, seen, cmpopts.IgnoreFields(hub.Action{}, "Tries")); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]hub.Attempt{*at, *at2}, seen.Tries); diff != "" {
			t.Fatal(diff)
		}
		// A final action never changes again.
		a.State = hub.Failed
		_, err = s.SaveAction(ctx, a, nil, nil, nil, nil)
		wantCode(t, err, hub.Conflict)

		// The last two end at the same moment: exactly one of them cuts.
		b.State, extra.State = hub.Succeeded, hub.Failed
		var wg sync.WaitGroup
		ends := make(chan []hub.Job, 2)
		for i, x := range []*hub.Action{b, extra} {
			wg.Go(func() {
				j := []hub.Job{jobs[1], more[0]}[i]
				out, err := s.SaveAction(ctx, x, nil, &j, nil, nil)
				if err != nil {
					t.Error(err)
				}
				ends <- out
			})
		}
		wg.Wait()
		close(ends)
		var cut []hub.Job
		for out := range ends {
			cut = append(cut, out...)
		}
		if len(cut) != 1 || cut[0].Kind != "cut" || cut[0].Ref != g.Seq {
			t.Fatalf("cut %+v", cut)
		}
		sig, actions, err := s.OrderForCut(ctx, g.Seq)
		must(t, err)
		if sig.State != hub.SignalDone || len(actions) != 4 || sig.Order.LastSeq != 0 {
			t.Fatalf("%s with %d actions, order %+v", sig.State, len(actions), sig.Order)
		}
		r := newReceipt(sig, 1)
		send, err := s.SaveReceipt(ctx, r, 0, &cut[0], nil)
		must(t, err)
		if send == nil || send.Kind != "send" || send.Ref != r.Seq || r.Chain != Chain("", r.Hash) {
			t.Fatalf("send %+v, chain %s", send, r.Chain)
		}
		r.State, r.Token, r.Tries, r.Accepted = "accepted", "tok", 1, 9
		must(t, s.MarkReceipt(ctx, r, send, nil))
		kept, err := s.ReceiptBySeq(ctx, r.Seq)
		must(t, err)
		if diff := cmp.Diff(r, kept); diff != "" {
			t.Fatal(diff)
		}
		if n := count(t, s, "job"); n != 0 {
			t.Fatalf("%d jobs are left", n)
		}
		sig, _, err = s.OrderForCut(ctx, g.Seq)
		must(t, err)
		if sig.Order.LastSeq != 1 || sig.Order.LastHash != r.Hash || sig.Order.Stage != "final" || sig.Order.Outcome != "done" {
			t.Fatalf("order %+v", sig.Order)
		}
	})
}

func newReceipt(g *hub.Signal, no int) *hub.Receipt {
	return &hub.Receipt{ID: hub.NewID(hub.PrefixReceipt, time.Now()), Tenant: g.Tenant, SignalID: g.ID, SignalSeq: g.Seq, Source: g.Source, ReceiptNo: g.Order.ReceiptNo, No: no,
		Stage: "final", Outcome: "done", JTI: fmt.Sprint("r", no), KID: "k", Input: "h.p", Hash: fmt.Sprintf("sha-256:%s-%d", g.ID, no), Body: json.RawMessage(`{ "b":"<" }`),
		Endpoint: "https://x.example", State: "queued", Cut: 3}
}

func TestReceiptsAreASequenceAndAChain(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var signals []*hub.Signal
		for i := range 8 {
			g := withOrderOf(newSignal(fmt.Sprint(i)))
			keepNew(t, s, g)
			signals = append(signals, g)
		}
		// Eight orders in a race: the chain has no gap and no fork.
		var wg sync.WaitGroup
		for _, g := range signals {
			wg.Go(func() {
				for no := 1; no <= 3; no++ {
					if _, err := s.SaveReceipt(ctx, newReceipt(g, no), no-1, nil, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		r := newReceipt(signals[0], 2)
		_, err := s.SaveReceipt(ctx, r, 1, nil, nil)
		wantCode(t, err, hub.Conflict)
		previous, n := "", 0
		must(t, s.read(ctx, func(x *tx) error {
			return x.each(func(scan scanFunc) error {
				var no int
				var hash, chain string
				if err := scan(&no, &hash, &chain); err != nil {
					return err
				}
				n++
				if previous = Chain(previous, hash); no != n || chain != previous {
					t.Errorf("link %d (%d) is %s, want %s", no, n, chain, previous)
				}
				return nil
			}, `SELECT chain_no, hash, chain FROM receipt WHERE tenant = $1 ORDER BY chain_no`, tenant)
		}))
		if n != 24 {
			t.Fatalf("%d links", n)
		}
		rs, err := s.ReceiptsOf(ctx, signals[0].Seq)
		must(t, err)
		if len(rs) != 3 || rs[2].No != 3 {
			t.Fatalf("receipts %+v", rs)
		}
		l, err := s.ListReceipts(ctx, tenant, ReceiptFilter{SignalID: signals[1].ID, State: "queued", Source: "okta"}, hub.Page{Limit: 2})
		must(t, err)
		if len(l.Items) != 2 || l.Next == "" {
			t.Fatalf("listed %d, next %q", len(l.Items), l.Next)
		}
		// An order that comes again has its latest receipt sent again, once.
		job, err := s.SendAgain(ctx, signals[1].Seq, hub.At(time.Now()))
		must(t, err)
		if job != nil { // the first send job is still held by us
			t.Fatalf("job %+v", job)
		}
		for range 30 {
			jobs, err := s.ClaimJobs(ctx, []string{"send"}, 100)
			must(t, err)
			if len(jobs) == 0 {
				break
			}
		}
	})
}

func TestInterimCutAndOneThatComesDuringACut(t *testing.T) {
	eachPlace(t, func(t *testing.T, p place) {
		c := newClock()
		s := p.open(t, Config{Now: c.now})
		ctx := t.Context()
		g := withOrderOf(newSignal("j1"))
		a := newAction("app")
		jobs := decided(t, s, g, DecideOptions{CutAt: hub.At(c.now().Add(time.Minute))}, a)
		got, err := s.ClaimJobs(ctx, []string{"cut"}, 1)
		must(t, err)
		if len(got) != 0 {
			t.Fatalf("the interim cut is due early: %+v", got)
		}
		c.add(time.Minute)
		must(t, s.RenewJobs(ctx, jobs))
		got, err = s.ClaimJobs(ctx, []string{"cut"}, 1)
		must(t, err)
		if len(got) != 1 {
			t.Fatal("the interim cut is not due")
		}
		// While it is being cut the action ends: the job must run once more, for the final receipt.
		a.State = hub.Succeeded
		more, err := s.SaveAction(ctx, a, nil, &jobs[0], nil, nil)
		must(t, err)
		if len(more) != 0 {
			t.Fatalf("the cut is held, and yet came back: %+v", more)
		}
		r := newReceipt(g, 1)
		r.State = "kept"
		if _, err := s.SaveReceipt(ctx, r, 0, &got[0], nil); err != nil {
			t.Fatal(err)
		}
		got, err = s.ClaimJobs(ctx, []string{"cut"}, 1)
		must(t, err)
		if len(got) != 1 || got[0].Ref != g.Seq {
			t.Fatalf("the final cut is lost: %+v", got)
		}
		_, err = s.SaveReceipt(ctx, newReceipt(g, 2), 1, &got[0], nil)
		must(t, err)
	})
}

func TestNothingOpenCutsAtOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		g := withOrderOf(newSignal("j1"))
		a := newAction("app")
		a.State = hub.Failed
		jobs := decided(t, s, g, DecideOptions{CutAt: 5}, a)
		if len(jobs) != 1 || jobs[0].Kind != "cut" || jobs[0].Claim == "" || g.State != hub.SignalDone {
			t.Fatalf("jobs %+v, signal %s", jobs, g.State)
		}
		plain := newSignal("j2")
		if jobs := decided(t, s, plain, DecideOptions{}); len(jobs) != 0 || plain.State != hub.SignalDone {
			t.Fatalf("jobs %+v, signal %s", jobs, plain.State)
		}
	})
}

func TestUnresolvedWaitsAndRunsAgain(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		g := newSignal("j1")
		job := keepNew(t, s, g)
		must(t, s.SetUnresolved(ctx, g.Seq, job, "nobody fits", []string{"email: none", "iss_sub:\nnone"}, UnresolvedOptions{}))
		got, err := s.Signal(ctx, tenant, g.ID)
		must(t, err)
		if got.State != hub.SignalUnresolved || got.Reason != "nobody fits" || len(got.Misses) != 2 {
			t.Fatalf("signal %+v", got)
		}
		if n, err := s.RequeueUnresolved(ctx, "other"); n != 0 || err != nil {
			t.Fatalf("other tenant: %d, %v", n, err)
		}
		for range 2 { // a second change of the mappings makes no second job
			n, err := s.RequeueUnresolved(ctx, tenant)
			must(t, err)
			if n != 1 {
				t.Fatalf("%d requeued", n)
			}
		}
		jobs, err := s.ClaimJobs(ctx, []string{"process"}, 10)
		must(t, err)
		if len(jobs) != 1 || jobs[0].Ref != g.Seq {
			t.Fatalf("jobs %+v", jobs)
		}
		_, err = s.Decide(ctx, got, newDecision(got), nil, &jobs[0], DecideOptions{})
		must(t, err)
		wantCode(t, s.SetUnresolved(ctx, g.Seq, nil, "x", nil, UnresolvedOptions{}), hub.Conflict)
		l, err := s.ListSignals(ctx, tenant, SignalFilter{State: hub.SignalDone}, hub.Page{})
		must(t, err)
		if len(l.Items) != 1 {
			t.Fatalf("listed %d", len(l.Items))
		}
	})
}

func TestLimits(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var wg sync.WaitGroup
		var mu sync.Mutex
		by := map[hub.Code]int{}
		for i := range 12 {
			g := newSignal(fmt.Sprint(i))
			job := keepNew(t, s, g)
			wg.Go(func() {
				_, err := s.Decide(ctx, g, newDecision(g), nil, job, DecideOptions{Charges: []Charge{{Scope: "source:okta", Identity: fmt.Sprint("p", i%6), Limit: 3, Since: 1}}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					by[""]++
				} else {
					by[hub.CodeOf(err)]++
				}
			})
		}
		wg.Wait()
		// Three people pass, each with both of their signals; the others are refused.
		others, counted, err := s.CountPeople(ctx, tenant, "source:okta", "nobody", 1)
		must(t, err)
		if others != 3 || counted || by[""] != 6 || by[hub.Limited] != 6 {
			t.Fatalf("%d people, %v", others, by)
		}
		if n, _, _ := s.CountPeople(ctx, tenant, "source:okta", "nobody", hub.At(time.Now().Add(time.Hour))); n != 0 {
			t.Fatalf("%d people in the future", n)
		}
		if n, _, _ := s.CountPeople(ctx, tenant, "policy:p:okta", "nobody", 1); n != 0 {
			t.Fatalf("%d people in another scope", n)
		}
	})
}

func TestLists(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var want []string
		for i := range 25 {
			g := newSignal(fmt.Sprint(i))
			g.ID = hub.NewID(hub.PrefixSignal, time.UnixMilli(int64(1_700_000_000_000+i)))
			if i%2 == 0 {
				g.Source = "entra"
			}
			keepNew(t, s, g)
			want = append([]string{g.ID}, want...)
		}
		var got []string
		p := hub.Page{Limit: 7}
		for {
			l, err := s.ListSignals(ctx, tenant, SignalFilter{}, p)
			must(t, err)
			for _, g := range l.Items {
				got = append(got, g.ID)
			}
			if l.Next == "" {
				break
			}
			p.After = l.Next
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		l, err := s.ListSignals(ctx, tenant, SignalFilter{Source: "entra", State: hub.SignalReceived, Type: newSignal("").EventType}, hub.Page{})
		must(t, err)
		if len(l.Items) != 13 || l.Next != "" {
			t.Fatalf("%d of entra, next %q", len(l.Items), l.Next)
		}
		a := newAction("app-a")
		g := newSignal("with actions")
		decided(t, s, g, DecideOptions{}, a, newAction("app-b"))
		al, err := s.ListActions(ctx, tenant, ActionFilter{SignalID: g.ID, App: "app-a", Identity: "anna", State: hub.Planned}, hub.Page{})
		must(t, err)
		if len(al.Items) != 1 || al.Items[0].ID != a.ID {
			t.Fatalf("actions %+v", al.Items)
		}
	})
}
