package decide

import (
	"fmt"
	"slices"

	"countersign/internal/hub"
)

// known are the action names of the profile (receipts design §5.5).
var known = []string{hub.RevokeSessions, hub.RevokeTokens, hub.Reauthenticate, hub.DisableAccount, hub.EnableAccount, hub.DeleteAccount,
	hub.RequireCredentialChange, hub.RevokeCredential, hub.SyncCredential, hub.RefreshClaims, hub.ReevaluateAccess, hub.RestrictDevice,
	hub.UpdateIdentifier, hub.UnlinkIdentifier, hub.SyncResource, hub.Record}

// ordered decides every action of the order. Each gets at least one action of ours, and so one line.
func (d *decider) ordered() error {
	if d.in.Order == nil {
		return nil
	}
	var charge *Charge
	var limited string
	if rules := d.in.Source.Orders; rules != nil {
		var err error
		if charge, limited, err = d.limit("source:"+d.in.Source.Name, rules.Limits); err != nil {
			return err
		}
	}
	acted := false
	for _, o := range d.in.Order.Actions {
		before := len(d.actions)
		d.one(o, limited)
		for _, a := range d.actions[before:] {
			acted = acted || a.State == hub.Planned
		}
	}
	if acted && charge != nil {
		d.charges = append(d.charges, *charge)
	}
	return nil
}

// one decides one ordered action.
func (d *decider) one(o Ordered, limited string) {
	rules := d.in.Source.Orders
	if rules == nil {
		rules = &hub.OrderRules{}
	}
	if o.Action == hub.RevokeSessions && o.Reach == "" {
		o.Reach = hub.ReachTokens
	}
	refuse := func(reason, text string) {
		d.line(o, "refused", reason, text)
		d.close(d.orderedAction(o), hub.Failed, reason, text)
	}
	switch {
	case !slices.Contains(known, o.Action):
		refuse("not_supported", "This action is not known here.")
		return
	case rules.Mode == "monitor":
		refuse("policy_declined", "Orders of this sender are only watched.")
		return
	case !slices.Contains(rules.Accept, o.Action):
		if d.in.Order.Obligation == "report" {
			d.line(o, "skipped", "no_action_taken", "this source may not order it, and only a report was asked for")
			d.close(d.orderedAction(o), hub.Skipped, "no_action_taken", "")
			return
		}
		refuse("policy_declined", "This sender may not order this action here.")
		return
	case o.Action == hub.Record:
		d.line(o, "applies", "done", "the signal is kept")
		d.close(d.orderedAction(o), hub.Succeeded, "done", "")
		return
	case o.Action == hub.ReevaluateAccess:
		if !d.covered {
			refuse("not_supported", "No policy here is about this event.")
			return
		}
		d.line(o, "applies", "done", "policies about this event were evaluated")
		d.close(d.orderedAction(o), hub.Succeeded, "done", "")
		return
	case o.Action == hub.DeleteAccount:
		refuse("not_supported", "Deleting an account needs an approval, which this version does not have.")
		return
	case hub.Steps(o.Action, o.Reach) == nil:
		refuse("not_supported", "")
		return
	case d.protected():
		refuse("policy_declined", "This person is protected and never acted on.")
		return
	case limited != "":
		d.line(o, "limited", "policy_declined", limited)
		d.close(d.orderedAction(o), hub.Failed, "policy_declined", "A limit on orders of this sender is reached.")
		return
	}
	d.places(o, rules)
}

// places plans an accepted action at each app where the person has an account.
func (d *decider) places(o Ordered, rules *hub.OrderRules) {
	apps := d.apps(rules.At, rules.At.Empty())
	if o.App != "" {
		apps = slices.DeleteFunc(apps, func(a App) bool { return a.Name != o.App })
		if len(apps) == 0 {
			reason, text := "not_supported", "There is no application of this name here."
			if slices.ContainsFunc(d.in.Apps, func(a App) bool { return a.Name == o.App }) {
				reason, text = "policy_declined", "This sender may not order anything at this application."
			}
			d.line(o, "refused", reason, text)
			d.close(d.orderedAction(o), hub.Failed, reason, text).App = o.App
			return
		}
	}
	var targets []target
	able := false
	for _, app := range apps {
		for _, t := range d.targets(app) {
			if o.Account != "" && t.account != o.Account {
				continue
			}
			targets = append(targets, t)
			able = able || supports(app, o.Action, o.Reach)
		}
	}
	if len(targets) == 0 {
		d.line(o, "skipped", "no_such_subject", "no app has an account of this person")
		d.close(d.orderedAction(o), hub.Skipped, "no_such_subject", "")
		return
	}
	if !able && o.Reach != hub.ReachSession {
		d.line(o, "refused", "not_supported", "no app's pack can do it")
		d.close(d.orderedAction(o), hub.Failed, "not_supported", "")
		return
	}
	home := d.home(apps)
	for _, t := range targets {
		d.at(o, t, home)
	}
}

// at plans an accepted action at one target.
func (d *decider) at(o Ordered, t target, home bool) {
	if w, no := d.denied(o.Action, t.app.Name); no {
		d.line(o, "denied", "policy_declined", fmt.Sprintf("at %s by the policy %s, rule %d", t.app.Name, w.policy.Policy.Name, w.rule))
		d.place(d.close(d.orderedAction(o), hub.Failed, "policy_declined", "A policy denies this here."), t)
		return
	}
	session := d.sessionAt(t.app)
	reach, policy := o.Reach, ""
	if o.Action == hub.RevokeSessions {
		// The same action of a policy may reach further: one unit of work. What only a written fallback makes wider
		// than an ordered session is work of its own, which policies() links to this line (details B3).
		for _, w := range d.wishes {
			if w.Action != o.Action || !d.means(w, t.app) || o.Reach == hub.ReachSession && w.Scope == "session" {
				continue
			}
			if got := d.reach(w.Rule, t.app); got != "" && hub.Wider(got, reach) && got != reach && supports(t.app, o.Action, got) {
				reach, policy = got, w.policy.Policy.Name
			}
		}
	}
	if reach == hub.ReachSession && session == "" && home {
		d.line(o, "skipped", "not_applicable", "the session is not one of "+t.app.Name)
		return
	}
	a := d.place(d.orderedAction(o), t)
	a.Reach, a.Policy = reach, policy
	switch {
	case !supports(t.app, o.Action, reach):
		d.line(o, "refused", "not_supported", "the pack of "+t.app.Name+" cannot do it")
		d.close(a, hub.Failed, "not_supported", "")
	case reach == hub.ReachSession && session == "":
		d.line(o, "refused", "not_supported", "the signal names no session that means something at "+t.app.Name+"; only a policy with a fallback can go further")
		d.close(a, hub.Failed, "not_supported", "The signal names no session that means something at this application.")
	default:
		if reach == hub.ReachSession {
			a.Session = session
		}
		text := "planned at " + t.app.Name
		if reach != o.Reach {
			text += ", as far as the policy " + policy + " reaches: " + string(reach)
			a.ReasonText = "A policy here reaches further than this order."
		}
		d.line(o, "applies", text, "")
	}
}

func (d *decider) orderedAction(o Ordered) *hub.Action {
	a := d.action(o.Action)
	a.Line, a.Ordered, a.Reach, a.OrderReach = o.ID, true, o.Reach, o.Reach
	return a
}

func (d *decider) place(a *hub.Action, t target) *hub.Action {
	a.App, a.Account, a.Email = t.app.Name, t.account, t.email
	return a
}

func (d *decider) line(o Ordered, result, reason, text string) {
	if text != "" {
		reason += ": " + text
	}
	d.findings = append(d.findings, hub.Finding{Line: o.ID, Result: result, Reason: reason})
}
