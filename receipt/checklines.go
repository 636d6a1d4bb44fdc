package receipt

// checkLines is check 8 after the schema: ids, coverage, pairs of status and reason, sums and outcome
// (design §5.7 and the A rules named below).
func checkLines(o *Order, r *Receipt) *Problem {
	d := o.Directive
	seen := make(map[string]bool, len(r.Lines))
	covered := make(map[string]bool, len(d.Actions))
	for i := range r.Lines {
		l := &r.Lines[i]
		if seen[l.ID] {
			return problem(CodeTotalsMismatch, "lines[%d].line stands twice", i) // A13
		}
		seen[l.ID] = true
		if p := checkLine(i, l); p != nil {
			return p
		}
		if l.actionID() == ExtraWork {
			continue // A30
		}
		a, ok := d.Action(l.actionID())
		if !ok {
			return problem(CodeTotalsMismatch, "lines[%d].line names no ordered action", i)
		}
		if p := checkOrderedLine(i, l, a, d); p != nil {
			return p
		}
		covered[a.ID] = true
	}
	for _, a := range d.Actions {
		if !a.Optional && !covered[a.ID] {
			return problem(CodeTotalsMismatch, "a required action has no line") // A28
		}
	}
	totals, outcome := Compute(d, r.Lines)
	switch {
	case totals != r.Totals:
		return problem(CodeTotalsMismatch, "totals do not add up")
	case outcome != r.Outcome:
		return problem(CodeTotalsMismatch, "outcome is not what the lines give")
	}
	return nil
}

// checkLine holds one line to what needs no order.
func checkLine(i int, l *Line) *Problem {
	class, ok := ClassOf(l.Status, l.Reason)
	if !ok {
		return problem(CodeTotalsMismatch, "lines[%d]: this reason does not go with this status", i) // A16
	}
	if c := l.Counts; c != nil {
		if l.Status == Succeeded && c.Left != nil && *c.Left > 0 {
			return problem(CodeTotalsMismatch, "lines[%d] succeeded, with units left", i) // A18
		}
		if c.Acted != nil && c.Found != nil && *c.Acted > *c.Found {
			return problem(CodeTotalsMismatch, "lines[%d]: more acted on than found", i) // A37
		}
	}
	if l.Downstream != nil {
		return checkRollUp(i, class, l.Downstream.Outcome)
	}
	return nil
}

// checkOrderedLine holds one line to the action it answers.
func checkOrderedLine(i int, l *Line, a OrderedAction, d *Directive) *Problem {
	if l.Action != a.Action {
		return problem(CodeTotalsMismatch, "lines[%d].action is not the ordered one", i) // A13
	}
	if a.Action == "revoke_sessions" {
		_, given := a.orderedReach()
		switch {
		case given && l.Reach == "":
			return problem(CodeSchema, "lines[%d] lacks reach", i) // A39
		case l.Status == Succeeded && l.Reach != "" && reachRank(l.Reach) < reachRank(a.Reach()):
			return problem(CodeTotalsMismatch, "lines[%d] succeeded with a narrower reach than ordered", i) // A39
		}
	}
	if l.Reason == "no_action_taken" && l.Status == Skipped && d.Obligation == ObligationMust && !a.Optional {
		return problem(CodeTotalsMismatch, "lines[%d]: a required action under must cannot be left alone", i) // A29
	}
	if a.Target != nil && l.Target != nil {
		w, g := a.Target, l.Target
		if g.App != w.App || w.Kind != "" && g.Kind != w.Kind || w.ID != "" && g.ID != w.ID {
			return problem(CodeTotalsMismatch, "lines[%d].target is not the ordered one", i) // A14
		}
	}
	return nil
}

// checkSums is what can be said of a receipt whose order is not at hand (A22): status sums and rule 1.
func checkSums(r *Receipt) *Problem {
	seen := make(map[string]bool, len(r.Lines))
	for i := range r.Lines {
		if seen[r.Lines[i].ID] {
			return problem(CodeTotalsMismatch, "lines[%d].line stands twice", i)
		}
		seen[r.Lines[i].ID] = true
		if p := checkLine(i, &r.Lines[i]); p != nil {
			return p
		}
	}
	t := sum(r.Lines)
	t.Requested = r.Totals.Requested
	if t != r.Totals {
		return problem(CodeTotalsMismatch, "totals do not add up")
	}
	if (t.Pending > 0) != (r.Outcome == OutcomePending) {
		return problem(CodeTotalsMismatch, "a pending line makes the outcome pending, and nothing else does")
	}
	return nil
}
