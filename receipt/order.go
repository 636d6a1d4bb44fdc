package receipt

import (
	"encoding/json"
	"errors"
	"fmt"

	"countersign/internal/strictjson"
	"countersign/set"
)

// ErrNoDirective says that a SET is no order.
var ErrNoDirective = errors.New("receipt: the SET carries no directive")

// Order is one order as both sides see it. OrderOf fills what the SET says; the receipt members come from
// the stream the order travelled on.
type Order struct {
	Issuer    string
	JTI       string
	TXN       string // empty: the order has none
	EventType string
	SetHash   string // content address of the order
	Audience  string
	IssuedAt  int64
	SubID     json.RawMessage
	Directive *Directive

	// ReceiptIssuer is who may answer; OrderOf sets the order's audience (A4).
	ReceiptIssuer string
	// ReceiptAudience is the aud of the answer; OrderOf sets the order's issuer (A4).
	ReceiptAudience string
	// Algorithms lists what may sign the answer; empty means all of package set.
	Algorithms []set.Algorithm
	// Vocabulary is the one negotiated; OrderOf sets its argument. The zero value means Default.
	Vocabulary Vocabulary
}

// OrderOf reads an order. The error wraps ErrNoDirective where the SET carries no directive under v, and
// ErrMalformed where it carries one that has to be refused on arrival.
func OrderOf(t interface {
	Claims() set.Claims
	Address() string
}, v Vocabulary, others ...Vocabulary) (*Order, error) {
	v = v.orDefault()
	c := t.Claims()
	raw, err := FindDirective(&c, v, others...)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, ErrNoDirective
	}
	d, err := ParseDirective(raw, &c, append([]Vocabulary{v}, others...)...)
	if err != nil {
		return nil, err
	}
	return &Order{
		Issuer: c.Issuer, JTI: c.ID, TXN: c.TXN, EventType: c.Events[0].Type, SetHash: t.Address(),
		Audience: c.Audience[0], IssuedAt: c.IssuedAt, SubID: c.SubID, Directive: d,
		ReceiptIssuer: c.Audience[0], ReceiptAudience: c.Issuer, Vocabulary: v,
	}, nil
}

// Subject is the sub_id of a receipt for this order: a jwt_id that names it (design §5.1).
func (o *Order) Subject() json.RawMessage {
	return json.RawMessage(`{"format":"jwt_id","iss":` + quote(o.Issuer) + `,"jti":` + quote(o.JTI) + `}`)
}

// Named reads which order a receipt, or a withdrawal, is about.
func Named(c *set.Claims) (iss, jti string, err error) {
	ms, err := object(c.SubID)
	if err != nil {
		return "", "", fmt.Errorf("receipt: sub_id: %w", err)
	}
	text := func(name string) (s string) {
		if err == nil && ms[name] != nil {
			err = strictjson.Unmarshal(ms[name], &s)
		}
		return s
	}
	format, iss, jti := text("format"), text("iss"), text("jti")
	if err != nil || format != "jwt_id" || iss == "" || jti == "" {
		return "", "", errors.New("receipt: sub_id is no jwt_id of an order")
	}
	return iss, jti, nil
}
