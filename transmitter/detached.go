package transmitter

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// detach takes a poll that waits off its http.Server, where its connection is a plain one: what the server keeps of a request
// under way (buffers and the stack of its goroutine) is four times what waiting needs, and is given back. The connection ends with the
// answer. Over TLS, where a new connection is dear, and over HTTP/2 the poll stays with the server.
func (p *held) detach() bool {
	if p.r.TLS != nil || p.r.ProtoMajor != 1 || !p.s.t.holdDetached() {
		return false
	}
	conn, buffered, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		p.s.t.detached.Done()
		return false // the server, or a middleware, keeps its connections
	}
	_ = conn.SetDeadline(time.Time{}) // one that is broken shows at the first read
	d := &detached{conn: conn, more: buffered.Reader.Buffered() > 0}
	// Of the request there stays what says who asks: that is asked once more before the answer.
	r := &http.Request{Method: p.r.Method, URL: p.r.URL, Host: p.r.Host, RemoteAddr: p.r.RemoteAddr, RequestURI: p.r.RequestURI,
		Proto: p.r.Proto, ProtoMajor: p.r.ProtoMajor, ProtoMinor: p.r.ProtoMinor, Header: p.r.Header, Body: http.NoBody}
	r = r.WithContext(context.WithoutCancel(p.r.Context()))
	gone := make(chan struct{})
	p.r, p.w, p.gone = r, d, gone
	go d.watch(gone)
	go p.goOn(d)
	return true
}

// holdDetached counts a detached poll that Run waits for; not while the transmitter stops.
func (t *Transmitter) holdDetached() bool {
	t.parked.mu.Lock()
	defer t.parked.mu.Unlock()
	if t.parked.closed {
		return false
	}
	t.detached.Add(1)
	return true
}

// awaitDetached lets the answers of detached polls out, for a moment.
func (t *Transmitter) awaitDetached() {
	out := make(chan struct{})
	go func() {
		defer close(out)
		t.detached.Wait()
	}()
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-out:
	case <-timer.C:
	}
}

// goOn is the rest of a detached poll.
func (p *held) goOn(d *detached) {
	defer p.s.t.detached.Done()
	defer d.conn.Close()
	defer p.resume()
	for !p.done {
		p.wait()
		if !p.done {
			p.aside(p.step)
		}
	}
	p.aside(d.flush)
}

// detached is the connection of a poll without its server, and what answers it.
type detached struct {
	conn   net.Conn
	more   bool // the client sent more than its request, and is not waited for
	header http.Header
	status int
	body   bytes.Buffer
}

// watch closes gone when the client leaves, or sends anything: it is to wait for its answer.
func (d *detached) watch(gone chan<- struct{}) {
	defer close(gone)
	if d.more {
		return
	}
	var one [1]byte
	_, _ = d.conn.Read(one[:]) // whatever ends it
}

// Header gives the header of the answer.
func (d *detached) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}

// WriteHeader takes the status.
func (d *detached) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

// Write takes a part of the body.
func (d *detached) Write(b []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return d.body.Write(b)
}

// SetWriteDeadline is for http.ResponseController; flush sets its own.
func (d *detached) SetWriteDeadline(time.Time) error { return nil }

// flush sends the answer, where there is one.
func (d *detached) flush() {
	if d.status == 0 {
		return
	}
	h := d.Header()
	h.Set("Connection", "close")
	h.Set("Content-Length", strconv.Itoa(d.body.Len()))
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	res := http.Response{StatusCode: d.status, ProtoMajor: 1, ProtoMinor: 1, Header: h, Close: true,
		ContentLength: int64(d.body.Len()), Body: io.NopCloser(&d.body)}
	_ = d.conn.SetWriteDeadline(time.Now().Add(writeTime))
	w := bufio.NewWriter(d.conn)
	if err := res.Write(w); err == nil { // what a receiver does not read is offered again
		_ = w.Flush()
	}
}
