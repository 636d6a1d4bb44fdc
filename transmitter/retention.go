package transmitter

import (
	"context"
	"slices"
	"time"
)

// Retention in pieces, so that a store that serves others meanwhile is not held up.
const (
	expireEvery = time.Minute
	purgeEvery  = 10 * time.Minute
	pieceSize   = 1000
	piecePause  = 20 * time.Millisecond
	// After a redrive nothing is given up for so long: what was put back is as old as before, and gets its chance.
	redriveGrace = time.Hour
)

// retain gives up what waited for longer than Config.Retention, also on paused and polled streams (TX-171), and forgets
// history older than Config.History, until ctx ends.
func (p *Pump) retain(ctx context.Context) {
	expire := time.NewTicker(min(expireEvery, max(p.cfg.Retention/10, time.Second)))
	purge := time.NewTicker(min(purgeEvery, max(p.cfg.History/10, time.Second)))
	defer expire.Stop()
	defer purge.Stop()
	p.expire(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			p.expire(ctx)
		case <-purge.C:
			p.purge(ctx)
		}
	}
}

// expire sets aside what is too old, and takes it out of memory: one process does it in the store, each in its own rings.
func (p *Pump) expire(ctx context.Context) {
	select {
	case p.ageing <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-p.ageing }()
	now := p.cfg.Now()
	before := At(now.Add(-p.cfg.Retention))
	p.mu.Lock()
	spared := At(now) < p.spared
	p.mu.Unlock()
	if spared {
		return
	}
	if p.chief() {
		n := p.pieces(ctx, "SETs that waited too long could not be set aside", func() (int, error) {
			return p.cfg.Store.Expire(ctx, before, pieceSize)
		})
		if n > 0 {
			p.cfg.Log.WarnContext(ctx, "SETs were set aside because they waited too long", "count", n, "retention", p.cfg.Retention)
		}
	}
	old := func(e *entry) bool { return e.Event.At != 0 && e.Event.At < before }
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		if slices.ContainsFunc(l.ring, old) || slices.ContainsFunc(l.held, old) {
			p.restart(l)
			p.retire(l)
		}
	}
	p.schedule()
}

// spare keeps what is put back from being given up again, by a round that is under way too.
func (p *Pump) spare(ctx context.Context) error {
	select {
	case p.ageing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	p.spared = At(p.cfg.Now().Add(redriveGrace))
	p.mu.Unlock()
	<-p.ageing
	return nil
}

// purge forgets old history.
func (p *Pump) purge(ctx context.Context) {
	if !p.chief() {
		return
	}
	before := At(p.cfg.Now().Add(-p.cfg.History))
	p.pieces(ctx, "old history could not be forgotten", func() (int, error) {
		return p.cfg.Store.Purge(ctx, before, pieceSize)
	})
}

// pieces does a chore piece by piece until nothing is left.
func (p *Pump) pieces(ctx context.Context, failed string, piece func() (int, error)) (total int) {
	for {
		n, err := piece()
		if err != nil {
			if ctx.Err() == nil && !unsupported(err) {
				p.cfg.Log.WarnContext(ctx, failed, "error", err)
			}
			return total
		}
		total += n
		if n < pieceSize || ctx.Err() != nil {
			return total
		}
		sleep(ctx, piecePause)
	}
}
