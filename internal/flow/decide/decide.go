package decide

import (
	"time"

	"countersign/internal/hub"
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
	Identity  *hub.Identity // nil when unresolved; then only NotAuthorized is looked at
	Session   string        // the session that the subject names
	SessionAt string        // the place in whose name space it stands
	// NotAuthorized: the subject is outside the tenant. Every ordered action fails with not_authorized.
	NotAuthorized bool
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
type Charge struct {
	Scope    string // "policy:NAME:SOURCE" or "source:NAME"
	Identity string
}

// Result is a decision and the work it plans.
type Result struct {
	Decision hub.Decision
	Actions  []*hub.Action
	Charges  []Charge
}
