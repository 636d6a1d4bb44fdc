package resource

import (
	"fmt"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

func checkPolicy(doc yaml.Doc, p *hub.Policy) error {
	switch {
	case len(p.On) == 0:
		return doc.Errorf("", "a policy says on which event types it works: on: [caep/session-revoked]")
	case len(p.Then) == 0:
		return doc.Errorf("then", "a policy says what then happens")
	case p.From != nil && len(p.From) == 0:
		return doc.Errorf("from", "from is empty, which would listen to every source: name them, or remove from")
	}
	if err := first(word(doc, "mode", p.Mode, "enforce", "monitor", "off"), checkLimits(doc, "limits", p.Limits)); err != nil {
		return err
	}
	for i, r := range p.Then {
		if err := checkRule(doc, fmt.Sprintf("then[%d]", i), r); err != nil {
			return err
		}
	}
	return nil
}

func checkRule(doc yaml.Doc, at string, r hub.Rule) error {
	if (r.Action == "") == (r.Deny == "") {
		return doc.Errorf(at, "a rule has action or deny")
	}
	if err := checkPlaces(doc, at+".at", r.At); err != nil {
		return err
	}
	if r.Deny != "" {
		if r.Scope != "" || r.Fallback != "" {
			return doc.Errorf(at, "a deny has no scope and no fallback: it forbids the action at its apps")
		}
		return checkAction(doc, at+".deny", r.Deny)
	}
	if err := checkAction(doc, at+".action", r.Action); err != nil {
		return err
	}
	if r.Action != hub.RevokeSessions {
		if r.Scope != "" || r.Fallback != "" {
			return doc.Errorf(at, "scope and fallback belong to revoke_sessions; %s acts on the account", r.Action)
		}
		return nil
	}
	switch {
	case r.Scope == "":
		return doc.Errorf(at, "revoke_sessions has a scope: session, app or everywhere")
	case r.Scope != "session" && r.Fallback != "":
		return doc.Errorf(at+".fallback", "a fallback belongs to scope: session")
	case r.Scope == "everywhere" && !r.At.Empty() && !r.At.All:
		return doc.Errorf(at+".at", "scope: everywhere is every app; remove at, or write scope: app")
	}
	return first(word(doc, at+".scope", r.Scope, "session", "app", "everywhere"), word(doc, at+".fallback", r.Fallback, "app", "everywhere"))
}
