package hub

// State is where an action stands (design §3, states of an action).
type State string

// The states. Planned to Delayed are open; the rest are final.
const (
	Planned     State = "planned"
	Running     State = "running"
	Unknown     State = "unknown" // sent, no answer: read back first, never repeat blindly
	Delayed     State = "delayed" // accepted, the app works on it: read back
	Succeeded   State = "succeeded"
	Skipped     State = "skipped"
	Unconfirmed State = "unconfirmed"
	Failed      State = "failed"
	Expired     State = "expired"
	Withdrawn   State = "withdrawn"
)

// Final reports whether no more work is planned.
func (s State) Final() bool {
	switch s {
	case Succeeded, Skipped, Unconfirmed, Failed, Expired, Withdrawn:
		return true
	}
	return false
}

// Line gives the receipt status and reason of a state; reason is the action's own reason code
// where the table leaves it open.
func (s State) Line(reason string) (status, code string) {
	or := func(def string) string {
		if reason != "" {
			return reason
		}
		return def
	}
	switch s {
	case Planned:
		return "pending", or("queued")
	case Running, Unknown, Delayed:
		return "pending", "in_progress"
	case Succeeded:
		return "succeeded", or("done")
	case Skipped:
		return "skipped", or("not_applicable")
	case Unconfirmed:
		return "unconfirmed", "accepted_unconfirmed"
	case Expired:
		return "failed", "expired"
	case Withdrawn:
		return "skipped", "withdrawn"
	}
	return "failed", or("internal_error")
}

// Level is how well an action is proven: the receipt's four evidence levels, no other scale exists.
type Level string

// The levels, weakest first.
const (
	Assertion Level = "assertion"
	Counted   Level = "counted"
	Committed Level = "committed"
	Verified  Level = "verified"
)

// SignalState is where a signal stands.
type SignalState string

// The states of a signal.
const (
	SignalReceived   SignalState = "received"   // kept; correlation and decision are due
	SignalUnresolved SignalState = "unresolved" // nobody known fits the subject; runs when the mapping appears
	SignalDecided    SignalState = "decided"    // actions are planned or under way
	SignalDone       SignalState = "done"       // nothing open
)
