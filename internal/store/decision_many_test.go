package store

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"countersign/internal/hub"
)

// Decisions that meet in one commit are written together, and each still stands for itself: one whose claim is gone and one
// whose signal is decided are refused, the others are there, with their actions and jobs.
func TestDecidedTogether(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		const n = 64
		type one struct {
			sig  *hub.Signal
			job  *hub.Job
			acts []*hub.Action
			jobs []hub.Job
			err  error
		}
		all := make([]one, n)
		for i := range all {
			g := newSignal(fmt.Sprint("j", i))
			all[i] = one{sig: g, job: keepNew(t, s, g)}
			if i%3 == 0 {
				all[i].acts = []*hub.Action{newAction("crm"), newAction("wiki")}
			}
		}
		must(t, s.FinishJob(ctx, all[7].job, nil)) // its claim is gone
		twice := all[8]
		_, err := s.Decide(ctx, twice.sig, newDecision(twice.sig), nil, nil, DecideOptions{})
		must(t, err) // decided, and its job is still there
		var wg sync.WaitGroup
		for i := range all {
			wg.Go(func() {
				x := &all[i]
				x.sig.IdentityName, x.sig.Misses = fmt.Sprint("p", i), []string{"a", "b"}
				x.jobs, x.err = s.Decide(ctx, x.sig, newDecision(x.sig, x.acts...), x.acts, x.job, DecideOptions{})
			})
		}
		wg.Wait()
		for i, x := range all {
			if i == 7 || i == 8 {
				wantCode(t, x.err, hub.Conflict)
				continue
			}
			must(t, x.err)
			got, err := s.SignalBySeq(ctx, x.sig.Seq)
			must(t, err)
			want := hub.SignalDone
			if len(x.acts) > 0 {
				want = hub.SignalDecided
			}
			if got.State != want || got.IdentityName != fmt.Sprint("p", i) || len(got.Misses) != 2 || len(x.jobs) != len(x.acts) {
				t.Fatalf("signal %d: %+v with %d jobs", i, got, len(x.jobs))
			}
			d, err := s.DecisionOf(ctx, x.sig.Seq)
			must(t, err)
			if len(d.Findings) != 1 || len(d.Planned) != len(x.acts) {
				t.Fatalf("decision %d: %+v", i, d)
			}
			for k, j := range x.jobs { // ours, and good for what follows
				if j.Ref != x.acts[k].Seq || j.Kind != "act" {
					t.Fatalf("job %+v of action %d", j, x.acts[k].Seq)
				}
				must(t, s.FinishJob(ctx, &j, nil))
			}
		}
		if n := count(t, s, "job"); n != 1 { // of the signal that was decided before
			t.Errorf("%d jobs are left", n)
		}
	})
}

// What depends on others goes by itself.
func TestPlainDecisions(t *testing.T) {
	g := newSignal("j")
	job := &hub.Job{}
	for name, w := range map[string]*deciding{
		"an order":   {sig: withOrderOf(newSignal("o")), job: job},
		"a limit":    {sig: g, job: job, opt: DecideOptions{Charges: []Charge{{Scope: "s"}}}},
		"a receipt":  {sig: g, job: job, opt: DecideOptions{CutAt: 1}},
		"passed on":  {sig: g, job: job, sent: []*keeping{{}}},
		"no job":     {sig: g},
		"plain (ok)": {sig: g, job: job},
	} {
		if w.plain() != (name == "plain (ok)") {
			t.Errorf("%s: plain is %v", name, w.plain())
		}
	}
}
