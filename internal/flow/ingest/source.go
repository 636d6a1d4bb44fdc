package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// The doors by which a source's tokens come in.
const (
	Push = "push"
	Poll = "poll"
)

// Source is one source as it is set up now, ready to receive. It is immutable.
type Source struct {
	Tenant string
	Name   string
	// Door is Push or Poll; empty: Push. A source that is polled has no receive address.
	Door string
	// Profile is the name of the partner profile; empty: generic.
	Profile string
	// Quirks are its departures from the specifications that are let pass: those of its profile, and those it is allowed.
	Quirks receiver.Quirks
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
	// Critical are the critical_subject_members of its metadata, Interprets the members that are looked at here (RX-66).
	Critical   []string
	Interprets []string
	// Rate is how many tokens are taken in the span Per; more are answered 429, or wait where they are polled. 0: any number.
	Rate int
	Per  time.Duration

	handler *receiver.Handler
	rate    *rate
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
	if s.Door == "" {
		s.Door = Push
	}
	s.rate = d.rateOf(s)
	policy := &set.Policy{Issuer: s.Issuer, Audience: s.Audience, Algorithms: s.Algorithms, Keys: s.Keys, Now: d.Now}
	if len(s.Audience) == 0 {
		// The answer that names our audience is still under way, and a transmitter may verify its stream before it
		// answers (SSF 1.0 §8.1.4). Such an event is taken from the issuer alone; keep takes nothing else meanwhile.
		policy.SkipAudience = true
	}
	s.handler = &receiver.Handler{
		Policy:        func(ctx context.Context) (*set.Policy, error) { return policy, nil },
		Keep:          func(ctx context.Context, v *receiver.Delivery) error { return d.keep(ctx, s, v) },
		Authorization: s.Authorization,
		Registry:      d.Registry,
		StreamID:      s.StreamID,
		Quirks:        s.Quirks,
		// Nothing is locked and no transaction is open here: the event may come before the answer to the request that asked
		// for it, and its sender may wait for ours (RX-39).
		Verification: func(ctx context.Context, state string, hasState bool) error {
			return d.Verified(ctx, s.Tenant, s.Name, state, hasState)
		},
		Report: func(ctx context.Context, status int, code string, reason error) {
			d.report(ctx, s, status, code, reason)
		},
	}
	return s
}

// Receive answers a push to the receive address id. An address that leads nowhere is 404, without looking at the body; so
// is anything below one: a receive address has no status to ask for.
func (d *Door) Receive(w http.ResponseWriter, r *http.Request, id string) {
	s := d.Find(id)
	if s == nil || s.handler == nil || s.Door != Push {
		http.NotFound(w, r)
		return
	}
	if wait, ok := s.rate.take(d.Now()); !ok {
		d.report(r.Context(), s, http.StatusTooManyRequests, stream.Unavailable, errTooFast)
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
		w.Header().Set("Connection", "close") // its body is not read
		stream.WriteError(w, http.StatusTooManyRequests, stream.WireError{Err: stream.Unavailable, Description: "more tokens than agreed in this span of time; send it again later"})
		return
	}
	n := &note{body: r.Body}
	r.Body = n
	s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
}

// Take does with one polled token what Receive does with a pushed one; see receiver.Handler.Take. Beyond the source's rate
// it waits: who polls decides how fast.
func (d *Door) Take(ctx context.Context, s *Source, compact string) error {
	if s.handler == nil || s.Door != Poll {
		return errNotPolled
	}
	if err := s.rate.wait(ctx, d.Now); err != nil {
		return err
	}
	return s.handler.Take(context.WithValue(ctx, noteKey{}, &note{got: []byte(compact)}), compact)
}

// note remembers what came, so that a refusal can name it.
type note struct {
	body io.ReadCloser
	got  []byte
}

type noteKey struct{}

func (n *note) Read(p []byte) (int, error) {
	k, err := n.body.Read(p)
	if len(n.got) <= receiver.DefaultMaxBytes {
		n.got = append(n.got, p[:k]...)
	}
	return k, err
}

func (n *note) Close() error { return n.body.Close() }

// report counts a refusal and keeps it for the operator.
func (d *Door) report(ctx context.Context, s *Source, status int, code string, reason error) {
	d.Refused(code)
	if s.Door == Poll {
		status = 0
	}
	text := ""
	if reason != nil {
		text = mask(reason.Error(), s.Authorization)
	}
	r := hub.Refusal{Source: s.Name, Door: s.Door, Status: status, Err: code, Reason: text}
	quirk, relaxed := errors.AsType[*receiver.QuirkError](reason)
	if relaxed {
		r.Quirk = strings.Join(quirk.IDs, ", ")
	}
	first := d.Refusals.Add(s.Tenant, r, func(r *hub.Refusal) {
		if n, ok := ctx.Value(noteKey{}).(*note); ok {
			r.Size, r.JTI = len(n.got), jtiOf(string(n.got))
		}
		if d.Cure != nil {
			r.Cure, r.Side = d.Cure(s.Profile, code, reason)
		}
		if r.Cure == "" && errors.Is(reason, errTooFast) {
			r.Cure, r.Side = "nothing is lost where the other side sends it again, as it was told to; raise the rate of the source where this goes on", "ours"
		}
		if relaxed && r.Cure == "" {
			r.Cure, r.Side = relax(quirk.IDs)
		}
	})
	if first {
		d.Log.InfoContext(ctx, "a token was refused", "tenant", s.Tenant, "source", s.Name, "door", s.Door, "status", status, "err", code)
	}
}

// relax says what would make a token acceptable that quirks would let pass: theirs to change, or ours to allow.
func relax(ids []string) (cure, side string) {
	var change []string
	for _, id := range ids {
		if k, ok := receiver.LookupQuirk(id); ok {
			change, side = append(change, k.Change), k.Side
		}
	}
	return strings.Join(change, "; ") + "; or allow it here with relax: [" + strings.Join(ids, ", ") + "]", side
}
