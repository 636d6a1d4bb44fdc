package stream

import (
	"encoding/json"
	"log/slog"
)

// Delivery methods (SSF 1.0 §6.1).
const (
	PushMethod = "urn:ietf:rfc:8935"
	PollMethod = "urn:ietf:rfc:8936"
)

// Configuration is a stream's configuration (SSF 1.0 §8.1.1). A nil slice is absent, an empty one is
// written as an empty array.
type Configuration struct {
	StreamID                string                     `json:"stream_id,omitzero"`
	Issuer                  string                     `json:"iss,omitzero"`
	Audience                Audience                   `json:"aud,omitzero"`
	EventsSupported         []string                   `json:"events_supported,omitzero"`
	EventsRequested         []string                   `json:"events_requested,omitzero"`
	EventsDelivered         []string                   `json:"events_delivered,omitzero"`
	Delivery                *Delivery                  `json:"delivery,omitzero"`
	MinVerificationInterval int64                      `json:"min_verification_interval,omitzero"` // seconds; 0: not said
	Description             string                     `json:"description,omitzero"`
	InactivityTimeout       int64                      `json:"inactivity_timeout,omitzero"` // seconds; 0: not said
	Extra                   map[string]json.RawMessage `json:"-"`                           // all other members
}

// Delivery says how SETs travel (SSF 1.0 §6.1). AuthorizationHeader is a secret.
type Delivery struct {
	Method              string                     `json:"method,omitzero"`
	EndpointURL         string                     `json:"endpoint_url,omitzero"`
	AuthorizationHeader string                     `json:"authorization_header,omitzero"` // the whole value of the field, such as "Bearer abc"
	Extra               map[string]json.RawMessage `json:"-"`
}

// Requested gives what a receiver may send of c: its own members, the stream id and Extra
// (SSF 1.0 §8.1.1.1). Members that the transmitter supplies can only cause refusals in a request.
func (c *Configuration) Requested() *Configuration {
	return &Configuration{
		StreamID: c.StreamID, EventsRequested: c.EventsRequested,
		Delivery: c.Delivery, Description: c.Description, Extra: c.Extra,
	}
}

func (c *Configuration) fields() []field {
	return []field{
		{"stream_id", &c.StreamID},
		{"iss", &c.Issuer},
		{"aud", &c.Audience},
		{"events_supported", &c.EventsSupported},
		{"events_requested", &c.EventsRequested},
		{"events_delivered", &c.EventsDelivered},
		{"delivery", &c.Delivery},
		{"min_verification_interval", &c.MinVerificationInterval},
		{"description", &c.Description},
		{"inactivity_timeout", &c.InactivityTimeout},
	}
}

// MarshalJSON writes the members that are there.
func (c Configuration) MarshalJSON() ([]byte, error) {
	type plain Configuration
	return writeObject(plain(c), c.fields(), c.Extra)
}

// UnmarshalJSON reads the members and keeps all unknown ones in Extra.
func (c *Configuration) UnmarshalJSON(data []byte) error {
	*c = Configuration{}
	extra, err := readObject("stream configuration", data, c.fields())
	if err != nil {
		return err
	}
	c.Extra = extra
	return nil
}

// LogValue leaves out the delivery and all unknown members: they may hold secrets.
func (c Configuration) LogValue() slog.Value {
	return slog.GroupValue(slog.String("stream_id", c.StreamID), slog.String("iss", c.Issuer))
}

func (d *Delivery) fields() []field {
	return []field{
		{"method", &d.Method},
		{"endpoint_url", &d.EndpointURL},
		{"authorization_header", &d.AuthorizationHeader},
	}
}

// MarshalJSON writes the members that are there, the secret too.
func (d Delivery) MarshalJSON() ([]byte, error) {
	type plain Delivery
	return writeObject(plain(d), d.fields(), d.Extra)
}

// UnmarshalJSON reads the members and keeps all unknown ones in Extra.
func (d *Delivery) UnmarshalJSON(data []byte) error {
	*d = Delivery{}
	extra, err := readObject("delivery", data, d.fields())
	if err != nil {
		return err
	}
	d.Extra = extra
	return nil
}

// LogValue leaves out the address and the secret.
func (d Delivery) LogValue() slog.Value {
	return slog.GroupValue(slog.String("method", d.Method))
}
