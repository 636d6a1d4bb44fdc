package event

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/strictjson"
)

// Identifying is a member whose value names a person, a resource or a session in the name space of whoever
// made the event. Whoever passes the event on under another name of the subject must not pass such a value with it.
type Identifying struct {
	Member string
	// Like: it is an identifier of the subject's own format, as the new address is beside the old one. It may go to
	// whoever is told the subject in the event's own words.
	Like bool
	// Within: only an array with an item that has this text in it names something; empty: any value.
	Within string
}

// common are members without an identifier that senders add to events of every type (CAEP 1.0 §2). Their texts are for people.
var common = []string{"event_timestamp", "initiating_entity", "reason_admin", "reason_user"}

// Identifies lists the members of a payload that name somebody or something: those that the type says, and those that
// it does not define, unless they are true, false or null. A payload that is no object is an error that wraps ErrInvalid.
func (t Type) Identifies(payload json.RawMessage) ([]Identifying, error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var out []Identifying
	for _, m := range members {
		switch string(m.Value) {
		case "null", "true", "false":
			continue
		}
		known := slices.IndexFunc(t.Identifying, func(i Identifying) bool { return i.Member == m.Name })
		switch {
		case known >= 0:
			if i := t.Identifying[known]; i.Within == "" || i.within(m.Value) {
				out = append(out, i)
			}
		case !slices.Contains(t.Members, m.Name) && !slices.Contains(common, m.Name):
			out = append(out, Identifying{Member: m.Name})
		}
	}
	return out, nil
}

// within reports whether an item holds the text; what is no array of strings may.
func (i Identifying) within(value json.RawMessage) bool {
	var items []string
	return json.Unmarshal(value, &items) != nil || slices.ContainsFunc(items, func(s string) bool { return strings.Contains(s, i.Within) })
}

// Among gives those of the identifying members that the type of p defines.
func Among(p Described, all ...Identifying) []Identifying {
	names := Names(p)
	var out []Identifying
	for _, i := range all {
		if slices.Contains(names, i.Member) {
			out = append(out, i)
		}
	}
	return out
}
