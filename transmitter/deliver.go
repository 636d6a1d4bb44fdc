package transmitter

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Bounds of connections.
const (
	dialTimeout   = 5 * time.Second
	idleTimeout   = 90 * time.Second
	perHostSpare  = 4
	maxHeaderSize = 64 << 10
)

// newTransport makes the transport of deliveries: HTTP/1.1, one pool for each host that holds at least a window.
func newTransport(c *Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  c.Timeout,
		MaxIdleConns:           4 * c.InFlight,
		MaxIdleConnsPerHost:    max(c.InFlight, c.Window+perHostSpare),
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderSize,
		DisableCompression:     true,
		TLSNextProto:           nil,
		ForceAttemptHTTP2:      false,
	}
}

// run carries out tries one after the other for as long as there is one to take.
func (p *Pump) run(t try) {
	for ok := true; ok; {
		begun := time.Now()
		a := p.attempt(t)
		t, ok = p.finish(t, a, begun)
	}
}

// attempt signs the row where it was not, and pushes it once, RFC 8935 §2.
func (p *Pump) attempt(t try) answer {
	if t.entry.token == "" {
		if a := p.sign(t); a.class != delivered {
			return a
		}
	}
	if t.suit.stale.Load() { // stopped, or to be sent with other settings, while it waited for its turn (TX-104, TX-173)
		return answer{class: canceled}
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
	defer cancel()
	token := t.entry.token
	req := (&http.Request{
		Method: http.MethodPost, URL: t.suit.url, Host: t.suit.url.Host, Header: t.suit.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(token)),
		Body:    io.NopCloser(strings.NewReader(token)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(token)), nil }, // P-82
	}).WithContext(ctx)
	begun := time.Now()
	t.entry.tries++
	if t.entry.tries == 1 {
		t.entry.first = At(p.cfg.Now())
	}
	resp, err := p.cfg.Transport.RoundTrip(req) // redirects are not followed (TX-174)
	if err != nil {
		if p.ctx.Err() != nil {
			return answer{class: canceled, took: time.Since(begun)}
		}
		return answer{class: retry, reason: netReason(err, t.suit.header), took: time.Since(begun)}
	}
	a := read(resp, t.suit.header, p.cfg.Now())
	a.took = time.Since(begun)
	return a
}

// sign makes the token of a row, at most GOMAXPROCS at once.
func (p *Pump) sign(t try) answer {
	p.signing <- struct{}{}
	defer func() { <-p.signing }()
	it := &t.entry.Item
	s := p.t.keys().byKid[it.KeyID]
	if s == nil {
		return answer{class: keyless, reason: fmt.Sprintf("signing key %q is not here", it.KeyID),
			advice: fmt.Sprintf("rows wait for the signing key %q, which is not here: put it back, or have them reissued under a current one", it.KeyID)}
	}
	input := it.Input
	if input == "" {
		var buf [1024]byte
		input = s.Input(appendClaims(buf[:0], t.suit.start, it.IssuedAt, it.JTI, it.Event.Body))
	}
	token, err := s.Complete(input)
	if err != nil {
		return answer{class: setup, reason: "signing failed: " + printable(err.Error()),
			advice: fmt.Sprintf("the signing key %q does not sign: %s", it.KeyID, printable(err.Error()))}
	}
	t.entry.token = token
	return answer{class: delivered}
}

// finish books the end of a try, and takes the next one for the same goroutine.
func (p *Pump) finish(t try, a answer, begun time.Time) (try, bool) {
	l, e, s := t.lane, t.entry, t.suit.stream
	if p.cfg.Delivered != nil && a.class != canceled {
		p.cfg.Delivered(Try{
			StreamID: s.ID, Receiver: s.Receiver, Type: e.Event.Type, JTI: e.JTI, TXN: e.Event.TXN, IssuedAt: e.IssuedAt, Order: e.Input != "",
			Status: a.status, Reason: a.reason, Dead: a.class == refused, Tries: e.tries, Began: begun, Took: a.took,
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := At(p.cfg.Now())
	p.inFlight--
	if i := slices.Index(l.flying, e); i >= 0 {
		l.flying = slices.Delete(l.flying, i, i+1)
	}
	l.free(e)
	if t.slow {
		p.slow--
		for _, s := range p.stalled {
			s.stalled = false
			p.arm(s)
		}
		p.stalled = p.stalled[:0]
	}
	fresh := t.round == l.round && t.suit == l.suit // speaks of the stream as it is now
	if a.class != canceled {
		p.seen(l, e, a, now)
	}
	switch {
	case e.moot: // the store has it under another identity
		delete(l.known, e.Seq)
		p.restart(l)
	case a.class == delivered || a.class == refused:
		o := Outcome{Stream: e.Stream, Seq: e.Seq, Plain: e.Input == "", Status: a.status, At: now,
			JTI: e.JTI, Event: e.Event.Key, Tries: e.tries, First: e.first}
		if a.class == refused {
			o.Dead, o.Reason = true, a.reason
			p.cfg.Log.Warn("a SET was refused and set aside", "stream", s.ID, "jti", e.JTI, "reason", logged(a.reason))
		}
		p.book(o)
		l.slow = a.took > slowAfter
		if fresh && p.trouble[e.Stream].Fails > 0 {
			p.well(l)
		}
	case l.reach == nothing || l.reach == partings && !e.Parting:
		delete(l.known, e.Seq)
	case t.suit != l.suit && !e.Parting: // the stream changed meanwhile, and the row may be gone: the store knows
		delete(l.known, e.Seq)
		p.restart(l)
	case a.class == canceled:
		p.add(l, e)
	case a.class == keyless:
		delete(l.known, e.Seq)
		if fresh {
			l.round++
			p.keyless[e.Stream] = struct{}{}
			p.settle(e.Stream, p.fail(p.trouble[e.Stream], a, now))
			p.cfg.Log.Error("a signing key is missing, and a stream stands still", "stream", s.ID, "kid", e.KeyID)
		}
		p.restart(l) // by the next probe the store may have it under another key
	default:
		p.failed(l, e, a, fresh, now)
	}
	p.arm(l)
	p.retire(l)
	next, ok := p.next()
	p.schedule()
	return next, ok
}
