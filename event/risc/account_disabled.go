package risc

import "countersign/event"

// AccountDisabled says that the account was disabled; it may be enabled again later (RISC 1.0 §2.3).
type AccountDisabled struct {
	Reason string // such as hijacking or bulk-account; empty: not said
	Extra  []event.Extra
}

// Describe lists the members.
func (e *AccountDisabled) Describe(m *event.Members) {
	m.String("reason", &e.Reason)
	m.Rest(&e.Extra)
}

// Validate finds nothing: RISC names two reasons as possible and closes no list.
func (e *AccountDisabled) Validate() error {
	return nil
}

// MarshalJSON writes the members and all unknown ones.
func (e *AccountDisabled) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *AccountDisabled) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
