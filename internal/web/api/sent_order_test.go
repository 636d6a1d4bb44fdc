package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

func TestOrders(t *testing.T) {
	b := newBench(t)
	w := b.here()
	w.orders[0].Receipts = []transmitter.KeptReceipt{b.receiptFor(b.signer, &w.orders[0])}
	overdue := w.orders[1]
	overdue.Key, overdue.JTI, overdue.State, overdue.CompleteBy, overdue.Receiver, overdue.Stream = 3, "ord-11", transmitter.OrderDelivered, start.Unix()-60, "other-receiver", "stm-gone"
	w.orders = append(w.orders, overdue)
	read := func(query string) (out []string, next string) {
		t.Helper()
		var l page[OrderInfo]
		b.decode(b.want(200, b.get("/orders?"+query, b.tokens["reader"])), &l)
		for _, o := range l.Items {
			out = append(out, fmt.Sprintf("%s %s %s %v", o.JTI, o.Name, o.Standing, o.Overdue))
		}
		return out, l.Next
	}
	all := []string{"ord-11  acknowledged true", "ord-10 crm queued false", "ord-9 crm receipted false"}
	for query, want := range map[string][]string{"": all, "state=queued": all[1:2], "state=receipted": all[2:], "overdue=true": all[:1], "overdue=false": all, "client=other-receiver": all[:1], "stream=crm": all[1:], "stream=stm-gone": all[:1], "txn=other": nil, "state=disputed": nil} {
		if got, _ := read(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v", query, got)
		}
	}
	var seen []string
	for query := "limit=1"; ; {
		some, next := read(query)
		seen = append(seen, some...)
		if next == "" || len(seen) > 9 {
			break
		}
		query = "limit=1&after=" + next
	}
	if !slices.Equal(seen, all) {
		t.Errorf("by pages: %v", seen)
	}
	for query, words := range map[string]string{"state=sent": "there is no state", "overdue=yes": "there is no overdue", "after=sig_1": "not from a page", "after=ord_x": "not from a page", "after=ord_-1": "not from a page"} {
		b.refused(400, hub.Invalid, words, b.get("/orders?"+query, b.operator))
	}
}

// An order is told in sentences: who was told, what was ordered, what came back, what is missing and until when.
func TestOrderStory(t *testing.T) {
	b := newBench(t)
	w := b.here()
	kept := b.receiptFor(b.signer, &w.orders[0])
	tell := func(token, ref string) (s OrderStory, text string) {
		t.Helper()
		b.decode(b.want(200, b.get("/orders/"+ref, token)), &s)
		return s, strings.Join(s.Explanation, " ")
	}
	s, text := tell(b.operator, "ord-9")
	for _, part := range []string{"Client receiver was told on stream crm", "It orders: revoke sessions", "(must), by 2026-09-15 08:58:20Z", "No receipt came back.", "The final receipt was due at 2026-09-15 08:58:20Z and has not come."} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
	var what []string
	for _, m := range s.Timeline {
		what = append(what, m.What)
	}
	if !slices.Equal(what, []string{"due", "issued", "delivered"}) || !strings.Contains(s.Timeline[2].Text, "at try 2") || !s.Overdue || s.Directive == nil || s.SubID == nil || strings.Contains(string(s.Event), "directive") {
		t.Errorf("%v %+v", what, s)
	}
	w.orders[0].Receipts = []transmitter.KeptReceipt{kept}
	s, text = tell(b.operator, w.orders[0].SetHash)
	for _, part := range []string{"1 receipt came back; the latest, CS-7F3K9Q2M seq 1", "is final and says: fulfilled.", "Of 1 line: 1 done", "Nothing is missing"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
	if len(s.Answers) != 1 || s.Answers[0].Token == "" || s.Answers[0].Body == nil || s.Outcome != "fulfilled" {
		t.Errorf("%+v", s.Answers)
	}
	// The receipt as it came has a scope of its own.
	if s, _ = tell(b.tokens["reader"], "ord-9"); s.Answers[0].Token != "" || s.Answers[0].Body == nil {
		t.Errorf("%+v", s.Answers[0])
	}
	now := transmitter.At(start)
	for name, c := range map[string]struct {
		change func(*transmitter.SentOrder)
		words  string
	}{
		"queued":    {func(*transmitter.SentOrder) {}, "It is still to be delivered: countersign stream show crm"},
		"expired":   {func(o *transmitter.SentOrder) { o.State = transmitter.OrderExpired }, "waited too long"},
		"dropped":   {func(o *transmitter.SentOrder) { o.State = transmitter.OrderDropped }, "taken off stream crm"},
		"rejected":  {func(o *transmitter.SentOrder) { o.State = transmitter.OrderRejected }, "refused the order on stream crm"},
		"withdrawn": {func(o *transmitter.SentOrder) { o.Withdrawn, o.WithdrawnWhy = now, "a mistake" }, "It was withdrawn at 2026-09-15 09:00:00Z: a mistake."},
		"disputed":  {func(o *transmitter.SentOrder) { o.Disputed = "two receipts of one seq" }, "somebody must decide: two receipts of one seq."},
		"gone":      {func(o *transmitter.SentOrder) { o.Stream = "stm-gone" }, "stream stm-gone, which is gone,"},
		"in time":   {func(o *transmitter.SentOrder) { o.State = transmitter.OrderDelivered }, "The final receipt is due by 2026-09-15 09:10:00Z."},
		"no time":   {func(o *transmitter.SentOrder) { o.State, o.CompleteBy = transmitter.OrderDelivered, 0 }, "sets it no time"},
		"legacy":    {func(o *transmitter.SentOrder) { o.State, o.ReceiptIssuer = transmitter.OrderDelivered, "" }, "does not take part in receipts"},
		"late": {func(o *transmitter.SentOrder) {
			o.State, o.InterimBy, o.When = transmitter.OrderDelivered, start.Unix()-10, "all"
		}, "The first receipt was due at 2026-09-15 08:59:50Z and has not come."},
		"silence": {func(o *transmitter.SentOrder) {
			o.State, o.CompleteBy, o.When = transmitter.OrderDelivered, start.Unix()-10, "exceptions"
		}, "that confirms nothing"},
		"closed": {func(o *transmitter.SentOrder) {
			o.State, o.CompleteBy = transmitter.OrderDelivered, start.Add(-transmitter.Grace-time.Hour).Unix()
		}, "the order is closed"},
		"broken": {func(o *transmitter.SentOrder) { o.Input = "x" }, "ordered that the receiver answers with a receipt"},
	} {
		saved := w.orders[1]
		c.change(&w.orders[1])
		if _, text := tell(b.operator, "ord-10"); !strings.Contains(text, c.words) {
			t.Errorf("%s: %q lacks %q", name, text, c.words)
		}
		w.orders[1] = saved
	}
	b.refused(404, hub.NotFound, "there is no order", b.get("/orders/ord-404", b.operator))
}

func TestWithdraw(t *testing.T) {
	b := newBench(t)
	var s OrderStory
	b.decode(b.want(200, b.post("/orders/ord-10/withdraw", b.tokens["deployer"], `{"reason_admin":"a mistake"}`)), &s)
	if s.Standing != transmitter.StandingWithdrawn || s.WithdrawnWhy != "a mistake" || !slices.Equal(b.here().asked, []string{"withdraw ord-10 a mistake"}) {
		t.Errorf("%+v %v", s, b.here().asked)
	}
	b.refused(409, hub.Conflict, "can no longer be withdrawn: it is withdrawn", b.post("/orders/ord-10/withdraw", b.operator, ""))
	b.want(200, b.post("/orders/ord-9/withdraw", b.operator, ""))
	for body, words := range map[string]string{`{"reason_admin":"a\nb"}`: "reason_admin must", `{"reason":"x"}`: "unknown member", `[]`: "must be a JSON object"} {
		b.refused(400, hub.Invalid, words, b.post("/orders/ord-9/withdraw", b.operator, body))
	}
	b.refused(404, hub.NotFound, "there is no order", b.post("/orders/nothing/withdraw", b.operator, ""))
}
