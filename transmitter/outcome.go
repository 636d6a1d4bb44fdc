package transmitter

import (
	"context"
	"time"
)

// book notes an outcome; write takes it to the store. The row stays known until then, so that it is not sent again.
func (p *Pump) book(o Outcome) {
	p.outcomes = append(p.outcomes, o)
	p.booked++
	switch len(p.outcomes) {
	case 1:
		signal(p.acks)
	case ackSize:
		signal(p.full)
	}
}

// write takes outcomes and back-offs to the store in batches, until stop; then it writes what is left.
func (p *Pump) write(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case <-p.acks:
		case <-stop:
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			p.flush(last, true)
			cancel()
			return
		}
		wait := time.NewTimer(ackDelay)
		select {
		case <-p.full:
		case <-wait.C:
		case <-stop:
		}
		wait.Stop()
		p.flush(ctx, false)
	}
}

// flush writes what there is, and goes on while there are whole batches, or, for the last time, until nothing is left. What
// was booked meanwhile waits for more: a batch costs much the same whatever it holds.
func (p *Pump) flush(ctx context.Context, last bool) {
	pause := 50 * time.Millisecond
	for first := true; ; first = false {
		p.mu.Lock()
		n := min(len(p.outcomes), ackSize)
		if !first && !last && n < ackSize && len(p.writes) == 0 {
			if n > 0 {
				signal(p.acks)
			}
			p.mu.Unlock()
			return
		}
		batch := append([]Outcome(nil), p.outcomes[:n]...)
		p.outcomes = append(p.outcomes[:0], p.outcomes[n:]...)
		p.acking = n
		var troubles map[int64]Trouble
		if len(p.writes) > 0 {
			troubles, p.writes = p.writes, map[int64]Trouble{}
		}
		p.mu.Unlock()
		if n == 0 && len(troubles) == 0 {
			return
		}
		for n > 0 {
			err := p.cfg.Store.Done(ctx, batch)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return // the rows are still in the store and are delivered again
			}
			p.cfg.Log.WarnContext(ctx, "outcomes could not be kept, trying again", "error", err)
			sleep(ctx, pause)
			pause = min(2*pause, 5*time.Second)
		}
		for key, tr := range troubles {
			if err := p.cfg.Store.Backoff(ctx, key, tr); err != nil && ctx.Err() == nil {
				p.cfg.Log.WarnContext(ctx, "a back-off could not be kept", "error", err)
			}
		}
		p.kept(batch)
	}
}

// kept forgets rows that left the store.
func (p *Pump) kept(batch []Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acking = 0
	p.written += uint64(len(batch))
	for _, o := range batch {
		if p.parting { // Store.Parting, asked before, may still bring the row
			p.parted[[2]int64{o.Stream, o.Seq}] = struct{}{}
		}
		l := p.lanes[o.Stream]
		if l == nil {
			continue
		}
		if l.reading { // a read that began before may still bring the row
			l.gone = append(l.gone, o.Seq)
			continue
		}
		delete(l.known, o.Seq)
		p.retire(l)
	}
	p.schedule()
}

// settled waits until every outcome that was booked before is in the store.
func (p *Pump) settled(ctx context.Context) error {
	p.mu.Lock()
	booked := p.booked
	p.mu.Unlock()
	for {
		p.mu.Lock()
		done := !p.running || p.written >= booked
		p.mu.Unlock()
		if done {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sleep(ctx, settleDelay)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
