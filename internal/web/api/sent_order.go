package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

// Standings are the states of an order that we sent (receipts design §6.7).
var Standings = []string{transmitter.StandingQueued, transmitter.StandingAcknowledged, transmitter.StandingRejected, transmitter.StandingInProgress, transmitter.StandingReceipted,
	transmitter.StandingUnanswered, transmitter.StandingUnsupported, transmitter.StandingDisputed, transmitter.StandingDropped, transmitter.StandingExpired, transmitter.StandingWithdrawn}

const orderCursor = "ord"

// OrderInfoOf is an order for operators, at a moment. name is that of its stream.
func OrderInfoOf(o *transmitter.SentOrder, name string, now time.Time) OrderInfo {
	st := transmitter.Standing(o, now)
	return OrderInfo{JTI: o.JTI, SetHash: o.SetHash, Stream: o.Stream, Name: name, Client: o.Receiver, Type: o.EventType, TXN: o.TXN, IssuedAt: o.IssuedAt,
		InterimBy: o.InterimBy, CompleteBy: o.CompleteBy, When: o.When, Standing: st.State, Outcome: st.Outcome, Late: st.Late, Overdue: st.Overdue, Why: st.Why,
		Arrived: hub.Micros(o.Arrived), Withdrawn: hub.Micros(o.Withdrawn), Receipts: len(o.Receipts)}
}

// OrderSearch is a question about orders. Empty members do not filter.
type OrderSearch struct {
	State, Client, Stream, TXN string // Stream: a stream_id
	Overdue                    bool
	Before                     int64 // the store's key of the last one seen
}

// Find gives up to n orders, latest first. Standings are worked out here, so it looks at a bounded number of rows
// and says with more where to go on.
func (q OrderSearch) Find(ctx context.Context, s Streams, n int, now time.Time) (found []transmitter.SentOrder, more int64, err error) {
	f := transmitter.OrderFilter{TXN: q.TXN, Receiver: q.Client, Stream: q.Stream, Before: q.Before, N: 200}
	switch q.State { // these are in the store as they are; the others follow from receipts and time
	case transmitter.OrderQueued, transmitter.OrderRejected, transmitter.OrderDropped, transmitter.OrderExpired:
		f.State = q.State
	}
	if q.Overdue {
		f.Unanswered, f.DueBefore = true, now.Unix()
	}
	for looked := 0; ; {
		all, err := s.Orders(ctx, f)
		if err != nil {
			return nil, 0, err
		}
		for i := range all {
			if len(found) >= n || looked >= scanned {
				return found, f.Before, nil
			}
			looked++
			f.Before = all[i].Key
			st := transmitter.Standing(&all[i], now)
			if (q.State == "" || st.State == q.State) && (!q.Overdue || st.Overdue) {
				found = append(found, all[i])
			}
		}
		if len(all) < f.N {
			return found, 0, nil
		}
	}
}

func (d *Door) listSentOrders(w http.ResponseWriter, r *request) error {
	p, q, err := query(r.Request, "state", "client", "stream", "txn", "overdue")
	if err == nil {
		err = from(p, orderCursor)
	}
	if err != nil {
		return err
	}
	state, err := word(q, "state", Standings...)
	if err != nil {
		return err
	}
	overdue, err := word(q, "overdue", "true", "false")
	if err != nil {
		return err
	}
	o, err := d.office(r.tenant)
	if err != nil {
		return err
	}
	s := OrderSearch{State: state, Client: q.Get("client"), TXN: q.Get("txn"), Overdue: overdue == "true"}
	if p.After != "" {
		if s.Before, err = strconv.ParseInt(strings.TrimPrefix(p.After, orderCursor+"_"), 10, 64); err != nil || s.Before < 1 {
			return from(hub.Page{After: "-" + p.After}, orderCursor)
		}
	}
	if ref := q.Get("stream"); ref != "" {
		if s.Stream, err = o.id(r.Context(), ref); err != nil {
			return err
		}
	}
	now := d.c.Now()
	found, more, err := s.Find(r.Context(), o.streams, p.Size(), now)
	if err != nil {
		return err
	}
	names, err := StreamNames(r.Context(), o.streams)
	if err != nil {
		return err
	}
	l := hub.Listed[OrderInfo]{}
	for i := range found {
		l.Items = append(l.Items, OrderInfoOf(&found[i], names[found[i].Stream], now))
	}
	if more != 0 {
		l.Next = orderCursor + "_" + strconv.FormatInt(more, 10)
	}
	return writePage(w, l)
}

// StreamNames gives the names of streams that have one, by stream_id.
func StreamNames(ctx context.Context, s Streams) (map[string]string, error) {
	views, err := s.Overview(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for i := range views {
		out[views[i].Stream.ID] = views[i].Stream.Name
	}
	return out, nil
}

func (d *Door) oneOrder(r *request) (office, *transmitter.SentOrder, error) {
	o, err := d.office(r.tenant)
	if err != nil {
		return o, nil, err
	}
	ref := r.PathValue("ref")
	so, err := o.streams.OrderOf(r.Context(), ref)
	if errors.Is(err, transmitter.ErrNotFound) {
		return o, nil, hub.Errorf(hub.NotFound, "there is no order %q", short(ref)).WithHint("countersign order list")
	}
	return o, so, err
}

func (d *Door) showSentOrder(w http.ResponseWriter, r *request) error {
	o, so, err := d.oneOrder(r)
	if err != nil {
		return err
	}
	return d.writeOrder(w, r, o, so)
}

func (d *Door) writeOrder(w http.ResponseWriter, r *request, o office, so *transmitter.SentOrder) error {
	s, err := OrderStoryOf(r.Context(), so, o.streams, o.outbox, d.c.Now(), r.caller.May(ScopeSignalsToken))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s)
}

func (d *Door) withdraw(w http.ResponseWriter, r *request) error {
	var req WithdrawRequest
	if err := optionalBody(w, r, &req); err != nil {
		return err
	}
	if len(req.ReasonAdmin) > maxReason || !printable(req.ReasonAdmin) {
		return hub.Errorf(hub.Invalid, "reason_admin must have at most %d printable bytes", maxReason)
	}
	o, so, err := d.oneOrder(r)
	if err != nil {
		return err
	}
	after, err := o.streams.Withdraw(r.Context(), so.JTI, req.ReasonAdmin)
	switch {
	case errors.Is(err, transmitter.ErrConflict):
		st := transmitter.Standing(so, d.c.Now())
		return hub.Errorf(hub.Conflict, "the order can no longer be withdrawn: it is %s", strings.ReplaceAll(st.State, "_", " ")).WithHint("countersign order explain %s", so.JTI)
	case errors.Is(err, transmitter.ErrNotFound):
		return hub.Errorf(hub.Conflict, "the stream of the order is gone, so its receiver cannot be told")
	case err != nil:
		return streamError(err)
	}
	return d.writeOrder(w, r, o, after)
}

// OrderStoryOf tells an order with what came of it. tokens says whether receipts are shown as they came.
func OrderStoryOf(ctx context.Context, o *transmitter.SentOrder, s Streams, box Outbox, now time.Time, tokens bool) (*OrderStory, error) {
	names, err := StreamNames(ctx, s)
	if err != nil {
		return nil, err
	}
	ends, err := box.Deliveries(ctx, transmitter.DeliveryFilter{JTI: o.JTI, N: 20})
	if err != nil {
		return nil, err
	}
	name, there := names[o.Stream]
	a := &OrderStory{OrderInfo: OrderInfoOf(o, name, now), ReceiptIssuer: o.ReceiptIssuer, ReceiptAudience: o.ReceiptAudience, WithdrawnWhy: o.WithdrawnWhy, Disputed: o.Disputed,
		Timeline: []Moment{}, Answers: []OrderReceipt{}}
	directive := a.open(o)
	for i := range o.Receipts {
		rc := answered(&o.Receipts[i])
		if !tokens {
			rc.Token = ""
		}
		a.Answers = append(a.Answers, rc)
	}
	a.timeline(o, ends, hub.At(now))
	a.explain(o, directive, there, now)
	return a, nil
}

// open reads what is in the signing input: whom the order is about, the event, and the directive.
func (a *OrderStory) open(o *transmitter.SentOrder) *receipt.Directive {
	u, err := set.Parse(o.Input + ".AA")
	if err != nil {
		return nil
	}
	c := u.Claims()
	if json.Valid(c.SubID) && len(c.SubID) > 0 {
		a.SubID = c.SubID
	}
	for _, e := range c.Events {
		if e.Type == o.EventType {
			a.Event = receipt.Default().Strip(e.Payload)
		}
	}
	raw, err := receipt.FindDirective(&c, receipt.Default())
	if err != nil || len(raw) == 0 {
		return nil
	}
	a.Directive = raw
	dir, err := receipt.ParseDirective(raw, &c, receipt.Default())
	if err != nil {
		return nil
	}
	return dir
}

func answered(k *transmitter.KeptReceipt) OrderReceipt {
	rc := OrderReceipt{JTI: k.JTI, Number: k.Number, Seq: k.Seq, Stage: k.Stage, Outcome: k.Outcome, Hash: k.Hash, IssuedAt: k.IssuedAt, Accepted: hub.Micros(k.Accepted), Gap: k.Gap, Late: k.Late, Token: k.Compact}
	if u, err := set.Parse(k.Compact); err == nil {
		if c := u.Claims(); len(c.Events) == 1 && json.Valid(c.Events[0].Payload) {
			rc.Body = c.Events[0].Payload
		}
	}
	return rc
}

func (a *OrderStory) timeline(o *transmitter.SentOrder, ends []transmitter.Delivery, now hub.Micros) {
	add := func(at hub.Micros, what, format string, args ...any) {
		a.Timeline = append(a.Timeline, Moment{at, what, fmt.Sprintf(format, args...)})
	}
	second := func(s int64) hub.Micros { return hub.Micros(s * 1e6) }
	add(second(o.IssuedAt), "issued", "issued and queued on the stream")
	arrived := false
	for _, e := range ends {
		tries := ""
		if e.Tries > 1 {
			tries = fmt.Sprintf(" at try %d", e.Tries)
		}
		switch e.Outcome {
		case transmitter.Delivered:
			arrived = true
			add(hub.Micros(e.At), "delivered", "the receiver took it%s", tries)
		case transmitter.DeadLettered:
			arrived = arrived || o.State == transmitter.OrderRejected
			what := "rejected"
			if o.State == transmitter.OrderExpired {
				what = "expired"
			}
			add(hub.Micros(e.At), what, "set aside%s: %s", tries, e.Reason)
		}
	}
	if !arrived && o.Arrived != 0 {
		switch o.State {
		case transmitter.OrderRejected:
			add(hub.Micros(o.Arrived), "rejected", "the receiver refused it")
		default:
			add(hub.Micros(o.Arrived), "delivered", "the receiver took it")
		}
	}
	if o.Withdrawn != 0 {
		add(hub.Micros(o.Withdrawn), "withdrawn", "withdrawn%s", colon(o.WithdrawnWhy))
	}
	for _, r := range a.Answers {
		add(r.Accepted, "receipt", "receipt %s, seq %d: %s, %s", r.Number, r.Seq, r.Stage, words(r.Outcome))
	}
	open := slices.Contains([]string{transmitter.StandingQueued, transmitter.StandingAcknowledged, transmitter.StandingInProgress}, a.Standing)
	if o.InterimBy != 0 && open && len(a.Answers) == 0 {
		add(second(o.InterimBy), "due", "a first receipt %s due", isOrWas(second(o.InterimBy), now))
	}
	if o.CompleteBy != 0 && open {
		add(second(o.CompleteBy), "due", "the final receipt %s due", isOrWas(second(o.CompleteBy), now))
	}
	slices.SortStableFunc(a.Timeline, func(x, y Moment) int { return int(min(1, max(-1, x.At-y.At))) })
}

func isOrWas(at, now hub.Micros) string {
	if at <= now {
		return "was"
	}
	return "is"
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func words(s string) string { return strings.NewReplacer("_", " ", "-", " ").Replace(s) }

// explain says in sentences who was told, what was ordered, what came back, and what is missing until when.
func (a *OrderStory) explain(o *transmitter.SentOrder, d *receipt.Directive, there bool, now time.Time) {
	say := func(format string, args ...any) { a.Explanation = append(a.Explanation, fmt.Sprintf(format, args...)) }
	on := "stream " + o.Stream
	if a.Name != "" {
		on = "stream " + a.Name
	}
	if !there {
		on += ", which is gone,"
	}
	told := map[string]string{
		transmitter.OrderQueued: "The order waits for client %s on %s, issued at %s.", transmitter.OrderRejected: "Client %s refused the order on %s, issued at %s.",
		transmitter.OrderDropped: "Client %s was never told: the order was taken off %s, issued at %s.", transmitter.OrderExpired: "Client %s was never told: the order waited too long on %s, issued at %s.",
	}[o.State]
	if told == "" {
		told = "Client %s was told on %s, with an order issued at %s."
	}
	say(told, o.Receiver, on, stamp(o.IssuedAt))
	say("%s", ordered(o, d))
	switch n := len(a.Answers); {
	case n == 0:
		say("No receipt came back.")
	default:
		last := a.Answers[n-1]
		for i := range a.Answers {
			if !a.Answers[i].Late && a.Answers[i].Seq >= last.Seq {
				last = a.Answers[i]
			}
		}
		say("%s came back; the latest, %s seq %d at %s, is %s and says: %s.", count(int64(n), "receipt", "receipts"), last.Number, last.Seq, at(last.Accepted), last.Stage, words(last.Outcome))
		if last.Body != nil {
			if r, err := receipt.ParseReceipt(last.Body); err == nil {
				t := r.Totals
				say("Of %s: %d done, %d unconfirmed, %d failed, %d skipped, %d pending.", count(int64(t.Lines), "line", "lines"), t.Succeeded, t.Unconfirmed, t.Failed, t.Skipped, t.Pending)
			}
		}
		if last.Gap {
			say("A receipt before it is missing.")
		}
	}
	if o.Withdrawn != 0 {
		say("It was withdrawn at %s%s.", at(hub.Micros(o.Withdrawn)), colon(o.WithdrawnWhy))
	}
	if o.Disputed != "" {
		say("Two stories were told about it, and somebody must decide: %s.", o.Disputed)
	}
	if m := a.missing(o, now); m != "" {
		say("%s", m)
	}
}

// ordered says what was ordered and until when.
func ordered(o *transmitter.SentOrder, d *receipt.Directive) string {
	what := "It was ordered that the receiver answers with a receipt"
	if d != nil {
		var acts []string
		for _, x := range d.Actions {
			s := words(x.Action)
			if r := x.Reach(); r != "" {
				s += " (" + words(r) + ")"
			}
			if x.Optional {
				s += ", if it can"
			}
			acts = append(acts, s)
		}
		if len(acts) > 0 {
			what = "It orders: " + strings.Join(acts, "; ")
			if d.Defaulted {
				what += ", as this type of event does by itself"
			}
		}
		if d.Obligation != "" {
			what += " (" + words(d.Obligation) + ")"
		}
	}
	switch {
	case o.InterimBy != 0 && o.CompleteBy != 0:
		what += fmt.Sprintf(", with a first word by %s and the end by %s", stamp(o.InterimBy), stamp(o.CompleteBy))
	case o.CompleteBy != 0:
		what += ", by " + stamp(o.CompleteBy)
	case o.InterimBy != 0:
		what += ", with a first word by " + stamp(o.InterimBy)
	}
	return what + "."
}

// missing says what still has to come, and until when.
func (a *OrderStory) missing(o *transmitter.SentOrder, now time.Time) string {
	switch a.Standing {
	case transmitter.StandingReceipted:
		if a.Late {
			return "Nothing is missing; the final receipt came after the time for it."
		}
		return "Nothing is missing."
	case transmitter.StandingQueued:
		if a.Withdrawn == 0 {
			return "It is still to be delivered: countersign stream show " + or(a.Name, o.Stream)
		}
	case transmitter.StandingAcknowledged, transmitter.StandingInProgress:
		switch {
		case a.Overdue:
			return "The final receipt was due at " + stamp(o.CompleteBy) + " and has not come."
		case o.When == "exceptions" && len(a.Answers) == 0 && o.CompleteBy != 0 && now.Unix() > o.CompleteBy:
			return "No exception was reported by " + stamp(o.CompleteBy) + "; that confirms nothing."
		case a.Late:
			return "The first receipt was due at " + stamp(o.InterimBy) + " and has not come."
		case o.CompleteBy != 0:
			return "The final receipt is due by " + stamp(o.CompleteBy) + "."
		default:
			return "The final receipt is still to come; the order sets it no time."
		}
	case transmitter.StandingUnanswered:
		return "No final receipt came in the time for it, and the order is closed; one that comes late is still taken."
	case transmitter.StandingUnsupported:
		return "The stream does not take part in receipts, so none will come."
	}
	return ""
}

func stamp(s int64) string { return time.Unix(s, 0).UTC().Format("2006-01-02 15:04:05Z") }
