package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"countersign/internal/hub"
)

// decider holds one decision while it is made.
type decider struct {
	in       Input
	now      hub.Micros
	vars     map[string]any
	covered  bool // an enforcing policy is about this type from this source
	wishes   []wish
	denies   []wish
	findings []hub.Finding
	actions  []*hub.Action
	charges  []Charge
	// transmits are what policies pass on.
	transmits []Transmit
}

func newDecider(in Input) *decider { return &decider{in: in, now: hub.At(in.Now)} }

func (d *decider) result() *Result {
	r := &Result{Actions: d.actions, Charges: d.charges, Transmits: d.transmits}
	r.Decision = hub.Decision{ID: hub.NewID(hub.PrefixDecision, d.in.Now), SignalID: d.in.Signal.ID, At: d.now, Inputs: d.inputs(), Findings: d.findings, Planned: []string{}}
	if r.Decision.Findings == nil {
		r.Decision.Findings = []hub.Finding{}
	}
	for _, a := range d.actions {
		r.Decision.Planned = append(r.Decision.Planned, a.ID)
	}
	return r
}

// action makes one action with the times that every action of this decision shares.
func (d *decider) action(name string) *hub.Action {
	sig := d.in.Signal
	a := &hub.Action{ID: hub.NewID(hub.PrefixAction, d.in.Now), Tenant: sig.Tenant, SignalID: sig.ID, SignalSeq: sig.Seq, Name: name, Line: "x",
		State: hub.Planned, Requested: d.now, Deadline: d.deadline()}
	if id := d.in.Person.Identity; id != nil {
		a.Identity = id.Name
	}
	if d.in.Order != nil && d.in.Order.NotAfter > 0 {
		a.NotAfter = hub.Micros(d.in.Order.NotAfter * 1e6)
	}
	d.actions = append(d.actions, a)
	return a
}

// deadline is when tries end: 10 s before the order's complete_by, or a tenth of the span if that is less,
// else 24 h (design §3, when to give up).
func (d *decider) deadline() hub.Micros {
	if o := d.in.Order; o != nil && o.CompleteBy > 0 {
		end := hub.Micros(o.CompleteBy * 1e6)
		before := hub.Micros(10 * time.Second / time.Microsecond)
		if tenth := (end - d.now) / 10; tenth < before {
			before = max(tenth, 0)
		}
		return end - before
	}
	return d.now + hub.Micros(24*time.Hour/time.Microsecond)
}

// close makes an action final as soon as it is decided.
func (d *decider) close(a *hub.Action, state hub.State, reason, text string) *hub.Action {
	a.State, a.Reason, a.ReasonText, a.Completed = state, reason, text, d.now
	a.Level, a.Method = hub.Assertion, "operator_statement"
	return a
}

// target is one account at one app, or the way to it.
type target struct {
	app     App
	account string
	email   string // to look up where account is empty
}

// targets are the person's accounts at an app. Declared accounts win over a look-up.
func (d *decider) targets(app App) []target {
	id := d.in.Person.Identity
	var out []target
	for _, a := range id.Accounts {
		if a.At == app.Name {
			out = append(out, target{app: app, account: a.ID})
		}
	}
	if emails := askable(id.Emails); len(out) == 0 && app.Match == "email" && len(emails) > 0 {
		out = append(out, target{app: app, email: strings.Join(emails, " ")})
	}
	return out
}

// askable are the addresses that an app is asked for. One with white space in its quoted part is not: an action writes
// its addresses one after the other, and such a one would read as several, of other people.
func askable(emails []string) []string {
	return slices.DeleteFunc(slices.Clone(emails), func(e string) bool { return strings.ContainsFunc(e, unicode.IsSpace) })
}

func (d *decider) apps(at hub.Places, all bool) []App {
	var out []App
	for _, a := range d.in.Apps {
		if all || at.Has(a.Name) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b App) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// supports reports whether an app's pack can do an action with a reach.
func supports(app App, action string, reach hub.Reach) bool {
	steps := hub.Steps(action, reach)
	if steps == nil || app.Offers == nil {
		return false
	}
	for _, s := range steps {
		if s.Optional || app.Offers(s.Op) {
			continue
		}
		if s.OrElse == "" || !app.Offers(s.OrElse) || s.ForEach && !app.Offers(hub.OpListSessions) {
			return false
		}
	}
	return true
}

// sessionAt gives the session's id where it means something at this app, and "" elsewhere.
func (d *decider) sessionAt(app App) string {
	if d.in.Person.SessionAt == app.Name {
		return d.in.Person.Session
	}
	return ""
}

// home reports whether the session means something at one of the apps, and its pack can end it there. Then
// it is nobody else's session: the other apps have nothing to do with it.
func (d *decider) home(apps []App) bool {
	return slices.ContainsFunc(apps, func(a App) bool {
		return d.sessionAt(a) != "" && len(d.targets(a)) > 0 && supports(a, hub.RevokeSessions, hub.ReachSession)
	})
}

// same finds the action that already does this: equal action, app and account (design §3). One with work to do
// stands before one that was closed by the decision.
func (d *decider) same(name string, t target) *hub.Action {
	var closed *hub.Action
	for _, a := range d.actions {
		if a.Name != name || a.App != t.app.Name || a.Account != t.account || a.Email != t.email {
			continue
		}
		if !a.State.Final() {
			return a
		}
		if closed == nil {
			closed = a
		}
	}
	return closed
}

// widens reports whether a policy's fallback is to be carried out beside an ordered action that this decision closed
// because its session means nothing at the app (details B3).
func (d *decider) widens(w wish, t target, before *hub.Action, reach hub.Reach) bool {
	return before.Ordered && before.State.Final() && before.Name == hub.RevokeSessions && before.Reach == hub.ReachSession &&
		(before.Reason == "not_supported" || before.Reason == "not_applicable") &&
		reach != "" && reach != before.Reach && hub.Wider(reach, before.Reach) && supports(t.app, w.Action, reach)
}

// denied gives the deny that forbids an action at an app.
func (d *decider) denied(action, app string) (wish, bool) {
	for _, w := range d.denies {
		if w.Deny == action && (w.At.Empty() || w.At.Has(app)) {
			return w, true
		}
	}
	return wish{}, false
}

func (d *decider) protected() bool {
	id := d.in.Person.Identity
	return id != nil && id.Protect != "" && id.Protect != "none"
}

// limit asks whether one more person fits, and gives the charge to write if so.
func (d *decider) limit(scope string, l *hub.Limits) (charge *Charge, why string, err error) {
	if l == nil {
		return nil, "", nil
	}
	per, err := time.ParseDuration(l.Per)
	if err != nil || per <= 0 {
		return nil, "the limit's span " + l.Per + " cannot be read", nil
	}
	since := d.in.Now.Add(-per)
	c := &Charge{Scope: scope, Identity: d.in.Person.Identity.Name, Limit: l.People, Since: hub.At(since)}
	if d.in.Used == nil {
		return c, "", nil
	}
	others, counted, err := d.in.Used(scope, c.Identity, since)
	switch {
	case err != nil:
		return nil, "", err
	case counted:
		c.Limit = 0
	case others >= l.People:
		return nil, fmt.Sprintf("the limit of %d people per %s is reached", l.People, l.Per), nil
	}
	return c, "", nil
}
