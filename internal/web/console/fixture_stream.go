package console

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

// out is what the fixtures transmit: a sight.Streams and a sight.Outbox.
type out struct {
	views  []transmitter.StreamView
	items  map[int64][]transmitter.Item
	dead   map[int64][]transmitter.DeadLetter
	lines  []transmitter.Delivery
	orders []transmitter.SentOrder
	docs   []hub.Resource
}

// Overview gives every stream that is no attack.
func (o *out) Overview(context.Context) ([]transmitter.StreamView, error) {
	return append([]transmitter.StreamView(nil), o.views[:len(o.views)-1]...), nil // the last one is the hostile one
}

// View gives one of them.
func (o *out) View(_ context.Context, id string) (*transmitter.StreamView, error) {
	for i := range o.views {
		if o.views[i].Stream.ID == id {
			return &o.views[i], nil
		}
	}
	return nil, transmitter.ErrNotFound
}

// Orders gives the orders that a filter chooses, latest first, without the hostile one.
func (o *out) Orders(_ context.Context, f transmitter.OrderFilter) ([]transmitter.SentOrder, error) {
	var all []transmitter.SentOrder
	for _, so := range o.orders[:len(o.orders)-1] {
		if (f.Before == 0 || so.Key < f.Before) && (f.State == "" || f.State == so.State) && (f.DueBefore == 0 || so.CompleteBy != 0 && so.CompleteBy < f.DueBefore) && len(all) < f.N {
			all = append(all, so)
		}
	}
	return all, nil
}

// OrderOf gives one of them.
func (o *out) OrderOf(_ context.Context, ref string) (*transmitter.SentOrder, error) {
	for i := range o.orders {
		if o.orders[i].JTI == ref {
			return &o.orders[i], nil
		}
	}
	return nil, transmitter.ErrNotFound
}

// Next gives what waits on a stream.
func (o *out) Next(_ context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	var all []transmitter.Item
	for _, it := range o.items[stream] {
		if it.Seq > after && len(all) < n {
			all = append(all, it)
		}
	}
	return all, nil
}

// Stream gives one with its credential.
func (o *out) Stream(ctx context.Context, _, id string) (*transmitter.Stream, error) {
	v, err := o.View(ctx, id)
	if err != nil {
		return nil, err
	}
	return &v.Stream, nil
}

// Dead gives what was set aside on a stream.
func (o *out) Dead(_ context.Context, stream int64, n int) ([]transmitter.DeadLetter, error) {
	l := o.dead[stream]
	return l[:min(n, len(l))], nil
}

// Deliveries gives the history.
func (o *out) Deliveries(_ context.Context, f transmitter.DeliveryFilter) ([]transmitter.Delivery, error) {
	var all []transmitter.Delivery
	for _, l := range o.lines {
		if (f.Stream == 0 || f.Stream == l.Stream) && (f.JTI == "" || f.JTI == l.JTI) && (f.TXN == "" || f.TXN == l.TXN) && (f.Outcome == "" || f.Outcome == l.Outcome) && (f.Before == 0 || l.At < f.Before) && (f.From == nil || l.Place().Compare(*f.From) >= 0) && len(all) < f.N {
			all = append(all, l)
		}
	}
	return all, nil
}

func micros(seconds float64) transmitter.Micros { return transmitter.Micros(at(seconds)) }

const (
	crmStream     = "stm_06c1zr2t3v0g9m5a7k8b1n4q2e"
	forumStream   = "stm_06c1zq8m2c0g9m5a7k8b1n4q2f"
	hostileStream = "stm_06c1zm2h8y0g9m5a7k8b1n4q2k"
	quietStream   = "stm_06c1zn4k5x0g9m5a7k8b1n4q2j"
)

// transmitting makes streams in every state, and what happened on them.
func (f *fixtures) transmitting() *out {
	long := strings.Repeat("W", 180)
	one := func(key int64, id, name, client string, change func(*transmitter.StreamView)) transmitter.StreamView {
		v := transmitter.StreamView{Here: true, Stream: transmitter.Stream{Key: key, ID: id, Name: name, Receiver: client, Status: transmitter.Enabled, Method: stream.PushMethod, Audience: []string{"https://hub.example.test/streams/" + id},
			Delivered: []string{revoked, credential}, Created: micros(-90 * 86400), Updated: micros(-86400)}}
		change(&v)
		return v
	}
	push := func(v *transmitter.StreamView, address string) { v.Stream.Endpoint = address }
	poll := func(v *transmitter.StreamView) {
		v.Stream.Method, v.Stream.Endpoint = stream.PollMethod, "https://hub.example.test/ssf/streams/"+v.Stream.ID+"/poll"
	}
	o := &out{items: map[int64][]transmitter.Item{}, dead: map[int64][]transmitter.DeadLetter{}}
	o.views = []transmitter.StreamView{
		one(9, crmStream, "crm", "crm-receiver", func(v *transmitter.StreamView) {
			push(v, "https://crm.example.test/events")
			v.Stream.Description, v.Stream.Authorization, v.Stream.ReceiptIssuer, v.Stream.Algorithm = "sessions and credentials of the sales people", "Bearer x", "https://crm.example.test", "ES256"
			v.Stream.Naming = json.RawMessage(`{"format":"iss_sub","account_at":"keycloak","otherwise":"email"}`)
			v.Counts = transmitter.Counts{Delivered: 148203}
			v.Last, v.P50, v.P99 = transmitter.LastAnswer{At: micros(-4), Status: 202}, 11*time.Millisecond, 64*time.Millisecond
		}),
		one(8, forumStream, "forum", "forum-receiver", func(v *transmitter.StreamView) {
			push(v, "https://forum.example.test/ssf/in?key=s3cret")
			v.Stream.Trouble = transmitter.Trouble{Fails: 7, Since: micros(-1340), Next: micros(51), Reason: "the receiver answers 503"}
			v.Counts = transmitter.Counts{Waiting: 412, Oldest: micros(-1340), Delivered: 9120, Dead: 3}
			v.Last, v.Next, v.InFlight = transmitter.LastAnswer{At: micros(-12), Status: 503, Reason: "the receiver answers 503"}, micros(51), 1
		}),
		one(7, "stm_06c1zs0v7w0g9m5a7k8b1n4q2g", "payroll", "payroll-receiver", func(v *transmitter.StreamView) {
			push(v, "https://payroll.example.test/events")
			v.Stream.Trouble = transmitter.Trouble{Fails: 2, Since: micros(-7200), Next: micros(240), Open: true, Reason: "the receiver answers 401"}
			v.Counts = transmitter.Counts{Waiting: 18, Oldest: micros(-7200), Delivered: 77}
			v.Last, v.Next = transmitter.LastAnswer{At: micros(-60), Status: 401, Reason: "the receiver answers 401"}, micros(240)
		}),
		one(6, "stm_06c1zp1d9r0g9m5a7k8b1n4q2h", "", "analytics", func(v *transmitter.StreamView) {
			poll(v)
			v.Counts = transmitter.Counts{Waiting: 3, Oldest: micros(-2), Delivered: 5120}
			v.Parked, v.Stream.Active = 1, micros(-1)
		}),
		one(5, "stm_06c1zn4k5x0g9m5a7k8b1n4q2i", "archive", "archive", func(v *transmitter.StreamView) {
			poll(v)
			v.Stream.Status, v.Stream.Reason, v.Stream.InactivityTimeout = transmitter.Paused, "the receiver was silent for 30 days", 2592000
			v.Counts = transmitter.Counts{Waiting: 1204, Oldest: micros(-40 * 86400), Delivered: 311}
			v.Stream.Active = micros(-41 * 86400)
		}),
		one(4, quietStream, "", "new-receiver", func(v *transmitter.StreamView) {
			push(v, "https://new.example.test/set")
			v.Stream.DefaultSubjects = stream.DefaultNone
			v.Warnings = []string{"it can deliver nothing: default_subjects is NONE and no subject was added"}
		}),
		one(3, "stm_06c1zl7d2q0g9m5a7k8b1n4q2l", "old-desk", "desk", func(v *transmitter.StreamView) {
			push(v, "https://desk.example.test/events")
			v.Stream.Status, v.Stream.Reason = transmitter.Disabled, "the contract ended"
		}),
		one(2, hostileStream, "", "client \u202egnp.exe "+long, func(v *transmitter.StreamView) {
			push(v, "https://"+strings.Repeat("w", 60)+".example.test/"+long)
			v.Stream.Description = `"><img src=x onerror=alert(1)>` + long
			v.Stream.Trouble = transmitter.Trouble{Fails: 1, Since: micros(-3), Open: true, Reason: "<script>alert(1)</script>\u2066" + long}
			v.Stream.Reason, v.Counts = "<marquee>", transmitter.Counts{Waiting: 1, Oldest: micros(-3), Dead: 1}
			v.Last = transmitter.LastAnswer{At: micros(-1), Status: 400, Reason: "<iframe src=//evil.example>" + long}
			v.Stream.Delivered = []string{"https://evil.example/" + long + "/<script>alert(1)</script>"}
		}),
	}
	o.docs = []hub.Resource{{Kind: hub.KindStream, Name: "warehouse", Spec: json.RawMessage(`{"name":"warehouse","client":"warehouse-receiver","deliver":{"to":"https://warehouse.example.test/events"}}`), Created: at(-600), Updated: at(-600)}}
	letter := func(key int64, reason string, before float64) transmitter.DeadLetter {
		return transmitter.DeadLetter{Item: transmitter.Item{Stream: key, JTI: "set-9"}, Status: 400, Reason: reason, At: micros(-before)}
	}
	o.dead[8] = []transmitter.DeadLetter{letter(8, "invalid_request: the tenant of this person is unknown", 900), letter(8, "expired", 1200), letter(8, "invalid_request: the tenant of this person is unknown", 1300)}
	o.dead[2] = []transmitter.DeadLetter{letter(2, "<marquee>"+long, 2)}
	line := func(key int64, id, jti, typ, txn, outcome, reason string, status, tries int, before float64) transmitter.Delivery {
		return transmitter.Delivery{Stream: key, StreamID: id, JTI: jti, Type: typ, TXN: txn, Outcome: outcome, Reason: reason, Status: status, Tries: tries, First: micros(-before - 1), At: micros(-before)}
	}
	o.lines = []transmitter.Delivery{
		line(9, crmStream, "jwt-4QK7M2", revoked, "txn-8675309", transmitter.Delivered, "", 202, 1, 4),
		line(8, forumStream, "", revoked, "txn-8675309", transmitter.Skipped, "the person has no account at forum", 0, 0, 4),
		line(9, crmStream, "jwt-4QK7M1", credential, "txn-8675301", transmitter.Delivered, "", 202, 3, 64),
		line(2, hostileStream, "<b>X</b>", "https://evil.example/"+long, "<b>X</b>", transmitter.DeadLettered, "<marquee>"+long, 400, 1, 2),
		line(8, forumStream, "jwt-77AA01", revoked, "txn-8675300", transmitter.DeadLettered, "invalid_request: the tenant of this person is unknown", 400, 1, 900),
		line(8, forumStream, "jwt-77AA00", revoked, "txn-8675299", transmitter.Delivered, "", 202, 1, 1350),
	}
	o.items[8] = []transmitter.Item{{Stream: 8, Seq: 1, JTI: "jwt-77AA02", IssuedAt: fixtureTime - 3, Event: &transmitter.Event{Type: revoked, TXN: "txn-8675310", At: micros(-3)}}}
	o.orders = f.ordering(long)
	return o
}

// ordering makes orders in every standing.
func (f *fixtures) ordering(long string) []transmitter.SentOrder {
	sent := func(key int64, jti, id, client, typ, directive string, issued int64, state string) transmitter.SentOrder {
		c := set.Claims{Issuer: "https://hub.example.test", Audience: []string{"https://hub.example.test/streams/" + id}, IssuedAt: fixtureTime + issued, ID: jti, TXN: "txn-8675309", SubID: json.RawMessage(`{"format":"iss_sub","iss":"https://idp.example.test/realms/acme","sub":"99beb27c"}`),
			Events: []set.Event{{Type: typ, Payload: json.RawMessage(`{"initiating_entity":"policy","event_timestamp":1789462795}`)}}, Extra: []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(directive)}}}
		o := transmitter.SentOrder{Key: key, JTI: jti, Receiver: client, Stream: id, ReceiptIssuer: "https://crm.example.test", ReceiptAudience: c.Issuer, EventType: typ, TXN: c.TXN, IssuedAt: c.IssuedAt, State: state, When: "all"}
		if payload, err := c.Marshal(); err == nil {
			o.Input = f.signer.Input(payload)
			o.SetHash = set.Address(o.Input)
		}
		var d receipt.Directive
		if json.Unmarshal(json.RawMessage(directive), &d) == nil {
			o.InterimBy, o.CompleteBy = d.InterimBy, d.CompleteBy
		}
		if state == transmitter.OrderDelivered || state == transmitter.OrderRejected {
			o.Arrived = micros(float64(issued) + 0.2)
		}
		return o
	}
	by := func(interim, complete int64) string {
		d := map[string]any{"obligation": "must", "actions": []any{map[string]any{"id": "a1", "action": "revoke_sessions", "params": map[string]any{"reach": "global"}}, map[string]any{"id": "a2", "action": "reauthenticate", "optional": true}}, "receipt": map[string]any{"when": "all", "evidence": "verified"}}
		if interim != 0 {
			d["interim_by"] = fixtureTime + interim
		}
		if complete != 0 {
			d["complete_by"] = fixtureTime + complete
		}
		raw, _ := json.Marshal(d)
		return string(raw)
	}
	kept := func(o *transmitter.SentOrder, seq int, stage, outcome string, at float64, lines []receipt.Line, totals receipt.Totals) transmitter.KeptReceipt {
		sig := &hub.Signal{ID: o.JTI, Source: o.Receiver, Issuer: o.ReceiptAudience, JTI: o.JTI, EventType: o.EventType, SetHash: o.SetHash}
		r := f.receipt("rct-"+o.JTI+itoa(seq), "CR-9M4T2X7Q", seq, stage, sig, "accepted", lines, totals, outcome)
		return transmitter.KeptReceipt{JTI: r.JTI, Issuer: o.ReceiptIssuer, Number: r.ReceiptNo, Seq: seq, Stage: stage, Outcome: outcome, Hash: r.Hash, IssuedAt: fixtureTime + int64(at), Compact: r.Token, Accepted: micros(at + 0.4)}
	}
	full := sent(8, "ord-7Q2MZK4VXW3N9RTD", crmStream, "crm-receiver", revoked, by(-30, -10), -60, transmitter.OrderDelivered)
	full.Receipts = []transmitter.KeptReceipt{
		kept(&full, 1, "interim", "pending", -40, []receipt.Line{line("a1.1", "crm", "pending", "in_queue", 0, 2)}, receipt.Totals{Requested: 2, Lines: 1, Pending: 1}),
		kept(&full, 2, "final", "fulfilled", -20, []receipt.Line{line("a1.1", "crm", "succeeded", "done", 2, 2), line("a2.1", "crm", "skipped", "already_in_state", 0, 0)}, receipt.Totals{Requested: 2, Lines: 2, Succeeded: 1, Skipped: 1})}
	overdue := sent(7, "ord-B8C1D6H2J5P9K3W4", crmStream, "crm-receiver", credential, by(0, -1200), -4800, transmitter.OrderDelivered)
	late := sent(6, "ord-M4N7P0R3T6Q1X8Y2", crmStream, "crm-receiver", revoked, by(-100, 3000), -400, transmitter.OrderDelivered)
	queued := sent(5, "ord-queued00000000000", forumStream, "forum-receiver", revoked, by(0, 600), -3, transmitter.OrderQueued)
	refused := sent(4, "ord-refused0000000000", forumStream, "forum-receiver", credential, by(0, 900), -900, transmitter.OrderRejected)
	disputed := sent(3, "ord-disputed000000000", crmStream, "crm-receiver", revoked, by(0, -80000), -90000, transmitter.OrderDelivered)
	disputed.Disputed = "two receipts of seq 1 say different things"
	disputed.Receipts = []transmitter.KeptReceipt{kept(&disputed, 1, "final", "fulfilled", -89000, []receipt.Line{line("a1.1", "crm", "succeeded", "done", 1, 1)}, receipt.Totals{Requested: 1, Lines: 1, Succeeded: 1})}
	withdrawn := sent(2, "ord-withdrawn00000000", crmStream, "crm-receiver", revoked, by(0, 0), -7200, transmitter.OrderDelivered)
	withdrawn.Withdrawn, withdrawn.WithdrawnWhy = micros(-7100), "the alarm was false"
	hostile := sent(1, "ord-<b>X</b>", hostileStream, "client \u202egnp.exe "+long, "https://evil.example/"+long, `{"obligation":"<script>alert(1)</script>`+long+`","actions":[]}`, -90, transmitter.OrderDelivered)
	hostile.TXN, hostile.WithdrawnWhy, hostile.Withdrawn = `"><img src=x onerror=alert(1)>`, "<marquee>\u202e"+long, micros(-80)
	hostile.Receipts = []transmitter.KeptReceipt{kept(&hostile, 1, "final", "partial", -70, []receipt.Line{line("a1.1", "wiki\u202e"+long, "failed", "policy_declined", 0, 1)}, receipt.Totals{Requested: 1, Lines: 1, Failed: 1})}
	return []transmitter.SentOrder{full, overdue, late, queued, refused, disputed, withdrawn, hostile}
}

// transmitPages renders the pages of streams and orders in every state.
func (f *fixtures) transmitPages(u *User, add func(name, page string, view any)) {
	c, o := f.console, f.out
	ctx := context.Background()
	now := c.c.Now()
	fault := func(context.Context, *hub.Resource) string {
		return "there is no client warehouse-receiver"
	}
	all, err := sight.All(ctx, o, o.docs, fault, hub.At(now))
	if err != nil {
		panic(err)
	}
	add("stream-list", "stream_list", c.streamList(u, "", 0, all))
	add("stream-list-hostile", "stream_list", c.streamList(u, "", 0, []sight.StreamInfo{sight.InfoOf(&o.views[len(o.views)-1], hub.At(now))}))
	add("stream-list-failing", "stream_list", c.streamList(u, "failing", 0, all))
	add("stream-list-nothing", "stream_list", c.streamList(u, "waiting", 0, nil))
	add("stream-list-empty", "stream_list", c.streamList(u, "", 0, nil))
	for i, name := range []string{"healthy", "failing", "stopped", "polling", "paused", "quiet", "disabled", "hostile"} {
		s, err := sight.StoryOf(ctx, &o.views[i], o, hub.At(now))
		if err != nil {
			panic(err)
		}
		add("stream-"+name, "stream_show", c.streamShow(u, s))
	}
	add("stream-missing", "stream_show", c.streamShow(u, &sight.StreamStory{StreamInfo: sight.MissingStream(&o.docs[0], fault(ctx, nil))}))
	names, _ := sight.StreamNames(ctx, o)
	var infos []sight.OrderInfo
	for i := range o.orders {
		so := &o.orders[i]
		infos = append(infos, sight.OrderInfoOf(so, names[so.Stream], now))
	}
	add("order-list", "order_list", c.orderList(u, "", 0, 1, infos[:len(infos)-1]))
	add("order-list-hostile", "order_list", c.orderList(u, "", 9, 0, infos[len(infos)-1:]))
	add("order-list-nothing", "order_list", c.orderList(u, "overdue", 0, 0, nil))
	add("order-list-empty", "order_list", c.orderList(u, "", 0, 0, nil))
	for i, name := range []string{"fulfilled", "overdue", "late", "queued", "refused", "disputed", "withdrawn", "hostile"} {
		s, err := sight.OrderStoryOf(ctx, &o.orders[i], o, o, now, true)
		if err != nil {
			panic(err)
		}
		add("order-"+name, "order_show", c.orderShow(u, s))
	}
}
