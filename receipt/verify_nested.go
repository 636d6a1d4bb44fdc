package receipt

import "fmt"

// gatherAttachments reads the receipts attached to t, at every depth. That they are named by a line and do
// not lie too deep is part of check 6 of t (A21, A23).
func (v *verifier) gatherAttachments(t *tokenState, depth int) {
	if depth > maxAttachmentDepth {
		return
	}
	for i, compact := range t.receipt.Attachments {
		n := v.readReceipt(fmt.Sprintf("%s.attachments[%d]", t.where, i), compact, t.acceptedAt, t) // A10
		if n == nil {
			continue
		}
		v.nested = append(v.nested, n)
		v.gatherAttachments(n, depth+1)
	}
}

// judgeNested checks the attached receipts. Those of an order that has nothing in receipts[] stand for it
// (A5); where the order is absent, what can be checked is checked (A22).
func (v *verifier) judgeNested() {
	standing := map[*orderState]bool{}
	for _, n := range v.nested {
		switch o := n.order; {
		case o == nil:
			v.judgeOrderless(n)
		case !o.answered:
			o.receipts = append(o.receipts, n)
			standing[o] = true
		default:
			v.judge(o, n, nil)
		}
	}
	for _, o := range v.orders {
		if standing[o] {
			v.walk(o)
		}
	}
}

// judgeOrderless: schema, status sums and rule 1 of a nested receipt; its link to the carrier is checked with
// the carrier (A22).
func (v *verifier) judgeOrderless(n *tokenState) {
	c := n.token.Claims()
	if _, schemaErr := parseReceipt(c.Events[0].Payload); schemaErr != nil {
		v.problem(n.where, problem(CodeSchema, "%v", schemaErr))
		return
	}
	if p := checkSums(n.receipt); p != nil {
		v.problem(n.where, p)
	}
	v.add(LevelNotChecked, n.where, "order_absent", "its order is not in the file: link, coverage, outcome and sequence were not checked")
}

// judgeDownstream follows the downstream members of the highest receipts: fields, roll-up and presence
// (A22-A24, A55).
func (v *verifier) judgeDownstream() {
	for _, o := range v.orders {
		for _, t := range o.accepted {
			for i := range t.receipt.Lines {
				v.followDownstream(o, t, i)
			}
		}
	}
}

func (v *verifier) followDownstream(o *orderState, t *tokenState, i int) {
	l := &t.receipt.Lines[i]
	if l.Downstream == nil {
		return
	}
	where := fmt.Sprintf("%s.lines[%d]", t.where, i)
	n := v.receiptAt(l.Downstream.Hash)
	if n == nil {
		switch {
		case t != o.latest(): // only the highest seq counts
		case o.Directive.Receipt.Chain == "attach":
			v.add(LevelShortfall, where, "downstream_absent", "the order asked for attached receipts, and the one named here is not in the file") // A23
		default:
			v.add(LevelNote, where, "downstream_absent", "the downstream receipt is not in the file")
		}
		return
	}
	if n.carrier == t {
		return // compared by check 6
	}
	issuer := n.token.Claims().Issuer
	if p := checkDownstream(i, l, &nested{issuer: issuer, receipt: n.receipt}, t.receipt); p != nil {
		v.problem(t.where, p)
	}
}

// receiptAt finds a receipt of the file by content address.
func (v *verifier) receiptAt(address string) *tokenState {
	for _, o := range v.orders {
		for _, t := range o.receipts {
			if t.token.Address() == address {
				return t
			}
		}
	}
	for _, list := range [][]*tokenState{v.nested, v.loose} {
		for _, t := range list {
			if t.token.Address() == address {
				return t
			}
		}
	}
	return nil
}
