package receipt

import (
	"countersign/set"
)

// maxAttachmentDepth: attachments of a top-level receipt have depth 1 (A21).
const maxAttachmentDepth = 4

// checkAttachments reads the attached receipts of r without judging their signatures: each is named by a
// line (A23), agrees with that line (design §7, A24, A55), and none lies too deep (A21).
func checkAttachments(r *Receipt, depth int) *Problem {
	if len(r.Attachments) > 0 && depth > maxAttachmentDepth {
		return problem(CodeMalformed, "attachments are nested more than %d deep", maxAttachmentDepth)
	}
	for i, compact := range r.Attachments {
		u, err := set.Parse(compact)
		if err != nil {
			return problem(CodeMalformed, "attachments[%d] is no SET", i)
		}
		n, p := nestedOf(u)
		if p != nil {
			return p
		}
		named := false
		for j := range r.Lines {
			if l := &r.Lines[j]; l.Downstream != nil && l.Downstream.Hash == u.Address() {
				named = true
				if p := checkDownstream(j, l, n, r); p != nil {
					return p
				}
			}
		}
		if !named {
			return problem(CodeOrderMismatch, "attachments[%d] is named by no line", i)
		}
		if p := checkAttachments(n.receipt, depth+1); p != nil {
			return p
		}
	}
	return nil
}

// nested is a downstream receipt as a line may refer to it.
type nested struct {
	issuer  string
	receipt *Receipt
}

// nestedOf reads a downstream receipt under the event name it uses; its own checks are the caller's.
func nestedOf(t Token) (*nested, *Problem) {
	c := t.Claims()
	if len(c.Events) != 1 {
		return nil, problem(CodeMalformed, "a nested receipt has one event")
	}
	r, err := parseReceipt(c.Events[0].Payload)
	if r == nil {
		return nil, problem(CodeSchema, "nested %v", err)
	}
	return &nested{issuer: c.Issuer, receipt: r}, nil
}

// checkDownstream compares a line with the receipt it names (design §7, A22, A24, A55).
func checkDownstream(i int, l *Line, n *nested, carrier *Receipt) *Problem {
	w, g := l.Downstream, n.receipt
	switch {
	case w.Issuer != n.issuer || w.Number != g.Number || w.Seq != g.Seq || w.Stage != g.Stage || w.Outcome != g.Outcome:
		return problem(CodeOrderMismatch, "lines[%d].downstream differs from the receipt it names", i)
	case g.Order.ParentHash != carrier.Order.SetHash:
		return problem(CodeOrderMismatch, "lines[%d].downstream names a receipt for another parent order", i)
	}
	if e := l.Evidence; e != nil && e.Method == MethodDownstream && levelRank(e.Level) > levelRank(lowestReached(g.Lines)) {
		return problem(CodeTotalsMismatch, "lines[%d].evidence.level is above what the nested receipt reached", i)
	}
	return nil
}

// checkRollUp: a hub never prints a better status than the nested receipt (design §7, A24); worse is allowed.
func checkRollUp(i int, class Class, outcome string) *Problem {
	switch {
	case class == ClassSatisfied && outcome != OutcomeFulfilled,
		class == ClassUnconfirmed && outcome != OutcomeFulfilled && outcome != OutcomeUnconfirmed:
		return problem(CodeTotalsMismatch, "lines[%d] is better than the downstream outcome", i)
	}
	return nil
}
