package receipt

import "slices"

// levelRank orders the evidence levels; an unknown one ranks lowest.
func levelRank(level string) int {
	return max(0, slices.Index([]string{Assertion, Counted, Committed, Verified}, level))
}

// countable actions need counts from level counted on (A17).
func countable(action string) bool { return action == "revoke_sessions" || action == "revoke_tokens" }

// Reached is the highest level not above the claimed one whose needs the line meets (A17). Levels are
// cumulative, and a line without evidence is an assertion.
func (l *Line) Reached() string {
	e := l.Evidence
	if e == nil {
		return Assertion
	}
	claimed, reached := levelRank(e.Level), Assertion
	needs := []struct {
		level string
		met   bool
	}{
		{Counted, !countable(l.Action) || l.Counts != nil && l.Counts.Found != nil && l.Counts.Acted != nil && l.Counts.Left != nil},
		{Committed, e.Hash != ""},
		{Verified, e.VerifiedAt != 0 && (l.Counts == nil || l.Counts.Left != nil && *l.Counts.Left == 0)},
	}
	for _, n := range needs {
		if levelRank(n.level) > claimed || !n.met {
			break
		}
		reached = n.level
	}
	return reached
}

// lowestReached is the lowest level of the satisfied lines that were ordered, Assertion where there is none.
func lowestReached(lines []Line) string {
	lowest := ""
	for i := range lines {
		l := &lines[i]
		if class, _ := ClassOf(l.Status, l.Reason); class != ClassSatisfied || l.actionID() == ExtraWork {
			continue
		}
		if got := l.Reached(); lowest == "" || levelRank(got) < levelRank(lowest) {
			lowest = got
		}
	}
	if lowest == "" {
		return Assertion
	}
	return lowest
}
