package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"countersign/internal/flow/decide"
	"countersign/internal/flow/naming"
	"countersign/internal/hub"
	"countersign/set"
	"countersign/transmitter"
)

// passOn plans what the policies transmit and says in each finding what became of it. It keeps nothing: the rows go into
// the decision's transaction. An error means that it cannot be told now.
func (t *tenant) passOn(ctx context.Context, sig *hub.Signal, src *hub.Source, identity *hub.Identity, res *decide.Result) ([]*transmitter.Outgoing, error) {
	if len(res.Transmits) == 0 {
		return nil, nil
	}
	streams, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	txn := sig.TXN
	if txn == "" {
		txn = set.NewID() // SSF 1.0 §4.1.9: one for all SETs of this event
	}
	ctx = naming.With(ctx, &naming.Person{Identity: identity})
	planned := map[string]bool{} // stream and type, within this decision
	var outs []*transmitter.Outgoing
	todo := slices.Clone(res.Transmits)
	slices.SortStableFunc(todo, func(a, b decide.Transmit) int { // an order says more than the event alone
		return boolOrder(b.Order != nil) - boolOrder(a.Order != nil)
	})
	for _, tr := range todo {
		before, err := t.before(ctx, sig.TXN, tr.Type)
		if err != nil {
			return nil, err
		}
		p := &pass{tr: tr, sig: sig, src: src, finding: &res.Decision.Findings[tr.Finding]}
		ids := p.choose(streams, func(st *transmitter.Stream) bool { return before[st.Key] || planned[st.ID+" "+tr.Type] })
		if len(ids) == 0 {
			p.nothing()
			continue
		}
		out, sent, err := t.streams.Plan(ctx, transmitter.Message{Type: tr.Type, SubID: sig.SubID, Payload: tr.Payload, TXN: txn, Order: tr.Order, Streams: ids})
		switch {
		case errors.Is(err, transmitter.ErrNoOrderStream):
			p.skip("no stream takes this order")
		case err != nil && transient(err):
			return nil, err
		case err != nil:
			p.finding.Result, p.finding.Reason = "error", p.finding.Reason+": "+err.Error()
			continue
		}
		if out == nil {
			p.nothing()
			continue
		}
		for _, q := range sent.Queued {
			planned[q.StreamID+" "+tr.Type] = true
			p.queued = append(p.queued, called(streams, q.StreamID))
		}
		for _, s := range sent.Skipped {
			p.skip(called(streams, s.StreamID) + ": " + s.Reason)
		}
		p.say()
		outs = append(outs, out)
	}
	return outs, nil
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

// transient reports whether an error is of the moment and not of the message.
func transient(err error) bool {
	var e *hub.Error
	return errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// pass is one event on its way to streams.
type pass struct {
	tr      decide.Transmit
	sig     *hub.Signal
	src     *hub.Source
	finding *hub.Finding
	queued  []string
	skipped []string
}

func (p *pass) skip(why string) { p.skipped = append(p.skipped, why) }

// choose gives the streams that the event may go to, of those that the rule means. It never goes back to whom it
// came from, unless the rule names that stream, and nobody is told twice of one txn.
func (p *pass) choose(streams []transmitter.Stream, told func(*transmitter.Stream) bool) []string {
	var ids []string
	take := func(st *transmitter.Stream) {
		switch {
		case told(st):
			p.skip(name(st) + ": it was sent this event of this txn already")
		case !slices.Contains(ids, st.ID):
			ids = append(ids, st.ID)
		}
	}
	if p.tr.To.All {
		for i := range streams {
			st := &streams[i]
			if st.Status == transmitter.Disabled || !slices.Contains(st.Delivered, p.tr.Type) {
				continue // it did not ask for this
			}
			if from(st, p.sig, p.src) {
				p.skip(name(st) + ": the signal came from there")
				continue
			}
			take(st)
		}
		return ids
	}
	for _, n := range p.tr.To.Names {
		i := slices.IndexFunc(streams, func(st transmitter.Stream) bool { return st.Name == n })
		if i < 0 {
			i = slices.IndexFunc(streams, func(st transmitter.Stream) bool { return st.ID == n })
		}
		if i < 0 {
			p.skip(n + ": there is no such stream")
			continue
		}
		take(&streams[i])
	}
	return ids
}

func (p *pass) nothing() {
	if len(p.skipped) == 0 {
		p.skip("no enabled stream asked for this event type")
	}
	p.say()
}

// shown is how many streams a finding names.
const shown = 20

// say writes the finding.
func (p *pass) say() {
	list := func(all []string) string {
		more := ""
		if len(all) > shown {
			all, more = all[:shown], fmt.Sprintf(" and %d more", len(all)-shown)
		}
		return strings.Join(all, "; ") + more
	}
	if len(p.queued) > 0 {
		p.finding.Reason += "; queued on " + list(p.queued)
	} else {
		p.finding.Result = "skipped"
	}
	if len(p.skipped) > 0 {
		p.finding.Reason += "; not sent: " + list(p.skipped)
	}
}

// name calls a stream by its resource, or by its id.
func name(st *transmitter.Stream) string {
	if st.Name != "" {
		return st.Name
	}
	return st.ID
}

func called(streams []transmitter.Stream, id string) string {
	for i := range streams {
		if streams[i].ID == id {
			return name(&streams[i])
		}
	}
	return id
}

// from reports whether a stream leads back to whom a signal came from: to the client that gave it, to a client
// with the source's name, or to where the source's issuer is.
func from(st *transmitter.Stream, sig *hub.Signal, src *hub.Source) bool {
	if sig.Source == "client:"+st.Receiver || sig.Source == st.Receiver {
		return true
	}
	if src == nil || src.Issuer == "" {
		return false
	}
	there, err := url.Parse(src.Issuer)
	if err != nil {
		return false
	}
	for _, address := range []string{st.Endpoint, st.ReceiptIssuer} {
		if u, err := url.Parse(address); err == nil && address != "" && strings.EqualFold(u.Host, there.Host) {
			return true
		}
	}
	return false
}

// list gives the tenant's streams as they are now, read again where one changed.
func (t *tenant) list(ctx context.Context) ([]transmitter.Stream, error) {
	rows := t.s.store.Transmitter(t.name, t.s.vault)
	generation, err := rows.Generation(ctx)
	if err != nil {
		return nil, err
	}
	t.listing.Lock()
	defer t.listing.Unlock()
	if t.listed != nil && t.listedAt == generation {
		return t.listed, nil
	}
	all, at, err := rows.AllStreams(ctx)
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []transmitter.Stream{}
	}
	t.listed, t.listedAt = all, at
	return all, nil
}

// told remembers on this node which streams were sent which event of which txn: what was queued a moment ago, or waited
// when the node started, is not in the history yet.
type told struct {
	mu       sync.Mutex
	now, old map[string][]int64
	skips    map[string]int64 // by stream id: events that it was not told of, since the start
}

const maxTold = 20_000

func (g *told) note(out *transmitter.Outgoing) {
	if out == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range out.Skips {
		if g.skips == nil {
			g.skips = map[string]int64{}
		}
		g.skips[s.StreamID]++
	}
	if out.Event.TXN == "" || len(out.Rows) == 0 {
		return
	}
	if g.now == nil || len(g.now) >= maxTold {
		g.old, g.now = g.now, map[string][]int64{}
	}
	key := out.Event.TXN + "\x00" + out.Event.Type
	for _, r := range out.Rows {
		g.now[key] = append(g.now[key], r.Stream)
	}
}

// recall takes in what waits from an earlier life, so that a start makes nothing go round.
func (t *tenant) recall(ctx context.Context) error {
	rows, err := t.s.store.Transmitter(t.name, t.s.vault).Told(ctx, maxTold)
	if err != nil {
		return err
	}
	g := &t.told
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		g.now = map[string][]int64{}
	}
	for _, r := range rows {
		key := r.TXN + "\x00" + r.Type
		g.now[key] = append(g.now[key], r.Stream)
	}
	return nil
}

func (g *told) skipped(stream string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.skips[stream]
}

func (g *told) streams(txn, typ string) []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := txn + "\x00" + typ
	return append(slices.Clone(g.now[key]), g.old[key]...)
}

// before gives the streams that were sent an event of this type and txn: by this node a moment ago, or by any as the
// history says. A signal without txn was not caused by one of ours that we could know.
func (t *tenant) before(ctx context.Context, txn, typ string) (map[int64]bool, error) {
	out := map[int64]bool{}
	if txn == "" {
		return out, nil
	}
	for _, key := range t.told.streams(txn, typ) {
		out[key] = true
	}
	history, err := t.s.store.Transmitter(t.name, t.s.vault).Deliveries(ctx, transmitter.DeliveryFilter{TXN: txn, Outcome: transmitter.Delivered, N: 1000})
	if err != nil {
		return nil, err
	}
	for _, d := range history {
		if d.Type == typ {
			out[d.Stream] = true
		}
	}
	return out, nil
}

// outbox is a tenant's transmitter as the API door sees it: what it queues is remembered.
type outbox struct {
	*transmitter.Transmitter
	told *told
}

// Notify wakes the pump for rows that were committed.
func (o outbox) Notify(out *transmitter.Outgoing) {
	o.told.note(out)
	o.Transmitter.Notify(out)
}
