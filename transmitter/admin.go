package transmitter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// Errors of the methods below.
var (
	// ErrDisabled: nothing can be sent on a disabled stream, verification included (TX-106).
	ErrDisabled = errors.New("transmitter: the stream is disabled")
	// ErrInvalid: what was asked for breaks a rule of SSF 1.0 or of this transmitter; the text says which.
	ErrInvalid = errors.New("transmitter: not valid")
)

// find gives a stream of any receiver by its stream_id, as the store has it now.
func (t *Transmitter) find(ctx context.Context, id string) (*Stream, error) {
	snap, err := t.current(ctx)
	for range 2 {
		if err != nil {
			return nil, err
		}
		if st := snap.byID[id]; st != nil {
			return t.cfg.Store.Stream(ctx, st.Receiver, id)
		}
		snap, err = t.refresh(ctx) // made by another process
	}
	return nil, ErrNotFound
}

// adjust takes the new state of the streams into memory, so that delivery obeys it at once, and lets the held polls of
// the stream look at it. Where that fails the next sweep does it.
func (t *Transmitter) adjust(ctx context.Context, key int64) {
	if err := t.Reload(context.WithoutCancel(ctx)); err != nil {
		t.cfg.Log.WarnContext(ctx, "streams could not be read", "error", err)
	}
	t.wake(key)
}

// SetStatus changes the status of a stream on the transmitter's own account. The receiver learns of it by a
// stream-updated event, which goes out before the stream stops, and upon its start (TX-107, TX-135, TX-136). Where the
// stream has that status already only the reason is kept, and no event is sent.
func (t *Transmitter) SetStatus(ctx context.Context, id, status, reason string) (*Stream, error) {
	switch status {
	case Enabled, Paused, Disabled:
	default:
		return nil, fmt.Errorf("%w: status is not one of enabled, paused, disabled", ErrInvalid)
	}
	if err := cleanText("reason", reason); err != nil {
		return nil, err
	}
	st, err := t.find(ctx, id)
	if err != nil {
		return nil, err
	}
	return t.announce(ctx, st, status, cut(reason, maxReason), func(*Stream) bool { return true })
}

// announce changes the status where still holds of the stream as it is then, and says so on the stream.
func (t *Transmitter) announce(ctx context.Context, st *Stream, status, reason string, still func(*Stream) bool) (*Stream, error) {
	var out *Outgoing
	now, err := t.cfg.Store.Announce(ctx, st.Receiver, st.ID, func(st *Stream) (*Outgoing, error) {
		out = nil
		if !still(st) {
			return nil, nil
		}
		was := st.Status
		st.Status, st.Reason, st.Updated = status, reason, At(t.cfg.Now())
		if was == status || shapeOf(st).direct { // who has no stream API knows no events about streams
			return nil, nil
		}
		var err error
		out, err = t.streamUpdated(st)
		return out, err
	})
	if err != nil {
		return nil, err
	}
	t.adjust(ctx, st.Key)
	if out != nil {
		t.Notify(out)
		t.wake(st.Key)
	}
	return now, nil
}

// streamUpdated makes the event about a status, SSF 1.0 §8.1.5.
func (t *Transmitter) streamUpdated(st *Stream) (*Outgoing, error) {
	payload := strictjson.AppendString([]byte(`{"status":`), st.Status) // a string, not an object (P-47)
	if st.Reason != "" {
		payload = strictjson.AppendString(append(payload, `,"reason":`...), st.Reason)
	}
	out, err := t.aboutStream(st, shapeOf(st).updated, append(payload, '}'))
	if err == nil {
		out.Rows[0].Parting = st.Status != Enabled
	}
	return out, err
}

// verification makes the event of SSF 1.0 §8.1.4.1, with the state as it came.
func (t *Transmitter) verification(st *Stream, state string) (*Outgoing, error) {
	if sh := shapeOf(st); sh.direct {
		return nil, fmt.Errorf("%w: receivers of the shape %s know no verification event", ErrInvalid, sh.name)
	}
	payload := []byte("{}")
	if state != "" { // never "state": null (TX-134)
		payload = append(strictjson.AppendString([]byte(`{"state":`), state), '}')
	}
	return t.aboutStream(st, shapeOf(st).verification, payload)
}

// aboutStream makes an event whose subject is the stream itself (TX-129, TX-138). It passes every list (SUB-36).
func (t *Transmitter) aboutStream(st *Stream, typ string, payload []byte) (*Outgoing, error) {
	signer, err := t.keys().signer(st.Algorithm)
	if err != nil {
		return nil, err
	}
	about := subject.Opaque(st.ID)
	body := Body(set.NewID(), 0, about.Raw(), typ, payload) // every SET has a txn
	if sh := shapeOf(st); sh != final {                     // none of those without a stream API comes here
		body = legacyBody(sh, about.Raw(), typ, payload)
	}
	now := t.cfg.Now()
	return &Outgoing{
		Event: Event{Type: typ, Subject: about.Key(), Body: body, At: At(now)},
		Rows: []Row{{Stream: st.Key, StreamID: st.ID, JTI: set.NewID(), IssuedAt: now.Unix(),
			KeyID: signer.KeyID(), Algorithm: string(signer.Algorithm())}},
	}, nil
}

// Verification sends a verification event that nobody asked for, and which therefore has no state (TX-127). It waits
// while the stream is paused; ErrDisabled where it is disabled.
func (t *Transmitter) Verification(ctx context.Context, id string) error {
	st, err := t.find(ctx, id)
	if err != nil {
		return err
	}
	return t.verify(ctx, st, "")
}

// verify keeps a verification event and wakes who delivers it.
func (t *Transmitter) verify(ctx context.Context, st *Stream, state string) error {
	if st.Status == Disabled {
		return ErrDisabled
	}
	out, err := t.verification(st, state)
	if err != nil {
		return err
	}
	if err := t.cfg.Store.Enqueue(ctx, out); err != nil {
		return err
	}
	if out.Rows[0].Seq == 0 { // stopped or deleted since it was read
		if now, err := t.cfg.Store.Stream(ctx, st.Receiver, st.ID); err == nil && now.Status == Disabled {
			return ErrDisabled
		}
		return ErrNotFound
	}
	t.Notify(out)
	t.wake(st.Key)
	return nil
}

// RemoveStream deletes a stream with everything that waits on it.
func (t *Transmitter) RemoveStream(ctx context.Context, id string) error {
	st, err := t.find(ctx, id)
	if err != nil {
		return err
	}
	if err := t.cfg.Store.DeleteStream(ctx, st.Receiver, id); err != nil {
		return err
	}
	t.adjust(ctx, st.Key)
	return nil
}

// ListSubject puts a subject on the list of a stream (on) or takes it off (SSF 1.0 §8.1.3). verified is what
// the receiver says of it (TX-112). Under default_subjects ALL what is taken off is excluded; under NONE it is not sent
// any more; both after Config.RemovalGrace. The answer is the same whether anybody knows the subject or not.
func (t *Transmitter) ListSubject(ctx context.Context, id string, sub subject.Identifier, on, verified bool) error {
	st, err := t.find(ctx, id)
	if err != nil {
		return err
	}
	return t.listSubject(ctx, st, sub, on, verified)
}

// Establish makes the stream of an operator, or brings the one with the same Name to what s says. What a receiver would
// have to give is checked as if it had been asked for by s.Receiver; s.Receipts is the settings member as the receiver
// would send it. An existing stream keeps its ID, Audience and Status; its receiver and its default_subjects cannot be
// changed (ErrConflict).
func (t *Transmitter) Establish(ctx context.Context, s *Stream) (*Stream, error) {
	switch {
	case s.Name == "" || s.Receiver == "":
		return nil, fmt.Errorf("%w: a stream of an operator has a name and a receiver", ErrInvalid)
	case shapeNamed(s.Shape) == nil:
		return nil, fmt.Errorf("%w: shape is none of those that are known", ErrInvalid)
	}
	c := Caller{Receiver: s.Receiver, Algorithm: s.Algorithm, Audience: s.Audience, DefaultSubjects: s.DefaultSubjects, Shape: s.Shape}
	fresh, err := t.Server.fromOperator(ctx, c, s)
	if err != nil {
		return nil, err
	}
	snap, err := t.refresh(ctx)
	if err != nil {
		return nil, err
	}
	for _, old := range snap.byKey {
		if old.Name == s.Name {
			if len(s.Audience) > 0 && !slices.Equal(s.Audience, old.Audience) { // TX-46
				return nil, fmt.Errorf("%w: the audience of stream %s cannot be changed; delete it first", ErrConflict, s.Name)
			}
			return t.reestablish(ctx, old, fresh)
		}
	}
	if err := t.cfg.Store.CreateStream(ctx, fresh, 0); err != nil {
		return nil, err
	}
	t.adjust(ctx, fresh.Key)
	t.Server.greet(fresh)
	return t.cfg.Store.Stream(ctx, fresh.Receiver, fresh.ID)
}

// reestablish brings a stream to what fresh says.
func (t *Transmitter) reestablish(ctx context.Context, old, fresh *Stream) (*Stream, error) {
	if old.Receiver != fresh.Receiver {
		return nil, fmt.Errorf("%w: stream %s belongs to %s; delete it first", ErrConflict, fresh.Name, old.Receiver)
	}
	if defaultSubjects(old) != defaultSubjects(fresh) {
		return nil, fmt.Errorf("%w: default_subjects of stream %s cannot be changed; delete it first", ErrConflict, fresh.Name)
	}
	if sameStream(old, fresh) { // nothing to say, and no generation of streams to make
		return t.cfg.Store.Stream(ctx, old.Receiver, old.ID)
	}
	st, err := t.cfg.Store.UpdateStream(ctx, old.Receiver, old.ID, func(st *Stream) error {
		st.Requested, st.Delivered = slices.Clone(fresh.Requested), slices.Clone(fresh.Delivered)
		st.Description = fresh.Description
		st.Method, st.Endpoint, st.Authorization = fresh.Method, fresh.Endpoint, fresh.Authorization
		st.Algorithm, st.Window, st.Set = fresh.Algorithm, fresh.Window, fresh.Set
		st.Receipts, st.ReceiptIssuer = fresh.Receipts, fresh.ReceiptIssuer
		st.Naming, st.Shape, st.Format = fresh.Naming, fresh.Shape, fresh.Format
		st.MinVerification, st.InactivityTimeout = fresh.MinVerification, fresh.InactivityTimeout
		st.Updated = At(t.cfg.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.adjust(ctx, st.Key)
	return st, nil
}

// sameStream reports whether an operator's stream is already what it should be.
func sameStream(a, b *Stream) bool {
	return slices.Equal(a.Requested, b.Requested) && (a.Requested == nil) == (b.Requested == nil) && slices.Equal(a.Delivered, b.Delivered) &&
		a.Description == b.Description && a.Method == b.Method && a.Endpoint == b.Endpoint && a.Authorization == b.Authorization &&
		a.Algorithm == b.Algorithm && a.Window == b.Window && a.Set == b.Set && string(a.Receipts) == string(b.Receipts) &&
		a.ReceiptIssuer == b.ReceiptIssuer && string(a.Naming) == string(b.Naming) && a.Shape == b.Shape && a.Format == b.Format &&
		a.MinVerification == b.MinVerification && a.InactivityTimeout == b.InactivityTimeout
}

// defaultSubjects gives the baseline of a stream: there is no third one.
func defaultSubjects(st *Stream) string {
	if st.DefaultSubjects == stream.DefaultNone {
		return stream.DefaultNone
	}
	return stream.DefaultAll
}

// cleanText refuses text that no store keeps.
func cleanText(name, s string) error {
	if !utf8.ValidString(s) || slices.Contains([]byte(s), 0) {
		return fmt.Errorf("%w: %s is not clean text", ErrInvalid, name)
	}
	return nil
}
