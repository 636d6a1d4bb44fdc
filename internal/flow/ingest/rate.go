package ingest

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errTooFast   = errors.New("more tokens than the rate of the source allows")
	errNotPolled = errors.New("ingest: the source is not polled")
)

// rate is a bucket of tokens for one source: n are let through at once, and n more with each span. A nil rate lets all
// through. Each node has its own.
type rate struct {
	n    float64
	span time.Duration

	mu   sync.Mutex
	left float64
	at   time.Time
}

// take lets one through, or says how long it has to wait for its turn.
func (r *rate) take(now time.Time) (wait time.Duration, ok bool) {
	if r == nil {
		return 0, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && now.After(r.at) {
		r.left = min(r.n, r.left+r.n*float64(now.Sub(r.at))/float64(r.span))
	} else if r.at.IsZero() {
		r.left = r.n
	}
	if r.at.IsZero() || now.After(r.at) {
		r.at = now
	}
	if r.left >= 1 {
		r.left--
		return 0, true
	}
	return time.Duration((1 - r.left) / r.n * float64(r.span)), false
}

// wait lets one through when its turn has come.
func (r *rate) wait(ctx context.Context, now func() time.Time) error {
	if r == nil {
		return nil
	}
	for {
		d, ok := r.take(now())
		if ok {
			return nil
		}
		t := time.NewTimer(max(d, time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// rateOf keeps one bucket for each source, so that a change of other settings does not fill it again.
func (d *Door) rateOf(s *Source) *rate {
	key := place{s.Tenant, s.Name}
	d.rates.Lock()
	defer d.rates.Unlock()
	if s.Rate <= 0 || s.Per <= 0 {
		delete(d.rates.by, key)
		return nil
	}
	r := d.rates.by[key]
	if r == nil || r.n != float64(s.Rate) || r.span != s.Per {
		if d.rates.by == nil {
			d.rates.by = map[place]*rate{}
		}
		r = &rate{n: float64(s.Rate), span: s.Per}
		d.rates.by[key] = r
	}
	return r
}

type rates struct {
	sync.Mutex
	by map[place]*rate
}
