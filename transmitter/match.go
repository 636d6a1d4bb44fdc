package transmitter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/event"
	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/subject"
)

// Send matches m with the streams, keeps it durably, and wakes the pump. It returns what was queued where, and which
// streams were skipped for what reason; where no stream takes it, nothing was queued, and that is no error. The events
// are delivered while Run runs.
func (t *Transmitter) Send(ctx context.Context, m Message) (*Sent, error) {
	for range 8 {
		out, sent, err := t.Plan(ctx, m)
		if err != nil {
			return sent, err
		}
		if len(out.Rows) == 0 && len(out.Skips) == 0 {
			// As in Plan: nothing is kept that could be stale.
			if now, err := t.cfg.Store.Generation(ctx); err != nil || now == out.Generation {
				return sent, nil
			}
			if _, err := t.refresh(ctx); err != nil {
				return nil, err
			}
			continue
		}
		err = t.cfg.Store.Enqueue(ctx, out)
		if errors.Is(err, ErrStale) {
			if _, err := t.refresh(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		t.Notify(out)
		kept := sent.Queued[:0]
		for i, row := range out.Rows {
			if row.Seq != 0 {
				kept = append(kept, sent.Queued[i])
			}
		}
		sent.Queued = kept
		return sent, nil
	}
	return nil, ErrStale
}

// Plan matches m with the streams in memory and fixes what will be signed, without keeping anything. A caller that
// keeps the rows in a transaction of its own calls Notify after its commit, and Plan again on ErrStale, after Reload.
// It keeps out where it has no rows, too: that is how it learns of a stream that another process made.
func (t *Transmitter) Plan(ctx context.Context, m Message) (*Outgoing, *Sent, error) {
	snap, err := t.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	out, sent, err := t.plan(ctx, snap, m)
	if errors.Is(err, ErrNoOrderStream) {
		// Nothing will be kept that could turn out to be stale, so look whether another process made a stream.
		if now, failed := t.cfg.Store.Generation(ctx); failed == nil && now != snap.generation {
			if snap, failed = t.refresh(ctx); failed == nil {
				return t.plan(ctx, snap, m)
			}
		}
	}
	return out, sent, err
}

// plan is Plan against one snapshot.
func (t *Transmitter) plan(ctx context.Context, snap *snapshot, m Message) (*Outgoing, *Sent, error) {
	typ, ok := t.cfg.Registry.Resolve(m.Type)
	if !ok {
		return nil, nil, fmt.Errorf("transmitter: event type %q is not in the registry", m.Type)
	}
	if typ.StreamLevel {
		return nil, nil, fmt.Errorf("transmitter: %s belongs to one stream and is not sent as a message", typ.URI)
	}
	m.Type = typ.URI
	sub, err := t.check(&m, typ)
	if err != nil {
		return nil, nil, err
	}
	if m.TXN == "" {
		m.TXN = set.NewID() // SSF 1.0 §4.1.9
	}
	now := t.cfg.Now()
	f := &fitting{t: t, ctx: ctx, m: &m, typ: typ, sub: sub, now: now}
	out := &Outgoing{Generation: snap.generation}
	sent := &Sent{TXN: m.TXN}
	out.Event = Event{Type: m.Type, Subject: sub.Key(), TXN: m.TXN, At: At(now),
		Body: Body(m.TXN, m.TimeOfEvent, sub.Emit(), m.Type, m.Payload)}
	noOrder := false
	for _, s := range snap.byType[m.Type] {
		if m.Streams != nil && !slices.Contains(m.Streams, s.ID) {
			continue
		}
		row, verdict, err := f.fit(s)
		if err != nil {
			return nil, nil, err
		}
		if verdict.step != "" {
			skip := Skip{Stream: s.Key, StreamID: s.ID, Receiver: s.Receiver, Reason: verdict.reason}
			if m.Streams != nil || verdict.step != stepSubject { // that a list leaves a subject out is its purpose
				sent.Skipped = append(sent.Skipped, skip)
			}
			if verdict.step == stepNaming || verdict.step == stepKey {
				out.Skips = append(out.Skips, skip)
			}
			noOrder = noOrder || verdict.step == stepOrder
			continue
		}
		q := Queued{StreamID: s.ID, Receiver: s.Receiver, JTI: row.JTI, IssuedAt: row.IssuedAt}
		if m.Order != nil {
			q.SetHash, q.Input = row.Order.SetHash, row.Input
		}
		out.Rows = append(out.Rows, row)
		sent.Queued = append(sent.Queued, q)
	}
	out.share()
	sent.Skipped = append(sent.Skipped, unfit(snap, &m)...)
	if noOrder && len(out.Rows) == 0 {
		return out, sent, ErrNoOrderStream
	}
	return out, sent, nil
}

// unfit says of the streams that a message names why they were not even looked at.
func unfit(snap *snapshot, m *Message) []Skip {
	var out []Skip
	for _, id := range m.Streams {
		s := snap.byID[id]
		switch {
		case s == nil:
			out = append(out, Skip{StreamID: id, Reason: "there is no such stream"})
		case !slices.Contains(s.Delivered, m.Type):
			out = append(out, Skip{Stream: s.Key, StreamID: id, Receiver: s.Receiver, Reason: reasonType(s, m.Type)})
		case s.Status == Disabled:
			out = append(out, Skip{Stream: s.Key, StreamID: id, Receiver: s.Receiver, Reason: "the stream is disabled"})
		}
	}
	return out
}

// reasonType says why a stream does not take an event type.
func reasonType(s *Stream, typ string) string {
	if s.Requested != nil && !slices.Contains(s.Requested, typ) {
		return "the receiver did not request this event type"
	}
	return "this event type is not offered to the receiver"
}

// share makes the body that every row is told the event's own, so that it is kept once.
func (out *Outgoing) share() {
	if len(out.Rows) == 0 || len(out.Rows[0].Body) == 0 {
		return
	}
	body := out.Rows[0].Body
	for i := range out.Rows {
		if len(out.Rows[i].Body) == 0 || &out.Rows[i].Body[0] != &body[0] {
			return
		}
	}
	out.Event.Body = body
	for i := range out.Rows {
		out.Rows[i].Body = nil
	}
}

// Reload reads the streams anew, for callers that got ErrStale.
func (t *Transmitter) Reload(ctx context.Context) error {
	_, err := t.refresh(ctx)
	return err
}

// Notify tells the pump of rows that were committed. It does not block.
func (t *Transmitter) Notify(out *Outgoing) { t.Pump.notify(out) }

// Complete signs the signing input of an order that was sent, and gives the compact token.
func (t *Transmitter) Complete(input string) (string, error) {
	u, err := set.Parse(input + ".AA")
	if err != nil {
		return "", err
	}
	kid := u.Header().KeyID
	if s := t.keys().byKid[kid]; s != nil {
		return s.Complete(input)
	}
	return "", fmt.Errorf("transmitter: no signing key %q", kid)
}

// check refuses a message that must not leave us, and gives its subject. Where the payload has a form that is taken but
// not sent, it puts today's in its place.
func (t *Transmitter) check(m *Message, typ event.Type) (subject.Identifier, error) {
	if m.Checked != nil && len(m.Payload) > 0 && typ.Subjects == nil && bytes.IndexByte(m.Payload, '\\') < 0 && !olderForm(m.Payload) &&
		(t.cfg.Vocabulary.Directive == "" || !bytes.Contains(m.Payload, []byte(t.cfg.Vocabulary.Directive))) && !t.strict[m.Type] {
		return *m.Checked, nil
	}
	sub, err := subject.Parse(m.SubID)
	if err != nil {
		return sub, fmt.Errorf("transmitter: sub_id: %w", err) // TX-145
	}
	if len(m.Payload) == 0 {
		m.Payload = json.RawMessage("{}")
	}
	if err := strictjson.Check(m.Payload, strictjson.Limits{}); err != nil {
		return sub, fmt.Errorf("transmitter: payload: %w", err)
	}
	members, err := strictjson.Object(m.Payload)
	if err != nil {
		return sub, fmt.Errorf("transmitter: payload is not an object: %w", err) // TX-152
	}
	for _, member := range members {
		if member.Name == t.cfg.Vocabulary.Directive {
			return sub, errors.New("transmitter: a directive is not part of the payload") // receipts design §2, §4
		}
	}
	payload, err := t.cfg.Registry.Decode(m.Type, m.Payload) // it validates, too
	if err != nil {
		return sub, fmt.Errorf("transmitter: payload: %w", err)
	}
	if s, ok := payload.(event.Strict); ok {
		if err := s.ValidateSent(); err != nil {
			return sub, fmt.Errorf("transmitter: payload: %w", err)
		}
	}
	if !fits(typ, sub) {
		return sub, fmt.Errorf("transmitter: sub_id: %w: %s", subject.ErrInvalid, reasonFormat(typ))
	}
	if d, ok := payload.(event.Described); ok && olderForm(m.Payload) {
		if m.Payload, err = event.Marshal(d); err != nil {
			return sub, fmt.Errorf("transmitter: payload: %w", err)
		}
	}
	return sub, nil
}

// fits reports whether events of a type may be about a subject (EV-61, EV-65, EV-80).
func fits(typ event.Type, sub subject.Identifier) bool {
	return typ.Subjects == nil || slices.Contains(typ.Subjects, sub.Format())
}

func reasonFormat(typ event.Type) string {
	return typ.Name + " is about a subject of format " + strings.Join(typ.Subjects, " or ")
}

// olderForm reports whether a payload may hold a reason that is plain text (EV-14) or a time in milliseconds, which are
// taken and not sent.
func olderForm(payload []byte) bool {
	after := func(name string) []byte {
		_, rest, found := bytes.Cut(payload, []byte(name))
		if !found {
			return nil
		}
		rest = bytes.TrimLeft(rest, " \t\r\n:")
		return rest
	}
	for _, name := range []string{`"reason_admin"`, `"reason_user"`} {
		if v := after(name); len(v) > 0 && v[0] == '"' {
			return true
		}
	}
	v := after(`"event_timestamp"`)
	digits := bytes.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	return digits > 10 || digits >= 0 && len(v) > digits && (v[digits] == 'e' || v[digits] == 'E')
}
