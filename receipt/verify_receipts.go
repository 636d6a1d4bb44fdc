package receipt

import (
	"errors"
	"fmt"
	"slices"

	"countersign/set"
)

// readOrders reads orders[]: form, signature, directive, and one content for each (iss, jti) (A45).
func (v *verifier) readOrders() {
	for i, e := range v.bundle.Orders {
		where := fmt.Sprintf("orders[%d]", i)
		u := v.readable(where, e.JWS)
		if u == nil {
			continue
		}
		o := v.orderOf(where, u)
		if o == nil {
			continue
		}
		o.acceptedAt = e.AcceptedAt
		genuine := v.authentic(where, u, kindOrder) != nil
		if genuine && o.IssuedAt > v.at(e.AcceptedAt)+clockSlack { // A10
			v.add(LevelInvalid, where, CodeBadTime, "check 4: iat of the order lies in the future")
		}
		same := slices.IndexFunc(v.orders, func(x *orderState) bool { return x.Issuer == o.Issuer && x.JTI == o.JTI })
		switch {
		case same < 0 && genuine:
			v.orders = append(v.orders, o)
		case same >= 0 && genuine && v.orders[same].SetHash != o.SetHash:
			v.add(LevelInvalid, where, CodeOrderMismatch, "two orders have one iss and jti, and other content")
		}
	}
}

// orderOf reads an order under every vocabulary known (A56), nil when it is none.
func (v *verifier) orderOf(where string, u *set.Unverified) *orderState {
	if err := u.Fault(); err != nil {
		v.add(LevelInvalid, where, CodeMalformed, "check 2: %v", err)
		return nil
	}
	var first *orderState
	fault := error(ErrNoDirective)
	for _, w := range v.vocabularies {
		o, err := OrderOf(u, w, v.vocabularies...)
		switch {
		case err == nil && first == nil:
			first = &orderState{Order: o, where: where, candidates: []Vocabulary{w}}
		case err == nil:
			first.candidates = append(first.candidates, w)
		case !errors.Is(err, ErrNoDirective):
			fault = err
		}
	}
	if first == nil {
		v.add(LevelInvalid, where, CodeMalformed, "%v", fault)
		return nil
	}
	first.ReceiptIssuer, first.ReceiptAudience = v.answering(first.Order)
	return first
}

// answering finds who may answer an order, and to which audience: policy, then file, then the order (A4).
func (v *verifier) answering(o *Order) (issuer, audience string) {
	for _, rules := range [][]StreamRule{v.policy.Streams, v.bundle.Streams} {
		for _, s := range rules {
			if s.Issuer == o.Issuer && s.Audience == o.Audience {
				return s.ReceiptIssuer, s.ReceiptAudience
			}
		}
	}
	return o.Audience, o.Issuer
}

// readReceipts reads receipts[]: form, issuer and signature, and finds the order of each.
func (v *verifier) readReceipts() {
	for i, e := range v.bundle.Receipts {
		where := fmt.Sprintf("receipts[%d]", i)
		if limit := v.policy.MaxReceiptBytes; limit > 0 && len(e.JWS) > limit { // A42
			v.add(LevelInvalid, where, CodeMalformed, "check 1: larger than max_receipt_bytes")
			continue
		}
		t := v.readReceipt(where, e.JWS, e.AcceptedAt, nil)
		if t == nil {
			continue
		}
		if t.order == nil {
			v.add(LevelUndecided, where, CodeUnknownOrder, "its order is not in the file")
			v.loose = append(v.loose, t)
			v.judgeLoose(t)
			continue
		}
		t.order.receipts = append(t.order.receipts, t)
	}
}

// readReceipt is checks 1 to 3 and the search for the order, for receipts at any depth.
func (v *verifier) readReceipt(where, compact string, acceptedAt int64, carrier *tokenState) *tokenState {
	u := v.readable(where, compact)
	if u == nil {
		return nil
	}
	c := u.Claims()
	w := v.vocabularyOf(&c)
	if p := CheckForm(u, w, nil, v.vocabularies...); p != nil {
		v.problem(where, p)
		return nil
	}
	order := v.orderNamed(&c)
	if order != nil {
		// A receipt that fails from here on is still an answer, so attached ones do not stand in for it (A5).
		order.answered = order.answered || carrier == nil
		if !slices.Contains(order.candidates, w) {
			v.add(LevelInvalid, where, CodeMalformed, "check 2: the order uses another vocabulary") // A56
			return nil
		}
		if c.Issuer != order.ReceiptIssuer {
			v.problem(where, problem(CodeWrongIssuer, "iss may not answer this order"))
			return nil
		}
	}
	t := v.authentic(where, u, kindReceipt)
	if t == nil {
		return nil
	}
	r, schemaErr := parseReceipt(c.Events[0].Payload)
	if r == nil {
		v.problem(where, problem(CodeSchema, "%v", schemaErr))
		return nil
	}
	return &tokenState{where: where, token: t, acceptedAt: acceptedAt, receipt: r, order: order, carrier: carrier}
}

// vocabularyOf finds the vocabulary whose receipt event the claims hold; the default where none does.
func (v *verifier) vocabularyOf(c *set.Claims) Vocabulary {
	for _, w := range v.vocabularies {
		if len(c.Events) == 1 && c.Events[0].Type == w.Event {
			return w
		}
	}
	return Default()
}

func (v *verifier) orderNamed(c *set.Claims) *orderState {
	iss, jti, err := Named(c)
	if err != nil {
		return nil
	}
	for _, o := range v.orders {
		if o.Issuer == iss && o.JTI == jti {
			return o
		}
	}
	return nil
}

// judgeReceipts checks what is in receipts[], order by order and by rising seq (A45).
func (v *verifier) judgeReceipts() {
	for _, o := range v.orders {
		v.walk(o)
	}
}

// walk takes the receipts of one order by rising seq through checks 2, 4, 6, 7 and 8.
func (v *verifier) walk(o *orderState) {
	slices.SortStableFunc(o.receipts, func(a, b *tokenState) int { return a.receipt.Seq - b.receipt.Seq })
	var known []Known
	for _, other := range v.orders {
		if other == o {
			continue
		}
		for _, t := range other.accepted {
			if c := t.token.Claims(); c.Issuer == o.ReceiptIssuer {
				k := KnownOf(t.token, t.receipt)
				k.Elsewhere = true
				known = append(known, k)
			}
		}
	}
	for _, t := range o.receipts {
		d, ok := v.judge(o, t, known)
		if !ok || d == Identical {
			continue
		}
		if last := o.latest(); d == Gap && last == nil {
			v.add(LevelNote, t.where, "gap", "the file starts at seq %d", t.receipt.Seq)
		} else if d == Gap {
			v.add(LevelNote, t.where, "gap", "seq %d follows seq %d", t.receipt.Seq, last.receipt.Seq)
		}
		known = append(known, KnownOf(t.token, t.receipt))
		o.accepted = append(o.accepted, t)
		if t.carrier == nil {
			v.gatherAttachments(t, 1)
		}
	}
}

// judge runs Check for one receipt.
func (v *verifier) judge(o *orderState, t *tokenState, known []Known) (Disposition, bool) {
	c := t.token.Claims()
	_, d, p := Check(o.Order, t.token, known, v.at(t.acceptedAt), v.vocabularyOf(&c))
	if p != nil {
		v.problem(t.where, p)
		return 0, false
	}
	return d, true
}

// judgeLoose checks what can be checked of a receipt without its order (A22).
func (v *verifier) judgeLoose(t *tokenState) {
	c := t.token.Claims()
	_, schemaErr := parseReceipt(c.Events[0].Payload)
	switch {
	case schemaErr != nil:
		v.problem(t.where, problem(CodeSchema, "%v", schemaErr))
		return
	case c.IssuedAt > v.at(t.acceptedAt)+clockSlack:
		v.problem(t.where, problem(CodeBadTime, "iat lies in the future"))
	}
	if _, _, err := Named(&c); err != nil {
		v.problem(t.where, problem(CodeUnknownOrder, "%v", err))
	}
	if p := checkSupersedes(t.receipt); p != nil {
		v.problem(t.where, p)
	}
	if p := checkAttachments(t.receipt, 1); p != nil {
		v.problem(t.where, p)
	}
	if p := checkSums(t.receipt); p != nil {
		v.problem(t.where, p)
	}
	v.gatherAttachments(t, 1)
}
