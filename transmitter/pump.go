package transmitter

import (
	"context"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Limits of the pump that are judgment and not settings.
const (
	ringSize   = 64    // rows in memory for one stream whatever the others have; more wait in the store
	ringRoom   = 2048  // rows in memory for one stream while all together have less than ringsRoom
	ringsRoom  = 16384 // rows
	lookAhead  = 64    // rows of a ring among which one with a free subject is looked for
	readSize   = 128   // rows of one read
	readers    = 4     // reads at once
	ackSize    = 256   // outcomes of one write
	ackDelay   = 5 * time.Millisecond
	ackBacklog = 4096 // outcomes not yet written, above which nothing is sent
	slowAfter  = time.Second
)

// Pump delivers what the store holds. A stream without work is nothing but its row; one with work is
// a lane: a short ring of rows, a window of tries in flight, and its back-off. Lanes take turns, one
// SET a turn, under one limit for all. Everything a lane is, is guarded by Pump.mu; tries run outside it.
type Pump struct {
	t       *Transmitter
	cfg     *Config
	signing chan struct{} // at most GOMAXPROCS signatures at once (design §4)

	mu       sync.Mutex
	running  bool
	ctx      context.Context // of tries; set while running
	lanes    map[int64]*lane
	ready    []*lane // the ring of lanes that may send, taken from the front
	reads    []*lane // lanes whose next rows are in the store
	reading  int
	inFlight int
	held     int // rows in all rings
	slow     int // in flight on lanes that were slow or failed
	trouble  map[int64]Trouble
	writes   map[int64]Trouble // back-off to be kept
	stalled  []*lane           // slow lanes that wait for room among the slow
	outcomes []Outcome
	acking   int // outcomes being written
	probed   Micros
	wake     chan struct{} // back-offs changed
	acks     chan struct{} // outcomes or back-offs are there to be written
	full     chan struct{} // a whole batch is there
	work     sync.WaitGroup
}

// lane is one stream with work.
type lane struct {
	suit     *suit
	ring     []*entry           // by rising seq
	known    map[int64]struct{} // in the ring, in flight, or delivered and not yet removed from the store
	subjects map[[16]byte]int   // in flight
	gone     []int64            // removed from the store while a read was under way
	after    int64              // where the next read starts
	behind   bool               // the store may have more
	again    bool               // more were announced during the read
	inReady  bool
	inReads  bool
	reading  bool
	stalled  bool // waits for room among the slow
	inFlight int
	round    int  // of tries; a failure starts a new one
	slow     bool // the last try was slow or failed
}

// suit is what is the same for every request of a stream. It is never changed, only replaced.
type suit struct {
	stream *Stream
	url    *url.URL
	header http.Header
	start  string // of the claims
}

// entry is one row in memory.
type entry struct {
	Item
	token string // signed once while it stays in memory
}

// Try is one finished try, for figures and logs.
type Try struct {
	StreamID string
	Receiver string
	Type     string
	JTI      string
	IssuedAt int64
	Order    bool
	Status   int    // 0: no answer
	Reason   string // empty: delivered
	Dead     bool   // set aside
	Took     time.Duration
}

func newPump(t *Transmitter) *Pump {
	return &Pump{
		t: t, cfg: t.cfg, signing: make(chan struct{}, runtime.GOMAXPROCS(0)),
		lanes: map[int64]*lane{}, trouble: map[int64]Trouble{}, writes: map[int64]Trouble{},
		wake: make(chan struct{}, 1), acks: make(chan struct{}, 1), full: make(chan struct{}, 1),
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
	p.mu.Lock()
	p.running, p.ctx = true, tries
	for key, s := range snap.byKey {
		if s.Trouble.Fails > 0 {
			p.trouble[key] = s.Trouble
		}
	}
	for _, l := range p.lanes { // announced before we ran
		p.look(l, 0)
	}
	p.schedule()
	p.mu.Unlock()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		p.write(tries, stop)
	}()
	p.sweep(ctx)
	p.loop(ctx)

	p.mu.Lock()
	p.running = false
	p.mu.Unlock()
	grace := time.AfterFunc(2*time.Second, cancel)
	p.work.Wait()
	grace.Stop()
	close(stop)
	<-stopped
	p.mu.Lock()
	clear(p.lanes)
	p.held = 0
	p.ready, p.reads, p.stalled = nil, nil, nil
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
		if next := p.nextProbe(); next > 0 {
			wait = min(wait, next)
		}
		timer.Reset(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		p.probe()
		if time.Since(swept) >= pause {
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
		if _, err := p.t.reload(ctx); err != nil && ctx.Err() == nil {
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
	defer p.mu.Unlock()
	for _, key := range keys {
		if l := p.lane(key); l != nil {
			p.look(l, 0)
		}
	}
	p.schedule()
}

// notify takes rows that were just committed.
func (p *Pump) notify(out *Outgoing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range out.Rows {
		row := &out.Rows[i]
		if row.Seq == 0 {
			continue
		}
		l := p.lane(row.Stream)
		if l == nil {
			continue // the sweep finds it, if it is still wanted
		}
		if _, ok := l.known[row.Seq]; ok {
			continue
		}
		if l.behind || l.reading || len(l.ring) >= p.room() || !p.running {
			p.look(l, row.Seq-1)
			continue
		}
		p.add(l, &entry{Item: Item{Stream: row.Stream, Seq: row.Seq, JTI: row.JTI, IssuedAt: row.IssuedAt, KeyID: row.KeyID,
			Algorithm: row.Algorithm, Input: row.Input, Event: &out.Event}})
		p.arm(l)
	}
	p.schedule()
}

// adopt takes in new stream settings: a changed stream is tried at once, a gone or stopped one is dropped.
func (p *Pump) adopt(old, now *snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.trouble {
		if now.byKey[key] == nil {
			delete(p.trouble, key)
			delete(p.writes, key)
		}
	}
	for key, l := range p.lanes {
		s := now.byKey[key]
		if s == nil {
			s = &Stream{Key: key, ID: l.suit.stream.ID, Receiver: l.suit.stream.Receiver, Status: Disabled}
		}
		if s.Generation == l.suit.stream.Generation && s.Status == l.suit.stream.Status {
			continue
		}
		p.dress(l, s)
		p.forgetRing(l) // rows may have been dropped with the change
		if s.Status != Enabled {
			l.behind = false
			p.retire(l)
			continue
		}
		p.settle(l, Trouble{})
		p.look(l, 0)
	}
	if old != nil {
		for key, s := range now.byKey {
			if was := old.byKey[key]; was != nil && was.Status != Enabled && s.Status == Enabled {
				if l := p.lane(key); l != nil { // what was held is sent (TX-104)
					p.look(l, 0)
				}
			}
		}
	}
	p.schedule()
}

// lane gives the lane of a stream that may be sent on, made where there is none; nil otherwise.
func (p *Pump) lane(key int64) *lane {
	if l := p.lanes[key]; l != nil {
		if l.suit.stream.Status != Enabled {
			return nil
		}
		return l
	}
	snap := p.t.streams.Load()
	if snap == nil {
		return nil
	}
	s := snap.byKey[key]
	if s == nil || s.Status != Enabled { // SSF 1.0 §8.1.2.1: paused and disabled streams transmit nothing
		return nil
	}
	l := &lane{known: map[int64]struct{}{}, subjects: map[[16]byte]int{}}
	if !p.dress(l, s) {
		return nil
	}
	p.lanes[key] = l
	return l
}

// dress gives a lane what is the same for every request of its stream.
func (p *Pump) dress(l *lane, s *Stream) bool {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return false
	}
	h := http.Header{ // RFC 8935 §2.1
		"Content-Type": {"application/secevent+jwt"},
		"Accept":       {"application/json"},
		"User-Agent":   {"countersign"},
		// A SET may be sent again: the transport may repeat it on a connection that was closed while idle. Not sent.
		"Idempotency-Key": nil,
	}
	if s.Authorization != "" { // SSF 1.0 §6.1.1; nothing is sent where none is configured (TX-164)
		h["Authorization"] = []string{s.Authorization}
	}
	l.suit = &suit{stream: s, url: u, header: h, start: claimsStart(p.cfg.Issuer, s.Audience)}
	return true
}

// look notes that the store has rows above after.
func (p *Pump) look(l *lane, after int64) {
	if !l.behind || after < l.after {
		l.after = after
	}
	l.behind = true
	if l.reading {
		l.again = true
		return
	}
	p.arm(l)
}

// arm puts a lane where its next step happens.
func (p *Pump) arm(l *lane) {
	if !p.running || l.suit.stream.Status != Enabled {
		return
	}
	if l.behind && len(l.ring) <= ringSize/2 && !l.inReads && !l.reading {
		l.inReads = true
		p.reads = append(p.reads, l)
	}
	if len(l.ring) > 0 && !l.inReady {
		l.inReady = true
		p.ready = append(p.ready, l)
	}
}

// room is how many rows one ring may hold now.
func (p *Pump) room() int {
	if p.held < ringsRoom {
		return ringRoom
	}
	return ringSize
}

// add puts an entry in its place by seq.
func (p *Pump) add(l *lane, e *entry) {
	l.known[e.Seq] = struct{}{}
	p.held++
	i := len(l.ring)
	for i > 0 && l.ring[i-1].Seq > e.Seq {
		i--
	}
	l.ring = slices.Insert(l.ring, i, e)
}

// forgetRing leaves in known only what is in flight or being removed from the store.
func (p *Pump) forgetRing(l *lane) {
	for _, e := range l.ring {
		delete(l.known, e.Seq)
	}
	p.held -= len(l.ring)
	l.ring = nil
}

// schedule starts reads and tries while there is room for them.
func (p *Pump) schedule() {
	for {
		try, ok := p.next()
		if !ok {
			break
		}
		p.work.Go(func() { p.run(try) })
	}
	for p.running && p.reading < readers && len(p.reads) > 0 {
		l := p.reads[0]
		p.reads = p.reads[1:]
		l.inReads = false
		if !l.behind || l.suit.stream.Status != Enabled || p.waits(l) > 0 {
			continue
		}
		l.reading, l.again = true, false
		p.reading++
		key, after := l.suit.stream.Key, l.after
		p.work.Go(func() { p.read(l, key, after) })
	}
}

// try is one delivery under way.
type try struct {
	lane  *lane
	suit  *suit
	entry *entry
	round int
	slow  bool
}

// next takes the next row to try, one from each ready lane in turn; not ok where nothing may be sent now.
func (p *Pump) next() (try, bool) {
	if !p.running {
		return try{}, false
	}
	for n := len(p.ready); n > 0 && p.inFlight < p.cfg.InFlight && len(p.outcomes)+p.acking < ackBacklog; n-- {
		l := p.ready[0]
		p.ready = p.ready[1:]
		l.inReady = false
		e := p.take(l)
		if e == nil {
			p.retire(l)
			continue // armed again when a try of it ends, its back-off ends, or a row is added
		}
		l.inFlight++
		p.inFlight++
		if l.slow {
			p.slow++
		}
		l.subjects[e.Event.Subject]++
		p.arm(l)
		return try{l, l.suit, e, l.round, l.slow}, true
	}
	return try{}, false
}

// take takes the oldest row of a lane whose subject is not in flight.
func (p *Pump) take(l *lane) *entry {
	window := or(l.suit.stream.Window, p.cfg.Window)
	if p.trouble[l.suit.stream.Key].Fails > 0 {
		window = 1 // one probe
	}
	if l.suit.stream.Status != Enabled || l.inFlight >= window || p.waits(l) > 0 {
		return nil
	}
	if l.slow && p.slow >= max(1, p.cfg.InFlight/4) { // slow and failing streams share a quarter of the room
		if !l.stalled {
			l.stalled = true
			p.stalled = append(p.stalled, l)
		}
		return nil
	}
	for i, e := range l.ring[:min(len(l.ring), lookAhead)] {
		if l.subjects[e.Event.Subject] != 0 { // never two SETs about one subject in flight (design §4, TX-105, TX-172)
			continue
		}
		copy(l.ring[1:], l.ring[:i])
		l.ring[0] = nil
		l.ring = l.ring[1:]
		p.held--
		return e
	}
	return nil
}

// waits says how long a lane's back-off lasts still.
func (p *Pump) waits(l *lane) time.Duration {
	tr := p.trouble[l.suit.stream.Key]
	if tr.Fails == 0 {
		return 0
	}
	return time.Duration(tr.Next-At(p.cfg.Now())) * time.Microsecond
}

// read brings rows of a lane from the store.
func (p *Pump) read(l *lane, key, after int64) {
	items, err := p.cfg.Store.Next(p.ctx, key, after, readSize)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading--
	l.reading = false
	if err != nil {
		if p.ctx.Err() == nil {
			p.cfg.Log.Warn("rows of a stream could not be read", "stream", l.suit.stream.ID, "error", err)
		}
		p.forget(l)
		p.schedule() // the sweep comes back for it
		return
	}
	last := after
	full := false
	for i := range items {
		it := &items[i]
		if _, ok := l.known[it.Seq]; ok || l.suit.stream.Status != Enabled {
			last = it.Seq
			continue
		}
		if len(l.ring) >= p.room() {
			full = true
			break
		}
		p.add(l, &entry{Item: *it})
		last = it.Seq
	}
	p.forget(l)
	switch {
	case l.again: // look set after
		l.after = min(l.after, last)
	case full || len(items) == readSize:
		l.after = last
	default:
		l.after, l.behind = last, false
	}
	p.arm(l)
	p.retire(l)
	p.schedule()
}

// forget drops from known what left the store while a read was under way.
func (p *Pump) forget(l *lane) {
	for _, seq := range l.gone {
		delete(l.known, seq)
	}
	l.gone = l.gone[:0]
}

// retire drops a lane that has nothing left.
func (p *Pump) retire(l *lane) {
	if len(l.known) == 0 && !l.behind && !l.reading && !l.inReady && !l.inReads && l.inFlight == 0 && p.lanes[l.suit.stream.Key] == l {
		delete(p.lanes, l.suit.stream.Key)
	}
}
