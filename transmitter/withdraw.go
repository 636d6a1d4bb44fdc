package transmitter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"countersign/event"
	"countersign/internal/strictjson"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// Withdraw takes an order back (receipts design §6.6). One that waits is removed. One that the receiver has, or may have,
// is followed by a directive-withdrawn event on the same stream: what was not started is left, what was started is
// finished, nothing is undone, and a final receipt follows. ref is a jti or a content address. ErrNotFound where there is no
// such order, ErrConflict where it was withdrawn already or a final receipt came.
func (t *Transmitter) Withdraw(ctx context.Context, ref, reasonAdmin string) (*SentOrder, error) {
	o, err := t.OrderOf(ctx, ref)
	if err != nil {
		return nil, err
	}
	if o.Withdrawn != 0 || answered(o) {
		return nil, ErrConflict
	}
	reason := strings.TrimSpace(printable(cut(reasonAdmin, maxReason)))
	// The event is kept first: where this is cut short, a second call sends another one, which changes nothing. The other
	// way round an order could be withdrawn in our books and stand at the receiver.
	told, err := t.tellWithdrawn(ctx, o, reason)
	if err != nil {
		return nil, err
	}
	key := OrderKey{Receiver: o.Receiver, ReceiptIssuer: o.ReceiptIssuer, JTI: o.JTI}
	if o, err = t.cfg.Store.WithdrawOrder(ctx, key, At(t.cfg.Now()), reason); err != nil {
		return nil, err
	}
	if !told && o.State == OrderDelivered { // it was taken in between
		_, err = t.tellWithdrawn(ctx, o, reason)
	}
	return o, err
}

// tellWithdrawn sends directive-withdrawn where the receiver has the order or may have it. It is outside events_requested,
// like verification, and passes every subject list.
func (t *Transmitter) tellWithdrawn(ctx context.Context, o *SentOrder, reason string) (told bool, err error) {
	s, err := t.cfg.Store.Stream(ctx, o.Receiver, o.Stream)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil // the stream is gone: nothing can be sent
	case err != nil:
		return false, err
	case s.Status == Disabled:
		return false, nil
	}
	switch {
	case o.State == OrderDelivered:
	case o.State == OrderQueued && (s.Status == Enabled || s.Method == stream.PollMethod):
		// It may be in flight at this moment, or in an answer to a poll that is not acknowledged yet.
	default:
		return false, nil
	}
	signer, err := t.keys().signer(s.Algorithm)
	if err != nil {
		return false, fmt.Errorf("stream %s: %w", s.ID, err)
	}
	now := t.cfg.Now()
	typ := t.cfg.Vocabulary.Withdrawn
	payload := strictjson.AppendString([]byte(`{"set_hash":`), o.SetHash)
	if reason != "" {
		payload = append(strictjson.AppendString(append(payload, `,"reason_admin":{"en":`...), reason), '}')
	}
	payload = append(payload, '}')
	about := subject.JWTID(t.cfg.Issuer, o.JTI)
	m := &Message{Type: typ, TXN: o.TXN}
	out := &Outgoing{
		Event: Event{Type: typ, Subject: groupOf(o, about), TXN: o.TXN, At: At(now), Body: shapeBody(s.Shape, event.Type{Open: true}, m, about, payload)},
		Rows: []Row{{Stream: s.Key, StreamID: s.ID, JTI: set.NewID(), IssuedAt: now.Unix(), KeyID: signer.KeyID(),
			Algorithm: string(signer.Algorithm())}},
	}
	if err := t.cfg.Store.Enqueue(ctx, out); err != nil {
		return false, err
	}
	t.Notify(out)
	return out.Rows[0].Seq != 0, nil
}

// groupOf puts the withdrawal into the group of its order, so that it never overtakes it.
func groupOf(o *SentOrder, otherwise subject.Identifier) [16]byte {
	if u, err := set.Parse(o.Input + ".AA"); err == nil {
		if sub, err := subject.Parse(u.Claims().SubID); err == nil {
			return sub.Key()
		}
	}
	return otherwise.Key()
}
