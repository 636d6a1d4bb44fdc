package receipt

// Outcomes (design §5.7).
const (
	OutcomeFulfilled   = "fulfilled"
	OutcomeUnconfirmed = "unconfirmed"
	OutcomePartial     = "partial"
	OutcomeUnfulfilled = "unfulfilled"
	OutcomeRefused     = "refused"
	OutcomeWithdrawn   = "withdrawn"
	OutcomePending     = "pending"
)

// Compute adds up the till (design §5.7): the totals of lines and the outcome they give for the order d.
// Both sides use it, so a receipt that differs is refused. It does not judge the lines; Issue and Check do.
func Compute(d *Directive, lines []Line) (Totals, string) {
	t := sum(lines)
	t.Requested = len(d.Actions)
	required := make(map[string]bool, len(d.Actions))
	for _, a := range d.Actions {
		required[a.ID] = !a.Optional // A28
	}
	var classes []Class
	for i := range lines {
		if required[lines[i].actionID()] { // x and optional lines count in rule 1 only (A30)
			class, _ := ClassOf(lines[i].Status, lines[i].Reason)
			classes = append(classes, class)
		}
	}
	if t.Pending > 0 {
		return t, OutcomePending
	}
	return t, outcomeOf(classes)
}

// outcomeOf is rules 2 to 7 of design §5.7, in their order.
func outcomeOf(classes []Class) string {
	only := func(allowed ...Class) bool {
		for _, c := range classes {
			in := false
			for _, a := range allowed {
				in = in || a == c
			}
			if !in {
				return false
			}
		}
		return true
	}
	some := false
	for _, c := range classes {
		some = some || c == ClassSatisfied || c == ClassUnconfirmed
	}
	switch {
	case only(ClassSatisfied): // also no such lines, which is when no action is required (A53)
		return OutcomeFulfilled
	case only(ClassSatisfied, ClassUnconfirmed):
		return OutcomeUnconfirmed
	case only(ClassSatisfied, ClassWithdrawn):
		return OutcomeWithdrawn
	case only(ClassRefusal):
		return OutcomeRefused
	case !some:
		return OutcomeUnfulfilled
	}
	return OutcomePartial
}

// sum adds quantities by status; Requested stays 0.
func sum(lines []Line) Totals {
	var t Totals
	for i := range lines {
		n := lines[i].quantity()
		t.Lines += n
		switch lines[i].Status {
		case Succeeded:
			t.Succeeded += n
		case Unconfirmed:
			t.Unconfirmed += n
		case Failed:
			t.Failed += n
		case Skipped:
			t.Skipped += n
		case Pending:
			t.Pending += n
		case Reversed:
			t.Reversed += n
		}
	}
	return t
}

// RefusedLines answers an order that is refused whole (A35): one line failed with reason for each required
// action, or for every action where none is required, since a receipt always has a line (A29).
func RefusedLines(d *Directive, reason string, at int64) []Line {
	var lines []Line
	add := func(a OrderedAction) {
		l := Line{ID: a.ID, Action: a.Action, Status: Failed, Reason: reason, CompletedAt: at,
			Evidence: &Evidence{Level: Assertion, Method: MethodOperator}}
		if a.Action == "revoke_sessions" {
			l.Reach = a.Reach()
			if reachRank(l.Reach) == 0 {
				l.Reach = ReachSessionTokens
			}
		}
		lines = append(lines, l)
	}
	for _, a := range d.Actions {
		if !a.Optional {
			add(a)
		}
	}
	if lines == nil {
		for _, a := range d.Actions {
			add(a)
		}
	}
	return lines
}
