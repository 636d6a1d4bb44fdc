package transmitter

import (
	"context"
	"fmt"
	"slices"

	"countersign/stream"
)

// Explanation says whether a message would be sent on a stream, and what each rule says about it.
type Explanation struct {
	Sent  bool
	Steps []Step // in the order in which they are asked; one that cannot be asked is not there
}

// Step is one rule.
type Step struct {
	What string // event type, requested, status, named stream, naming, subject list, order or signing key
	OK   bool
	Why  string
}

// Explain says whether m would be sent on the stream of that id as everything is now, and why not, without sending
// anything. ErrNotFound where there is no such stream; another error where m itself is at fault, as Send would say.
func (t *Transmitter) Explain(ctx context.Context, m Message, id string) (*Explanation, error) {
	snap, err := t.current(ctx)
	if err != nil {
		return nil, err
	}
	if now, err := t.cfg.Store.Generation(ctx); err != nil {
		return nil, err
	} else if now != snap.generation {
		if snap, err = t.refresh(ctx); err != nil {
			return nil, err
		}
	}
	s := snap.byID[id]
	if s == nil {
		return nil, ErrNotFound
	}
	x := &Explanation{Sent: true}
	add := func(what string, ok bool, why string) {
		x.Steps = append(x.Steps, Step{what, ok, why})
		x.Sent = x.Sent && ok
	}
	typ, ok := t.cfg.Registry.Resolve(m.Type)
	switch {
	case !ok:
		add(stepType, false, "the event type is not known here")
		return x, nil
	case typ.StreamLevel:
		add(stepType, false, "it is about a stream and is sent by the transmitter alone")
		return x, nil
	}
	m.Type = typ.URI
	sub, err := t.check(&m, typ)
	if err != nil {
		return nil, err
	}
	if offered := slices.Contains(t.cfg.Events, m.Type); offered {
		add(stepType, true, typ.Name+" is offered")
	} else {
		add(stepType, slices.Contains(s.Delivered, m.Type), typ.Name+" is not offered in events_supported")
	}
	switch {
	case !slices.Contains(s.Delivered, m.Type):
		add(stepRequested, false, reasonType(s, m.Type))
	case s.Requested == nil:
		add(stepRequested, true, "the receiver requested nothing in particular and gets what is offered")
	default:
		add(stepRequested, true, "the receiver requested it")
	}
	switch s.Status {
	case Enabled:
		add(stepStatus, true, "the stream is enabled")
	case Paused:
		add(stepStatus, true, "the stream is paused: it is kept and delivered once the stream is enabled")
	default:
		add(stepStatus, false, "the stream is disabled: nothing is kept for it")
	}
	if m.Streams != nil {
		named := slices.Contains(m.Streams, id)
		add(stepNamed, named, map[bool]string{true: "the message names this stream", false: "the message names other streams"}[named])
	}
	f := &fitting{t: t, ctx: ctx, m: &m, typ: typ, sub: sub, now: t.cfg.Now()}
	return x, f.explain(s, add)
}

// explain asks the rules of fit one by one.
func (f *fitting) explain(s *Stream, add func(what string, ok bool, why string)) error {
	named, reason, err := f.named(s)
	if err != nil {
		return err
	}
	payload, left := f.m.Payload, []string(nil)
	if reason == "" {
		payload, left, reason = f.payload(s, named)
	}
	switch {
	case reason != "":
		add(stepNaming, false, reason)
	case s.Naming == nil:
		add(stepNaming, true, "the receiver is told the subject as the message names it")
	case len(left) > 0:
		add(stepNaming, true, "the receiver is told a subject of format "+named.Format()+", and the event without "+memberNames(left))
	default:
		add(stepNaming, true, "the receiver is told a subject of format "+named.Format())
	}
	if reason == "" { // the list is asked for the subject as the receiver is told it
		listed, err := f.listed(s, named)
		switch {
		case err != nil:
			return err
		case !listed:
			add(stepSubject, false, reasonList(s))
		case s.DefaultSubjects == stream.DefaultNone:
			add(stepSubject, true, "an entry of the stream's list matches the subject")
		default:
			add(stepSubject, true, "the stream takes every subject, and this one was not removed")
		}
	}
	signer, err := f.t.keys().signer(s.Algorithm)
	if f.m.Order != nil {
		refused := f.t.refusesOrder(s, f.m)
		if refused == "" && reason == "" && err == nil {
			row := Row{JTI: "explained", IssuedAt: f.now.Unix()}
			if fault := f.planOrder(s, named, payload, &row, signer); fault != nil {
				refused = fault.Error()
			}
		}
		if refused == "" {
			add(stepOrder, true, "receipts are active, and the receiver takes what is ordered")
		} else {
			add(stepOrder, false, refused)
		}
	}
	if err != nil {
		add(stepKey, false, "there is no signing key for "+s.Algorithm)
		return nil
	}
	add(stepKey, true, fmt.Sprintf("it will be signed with %s by key %s", signer.Algorithm(), signer.KeyID()))
	return nil
}
