package server

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/stream"
	"countersign/transmitter"
)

// settle brings the tenant's streams to what its resources say: those of operators are made, changed and removed, and
// those of receivers are held to what their client may have now. What could not be done is a problem of the resource,
// and is tried again. It is called with the reloading lock held, after the view was swapped.
func (t *tenant) settle(ctx context.Context, v *view) error {
	all, err := t.list(ctx)
	if err != nil {
		return err
	}
	problems := map[string]string{}
	was := t.settled
	t.settled = map[string]string{}
	t.unsettled = false
	for _, name := range slices.Sorted(maps.Keys(v.streams)) {
		spec := v.streams[name]
		st, err := t.operatorStream(ctx, v, spec)
		if err == nil {
			raw, _ := json.Marshal(st) // a stream always has a JSON form
			if was[name] == string(raw) && slices.ContainsFunc(all, func(s transmitter.Stream) bool { return s.Name == name }) {
				t.settled[name] = string(raw)
				continue
			}
			if _, err = t.streams.Establish(ctx, st); err == nil {
				t.settled[name] = string(raw)
				continue
			}
		}
		t.unsettled = true
		problems["stream "+name] = strings.TrimPrefix(err.Error(), "transmitter: ")
		t.s.log.WarnContext(ctx, "a stream cannot be set up", "tenant", t.name, "stream", name, "err", err)
	}
	for i := range all {
		if st := &all[i]; st.Name != "" && v.streams[st.Name] == nil {
			if err := t.streams.RemoveStream(ctx, st.ID); err != nil && !errors.Is(err, transmitter.ErrNotFound) {
				t.unsettled = true
				t.s.log.WarnContext(ctx, "a stream cannot be removed", "tenant", t.name, "stream", st.Name, "err", err)
			}
		}
	}
	t.problems.Store(&problems)
	return t.narrow(ctx, v)
}

// operatorStream is what a stream resource asks for.
func (t *tenant) operatorStream(ctx context.Context, v *view, spec *hub.Stream) (*transmitter.Stream, error) {
	cl := v.clients[spec.Client]
	if cl == nil {
		return nil, hub.Errorf(hub.Invalid, "there is no client %s", spec.Client)
	}
	st := &transmitter.Stream{Name: spec.Name, Set: spec.Set, Receiver: spec.Client, Requested: t.s.uris(spec.Events), Description: spec.Description,
		Method: stream.PollMethod, Algorithm: spec.Alg, DefaultSubjects: spec.Subjects, Window: spec.Window, Shape: t.legacy, Audience: spec.Audience}
	if spec.Shape != "" {
		st.Shape = spec.Shape
	}
	if st.Algorithm == "" {
		st.Algorithm = cl.Alg
	}
	if st.DefaultSubjects == "" {
		st.DefaultSubjects = cl.Subjects
	}
	if spec.Deliver.To != "" {
		st.Method, st.Endpoint = stream.PushMethod, spec.Deliver.To
		if h := spec.Deliver.AuthorizationHeader; h != nil {
			value, err := t.s.secret(ctx, t.name, h)
			if err != nil {
				return nil, missing("deliver.authorization_header", h, err)
			}
			st.Authorization = value
		}
	}
	if span, err := time.ParseDuration(spec.Inactivity); err == nil {
		st.InactivityTimeout = int64(span / time.Second)
	}
	rule := spec.Subject
	if rule == nil {
		rule = cl.Subject
	}
	st.Naming = ruleJSON(rule)
	if o := spec.Orders; o != nil && o.Receipts {
		settings := receipt.Settings{ReceiptIssuer: o.Issuer, JWKSURI: o.JWKSURI, Delivery: receipt.DeliveryPush}
		for _, a := range actions {
			settings.Capabilities = append(settings.Capabilities, receipt.Capability{Action: a})
		}
		raw, err := settings.Marshal()
		if err != nil {
			return nil, err
		}
		st.Receipts = raw
	}
	return st, nil
}

// missing says what to do about a secret that a resource refers to and that is not there.
func missing(field string, ref *hub.Secret, err error) error {
	if hub.CodeOf(err) == hub.NotFound {
		return hub.Errorf(hub.Invalid, "%s: there is no secret %s yet; set it with: countersign secret set %s", field, ref.Stored, ref.Stored)
	}
	return err
}

// ruleJSON is a rule as streams keep it; nil where there is none.
func ruleJSON(rule *hub.SubjectRule) json.RawMessage {
	if rule == nil {
		return nil
	}
	raw, _ := json.Marshal(rule) // strings only
	return raw
}

// uris resolves short names; nil for none, so that a stream is given all.
func (s *Server) uris(events []string) []string {
	var out []string
	for _, e := range events {
		if t, ok := s.registry.Resolve(e); ok {
			e = t.URI
		}
		out = append(out, e)
	}
	return out
}

// Reasons of a status that the hub sets itself.
const (
	reasonHost  = "its endpoint is not among the hosts that its client may have events pushed to"
	reasonScope = "its client may not have streams any more"
)

// narrow holds the streams to what their clients may have now. A stream that goes beyond it is paused, which loses
// nothing, and is told so; whoever gives the permission back also enables it again. A client that is gone took its streams
// with it. Streams that the receiver made are named as their client says now.
func (t *tenant) narrow(ctx context.Context, v *view) error {
	all, err := t.list(ctx)
	if err != nil {
		return err
	}
	rows := t.s.store.Transmitter(t.name, t.s.vault)
	renamed := false
	for i := range all {
		st := &all[i]
		cl := v.clients[st.Receiver]
		if cl == nil {
			continue
		}
		if rule := ruleJSON(cl.Subject); st.Name == "" && string(rule) != string(st.Naming) {
			_, err := rows.UpdateStream(ctx, st.Receiver, st.ID, func(st *transmitter.Stream) error { st.Naming = rule; return nil })
			if err != nil && !errors.Is(err, transmitter.ErrNotFound) {
				return err
			}
			renamed = true
		}
		why := ""
		switch {
		case !receives(cl):
			why = reasonScope
		case st.Method == stream.PushMethod && !hostAllowed(cl.PushHosts, st.Endpoint):
			why = reasonHost
		}
		if why == "" || st.Status != transmitter.Enabled {
			continue
		}
		if _, err := (streamOffice{t.streams, t}).SetStatus(ctx, st.ID, transmitter.Paused, why); err != nil && !errors.Is(err, transmitter.ErrNotFound) {
			return err
		}
		t.s.log.WarnContext(ctx, "a stream was paused", "tenant", t.name, "stream_id", st.ID, "reason", why)
	}
	if renamed {
		return t.streams.Reload(ctx)
	}
	return nil
}

// look brings the streams up to date where they changed since, or where something is still to be done.
func (t *tenant) look(ctx context.Context) error {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	v := t.view.Load()
	if t.unsettled {
		return t.settle(ctx, v)
	}
	generation, err := t.s.store.Transmitter(t.name, t.s.vault).Generation(ctx)
	if err != nil || generation == t.narrowed {
		return err
	}
	if err := t.narrow(ctx, v); err != nil {
		return err
	}
	t.narrowed = generation // what narrow itself changed is looked at once more
	return nil
}
