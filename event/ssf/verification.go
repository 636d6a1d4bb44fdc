package ssf

import "countersign/event"

// Verification shows that a stream works end to end (SSF 1.0 §8.1.4.1). The subject of its token is the
// stream itself: opaque, with the stream id.
type Verification struct {
	State string // what the receiver gave when it asked; empty: the transmitter sends it of its own accord
	Extra []event.Extra
}

// Describe lists the members.
func (e *Verification) Describe(m *event.Members) {
	m.String("state", &e.State)
	m.Rest(&e.Extra)
}

// Validate finds nothing; whether the state is an expected one only the receiver knows.
func (e *Verification) Validate() error {
	return nil
}

// MarshalJSON writes the members and all unknown ones.
func (e *Verification) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *Verification) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }

// VerificationState gives the state. A receiver knows a verification event by this method.
func (e *Verification) VerificationState() string { return e.State }
