package transmitter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"countersign/stream"
)

// lane is one stream with work.
type lane struct {
	suit     *suit
	stat     *stat
	reach    reach
	ring     []*entry           // by rising seq; of a stopped stream only Parting rows
	held     []*entry           // failed by themselves, and keep those about the same subject waiting; by rising seq
	known    map[int64]struct{} // in the ring, held, in flight, or delivered and not yet removed from the store
	subjects map[[16]byte]int   // in flight or held
	gone     []int64            // removed from the store while a read was under way
	flying   []*entry           // in flight
	after    int64              // where the next read starts
	behind   bool               // the store may have more
	barred   bool               // and they are being reissued: no reads
	again    bool               // more were announced during the read, above back
	back     int64
	epoch    int // of the ring; what a read of an older one brings is not used
	inReady  bool
	inReads  bool
	reading  bool
	stalled  bool // waits for room among the slow
	round    int  // of tries; a failure starts a new one
	slow     bool // the last try was slow or failed
}

// reach is what of a stream may be pushed by us.
type reach int

const (
	nothing    reach = iota // it is gone, polled, or another process's
	partings                // it is stopped: only the rows that say so (TX-104, TX-106, TX-135)
	everything              // it is enabled
)

// reachOf says what of a stream may be pushed by us now.
func (p *Pump) reachOf(s *Stream) reach {
	switch {
	case s == nil || polled(s) || p.running && !p.shards.Has(s.Key):
		return nothing
	case s.Status != Enabled: // SSF 1.0 §8.1.2.1
		return partings
	}
	return everything
}

// polled reports whether the receiver fetches its SETs (RFC 8936), also by the method's name in older drafts.
func polled(s *Stream) bool {
	return s.Method == stream.PollMethod || strings.HasSuffix(s.Method, "/delivery-method/poll")
}

// suit is what is the same for every request of a stream. It is never changed, only replaced.
type suit struct {
	stream *Stream
	url    *url.URL
	header http.Header
	start  string      // of the claims
	stale  atomic.Bool // it was replaced: nothing is sent with it any more
}

// entry is one row in memory.
type entry struct {
	Item
	token string // signed once while it stays in memory
	tries int
	first Micros // when it was tried first
	odd   int    // how often it failed although others were taken
	until Micros // held until then; 0: until the stream is well
	moot  bool   // reissued while it was in flight: how it ended does not count
}

// lane gives the lane of a stream of which at least this much may be sent, made where there is none; nil otherwise.
func (p *Pump) lane(key int64, least reach) *lane {
	if l := p.lanes[key]; l != nil {
		if l.reach < least {
			return nil
		}
		return l
	}
	snap := p.t.streams.Load()
	if snap == nil {
		return nil
	}
	s := snap.byKey[key]
	if p.reachOf(s) < least {
		return nil
	}
	l := &lane{known: map[int64]struct{}{}, subjects: map[[16]byte]int{}, stat: p.statOf(key)}
	if p.dress(l, s); l.reach < least {
		return nil
	}
	p.lanes[key] = l
	return l
}

// dress gives a lane what is the same for every request of its stream. A stream whose address is none gets nothing.
func (p *Pump) dress(l *lane, s *Stream) {
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
	if l.suit != nil {
		l.suit.stale.Store(true)
	}
	l.epoch++
	u, err := url.Parse(s.Endpoint)
	l.suit = &suit{stream: s, url: u, header: h, start: claimsStart(p.cfg.Issuer, s.Audience)}
	l.reach = p.reachOf(s)
	if err != nil || u.Host == "" {
		l.reach = nothing
	}
}

// fit dresses a lane anew where what it may send is no longer what it was, after a change of shards.
func (p *Pump) fit(l *lane) {
	if now := p.reachOf(l.suit.stream); now != l.reach {
		p.dress(l, l.suit.stream)
		if l.reach == nothing {
			l.behind = false
			p.empty(l, false)
		}
	}
}

// look notes that the store has rows above after.
func (p *Pump) look(l *lane, after int64) {
	if l.reach != everything {
		return
	}
	if l.reading {
		if !l.again || after < l.back {
			l.again, l.back = true, after
		}
		return
	}
	if !l.behind || after < l.after {
		l.after = after
	}
	l.behind = true
	p.arm(l)
}

// restart forgets the ring and reads the stream from its oldest row on, where a row that failed may have changed in
// the store: later ones about the same subject must not get before it.
func (p *Pump) restart(l *lane) {
	p.empty(l, true)
	l.epoch++
	p.look(l, 0)
}

// arm puts a lane where its next step happens.
func (p *Pump) arm(l *lane) {
	if !p.running || l.reach == nothing {
		return
	}
	if p.wanting(l) {
		p.fetch(l)
	}
	if len(l.ring)+len(l.held) > 0 && !l.inReady {
		l.inReady = true
		p.ready = append(p.ready, l)
	}
}

// wanting reports whether more rows of a lane should be read. Where rows are held back, those behind them about the same
// subject may fill its ring, so it may grow as far as there is room.
func (p *Pump) wanting(l *lane) bool {
	return l.behind && !l.barred && (len(l.ring) <= ringSize/2 || len(l.held) > 0 && len(l.flying) == 0 && len(l.ring) < p.room())
}

// fetch has rows of a lane read.
func (p *Pump) fetch(l *lane) {
	if !l.inReads && !l.reading {
		l.inReads = true
		p.reads = append(p.reads, l)
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
	l.ring = insertEntry(l.ring, e)
}

// insertEntry keeps a list in the order of seq.
func insertEntry(list []*entry, e *entry) []*entry {
	i := len(list)
	for i > 0 && list[i-1].Seq > e.Seq {
		i--
	}
	return slices.Insert(list, i, e)
}

// empty takes everything out of a ring and what was held back: known has what is in flight or being removed from the
// store. Parting rows stay where they are still to be sent.
func (p *Pump) empty(l *lane, keepParting bool) {
	p.drop(l, func(e *entry) bool { return !keepParting || !e.Parting })
}

// drop takes entries out of a ring and what is held back, and forgets them.
func (p *Pump) drop(l *lane, which func(*entry) bool) (dropped int) {
	out := func(e *entry) bool {
		if !which(e) {
			return false
		}
		delete(l.known, e.Seq)
		dropped++
		return true
	}
	l.ring = slices.DeleteFunc(l.ring, out)
	l.held = slices.DeleteFunc(l.held, func(e *entry) bool {
		if !out(e) {
			return false
		}
		l.free(e)
		return true
	})
	p.held -= dropped
	if len(l.ring) == 0 {
		l.ring = nil
	}
	return dropped
}

// free gives up an entry's claim on its subject.
func (l *lane) free(e *entry) {
	if l.subjects[e.Event.Subject]--; l.subjects[e.Event.Subject] <= 0 {
		delete(l.subjects, e.Event.Subject)
	}
}

// retire drops a lane that has nothing left.
func (p *Pump) retire(l *lane) {
	if len(l.known) == 0 && !l.behind && !l.reading && !l.inReady && !l.inReads && len(l.flying) == 0 && p.lanes[l.suit.stream.Key] == l {
		delete(p.lanes, l.suit.stream.Key)
	}
}
