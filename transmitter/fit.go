package transmitter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	stepSubject   = "subject list"
	stepNaming    = "naming"
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

	keys    [][16]byte
	entries map[int64][]SubjectEntry // of the streams that have lists; nil: not read
	same    map[string]bool          // whether a listed subject matches, by its canonical form
	bodies  map[variant][]byte
}

// variant is what the body of a row depends on.
type variant struct{ shape, subject string }

// fit makes the row of a stream that takes the event type and is not disabled, or says why there is none. An error
// stops the message as a whole: it may pass, or the message is at fault.
func (f *fitting) fit(s *Stream) (Row, verdict, error) {
	if ok, err := f.listed(s); err != nil || !ok {
		return Row{}, verdict{stepSubject, reasonList(s)}, err
	}
	named, reason, err := f.named(s)
	if err != nil || reason != "" {
		return Row{}, verdict{stepNaming, reason}, err
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
		err := f.planOrder(s, named, &row, signer)
		return row, verdict{}, err
	}
	if s.Naming != nil || s.Shape != "" {
		row.Body = f.body(s, named)
	}
	return row, verdict{}, nil
}

// listed reports whether the subject list of a stream lets the event through (SSF 1.0 §8.1.3.1, SUB-35). A stream that
// takes everybody and removed nobody is not looked up.
func (f *fitting) listed(s *Stream) (bool, error) {
	if s.DefaultSubjects != stream.DefaultNone && !s.Listed {
		return true, nil
	}
	if f.entries == nil {
		f.keys = subjectKeys(f.sub)
		found, err := f.t.cfg.Store.Subjects(f.ctx, f.keys)
		if err != nil {
			return false, err
		}
		f.entries = map[int64][]SubjectEntry{}
		for _, e := range found {
			f.entries[e.Stream] = append(f.entries[e.Stream], e)
		}
	}
	now := At(f.now)
	if s.DefaultSubjects != stream.DefaultNone {
		about := f.sub.Key()
		return !slices.ContainsFunc(f.entries[s.Key], func(e SubjectEntry) bool {
			return e.Off && e.Until <= now && e.ID == about
		}), nil
	}
	for i := range f.entries[s.Key] {
		if e := &f.entries[s.Key][i]; (!e.Off || e.Until > now) && f.matches(e) { // TX-118, TX-121
			return true, nil
		}
	}
	return false, nil
}

// matches reports whether an entry that was found by a key is about the subject, by subject.Match.
func (f *fitting) matches(e *SubjectEntry) bool {
	if e.Subject == nil {
		return slices.Contains(f.keys, e.ID)
	}
	known, seen := f.same[string(e.Subject)]
	if !seen {
		listed, err := subject.Parse(e.Subject)
		known = err == nil && subject.Match(listed, f.sub)
		if f.same == nil {
			f.same = map[string]bool{}
		}
		f.same[string(e.Subject)] = known
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
func (f *fitting) body(s *Stream, named subject.Identifier) []byte {
	v := variant{s.Shape, named.Canonical()}
	b := f.bodies[v]
	if b == nil {
		if f.bodies == nil {
			f.bodies = map[variant][]byte{}
		}
		b = shapeBody(s.Shape, f.typ, f.m, named, f.m.Payload)
		f.bodies[v] = b
	}
	return b
}
