package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/event/caep"
	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// wire stands for a tenant's transmitter and its store: it holds what tests put there, and writes down what it was asked.
type wire struct {
	views  []transmitter.StreamView
	items  map[int64][]transmitter.Item
	dead   map[int64][]transmitter.DeadLetter
	lines  []transmitter.Delivery // latest first
	orders []transmitter.SentOrder
	used   map[string]int64
	asked  []string
	sent   []transmitter.Message
	skip   map[string]string // event type: why it is skipped
	silent map[string]bool   // event type: nothing is said of it
	unfit  map[string]bool   // event type: it is not about such a subject
	broken error
	answer func(id string) // what comes of a verification event
}

func (w *wire) note(parts ...string) { w.asked = append(w.asked, strings.Join(parts, " ")) }

func (w *wire) Overview(context.Context) ([]transmitter.StreamView, error) {
	return slices.Clone(w.views), w.broken
}

func (w *wire) at(id string) *transmitter.StreamView {
	for i := range w.views {
		if w.views[i].Stream.ID == id {
			return &w.views[i]
		}
	}
	return nil
}

func (w *wire) View(_ context.Context, id string) (*transmitter.StreamView, error) {
	if v := w.at(id); v != nil {
		c := *v
		return &c, nil
	}
	return nil, transmitter.ErrNotFound
}

func (w *wire) SetStatus(_ context.Context, id, status, reason string) (*transmitter.Stream, error) {
	w.note("status", id, status, reason)
	v := w.at(id)
	v.Stream.Status, v.Stream.Reason = status, reason
	return &v.Stream, w.broken
}

func (w *wire) Verification(_ context.Context, id string) error {
	w.note("verify", id)
	if w.answer != nil {
		w.answer(id)
	}
	return w.broken
}

func (w *wire) RemoveStream(_ context.Context, id string) error {
	w.note("remove", id)
	w.views = slices.DeleteFunc(w.views, func(v transmitter.StreamView) bool { return v.Stream.ID == id })
	return w.broken
}

func (w *wire) ListSubject(_ context.Context, id string, sub subject.Identifier, on, verified bool) error {
	w.note("subject", id, sub.Canonical(), map[bool]string{true: "on", false: "off"}[on], map[bool]string{true: "verified", false: "unverified"}[verified])
	return w.broken
}

func (w *wire) Send(_ context.Context, m transmitter.Message) (*transmitter.Sent, error) {
	if w.unfit[m.Type] {
		return nil, fmt.Errorf("transmitter: sub_id: %w: it is about a subject of format phone_number", subject.ErrInvalid)
	}
	w.sent = append(w.sent, m)
	s := &transmitter.Sent{TXN: m.TXN}
	switch why := w.skip[m.Type]; {
	case w.silent[m.Type]:
	case why != "":
		s.Skipped = []transmitter.Skip{{StreamID: m.Streams[0], Reason: why}}
	default:
		s.Queued = []transmitter.Queued{{StreamID: m.Streams[0], JTI: set.NewID()}}
	}
	return s, w.broken
}

func (w *wire) Explain(_ context.Context, m transmitter.Message, id string) (*transmitter.Explanation, error) {
	w.note("explain", id, m.Type)
	e := &transmitter.Explanation{}
	e.Steps = append(e.Steps, transmitter.Step{What: "type supported", OK: true, Why: "it is"}, transmitter.Step{What: "status", Why: "the stream is disabled"})
	return e, w.broken
}

func (w *wire) Orders(_ context.Context, f transmitter.OrderFilter) ([]transmitter.SentOrder, error) {
	var out []transmitter.SentOrder
	for i := len(w.orders) - 1; i >= 0 && len(out) < f.N; i-- {
		o := w.orders[i]
		if f.Before != 0 && o.Key >= f.Before || f.TXN != "" && f.TXN != o.TXN || f.Receiver != "" && f.Receiver != o.Receiver || f.Stream != "" && f.Stream != o.Stream || f.State != "" && f.State != o.State ||
			f.DueBefore != 0 && (o.CompleteBy == 0 || o.CompleteBy >= f.DueBefore) {
			continue
		}
		out = append(out, o)
	}
	return out, w.broken
}

func (w *wire) OrderOf(_ context.Context, ref string) (*transmitter.SentOrder, error) {
	for _, o := range w.orders {
		if o.JTI == ref || o.SetHash == ref {
			return &o, nil
		}
	}
	return nil, transmitter.ErrNotFound
}

func (w *wire) Withdraw(_ context.Context, ref, reason string) (*transmitter.SentOrder, error) {
	w.note("withdraw", ref, reason)
	for i := range w.orders {
		o := &w.orders[i]
		if o.JTI != ref {
			continue
		}
		if o.Withdrawn != 0 {
			return nil, transmitter.ErrConflict
		}
		o.Withdrawn, o.WithdrawnWhy = transmitter.At(start), reason
		c := *o
		return &c, nil
	}
	return nil, transmitter.ErrNotFound
}

func (w *wire) Redrive(_ context.Context, f transmitter.DeadFilter) (int, error) {
	raw, _ := json.Marshal(f)
	w.note("redrive", string(raw))
	n := 0
	for k, l := range w.dead {
		if f.Stream == 0 || f.Stream == k {
			n += len(l)
		}
	}
	return n, w.broken
}

func (w *wire) KeysInUse(context.Context) (map[string]int64, error) { return w.used, w.broken }

func (w *wire) Next(_ context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	var out []transmitter.Item
	for _, it := range w.items[stream] {
		if it.Seq > after && len(out) < n {
			out = append(out, it)
		}
	}
	return out, w.broken
}

func (w *wire) Stream(_ context.Context, _, id string) (*transmitter.Stream, error) {
	if v := w.at(id); v != nil {
		full := v.Stream
		full.Authorization = secret
		return &full, nil
	}
	return nil, transmitter.ErrNotFound
}

func (w *wire) Dead(_ context.Context, stream int64, n int) ([]transmitter.DeadLetter, error) {
	l := w.dead[stream]
	return l[:min(n, len(l))], w.broken
}

func (w *wire) Deliveries(_ context.Context, f transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	var out []transmitter.Delivery
	for _, l := range w.lines {
		if f.Stream != 0 && l.Stream != f.Stream || f.JTI != "" && l.JTI != f.JTI || f.TXN != "" && l.TXN != f.TXN || f.Outcome != "" && l.Outcome != f.Outcome || f.Before != 0 && l.At >= f.Before || f.From != nil && l.Place().Compare(*f.From) < 0 {
			continue
		}
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b transmitter.Delivery) int { return a.Place().Compare(b.Place()) })
	return out[:min(len(out), f.N)], w.broken
}

var (
	_ Streams = (*wire)(nil)
	_ Outbox  = (*wire)(nil)
)

const (
	pushID   = "stm-push-0000000000000000"
	pollID   = "stm-poll-0000000000000000"
	secret   = "Bearer the-receivers-own-secret"
	hushed   = "s3cret-in-a-query"
	revoked  = caep.SessionRevokedURI
	orderTXN = "txn-order"
)

// furnish gives a tenant two streams with everything that can be on one.
func (b *bench) furnish(signer *set.Signer) *wire {
	now := transmitter.At(start)
	w := &wire{used: map[string]int64{"k1": 2}, skip: map[string]string{}, silent: map[string]bool{}}
	w.views = []transmitter.StreamView{
		{Stream: transmitter.Stream{Key: 3, ID: pushID, Receiver: "receiver", Name: "crm", Audience: []string{"https://crm.example.test"}, Requested: []string{revoked}, Delivered: []string{revoked},
			Method: stream.PushMethod, Endpoint: "https://crm.example.test/events?key=" + hushed, Status: transmitter.Enabled, ReceiptIssuer: "https://crm.example.test", Created: now - 1e6, Updated: now - 1e6,
			Trouble: transmitter.Trouble{Fails: 3, Next: now + 5e6, Since: now - 90e6, Reason: "503 from the receiver"}},
			Counts: transmitter.Counts{Waiting: 3, Delivered: 40, Dead: 2, Oldest: now - 90e6}, Last: transmitter.LastAnswer{At: now - 5e6, Status: 503, Reason: "503 from the receiver"}, Next: now + 5e6, P50: 4 * time.Millisecond, P99: 90 * time.Millisecond, Here: true},
		{Stream: transmitter.Stream{Key: 5, ID: pollID, Receiver: "other-receiver", Audience: []string{"https://hub.example.test/streams/5"}, Delivered: []string{revoked}, Method: stream.PollMethod,
			Endpoint: "https://hub.example.test/ssf/streams/" + pollID + "/poll", Status: transmitter.Paused, Reason: "silent for too long", DefaultSubjects: stream.DefaultNone, InactivityTimeout: 60, Created: now - 55e6},
			Warnings: []string{"delivers nothing: default_subjects is NONE and no subject was added"}},
	}
	item := func(seq int64, jti, txn string) transmitter.Item {
		return transmitter.Item{Stream: 3, Seq: seq, JTI: jti, IssuedAt: start.Unix(), KeyID: "k1", Event: &transmitter.Event{Key: seq, Type: revoked, TXN: txn, At: now - 90e6}}
	}
	w.items = map[int64][]transmitter.Item{3: {item(7, "set-7", "txn-1"), item(8, "set-8", "txn-2"), item(9, "set-9", "txn-2")}}
	w.dead = map[int64][]transmitter.DeadLetter{3: {{Item: item(5, "set-5", "txn-0"), Status: 400, Reason: "invalid_request: no such tenant", At: now - 40e6}, {Item: item(4, "set-4", "txn-0"), Status: 400, Reason: "invalid_request: no such tenant", At: now - 50e6}}}
	w.lines = []transmitter.Delivery{
		{Stream: 3, StreamID: pushID, Type: revoked, TXN: "txn-1", Outcome: transmitter.Skipped, Reason: "the person has no account at crm", At: now - 30e6},
		{Stream: 3, StreamID: pushID, JTI: "set-5", Type: revoked, TXN: "txn-0", Outcome: transmitter.DeadLettered, Status: 400, Reason: "invalid_request: no such tenant", Tries: 1, At: now - 40e6},
		{Stream: 3, StreamID: pushID, JTI: "set-3", Type: revoked, TXN: "txn-0", Outcome: transmitter.DeadLettered, Status: 400, Reason: "invalid_request: older", Tries: 1, At: now - 40e6},
		{Stream: 3, StreamID: pushID, JTI: "ord-9", Type: revoked, TXN: orderTXN, Outcome: transmitter.Delivered, Status: 202, Tries: 2, First: now - 61e6, At: now - 60e6},
		{StreamID: "", JTI: "set-1", Outcome: transmitter.Delivered, Status: 202, Tries: 1, At: now - 600e6},
	}
	w.orders = []transmitter.SentOrder{b.order(signer, 1, "ord-9", now-60e6), b.order(signer, 2, "ord-10", 0)}
	w.orders[1].State, w.orders[1].CompleteBy = transmitter.OrderQueued, start.Unix()+600
	return w
}

// order makes an order on the push stream.
func (b *bench) order(signer *set.Signer, key int64, jti string, arrived transmitter.Micros) transmitter.SentOrder {
	b.t.Helper()
	directive := json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"complete_by":1789462700,"receipt":{"when":"final"}}`)
	c := set.Claims{Issuer: "https://hub.example.test", Audience: []string{"https://crm.example.test"}, IssuedAt: start.Unix() - 62, ID: jti, TXN: orderTXN, SubID: json.RawMessage(`{"format":"email","email":"alice@example.test"}`),
		Events: []set.Event{{Type: revoked, Payload: json.RawMessage(`{"event_timestamp":1789462700}`)}}, Extra: []set.Member{{Name: receipt.Default().Directive, Value: directive}}}
	payload, err := c.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	input := signer.Input(payload)
	u, err := set.Parse(input + ".AA")
	if err != nil {
		b.t.Fatal(err)
	}
	return transmitter.SentOrder{Key: key, JTI: jti, Receiver: "receiver", Stream: pushID, ReceiptIssuer: "https://crm.example.test", ReceiptAudience: "https://hub.example.test", SetHash: u.Address(), Input: input,
		EventType: revoked, TXN: orderTXN, IssuedAt: c.IssuedAt, CompleteBy: 1789462700, When: "final", State: transmitter.OrderDelivered, Arrived: arrived}
}

// receiptFor makes the receipt that the receiver sends for an order.
func (b *bench) receiptFor(signer *set.Signer, o *transmitter.SentOrder) transmitter.KeptReceipt {
	b.t.Helper()
	u, err := set.Parse(o.Input + ".AA")
	if err != nil {
		b.t.Fatal(err)
	}
	order, err := receipt.OrderOf(u, receipt.Default())
	if err != nil {
		b.t.Fatal(err)
	}
	order.ReceiptIssuer, order.ReceiptAudience = o.ReceiptIssuer, o.ReceiptAudience
	line := receipt.Line{ID: "a1.1", Action: hub.RevokeSessions, Target: &receipt.Target{App: "crm", Kind: "account", ID: "p-1"}, Status: receipt.Succeeded, Reason: "done", CompletedAt: start.Unix(), Evidence: &receipt.Evidence{Level: receipt.Assertion, Method: receipt.MethodAPIResponse}}
	totals, outcome := receipt.Compute(order.Directive, []receipt.Line{line})
	r := &receipt.Receipt{Number: "CS-7F3K9Q2M", Seq: 1, Stage: receipt.StageFinal, Outcome: outcome, Totals: totals, Lines: []receipt.Line{line}, Order: receipt.OrderLink{EventType: order.EventType, SetHash: order.SetHash, ReceivedAt: start.Unix()}}
	body, err := receipt.Issue(order, r, "rcp-9", start.Unix())
	if err != nil {
		b.t.Fatal(err)
	}
	compact, err := signer.Sign(body)
	if err != nil {
		b.t.Fatal(err)
	}
	return transmitter.KeptReceipt{JTI: "rcp-9", Issuer: o.ReceiptIssuer, Number: r.Number, Seq: 1, Stage: r.Stage, Outcome: outcome, Hash: "sha-256:x", IssuedAt: start.Unix(), ReceivedAt: start.Unix(), Compact: compact, Accepted: transmitter.At(start)}
}

// ring stands for the hub's keys.
type ring struct{ b *bench }

func (k ring) key(kid, alg, state string) KeyInfo {
	jwk, _ := json.Marshal(k.b.signer.Public())
	return KeyInfo{KID: kid, Alg: alg, State: state, Thumbprint: k.b.signer.Public().Thumbprint(), JWK: jwk}
}

func (k ring) List(context.Context, string) ([]KeyInfo, error) {
	return []KeyInfo{k.key("k1", "EdDSA", "active")}, nil
}

func (k ring) Rotate(_ context.Context, tenant, alg string, now bool) (KeyInfo, error) {
	if alg == "ES256" {
		return KeyInfo{}, hub.Errorf(hub.Conflict, "a key for %s is under way already", alg)
	}
	return k.key("k2", alg, map[bool]string{true: "active", false: "next"}[now]), nil
}

func (k ring) Retire(_ context.Context, _, kid string, compromised bool) (KeyInfo, error) {
	if kid != "k1" {
		return KeyInfo{}, hub.Errorf(hub.NotFound, "no such key")
	}
	i := k.key(kid, "EdDSA", "retiring")
	if compromised {
		i.State, i.Reissued = "compromised", 3
	}
	return i, nil
}

var errWire = errors.New("disk: /var/lib/secret-path is gone")
