package caep

import "countersign/event"

// SessionRevoked says that the session named by the subject was revoked. With a complex subject it
// applies to every session that matches the combined members (CAEP 1.0 §3.1). EventTimestamp is when
// the session was revoked. The type has no members of its own.
type SessionRevoked struct {
	Common
}

// Describe lists the members.
func (e *SessionRevoked) Describe(m *event.Members) {
	e.Common.describe(m)
}

// Validate checks the common claims.
func (e *SessionRevoked) Validate() error {
	return e.Common.validate()
}

// MarshalJSON writes the members and all unknown ones.
func (e *SessionRevoked) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *SessionRevoked) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
