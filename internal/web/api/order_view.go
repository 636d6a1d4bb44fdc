package api

import (
	"encoding/json"

	"countersign/internal/hub"
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

// WithdrawRequest takes an order back.
type WithdrawRequest struct {
	ReasonAdmin string `json:"reason_admin"`
}

// KeyInfo is a signing key of ours.
type KeyInfo struct {
	KID        string          `json:"kid"`
	Alg        string          `json:"alg"`
	State      string          `json:"state"` // next | active | retiring | retired | compromised
	Thumbprint string          `json:"thumbprint"`
	JWK        json.RawMessage `json:"jwk"`
	Created    hub.Micros      `json:"created_at,omitempty"`
	ActiveAt   hub.Micros      `json:"active_at,omitempty"` // of a next one: when it begins to sign
	Waiting    int64           `json:"waiting"`             // rows that will be signed with it
	Reissued   int             `json:"reissued,omitempty"`  // in the answer to a retirement: rows that another key signs now
}

// RotateRequest asks for a new signing key.
type RotateRequest struct {
	Alg string `json:"alg"` // absent: RS256
	Now bool   `json:"now"` // sign with it at once, without the time in which receivers' caches learn it
}

// RetireRequest ends a key.
type RetireRequest struct {
	Compromised bool `json:"compromised"` // nothing more is signed with it, and it is no longer published
}
