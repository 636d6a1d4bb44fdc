package ingest

import (
	"context"
	"net/http"
	"time"

	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
)

// Source is one source as it is set up now, ready to receive. It is immutable.
type Source struct {
	Tenant string
	Name   string
	// Issuer, Audience, Algorithms and Keys say which tokens are its own (RX-48 ff.).
	Issuer     string
	Audience   []string
	Algorithms []set.Algorithm
	Keys       set.KeySet
	// Authorization is the whole header value that a sender must show besides; empty: none.
	Authorization string
	// StreamID is the id of our stream there; empty where we do not know it.
	StreamID string
	// Receipts is what was negotiated; nil: not active, and a directive is ignored (receipts design §3.3).
	Receipts *Agreement

	handler *receiver.Handler
}

// Agreement is what a stream negotiated about receipts. It is written into each order when it is kept, so
// that the answer does not depend on later changes.
type Agreement struct {
	Issuer   string // iss of our receipts
	Audience string // aud of our receipts
	Endpoint string
	// Vocabulary is the one that was negotiated; only its directives are orders here.
	Vocabulary receipt.Vocabulary
}

// orderSkew is how far in the future an order's iat may be (A10).
const orderSkew = 120 * time.Second

// Prepare makes the source's handler. Call it once, before the source is used.
func (d *Door) Prepare(s *Source) *Source {
	policy := &set.Policy{Issuer: s.Issuer, Audience: s.Audience, Algorithms: s.Algorithms, Keys: s.Keys, Now: d.Now}
	if len(s.Audience) == 0 {
		// The answer that names our audience is still under way, and a transmitter may verify its stream before it
		// answers (SSF 1.0 §8.1.4). Such an event is taken from the issuer alone; keep takes nothing else meanwhile.
		policy.SkipAudience = true
	}
	s.handler = &receiver.Handler{
		Policy:        func(context.Context) (*set.Policy, error) { return policy, nil },
		Keep:          func(ctx context.Context, v *receiver.Delivery) error { return d.keep(ctx, s, v) },
		Authorization: s.Authorization,
		Registry:      d.Registry,
		StreamID:      s.StreamID,
		Report: func(ctx context.Context, status int, code string, reason error) {
			d.Refused(code)
			d.Log.InfoContext(ctx, "a push was refused", "source", s.Name, "status", status, "err", code)
		},
	}
	return s
}

// Receive answers a push to the receive address id. An address that leads nowhere is 404, without looking at the body.
func (d *Door) Receive(w http.ResponseWriter, r *http.Request, id string) {
	s := d.Find(id)
	if s == nil || s.handler == nil {
		http.NotFound(w, r)
		return
	}
	s.handler.ServeHTTP(w, r)
}
