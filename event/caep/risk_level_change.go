package caep

import "countersign/event"

// The levels of risk (CAEP 1.0 §3.8.1).
const (
	Low    = "LOW"
	Medium = "MEDIUM"
	High   = "HIGH"
)

// RiskLevelChange says that the risk seen in the subject changed (CAEP 1.0 §3.8). EventTimestamp is
// when the level was assessed.
type RiskLevelChange struct {
	RiskReason    string // why; RECOMMENDED
	Principal     string // what kind of thing is at risk: USER, DEVICE, SESSION, TENANT, ORG_UNIT, GROUP or another; REQUIRED
	CurrentLevel  string // LOW, MEDIUM or HIGH; REQUIRED
	PreviousLevel string // LOW, MEDIUM or HIGH; empty: not known to the sender
	Common
}

// Describe lists the members.
func (e *RiskLevelChange) Describe(m *event.Members) {
	m.String("risk_reason", &e.RiskReason)
	m.String("principal", &e.Principal)
	m.String("current_level", &e.CurrentLevel)
	m.String("previous_level", &e.PreviousLevel)
	e.Common.describe(m)
}

// Validate wants the principal and the current level, in upper case as CAEP writes the levels.
func (e *RiskLevelChange) Validate() error {
	return event.First(
		event.Need("principal", e.Principal),
		event.Need("current_level", e.CurrentLevel),
		event.OneOf("current_level", e.CurrentLevel, Low, Medium, High),
		event.OneOf("previous_level", e.PreviousLevel, Low, Medium, High),
		e.Common.validate(),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *RiskLevelChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *RiskLevelChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
