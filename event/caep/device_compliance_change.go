package caep

import "countersign/event"

// The compliance of a device (CAEP 1.0 §3.5.1).
const (
	Compliant    = "compliant"
	NotCompliant = "not-compliant"
)

// DeviceComplianceChange says that a device began or ceased to keep the rules (CAEP 1.0 §3.5).
// EventTimestamp is when that happened.
type DeviceComplianceChange struct {
	PreviousStatus string // compliant or not-compliant; REQUIRED
	CurrentStatus  string // compliant or not-compliant; REQUIRED
	Common
}

// Describe lists the members.
func (e *DeviceComplianceChange) Describe(m *event.Members) {
	m.String("previous_status", &e.PreviousStatus)
	m.String("current_status", &e.CurrentStatus)
	e.Common.describe(m)
}

// Validate wants both statuses, and only the two words that CAEP 1.0 has.
func (e *DeviceComplianceChange) Validate() error {
	return event.First(
		event.Need("previous_status", e.PreviousStatus),
		event.OneOf("previous_status", e.PreviousStatus, Compliant, NotCompliant),
		event.Need("current_status", e.CurrentStatus),
		event.OneOf("current_status", e.CurrentStatus, Compliant, NotCompliant),
		e.Common.validate(),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *DeviceComplianceChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *DeviceComplianceChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
