package transmitter

import (
	"context"
	"errors"
	"math/bits"
	"time"
)

// Leases of shards (engine §10.4). The store decides who has which; a claim that was not renewed for leaseHold is
// given up before another process may take it.
const (
	leaseEvery = 3 * time.Second
	leaseHold  = 12 * time.Second
	leaseWait  = 3 * time.Second // for one answer of the store
)

// unsupported reports whether a store says that it does without something.
func unsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

// claim asks the store which shards are ours. A store that knows no shards belongs to one process. renewed is zero where
// the store did not answer.
func (p *Pump) claim(ctx context.Context) (s Shards, renewed time.Time) {
	begun := time.Now()
	asking, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	s, err := p.cfg.Store.Shards(asking)
	switch {
	case err == nil:
		return s, begun
	case unsupported(err):
		return AllShards, begun
	case ctx.Err() == nil:
		p.cfg.Log.WarnContext(ctx, "the claim on shards could not be renewed", "error", err)
	}
	return Shards{}, time.Time{}
}

// lease renews the claim until ctx ends. What of the last one is not known to stand is not delivered.
func (p *Pump) lease(ctx context.Context, renewed time.Time) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, at := p.claim(ctx)
		if ctx.Err() != nil {
			return
		}
		if !at.IsZero() {
			renewed = at
		} else if time.Since(renewed) < leaseHold {
			continue
		}
		p.own(ctx, now)
	}
}

// own takes up the shards that we have now. Lanes of those that we lost are dropped, and their tries in flight end
// by themselves; those that we gained are read from their oldest row on, with the back-off that the store has of them.
func (p *Pump) own(ctx context.Context, now Shards) {
	p.mu.Lock()
	was := p.shards
	p.mu.Unlock()
	if was == now {
		return
	}
	var gained Shards
	for i := range now {
		gained[i] = now[i] &^ was[i]
	}
	var snap *snapshot
	if gained != (Shards{}) {
		var err error
		if snap, err = p.t.reload(ctx); err != nil {
			if ctx.Err() == nil {
				p.cfg.Log.WarnContext(ctx, "streams could not be read", "error", err)
			}
			return // the next renewal tries again
		}
	}
	p.mu.Lock()
	p.shards = now
	for key := range p.trouble {
		if !now.Has(key) {
			delete(p.trouble, key)
			delete(p.keyless, key)
			delete(p.writes, key) // it is another's now
		}
	}
	if snap != nil {
		p.recall(snap, gained)
	}
	for _, l := range p.lanes {
		p.fit(l)
		p.look(l, 0)
		p.retire(l)
	}
	p.schedule()
	p.mu.Unlock()
	count := 0
	for _, word := range now {
		count += bits.OnesCount64(word)
	}
	p.cfg.Log.InfoContext(ctx, "the shards that are delivered here changed", "shards", count)
	signal(p.sweeps)
}

// chief reports whether this process does what one of them has to do for all.
func (p *Pump) chief() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shards[0]&1 != 0
}
