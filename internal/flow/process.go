package flow

import (
	"context"
	"time"

	"countersign/internal/hub"
)

// Signals is what the processor needs of the store.
type Signals interface {
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	SetUnresolved(ctx context.Context, signalSeq int64, job *hub.Job, reason string, misses []string) error
	Decide(ctx context.Context, sig *hub.Signal, d *hub.Decision, actions []*hub.Action, job *hub.Job) ([]hub.Job, error)
}

// Judgement is what correlation and decision gave for one signal.
type Judgement struct {
	// Unresolved says why nobody is known who fits, in words; then only Misses matters beside it.
	Unresolved string
	Misses     []string
	Identity   string // name of the identity
	Decision   *hub.Decision
	Actions    []*hub.Action
}

// Processor takes a kept signal to its decision, or leaves it visibly unresolved (design §2.2).
type Processor struct {
	Store Signals
	// Judge correlates and decides. It reads only; the same inputs give the same judgement.
	Judge func(ctx context.Context, sig *hub.Signal) (*Judgement, error)
	// Decided is called after the commit with the actions and their claimed jobs.
	Decided func(sig *hub.Signal, actions []*hub.Action, jobs []hub.Job)
	// Waiting is called after an unresolved signal was written down. Nil: nothing.
	Waiting func(sig *hub.Signal)
}

// Do is the step "process" of the belt.
func (p *Processor) Do(ctx context.Context, w *Work) (time.Duration, error) {
	sig, ok := w.Item.(*hub.Signal)
	if !ok {
		var err error
		if sig, err = p.Store.SignalBySeq(ctx, w.Job.Ref); err != nil {
			return 0, err
		}
	}
	j, err := p.Judge(ctx, sig)
	if err != nil {
		return 0, err
	}
	if j.Unresolved != "" {
		if err := p.Store.SetUnresolved(ctx, sig.Seq, &w.Job, j.Unresolved, j.Misses); err != nil {
			return 0, err
		}
		sig.State, sig.Reason, sig.Misses = hub.SignalUnresolved, j.Unresolved, j.Misses
		if p.Waiting != nil {
			p.Waiting(sig)
		}
		return 0, nil
	}
	sig.IdentityName, sig.Misses, sig.Reason = j.Identity, j.Misses, ""
	jobs, err := p.Store.Decide(ctx, sig, j.Decision, j.Actions, &w.Job)
	if err != nil {
		return 0, err
	}
	if p.Decided != nil {
		p.Decided(sig, j.Actions, jobs)
	}
	return 0, nil
}
