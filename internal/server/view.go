package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/connector"
	"countersign/internal/flow/decide"
	"countersign/internal/flow/enroll"
	"countersign/internal/flow/ingest"
	"countersign/internal/flow/naming"
	"countersign/internal/hub"
)

// view is the tenant's resources, compiled: what every step looks things up in. It is immutable and is swapped
// whole when a resource changes.
type view struct {
	generation int64
	sources    map[string]*source
	receive    map[string]*ingest.Source // by receive id
	apps       map[string]*connector.App
	broken     map[string]string // app or source: why it cannot be used now
	deciding   []decide.App
	looksUp    bool
	policies   *decide.Set
	clients    map[string]*hub.Client
	streams    map[string]*hub.Stream
	namer      *naming.Namer
	people     *people
}

// source is one source with what we know of our stream there.
type source struct {
	spec  *hub.Source
	state *enroll.State
	in    *ingest.Source
}

// reload reads the resources, brings our streams at sources up to date, and swaps the view.
func (t *tenant) reload(ctx context.Context) error {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	return t.read(ctx)
}

// read is reload under reloading.
func (t *tenant) read(ctx context.Context) error {
	s := t.s
	v, err := t.compile(ctx)
	if err != nil {
		return err
	}
	// Enrolling asks for capabilities, which are those of the new apps.
	s.next.Store(t.name, v)
	var specs []*hub.Source
	for _, src := range v.sources {
		specs = append(specs, src.spec)
	}
	slices.SortFunc(specs, func(a, b *hub.Source) int { return strings.Compare(a.Name, b.Name) })
	states, err := s.enroller.Reconcile(ctx, t.name, specs)
	if err != nil {
		return err
	}
	if old := t.view.Load(); old != nil {
		for name := range old.sources {
			if v.sources[name] != nil {
				continue
			}
			if err := s.store.ForgetRefusals(ctx, t.name, name); err != nil {
				s.log.WarnContext(ctx, "what a deleted source was refused is still kept", "tenant", t.name, "source", name, "err", err)
			}
		}
	}
	for name, src := range v.sources {
		src.state = states[name]
		if err := t.receiving(ctx, src); err != nil {
			v.broken["source "+name] = err.Error()
			s.log.ErrorContext(ctx, "a source cannot be used", "tenant", t.name, "source", name, "err", err)
			continue
		}
		v.receive[src.state.ReceiveID] = src.in
	}
	t.view.Store(v)
	s.pollers.look()
	if err := t.settle(ctx, v); err != nil {
		t.unsettled = true
		s.log.WarnContext(ctx, "the streams could not be set up; it is tried again", "tenant", t.name, "err", err)
	}
	return nil
}

// compile makes a view without what the sources' streams say.
func (t *tenant) compile(ctx context.Context) (*view, error) {
	s := t.s
	v := &view{sources: map[string]*source{}, receive: map[string]*ingest.Source{}, apps: map[string]*connector.App{}, broken: map[string]string{},
		clients: map[string]*hub.Client{}, streams: map[string]*hub.Stream{}, people: newPeople(s.store, t.name)}
	var err error
	if v.generation, err = s.store.Generation(ctx, t.name); err != nil {
		return nil, err
	}
	if err := each(ctx, s, t.name, hub.KindSource, func(spec *hub.Source, _ int64) error {
		for i, name := range spec.Events { // names such as caep/session-revoked; a stream's configuration has URIs
			if typ, ok := s.registry.Resolve(name); ok {
				spec.Events[i] = typ.URI
			}
		}
		v.sources[spec.Name] = &source{spec: spec}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, s, t.name, hub.KindApp, func(spec *hub.App, _ int64) error {
		app, err := t.app(ctx, spec)
		if err != nil {
			v.broken["app "+spec.Name] = err.Error()
			s.log.ErrorContext(ctx, "an app cannot be used", "tenant", t.name, "app", spec.Name, "err", err)
			return nil
		}
		v.apps[spec.Name] = app
		v.deciding = append(v.deciding, decide.App{Name: spec.Name, Match: app.Match, Offers: app.Pack.Offers})
		v.looksUp = v.looksUp || app.Match == "email"
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(v.deciding, func(a, b decide.App) int { return strings.Compare(a.Name, b.Name) })
	var compiled []*decide.Compiled
	if err := each(ctx, s, t.name, hub.KindPolicy, func(spec *hub.Policy, version int64) error {
		c, err := decide.Compile(*spec, version, s.registry)
		if err != nil {
			return fmt.Errorf("policy %s: %w", spec.Name, err)
		}
		compiled = append(compiled, c)
		return nil
	}); err != nil {
		return nil, err
	}
	v.policies = decide.NewSet(compiled...)
	if err := each(ctx, s, t.name, hub.KindClient, func(spec *hub.Client, _ int64) error {
		v.clients[spec.Name] = spec
		if spec.Secret != nil {
			if _, err := s.secret(ctx, t.name, spec.Secret); err != nil {
				v.broken["client "+spec.Name] = missing("client_secret", spec.Secret, err).Error()
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, s, t.name, hub.KindStream, func(spec *hub.Stream, _ int64) error {
		v.streams[spec.Name] = spec
		return nil
	}); err != nil {
		return nil, err
	}
	names := naming.Config{Tenant: t.name, Store: s.store, Now: s.now}
	for _, src := range v.sources {
		names.Sources = append(names.Sources, src.spec)
	}
	v.namer = naming.New(names)
	return v, nil
}

// each reads every resource of a kind.
func each[T any](ctx context.Context, s *Server, tenant string, kind hub.Kind, do func(spec *T, version int64) error) error {
	rows, err := s.store.Resources(ctx, tenant, kind)
	if err != nil {
		return err
	}
	for _, r := range rows {
		spec := new(T)
		if err := json.Unmarshal(r.Spec, spec); err != nil {
			return fmt.Errorf("%s %s: %w", kind, r.Name, err)
		}
		if err := do(spec, r.Version); err != nil {
			return err
		}
	}
	return nil
}

// app resolves one app's pack, settings and secrets.
func (t *tenant) app(ctx context.Context, spec *hub.App) (*connector.App, error) {
	pack, ok := t.s.packs.Lookup(spec.Pack)
	if !ok {
		return nil, fmt.Errorf("there is no pack %q", spec.Pack)
	}
	app := &connector.App{Tenant: t.name, Name: spec.Name, Pack: pack, Settings: spec.Settings, Secrets: map[string]string{}, Match: pack.Match(spec.Accounts)}
	for name, ref := range spec.Secrets {
		value, err := t.s.secret(ctx, t.name, &ref)
		if err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		app.Secrets[name] = value
	}
	return app, nil
}

// secret gives the value that a resource refers to. Only stored ones reach the server (design §4).
func (s *Server) secret(ctx context.Context, tenant string, ref *hub.Secret) (string, error) {
	if ref == nil || ref.Stored == "" {
		return "", errors.New("a secret is {stored: NAME} here")
	}
	v, err := s.secrets.Value(ctx, tenant, ref.Stored)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(v), "\r\n"), nil
}
