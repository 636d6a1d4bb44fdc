package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"countersign/internal/strictjson"
)

// ErrInvalid is wrapped by every error about JSON that this package reads.
var ErrInvalid = errors.New("stream: not valid")

// field ties a member's name to the place of its value.
type field struct {
	name string
	into any // *string, *[]string, *int64, **bool, *Audience, or a pointer to a type with UnmarshalJSON
}

// readObject fills the fields and returns the members that are none of them. A member that is null
// counts as absent (RX-37).
func readObject(what string, data []byte, fields []field) (map[string]json.RawMessage, error) {
	members, err := strictjson.Object(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	var extra map[string]json.RawMessage
	for _, m := range members {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.Name })
		switch {
		case i < 0:
			if extra == nil {
				extra = map[string]json.RawMessage{}
			}
			extra[m.Name] = slices.Clone(m.Value)
		case string(m.Value) == "null":
		default:
			if err := readValue(m.Value, fields[i].into); err != nil {
				if errors.Is(err, ErrInvalid) {
					return nil, fmt.Errorf("%s: %s: %w", what, m.Name, err)
				}
				return nil, fmt.Errorf("%w: %s: %s %s", ErrInvalid, what, m.Name, err)
			}
		}
	}
	return extra, nil
}

func readValue(raw json.RawMessage, into any) error {
	switch p := into.(type) {
	case *string:
		if json.Unmarshal(raw, p) != nil {
			return errors.New("is not a string")
		}
	case *[]string:
		items, ok := readStrings(raw)
		if !ok {
			return errors.New("is not an array of strings")
		}
		*p = items
	case *int64:
		var f float64
		if json.Unmarshal(raw, &f) != nil || f < 0 || f > 1<<53 || f != math.Trunc(f) {
			return errors.New("is not a whole number of seconds")
		}
		*p = int64(f)
	case **bool:
		if json.Unmarshal(raw, p) != nil {
			return errors.New("is neither true nor false")
		}
	default:
		return json.Unmarshal(raw, into)
	}
	return nil
}

func readStrings(raw json.RawMessage) ([]string, bool) {
	var items []*string
	if json.Unmarshal(raw, &items) != nil || slices.Contains(items, nil) {
		return nil, false
	}
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = *s
	}
	return out, true
}

// writeObject encodes known, which must encode as an object, and appends the extra members in the
// order of their names. An extra member named like a known one is left out.
func writeObject(known any, fields []field, extra map[string]json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(known); err != nil {
		return nil, err
	}
	out.Truncate(out.Len() - len("}\n"))
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			continue
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		if err := enc.Encode(name); err != nil {
			return nil, err
		}
		out.Truncate(out.Len() - 1)
		out.WriteByte(':')
		out.Write(extra[name])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// Audience is the aud member: a string or an array of strings (SSF 1.0 §8.1.1). One value is written
// as a string.
type Audience []string

// MarshalJSON writes one value as a string, several as an array.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// UnmarshalJSON reads a string or an array of strings.
func (a *Audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil && string(data) != "null" {
		*a = Audience{one}
		return nil
	}
	items, ok := readStrings(data)
	if !ok {
		return errors.New("is neither a string nor an array of strings")
	}
	*a = items
	return nil
}
