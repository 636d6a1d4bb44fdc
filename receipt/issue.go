package receipt

import (
	"errors"
	"fmt"
	"strings"

	"countersign/set"
)

// ErrIssue is wrapped by every error of Issue.
var ErrIssue = errors.New("receipt: not fit to be issued")

// Issue builds the claims of a receipt SET (design §5.1) for signing: members in a fixed order, so that the
// same receipt gives the same bytes and the same content address. It links r to the order (event_type,
// set_hash, parent_hash, traceparent) and computes totals and outcome where Outcome is empty. What Check
// would refuse on the other side, Issue refuses here; the chain of receipts before is not known to it.
// jti is fresh for each receipt (set.NewID) and iat in seconds.
func Issue(o *Order, r *Receipt, jti string, iat int64) (payload []byte, err error) {
	out := *r
	out.Order.EventType, out.Order.SetHash = o.EventType, o.SetHash
	if o.Directive.Parent != nil {
		out.Order.ParentHash = o.Directive.Parent.OrderHash
	}
	out.Traceparent = o.Directive.Traceparent
	if out.Outcome == "" {
		out.Totals, out.Outcome = Compute(o.Directive, out.Lines)
	}
	event, err := marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssue, err)
	}
	if jti == "" || o.ReceiptIssuer == "" || o.ReceiptAudience == "" {
		return nil, fmt.Errorf("%w: jti, receipt issuer and receipt audience are needed", ErrIssue)
	}
	c := set.Claims{
		Issuer: o.ReceiptIssuer, Audience: []string{o.ReceiptAudience}, IssuedAt: iat, ID: jti, TXN: o.TXN,
		SubID:  o.Subject(),
		Events: []set.Event{{Type: o.Vocabulary.orDefault().Event, Payload: event}},
	}
	if p := selfCheck(o, &c, iat); p != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssue, p)
	}
	r.Order, r.Traceparent, r.Totals, r.Outcome = out.Order, out.Traceparent, out.Totals, out.Outcome
	return c.Marshal()
}

// selfCheck runs on the claims what the transmitter will run, as far as one receipt shows it.
func selfCheck(o *Order, c *set.Claims, iat int64) *Problem {
	r, err := parseReceipt(c.Events[0].Payload)
	if err != nil {
		return problem(CodeSchema, "%v", err)
	}
	if p := checkAddressed(o, c, iat); p != nil {
		return p
	}
	if p := checkLink(o, c, r); p != nil {
		return p
	}
	if p := checkSupersedes(r); p != nil {
		return p
	}
	if r.Order.ReceivedAt > iat+clockSlack {
		return problem(CodeSequenceConflict, "order.received_at lies after the receipt")
	}
	if p := checkLines(o, r); p != nil {
		return p
	}
	return checkSilence(o, r)
}

// checkSilence keeps the subject salt out of a receipt (design §8).
func checkSilence(o *Order, r *Receipt) *Problem {
	salt := o.Directive.Receipt.SubjectSalt
	if salt == "" {
		return nil
	}
	texts := []map[string]string{r.Message}
	for i := range r.Lines {
		texts = append(texts, r.Lines[i].ReasonText)
	}
	for _, m := range texts {
		for _, s := range m {
			if strings.Contains(s, salt) {
				return problem(CodeSchema, "a text holds the subject salt")
			}
		}
	}
	return nil
}
