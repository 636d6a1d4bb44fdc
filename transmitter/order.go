package transmitter

import (
	"encoding/json"
	"fmt"
	"slices"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
)

// takesOrder reports whether a directive may be sent on a stream: receipts are active there, its type may carry
// one, and every required action is among those that the receiver said it can do (receipts design §3.2, §3.3).
func (t *Transmitter) takesOrder(s *Stream, m *Message) bool {
	if s.ReceiptIssuer == "" || t.cfg.Receipts == nil {
		return false
	}
	if !slices.Contains(t.cfg.Receipts.DirectiveEvents, m.Type) {
		return false
	}
	agreed, err := receipt.ParseSettings(s.Receipts)
	if err != nil {
		return false
	}
	var d receipt.Directive
	if err := json.Unmarshal(m.Order, &d); err != nil {
		return true // planOrder says what is wrong with it
	}
	wanted := d.Actions
	if len(wanted) == 0 {
		for _, a := range receipt.DefaultActions(m.Type, m.Payload) {
			wanted = append(wanted, receipt.OrderedAction{Action: a})
		}
	}
	for _, a := range wanted {
		if !a.Optional && !agreed.MayOrder(a.Action, m.Type) {
			return false
		}
	}
	return true
}

// planOrder fixes the signing input of an order for one stream. The directive is held to the receipts design
// before it leaves: one that the other side would refuse is not sent.
func (t *Transmitter) planOrder(s *Stream, m *Message, row *Row, signer *set.Signer) error {
	if len(s.Audience) != 1 {
		return fmt.Errorf("transmitter: stream %s has %d audiences; an order names one", s.ID, len(s.Audience)) // receipts design §4
	}
	agreed, err := receipt.ParseSettings(s.Receipts)
	if err != nil {
		return fmt.Errorf("transmitter: stream %s: %w", s.ID, err)
	}
	v := t.cfg.Vocabulary
	payload := m.Payload
	if v.Location == receipt.AtEvent {
		payload = withMember(payload, v.Directive, m.Order)
	}
	claims := appendClaims(nil, claimsStart(t.cfg.Issuer, s.Audience), row.IssuedAt, row.JTI, Body(m.TXN, m.TimeOfEvent, m.SubID, m.Type, payload))
	if v.Location != receipt.AtEvent {
		claims = withMember(claims, v.Directive, m.Order)
	}
	row.Input = signer.Input(claims)
	u, err := set.Parse(row.Input + ".AA")
	if err != nil {
		return fmt.Errorf("transmitter: order: %w", err)
	}
	o, err := receipt.OrderOf(u, v)
	if err != nil {
		return fmt.Errorf("transmitter: order: %w", err)
	}
	if reason := o.Directive.Refusal(); reason != "" {
		return fmt.Errorf("transmitter: order: a receiver has to refuse this directive as %s", reason)
	}
	row.Order = &SentOrder{
		JTI: row.JTI, Receiver: s.Receiver, Stream: s.ID,
		ReceiptIssuer: s.ReceiptIssuer, ReceiptAudience: agreed.ReceiptAudience,
		SetHash: u.Address(), Input: row.Input, EventType: m.Type, TXN: m.TXN,
		IssuedAt: row.IssuedAt, CompleteBy: o.Directive.CompleteBy, State: OrderQueued,
	}
	return nil
}

// withMember adds a member at the end of a JSON object.
func withMember(object []byte, name string, value json.RawMessage) []byte {
	b := appendJSON(nil, object)
	b = b[:len(b)-1]
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = strictjson.AppendString(b, name)
	b = appendJSON(append(b, ':'), value)
	return append(b, '}')
}
