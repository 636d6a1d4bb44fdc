package connector

import (
	"context"
	"sync"
	"time"
)

// limiter spaces an app's requests: a burst of the whole number, then evenly.
type limiter struct {
	mu    sync.Mutex
	step  time.Duration // between two requests; 0: no limit
	burst time.Duration // how far ahead the due time may be
	due   time.Time     // when the bucket would be full again
}

func (r *Runner) rate(app *App) *limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	step, burst := time.Duration(0), time.Duration(0)
	if n := app.Pack.requests; n > 0 {
		step = app.Pack.per / time.Duration(n)
		burst = app.Pack.per - step
	}
	name := app.Tenant + "/" + app.Name
	l := r.rates[name]
	if l == nil || l.step != step || l.burst != burst {
		l = &limiter{step: step, burst: burst}
		r.rates[name] = l
	}
	return l
}

// wait returns when a request may go, or with an error where the context ends first; then nothing is used up.
func (l *limiter) wait(ctx context.Context, now func() time.Time) error {
	if err := ctx.Err(); err != nil || l.step == 0 {
		return err
	}
	l.mu.Lock()
	at := now()
	if l.due.Before(at) {
		l.due = at
	}
	pause := l.due.Sub(at) - l.burst
	if end, ok := ctx.Deadline(); ok && pause > 0 && at.Add(pause).After(end) {
		l.mu.Unlock()
		return context.DeadlineExceeded
	}
	l.due = l.due.Add(l.step)
	l.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
