package ssf

import "countersign/event"

// StreamUpdated says that the transmitter changed the status of the stream by itself (SSF 1.0 §8.1.5).
// The subject of its token is the stream: opaque, with the stream id.
type StreamUpdated struct {
	Status string // enabled, paused or disabled; REQUIRED
	Reason string // why, in plain text
	Extra  []event.Extra
}

// Describe lists the members.
func (e *StreamUpdated) Describe(m *event.Members) {
	m.String("status", &e.Status)
	m.String("reason", &e.Reason)
	m.Rest(&e.Extra)
}

// Validate wants one of the three statuses (SSF 1.0 §8.1.2.1).
func (e *StreamUpdated) Validate() error {
	return event.First(
		event.Need("status", e.Status),
		event.OneOf("status", e.Status, "enabled", "paused", "disabled"),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *StreamUpdated) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *StreamUpdated) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
