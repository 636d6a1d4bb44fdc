package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"countersign/internal/strictjson"
)

// ErrSettings is wrapped by every error about a settings member.
var ErrSettings = errors.New("receipt: settings")

// Settings is the object under the settings member, in transmitter metadata (design §3.1) and in a stream
// configuration (§3.2). Which members are REQUIRED depends on the side (A41): see CheckMetadata,
// CheckRequest and CheckAnswer. Empty arrays are left out.
type Settings struct {
	// Transmitter metadata.
	Endpoint        string      `json:"action_receipt_endpoint,omitempty"` // takes receipts by push; also in the answer
	DeliveryMethods []string    `json:"receipt_delivery_methods_supported,omitempty"`
	DirectiveEvents []string    `json:"directive_events_supported,omitempty"`
	Actions         []string    `json:"actions_supported,omitempty"` // in the answer: what may be ordered on this stream
	Algorithms      []string    `json:"receipt_signing_alg_values_supported,omitempty"`
	MaxReceiptBytes int         `json:"max_receipt_bytes,omitempty"` // 0: MaxReceiptBytes
	Log             *LogSetting `json:"receipt_log,omitempty"`
	// What the receiver supplies.
	ReceiptIssuer string          `json:"receipt_issuer,omitempty"`
	JWKSURI       string          `json:"receipt_jwks_uri,omitempty"`
	JWKS          json.RawMessage `json:"receipt_jwks,omitempty"`
	Delivery      string          `json:"receipt_delivery,omitempty"` // DeliveryPush or DeliveryStream
	Capabilities  []Capability    `json:"capabilities,omitempty"`
	// What the transmitter adds in its answer.
	Status          string `json:"status,omitempty"` // StatusActive or StatusDeclined
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

// LogSetting names the log where a party records orders and receipts (design §9.2; reserved, B6).
type LogSetting struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	URL    string `json:"url"`
}

// MaxReceiptBytes is the size limit of a receipt where the metadata names none: octets of the compact JWS,
// attachments inside (A42).
const MaxReceiptBytes = 262144

// Words of the settings member.
const (
	StatusActive   = "active"
	StatusDeclined = "declined"
	DeliveryPush   = "push"
	DeliveryStream = "stream"
)

// ParseSettings reads a settings member and holds it to the schema; it does not know which side wrote it.
func ParseSettings(raw json.RawMessage) (Settings, error) {
	var s Settings
	if err := strictjson.Check(raw, strictjson.Limits{NoFloats: true}); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	t, err := tree(raw)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if err := settingsSchema(t); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	if err := decode(raw, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return s, nil
}

// Marshal writes the member's value.
func (s Settings) Marshal() (json.RawMessage, error) { return marshal(s) }

// CheckMetadata holds s to what transmitter metadata requires (design §3.1).
func (s Settings) CheckMetadata() error {
	switch {
	case len(s.DeliveryMethods) == 0:
		return lacks("receipt_delivery_methods_supported")
	case len(s.DirectiveEvents) == 0:
		return lacks("directive_events_supported")
	case len(s.Actions) == 0:
		return lacks("actions_supported")
	case len(s.Algorithms) == 0:
		return lacks("receipt_signing_alg_values_supported")
	case slices.Contains(s.DeliveryMethods, DeliveryPush) && s.Endpoint == "":
		return lacks("action_receipt_endpoint, which push needs")
	}
	return nil
}

// CheckRequest holds s to what a receiver has to supply (design §3.2).
func (s Settings) CheckRequest() error {
	switch {
	case s.ReceiptIssuer == "":
		return lacks("receipt_issuer")
	case (s.JWKSURI == "") == (s.JWKS == nil):
		return fmt.Errorf("%w: needs exactly one of receipt_jwks_uri and receipt_jwks", ErrSettings)
	case s.Delivery == "":
		return lacks("receipt_delivery")
	}
	return nil
}

// CheckAnswer holds s to what a transmitter has to answer (design §3.2). A declined answer needs no more
// than its status.
func (s Settings) CheckAnswer() error {
	switch {
	case s.Status == "":
		return lacks("status")
	case s.Status == StatusDeclined:
		return nil
	case s.ReceiptAudience == "":
		return lacks("receipt_audience")
	case s.Delivery == DeliveryPush && s.Endpoint == "":
		return lacks("action_receipt_endpoint")
	}
	return s.CheckRequest()
}

func lacks(name string) error { return fmt.Errorf("%w: lacks %s", ErrSettings, name) }

// Answer is the transmitter's side of the negotiation (design §3.2). ours is its metadata, with
// ReceiptAudience set to the aud it wants (by default its issuer); theirs is the object in the receiver's
// request. It returns the object to echo: theirs, with status, actions_supported, receipt_audience and the
// endpoint. An error means that the request is malformed and deserves a 400; what is well formed and cannot
// be served is an answer with status declined.
func Answer(ours, theirs Settings) (Settings, error) {
	if err := theirs.CheckRequest(); err != nil {
		return Settings{}, err
	}
	if ours.ReceiptAudience == "" {
		return Settings{}, lacks("receipt_audience of ours")
	}
	a := Settings{ReceiptIssuer: theirs.ReceiptIssuer, JWKSURI: theirs.JWKSURI, JWKS: theirs.JWKS,
		Delivery: theirs.Delivery, Capabilities: theirs.Capabilities, ReceiptAudience: ours.ReceiptAudience}
	for _, action := range ours.Actions {
		able := slices.ContainsFunc(theirs.Capabilities, func(c Capability) bool { return c.Action == action })
		if able && !slices.Contains(a.Actions, action) {
			a.Actions = append(a.Actions, action)
		}
	}
	a.Status = StatusActive
	if len(a.Actions) == 0 || !slices.Contains(ours.DeliveryMethods, theirs.Delivery) {
		a.Status, a.Actions = StatusDeclined, nil
	}
	if a.Delivery == DeliveryPush {
		a.Endpoint = ours.Endpoint
	}
	return a, nil
}

// Offered is the receiver's first look at a transmitter's metadata: of its own vocabularies vs, in order of
// preference, the first that the transmitter publishes well-formed settings for. false: a legacy peer, to
// which nothing about receipts may be sent.
func Offered(extra map[string]json.RawMessage, vs ...Vocabulary) (Settings, Vocabulary, bool) {
	for _, v := range vs {
		raw := extra[v.Settings]
		if raw == nil {
			continue
		}
		if s, err := ParseSettings(raw); err == nil && s.CheckMetadata() == nil {
			return s, v, true
		}
	}
	return Settings{}, Vocabulary{}, false
}

// Agreed is the receiver's reading of the configuration that a create, replace or update returned. Only an
// answer under the same key with status active is an agreement; no echo means a legacy peer (design §3.3).
func Agreed(extra map[string]json.RawMessage, v Vocabulary) (Settings, bool) {
	raw := extra[v.orDefault().Settings]
	if raw == nil {
		return Settings{}, false
	}
	s, err := ParseSettings(raw)
	if err != nil || s.Status != StatusActive || s.CheckAnswer() != nil {
		return Settings{}, false
	}
	return s, true
}

// Requested is the transmitter's reading of a create, replace or update: the settings under the one
// vocabulary of vs that the receiver answers with. false and nil: the receiver wants no receipts. An error:
// malformed, or more than one vocabulary (design §2).
func Requested(extra map[string]json.RawMessage, vs ...Vocabulary) (Settings, Vocabulary, bool, error) {
	var s Settings
	var chosen Vocabulary
	found := false
	for _, v := range vs {
		raw := extra[v.Settings]
		if raw == nil {
			continue
		}
		if found {
			return Settings{}, Vocabulary{}, false, fmt.Errorf("%w: more than one vocabulary", ErrSettings)
		}
		parsed, err := ParseSettings(raw)
		if err != nil {
			return Settings{}, Vocabulary{}, false, err
		}
		if err := parsed.CheckRequest(); err != nil {
			return Settings{}, Vocabulary{}, false, err
		}
		s, chosen, found = parsed, v, true
	}
	return s, chosen, found, nil
}

// MayOrder reports whether this agreement lets the transmitter order action about eventType: the stream is
// active, the action agreed, and the receiver did not limit it to other event types.
func (s Settings) MayOrder(action, eventType string) bool {
	if s.Status != StatusActive || !slices.Contains(s.Actions, action) {
		return false
	}
	return slices.ContainsFunc(s.Capabilities, func(c Capability) bool {
		return c.Action == action && (len(c.EventTypes) == 0 || slices.Contains(c.EventTypes, eventType))
	})
}
