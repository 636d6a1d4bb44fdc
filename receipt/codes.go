package receipt

import "slices"

// Class is what a reason code means for the outcome (design §5.6).
type Class int

// The classes. ClassNone stands for a status that does not exist.
const (
	ClassNone Class = iota
	ClassSatisfied
	ClassUnconfirmed
	ClassUnsatisfied
	ClassWithdrawn
	ClassRefusal
	ClassFault
	ClassWaiting
	ClassUndone
)

// String gives the word of design §5.6.
func (c Class) String() string {
	return [...]string{"none", "satisfied", "unconfirmed", "unsatisfied", "withdrawn", "refusal", "fault", "waiting", "undone"}[c]
}

type codeRow struct {
	class  Class
	status string
	codes  []string
}

// codeTable is design §5.6. A code may stand in more than one row (app_unreachable, rate_limited).
// Codes are only ever added.
var codeTable = []codeRow{
	{ClassSatisfied, Succeeded, []string{"done", "done_with_residue"}},
	{ClassSatisfied, Skipped, []string{"already_gone", "already_in_state", "not_applicable"}},
	{ClassUnconfirmed, Unconfirmed, []string{"accepted_unconfirmed"}},
	{ClassUnsatisfied, Skipped, []string{"no_such_subject", "no_action_taken"}},
	{ClassWithdrawn, Skipped, []string{"withdrawn"}},
	{ClassRefusal, Failed, []string{"not_supported", "policy_declined", "not_authorized", "approval_denied", InvalidDirective, "expired", "conflict"}},
	{ClassFault, Failed, []string{"app_unreachable", "app_denied", "app_error", "rate_limited", "timed_out", "partial", "verification_failed",
		"ambiguous_subject", "downstream_failed", "internal_error"}},
	{ClassWaiting, Pending, []string{"queued", "in_progress", "awaiting_approval", "awaiting_downstream", "scheduled", "app_unreachable", "rate_limited"}},
	{ClassUndone, Reversed, []string{"reversed_by_order", "reversed_by_admin", "reversed_by_system"}},
}

// ClassOf gives the class of a line's reason under its status. A code this version does not know has the
// class of its status (A15). ok is false for a known code under a status that the table does not give it (A16).
func ClassOf(status, reason string) (class Class, ok bool) {
	known := false
	for _, row := range codeTable {
		if slices.Contains(row.codes, reason) {
			known = true
			if row.status == status {
				return row.class, true
			}
		}
	}
	return statusClass(status), !known
}

// statusClass is the class of an unknown code (A15): never satisfied-skipped, refusal or withdrawn.
func statusClass(status string) Class {
	switch status {
	case Succeeded:
		return ClassSatisfied
	case Unconfirmed:
		return ClassUnconfirmed
	case Skipped:
		return ClassUnsatisfied
	case Failed:
		return ClassFault
	case Pending:
		return ClassWaiting
	case Reversed:
		return ClassUndone
	}
	return ClassNone
}
