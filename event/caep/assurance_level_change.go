package caep

import "countersign/event"

// The directions of an assurance level change (CAEP 1.0 §3.4.1).
const (
	Increase = "increase"
	Decrease = "decrease"
)

// Namespaces lists the namespaces that CAEP names (CAEP 1.0 §3.4.1). The set is open.
func Namespaces() []string {
	return []string{"RFC8176", "RFC6711", "ISO-IEC-29115", "NIST-IAL", "NIST-AAL", "NIST-FAL"}
}

// AssuranceLevelChange says that the session's authentication became weaker or stronger than it was
// at sign-in (CAEP 1.0 §3.4). EventTimestamp is when the level changed.
type AssuranceLevelChange struct {
	Namespace       string // where the level words come from: one of Namespaces or an agreed alias; REQUIRED
	CurrentLevel    string // as the namespace defines it; REQUIRED
	PreviousLevel   string // empty: not known to the sender
	ChangeDirection string // increase or decrease; empty: not said
	Common
}

// Describe lists the members.
func (e *AssuranceLevelChange) Describe(m *event.Members) {
	m.String("namespace", &e.Namespace)
	m.String("current_level", &e.CurrentLevel)
	m.String("previous_level", &e.PreviousLevel)
	m.String("change_direction", &e.ChangeDirection)
	e.Common.describe(m)
}

// Validate wants the namespace and the current level.
func (e *AssuranceLevelChange) Validate() error {
	return event.First(
		event.Need("namespace", e.Namespace),
		event.Need("current_level", e.CurrentLevel),
		event.OneOf("change_direction", e.ChangeDirection, Increase, Decrease),
		e.Common.validate(),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *AssuranceLevelChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *AssuranceLevelChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
