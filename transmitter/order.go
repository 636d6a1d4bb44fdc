package transmitter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
)

// refusesOrder says why a directive may not be sent on a stream; empty where it may: receipts are active there, its
// type may carry one, and every required action is among those that the receiver said it can do (receipts design
// §3.2, §3.3).
func (t *Transmitter) refusesOrder(s *Stream, m *Message) string {
	if s.ReceiptIssuer == "" || t.cfg.Receipts == nil {
		return "receipts are not active on the stream"
	}
	if !slices.Contains(t.cfg.Receipts.DirectiveEvents, m.Type) {
		return "this event type carries no orders"
	}
	agreed, err := receipt.ParseSettings(s.Receipts)
	if err != nil {
		return "what was agreed about receipts cannot be read"
	}
	var d receipt.Directive
	if err := json.Unmarshal(m.Order, &d); err != nil {
		return "" // planOrder says what is wrong with it
	}
	wanted := d.Actions
	if len(wanted) == 0 {
		for _, a := range receipt.DefaultActions(m.Type, m.Payload) {
			wanted = append(wanted, receipt.OrderedAction{Action: a})
		}
	}
	for _, a := range wanted {
		if !a.Optional && !agreed.MayOrder(a.Action, m.Type) {
			return "the receiver does not take the action " + printable(a.Action)
		}
	}
	return ""
}

// planOrder fixes the signing input of an order for one stream. The directive is held to the receipts design
// before it leaves: one that the other side would refuse is not sent.
func (f *fitting) planOrder(s *Stream, named subject.Identifier, payload json.RawMessage, row *Row, signer *set.Signer) error {
	t, m := f.t, f.m
	if len(s.Audience) != 1 {
		return fmt.Errorf("transmitter: stream %s has %d audiences; an order names one", s.ID, len(s.Audience)) // receipts design §4
	}
	agreed, err := receipt.ParseSettings(s.Receipts)
	if err != nil {
		return fmt.Errorf("transmitter: stream %s: %w", s.ID, err)
	}
	v := t.cfg.Vocabulary
	if v.Location == receipt.AtEvent {
		payload = withMember(payload, v.Directive, m.Order)
	}
	claims := appendClaims(nil, claimsStart(t.cfg.Issuer, s.Audience), row.IssuedAt, row.JTI, shapeBody(s.Shape, f.typ, m, named, payload))
	if v.Location != receipt.AtEvent {
		claims = withMember(claims, v.Directive, m.Order)
	}
	row.Input = signer.Input(claims)
	u, o, err := t.readOrder(row.Input)
	if err != nil {
		return err
	}
	row.Order = &SentOrder{
		JTI: row.JTI, Receiver: s.Receiver, Stream: s.ID,
		ReceiptIssuer: s.ReceiptIssuer, ReceiptAudience: agreed.ReceiptAudience, Agreed: s.Receipts,
		SetHash: u.Address(), Input: row.Input, EventType: m.Type, TXN: m.TXN,
		IssuedAt: row.IssuedAt, CompleteBy: o.Directive.CompleteBy, InterimBy: o.Directive.InterimBy, When: o.Directive.Receipt.When,
		State: OrderQueued,
	}
	return nil
}

// readOrder reads a signing input back as the receiver will, and refuses what that one would refuse.
func (t *Transmitter) readOrder(input string) (*set.Unverified, *receipt.Order, error) {
	u, err := set.Parse(input + ".AA")
	if err != nil {
		return nil, nil, fmt.Errorf("transmitter: order: %w", err)
	}
	o, err := receipt.OrderOf(u, t.cfg.Vocabulary)
	if err != nil {
		return nil, nil, fmt.Errorf("transmitter: order: %w", err)
	}
	if reason := o.Directive.Refusal(); reason != "" {
		return nil, nil, fmt.Errorf("transmitter: order: a receiver has to refuse this directive as %s", reason)
	}
	return u, o, nil
}

// replan gives a row that was not delivered another identity: a new jti, the time of now, and a key that signs now.
// An order gets a new signing input, and with it a new content address. It is what Store.Reissue asks for, and calls no store.
func (t *Transmitter) replan(stream int64, it *Item) (Row, error) {
	alg := it.Algorithm
	if snap := t.streams.Load(); snap != nil && snap.byKey[stream] != nil {
		alg = snap.byKey[stream].Algorithm
	}
	signer, err := t.keys().signer(alg)
	if err != nil {
		return Row{}, err
	}
	row := Row{Stream: stream, Seq: it.Seq, JTI: set.NewID(), IssuedAt: t.cfg.Now().Unix(), KeyID: signer.KeyID(), Algorithm: string(signer.Algorithm())}
	if it.Input == "" {
		return row, nil
	}
	old, err := set.Parse(it.Input + ".AA")
	if err != nil {
		return Row{}, fmt.Errorf("transmitter: order: %w", err)
	}
	for _, iat := range []int64{row.IssuedAt, it.IssuedAt} { // an order that its deadline has overtaken keeps its old iat
		row.IssuedAt = iat
		row.Input = signer.Input(restamp(old.Payload(), iat, row.JTI))
		var u *set.Unverified
		var o *receipt.Order
		if u, o, err = t.readOrder(row.Input); err == nil {
			row.Order = &SentOrder{JTI: row.JTI, SetHash: u.Address(), Input: row.Input, IssuedAt: iat, CompleteBy: o.Directive.CompleteBy, State: OrderQueued}
			return row, nil
		}
	}
	return Row{}, err
}

// restamp writes claims again under another iat and jti.
func restamp(claims []byte, iat int64, jti string) []byte {
	members, _ := strictjson.Object(claims)
	b := []byte{'{'}
	for i, c := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strictjson.AppendString(b, c.Name), ':')
		switch c.Name {
		case "jti":
			b = strictjson.AppendString(b, jti)
		case "iat":
			b = strconv.AppendInt(b, iat, 10)
		default:
			b = append(b, c.Value...)
		}
	}
	return append(b, '}')
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
