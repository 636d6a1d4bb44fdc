package transmitter

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// Bounds of back-off.
const (
	firstBackoff = time.Second
	longBackoff  = 5 * time.Minute
	longestRetry = time.Hour // a Retry-After beyond it is cut to it
)

// failed puts back a row whose try failed, and says when its stream is tried again.
//
// Back-off belongs to the stream (engine §10.3). But one row may fail by itself: it fails, the next one is taken, and it
// fails again. Such a row gets a back-off of its own and holds back what is about the same subject, and nothing else
// (TX-172). To tell the two apart, the probe of a failing stream is another row where there is one. A stream with a
// window of 1 keeps strict order: there the oldest row is the probe, whatever it takes.
func (p *Pump) failed(l *lane, e *entry, a answer, fresh bool, now Micros) {
	s := l.suit.stream
	loose := a.class == retry && or(s.Window, p.cfg.Window) > 1 && len(l.held) < heldRoom
	switch {
	case loose && e.odd > 0 && a.retryAfter == 0:
		e.odd++
		e.until = now + micros(jitter(e.odd))
		p.hold(l, e)
		p.due.add(e.until, s.Key)
		signal(p.wake)
		l.slow = a.took > slowAfter
		p.cfg.Log.Warn("a SET fails while others are taken; it is held back with those about the same subject", "stream", s.ID, "jti", e.JTI, "reason", logged(a.reason))
		return
	case loose && fresh:
		e.until = 0
		p.hold(l, e)
	default:
		p.add(l, e)
	}
	if !fresh {
		return
	}
	l.slow = true
	l.round++
	tr := p.fail(p.trouble[s.Key], a, now)
	p.settle(s.Key, tr)
	p.cfg.Log.Warn("delivery failed", "stream", s.ID, "fails", tr.Fails, "reason", logged(tr.Reason))
}

// fail says when a stream is tried again: full jitter under a doubling bound, or the long probes of an open breaker.
func (p *Pump) fail(tr Trouble, a answer, now Micros) Trouble {
	if tr.Fails == 0 {
		tr.Since = now
	}
	tr.Fails++
	tr.Open = a.class == setup || a.class == keyless
	tr.Reason = a.reason
	if a.advice != "" {
		tr.Reason = a.advice
	}
	wait := jitter(tr.Fails)
	if tr.Open {
		wait = longBackoff/2 + rand.N(longBackoff/2)
	}
	if a.retryAfter > 0 { // no sooner than it says, and not all at the same moment
		wait = max(wait, a.retryAfter+rand.N(min(a.retryAfter/10, 10*time.Second)+time.Millisecond))
	}
	tr.Next = now + micros(wait)
	return tr
}

// jitter gives a wait after so many failures: anything up to a doubling bound.
func jitter(fails int) time.Duration {
	return rand.N(min(firstBackoff<<min(max(fails-1, 0), 20), longBackoff)) + time.Millisecond
}

func micros(d time.Duration) Micros { return Micros(d.Microseconds()) }

// settle sets the back-off of a stream and has it kept; the zero Trouble ends it.
func (p *Pump) settle(key int64, tr Trouble) {
	if tr.Fails == 0 {
		if l := p.lanes[key]; l != nil {
			p.release(l, func(e *entry) bool { return e.until == 0 })
		}
		delete(p.keyless, key)
		if _, had := p.trouble[key]; !had {
			return
		}
		delete(p.trouble, key)
	} else {
		p.trouble[key] = tr
		p.due.add(tr.Next, key)
	}
	p.writes[key] = tr
	signal(p.acks)
	signal(p.wake)
}

// well ends the back-off of a stream because a row was taken. What failed before that is tried again at once; what
// then fails once more fails by itself.
func (p *Pump) well(l *lane) {
	for _, e := range l.held {
		if e.until == 0 {
			e.odd++
		}
	}
	p.settle(l.suit.stream.Key, Trouble{})
}

// hold keeps a row out of the ring, with its subject taken.
func (p *Pump) hold(l *lane, e *entry) {
	l.known[e.Seq] = struct{}{}
	l.subjects[e.Event.Subject]++
	l.held = insertEntry(l.held, e)
	p.held++
}

// release puts held rows back into the ring.
func (p *Pump) release(l *lane, which func(*entry) bool) {
	if len(l.held) == 0 {
		return
	}
	l.held = slices.DeleteFunc(l.held, func(e *entry) bool {
		if !which(e) {
			return false
		}
		l.free(e)
		l.ring = insertEntry(l.ring, e)
		return true
	})
}

// takeHeld takes the oldest held row for a probe, where there is no other row for it.
func (p *Pump) takeHeld(l *lane) *entry {
	now := At(p.cfg.Now())
	for i, e := range l.held {
		if e.until <= now {
			l.free(e)
			l.held = slices.Delete(l.held, i, i+1)
			p.held--
			return e
		}
	}
	return nil
}

// recall takes over the back-offs that the store has, of streams that are ours now and were not before.
func (p *Pump) recall(snap *snapshot, of Shards) {
	for key, s := range snap.byKey {
		if s.Trouble.Fails > 0 && of.Has(key) {
			if _, ok := p.trouble[key]; !ok {
				p.trouble[key] = s.Trouble
				p.due.add(s.Trouble.Next, key)
			}
		}
	}
}

// nextDue says how long until the next back-off ends; 0 where there is none.
func (p *Pump) nextDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		return 0
	}
	return max(time.Duration(p.due[0].at-At(p.cfg.Now()))*time.Microsecond, 0) + time.Microsecond
}

// probe wakes the streams whose back-off ended.
func (p *Pump) probe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := At(p.cfg.Now())
	for len(p.due) > 0 && p.due[0].at <= now {
		key := heap.Pop(&p.due).(due).stream
		l := p.lane(key, partings)
		if l == nil {
			continue
		}
		p.release(l, func(e *entry) bool { return e.until != 0 && e.until <= now })
		if len(l.known) == 0 {
			p.look(l, 0)
		}
		p.arm(l)
		p.retire(l)
	}
	p.schedule()
}

// due is a moment at which a stream is looked at again. One that is no longer meant does no harm.
type due struct {
	at     Micros
	stream int64
}

// dueHeap has the earliest moment first.
type dueHeap []due

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap) Push(v any) { *h = append(*h, v.(due)) }

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	v := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return v
}

func (h *dueHeap) add(at Micros, stream int64) { heap.Push(h, due{at, stream}) }

// Troubled gives the streams whose delivery is failing, by stream_id.
func (p *Pump) Troubled() map[string]Trouble {
	snap := p.t.streams.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]Trouble, len(p.trouble))
	for key, tr := range p.trouble {
		if snap != nil && snap.byKey[key] != nil {
			out[snap.byKey[key].ID] = tr
		}
	}
	return out
}
