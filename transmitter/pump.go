package transmitter

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Limits of the pump that are judgment and not settings.
const (
	ringSize    = 64                    // rows in memory for one stream whatever the others have; more wait in the store
	ringRoom    = 2048                  // rows in memory for one stream while all together have less than ringsRoom
	ringsRoom   = 16384                 // rows
	lookAhead   = 64                    // rows of a ring among which one with a free subject is looked for
	heldRoom    = 32                    // rows of one stream that fail by themselves while others are taken
	readSize    = 128                   // rows of one read
	readers     = 4                     // reads at once
	ackSize     = 256                   // outcomes of one write
	ackDelay    = 20 * time.Millisecond // that a batch which is not whole waits for more
	settleDelay = 5 * time.Millisecond
	ackBacklog  = 4096 // outcomes not yet written, above which nothing is sent
	slowAfter   = time.Second
)

// Pump delivers what the store holds. A stream without work is nothing but its row; one with work is
// a lane: a short ring of rows, a window of tries in flight, and its back-off. Lanes take turns, one
// SET a turn, under one limit for all. Everything a lane is, is guarded by Pump.mu; tries run outside it.
//
// Several processes may share a store: each delivers the streams of the shards that it holds (see lease.go).
type Pump struct {
	t       *Transmitter
	cfg     *Config
	signing chan struct{} // at most GOMAXPROCS signatures at once (design §4)

	mu       sync.Mutex
	running  bool
	ctx      context.Context // of tries; set while running
	shards   Shards          // whose streams we push
	lanes    map[int64]*lane
	ready    []*lane // the ring of lanes that may send, taken from the front
	reads    []*lane // lanes whose next rows are in the store
	reading  int
	inFlight int
	held     int // rows in all rings and held back
	slow     int // in flight on lanes that were slow or failed
	trouble  map[int64]Trouble
	keyless  map[int64]struct{} // in trouble for want of a signing key
	writes   map[int64]Trouble  // back-off to be kept
	due      dueHeap            // when back-offs end
	stalled  []*lane            // slow lanes that wait for room among the slow
	stats    map[int64]*stat
	spared   Micros         // nothing is given up for its age before
	ageing   chan struct{}  // holds one: a round that gives up what is too old, or a redrive that wants it to spare
	banned   map[string]int // kids whose rows are being reissued
	outcomes []Outcome
	acking   int                   // outcomes being written
	booked   uint64                // outcomes so far
	written  uint64                // of these, no longer waiting to be written
	parting  bool                  // Store.Parting is being read
	parted   map[[2]int64]struct{} // removed from the store meanwhile, by stream and seq
	wake     chan struct{}         // back-offs changed
	acks     chan struct{}         // outcomes or back-offs are there to be written
	full     chan struct{}         // a whole batch is there
	sweeps   chan struct{}         // rows may be waiting that nobody announced
	work     sync.WaitGroup
}

// Try is one finished try, for figures, traces and logs.
type Try struct {
	StreamID string
	Receiver string
	Type     string
	JTI      string
	TXN      string
	IssuedAt int64
	Order    bool
	Status   int    // 0: no answer
	Reason   string // empty: delivered
	Dead     bool   // set aside
	Tries    int    // this one included, as far as this process knows
	Began    time.Time
	Took     time.Duration
}

func newPump(t *Transmitter) *Pump {
	return &Pump{ageing: make(chan struct{}, 1),
		t: t, cfg: t.cfg, signing: make(chan struct{}, runtime.GOMAXPROCS(0)),
		lanes: map[int64]*lane{}, trouble: map[int64]Trouble{}, keyless: map[int64]struct{}{}, writes: map[int64]Trouble{},
		stats: map[int64]*stat{}, banned: map[string]int{}, parted: map[[2]int64]struct{}{},
		wake: make(chan struct{}, 1), acks: make(chan struct{}, 1), full: make(chan struct{}, 1), sweeps: make(chan struct{}, 1),
	}
}

// Run delivers until ctx ends, then waits for the tries in flight (two seconds at most) and writes their outcomes.
func (p *Pump) Run(ctx context.Context) error {
	tries, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	snap, err := p.t.reload(ctx)
	if err != nil {
		return err
	}
	shards, renewed := p.claim(ctx)
	p.mu.Lock()
	p.running, p.ctx, p.shards = true, tries, shards
	clear(p.trouble)
	p.recall(snap, shards)
	for _, l := range p.lanes { // announced before we ran
		p.fit(l)
		p.look(l, 0)
		p.arm(l)
	}
	p.schedule()
	p.mu.Unlock()
	p.t.unpark(false)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		p.write(tries, stop)
	}()
	var chores sync.WaitGroup
	chores.Go(func() { p.lease(ctx, renewed) })
	chores.Go(func() { p.retain(ctx) })
	p.sweep(ctx)
	p.loop(ctx)

	p.t.unpark(true)
	p.mu.Lock()
	p.running = false
	p.mu.Unlock()
	grace := time.AfterFunc(2*time.Second, cancel)
	p.work.Wait()
	chores.Wait()
	p.t.awaitDetached()
	grace.Stop()
	close(stop)
	<-stopped
	p.mu.Lock()
	clear(p.lanes)
	p.held = 0
	p.ready, p.reads, p.stalled, p.due = nil, nil, nil, nil
	p.mu.Unlock()
	return nil
}

// loop wakes lanes whose back-off ends, and sweeps.
func (p *Pump) loop(ctx context.Context) {
	timer := time.NewTimer(p.cfg.Sweep)
	defer timer.Stop()
	swept := time.Now()
	pause := p.cfg.Sweep
	for {
		wait := pause - time.Since(swept)
		if next := p.nextDue(); next > 0 {
			wait = min(wait, next)
		}
		timer.Reset(max(wait, time.Millisecond))
		now := false
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-p.sweeps:
			now = true
		case <-timer.C:
		}
		p.probe()
		if now || time.Since(swept) >= pause {
			begun := time.Now()
			p.sweep(ctx)
			swept = time.Now()
			pause = max(p.cfg.Sweep, 20*swept.Sub(begun)) // sweeping takes a twentieth of a core at most
		}
	}
}

// sweep finds rows that nobody announced: those of an earlier life, of other processes, and those that became
// visible after a row of higher seq (engine §10.4). It also takes in streams that another process changed.
func (p *Pump) sweep(ctx context.Context) {
	if g, err := p.cfg.Store.Generation(ctx); err == nil && g != p.t.streams.Load().generation {
		if _, err := p.t.refresh(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Log.WarnContext(ctx, "streams could not be read", "error", err)
		}
	}
	keys, err := p.cfg.Store.Waiting(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.cfg.Log.WarnContext(ctx, "waiting rows could not be read", "error", err)
		}
		return
	}
	p.mu.Lock()
	for _, key := range keys {
		if l := p.lane(key, everything); l != nil {
			p.look(l, 0)
		}
	}
	p.schedule()
	p.mu.Unlock()
	p.t.wakeWaiting(keys)
	p.sweepParting(ctx)
}

// sweepParting finds the rows that are delivered although their stream is stopped.
func (p *Pump) sweepParting(ctx context.Context) {
	p.mu.Lock()
	p.parting = true
	p.mu.Unlock()
	items, err := p.cfg.Store.Parting(ctx)
	if err != nil && ctx.Err() == nil && !unsupported(err) {
		p.cfg.Log.WarnContext(ctx, "the last events of stopped streams could not be read", "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range items {
		it := &items[i]
		if _, gone := p.parted[[2]int64{it.Stream, it.Seq}]; gone {
			continue
		}
		if l := p.lane(it.Stream, partings); l != nil && l.reach == partings {
			if _, ok := l.known[it.Seq]; !ok && p.banned[it.KeyID] == 0 {
				p.add(l, &entry{Item: *it})
				p.arm(l)
			}
		} else if l == nil {
			p.t.wake(it.Stream) // of a polled stream
		}
	}
	p.parting = false
	clear(p.parted)
	p.schedule()
}

// notify takes rows that were just committed.
func (p *Pump) notify(out *Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	event := &out.Event
	for i := range out.Rows {
		row := &out.Rows[i]
		if row.Seq == 0 {
			continue
		}
		want := everything
		if row.Parting {
			want = partings
		}
		l := p.lane(row.Stream, want)
		if l == nil {
			p.t.wake(row.Stream) // it is polled, or the sweep finds it if it is still wanted
			continue
		}
		if _, ok := l.known[row.Seq]; ok {
			continue
		}
		if l.reach == everything && !p.direct(l, out) {
			p.look(l, 0)
			continue
		}
		if row.Body != nil && (event == &out.Event || !sameMemory(event.Body, row.Body)) { // rows that are told the same share it
			own := out.Event
			own.Body = row.Body
			event = &own
		}
		e := &entry{Item: Item{Stream: row.Stream, Seq: row.Seq, JTI: row.JTI, IssuedAt: row.IssuedAt, KeyID: row.KeyID,
			Algorithm: row.Algorithm, Input: row.Input, Event: event, Parting: row.Parting}}
		if row.Body == nil {
			e.Event = &out.Event
		}
		p.add(l, e)
		p.arm(l)
	}
	p.schedule()
}

// direct reports whether announced rows may go into the ring as they are. They may not where the store may have rows
// before them: more than fit in memory, those of another process that shares the work, or those of a stream that
// changed since the rows were planned, where they may be gone already.
func (p *Pump) direct(l *lane, out *Outgoing) bool {
	return p.running && !l.behind && !l.reading && len(l.ring) < p.room() && p.shards == AllShards &&
		out.Generation >= l.suit.stream.Generation
}

// sameMemory reports whether two bodies are one piece of memory.
func sameMemory(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// adopt takes in new stream settings: a changed stream is tried at once with what is new, a gone or stopped one is dropped.
func (p *Pump) adopt(old, now *snapshot) {
	p.refit(old, now)
	p.t.wakeChanged(old, now)
	p.t.warnNew(old, now)
}

func (p *Pump) refit(old, now *snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.trouble {
		s := now.byKey[key]
		if s == nil {
			delete(p.trouble, key)
			delete(p.keyless, key)
			delete(p.writes, key)
		} else if old != nil && old.byKey[key] != nil && old.byKey[key].Generation != s.Generation {
			p.settle(key, Trouble{})
		}
	}
	for key := range p.stats {
		if now.byKey[key] == nil {
			delete(p.stats, key)
		}
	}
	for key, l := range p.lanes {
		s := now.byKey[key]
		switch {
		case s == nil:
			gone := *l.suit.stream
			gone.Status, gone.Generation = Disabled, now.generation
			p.dress(l, &gone)
			l.reach = nothing
		case s.Generation == l.suit.stream.Generation && s.Status == l.suit.stream.Status:
			continue
		default:
			p.dress(l, s)
		}
		p.empty(l, l.reach == partings) // rows may have been dropped with the change
		if l.reach == everything {
			p.look(l, 0)
			continue
		}
		l.behind = false
		p.arm(l)
		p.retire(l)
	}
	if old != nil {
		for key, s := range now.byKey {
			if was := old.byKey[key]; was != nil && was.Status != Enabled && s.Status == Enabled {
				if l := p.lane(key, everything); l != nil { // what was held is sent (TX-104)
					p.look(l, 0)
				}
			}
		}
	}
	p.schedule()
}
