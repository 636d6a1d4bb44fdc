package risc

import "countersign/event"

// CredentialCompromise says that a credential of the identifier in the subject was found compromised
// (RISC 1.0 §2.7).
type CredentialCompromise struct {
	CredentialType string     // as in the credential change of CAEP; REQUIRED
	EventTimestamp int64      // when the sender found out, seconds since 1970; 0: not said
	Milliseconds   bool       // the sender wrote milliseconds; EventTimestamp is in seconds all the same
	ReasonAdmin    event.Text // for administrators
	ReasonUser     event.Text // for the end user
	Extra          []event.Extra
}

// Describe lists the members.
func (e *CredentialCompromise) Describe(m *event.Members) {
	m.String("credential_type", &e.CredentialType)
	m.Time("event_timestamp", &e.EventTimestamp, &e.Milliseconds)
	m.Text("reason_admin", &e.ReasonAdmin)
	m.Text("reason_user", &e.ReasonUser)
	m.Rest(&e.Extra)
}

// Validate wants the credential type.
func (e *CredentialCompromise) Validate() error {
	return event.First(
		event.Need("credential_type", e.CredentialType),
		event.NotEmpty("reason_admin", e.ReasonAdmin),
		event.NotEmpty("reason_user", e.ReasonUser),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *CredentialCompromise) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *CredentialCompromise) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
