package decide

import (
	"countersign/internal/hub"
)

// means reports whether a wish is about an app.
func (d *decider) means(w wish, app App) bool {
	return w.Scope == "everywhere" || w.At.Has(app.Name) || w.Fallback == "everywhere" && !d.home(d.apps(w.At, false))
}

// reach is how far a revoke_sessions rule reaches at one app, with its written fallback taken where the
// session means nothing there or its pack cannot end one session; "" where nothing is left.
func (d *decider) reach(r hub.Rule, app App) hub.Reach {
	if r.Action != hub.RevokeSessions {
		return ""
	}
	switch r.Scope {
	case "app":
		return hub.ReachTokens
	case "everywhere":
		return hub.ReachGlobal
	}
	if d.sessionAt(app) != "" && supports(app, r.Action, hub.ReachSession) {
		return hub.ReachSession
	}
	switch r.Fallback {
	case "app":
		return hub.ReachTokens
	case "everywhere":
		return hub.ReachGlobal
	}
	return ""
}

// policies plans what the policies want beside the order. A limit, a deny and a protection are findings.
func (d *decider) policies() error {
	type state struct {
		charge *Charge
		why    string
		asked  bool
		acted  bool
	}
	limits := map[*Compiled]*state{}
	for _, w := range d.wishes {
		c := w.policy
		if local(w.Action) {
			d.local(w)
			continue
		}
		if d.protected() && (w.Transmit == "" || len(w.Order) > 0) {
			d.find(c, w.rule, "denied", w.what()+": the person is protected and never acted on")
			continue
		}
		st := limits[c]
		if st == nil {
			st = &state{}
			limits[c] = st
		}
		if !st.asked {
			st.asked = true
			var err error
			if st.charge, st.why, err = d.limit("policy:"+c.Policy.Name+":"+d.in.Source.Name, c.Policy.Limits); err != nil {
				return err
			}
		}
		if st.why != "" {
			d.find(c, w.rule, "limited", w.what()+": "+st.why)
			continue
		}
		acted := true
		if w.Transmit != "" {
			d.transmit(w)
		} else {
			acted = d.wish(w)
		}
		if acted && !st.acted {
			st.acted = true
			if st.charge != nil {
				d.charges = append(d.charges, *st.charge)
			}
		}
	}
	return nil
}

// what names what a wish would do.
func (w wish) what() string {
	if w.Transmit != "" {
		return "transmit " + w.Transmit
	}
	return w.Action
}

// local does what the hub itself can do at once.
func (d *decider) local(w wish) {
	d.find(w.policy, w.rule, "applies", w.Action)
	for _, a := range d.actions {
		if a.Name == w.Action && a.App == "" {
			return
		}
	}
	d.close(d.action(w.Action), hub.Succeeded, "done", "").Policy = w.policy.Policy.Name
}

// wish plans one rule at every app that it means, and reports whether anything is to be done.
func (d *decider) wish(w wish) (acted bool) {
	c := w.policy
	found := false
	for _, app := range d.apps(w.At, w.Scope == "everywhere" || w.Fallback == "everywhere") {
		if !d.means(w, app) {
			continue
		}
		for _, t := range d.targets(app) {
			found = true
			acted = d.wishAt(w, t) || acted
		}
	}
	if !found {
		d.find(c, w.rule, "skipped", describe(w.Rule)+": no such app has an account of this person")
	}
	return acted
}

func (d *decider) wishAt(w wish, t target) bool {
	c := w.policy
	if deny, no := d.denied(w.Action, t.app.Name); no {
		d.find(c, w.rule, "denied", w.Action+" at "+t.app.Name+" by the policy "+deny.policy.Policy.Name)
		return false
	}
	reach := d.reach(w.Rule, t.app)
	if w.Action == hub.RevokeSessions && reach == "" && d.home(d.apps(w.At, false)) {
		d.find(c, w.rule, "skipped", "revoke_sessions at "+t.app.Name+": the session is not one of this app")
		return false
	}
	if before := d.same(w.Action, t); before != nil {
		if !d.widens(w, t, before, reach) {
			return d.join(w, t, before, reach)
		}
		if before.Reason == "not_supported" {
			before.Fallback = reach // the line is printed by what comes of the wider action
		}
	}
	a := d.place(d.action(w.Action), t)
	a.Policy, a.Reach = c.Policy.Name, reach
	switch {
	case w.Action == hub.RevokeSessions && reach == "":
		a.Reach = hub.ReachSession
		text := "The signal names no session that means something at this application, and no fallback is written."
		d.find(c, w.rule, "refused", "revoke_sessions at "+t.app.Name+": no usable session, and no fallback is written")
		d.close(a, hub.Failed, "not_supported", text)
		return false
	case !supports(t.app, w.Action, reach):
		d.find(c, w.rule, "refused", w.Action+" at "+t.app.Name+": its pack cannot do it")
		d.close(a, hub.Failed, "not_supported", "")
		return false
	}
	if reach == hub.ReachSession {
		a.Session = d.sessionAt(t.app)
	}
	text := w.Action + " at " + t.app.Name
	if reach != "" {
		text += ", reach " + string(reach)
	}
	if w.Scope == "session" && reach != hub.ReachSession && reach != "" {
		a.Fallback = reach
		text += ", by the fallback: the signal names no session that means something there"
	}
	d.find(c, w.rule, "applies", text)
	return true
}

// join adds a wish to the action that does the same already. An unordered one is widened; an ordered one
// was given its widest reach when it was planned.
func (d *decider) join(w wish, t target, before *hub.Action, reach hub.Reach) bool {
	by := "an earlier rule"
	if before.Ordered {
		by = "the order's line " + before.Line
	}
	if before.State.Final() {
		d.find(w.policy, w.rule, "skipped", w.Action+" at "+t.app.Name+": decided already by "+by)
		return false
	}
	if !before.Ordered && reach != "" && reach != before.Reach && hub.Wider(reach, before.Reach) && supports(t.app, w.Action, reach) {
		before.Reach, before.Policy, before.Session = reach, w.policy.Policy.Name, ""
	}
	d.find(w.policy, w.rule, "applies", w.Action+" at "+t.app.Name+": the same work as "+by)
	return true
}
