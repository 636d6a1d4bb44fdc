package decide

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"countersign/event"
	"countersign/internal/hub"
	"countersign/internal/strictjson"
)

// Transmit is an event that a policy passes on. Which streams it goes to, and whether it went there before, is not
// known here: who carries it out puts that into the finding.
type Transmit struct {
	Policy  string
	Type    string // event type URI
	Payload json.RawMessage
	To      hub.Places // streams by name or id, or all
	Order   json.RawMessage
	Finding int // index of its finding in the decision
}

// common are the members that every CAEP event may have, and that are taken over into one of another type.
var common = []string{"event_timestamp", "initiating_entity", "reason_admin", "reason_user"}

// payloadFor is what the transmitted event says: the signal's own payload where the type is the same, else its common
// members, with the moment of receipt where it says none.
func payloadFor(sig *hub.Signal, typ string) json.RawMessage {
	if sig.EventType == typ {
		return sig.Event
	}
	members, _ := strictjson.Object(sig.Event) // what is no object has no members to take over
	out := map[string]json.RawMessage{}
	for _, m := range members {
		for _, name := range common {
			if m.Name == name {
				out[name] = m.Value
			}
		}
	}
	if out["event_timestamp"] == nil {
		out["event_timestamp"], _ = json.Marshal(sig.Received.Time().Unix())
	}
	raw, _ := json.Marshal(out) // raw members of a payload that was read
	return raw
}

// checkTransmit refuses a rule whose event could never be made from the types that its policy is about.
func (c *Compiled) checkTransmit(r hub.Rule, types *event.Registry) (uri, why string) {
	t, ok := types.Resolve(r.Transmit)
	switch {
	case !ok:
		return "", "there is no event type " + r.Transmit + "; `countersign event types` lists them"
	case t.StreamLevel:
		return "", r.Transmit + " is about the stream itself and is not passed on"
	}
	for on := range c.types {
		if on == t.URI {
			continue
		}
		if _, err := types.Decode(t.URI, json.RawMessage(`{"event_timestamp":1}`)); err != nil {
			return "", r.Transmit + " has members that cannot be made from another type: " + strings.TrimPrefix(err.Error(), "event: ")
		}
	}
	return t.URI, ""
}

// transmit plans that the event is passed on.
func (d *decider) transmit(w wish) {
	t := Transmit{Policy: w.policy.Policy.Name, Type: w.policy.transmits[w.rule-1], To: w.To, Finding: len(d.findings)}
	t.Payload = payloadFor(d.in.Signal, t.Type)
	if len(w.Order) > 0 {
		t.Order = w.Order
		if span, err := time.ParseDuration(w.Within); err == nil {
			t.Order = withCompleteBy(w.Order, d.in.Now.Add(span))
		}
	}
	d.find(w.policy, w.rule, "applies", describe(w.Rule))
	d.transmits = append(d.transmits, t)
}

// withCompleteBy adds the moment until which an order is to be carried out.
func withCompleteBy(order json.RawMessage, by time.Time) json.RawMessage {
	b := bytes.TrimSpace(order)
	if len(b) < 2 || b[len(b)-1] != '}' {
		return order
	}
	moment, _ := json.Marshal(by.Unix())
	out := append([]byte{}, b[:len(b)-1]...)
	if len(bytes.TrimSpace(out)) > 1 {
		out = append(out, ',')
	}
	return append(append(append(out, `"complete_by":`...), moment...), '}')
}

// String words it as tests of policies write it.
func (t Transmit) String() string {
	return describeTransmit(hub.Rule{Transmit: shortName(t.Type), To: t.To, Order: t.Order})
}

// describeTransmit says it as findings and tests do.
func describeTransmit(r hub.Rule) string {
	what := "transmit " + r.Transmit + " to "
	if r.To.All {
		what += "all"
	} else {
		what += strings.Join(r.To.Names, ", ")
	}
	if len(r.Order) > 0 {
		what += ", as an order"
		if r.Within != "" {
			what += " within " + r.Within
		}
	}
	return what
}
