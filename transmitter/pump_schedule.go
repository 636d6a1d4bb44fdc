package transmitter

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
		if !l.behind || l.reach != everything || p.waits(l) > 0 {
			p.retire(l)
			continue
		}
		l.reading, l.again = true, false
		p.reading++
		stream, epoch, after := l.suit.stream, l.epoch, l.after
		p.work.Go(func() { p.read(l, stream, epoch, after) })
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
		l.flying = append(l.flying, e)
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

// take takes the oldest row of a lane whose subject is free.
func (p *Pump) take(l *lane) *entry {
	if l.reach == nothing {
		return nil
	}
	window := or(l.suit.stream.Window, p.cfg.Window)
	failing := p.trouble[l.suit.stream.Key].Fails > 0
	if failing {
		window = 1 // one probe
	}
	if len(l.flying) >= window || failing && p.waits(l) > 0 {
		return nil
	}
	if l.slow && p.slow >= max(1, p.cfg.InFlight/4) { // slow and failing streams share a quarter of the room
		if !l.stalled {
			l.stalled = true
			p.stalled = append(p.stalled, l)
		}
		return nil
	}
	ahead := lookAhead
	if len(l.held) > 0 {
		ahead = len(l.ring) // those behind a held row may be many
	}
	for i, e := range l.ring[:min(len(l.ring), ahead)] {
		// Never two SETs about one subject in flight, and none past one that is held (design §4, TX-105, TX-172).
		if l.subjects[e.Event.Subject] != 0 {
			continue
		}
		copy(l.ring[1:], l.ring[:i])
		l.ring[0] = nil
		l.ring = l.ring[1:]
		p.held--
		return e
	}
	if !failing || len(l.flying) > 0 {
		return nil
	}
	if p.wanting(l) { // perhaps the store has a row that is better for a probe
		p.fetch(l)
		return nil
	}
	return p.takeHeld(l)
}

// waits says how long a lane's back-off lasts still, in microseconds.
func (p *Pump) waits(l *lane) Micros {
	tr := p.trouble[l.suit.stream.Key]
	if tr.Fails == 0 {
		return 0
	}
	return tr.Next - At(p.cfg.Now())
}

// read brings rows of a lane from the store.
func (p *Pump) read(l *lane, stream *Stream, epoch int, after int64) {
	items, err := p.cfg.Store.Next(p.ctx, stream.Key, after, readSize)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading--
	l.reading = false
	if err != nil {
		if p.ctx.Err() == nil {
			p.cfg.Log.Warn("rows of a stream could not be read", "stream", stream.ID, "error", err)
		}
		p.forget(l)
		p.schedule() // the sweep comes back for it
		return
	}
	if epoch != l.epoch { // the stream changed, say: what was read may have been dropped since
		p.forget(l)
		l.behind = false
		p.look(l, 0)
		p.retire(l)
		p.schedule()
		return
	}
	last, full := after, false
	for i := range items {
		it := &items[i]
		if _, ok := l.known[it.Seq]; ok {
			last = it.Seq
			continue
		}
		if p.banned[it.KeyID] > 0 { // and none after it, or they get before it
			l.barred, full = true, true
			break
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
		l.after = min(l.back, last)
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
