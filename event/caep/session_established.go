package caep

import "countersign/event"

// SessionEstablished says that the sender began a new session for the subject (CAEP 1.0 §3.6).
// EventTimestamp is when it began.
type SessionEstablished struct {
	FPUA  string   // fingerprint of the user agent, a quality of the session and not its identity
	ACR   string   // authentication context class, as in an ID token
	AMR   []string // authentication methods, as in an ID token
	ExtID string   // session identifier of a wider session, to correlate by
	Common
}

// Describe lists the members.
func (e *SessionEstablished) Describe(m *event.Members) {
	m.Loose("fp_ua", &e.FPUA)
	m.String("acr", &e.ACR)
	m.Strings("amr", &e.AMR)
	m.Loose("ext_id", &e.ExtID)
	e.Common.describe(m)
}

// Validate checks the common claims.
func (e *SessionEstablished) Validate() error {
	return e.Common.validate()
}

// MarshalJSON writes the members and all unknown ones.
func (e *SessionEstablished) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *SessionEstablished) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
