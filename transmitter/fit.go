package transmitter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/event"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// The steps of matching one event with one stream, in their order. Transmitter.Explain shows them.
const (
	stepType      = "event type"
	stepRequested = "requested"
	stepStatus    = "status"
	stepNamed     = "named stream"
	stepNaming    = "naming"
	stepSubject   = "subject list"
	stepOrder     = "order"
	stepKey       = "signing key"
)

// verdict is the step at which a stream falls out, and why; the zero verdict is none.
type verdict struct{ step, reason string }

// fitting is one message while it is matched with stream after stream. What several streams need is done once.
type fitting struct {
	t   *Transmitter
	ctx context.Context
	m   *Message
	typ event.Type
	sub subject.Identifier
	now time.Time

	lists  map[string]*listing // by the canonical form of the subject that lists are asked for
	bodies map[variant][]byte

	looked      bool // at the payload
	identifying []event.Identifying
	unreadable  error
}

// listing is what the lists of all streams say of one subject.
type listing struct {
	sub     subject.Identifier
	keys    [][16]byte
	entries map[int64][]SubjectEntry
	same    map[string]bool // whether a listed subject matches, by its canonical form
}

// variant is what the body of a row depends on.
type variant struct{ shape, subject, left string }

// fit makes the row of a stream that takes the event type and is not disabled, or says why there is none. An error
// stops the message as a whole: it may pass, or the message is at fault.
func (f *fitting) fit(s *Stream) (Row, verdict, error) {
	if s.DefaultSubjects == stream.DefaultNone && !s.Listed {
		return Row{}, verdict{stepSubject, reasonList(s)}, nil // nobody is on it, whatever they are named
	}
	named, reason, err := f.named(s)
	switch {
	case err != nil:
		return Row{}, verdict{}, err
	case reason != "" && s.DefaultSubjects == stream.DefaultNone: // who has no name there cannot be on the list
		return Row{}, verdict{stepSubject, reasonList(s)}, nil
	case reason != "":
		return Row{}, verdict{stepNaming, reason}, nil
	}
	if ok, err := f.listed(s, named); err != nil || !ok {
		return Row{}, verdict{stepSubject, reasonList(s)}, err
	}
	payload, left, reason := f.payload(s, named)
	if reason != "" {
		return Row{}, verdict{stepNaming, reason}, nil
	}
	if f.m.Order != nil { // receipts design §3.3: never a directive on a stream that is not active
		if reason := f.t.refusesOrder(s, f.m); reason != "" {
			return Row{}, verdict{stepOrder, reason}, nil
		}
	}
	signer, err := f.t.keys().signer(s.Algorithm)
	if err != nil {
		f.t.cfg.Log.ErrorContext(f.ctx, "an event is not sent on a stream for want of a key", "stream", s.ID, "alg", s.Algorithm)
		return Row{}, verdict{stepKey, "there is no signing key for " + s.Algorithm}, nil
	}
	row := Row{Stream: s.Key, StreamID: s.ID, JTI: set.NewID(), IssuedAt: f.now.Unix(), // rounded down (TX-158)
		KeyID: signer.KeyID(), Algorithm: string(signer.Algorithm())}
	if f.m.Order != nil {
		err := f.planOrder(s, named, payload, &row, signer)
		return row, verdict{}, err
	}
	if s.Naming != nil || s.Shape != "" {
		row.Body = f.body(s, named, payload, left)
	}
	return row, verdict{}, nil
}

// listed reports whether the subject list of a stream lets the event through (SSF 1.0 §8.1.3.1, SUB-35). sub is the subject
// as the receiver is told it, and only that is looked for: an entry with an identifier of somebody else's name space says
// nothing, else a receiver would learn from what arrives whom it belongs to. A stream that takes everybody and removed
// nobody is not looked up.
func (f *fitting) listed(s *Stream, sub subject.Identifier) (bool, error) {
	if s.DefaultSubjects != stream.DefaultNone && !s.Listed {
		return true, nil
	}
	l, err := f.listing(sub)
	if err != nil {
		return false, err
	}
	now := At(f.now)
	if s.DefaultSubjects != stream.DefaultNone {
		about := sub.Key()
		return !slices.ContainsFunc(l.entries[s.Key], func(e SubjectEntry) bool {
			return e.Off && e.Until <= now && e.ID == about
		}), nil
	}
	for i := range l.entries[s.Key] {
		if e := &l.entries[s.Key][i]; (!e.Off || e.Until > now) && l.matches(e) { // TX-118, TX-121
			return true, nil
		}
	}
	return false, nil
}

// listing reads what the lists say of a subject, once for all streams that are told the same.
func (f *fitting) listing(sub subject.Identifier) (*listing, error) {
	about := sub.Canonical()
	if l := f.lists[about]; l != nil {
		return l, nil
	}
	l := &listing{sub: sub, keys: subjectKeys(sub), entries: map[int64][]SubjectEntry{}}
	found, err := f.t.cfg.Store.Subjects(f.ctx, l.keys)
	if err != nil {
		return nil, err
	}
	for _, e := range found {
		l.entries[e.Stream] = append(l.entries[e.Stream], e)
	}
	if f.lists == nil {
		f.lists = map[string]*listing{}
	}
	f.lists[about] = l
	return l, nil
}

// matches reports whether an entry that was found by a key is about the subject, by subject.Match.
func (l *listing) matches(e *SubjectEntry) bool {
	if e.Subject == nil {
		return slices.Contains(l.keys, e.ID)
	}
	known, seen := l.same[string(e.Subject)]
	if !seen {
		listed, err := subject.Parse(e.Subject)
		known = err == nil && subject.Match(listed, l.sub)
		if l.same == nil {
			l.same = map[string]bool{}
		}
		l.same[string(e.Subject)] = known
	}
	return known
}

func reasonList(s *Stream) string {
	if s.DefaultSubjects == stream.DefaultNone {
		return "the subject is not on the stream's list"
	}
	return "the subject was removed from the stream"
}

// subjectKeys are the keys by which a subject is found on lists, and an entry is found by subjects: of a simple subject
// its own, of aliases and of complex subjects those of their parts. Two subjects that subject.Match joins have one in common.
func subjectKeys(id subject.Identifier) [][16]byte {
	var keys [][16]byte
	add := func(id subject.Identifier) {
		if key := id.Key(); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	simple := func(id subject.Identifier) {
		if aliases := id.Aliases(); len(aliases) > 0 {
			for _, a := range aliases {
				add(a)
			}
			return
		}
		add(id)
	}
	if id.Format() != subject.FormatComplex {
		simple(id)
		return keys
	}
	for _, name := range id.Parts() {
		part, _ := id.Part(name)
		simple(part)
	}
	return keys
}

// subjectEntry is a subject as it stands on the list of a stream.
func subjectEntry(stream int64, id subject.Identifier) SubjectEntry {
	e := SubjectEntry{Stream: stream, ID: id.Key(), Keys: subjectKeys(id)}
	if id.Format() == subject.FormatComplex || len(id.Aliases()) > 0 {
		e.Subject = json.RawMessage(id.Canonical())
	}
	return e
}

// named gives the subject as the receiver of a stream knows it, or the reason why it cannot be told (TX-155).
func (f *fitting) named(s *Stream) (subject.Identifier, string, error) {
	if s.Naming == nil {
		return f.sub, "", nil
	}
	if f.t.cfg.Name == nil {
		return subject.Identifier{}, "people are named to this receiver, and nothing here knows their names", nil
	}
	named, reason, err := f.t.cfg.Name(f.ctx, s, f.sub, f.m.Type)
	switch {
	case err != nil:
		return named, "", fmt.Errorf("stream %s: naming: %w", s.ID, err)
	case reason == "" && named.IsZero():
		reason = "the receiver has no name for the subject"
	case reason == "" && !fits(f.typ, named):
		reason = reasonFormat(f.typ) + ", and the receiver knows another"
	}
	return named, reason, nil
}

// body is the end of the claims as this stream's receiver is told them. Streams that are told the same share one.
func (f *fitting) body(s *Stream, named subject.Identifier, payload json.RawMessage, left []string) []byte {
	v := variant{s.Shape, named.Canonical(), strings.Join(left, "\x00")}
	b := f.bodies[v]
	if b == nil {
		if f.bodies == nil {
			f.bodies = map[variant][]byte{}
		}
		b = shapeBody(s.Shape, f.typ, f.m, named, payload)
		f.bodies[v] = b
	}
	return b
}
