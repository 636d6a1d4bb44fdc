package act

import (
	"context"
	"time"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

// inMemory is the longest wait for which the action stays claimed instead of going back to the store.
const inMemory = 2 * time.Second

// limit is when tries and read-backs end (design §3, when to give up).
func (r *run) limit() hub.Micros {
	a := r.a
	if o := r.it.Signal.Order; o != nil && o.CompleteBy > 0 {
		if a.Deadline != 0 {
			return a.Deadline
		}
		return Deadline(a.Requested, o.CompleteBy)
	}
	if r.p.Phase == delayed {
		return r.p.Accepted + hub.Micros(time.Hour/time.Microsecond)
	}
	return a.Requested + hub.Micros(24*time.Hour/time.Microsecond)
}

// Deadline is when tries end for an order that wants its final receipt by completeBy: 10 s before, or a
// tenth of the span if that is less.
func Deadline(requested hub.Micros, completeBy int64) hub.Micros {
	end := hub.Micros(completeBy * 1e6)
	before := hub.Micros(10 * 1e6)
	if tenth := (end - requested) / 10; tenth >= 0 && tenth < before {
		before = tenth
	}
	return end - before
}

func (r *run) late() bool { return r.now() >= r.limit() }

// wait keeps the claim for a short time, and gives the action back for a long one.
func (r *run) wait(ctx context.Context, d time.Duration) (outcome, time.Duration, error) {
	if left := r.limit().Time().Sub(r.Now()); d > left && left > 0 {
		d = left
	}
	if d > inMemory {
		return gone, 0, r.later(ctx, d, nil)
	}
	r.it.prog, r.it.at = r.p, r.at
	return waitHere, d, nil
}

// tryLater plans the next try after an answer that did not settle it.
func (r *run) tryLater(ctx context.Context, ans connector.Answer, next phase) error {
	p, a := r.p, r.a
	p.Phase, p.Looks = next, 0
	p.Why = reasonOr(ans.Reason, "app_unreachable")
	p.Fail++
	if r.late() {
		return r.giveUp(ctx)
	}
	a.State, a.Reason = hub.Planned, "scheduled"
	switch p.Why {
	case "app_unreachable", "rate_limited":
		a.Reason = p.Why
	}
	if next == toCheck {
		a.State, a.Reason = hub.Unknown, ""
	}
	return r.later(ctx, r.pause(ans.RetryAfter), nil)
}

// pause is the back-off: one second doubling to a minute, with jitter, and never past the deadline.
func (r *run) pause(asked time.Duration) time.Duration {
	d := min(time.Second<<min(max(r.p.Fail-1, 0), 6), time.Minute)
	d = d/2 + jitter(d/2)
	d = max(d, asked)
	if left := r.limit().Time().Sub(r.Now()); d > left {
		d = max(left, 0)
	}
	return d
}

// later keeps the action and gives its job back, due after d.
func (r *run) later(ctx context.Context, d time.Duration, add []*hub.Action) error {
	r.a.Progress = r.p.raw()
	due := hub.At(r.Now().Add(d))
	jobs, err := r.Store.SaveAction(ctx, r.a, r.at, r.job, &due, add)
	if err != nil {
		return err
	}
	r.at = nil
	r.Changed(r.a)
	r.Next(r.it.Signal, jobs, add)
	if d <= 0 {
		r.Poke()
	} else if d <= inMemory {
		time.AfterFunc(d, r.Poke)
	}
	return nil
}

func reasonOr(reason, def string) string {
	if reason == "" {
		return def
	}
	return reason
}
