package api

import (
	"encoding/json"

	"countersign/internal/hub"
)

// StreamInfo is a stream as a list shows it. Secrets are not in it: of a push endpoint the scheme, host and path.
type StreamInfo struct {
	ID          string         `json:"stream_id"`      // empty: the resource is there and no stream could be made of it
	Name        string         `json:"name,omitempty"` // of the resource; absent where the receiver made the stream
	Set         string         `json:"set,omitempty"`
	Client      string         `json:"client"`
	Description string         `json:"description,omitempty"`
	Status      string         `json:"status"` // enabled | paused | disabled | missing
	Reason      string         `json:"reason,omitempty"`
	Health      string         `json:"health"` // ok | waiting | failing | stopped | paused | disabled | missing
	Why         string         `json:"why,omitempty"`
	Step        string         `json:"next_step,omitempty"` // what to do about it
	Delivery    StreamDelivery `json:"delivery"`
	Audience    []string       `json:"audience"`
	Requested   []string       `json:"events_requested,omitempty"`
	Delivered   []string       `json:"events_delivered"`
	Algorithm   string         `json:"alg,omitempty"` // absent: the transmitter's default
	Window      int            `json:"window,omitempty"`
	Subjects    string         `json:"default_subjects"` // ALL | NONE
	Naming      any            `json:"subject,omitempty"`
	Receipts    bool           `json:"receipts"` // orders may be sent on it
	Issuer      string         `json:"receipt_issuer,omitempty"`
	Shape       string         `json:"shape,omitempty"` // of an older draft
	MinVerify   int64          `json:"min_verification_interval,omitempty"`
	Inactivity  int64          `json:"inactivity_timeout,omitempty"`
	Active      hub.Micros     `json:"active_at,omitempty"` // the receiver's latest activity
	Created     hub.Micros     `json:"created_at,omitempty"`
	Updated     hub.Micros     `json:"updated_at,omitempty"`

	Waiting  int64      `json:"waiting"`
	Oldest   hub.Micros `json:"oldest_at,omitempty"` // since when the oldest one waits
	Sent     int64      `json:"delivered"`
	Dead     int64      `json:"dead"`
	Entries  int64      `json:"subjects"` // entries of its subject list
	InFlight int        `json:"in_flight"`
	Parked   int        `json:"parked"` // polls that are held open
	Last     *Answer    `json:"last,omitempty"`
	Trouble  *Trouble   `json:"trouble,omitempty"`
	Next     hub.Micros `json:"next_at,omitempty"` // when it is tried again
	P50      float64    `json:"p50_ms,omitempty"`  // from planned to accepted, of this process
	P99      float64    `json:"p99_ms,omitempty"`
	Here     bool       `json:"here"` // the process that answers delivers it
	Warnings []string   `json:"warnings"`
}

// StreamDelivery says how a stream's SETs travel.
type StreamDelivery struct {
	Method        string `json:"method"` // push | poll
	Endpoint      string `json:"endpoint,omitempty"`
	Authorization bool   `json:"authorization"` // a header value is set; it is never shown
}

// Answer is the latest answer of a receiver.
type Answer struct {
	At     hub.Micros `json:"at"`
	Status int        `json:"status,omitempty"` // absent: there was no answer
	Reason string     `json:"reason,omitempty"` // absent: it took the SET
}

// Trouble is a stream's back-off.
type Trouble struct {
	Fails  int        `json:"fails"` // tries in a row
	Since  hub.Micros `json:"since_at,omitempty"`
	Open   bool       `json:"open"` // a fault of the stream's set-up: probed at long intervals until it is put right
	Reason string     `json:"reason,omitempty"`
}

// StreamStory is a stream with what happened on it lately.
type StreamStory struct {
	StreamInfo
	DeadBy []ReasonCount `json:"dead_by_reason"` // of the latest 500 dead letters
	Recent []Delivery    `json:"recent"`         // the latest 20 that were delivered, set aside or skipped
	Skips  []Delivery    `json:"skips"`          // the latest 20 that were skipped
}

// ReasonCount is how many dead letters have a reason.
type ReasonCount struct {
	Reason string     `json:"reason"`
	Count  int        `json:"count"`
	Latest hub.Micros `json:"latest_at"`
}

// Delivery is one SET on one stream: on its way, delivered, set aside or skipped.
type Delivery struct {
	Stream  string     `json:"stream_id,omitempty"` // absent: the stream is gone
	Name    string     `json:"stream,omitempty"`    // its name, where it has one
	Client  string     `json:"client,omitempty"`
	JTI     string     `json:"jti,omitempty"` // absent: skipped
	Type    string     `json:"event_type,omitempty"`
	TXN     string     `json:"txn,omitempty"`
	Outcome string     `json:"outcome"`          // waiting | delivered | dead | skipped
	Status  int        `json:"status,omitempty"` // HTTP status of the answer
	Reason  string     `json:"reason,omitempty"`
	Tries   int        `json:"tries,omitempty"` // of the process that ended it
	First   hub.Micros `json:"first_at,omitempty"`
	At      hub.Micros `json:"at"`                 // of a waiting one: since when
	Back    bool       `json:"redriven,omitempty"` // a dead letter that was put back since
}

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
