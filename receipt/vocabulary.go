package receipt

import (
	"encoding/json"

	"countersign/internal/strictjson"
	"countersign/set"
)

// Namespace is the prefix of the names this profile defines (design §2). It is one constant, so that the
// project can replace the placeholder in one place; a breaking change mints a new one.
const Namespace = "https://ns.countersign.example/ar/1"

// Places where a vocabulary may put the directive.
const (
	AtClaim = "claim" // top level of the claims
	AtEvent = "event" // inside the event object
)

// Vocabulary is one configured set of names (design §2). The zero value is not usable; start from Default.
type Vocabulary struct {
	// Settings is the member of transmitter metadata and stream configuration.
	Settings string `json:"settings,omitempty"`
	// Directive is the claim, or the member of the event object, that makes a SET an order.
	Directive string `json:"directive"`
	// Event is the single event type of a receipt.
	Event string `json:"event"`
	// Withdrawn is the stream-level event that takes an order back (design §6.6).
	Withdrawn string `json:"withdrawn"`
	// Location says where the directive stands: AtClaim or AtEvent; empty means AtClaim.
	Location string `json:"directive_location,omitempty"`
}

// Default gives the names under Namespace.
func Default() Vocabulary {
	return Vocabulary{
		Settings:  Namespace + "/action-receipts",
		Directive: Namespace + "/directive",
		Event:     Namespace + "/event-type/action-receipt",
		Withdrawn: Namespace + "/event-type/directive-withdrawn",
		Location:  AtClaim,
	}
}

// Strip removes the directive from an event payload, for a hub that copies the payload into a SET of its own:
// the obligation was its own and is not passed on by accident (design §2). It changes nothing where v puts
// the directive at the top level.
func (v Vocabulary) Strip(payload json.RawMessage) json.RawMessage {
	if v.Location != AtEvent || member(payload, v.Directive) == nil {
		return payload
	}
	ms, err := strictjson.Object(payload)
	if err != nil {
		return payload
	}
	out := []byte{'{'}
	for _, m := range ms {
		if m.Name == v.Directive {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quote(m.Name)...), ':'), m.Value...)
	}
	return append(out, '}')
}

func (v Vocabulary) orDefault() Vocabulary {
	if v.Directive == "" && v.Event == "" {
		return Default()
	}
	return v
}

// Token is what the package reads of a SET. Both *set.Token and *set.Unverified are one: reading an
// unverified token judges its form, and its signature remains the caller's business.
type Token interface {
	Header() set.Header
	Claims() set.Claims
	Address() string
	Payload() []byte
}

// directiveAt returns the raw directive of v in c, looking only where v puts it.
func (v Vocabulary) directiveAt(c *set.Claims) json.RawMessage {
	if v.Location == AtEvent {
		if len(c.Events) != 1 {
			return nil
		}
		return member(c.Events[0].Payload, v.Directive)
	}
	return c.Member(v.Directive)
}
