package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"countersign/internal/expr"
	"countersign/internal/hub"
)

// variables are what conditions see (expr.ForPolicy).
func variables(in Input) map[string]any {
	sig, id := in.Signal, in.Person.Identity
	payload, err := expr.JSON(sig.Event)
	if err != nil {
		payload = map[string]any{}
	}
	subject, err := expr.JSON(sig.SubID)
	if err != nil {
		subject = map[string]any{}
	}
	actions := []any{}
	if in.Order != nil {
		for _, a := range in.Order.Actions {
			actions = append(actions, map[string]any{"action": a.Action, "reach": string(a.Reach), "id": a.ID, "optional": a.Optional})
		}
	}
	return map[string]any{
		"signal": map[string]any{"type": sig.EventType, "name": shortName(sig.EventType), "issuer": sig.Issuer, "txn": sig.TXN, "jti": sig.JTI,
			"subject": subject, "event": eventOf(sig.EventType, payload), "payload": payload},
		"identity": map[string]any{"name": id.Name, "emails": texts(id.Emails), "labels": texts(id.Labels), "groups": texts(id.Groups), "protect": id.Protect, "known": !in.Person.Implicit},
		"actions":  actions,
		"source":   in.Source.Name,
		"now":      in.Now,
	}
}

func texts(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// shortName is vocabulary/name of the well-known vocabularies, else the type itself.
func shortName(uri string) string {
	for _, v := range []struct{ prefix, name string }{
		{"https://schemas.openid.net/secevent/caep/event-type/", "caep/"},
		{"https://schemas.openid.net/secevent/risc/event-type/", "risc/"},
		{"urn:ietf:params:scim:event:", "scim/"},
	} {
		if rest, ok := strings.CutPrefix(uri, v.prefix); ok {
			return v.name + rest
		}
	}
	return uri
}

// wish is one rule that wants something done.
type wish struct {
	policy *Compiled
	rule   int // 1-based
	hub.Rule
}

// evaluate goes through the policies in their order and collects wishes and denies. Monitor mode is
// evaluated and shown, and neither adds nor denies (design §2.8).
func (s *Set) evaluate(d *decider) {
	for _, c := range s.policies {
		if !c.types[d.in.Signal.EventType] {
			continue
		}
		p := &c.Policy
		switch {
		case p.Mode == "off":
			d.find(c, 0, "skipped", "the policy is off")
			continue
		case !c.listens(d.in.Source.Name):
			d.find(c, 0, "skipped", "from does not name the source "+d.in.Source.Name)
			continue
		}
		if c.enforces() {
			d.covered = true
		}
		holds, err := d.holds(c.when)
		switch {
		case err != nil:
			d.find(c, 0, "error", "when could not be evaluated: the acting rules are skipped, the denying ones hold: "+err.Error())
		case !holds:
			d.find(c, 0, "skipped", "when is false: "+p.When)
			continue
		}
		for i, r := range p.Then {
			d.rule(c, i, r, err != nil)
		}
	}
}

func (d *decider) rule(c *Compiled, i int, r hub.Rule, broken bool) {
	deny := r.Deny != ""
	if broken && !deny {
		return // said once for the policy
	}
	holds, err := d.holds(c.rules[i])
	switch {
	case err != nil && deny:
		d.find(c, i+1, "error", "when could not be evaluated, so the deny holds: "+err.Error())
	case err != nil:
		d.find(c, i+1, "error", "when could not be evaluated, so the rule is skipped: "+err.Error())
		return
	case !holds:
		d.find(c, i+1, "skipped", "when is false: "+r.When)
		return
	}
	w := wish{policy: c, rule: i + 1, Rule: r}
	switch {
	case !c.enforces():
		d.find(c, i+1, "monitor", "would apply: "+describe(r))
	case deny:
		d.find(c, i+1, "applies", describe(r))
		d.denies = append(d.denies, w)
	default:
		d.wishes = append(d.wishes, w)
	}
}

func describe(r hub.Rule) string {
	if r.Transmit != "" {
		return describeTransmit(r)
	}
	what := r.Action
	if r.Deny != "" {
		what = "deny " + r.Deny
	}
	if r.Scope != "" {
		what += ", scope " + r.Scope
	}
	if r.Fallback != "" {
		what += ", fallback " + r.Fallback
	}
	switch {
	case r.At.All:
		what += ", at all apps"
	case len(r.At.Names) > 0:
		what += ", at " + strings.Join(r.At.Names, ", ")
	}
	return what
}

// holds evaluates a condition; none is always true.
func (d *decider) holds(p *expr.Program) (bool, error) {
	if p == nil {
		return true, nil
	}
	return p.Bool(d.vars)
}

func (d *decider) find(c *Compiled, rule int, result, reason string) {
	d.findings = append(d.findings, hub.Finding{Policy: c.Policy.Name, Version: c.Version, Rule: rule, Result: result, Reason: reason})
}

// inputs is what the conditions saw, for the record.
func (d *decider) inputs() json.RawMessage {
	if d.vars == nil {
		return json.RawMessage(`{}`)
	}
	// The payload stands with the signal, and as signal.event here.
	vars := maps.Clone(d.vars)
	if sig, ok := vars["signal"].(map[string]any); ok {
		sig = maps.Clone(sig)
		delete(sig, "payload")
		vars["signal"] = sig
	}
	b, err := json.Marshal(vars)
	if err != nil {
		return json.RawMessage(fmt.Sprintf(`{"error": %q}`, err.Error()))
	}
	return b
}
