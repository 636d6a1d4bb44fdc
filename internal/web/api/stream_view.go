package api

import (
	"encoding/json"

	"countersign/internal/hub"
	"countersign/internal/sight"
)

// What is shown of streams, deliveries and orders is worked out in package sight, for this door and for the console.
type (
	StreamInfo     = sight.StreamInfo
	StreamStory    = sight.StreamStory
	StreamDelivery = sight.StreamDelivery
	Answer         = sight.Answer
	Trouble        = sight.Trouble
	ReasonCount    = sight.ReasonCount
	Delivery       = sight.Delivery
	OrderInfo      = sight.OrderInfo
	OrderStory     = sight.OrderStory
	OrderReceipt   = sight.OrderReceipt
	Moment         = sight.Moment
)

// RedriveRequest chooses dead letters to send again.
type RedriveRequest struct {
	Stream string `json:"stream"` // id or name
	JTI    string `json:"jti"`
	Reason string `json:"reason"` // the reason begins so
	All    bool   `json:"all"`    // every one, of every stream
}

// Redriven is the answer to a redrive.
type Redriven struct {
	Redriven int `json:"redriven"`
}

// StatusRequest is a change of a stream's status by an operator.
type StatusRequest struct {
	Status string `json:"status"` // enabled | paused | disabled
	Reason string `json:"reason"`
}

// ExplainRequest is an event that is not sent.
type ExplainRequest struct {
	EventType string          `json:"event_type"`
	SubID     json.RawMessage `json:"sub_id"`
	Event     json.RawMessage `json:"event"`
	Order     json.RawMessage `json:"order"` // as an order with this directive
}

// Explained says whether it would be sent, and what was asked on the way.
type Explained struct {
	Stream string        `json:"stream_id"`
	Sent   bool          `json:"sent"`
	Steps  []ExplainStep `json:"steps"`
}

// ExplainStep is one question on the way of an event to a stream.
type ExplainStep struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Why  string `json:"why"`
}

// SubjectRequest puts one subject on a stream's list or takes it off; exactly one of Add and Remove.
type SubjectRequest struct {
	Add      json.RawMessage `json:"add"`
	Remove   json.RawMessage `json:"remove"`
	Verified *bool           `json:"verified"` // absent: true
}

// SubjectChanged is the answer to it.
type SubjectChanged struct {
	Stream string `json:"stream_id"`
	Op     string `json:"op"` // add | remove
}

// StreamAsked is the answer to a request about a stream that has nothing else to say.
type StreamAsked struct {
	Stream string `json:"stream_id"`
	Client string `json:"client"`
	Asked  string `json:"asked"` // verification | delete
}

// EachRequest asks for one event of each type that a stream delivers.
type EachRequest struct {
	SubID json.RawMessage `json:"sub_id"` // absent: an address at example.com
	TXN   string          `json:"txn"`    // absent: a fresh one, common to all
}

// EachAnswer says what became of each type.
type EachAnswer struct {
	Stream string     `json:"stream_id"`
	TXN    string     `json:"txn"`
	Queued int        `json:"queued"`
	Events []EachSent `json:"events"`
}

// EachSent is one event of it.
type EachSent struct {
	Type    string `json:"event_type"`
	Outcome string `json:"outcome"` // queued | skipped
	JTI     string `json:"jti,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Examination is what the doctor found at a stream.
type Examination struct {
	Stream   string      `json:"stream_id"`
	Name     string      `json:"name,omitempty"`
	Client   string      `json:"client"`
	OK       bool        `json:"ok"` // nothing failed
	At       hub.Micros  `json:"at"`
	Findings []Diagnosis `json:"findings"`
}

// Diagnosis is one thing that the doctor looked at.
type Diagnosis struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok | warn | fail
	Seen   string `json:"seen"`
	Fix    string `json:"fix,omitempty"`
	Side   string `json:"side"` // us | receiver | between
}
