package scim

import (
	"encoding/json"

	"countersign/event"
)

// Full carries the SCIM command, or the resource as it became (RFC 9967 §2.4).
type Full struct {
	Data    json.RawMessage // the representation or the PatchOp; REQUIRED
	Version string          // ETag of the resource after the event
	Extra   []event.Extra
}

// Describe lists the members.
func (e *Full) Describe(m *event.Members) {
	m.Object("data", &e.Data)
	m.String("version", &e.Version)
	m.Rest(&e.Extra)
}

// Validate wants data, and no attributes beside it.
func (e *Full) Validate() error {
	if len(e.Data) == 0 {
		return event.Problem("data", "is required")
	}
	return absent(e.Extra, "attributes")
}

// MarshalJSON writes the members and all unknown ones.
func (e *Full) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *Full) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
