package risc

import "countersign/event"

// IdentifierChanged says that the identifier in the subject, an e-mail address or telephone number, is no
// longer the person's (RISC 1.0 §2.5). The subject gives the old value.
type IdentifierChanged struct {
	NewValue string // the new identifier; empty: not said. RISC spells the member with a hyphen
	Extra    []event.Extra
}

// Describe lists the members.
func (e *IdentifierChanged) Describe(m *event.Members) {
	m.String("new-value", &e.NewValue)
	m.Rest(&e.Extra)
}

// Validate finds nothing; the format of the subject is for whoever holds the token.
func (e *IdentifierChanged) Validate() error {
	return nil
}

// MarshalJSON writes the members and all unknown ones.
func (e *IdentifierChanged) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *IdentifierChanged) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
