package resource

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

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
	said := 0
	for _, v := range []string{r.Action, r.Deny, r.Transmit} {
		if v != "" {
			said++
		}
	}
	if said != 1 {
		return doc.Errorf(at, "a rule has one of action, deny and transmit")
	}
	if r.Transmit != "" {
		return checkTransmit(doc, at, r)
	}
	switch {
	case !r.To.Empty():
		return doc.Errorf(at+".to", "to belongs to transmit")
	case len(r.Order) > 0:
		return doc.Errorf(at+".order", "order belongs to transmit")
	case r.Within != "":
		return doc.Errorf(at+".within", "within belongs to transmit with an order")
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

// streamRef is the name of a stream resource, or the stream_id of a stream that its receiver made.
var streamRef = regexp.MustCompile(`^[A-Za-z0-9._~@:+-]{1,128}$`)

func checkTransmit(doc yaml.Doc, at string, r hub.Rule) error {
	switch {
	case r.Scope != "" || r.Fallback != "" || !r.At.Empty():
		return doc.Errorf(at, "scope, fallback and at belong to actions; transmit says to: all, or a list of streams")
	case r.To.Empty():
		return doc.Errorf(at, "transmit says to whom: to: all, or a list of streams")
	}
	if err := checkNames(doc, at+".to", r.To, "streams", streamRef); err != nil {
		return err
	}
	order := bytes.TrimSpace(r.Order)
	switch {
	case len(order) > 0 && order[0] != '{':
		return doc.Errorf(at+".order", "order is a directive such as {obligation: must, actions: [{id: a1, action: revoke_sessions}]}")
	case r.Within == "":
		return nil
	case len(order) == 0:
		return doc.Errorf(at+".within", "within belongs to an order: by then it is to be carried out")
	}
	if span, err := time.ParseDuration(r.Within); err != nil || span < 10*time.Second || span > 366*24*time.Hour {
		return doc.Errorf(at+".within", "within is a span from 10s to 8784h, such as 15m")
	}
	return nil
}
