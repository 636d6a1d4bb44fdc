package caep

import "countersign/event"

// The compliance of a device (CAEP 1.0 §3.5.1).
const (
	Compliant    = "compliant"
	NotCompliant = "not-compliant"

	// Proposed for CAEP 1.1: taken as data, never sent, and no other word stands for them.
	unmanaged, unknown = "unmanaged", "unknown"
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

// Validate wants both statuses, each one of the two words of CAEP 1.0 or of the two that are proposed for the next.
func (e *DeviceComplianceChange) Validate() error {
	return event.First(
		event.Need("previous_status", e.PreviousStatus),
		event.OneOf("previous_status", e.PreviousStatus, Compliant, NotCompliant, unmanaged, unknown),
		event.Need("current_status", e.CurrentStatus),
		event.OneOf("current_status", e.CurrentStatus, Compliant, NotCompliant, unmanaged, unknown),
		e.Common.validate(),
	)
}

// ValidateSent wants the words of CAEP 1.0 alone.
func (e *DeviceComplianceChange) ValidateSent() error {
	return event.First(
		event.OneOf("previous_status", e.PreviousStatus, Compliant, NotCompliant),
		event.OneOf("current_status", e.CurrentStatus, Compliant, NotCompliant),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *DeviceComplianceChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *DeviceComplianceChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
