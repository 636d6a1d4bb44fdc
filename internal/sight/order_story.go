package sight

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

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
	slices.SortStableFunc(a.Timeline, func(x, y Moment) int { return cmp.Compare(x.At, y.At) })
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
