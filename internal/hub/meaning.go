package hub

import (
	"encoding/json"
	"maps"
	"slices"

	"countersign/receipt"
)

// Meaning is what one event type means to the hub: what is done about it where an order names no action, what its
// members are called in conditions, and an example.
type Meaning struct {
	Type  string // event type URI
	Label string // what happened, in a few words, for people
	// Means says what it stands for and what the sender expects, in a sentence.
	Means string
	// Default are the actions that it stands for (receipts design §5.5), in their order; empty where it is about no person.
	// One that depends on a member names it in Depends.
	Default []string
	// Depends is the member that the default actions depend on, and ByValue the actions of each of its values.
	Depends string
	ByValue map[string][]string
	// Variables are the members that conditions may name below signal.event; another name is refused when a policy is loaded.
	Variables []Variable
	// Example is a payload as it could occur. A type without members of its own has {}.
	Example json.RawMessage
	// Resource is set where the subject is a resource of SCIM and no person's address.
	Resource bool
}

// Variable is one member of an event as conditions see it.
type Variable struct {
	Name   string // in conditions; a hyphen of the member is an underscore here
	Member string // as the event has it
	Kind   string // text | number | object | list | any
	Text   string // what it says
}

// MeaningOf gives what an event type means; false for a type that is not in the table.
func MeaningOf(uri string) (Meaning, bool) {
	m, ok := meanings[uri]
	return m, ok
}

// Meanings gives the whole table, by URI.
func Meanings() []Meaning {
	out := make([]Meaning, 0, len(meanings))
	for _, uri := range slices.Sorted(maps.Keys(meanings)) {
		out = append(out, meanings[uri])
	}
	return out
}

// Variable kinds.
const (
	kindText   = "text"
	kindNumber = "number"
	kindObject = "object"
	kindList   = "list"
)

const (
	caepType = "https://schemas.openid.net/secevent/caep/event-type/"
	riscType = "https://schemas.openid.net/secevent/risc/event-type/"
	scimType = "urn:ietf:params:scim:event:"
)

var meanings = func() map[string]Meaning {
	out := map[string]Meaning{}
	for _, m := range slices.Concat(caepMeanings(), riscMeanings(), scimMeanings()) {
		if len(m.Example) == 0 {
			m.Example = json.RawMessage(`{}`)
		}
		for i := range m.Variables {
			if m.Variables[i].Member == "" {
				m.Variables[i].Member = m.Variables[i].Name
			}
		}
		m.Default = receipt.DefaultActions(m.Type, m.Example)
		if m.Depends != "" {
			m.ByValue = map[string][]string{}
			for _, v := range []string{"create", "update", "revoke", "delete"} {
				m.ByValue[v] = receipt.DefaultActions(m.Type, json.RawMessage(`{"`+m.Depends+`":"`+v+`"}`))
			}
			m.Default = nil
		}
		out[m.Type] = m
	}
	return out
}()

// common are the members that every event of CAEP may have, and that senders of RISC add as well (CAEP 1.0 §2).
func common(more ...Variable) []Variable {
	return append(more,
		Variable{Name: "event_timestamp", Kind: kindNumber, Text: "when it happened, seconds since 1970"},
		Variable{Name: "initiating_entity", Kind: kindText, Text: "who brought it about: admin, user, policy or system"},
		Variable{Name: "reason_admin", Kind: kindObject, Text: "the reason for administrators, by language"},
		Variable{Name: "reason_user", Kind: kindObject, Text: "the reason for the person, by language"})
}
