package flow

import (
	"context"
	"errors"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/transmitter"
)

// Signals is what the processor needs of the store.
type Signals interface {
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	SetUnresolved(ctx context.Context, signalSeq int64, job *hub.Job, reason string, misses []string, opt store.UnresolvedOptions) error
	Decide(ctx context.Context, sig *hub.Signal, d *hub.Decision, actions []*hub.Action, job *hub.Job, opt store.DecideOptions) ([]hub.Job, error)
	FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error
}

// Judgement is what correlation and decision gave for one signal.
type Judgement struct {
	// Unresolved says why nobody is known who fits, in words; then only Misses matters beside it.
	Unresolved string
	Misses     []string
	Identity   string // name of the identity
	Decision   *hub.Decision
	Actions    []*hub.Action
	Charges    []store.Charge
	// CutAt is when the first receipt of an order is due though work is open or nobody is known yet; 0: not before the end.
	CutAt hub.Micros
	// Out is what policies transmit, kept together with the decision.
	Out []*transmitter.Outgoing
}

// Processor takes a kept signal to its decision, or leaves it visibly unresolved (design §2.2).
type Processor struct {
	Store Signals
	// Judge correlates and decides. It reads only; the same inputs give the same judgement.
	Judge func(ctx context.Context, sig *hub.Signal) (*Judgement, error)
	// Decided is called after the commit with the actions and their claimed jobs.
	Decided func(sig *hub.Signal, actions []*hub.Action, jobs []hub.Job)
	// Transmitted is called after the commit with what the decision put into the outbox. Nil: nothing.
	Transmitted func(sig *hub.Signal, out []*transmitter.Outgoing)
	// Stale is called where streams changed since the judgement was made, so that the next one sees them. Nil: nothing.
	Stale func(ctx context.Context, tenant string) error
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
	for try := 1; ; try++ {
		err := p.judge(ctx, w, sig)
		// A stream was made or changed between our look and our write: match again.
		if errors.Is(err, transmitter.ErrStale) && try < retries {
			if p.Stale != nil {
				if err := p.Stale(ctx, sig.Tenant); err != nil {
					return 0, err
				}
			}
			continue
		}
		// Another person took the last place under a limit between our look and our write: look again.
		if hub.CodeOf(err) == hub.Limited && err != nil && try < retries {
			continue
		}
		if err != nil && hub.CodeOf(err) == hub.Conflict && sig.State == hub.SignalReceived {
			// Decided already, by a life of ours that did not see its commit answered, or by another node.
			if was, gerr := p.Store.SignalBySeq(ctx, sig.Seq); gerr == nil && was.State != hub.SignalReceived && was.State != hub.SignalUnresolved {
				return 0, p.Store.FinishJob(ctx, &w.Job, nil)
			}
		}
		return 0, err
	}
}

// retries is how often a decision is made again because a limit was reached meanwhile.
const retries = 4

func (p *Processor) judge(ctx context.Context, w *Work, sig *hub.Signal) error {
	j, err := p.Judge(ctx, sig)
	if err != nil {
		return err
	}
	if j.Unresolved != "" {
		if err := p.Store.SetUnresolved(ctx, sig.Seq, &w.Job, j.Unresolved, j.Misses, store.UnresolvedOptions{CutAt: j.CutAt}); err != nil {
			return err
		}
		sig.State, sig.Reason, sig.Misses = hub.SignalUnresolved, j.Unresolved, j.Misses
		if p.Waiting != nil {
			p.Waiting(sig)
		}
		return nil
	}
	sig.IdentityName, sig.Misses, sig.Reason = j.Identity, j.Misses, ""
	jobs, err := p.Store.Decide(ctx, sig, j.Decision, j.Actions, &w.Job, store.DecideOptions{Charges: j.Charges, CutAt: j.CutAt, Out: j.Out})
	if err != nil {
		return err
	}
	if p.Transmitted != nil && len(j.Out) > 0 {
		p.Transmitted(sig, j.Out)
	}
	if p.Decided != nil {
		p.Decided(sig, j.Actions, jobs)
	}
	return nil
}
