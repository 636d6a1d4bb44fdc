package ingest

import (
	"context"
	"encoding/json"
	"errors"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/set"
	"countersign/subject"
	"countersign/transmitter"
)

// Submission is one checked signal of an API client.
type Submission struct {
	Client      string // name of the client; empty: the operator
	EventType   string // URI
	SubID       json.RawMessage
	Subject     *subject.Identifier // SubID as it was parsed, where Event was decoded, too; nil: both are checked before they leave us
	Event       json.RawMessage
	TXN         string
	Transmit    bool            // to our own streams
	Act         bool            // here: correlated and decided like one that was received
	Order       json.RawMessage // directive; only with Transmit
	Streams     []string        // stream ids that it is transmitted on; nil: all that asked for it
	Idempotency *store.Idempotency
}

// Source is the name under which the signals of a client are kept.
func (s *Submission) Source() string {
	if s.Client == "" {
		return "operator"
	}
	return "client:" + s.Client
}

// replans is how often a transmission is matched again because streams changed meanwhile.
const replans = 5

// Submit keeps one signal and returns once it is durable. What is to be transmitted is kept together with
// its outbox rows: one for every enabled stream that asked for the type.
func (d *Door) Submit(ctx context.Context, tenant string, s *Submission) (hub.Kept, error) {
	if s.Order != nil && !s.Transmit {
		return hub.Kept{}, hub.Errorf(hub.Invalid, "order is for signals that are transmitted").WithHint("say do: transmit, or leave order out: what is done here is for the policies to decide")
	}
	if s.Streams != nil && !s.Transmit {
		return hub.Kept{}, hub.Errorf(hub.Invalid, "streams is for signals that are transmitted").WithHint("say do: transmit, or leave streams out")
	}
	if d.Full() {
		return hub.Kept{}, hub.Errorf(hub.Unavailable, "too much waits to be processed").WithHint("repeat the request in a second")
	}
	now := d.Now()
	id := hub.NewID(hub.PrefixSignal, now) // is its jti, too: ids rise with time, which the store's index of jtis likes
	sig := &hub.Signal{ID: id, Tenant: tenant, Source: s.Source(), Door: "api",
		Issuer: d.Issuer(tenant), JTI: id, IssuedAt: now.Unix(), TXN: s.TXN, EventType: s.EventType, SubID: s.SubID, Event: s.Event,
		Received: hub.At(now), State: hub.SignalReceived}
	if !s.Transmit {
		kept, err := d.Store.Keep(ctx, sig, "api:"+sig.JTI, nil, s.Idempotency)
		if err != nil {
			return hub.Kept{}, err
		}
		d.Counted("api", result(kept.Status))
		if kept.Status == hub.KeptNew {
			sig.Seq = kept.Seq
			d.Taken(sig, kept.Job)
		}
		return kept.Kept, nil
	}
	t := d.Transmitter(tenant)
	if t == nil {
		return hub.Kept{}, hub.Errorf(hub.NotFound, "this tenant transmits nothing")
	}
	if !s.Act {
		sig.State = hub.SignalDone
	}
	if sig.TXN == "" {
		sig.TXN = set.NewID() // SSF 1.0 §4.1.4: one for all SETs of this event
	}
	for try := 1; ; try++ {
		out, _, err := t.Plan(ctx, transmitter.Message{Type: s.EventType, SubID: s.SubID, Payload: s.Event, TXN: sig.TXN, Order: s.Order, Streams: s.Streams, Checked: s.Subject})
		if errors.Is(err, transmitter.ErrNoOrderStream) {
			return hub.Kept{}, hub.Errorf(hub.Conflict, "no stream that asked for this type takes orders").WithHint("receipts are negotiated by the receiver when it makes its stream")
		}
		if err != nil {
			return hub.Kept{}, hub.Errorf(hub.Invalid, "transmit: %w", err)
		}
		if !s.Act && (out == nil || len(out.Rows) == 0) {
			sig.Reason = "no enabled stream asked for this event type"
		}
		kept, err := d.Store.Keep(ctx, sig, "api:"+sig.JTI, out, s.Idempotency)
		if errors.Is(err, transmitter.ErrStale) && try < replans {
			if err := t.Reload(ctx); err != nil {
				return hub.Kept{}, hub.Errorf(hub.Unavailable, "transmit: %w", err)
			}
			continue
		}
		if err != nil {
			return hub.Kept{}, err
		}
		d.Counted("api", result(kept.Status))
		if kept.Status == hub.KeptNew {
			if out != nil {
				t.Notify(out)
			}
			if s.Act {
				sig.Seq = kept.Seq
				d.Taken(sig, kept.Job)
			}
		}
		return kept.Kept, nil
	}
}

func result(s hub.KeptStatus) string {
	switch s {
	case hub.KeptRepeat:
		return "repeat"
	case hub.KeptClash:
		return "clash"
	}
	return "new"
}
