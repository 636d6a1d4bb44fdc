package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Push makes the transport of deliveries: requests whose repetition does no harm, such as SETs, by the hundred
// to the same few hosts. It speaks HTTP/1.1 on connections that it keeps, and works in the caller's goroutine,
// where http.Transport hands each request to two others; that is a tenth of what a delivery costs. A
// connection that the other side closed while it was idle is noticed when it is used next, and the request is sent
// once more on a fresh one: so nothing goes through it that must not be repeated. The same guard as in
// Client checks every connection; no redirect is followed.
func Push(cfg Config) http.RoundTripper {
	return &gate{next: newLean(cfg), dev: cfg.Dev}
}

const (
	leanHeader  = 64 << 10         // octets of an answer before its body
	leanIdle    = 60 * time.Second // a connection idle for longer is not used again
	leanPerHost = 256              // idle connections kept for one host
	leanInform  = 5                // 1xx answers before the one that counts
)

type lean struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	tls     *tls.Config
	hello   time.Duration // of the TLS handshake
	respond time.Duration // until the answer's header

	mu   sync.Mutex
	idle map[string][]*leanConn // by scheme and address; the last one used is the next one taken
	look time.Time              // when sweep looks again
}

func newLean(cfg Config) *lean {
	g := newGuard(cfg)
	return &lean{
		dial: g.dial, tls: tlsConfig(cfg), hello: or(cfg.TLSTimeout, 5*time.Second), respond: or(cfg.ResponseTimeout, 10*time.Second),
		idle: map[string][]*leanConn{},
	}
}

// leanConn is one connection. It belongs to one request at a time.
type leanConn struct {
	net.Conn
	key  string
	r    *bufio.Reader
	w    *bufio.Writer
	left int64 // octets that may still be read before the body
	used time.Time
	got  bool // an octet of the answer under way was read
}

var errHeaderSize = errors.New("egress: the header of the answer is too large")

// Read bounds what is read while the header is awaited.
func (c *leanConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderSize
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	c.got = c.got || n > 0
	return n, err
}

// RoundTrip sends one request and gives the answer. The body of the answer must be closed.
func (l *lean) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	c, reused, err := l.connect(req)
	if err != nil {
		return nil, err
	}
	resp, err := l.exchange(c, req)
	if err == nil || !reused || c.got || req.GetBody == nil || req.Context().Err() != nil {
		return resp, err
	}
	again := *req
	if again.Body, err = req.GetBody(); err != nil {
		return nil, err
	}
	if c, err = l.open(req); err != nil {
		return nil, err
	}
	return l.exchange(c, &again)
}

// connect takes an idle connection or opens one.
func (l *lean) connect(req *http.Request) (c *leanConn, reused bool, err error) {
	key := req.URL.Scheme + " " + req.URL.Host
	l.mu.Lock()
	all := l.idle[key]
	for len(all) > 0 && c == nil {
		c = all[len(all)-1]
		all[len(all)-1] = nil
		all = all[:len(all)-1]
		if time.Since(c.used) > leanIdle {
			for _, old := range append(all, c) { // those below are older still
				old.Close()
			}
			all, c = nil, nil
		}
	}
	if len(all) == 0 {
		delete(l.idle, key)
	} else {
		l.idle[key] = all
	}
	l.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	c, err = l.open(req)
	return c, false, err
}

func (l *lean) open(req *http.Request) (*leanConn, error) {
	host, port := req.URL.Hostname(), req.URL.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[req.URL.Scheme]
	}
	conn, err := l.dial(req.Context(), "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme == "https" {
		cfg := l.tls.Clone()
		cfg.ServerName = host
		secure := tls.Client(conn, cfg)
		ctx, cancel := context.WithTimeout(req.Context(), l.hello)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secure
	}
	c := &leanConn{Conn: conn, key: req.URL.Scheme + " " + req.URL.Host}
	c.r, c.w = bufio.NewReaderSize(c, 4<<10), bufio.NewWriterSize(conn, 4<<10)
	return c, nil
}

// exchange writes the request and reads the header of the answer. The connection is closed on any error.
func (l *lean) exchange(c *leanConn, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	deadline := time.Now().Add(l.respond)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	c.SetDeadline(deadline)
	c.left, c.got = leanHeader, false
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	resp, err := c.answer(req)
	if err != nil {
		stop()
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	c.left = 1 << 62 // the body is bounded by whoever reads it
	resp.Body = &leanBody{ReadCloser: resp.Body, l: l, c: c, stop: stop, keep: !resp.Close && !req.Close, none: resp.ContentLength == 0}
	return resp, nil
}

func (c *leanConn) answer(req *http.Request) (*http.Response, error) {
	if err := req.Write(c.w); err != nil {
		return nil, err
	}
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	for range leanInform {
		resp, err := http.ReadResponse(c.r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return nil, fmt.Errorf("egress: the other side wants to switch protocols")
		}
	}
	return nil, fmt.Errorf("egress: the other side does not come to an answer")
}

// leanBody gives the connection back when the body was read to its end, and closes it otherwise.
type leanBody struct {
	io.ReadCloser
	l    *lean
	c    *leanConn
	stop func() bool
	keep bool
	none bool // there is no body to read
	end  bool // its end was read
	done bool
}

func (b *leanBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.end = true
	}
	return n, err
}

func (b *leanBody) Close() error {
	if b.done {
		return nil
	}
	b.done = true
	alive := b.stop() // false: the context ended and touched the deadline
	if !alive || !b.keep || !b.end && !b.none || b.c.r.Buffered() > 0 {
		return b.c.Close()
	}
	b.c.SetDeadline(time.Time{})
	b.c.used = time.Now()
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.l.sweep(b.c.used)
	if len(b.l.idle[b.c.key]) >= leanPerHost {
		return b.c.Close()
	}
	b.l.idle[b.c.key] = append(b.l.idle[b.c.key], b.c)
	return nil
}

// sweep closes what has been idle for too long at every host, now and then: a receiver may name another host each day,
// and nobody comes back to the ones before. The lock is held.
func (l *lean) sweep(now time.Time) {
	if now.Before(l.look) {
		return
	}
	l.look = now.Add(leanIdle / 4)
	for key, all := range l.idle {
		n := 0 // the oldest stand first
		for n < len(all) && now.Sub(all[n].used) > leanIdle {
			all[n].Close()
			n++
		}
		if n == len(all) {
			delete(l.idle, key)
		} else if n > 0 {
			l.idle[key] = append([]*leanConn(nil), all[n:]...)
		}
	}
}

// CloseIdleConnections closes what is not in use.
func (l *lean) CloseIdleConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, all := range l.idle {
		for _, c := range all {
			c.Close()
		}
	}
	clear(l.idle)
}
