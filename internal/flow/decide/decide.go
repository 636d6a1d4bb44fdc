package decide

import (
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
)

// App is what decide knows of one app.
type App struct {
	Name  string
	Match string // email | declared
	// Offers reports whether the app's pack has an operation.
	Offers func(hub.Operation) bool
}

// Person is whom the signal is about, as correlation found.
type Person struct {
	Identity  *hub.Identity
	Session   string // the session that the subject names
	SessionAt string // the place in whose name space it stands
	Implicit  bool   // an address nobody declared
}

// Order is the directive of a signal, as decide needs it. OrderOf makes it from a receipt.Directive.
type Order struct {
	Obligation string // must | report
	Actions    []Ordered
	CompleteBy int64 // NumericDate; 0: none
	NotAfter   int64 // NumericDate; 0: none
}

// Ordered is one action of an order.
type Ordered struct {
	ID       string
	Action   string
	Reach    hub.Reach // of revoke_sessions; empty: session_tokens
	Optional bool
	App      string // target.app; empty: every app of orders.at
	Account  string // target.id; empty: the person's account
}

// OrderOf takes from a directive what decides.
func OrderOf(d *receipt.Directive) *Order {
	o := &Order{Obligation: d.Obligation, CompleteBy: d.CompleteBy, NotAfter: d.NotAfter}
	for _, a := range d.Actions {
		x := Ordered{ID: a.ID, Action: a.Action, Optional: a.Optional}
		if a.Action == hub.RevokeSessions {
			x.Reach = hub.Reach(a.Reach())
		}
		if a.Target != nil {
			x.App = a.Target.App
			if a.Target.Kind == "" || a.Target.Kind == "account" {
				x.Account = a.Target.ID
			}
		}
		o.Actions = append(o.Actions, x)
	}
	return o
}

// Input is one signal to decide.
type Input struct {
	Signal *hub.Signal
	Source *hub.Source // for the API door a source with only a name, and orders as the client may order
	Person Person
	Order  *Order // nil: nothing was ordered
	Apps   []App
	Now    time.Time
	// Used says how many other people a limit's scope has counted since a moment, and whether this identity
	// is among the counted. Nil: nobody yet.
	Used func(scope, identity string, since time.Time) (others int, counted bool, err error)
}

// Charge is one person counted against a limit, written in the transaction that writes the decision.
// Its members are those of store.Charge.
type Charge struct {
	Scope    string // "policy:NAME:SOURCE" or "source:NAME"
	Identity string
	Limit    int // how many other people may be counted since Since; 0: this person is counted already
	Since    hub.Micros
}

// Result is a decision and the work it plans.
type Result struct {
	Decision hub.Decision
	Actions  []*hub.Action
	Charges  []Charge
	// Transmits are the events that policies pass on, in their order.
	Transmits []Transmit
}

// Decide gives the decision for one signal. The same input gives the same decision but for its ids.
// Its error is that of in.Used, or hub.Internal for an input without a person; a policy that fails to
// evaluate is a finding, not an error.
func (s *Set) Decide(in Input) (*Result, error) {
	if in.Person.Identity == nil {
		return nil, hub.Errorf(hub.Internal, "decide: the signal has no person")
	}
	d := newDecider(in)
	d.vars = variables(in)
	s.evaluate(d)
	if err := d.ordered(); err != nil {
		return nil, err
	}
	if err := d.policies(); err != nil {
		return nil, err
	}
	return d.result(), nil
}
