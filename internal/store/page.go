package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"

	"countersign/transmitter"
)

// The history is written in pages: one row of delivery_page for each stream and commit of outcomes, with a line
// of it for every outcome. A row for each line would cost as much as the outbox row that it follows.
//
// A page is one byte with the version, 1; the event and the moment that its lines count from; and the lines,
// one after the other to the end. All numbers are varints of encoding/binary; v is a signed one, u an unsigned one.
//
//	page  = %x01 event:v at:v *line
//	line  = flags:1 byte, jti, event-page.event:v, at-page.at:v, [status:v], tries:v, [at-first:v], [reason]
//	jti   = length:u, bytes
//	reason = length:u, bytes
//
// flags: 1 the row was set aside; 2 jti is the base64url of the bytes; 4 a status follows (else it is 202); 8 the moment
// of the first try follows; 16 a reason follows.
//
// A line says all of itself beside the head, so that PostgreSQL can put together the lines of those rows that it found.
const pageVersion = 1

const (
	lineDead = 1 << iota
	linePacked
	lineStatus
	lineFirst
	lineReason
	lineFlags = iota
)

var errPage = errors.New("store: a page of the history cannot be read")

// pageBase is the head of a page.
type pageBase struct {
	event int64
	at    int64
}

func (b pageBase) appendTo(p []byte) []byte {
	p = append(p, pageVersion)
	p = binary.AppendVarint(p, b.event)
	return binary.AppendVarint(p, b.at)
}

// appendLine adds a line to a page.
func (b pageBase) appendLine(p []byte, o *transmitter.Outcome) []byte {
	at := len(p)
	p = append(p, 0)
	var flags byte
	if o.Dead {
		flags |= lineDead
	}
	var raw [64]byte
	if n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(shortText(o.JTI))); err == nil && n > 0 {
		flags |= linePacked
		p = binary.AppendUvarint(p, uint64(n))
		p = append(p, raw[:n]...)
	} else {
		p = binary.AppendUvarint(p, uint64(len(o.JTI)))
		p = append(p, o.JTI...)
	}
	p = binary.AppendVarint(p, o.Event-b.event)
	p = binary.AppendVarint(p, int64(o.At)-b.at)
	if o.Status != 202 {
		flags |= lineStatus
		p = binary.AppendVarint(p, int64(o.Status))
	}
	p = binary.AppendVarint(p, int64(o.Tries))
	if o.First != 0 {
		flags |= lineFirst
		p = binary.AppendVarint(p, int64(o.At-o.First))
	}
	if o.Reason != "" {
		flags |= lineReason
		p = binary.AppendUvarint(p, uint64(len(o.Reason)))
		p = append(p, o.Reason...)
	}
	p[at] = flags
	return p
}

// shortText is a text that is not too long to be packed, or none; Decode ignores line ends, so those are none either.
func shortText(s string) string {
	if len(s) > 80 {
		return ""
	}
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' {
			return ""
		}
	}
	return s
}

// eachLine gives the lines of a page in the order in which they were written. Only JTI, Event, Dead, Status, Reason,
// Tries, First and At of the outcome are set; it is used again for the next line.
func eachLine(page []byte, f func(o *transmitter.Outcome) error) error {
	if len(page) == 0 || page[0] != pageVersion {
		return errPage
	}
	r := pageReader{rest: page[1:]}
	base := pageBase{event: r.int(), at: r.int()}
	for len(r.rest) > 0 && !r.bad {
		var o transmitter.Outcome
		flags := r.rest[0]
		r.rest = r.rest[1:]
		if flags>>lineFlags != 0 {
			return errPage
		}
		o.Dead = flags&lineDead != 0
		jti := r.bytes()
		if flags&linePacked != 0 {
			o.JTI = base64.RawURLEncoding.EncodeToString(jti)
		} else {
			o.JTI = string(jti)
		}
		o.Event = base.event + r.int()
		o.At = transmitter.Micros(base.at + r.int())
		o.Status = 202
		if flags&lineStatus != 0 {
			o.Status = int(r.int())
		}
		o.Tries = int(r.int())
		if flags&lineFirst != 0 {
			o.First = o.At - transmitter.Micros(r.int())
		}
		if flags&lineReason != 0 {
			o.Reason = string(r.bytes())
		}
		if r.bad {
			return errPage
		}
		if err := f(&o); err != nil {
			return err
		}
	}
	if r.bad {
		return errPage
	}
	return nil
}

// pageReader reads the parts of a page; bad once anything was not there.
type pageReader struct {
	rest []byte
	bad  bool
}

func (r *pageReader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *pageReader) bytes() []byte {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > uint64(len(r.rest)-n) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[n : n+int(v)]
	r.rest = r.rest[n+int(v):]
	return b
}

// pages collects the lines of one commit, a page for each stream.
type pages struct {
	byStream map[int64]*page
	order    []*page
}

type page struct {
	tenant                string
	stream                int64
	base                  pageBase
	firstEvent, lastEvent int64
	firstAt, lastAt       int64
	n                     int64
	entries               []byte
}

func (ps *pages) add(tenant string, o *transmitter.Outcome) {
	p := ps.byStream[o.Stream]
	if p == nil {
		if ps.byStream == nil {
			ps.byStream = map[int64]*page{}
		}
		p = &page{tenant: tenant, stream: o.Stream}
		ps.byStream[o.Stream] = p
		ps.order = append(ps.order, p)
	}
	p.add(o)
}

func (p *page) add(o *transmitter.Outcome) {
	at := int64(o.At)
	if p.n == 0 {
		p.base = pageBase{event: o.Event, at: at}
		p.firstEvent, p.lastEvent, p.firstAt, p.lastAt = o.Event, o.Event, at, at
		p.entries = p.base.appendTo(make([]byte, 0, 256))
	}
	p.firstEvent, p.lastEvent = min(p.firstEvent, o.Event), max(p.lastEvent, o.Event)
	p.firstAt, p.lastAt = min(p.firstAt, at), max(p.lastAt, at)
	p.n++
	p.entries = p.base.appendLine(p.entries, o)
}

const pageColumns = `tenant, stream, first_event, last_event, first_at, last_at, n, entries`

func (p *page) row() []any {
	return []any{p.tenant, p.stream, p.firstEvent, p.lastEvent, p.firstAt, p.lastAt, p.n, p.entries}
}

func (ps *pages) rows() [][]any {
	rows := make([][]any, len(ps.order))
	for i, p := range ps.order {
		rows[i] = p.row()
	}
	return rows
}

// without gives the page without its lines before a moment, and how many those were.
func (p *page) without(before int64) (*page, int64, error) {
	kept := &page{tenant: p.tenant, stream: p.stream}
	var gone int64
	err := eachLine(p.entries, func(o *transmitter.Outcome) error {
		if int64(o.At) < before {
			gone++
			return nil
		}
		kept.add(o)
		return nil
	})
	return kept, gone, err
}
