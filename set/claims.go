package set

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"countersign/internal/strictjson"
)

// Claims are the claims of a SET (RFC 8417 §2.2, SSF 1.0 §4). The order of Audience, Events and Extra
// is kept. Raw values of parsed claims alias the token's payload: do not change them.
type Claims struct {
	Issuer      string          // iss
	Audience    []string        // aud; one value is written as a string, more as an array
	IssuedAt    int64           // iat, NumericDate in whole seconds, floored
	ID          string          // jti
	TXN         string          // txn; empty: absent
	TimeOfEvent int64           // toe, seconds; 0: absent
	SubID       json.RawMessage // sub_id, an object; nil: absent. Package subject reads it
	Events      []Event         // events
	Extra       []Member        // every other member
}

// Event is one member of the events claim.
type Event struct {
	Type    string          // the event type URI
	Payload json.RawMessage // an object; nil is written as {}
}

// Member is a claim this package gives no meaning to.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Member gives the value of a claim from Extra, nil when it is absent.
func (c *Claims) Member(name string) json.RawMessage {
	for i := range c.Extra {
		if c.Extra[i].Name == name {
			return c.Extra[i].Value
		}
	}
	return nil
}

// Marshal writes the claims in the order iss, aud, iat, jti, txn, toe, sub_id, events, extra. Claims
// that this package would refuse to read are ErrClaims: no issuer, iat, jti or event, bad text, a
// repeated name, too many levels, and sub or exp in Extra (SSF 1.0 §4.1.2, §4.1.7).
func (c *Claims) Marshal() ([]byte, error) {
	switch {
	case c.Issuer == "":
		return nil, fmt.Errorf("%w: no iss", ErrClaims)
	case c.ID == "":
		return nil, fmt.Errorf("%w: no jti", ErrClaims)
	case c.IssuedAt == 0:
		return nil, fmt.Errorf("%w: no iat", ErrClaims)
	case len(c.Events) == 0:
		return nil, fmt.Errorf("%w: no event", ErrClaims)
	case !cleanText(c.Issuer) || !cleanText(c.ID) || !cleanText(c.TXN):
		return nil, fmt.Errorf("%w: %w", ErrClaims, strictjson.ErrText)
	}
	for _, a := range c.Audience {
		if !cleanText(a) {
			return nil, fmt.Errorf("%w: aud: %w", ErrClaims, strictjson.ErrText)
		}
	}
	size := 128 + len(c.Issuer) + len(c.ID) + len(c.TXN) + len(c.SubID)
	for _, e := range c.Events {
		size += len(e.Type) + len(e.Payload) + 8
	}
	for _, m := range c.Extra {
		size += len(m.Name) + len(m.Value) + 4
	}
	for _, a := range c.Audience {
		size += len(a) + 3
	}
	out := make([]byte, 0, size)
	out = append(out, `{"iss":`...)
	out = strictjson.AppendString(out, c.Issuer)
	switch len(c.Audience) {
	case 0:
	case 1:
		out = append(out, `,"aud":`...)
		out = strictjson.AppendString(out, c.Audience[0])
	default:
		out = append(out, `,"aud":[`...)
		for i, a := range c.Audience {
			if i > 0 {
				out = append(out, ',')
			}
			out = strictjson.AppendString(out, a)
		}
		out = append(out, ']')
	}
	out = append(out, `,"iat":`...)
	out = strconv.AppendInt(out, c.IssuedAt, 10)
	out = append(out, `,"jti":`...)
	out = strictjson.AppendString(out, c.ID)
	if c.TXN != "" {
		out = append(out, `,"txn":`...)
		out = strictjson.AppendString(out, c.TXN)
	}
	if c.TimeOfEvent != 0 {
		out = append(out, `,"toe":`...)
		out = strconv.AppendInt(out, c.TimeOfEvent, 10)
	}
	if c.SubID != nil {
		if err := checkRaw("sub_id", c.SubID, strictjson.DefaultDepth-1, true); err != nil {
			return nil, err
		}
		out = append(out, `,"sub_id":`...)
		out = append(out, c.SubID...)
	}
	out = append(out, `,"events":{`...)
	for i, e := range c.Events {
		if i > 0 {
			out = append(out, ',')
		}
		if e.Type == "" || !cleanText(e.Type) {
			return nil, fmt.Errorf("%w: event without a clean type", ErrClaims)
		}
		for _, other := range c.Events[:i] {
			if other.Type == e.Type {
				return nil, fmt.Errorf("%w: event %s: %w", ErrClaims, e.Type, strictjson.ErrDuplicate)
			}
		}
		out = strictjson.AppendString(out, e.Type)
		out = append(out, ':')
		if e.Payload == nil {
			out = append(out, '{', '}')
			continue
		}
		if err := checkRaw(e.Type, e.Payload, strictjson.DefaultDepth-2, true); err != nil {
			return nil, err
		}
		out = append(out, e.Payload...)
	}
	out = append(out, '}')
	for i, m := range c.Extra {
		switch m.Name {
		case "sub", "exp":
			return nil, fmt.Errorf("%w: %s in a SET", ErrClaims, m.Name)
		case "iss", "aud", "iat", "jti", "txn", "toe", "sub_id", "events":
			return nil, fmt.Errorf("%w: %s: %w", ErrClaims, m.Name, strictjson.ErrDuplicate)
		}
		if !cleanText(m.Name) {
			return nil, fmt.Errorf("%w: a claim's name: %w", ErrClaims, strictjson.ErrText)
		}
		for _, other := range c.Extra[:i] {
			if other.Name == m.Name {
				return nil, fmt.Errorf("%w: %s: %w", ErrClaims, m.Name, strictjson.ErrDuplicate)
			}
		}
		if err := checkRaw(m.Name, m.Value, strictjson.DefaultDepth-1, false); err != nil {
			return nil, err
		}
		out = append(out, ',')
		out = strictjson.AppendString(out, m.Name)
		out = append(out, ':')
		out = append(out, m.Value...)
	}
	out = append(out, '}')
	if len(out) > strictjson.DefaultBytes {
		return nil, fmt.Errorf("%w: %w", ErrClaims, strictjson.ErrSize)
	}
	return out, nil
}

// checkRaw holds a value somebody else encoded to what Verify will ask of it. Each is checked by itself,
// so that none can close its surroundings and write claims of its own.
func checkRaw(name string, raw json.RawMessage, depth int, wantObject bool) error {
	if err := strictjson.Check(raw, strictjson.Limits{Depth: depth}); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrClaims, name, err)
	}
	if wantObject && !isObject(raw) {
		return fmt.Errorf("%w: %s is not an object", ErrClaims, name)
	}
	return nil
}

// NewID makes a jti: 144 random bits in base64url, 24 characters (RFC 7519 §4.1.7).
func NewID() string {
	var b [18]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// parseClaims reads the members of a payload that strictjson.Check has passed. A claim of another type
// than it should have is left at its zero value and reported as the fault, for Verify to weigh at its
// place in the order; the others are read all the same.
func parseClaims(members []strictjson.Member) (c Claims, fault error) {
	var hasIAT, hasJTI, hasEvents bool
	note := func(name string, err error) {
		if err != nil && fault == nil {
			fault = fmt.Errorf("%w: %s: %s", ErrClaims, name, reason(err))
		}
	}
	for _, m := range members {
		var err error
		switch m.Name { // names are compared exactly: ISS is an unknown member
		case "iss":
			c.Issuer, _ = strictjson.String(m.Value) // Verify compares it; anything else than text fails there
		case "aud":
			c.Audience = audience(m.Value)
		case "iat":
			hasIAT = true
			c.IssuedAt, err = numericDate(m.Value)
			note("iat", err)
		case "jti":
			hasJTI = true
			c.ID, err = nonEmpty(m.Value)
			note("jti", err)
		case "txn":
			c.TXN, err = strictjson.String(m.Value)
			note("txn", err)
		case "toe":
			c.TimeOfEvent, err = numericDate(m.Value)
			note("toe", err)
		case "sub_id":
			if !isObject(m.Value) {
				err = errNotObject
			} else {
				c.SubID = m.Value
			}
			note("sub_id", err)
		case "events":
			hasEvents = true
			c.Events, err = events(m.Value)
			note("events", err)
		default:
			c.Extra = append(c.Extra, Member(m))
		}
	}
	if fault == nil { // RFC 8417 §2.2
		switch {
		case !hasIAT:
			fault = fmt.Errorf("%w: no iat", ErrClaims)
		case !hasJTI:
			fault = fmt.Errorf("%w: no jti", ErrClaims)
		case !hasEvents:
			fault = fmt.Errorf("%w: no events", ErrClaims)
		}
	}
	return c, fault
}

var (
	errNotObject = errors.New("not an object")
	errEmpty     = errors.New("empty")
	errNotNumber = errors.New("not a number")
	errRange     = errors.New("out of range")
)

// reason is the text of an inner error without the prefix of its package.
func reason(err error) string {
	if errors.Is(err, strictjson.ErrType) {
		return "of another type"
	}
	return err.Error()
}

func isObject(raw json.RawMessage) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

func nonEmpty(raw json.RawMessage) (string, error) {
	s, err := strictjson.String(raw)
	if err == nil && s == "" {
		err = errEmpty
	}
	return s, err
}

// audience reads a string or an array of strings; anything else is an empty audience, which fits nobody, and not nil as where
// there is none (RFC 7519 §4.1.3).
func audience(raw json.RawMessage) []string {
	if one, err := strictjson.String(raw); err == nil {
		return []string{one}
	}
	elements, err := strictjson.Elements(raw)
	if err != nil {
		return []string{}
	}
	all := make([]string, 0, len(elements))
	for _, e := range elements {
		one, err := strictjson.String(e)
		if err != nil {
			return []string{}
		}
		all = append(all, one)
	}
	return all
}

func events(raw json.RawMessage) ([]Event, error) {
	if !isObject(raw) {
		return nil, errNotObject
	}
	members, err := strictjson.Members(raw)
	if err != nil {
		return nil, err
	}
	if len(members) == 0 {
		return nil, errEmpty
	}
	all := make([]Event, 0, len(members))
	for _, m := range members {
		if m.Name == "" {
			return nil, errors.New("an event has no type")
		}
		if !isObject(m.Value) {
			return nil, errors.New("an event is not an object")
		}
		all = append(all, Event{m.Name, m.Value})
	}
	return all, nil
}

// numericDate reads seconds since 1970, fractions and exponents allowed (RFC 7519 §2), floored.
func numericDate(raw json.RawMessage) (int64, error) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		if n > maxDate || n < -maxDate {
			return 0, errRange
		}
		return n, nil
	}
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, errNotNumber
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f > maxDate || f < -maxDate {
		return 0, errRange
	}
	return int64(math.Floor(f)), nil
}

// maxDate keeps sums of dates and durations far from overflow; it lies beyond the year 30,000,000.
const maxDate = 1e15

// cleanText reports whether s can stand in a token: valid UTF-8 without NUL.
func cleanText(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
