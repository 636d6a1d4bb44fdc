package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"countersign/event"
	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/transmitter"
)

// Store is what ingest needs of the store. Keep is durable when it returns.
type Store interface {
	Keep(ctx context.Context, sig *hub.Signal, fingerprint string, out *transmitter.Outgoing, idem *store.Idempotency) (store.Kept, error)
	SendAgain(ctx context.Context, signalSeq int64, notSince hub.Micros) (*hub.Job, error)
	OrderWithdrawn(ctx context.Context, tenant, source, jti, setHash string, at hub.Micros) (signalSeq int64, err error)
}

// Transmitter is what the API door needs to pass a signal on to our own streams.
type Transmitter interface {
	Plan(ctx context.Context, m transmitter.Message) (*transmitter.Outgoing, *transmitter.Sent, error)
	Reload(ctx context.Context) error
	Notify(out *transmitter.Outgoing)
}

// Config is what a Door is built from. Store, Registry, Find and Taken are required.
type Config struct {
	Store    Store
	Registry *event.Registry
	// Find gives the source of a receive address; nil where there is none.
	Find func(id string) *Source
	// Taken gets each new signal with its claimed job, after it is kept.
	Taken func(sig *hub.Signal, job *hub.Job)
	// Again gets the claimed job that sends the latest receipt of a repeated order once more.
	Again func(job *hub.Job)
	// Withdrawn is told of the signal whose order its sender took back. Nil: nobody.
	Withdrawn func(signalSeq int64)
	// Transmitter of a tenant, for do: transmit; nil: the tenant transmits nothing.
	Transmitter func(tenant string) Transmitter
	// Issuer is our own name as the tenant's issuer, the iss of signals that come by the API.
	Issuer func(tenant string) string
	// Full reports that so much waits already that no more is taken. Nil: never.
	Full func() bool
	// Counted is told of each signal: door push, poll or api, result new, repeat or clash. Nil: nobody.
	Counted func(door, result string)
	// Refused is told of each refused token with the code sent. Nil: nobody.
	Refused func(code string)
	// Refusals keeps what was refused for the operator. Nil: it is not kept.
	Refusals *Refusals
	// Cure says what to change, and on which side (ours or theirs), where the source's profile knows it. Nil: nothing.
	Cure func(profile, code string, reason error) (text, side string)
	// Verified is told of each verification event before it is answered: with the state that was asked with, or without one
	// where the transmitter sends it of its own accord. receiver.ErrState refuses it. Nil: every one is right.
	Verified func(ctx context.Context, tenant, source, state string, hasState bool) error
	// Updated is told what the transmitter made of our stream. Nil: nobody.
	Updated func(ctx context.Context, tenant, source, status, reason string) error
	// Stop is the kill bench's hook: at "receive.before-keep" a token is good and not kept, at "receive.after-keep" it is kept
	// and not answered. Nil: none.
	Stop func(point string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Door is the way in. It is safe for concurrent use.
type Door struct {
	Config
	rates   rates
	noticed sync.Map // source and quirk, once each
}

// New makes a Door.
func New(c Config) *Door {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Full == nil {
		c.Full = func() bool { return false }
	}
	if c.Counted == nil {
		c.Counted = func(string, string) {}
	}
	if c.Refused == nil {
		c.Refused = func(string) {}
	}
	if c.Withdrawn == nil {
		c.Withdrawn = func(int64) {}
	}
	if c.Again == nil {
		c.Again = func(*hub.Job) {}
	}
	if c.Stop == nil {
		c.Stop = func(string) {}
	}
	if c.Verified == nil {
		c.Verified = func(context.Context, string, string, string, bool) error { return nil }
	}
	if c.Updated == nil {
		c.Updated = func(context.Context, string, string, string, string) error { return nil }
	}
	if c.Refusals == nil {
		c.Refusals = NewRefusals(forgetful{}, c.Now, c.Log)
	}
	return &Door{Config: c}
}

// againAfter is how long a repeated order waits before its receipt is sent once more (receipts design §6.1).
const againAfter = time.Minute

// maxJTI bounds what a row is found by: a longer one would be no error of the sender's that trying again mends.
const maxJTI = 1024

// keep turns a verified token into a signal, and keeps it.
func (d *Door) keep(ctx context.Context, s *Source, v *receiver.Delivery) error {
	if v.StreamEvent {
		return d.streamEvent(ctx, s, v)
	}
	if len(s.Audience) == 0 {
		return &receiver.Busy{RetryAfter: 2 * time.Second, Err: errors.New("the stream at this source is not made yet")}
	}
	if d.Full() {
		return &receiver.Busy{RetryAfter: time.Second, Err: errors.New("too much waits to be processed")}
	}
	now := d.Now()
	c := v.Token.Claims()
	if len(c.ID) > maxJTI {
		return &receiver.Refusal{Description: "jti is longer than 1024 bytes"}
	}
	sig := &hub.Signal{ID: hub.NewID(hub.PrefixSignal, now), Tenant: s.Tenant, Source: s.Name, Door: s.Door,
		Issuer: c.Issuer, JTI: c.ID, IssuedAt: c.IssuedAt, TXN: v.TXN, EventType: v.Event.Type, SubID: v.SubID, Event: v.Event.Payload,
		SetHash: v.Token.Address(), Token: v.Token.Compact(), Received: hub.At(now), State: hub.SignalReceived}
	if s.Receipts != nil && s.Receipts.Vocabulary.Withdrawn != "" && v.Event.Type == s.Receipts.Vocabulary.Withdrawn {
		if err := d.withdrawn(ctx, s, sig); err != nil {
			return err
		}
	} else if err := d.order(s, v, sig); err != nil {
		return err
	}
	if members := s.critical(v.Subject); len(members) > 0 && sig.Order == nil && sig.State == hub.SignalReceived {
		// RX-66, SUB-31. An order stays open, so that its receipt says that nobody was found: it is never met with silence.
		sig.State, sig.Reason = hub.SignalDone, discarded(members)
		d.Log.WarnContext(ctx, "a signal was discarded: its subject has a critical member that nothing here interprets", "source", s.Name, "members", members)
	}
	same := sig.SetHash // with a directive: the same content address
	if sig.Order == nil {
		var err error
		if same, err = Fingerprint(v.Token.Payload()); err != nil {
			return &receiver.Refusal{Description: "the claims cannot be read"}
		}
	}
	d.Stop("receive.before-keep")
	kept, err := d.Store.Keep(ctx, sig, same, nil, nil)
	if err == nil {
		d.Stop("receive.after-keep")
	}
	if err != nil {
		switch hub.CodeOf(err) {
		case hub.Unavailable:
			return &receiver.Busy{Err: err}
		case hub.Limited:
			return &receiver.Busy{Limited: true, Err: err}
		}
		d.Log.ErrorContext(ctx, "a signal could not be kept", "source", s.Name, "err", err)
		return err
	}
	switch kept.Status {
	case hub.KeptClash:
		d.Counted(s.Door, "clash")
		d.Log.ErrorContext(ctx, "ALARM: a known jti came with other content; it is refused and kept as evidence", "source", s.Name, "signal", kept.ID)
		return receiver.ErrClash
	case hub.KeptRepeat:
		d.Counted(s.Door, "repeat")
		if sig.Order != nil {
			d.again(ctx, s, kept.Seq, now)
		}
		return receiver.ErrRepeat
	}
	d.Counted(s.Door, "new")
	d.relaxed(ctx, s, v.Quirks)
	sig.Seq = kept.Seq
	d.Taken(sig, kept.Job)
	return nil
}

// streamEvent takes what a transmitter says about our stream. It leads to no work at apps (SSF 1.0 §8.1.4, §8.1.5); the
// state of a verification event was looked at before (receiver.Handler.Verification).
func (d *Door) streamEvent(ctx context.Context, s *Source, v *receiver.Delivery) error {
	u, ok := v.Payload.(*ssf.StreamUpdated)
	if !ok {
		d.Log.DebugContext(ctx, "a stream event came", "source", s.Name, "type", v.Event.Type)
		return nil
	}
	d.Log.InfoContext(ctx, "the transmitter changed our stream", "source", s.Name, "status", u.Status)
	if err := d.Updated(ctx, s.Tenant, s.Name, u.Status, plain(cut(u.Reason, refusalReason))); err != nil {
		return &receiver.Busy{Err: err} // it is told again
	}
	return nil
}

// relaxed says of each quirk once which source needs it.
func (d *Door) relaxed(ctx context.Context, s *Source, quirks []string) {
	for _, id := range quirks {
		if _, said := d.noticed.LoadOrStore([3]string{s.Tenant, s.Name, id}, true); !said {
			d.Log.InfoContext(ctx, "a source departs from the specifications, and is let", "tenant", s.Tenant, "source", s.Name, "quirk", id)
		}
	}
}

// forgetful keeps no refusals.
type forgetful struct{}

// AddRefusals forgets them.
func (forgetful) AddRefusals(context.Context, string, []hub.Refusal) error { return nil }

// again answers a redelivered order with its latest receipt (receipts design §6.1).
func (d *Door) again(ctx context.Context, s *Source, seq int64, now time.Time) {
	job, err := d.Store.SendAgain(ctx, seq, hub.At(now.Add(-againAfter)))
	if err != nil {
		d.Log.WarnContext(ctx, "a repeated order was not answered again", "source", s.Name, "err", err)
		return
	}
	if job != nil {
		d.Again(job)
	}
}

// order reads the directive, where the stream has agreed on receipts. A malformed one refuses the SET on
// arrival; one that is readable and not acceptable is refused by receipt (A35).
func (d *Door) order(s *Source, v *receiver.Delivery, sig *hub.Signal) error {
	if s.Receipts == nil {
		return nil
	}
	c := v.Token.Claims()
	raw, err := receipt.FindDirective(&c, s.Receipts.Vocabulary)
	if err != nil {
		return malformed(err)
	}
	if raw == nil {
		return nil
	}
	// A9, A10: an order has exactly this typ, and is not from the future.
	if v.Token.Header().Type != "secevent+jwt" {
		return &receiver.Refusal{Description: "typ of a SET with a directive must be exactly secevent+jwt"}
	}
	if c.IssuedAt > d.Now().Add(orderSkew).Unix() {
		return &receiver.Refusal{Description: "iat of a SET with a directive lies more than 120 s ahead"}
	}
	dir, err := receipt.ParseDirective(raw, &c, s.Receipts.Vocabulary)
	if err != nil {
		return malformed(err)
	}
	sig.Order = &hub.Order{Directive: raw, ReceiptNo: receipt.NewNumber(), Refused: dir.Refusal(),
		ReceiptIssuer: s.Receipts.Issuer, ReceiptAudience: s.Receipts.Audience, Endpoint: s.Receipts.Endpoint,
		CompleteBy: dir.CompleteBy, NotAfter: dir.NotAfter}
	return nil
}

func malformed(err error) error {
	var m *receipt.Malformed
	if errors.As(err, &m) {
		return &receiver.Refusal{Description: "directive: " + m.Text}
	}
	return &receiver.Refusal{Description: "the directive cannot be read"}
}

// Fingerprint is what makes a SET without a directive a repeat: its claims apart from iat, whatever
// their order (design §2.1).
func Fingerprint(payload []byte) (string, error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return "", err
	}
	m := make(map[string]json.RawMessage, len(members))
	for _, x := range members {
		if x.Name != "iat" {
			m[x.Name] = x.Value
		}
	}
	sorted, err := json.Marshal(m) // names sorted, space removed
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(sorted)
	return "claims:" + base64.RawURLEncoding.EncodeToString(h[:]), nil
}
