package receipt

import "encoding/json"

// Settings is the object under the settings member, in transmitter metadata (design §3.1) and in a stream
// configuration (§3.2). Which members are REQUIRED depends on the side: see CheckMetadata, CheckRequest, CheckAnswer.
type Settings struct {
	// Transmitter metadata.
	Endpoint        string      `json:"action_receipt_endpoint,omitempty"` // also in the answer
	DeliveryMethods []string    `json:"receipt_delivery_methods_supported,omitempty"`
	DirectiveEvents []string    `json:"directive_events_supported,omitempty"`
	Actions         []string    `json:"actions_supported,omitempty"` // in the answer: what it may order on this stream
	Algorithms      []string    `json:"receipt_signing_alg_values_supported,omitempty"`
	MaxReceiptBytes int         `json:"max_receipt_bytes,omitempty"` // 0: 262144
	Log             *LogSetting `json:"receipt_log,omitempty"`
	// What the receiver supplies.
	Capabilities  []Capability    `json:"capabilities,omitempty"`
	ReceiptIssuer string          `json:"receipt_issuer,omitempty"`
	JWKSURI       string          `json:"receipt_jwks_uri,omitempty"`
	JWKS          json.RawMessage `json:"receipt_jwks,omitempty"`
	Delivery      string          `json:"receipt_delivery,omitempty"` // push | stream
	// What the transmitter adds in the answer.
	Status          string `json:"status,omitempty"` // active | declined
	ReceiptAudience string `json:"receipt_audience,omitempty"`
}

// Capability is one action a receiver can do.
type Capability struct {
	Action         string   `json:"action"`
	EventTypes     []string `json:"event_types,omitempty"`
	TypicalSeconds int      `json:"typical_seconds,omitempty"`
	Approval       string   `json:"approval,omitempty"` // none | may | always
	Evidence       string   `json:"evidence,omitempty"` // best level
}

// LogSetting names the log where a party records orders and receipts (design §9.2, reserved).
type LogSetting struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	URL    string `json:"url"`
}

// MaxReceiptBytes is the limit where settings do not say another.
const MaxReceiptBytes = 262144

const (
	StatusActive   = "active"
	StatusDeclined = "declined"
	DeliveryPush   = "push"
	DeliveryStream = "stream"
)

// ParseSettings reads a settings member.
func ParseSettings(raw json.RawMessage) (Settings, error) { panic("receipt") }

// Marshal writes it.
func (s Settings) Marshal() (json.RawMessage, error) { return marshal(s) }

// Answer is the transmitter's side.
func Answer(ours, theirs Settings) (Settings, error) { panic("receipt") }

// Offered is the receiver's first look at metadata: the first of vs that the transmitter publishes.
func Offered(extra map[string]json.RawMessage, vs ...Vocabulary) (Settings, Vocabulary, bool) {
	panic("receipt")
}

// Agreed reads the answer to a create, replace or update.
func Agreed(extra map[string]json.RawMessage, v Vocabulary) (Settings, bool) { panic("receipt") }

func (s Settings) CheckMetadata() error { panic("receipt") }
func (s Settings) CheckRequest() error  { panic("receipt") }
func (s Settings) CheckAnswer() error   { panic("receipt") }

// May reports whether the action may be ordered.
func (s Settings) May(action string) bool { panic("receipt") }
