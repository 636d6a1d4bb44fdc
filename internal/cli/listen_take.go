package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// arrived is what listen prints of a token with --json.
type arrived struct {
	At       time.Time       `json:"received_at"`
	By       string          `json:"by"` // push | poll
	Verified bool            `json:"verified"`
	Issuer   string          `json:"iss"`
	Audience []string        `json:"aud"`
	IssuedAt int64           `json:"iat"`
	JTI      string          `json:"jti"`
	TXN      string          `json:"txn,omitempty"`
	SubID    json.RawMessage `json:"sub_id,omitempty"`
	Type     string          `json:"event_type"`
	Name     string          `json:"name,omitempty"` // of a type that is known
	Event    json.RawMessage `json:"event"`
	SetHash  string          `json:"set_hash"`
	Alg      string          `json:"alg"`
	KID      string          `json:"kid,omitempty"`
	Order    json.RawMessage `json:"order,omitempty"`    // the directive of an order
	Answered string          `json:"answered,omitempty"` // where it was not taken, as --answer wants
}

func (l *listener) by() string {
	if l.f.poll {
		return "poll"
	}
	return "push"
}

// read gives what is printed of a token.
func (l *listener) read(t interface {
	Header() set.Header
	Claims() set.Claims
	Address() string
}, verified bool) arrived {
	c, h := t.Claims(), t.Header()
	out := arrived{At: time.Now().UTC(), By: l.by(), Verified: verified, Issuer: c.Issuer, Audience: c.Audience, IssuedAt: c.IssuedAt, JTI: c.ID, TXN: c.TXN,
		SubID: c.SubID, SetHash: t.Address(), Alg: h.Algorithm, KID: h.KeyID, Order: c.Member(receipt.Default().Directive)}
	if len(c.Events) > 0 {
		out.Type, out.Event = c.Events[0].Type, c.Events[0].Payload
		if known, ok := registry().Lookup(out.Type); ok {
			out.Name = known.Name
		}
	}
	return out
}

// print writes one line of JSON; lines of several tokens do not mix.
func (l *listener) print(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.a.object(v)
}

// show prints a token.
func (l *listener) show(x arrived) {
	if l.a.flags.json {
		l.print(x)
		return
	}
	name := x.Name
	if name == "" {
		name = x.Type
	}
	line := fmt.Sprintf("%s  %s  %s  %s", x.At.Format("15:04:05.000Z"), name, compactJSON(x.SubID), compactJSON(x.Event))
	if x.TXN != "" {
		line += "  txn " + x.TXN
	}
	line += "  jti " + x.JTI
	if x.Verified {
		line += "  " + x.Alg + " good"
	} else {
		line += "  not verified"
	}
	if x.Order != nil {
		line += "  order " + compactJSON(x.Order)
	}
	if x.Answered != "" {
		line += "  answered " + x.Answered
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.a.say("%s", line)
}

// compactJSON is JSON on one line.
func compactJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "-"
	}
	return b.String()
}

// refused tells of a token that was not taken because of what it is.
func (l *listener) refused(status int, code string, reason error) {
	if reason == nil {
		reason = errors.New("see RFC 8935 §2.4")
	}
	if l.a.flags.json {
		l.print(map[string]any{"received_at": time.Now().UTC(), "by": l.by(), "refused": code, "status": status, "reason": reason.Error()})
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.a.say("%s  refused %d %s: %v", time.Now().UTC().Format("15:04:05.000Z"), status, code, reason)
}

// failing says whether this token gets the answer of --answer.
func (l *listener) failing(compact string) (*reply, *set.Unverified) {
	u, err := set.Parse(compact)
	if err != nil || l.fail == nil {
		return nil, u
	}
	for _, e := range u.Claims().Events {
		if e.Type == ssf.VerificationURI {
			return nil, u
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f.times > 0 && l.failed >= l.f.times {
		return nil, u
	}
	l.failed++
	return l.fail, u
}

// handler takes tokens with every check of the SDK.
func (l *listener) handler() *receiver.Handler {
	return &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			issuer := l.f.issuer
			if l.md != nil {
				issuer = l.md.Issuer
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			// Some transmitters verify before they have told us the audience.
			return &set.Policy{Issuer: issuer, Audience: l.audience, SkipAudience: len(l.audience) == 0, Keys: l.keys, Algorithms: set.Algorithms()}, nil
		},
		Authorization: l.pushAuth,
		Registry:      registry(),
		Keep:          l.keep,
		Verification:  l.verification,
		Report: func(_ context.Context, status int, code string, reason error) {
			l.refused(status, code, reason)
		},
	}
}

// keep prints a token that passed every check; there is nothing else to keep it in.
func (l *listener) keep(_ context.Context, d *receiver.Delivery) error {
	var order *receipt.Order
	if l.till != nil {
		var err error
		if order, err = receipt.OrderOf(d.Token, l.till.words); errors.Is(err, receipt.ErrMalformed) {
			return &receiver.Refusal{Err: stream.InvalidRequest, Description: err.Error()}
		}
	}
	l.show(l.read(d.Token, true))
	if order != nil {
		l.work.Go(func() { l.till.answer(order) })
	}
	if d.Event.Type != ssf.VerificationURI {
		l.counted()
	}
	return nil
}

func (l *listener) counted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if l.f.count > 0 && l.count >= l.f.count {
		l.enough()
	}
}

func (l *listener) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// verification notes that an event that we asked for has come. One with another state is printed all the same: on a
// stream of --stream somebody else may have asked.
func (l *listener) verification(_ context.Context, state string, _ bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if came, ok := l.states[state]; ok {
		close(came)
		delete(l.states, state)
	}
	return nil
}

// pushDoor takes pushes.
func (l *listener) pushDoor() http.Handler {
	checked := l.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, receiver.DefaultMaxBytes))
		if err != nil {
			stream.WriteError(w, http.StatusRequestEntityTooLarge, stream.WireError{Err: stream.InvalidRequest, Description: "the body is too long or did not arrive whole"})
			return
		}
		compact := strings.TrimSpace(string(body))
		if no, u := l.failing(compact); no != nil {
			x := l.read(u, false)
			x.Answered = no.String()
			l.show(x)
			if no.err == "" {
				w.WriteHeader(no.status)
				return
			}
			stream.WriteError(w, no.status, no.wire())
			return
		}
		if l.f.unverified {
			u, err := set.Parse(compact)
			if err != nil {
				l.refused(http.StatusBadRequest, stream.ErrorFor(err).Err, err)
				stream.WriteError(w, http.StatusBadRequest, stream.ErrorFor(err))
				return
			}
			l.unverified(u)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		checked.ServeHTTP(w, r)
	})
}

// unverified prints a token that nobody looked at.
func (l *listener) unverified(u *set.Unverified) {
	x := l.read(u, false)
	l.show(x)
	if x.Type != ssf.VerificationURI {
		l.counted()
		return
	}
	var payload struct{ State string }
	_ = json.Unmarshal(x.Event, &payload)
	_ = l.verification(context.Background(), payload.State, payload.State != "")
}

func (r *reply) String() string {
	if r.err == "" {
		return itoa(r.status)
	}
	return itoa(r.status) + " " + r.err
}

func (r *reply) wire() stream.WireError {
	return stream.WireError{Err: r.err, Description: "countersign listen was asked to answer so"}
}

// pollLoop polls until ctx ends. What it took is acknowledged with the next request, and what came last with one more
// before it returns.
func (l *listener) pollLoop(ctx context.Context) error {
	h := l.handler()
	h.Report = nil
	var req stream.PollRequest
	fails := 0
	defer func() {
		if len(req.Ack) > 0 || len(req.SetErrs) > 0 {
			end, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer stop()
			none := 0
			req.MaxEvents, req.ReturnImmediately = &none, true
			_, _ = l.client.Poll(end, l.stream.Delivery.EndpointURL, &req)
		}
	}()
	for ctx.Err() == nil {
		answer, err := l.client.Poll(ctx, l.stream.Delivery.EndpointURL, &req)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			err = asked("the poll endpoint", err)
			if code := hub.CodeOf(err); code != hub.Unavailable && code != hub.Limited {
				return err
			}
			if fails++; fails > 10 {
				return err
			}
			l.a.note("%v; trying again", err)
			wait(ctx, time.Duration(fails)*time.Second)
			continue
		}
		fails, req = 0, stream.PollRequest{}
		for jti, compact := range answer.Sets {
			switch err := l.polled(ctx, h, compact); {
			case err == nil:
				req.Ack = append(req.Ack, jti)
			case isWire(err):
				if req.SetErrs == nil {
					req.SetErrs = map[string]stream.WireError{}
				}
				var we stream.WireError
				errors.As(err, &we)
				req.SetErrs[jti] = we
			}
		}
	}
	return nil
}

func isWire(err error) bool {
	var we stream.WireError
	return errors.As(err, &we)
}

// polled takes one polled token: nil acknowledges it, a stream.WireError refuses it, and with any other error it comes again.
func (l *listener) polled(ctx context.Context, h *receiver.Handler, compact string) error {
	if no, u := l.failing(compact); no != nil {
		x := l.read(u, false)
		x.Answered = no.String()
		l.show(x)
		if no.status >= 400 && no.status < 500 && no.status != http.StatusTooManyRequests {
			return no.wire()
		}
		wait(ctx, time.Second)
		return errors.New("left unacknowledged, as --answer wants")
	}
	if l.f.unverified {
		u, err := set.Parse(compact)
		if err != nil {
			l.refused(http.StatusBadRequest, stream.ErrorFor(err).Err, err)
			return stream.ErrorFor(err)
		}
		l.unverified(u)
		return nil
	}
	err := h.Take(ctx, compact)
	if err != nil {
		code := "not now"
		var we stream.WireError
		if errors.As(err, &we) {
			code = we.Err
		}
		l.refused(http.StatusBadRequest, code, err)
	}
	return err
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
