package receiver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"countersign/event/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
)

const (
	muxLook      = time.Second     // how often the Inbox is asked when nothing comes
	muxLease     = time.Minute     // beyond one call, until an item of ours is somebody else's
	muxPause     = time.Second     // first bound of the pauses between calls of a function
	muxLongest   = 5 * time.Minute // last bound
	muxTimeout   = 30 * time.Second
	muxPatience  = 24 * time.Hour
	orderMayCome = 2 * time.Minute // how long a withdrawal waits for its order
)

// Run calls the functions for what was kept and sends receipts, until ctx ends and what was begun is done. Several processes may run on
// one Inbox that they share.
func (m *Mux) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range max(m.cfg.Workers, 1) {
		all.Go(func() { m.work(ctx) })
	}
	all.Wait()
	return nil
}

func (m *Mux) work(ctx context.Context) {
	for ctx.Err() == nil {
		if m.step(ctx) {
			continue
		}
		look := time.NewTimer(muxLook)
		select {
		case <-ctx.Done():
		case <-m.wake:
		case <-look.C:
		}
		look.Stop()
	}
}

// step deals with one item, and reports whether there was one.
func (m *Mux) step(ctx context.Context) bool {
	item, found, err := m.cfg.Inbox.Claim(ctx, m.cfg.Now(), m.lease())
	if err != nil {
		if ctx.Err() == nil {
			m.cfg.Log.ErrorContext(ctx, "the inbox cannot be read", "err", err)
		}
		return false
	}
	if !found {
		return false
	}
	m.wakeUp() // another worker may look for more
	ctx = context.WithoutCancel(ctx)
	next, err := m.process(ctx, &item)
	switch {
	case err != nil: // of the inbox: the item is due again when its lease ends
	case next.IsZero():
		err = m.cfg.Inbox.Done(ctx, item.Key)
	default:
		item.Due = next
		err = m.cfg.Inbox.Save(ctx, item)
	}
	if err != nil {
		m.cfg.Log.ErrorContext(ctx, "the inbox cannot be written", "err", err)
	}
	return true
}

func (m *Mux) lease() time.Time {
	return m.cfg.Now().Add(cmp.Or(m.cfg.Timeout, muxTimeout) + muxLease)
}

// process does what is due for an item. A zero time says that it is dealt with. item.State is what is to be saved.
func (m *Mux) process(ctx context.Context, item *Item) (next time.Time, err error) {
	var w way
	u, perr := set.Parse(item.Token)
	if perr == nil {
		perr = json.Unmarshal(item.State, &w)
	}
	if perr != nil {
		m.cfg.Log.ErrorContext(ctx, "an item of the inbox cannot be read and is dropped", "err", perr)
		return time.Time{}, nil
	}
	claims := u.Claims()
	s := &Other{Issuer: claims.Issuer, ID: claims.ID, TXN: claims.TXN, Token: item.Token, Issued: time.Unix(claims.IssuedAt, 0), Received: item.Received}
	s.Type, _ = m.cfg.Registry.Lookup(w.Type)
	s.Type.URI = w.Type
	if len(w.SubID) > 0 {
		if s.Subject, perr = subject.Parse(w.SubID); perr != nil {
			m.cfg.Log.ErrorContext(ctx, "an item of the inbox has no subject that can be read and is dropped", "err", perr)
			return time.Time{}, nil
		}
	}
	if s.Event, perr = m.cfg.Registry.Decode(w.Type, w.Payload); perr != nil {
		m.cfg.Log.ErrorContext(ctx, "an item of the inbox has no event that can be read and is dropped", "err", perr)
		return time.Time{}, nil
	}
	if r := m.cfg.Receipts; r.agreed() {
		if w.Type == r.vocabulary().Withdrawn {
			return m.withdraw(ctx, s, w.Payload)
		}
		if ord, oerr := receipt.OrderOf(u, r.vocabulary()); oerr == nil {
			ord.ReceiptIssuer, ord.ReceiptAudience = r.Issuer, cmp.Or(r.Audience, m.cfg.Issuer)
			s.Order = ord
			return m.answer(ctx, item, s, &w)
		}
	}
	next, err = m.signal(ctx, s, &w)
	if err == nil && !next.IsZero() {
		item.State, err = json.Marshal(w)
	}
	return next, err
}

// signal acts on what is no order.
func (m *Mux) signal(ctx context.Context, s *Other, w *way) (time.Time, error) {
	if m.acts[w.Type] == nil {
		if up, ok := s.Event.(*ssf.StreamUpdated); ok {
			m.cfg.Log.WarnContext(ctx, "the transmitter changed the status of the stream", "status", up.Status, "reason", excerpt([]byte(up.Reason)))
		} else {
			m.cfg.Log.DebugContext(ctx, "a signal has no function", "type", w.Type, "jti", s.ID)
		}
		return time.Time{}, nil
	}
	s.Ref = receipt.Ref(s.Issuer, s.ID, receipt.ExtraWork, "", "", "")
	line, err := m.act(ctx, s, w)
	now := m.cfg.Now()
	switch {
	case err == nil && line.Status != receipt.Pending:
		return time.Time{}, nil
	case !now.Before(s.Received.Add(cmp.Or(m.cfg.Patience, muxPatience))):
		m.cfg.Log.ErrorContext(ctx, "a signal is given up", "type", w.Type, "jti", s.ID, "tries", s.Try, "err", err)
		return time.Time{}, nil
	case err != nil:
		m.cfg.Log.WarnContext(ctx, "a function failed and will be called again", "type", w.Type, "jti", s.ID, "try", s.Try, "err", err)
	}
	w.Tried++
	return now.Add(backOff(w.Tried, muxPause, muxLongest, err)), nil
}

// act calls the function once. A panic is its error.
func (m *Mux) act(ctx context.Context, s *Other, w *way) (line receipt.Line, err error) {
	if w.Tries == nil {
		w.Tries = map[string]int{}
	}
	w.Tries[s.Action.ID]++
	s.Try = w.Tries[s.Action.ID]
	if w.Since.IsZero() {
		w.Since = m.cfg.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.cfg.Timeout, muxTimeout))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			m.cfg.Log.ErrorContext(ctx, "a function panicked", "type", w.Type, "jti", s.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("receiver: the function panicked")
		}
	}()
	return m.acts[w.Type](ctx, s)
}

// withdraw keeps a withdrawal for as long as its order waits, so that the order finds it (receipts design §6.6).
func (m *Mux) withdraw(ctx context.Context, s *Other, payload json.RawMessage) (time.Time, error) {
	jti, _, err := withdrawal(s.Subject, payload, m.cfg.Issuer)
	if err != nil {
		return time.Time{}, nil // it was refused when it came
	}
	_, waits, err := m.cfg.Inbox.Find(ctx, itemKey(s.Issuer, jti))
	now := m.cfg.Now()
	if err != nil || !waits && !now.Before(s.Received.Add(orderMayCome)) {
		return time.Time{}, err
	}
	return now.Add(5 * time.Second), nil // an order that was overtaken may be on its way
}

// withdrawn says when an order was taken back, 0: it was not.
func (m *Mux) withdrawn(ctx context.Context, o *receipt.Order) (int64, error) {
	item, found, err := m.cfg.Inbox.Find(ctx, withdrawalKey(o.Issuer, o.JTI))
	if err != nil || !found {
		return 0, err
	}
	var w way
	var in struct {
		SetHash string `json:"set_hash"`
	}
	if json.Unmarshal(item.State, &w) != nil || json.Unmarshal(w.Payload, &in) != nil || in.SetHash != o.SetHash {
		return 0, nil // of another token
	}
	return item.Received.Unix(), nil
}

// withdrawalKey is what a withdrawal is kept under: one for each order.
func withdrawalKey(issuer, jti string) string { return itemKey(issuer, "withdrawn "+jti) }
