package transmitter

import "sync"

// parked are the polls that are held until there is something to answer (RFC 8936 §2.4). A stream without one has
// nothing here.
type parked struct {
	mu        sync.Mutex
	streams   map[int64]*lot
	receivers map[string]int // held polls of each
	count     int
	closed    bool // shutting down: nothing is held any more
}

// lot is the held polls of one stream.
type lot struct {
	woken chan struct{} // closed to wake them all
	count int
}

// wait parks a poll: woken is closed when the stream may have rows, when its status changed, when it is gone, and when
// the transmitter stops. Park first and read the store then, or a row that comes between is missed. leave must be called
// once the poll goes on, for whatever reason. Not ok where too many are held already: such a poll is answered at once.
func (t *Transmitter) wait(stream int64) (woken <-chan struct{}, leave func(), ok bool) {
	p := &t.parked
	receiver := ""
	if snap := t.streams.Load(); snap != nil && snap.byKey[stream] != nil {
		receiver = snap.byKey[stream].Receiver
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.streams[stream]
	if p.closed || p.count >= t.cfg.PollParked || l != nil && l.count >= t.cfg.PollParkedStream || receiver != "" && p.receivers[receiver] >= t.cfg.PollParkedReceiver {
		return nil, nil, false
	}
	if p.receivers == nil {
		p.receivers = map[string]int{}
	}
	p.receivers[receiver]++
	if l == nil {
		if p.streams == nil {
			p.streams = map[int64]*lot{}
		}
		l = &lot{woken: make(chan struct{})}
		p.streams[stream] = l
	}
	l.count++
	p.count++
	return l.woken, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count--
		if p.receivers[receiver]--; p.receivers[receiver] == 0 {
			delete(p.receivers, receiver)
		}
		if l.count--; l.count == 0 && p.streams[stream] == l {
			delete(p.streams, stream)
		}
	}), true
}

// wake lets the held polls of a stream go on.
func (t *Transmitter) wake(stream int64) {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	t.parked.wake(stream)
}

func (p *parked) wake(stream int64) {
	if l := p.streams[stream]; l != nil {
		close(l.woken)
		l.woken = make(chan struct{})
	}
}

// wakeWaiting lets the polls of enabled streams go on that have rows: another process may have written them.
func (t *Transmitter) wakeWaiting(keys []int64) {
	snap := t.streams.Load()
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	if t.parked.count == 0 || snap == nil {
		return
	}
	for _, key := range keys {
		if s := snap.byKey[key]; s == nil || s.Status == Enabled { // while it is paused, rows wait for nobody
			t.parked.wake(key)
		}
	}
}

// wakeChanged lets the polls of streams go on that changed or are gone.
func (t *Transmitter) wakeChanged(old, now *snapshot) {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	for key := range t.parked.streams {
		s := now.byKey[key]
		if s == nil || old == nil || old.byKey[key] == nil || old.byKey[key].Generation != s.Generation {
			t.parked.wake(key)
		}
	}
}

// unpark sets whether polls are held at all, and lets them all go on where they are not.
func (t *Transmitter) unpark(closed bool) {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	t.parked.closed = closed
	if closed {
		for key := range t.parked.streams {
			t.parked.wake(key)
		}
	}
}

// held says how many polls of a stream are held.
func (p *parked) held(stream int64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.streams[stream]; l != nil {
		return l.count
	}
	return 0
}
