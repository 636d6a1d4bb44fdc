package receipt

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"countersign/internal/strictjson"
	"countersign/set"
)

// clockSlack is what the two clocks may differ by, in seconds (design §6.2 check 4).
const clockSlack = 120

// Check judges a receipt for the order o by the checks of design §6.2 that need no store and no key: 2, 4,
// the sub_id of 5, 6, 7 with the sequence of §6.3, and 8; also that iss is o.ReceiptIssuer (3). The caller
// has done 1 and the signature of 3, and has found the order by Named. known is what was accepted before;
// now is in seconds. Checks run in the order of the table, so the Problem is that of the first that fails.
//
// Of a receipt that is Identical nothing is to be done, one that is Late is filed and changes no state. A
// member that a check compares and that is absent is not equal; one of a wrong type is left to check 8.
func Check(o *Order, t Token, known []Known, now int64, v Vocabulary) (*Receipt, Disposition, *Problem) {
	if p := CheckForm(t, v, o.Algorithms); p != nil {
		return nil, 0, p
	}
	c := t.Claims()
	if o.ReceiptIssuer != "" && c.Issuer != o.ReceiptIssuer {
		return nil, 0, problem(CodeWrongIssuer, "iss is not the receipt issuer of the order's stream")
	}
	if p := checkAddressed(o, &c, now); p != nil {
		return nil, 0, p
	}
	if iss, jti, err := Named(&c); err != nil || iss != o.Issuer || jti != o.JTI {
		return nil, 0, problem(CodeUnknownOrder, "sub_id names no order of this stream")
	}
	r, schemaErr := parseReceipt(c.Events[0].Payload)
	if r == nil {
		return nil, 0, problem(CodeSchema, "%v", schemaErr)
	}
	if p := checkLink(o, &c, r); p != nil {
		return nil, 0, p
	}
	d, p := sequence(r, KnownOf(t, r), c.IssuedAt, known)
	if p != nil || d == Identical {
		return r, d, p
	}
	if schemaErr != nil {
		return r, 0, problem(CodeSchema, "%v", schemaErr)
	}
	if p := checkLines(o, r); p != nil {
		return r, 0, p
	}
	return r, d, nil
}

// CheckForm is check 2 of design §6.2, with the number form of A8 and the kid of A51. algs is what the
// transmitter lists; empty means all of package set. others are further known vocabularies, whose directive
// a receipt may not carry either.
func CheckForm(t Token, v Vocabulary, algs []set.Algorithm, others ...Vocabulary) *Problem {
	v = v.orDefault()
	if len(algs) == 0 {
		algs = []set.Algorithm{set.RS256, set.PS256, set.ES256, set.EdDSA}
	}
	h, c := t.Header(), t.Claims()
	alg := set.Algorithm(h.Algorithm)
	if alg == "Ed25519" {
		alg = set.EdDSA
	}
	switch {
	case h.Type != "secevent+jwt": // A9
		return problem(CodeMalformed, "typ is not secevent+jwt")
	case !slices.Contains(algs, alg):
		return problem(CodeMalformed, "alg is not on the list")
	case h.KeyID == "":
		return problem(CodeMalformed, "a receipt carries kid")
	case len(c.Events) != 1 || c.Events[0].Type != v.Event:
		return problem(CodeMalformed, "events does not hold the receipt event alone")
	case c.Member("exp") != nil || c.Member("sub") != nil:
		return problem(CodeMalformed, "a receipt has neither exp nor sub")
	case c.ID == "" || c.Issuer == "":
		return problem(CodeMalformed, "a receipt has iss and jti")
	}
	if err := strictjson.Check(t.Payload(), strictjson.Limits{Bytes: -1, NoFloats: true}); err != nil {
		p := problem(CodeMalformed, "%v", err)
		p.Check = 1
		return p
	}
	inside, err := strictjson.Members(c.Events[0].Payload)
	if err != nil {
		return problem(CodeMalformed, "%v", err)
	}
	for _, w := range append([]Vocabulary{Default(), v}, others...) {
		named := func(m strictjson.Member) bool { return m.Name == w.Directive }
		if w.Directive != "" && (c.Member(w.Directive) != nil || slices.ContainsFunc(inside, named)) {
			return problem(CodeMalformed, "a receipt carries no directive")
		}
	}
	return nil
}

// checkAddressed is check 4.
func checkAddressed(o *Order, c *set.Claims, now int64) *Problem {
	switch {
	case len(c.Audience) != 1 || c.Audience[0] != o.ReceiptAudience:
		return problem(CodeWrongAudience, "aud is not the receipt audience of the stream")
	case c.IssuedAt > now+clockSlack:
		return problem(CodeBadTime, "iat lies in the future")
	case c.IssuedAt < o.IssuedAt-clockSlack:
		return problem(CodeBadTime, "iat lies before the order")
	}
	return nil
}

// ParseReceipt reads a receipt event, such as the one a ledger keeps, and holds it to the schema (design
// §11). It judges neither order nor sums; Check does.
func ParseReceipt(event json.RawMessage) (*Receipt, error) {
	if err := strictjson.Check(event, strictjson.Limits{NoFloats: true}); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	r, err := parseReceipt(event)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

// ReceiptOf is ParseReceipt for the receipt SET t; v names the event it has to hold.
func ReceiptOf(t Token, v Vocabulary) (*Receipt, error) {
	if p := CheckForm(t, v, nil); p != nil {
		return nil, p
	}
	return ParseReceipt(t.Claims().Events[0].Payload)
}

// parseReceipt reads a receipt event. With a nil receipt nothing can be compared; with both, the members
// are readable and break the schema.
func parseReceipt(raw json.RawMessage) (*Receipt, error) {
	t, err := tree(raw)
	if err != nil {
		return nil, err
	}
	schemaErr := receiptSchema(t)
	var r Receipt
	if err := decode(raw, &r); err != nil {
		if schemaErr == nil {
			schemaErr = err
		}
		return nil, schemaErr
	}
	return &r, schemaErr
}

// checkLink is check 6: the receipt is about exactly this order (design §5.1-5.4, A19, A20, A23, A57).
func checkLink(o *Order, c *set.Claims, r *Receipt) *Problem {
	parent := ""
	if o.Directive.Parent != nil {
		parent = o.Directive.Parent.OrderHash
	}
	switch {
	case r.Order.SetHash != o.SetHash:
		return problem(CodeOrderMismatch, "order.set_hash is not that of the order")
	case c.TXN != o.TXN:
		return problem(CodeOrderMismatch, "txn is not that of the order")
	case r.Order.EventType != o.EventType:
		return problem(CodeOrderMismatch, "order.event_type is not that of the order")
	case r.Order.ParentHash != parent:
		return problem(CodeOrderMismatch, "order.parent_hash is not the order's parent.order_hash")
	}
	if p := checkCustomer(o, r.Customer); p != nil {
		return p
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.Ref == "" || l.actionID() == ExtraWork { // A19
			continue
		}
		var app, id string
		if l.Target != nil {
			app, id = l.Target.App, l.Target.ID
		}
		if l.Ref != Ref(o.Issuer, o.JTI, l.actionID(), l.Action, app, id) {
			return problem(CodeOrderMismatch, "lines[%d].ref is not the address of that action", i)
		}
	}
	return checkAttachments(r, 1)
}

// checkCustomer is A20. Printing less than asked is no error; see Review.
func checkCustomer(o *Order, c *Customer) *Problem {
	if c == nil {
		return nil
	}
	if c.SubID != nil && (o.Directive.Receipt.Customer != "echo" || !sameJSON(c.SubID, o.SubID)) {
		return problem(CodeOrderMismatch, "customer.sub_id was not asked for, or is not that of the order")
	}
	if c.Hash != "" {
		salt, err := o.Directive.Salt()
		if err != nil {
			return problem(CodeOrderMismatch, "customer.hash, and the order has no salt")
		}
		if want, err := CustomerHash(salt, o.SubID); err != nil || c.Hash != want {
			return problem(CodeOrderMismatch, "customer.hash is not that of the order's subject")
		}
	}
	return nil
}

// sameJSON compares two JSON values, member order aside.
func sameJSON(a, b json.RawMessage) bool {
	x, errX := tree(a)
	y, errY := tree(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
