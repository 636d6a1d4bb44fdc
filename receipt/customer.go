package receipt

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Customer is how a receipt speaks of the order's subject (A20). Exactly one member is set.
type Customer struct {
	SubID   json.RawMessage
	Hash    string
	Omitted bool
}

// MarshalJSON writes the one member that is set.
func (c Customer) MarshalJSON() ([]byte, error) {
	switch {
	case c.SubID != nil:
		var b bytes.Buffer
		if err := json.Compact(&b, c.SubID); err != nil {
			return nil, err
		}
		return []byte(`{"sub_id":` + b.String() + `}`), nil
	case c.Hash != "":
		return []byte(`{"hash":` + quote(c.Hash) + `}`), nil
	case c.Omitted:
		return []byte(`{"omitted":true}`), nil
	}
	return nil, fmt.Errorf("receipt: customer without a member")
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Customer) UnmarshalJSON(data []byte) error {
	ms, err := object(data)
	if err != nil {
		return err
	}
	*c = Customer{}
	for name, raw := range ms {
		switch name {
		case "sub_id":
			c.SubID = bytes.Clone(raw)
		case "hash":
			err = json.Unmarshal(raw, &c.Hash)
		case "omitted":
			err = json.Unmarshal(raw, &c.Omitted)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CustomerFor gives the customer member that the directive asks for: echo, hash or omitted. Where a hash is
// asked and cannot be had (a subject with a number inside), it gives omitted (A20).
func CustomerFor(o *Order) *Customer {
	switch o.Directive.Receipt.Customer {
	case "echo":
		return &Customer{SubID: o.SubID}
	case "hash":
		salt, err := o.Directive.Salt()
		if err != nil {
			break
		}
		h, err := CustomerHash(salt, o.SubID)
		if err != nil {
			break
		}
		return &Customer{Hash: h}
	}
	return &Customer{Omitted: true}
}
