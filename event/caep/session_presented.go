package caep

import "countersign/event"

// SessionPresented says that the sender saw the session in use at EventTimestamp (CAEP 1.0 §3.7).
type SessionPresented struct {
	FPUA  string // fingerprint of the user agent, a quality of the session and not its identity
	ExtID string // session identifier of a wider session, to correlate by
	Common
}

// Describe lists the members.
func (e *SessionPresented) Describe(m *event.Members) {
	m.Loose("fp_ua", &e.FPUA)
	m.Loose("ext_id", &e.ExtID)
	e.Common.describe(m)
}

// Validate checks the common claims.
func (e *SessionPresented) Validate() error {
	return e.Common.validate()
}

// MarshalJSON writes the members and all unknown ones.
func (e *SessionPresented) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *SessionPresented) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
