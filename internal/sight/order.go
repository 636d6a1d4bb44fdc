package sight

import (
	"context"
	"encoding/json"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// OrderInfo is an order that we sent, as a list shows it.
type OrderInfo struct {
	JTI        string     `json:"jti"`
	SetHash    string     `json:"set_hash"` // content address
	Stream     string     `json:"stream_id"`
	Name       string     `json:"stream,omitempty"` // its name, where it is there and has one
	Client     string     `json:"client"`
	Type       string     `json:"event_type"`
	TXN        string     `json:"txn,omitempty"`
	IssuedAt   int64      `json:"iat"` // seconds
	InterimBy  int64      `json:"interim_by,omitempty"`
	CompleteBy int64      `json:"complete_by,omitempty"`
	When       string     `json:"receipt_when,omitempty"`
	Standing   string     `json:"standing"` // queued | acknowledged | rejected | in_progress | receipted | closed_unreceipted | unreceiptable | disputed | dropped | expired | withdrawn
	Outcome    string     `json:"outcome,omitempty"`
	Late       bool       `json:"late"`    // a receipt was due and came late, or has not come
	Overdue    bool       `json:"overdue"` // complete_by passed without it
	Why        string     `json:"why,omitempty"`
	Arrived    hub.Micros `json:"arrived_at,omitempty"`
	Withdrawn  hub.Micros `json:"withdrawn_at,omitempty"`
	Receipts   int        `json:"receipts"`
}

// OrderStory is an order with everything that came of it.
type OrderStory struct {
	OrderInfo
	ReceiptIssuer   string          `json:"receipt_issuer"`
	ReceiptAudience string          `json:"receipt_audience"`
	WithdrawnWhy    string          `json:"withdrawn_why,omitempty"`
	Disputed        string          `json:"disputed,omitempty"`
	SubID           json.RawMessage `json:"sub_id,omitempty"`
	Event           json.RawMessage `json:"event,omitempty"`
	Directive       json.RawMessage `json:"directive,omitempty"`
	Timeline        []Moment        `json:"timeline"`
	Answers         []OrderReceipt  `json:"answers"`
	Explanation     []string        `json:"explanation"` // in sentences
}

// Moment is one thing that happened to an order.
type Moment struct {
	At   hub.Micros `json:"at"`
	What string     `json:"what"` // issued | delivered | rejected | dropped | expired | withdrawn | receipt
	Text string     `json:"text"`
}

// OrderReceipt is a receipt as the receiver sent it.
type OrderReceipt struct {
	JTI      string          `json:"jti"`
	Number   string          `json:"receipt_no"`
	Seq      int             `json:"seq"`
	Stage    string          `json:"stage"`
	Outcome  string          `json:"outcome"`
	Hash     string          `json:"set_hash"`
	IssuedAt int64           `json:"iat"`
	Accepted hub.Micros      `json:"accepted_at"`
	Gap      bool            `json:"gap"`  // one before it is missing
	Late     bool            `json:"late"` // filed as history: it did not change the state of the order
	Body     json.RawMessage `json:"body,omitempty"`
	Token    string          `json:"token,omitempty"` // as it came; scope signals.token
}

// Standings are the states of an order that we sent (receipts design §6.7).
var Standings = []string{transmitter.StandingQueued, transmitter.StandingAcknowledged, transmitter.StandingRejected, transmitter.StandingInProgress, transmitter.StandingReceipted,
	transmitter.StandingUnanswered, transmitter.StandingUnsupported, transmitter.StandingDisputed, transmitter.StandingDropped, transmitter.StandingExpired, transmitter.StandingWithdrawn}

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
