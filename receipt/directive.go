package receipt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/internal/strictjson"
	"countersign/set"
)

// ErrMalformed is wrapped by every *Malformed: the SET is to be refused on arrival with invalid_request.
var ErrMalformed = errors.New("receipt: malformed directive")

// Malformed says why a directive is refused on arrival (A35). Refusal by receipt is Directive.Refusal.
type Malformed struct{ Text string }

func (m *Malformed) Error() string { return "receipt: malformed directive: " + m.Text }

// Unwrap gives ErrMalformed.
func (m *Malformed) Unwrap() error { return ErrMalformed }

func malformed(format string, args ...any) error {
	return &Malformed{Text: fmt.Sprintf(format, args...)}
}

// Obligations.
const (
	ObligationMust   = "must"   // comply or explain
	ObligationReport = "report" // free to act or not, but send a receipt
)

// Reaches of revoke_sessions, narrowest first (design §5.5).
const (
	ReachSession       = "session"
	ReachSessionTokens = "session_tokens"
	ReachGlobal        = "global"
)

// InvalidDirective is the reason code of an order that is readable and cannot be accepted.
const InvalidDirective = "invalid_directive"

// Directive is the demand that makes a SET an order (design §4). As ParseDirective gives it, defaults stand
// in their members; as an order is built, zero members are left out. Times are seconds; 0 means absent.
type Directive struct {
	Obligation  string          `json:"obligation"`
	Actions     []OrderedAction `json:"actions,omitempty"`
	InterimBy   int64           `json:"interim_by,omitempty"`
	CompleteBy  int64           `json:"complete_by,omitempty"`
	NotAfter    int64           `json:"not_after,omitempty"`
	Priority    string          `json:"priority,omitempty"`
	Receipt     Wanted          `json:"receipt,omitzero"`
	Initiator   *Who            `json:"initiator,omitempty"`
	Traceparent string          `json:"traceparent,omitempty"`
	MaxHops     int             `json:"max_hops,omitempty"`
	Parent      *Parent         `json:"parent,omitempty"`
	Crit        []string        `json:"crit,omitempty"`
	// Defaulted says that Actions are the defaults of the event type, d1, d2, …
	Defaulted bool `json:"-"`

	refusal string
}

// OrderedAction is one action asked for.
type OrderedAction struct {
	ID       string          `json:"id"`
	Action   string          `json:"action"`
	Optional bool            `json:"optional,omitempty"`
	Target   *Target         `json:"target,omitempty"`
	Params   json.RawMessage `json:"params,omitempty"`
}

// Wanted is what the receipt shall look like.
type Wanted struct {
	When        string `json:"when,omitempty"`     // all | final | exceptions
	Evidence    string `json:"evidence,omitempty"` // level
	Detail      string `json:"detail,omitempty"`   // per_target | summary
	Customer    string `json:"customer,omitempty"` // echo | hash | omit
	SubjectSalt string `json:"subject_salt,omitempty"`
	Chain       string `json:"chain,omitempty"` // none | digest | attach
}

// Parent names the order that a sub-order serves.
type Parent struct {
	OrderHash string `json:"order_hash"`
}

// Reach is params.reach, session_tokens when the order does not say. It means something for
// revoke_sessions only.
func (a OrderedAction) Reach() string {
	if r, ok := a.orderedReach(); ok {
		return r
	}
	return ReachSessionTokens
}

// orderedReach is params.reach and whether the order gives it.
func (a OrderedAction) orderedReach() (string, bool) {
	raw := member(a.Params, "reach")
	if raw == nil {
		return "", false
	}
	var s string
	_ = json.Unmarshal(raw, &s) // another type reads as the unknown reach ""
	return s, true
}

// Refusal is the reason code under which the order has to be refused by receipt, "" when it can be accepted.
func (d *Directive) Refusal() string { return d.refusal }

// Salt is the decoded receipt.subject_salt.
func (d *Directive) Salt() ([]byte, error) {
	salt, err := base64.RawURLEncoding.Strict().DecodeString(d.Receipt.SubjectSalt)
	if err != nil {
		return nil, fmt.Errorf("receipt: subject_salt: %w", err)
	}
	if len(salt) < 16 || len(salt) > 64 {
		return nil, fmt.Errorf("receipt: subject_salt of %d octets", len(salt))
	}
	return salt, nil
}

// Action gives the ordered action with that id.
func (d *Directive) Action(id string) (OrderedAction, bool) {
	for _, a := range d.Actions {
		if a.ID == id {
			return a, true
		}
	}
	return OrderedAction{}, false
}

// SuggestedDeadlines are the spans design §4 suggests to a transmitter for interim_by and complete_by.
func SuggestedDeadlines(priority string) (interim, complete time.Duration) {
	switch priority {
	case "emergency":
		return time.Minute, 5 * time.Minute
	case "urgent":
		return 15 * time.Minute, time.Hour
	}
	return 4 * time.Hour, 24 * time.Hour
}

// FindDirective returns the directive of a SET under vocabulary v, nil when there is none. A directive in
// the wrong place, or under the name of one of the other known vocabularies beside it, is a *Malformed.
// It does not look inside; see ParseDirective.
func FindDirective(c *set.Claims, v Vocabulary, others ...Vocabulary) (json.RawMessage, error) {
	v = v.orDefault()
	found := v.directiveAt(c)
	places := 0
	seen := map[string]bool{}
	for _, w := range append([]Vocabulary{v}, others...) {
		if w.Directive == "" || seen[w.Directive] {
			continue
		}
		seen[w.Directive] = true
		if c.Member(w.Directive) != nil {
			places++
		}
		for _, e := range c.Events {
			if member(e.Payload, w.Directive) != nil {
				places++
			}
		}
	}
	switch {
	case places == 0:
		return nil, nil
	case places > 1:
		return nil, malformed("a directive stands under two names or in two places")
	case found == nil && ownName(c, v):
		return nil, malformed("the directive stands in the wrong place")
	case found == nil:
		return nil, nil // another vocabulary than the one negotiated: plain SSF
	}
	return found, nil
}

func ownName(c *set.Claims, v Vocabulary) bool {
	if c.Member(v.Directive) != nil {
		return true
	}
	return slices.ContainsFunc(c.Events, func(e set.Event) bool { return member(e.Payload, v.Directive) != nil })
}

// ParseDirective reads the directive of the SET c and expands its defaults. What cannot be read is a
// *Malformed, refused on arrival; what can be read and not accepted is returned with a Refusal (A35).
// vs are further vocabularies whose receipt and withdrawal events may not be ordered about.
func ParseDirective(raw json.RawMessage, c *set.Claims, vs ...Vocabulary) (*Directive, error) {
	if err := strictjson.Check(raw, strictjson.Limits{NoFloats: true}); err != nil {
		return nil, malformed("%v", err) // A8
	}
	t, err := tree(raw)
	if err != nil {
		return nil, malformed("%v", err)
	}
	if err := directiveSchema(t); err != nil {
		return nil, malformed("%v", err)
	}
	var d Directive
	if err := decode(raw, &d); err != nil {
		return nil, malformed("%v", err)
	}
	if err := d.checkOrder(c, vs); err != nil {
		return nil, err
	}
	if d.Parent != nil && !isHash(d.Parent.OrderHash) {
		return nil, malformed("parent.order_hash is not a sha-256 content address") // A40
	}
	seen := map[string]bool{}
	for _, a := range d.Actions {
		if a.ID == ExtraWork {
			return nil, malformed("action id x is reserved")
		}
		if seen[a.ID] {
			return nil, malformed("action id %q stands twice", a.ID)
		}
		seen[a.ID] = true
	}
	if len(d.Actions) == 0 {
		ev := c.Events[0]
		for i, name := range DefaultActions(ev.Type, ev.Payload) {
			d.Actions = append(d.Actions, OrderedAction{ID: fmt.Sprintf("d%d", i+1), Action: name})
		}
		d.Defaulted = true
		if len(d.Actions) == 0 {
			return nil, malformed("no actions, and %s has no default", ev.Type) // A12
		}
	}
	d.refusal = d.refuse()
	d.expand()
	return &d, nil
}

// checkOrder holds the SET around the directive to design §4 and A35, A46.
func (d *Directive) checkOrder(c *set.Claims, vs []Vocabulary) error {
	switch {
	case len(c.Events) != 1:
		return malformed("an order has one event, this one %d", len(c.Events))
	case len(c.Audience) != 1:
		return malformed("an order names one receiver in aud, this one %d", len(c.Audience))
	case c.Member("exp") != nil:
		return malformed("an order has no exp; its time limits are members of the directive")
	case len(c.SubID) == 0:
		return malformed("an order has a sub_id") // A46
	case c.ID == "":
		return malformed("an order has a jti")
	case c.Issuer == "":
		return malformed("an order has an iss")
	case !orderable(c.Events[0].Type, vs):
		return malformed("%s cannot be ordered about", c.Events[0].Type)
	}
	return nil
}

// orderable: design §4, last paragraph.
func orderable(eventType string, vs []Vocabulary) bool {
	for _, v := range append([]Vocabulary{Default()}, vs...) {
		if eventType == v.Event || eventType == v.Withdrawn {
			return false
		}
	}
	for _, prefix := range []string{ssfPrefix, ssePrefix, riscPrefix} {
		switch name, ok := strings.CutPrefix(eventType, prefix); {
		case ok && name == "verification", ok && name == "stream-updated":
			return false
		}
	}
	return eventType != scimPrefix+"misc:asyncresp" && !strings.HasPrefix(eventType, scimPrefix+"misc:asyncresp:")
}

// refuse finds what can be read and not accepted (A35, A50).
func (d *Directive) refuse() string {
	for _, name := range d.Crit {
		if !understood(name) {
			return InvalidDirective
		}
	}
	if d.Receipt.Customer == "hash" {
		if _, err := d.Salt(); err != nil {
			return InvalidDirective
		}
	}
	if d.Receipt.When == "exceptions" && d.Obligation == ObligationMust {
		return InvalidDirective
	}
	for _, a := range d.Actions {
		if r, given := a.orderedReach(); given && a.Action == "revoke_sessions" && reachRank(r) == 0 {
			return InvalidDirective // a reach that cannot be acted on, nor repeated on a line
		}
	}
	return ""
}

// understood lists the members that crit may name (A50).
func understood(name string) bool {
	if sub, ok := strings.CutPrefix(name, "receipt."); ok {
		return slices.Contains([]string{"when", "evidence", "detail", "customer", "subject_salt", "chain"}, sub)
	}
	return slices.Contains([]string{"obligation", "actions", "interim_by", "complete_by", "not_after", "priority", "receipt",
		"initiator", "traceparent", "max_hops", "parent", "crit"}, name)
}

func (d *Directive) expand() {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&d.Priority, "routine")
	set(&d.Receipt.When, "final")
	set(&d.Receipt.Evidence, Assertion)
	set(&d.Receipt.Detail, "per_target")
	set(&d.Receipt.Customer, "omit")
	set(&d.Receipt.Chain, "digest")
}

func reachRank(r string) int {
	return 1 + slices.Index([]string{ReachSession, ReachSessionTokens, ReachGlobal}, r)
}

// Marshal writes the directive as an order carries it: zero members left out, defaulted actions too.
func (d *Directive) Marshal() (json.RawMessage, error) {
	w := *d
	if w.Defaulted {
		w.Actions = nil
	}
	raw, err := marshal(w)
	return bytes.Clone(raw), err
}
