package server

import (
	"context"
	"encoding/json"
	"time"

	"countersign/internal/flow"
	"countersign/internal/flow/correlate"
	"countersign/internal/flow/decide"
	"countersign/internal/flow/emit"
	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/internal/store"
	"countersign/receipt"
	"countersign/set"
)

// judge finds out whom a signal is about and what follows from it. It writes nothing.
func (s *Server) judge(ctx context.Context, sig *hub.Signal) (*flow.Judgement, error) {
	t, err := s.must(sig.Tenant)
	if err != nil {
		return nil, err
	}
	v := t.view.Load()
	who, spec, err := s.correlate(ctx, v, sig)
	if err != nil {
		return nil, err
	}
	order, directive, err := orderOf(sig)
	if err != nil {
		return nil, err
	}
	j := &flow.Judgement{Misses: who.Misses}
	if directive != nil && (directive.Receipt.When == "all" || sig.Order.Refused != "") {
		// A signed proof of arrival (receipts design §4); or the whole order is refused, whoever it is about (A35).
		j.CutAt = hub.At(s.now())
	}
	if who.Identity == nil {
		j.Unresolved = who.Reason
		if directive != nil && j.CutAt == 0 {
			j.CutAt = emit.Deadline(sig) // an order is not met with silence: its final receipt then says who is not known
		}
		if directive != nil && emit.Answered(sig) {
			j.CutAt = 0
		}
		return j, nil
	}
	person := decide.Person{Identity: who.Identity, Implicit: who.Implicit, Session: who.Session, SessionAt: who.SessionAt}
	res, err := v.policies.Decide(decide.Input{Signal: sig, Source: spec, Person: person, Order: order, Apps: v.deciding, Now: s.now(),
		Used: func(scope, identity string, since time.Time) (int, bool, error) {
			return s.store.CountPeople(ctx, sig.Tenant, scope, identity, hub.At(since))
		}})
	if err != nil {
		return nil, err
	}
	if who.Identity != nil {
		j.Identity = who.Identity.Name
	}
	if j.Out, err = t.passOn(ctx, sig, spec, who.Identity, res); err != nil {
		return nil, err
	}
	j.Decision, j.Actions = &res.Decision, res.Actions
	for _, c := range res.Charges {
		// The write checks the limit again, so that two decisions at one moment cannot pass it together.
		j.Charges = append(j.Charges, store.Charge{Scope: c.Scope, Identity: c.Identity, Limit: c.Limit, Since: c.Since})
	}
	return j, nil
}

// correlate finds out whom a signal is about, with its source as it is set up now.
func (s *Server) correlate(ctx context.Context, v *view, sig *hub.Signal) (*correlate.Result, *hub.Source, error) {
	spec := &hub.Source{Name: sig.Source}
	if src := v.sources[sig.Source]; src != nil {
		spec = src.spec
		if src.in != nil {
			if why := src.in.Discards(sig.SubID); why != "" { // an order; what is none was discarded on arrival
				return &correlate.Result{Reason: why, Code: "no_such_subject"}, spec, nil
			}
		}
	}
	who, err := correlate.Correlate(ctx, v.people, correlate.Input{Signal: sig, Source: spec, LooksUp: v.looksUp, Wildcards: wildcards(spec)})
	return who, spec, err
}

// wildcards reports whether the source writes ALL for every session, by its partner profile or by what it relaxes.
func wildcards(spec *hub.Source) bool {
	p, _ := partner.Find(spec.Profile)
	q, err := p.QuirksWith(spec.Relax) // a source with an unknown quirk receives nothing
	return err == nil && q.WildcardSession
}

// whyUnresolved gives the reason code for an order whose subject nobody fits; empty where somebody fits by now.
func (s *Server) whyUnresolved(ctx context.Context, sig *hub.Signal) (string, error) {
	t, err := s.must(sig.Tenant)
	if err != nil {
		return "", err
	}
	who, _, err := s.correlate(ctx, t.view.Load(), sig)
	if err != nil {
		return "", err
	}
	return who.Code, nil
}

// orderOf reads a signal's directive for the decision; nil where there is none, or where the whole order is
// refused by receipt or was taken back, and only the event counts.
func orderOf(sig *hub.Signal) (*decide.Order, *receipt.Directive, error) {
	if sig.Order == nil {
		return nil, nil, nil
	}
	claims := set.Claims{Issuer: sig.Issuer, ID: sig.JTI, SubID: sig.SubID, Events: []set.Event{{Type: sig.EventType, Payload: sig.Event}}}
	if sig.Token != "" {
		u, err := set.Parse(sig.Token)
		if err != nil {
			return nil, nil, err
		}
		claims = u.Claims()
	}
	d, err := receipt.ParseDirective(json.RawMessage(sig.Order.Directive), &claims, receipt.Default())
	if err != nil {
		return nil, nil, err
	}
	if sig.Order.Refused != "" || sig.Order.Withdrawn != 0 {
		return nil, d, nil
	}
	return decide.OrderOf(d), d, nil
}
