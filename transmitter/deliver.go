package transmitter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/strictjson"
)

// Bounds of an answer and of back-off.
const (
	answerSize    = 4 << 10 // octets of an error answer that are read
	drainSize     = 64 << 10
	firstBackoff  = time.Second
	longBackoff   = 5 * time.Minute
	longestRetry  = time.Hour // a Retry-After beyond it is cut to it
	reasonSize    = 300
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

// class says what an answer means for the row and for its stream (engine §10.3).
type class int

const (
	delivered class = iota
	refused         // about this SET: set aside, and the stream goes on
	setup           // a fault of the stream's set-up: long probes, nothing dropped
	retry           // a fault that may pass
	canceled        // we are stopping
)

type answer struct {
	class      class
	status     int
	reason     string
	retryAfter time.Duration
	took       time.Duration
}

// run carries out tries one after the other for as long as there is one to take.
func (p *Pump) run(t try) {
	for ok := true; ok; {
		a := p.attempt(t)
		t, ok = p.finish(t, a)
	}
}

// attempt signs the row where it was not, and pushes it once, RFC 8935 §2.
func (p *Pump) attempt(t try) answer {
	if t.entry.token == "" {
		if err := p.sign(t); err != nil {
			return answer{class: setup, reason: err.Error()}
		}
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
	resp, err := p.cfg.Transport.RoundTrip(req) // redirects are not followed (TX-174)
	if err != nil {
		if p.ctx.Err() != nil {
			return answer{class: canceled, took: time.Since(begun)}
		}
		return answer{class: retry, reason: netReason(err, t.suit.header), took: time.Since(begun)}
	}
	a := read(resp, t.suit.header)
	a.took = time.Since(begun)
	return a
}

// sign makes the token of a row, at most GOMAXPROCS at once.
func (p *Pump) sign(t try) error {
	p.signing <- struct{}{}
	defer func() { <-p.signing }()
	it := &t.entry.Item
	s := p.t.keys().byKid[it.KeyID]
	if s == nil {
		return fmt.Errorf("signing key %q is not here", it.KeyID)
	}
	input := it.Input
	if input == "" {
		var buf [1024]byte
		input = s.Input(appendClaims(buf[:0], t.suit.start, it.IssuedAt, it.JTI, it.Event.Body))
	}
	token, err := s.Complete(input)
	t.entry.token = token
	return err
}

// read takes an answer apart and leaves the connection fit for the next request.
func read(resp *http.Response, ours http.Header) answer {
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if a.status/100 == 2 { // 202 by RFC 8935 §2.2; any 2xx is taken (TX-170)
		drain(resp)
		return a
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerSize))
	drain(resp)
	a.reason = "HTTP " + strconv.Itoa(a.status)
	var wire struct {
		Err         string `json:"err"`
		Description string `json:"description"`
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		if strictjson.Unmarshal(body, &wire) != nil {
			wire.Err, wire.Description = "", ""
		}
	}
	if wire.Err != "" {
		a.reason += " " + printable(wire.Err)
		if wire.Description != "" {
			a.reason += ": " + printable(wire.Description)
		}
	}
	a.reason = hide(a.reason, ours)
	if len(a.reason) > reasonSize {
		a.reason = strings.ToValidUTF8(a.reason[:reasonSize], "") + "…"
	}
	a.class = classify(a.status, wire.Err)
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		a.retryAfter = retryAfter(resp.Header.Get("Retry-After"))
	}
	return a
}

// classify is the one table from an answer that is not 2xx to its meaning.
func classify(status int, err string) class {
	switch status {
	case 400: // RFC 8935 §2.3, §2.4
		switch err {
		case "invalid_key", "invalid_issuer", "invalid_audience", "authentication_failed", "access_denied":
			return setup
		}
		return refused
	case 413, 422:
		return refused
	case 408, 425, 429:
		return retry
	}
	if status >= 500 {
		return retry
	}
	return setup // 401, 403, 404, redirects and whatever else no later SET would fare better with
}

func drain(resp *http.Response) {
	if resp.ContentLength != 0 {
		_, _ = io.CopyN(io.Discard, resp.Body, drainSize)
	}
}

// retryAfter reads the header in both its forms, RFC 9110 §10.2.3.
func retryAfter(v string) time.Duration {
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
		return min(time.Duration(max(s, 0))*time.Second, longestRetry)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), longestRetry)
	}
	return 0
}

// netReason says what went wrong without the address, which may hold a secret path.
func netReason(err error, ours http.Header) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &dns):
		return "the host name is not found"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection: " + op.Err.Error()
	case errors.As(err, &op):
		return "the connection broke: " + op.Err.Error()
	}
	text := hide(printable(err.Error()), ours)
	if len(text) > reasonSize {
		text = strings.ToValidUTF8(text[:reasonSize], "") + "…"
	}
	return "no answer: " + text
}

// hide takes the receiver's own credential, which it may send back, out of a text that is logged and kept.
func hide(text string, ours http.Header) string {
	authorization := ours.Get("Authorization")
	_, credential, found := strings.Cut(authorization, " ")
	if !found {
		credential = authorization
	}
	if credential == "" {
		return text
	}
	return strings.ReplaceAll(text, credential, "***")
}

// printable takes control characters out of text that the other side wrote.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// finish books the end of a try, and takes the next one for the same goroutine.
func (p *Pump) finish(t try, a answer) (try, bool) {
	if p.cfg.Delivered != nil && a.class != canceled {
		p.cfg.Delivered(Try{
			StreamID: t.suit.stream.ID, Receiver: t.suit.stream.Receiver, Type: t.entry.Event.Type, JTI: t.entry.JTI, IssuedAt: t.entry.IssuedAt,
			Order: t.entry.Input != "", Status: a.status, Reason: a.reason, Dead: a.class == refused, Took: a.took,
		})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l, e := t.lane, t.entry
	p.inFlight--
	l.inFlight--
	if l.subjects[e.Event.Subject]--; l.subjects[e.Event.Subject] == 0 {
		delete(l.subjects, e.Event.Subject)
	}
	if t.slow {
		p.slow--
		for _, s := range p.stalled {
			s.stalled = false
			p.arm(s)
		}
		p.stalled = p.stalled[:0]
	}
	fresh := t.round == l.round && t.suit == l.suit // speaks of the stream as it is now
	switch a.class {
	case delivered, refused:
		o := Outcome{Stream: e.Stream, Seq: e.Seq, Plain: e.Input == "", Status: a.status, At: At(p.cfg.Now())}
		if a.class == refused {
			o.Dead, o.Reason = true, a.reason
			p.cfg.Log.Warn("a SET was refused and set aside", "stream", t.suit.stream.ID, "jti", e.JTI, "reason", a.reason)
		}
		p.book(o)
		l.slow = a.took > slowAfter
		if fresh && p.trouble[e.Stream].Fails > 0 {
			p.settle(l, Trouble{})
		}
	default:
		if t.suit == l.suit {
			p.add(l, e)
		} else { // the stream changed meanwhile, and the row may be gone: the store knows
			delete(l.known, e.Seq)
			if l.suit.stream.Status == Enabled {
				p.look(l, 0)
			}
		}
		if a.class != canceled && fresh {
			l.slow = true
			l.round++
			p.settle(l, p.fail(p.trouble[e.Stream], a))
			p.cfg.Log.Warn("delivery failed", "stream", t.suit.stream.ID, "fails", p.trouble[e.Stream].Fails, "reason", a.reason)
		}
	}
	p.arm(l)
	p.retire(l)
	next, ok := p.next()
	p.schedule()
	return next, ok
}

// fail says when a stream is tried again: full jitter under a doubling bound, or the long probes of an open breaker.
func (p *Pump) fail(tr Trouble, a answer) Trouble {
	now := At(p.cfg.Now())
	if tr.Fails == 0 {
		tr.Since = now
	}
	tr.Fails++
	tr.Open = a.class == setup
	tr.Reason = a.reason
	bound := min(firstBackoff<<min(tr.Fails-1, 20), longBackoff)
	wait := rand.N(bound) + time.Millisecond
	if tr.Open {
		wait = longBackoff/2 + rand.N(longBackoff/2)
	}
	tr.Next = now + Micros(max(wait, a.retryAfter).Microseconds())
	return tr
}

// settle sets the back-off of a lane and has it kept.
func (p *Pump) settle(l *lane, tr Trouble) {
	key := l.suit.stream.Key
	if tr.Fails == 0 {
		if _, had := p.trouble[key]; !had {
			return
		}
		delete(p.trouble, key)
	} else {
		p.trouble[key] = tr
	}
	p.writes[key] = tr
	signal(p.acks)
	signal(p.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
