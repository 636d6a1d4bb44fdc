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
	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"

	"net/http"
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
}

// source is one source with what we know of our stream there.
type source struct {
	spec  *hub.Source
	state *enroll.State
	in    *ingest.Source
}

// reload reads the resources, brings our streams at sources up to date, and swaps the view.
func (s *Server) reload(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	old := s.view.Load()
	v, err := s.compile(ctx)
	if err != nil {
		return err
	}
	// Enrolling asks for capabilities, which are those of the new apps.
	s.next.Store(v)
	var specs []*hub.Source
	for _, src := range v.sources {
		specs = append(specs, src.spec)
	}
	slices.SortFunc(specs, func(a, b *hub.Source) int { return strings.Compare(a.Name, b.Name) })
	var deleted []string
	if old != nil {
		for name := range old.sources {
			if v.sources[name] == nil {
				deleted = append(deleted, name)
			}
		}
	}
	states, err := s.enroller.Reconcile(ctx, s.tenant, specs, deleted)
	if err != nil {
		return err
	}
	for name, src := range v.sources {
		src.state = states[name]
		if err := s.receiving(ctx, src); err != nil {
			v.broken["source "+name] = err.Error()
			s.log.ErrorContext(ctx, "a source cannot be used", "source", name, "err", err)
			continue
		}
		v.receive[src.state.ReceiveID] = src.in
	}
	s.view.Store(v)
	return nil
}

// compile makes a view without what the sources' streams say.
func (s *Server) compile(ctx context.Context) (*view, error) {
	v := &view{sources: map[string]*source{}, receive: map[string]*ingest.Source{}, apps: map[string]*connector.App{}, broken: map[string]string{},
		clients: map[string]*hub.Client{}}
	var err error
	if v.generation, err = s.store.Generation(ctx, s.tenant); err != nil {
		return nil, err
	}
	if err := each(ctx, s, hub.KindSource, func(spec *hub.Source, _ int64) error {
		for i, name := range spec.Events { // names such as caep/session-revoked; a stream's configuration has URIs
			if t, ok := s.registry.Resolve(name); ok {
				spec.Events[i] = t.URI
			}
		}
		v.sources[spec.Name] = &source{spec: spec}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := each(ctx, s, hub.KindApp, func(spec *hub.App, _ int64) error {
		app, err := s.app(ctx, spec)
		if err != nil {
			v.broken["app "+spec.Name] = err.Error()
			s.log.ErrorContext(ctx, "an app cannot be used", "app", spec.Name, "err", err)
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
	if err := each(ctx, s, hub.KindPolicy, func(spec *hub.Policy, version int64) error {
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
	if err := each(ctx, s, hub.KindClient, func(spec *hub.Client, _ int64) error {
		v.clients[spec.Name] = spec
		return nil
	}); err != nil {
		return nil, err
	}
	return v, nil
}

// each reads every resource of a kind.
func each[T any](ctx context.Context, s *Server, kind hub.Kind, do func(spec *T, version int64) error) error {
	rows, err := s.store.Resources(ctx, s.tenant, kind)
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
func (s *Server) app(ctx context.Context, spec *hub.App) (*connector.App, error) {
	pack, ok := s.packs.Lookup(spec.Pack)
	if !ok {
		return nil, fmt.Errorf("there is no pack %q", spec.Pack)
	}
	app := &connector.App{Tenant: s.tenant, Name: spec.Name, Pack: pack, Settings: spec.Settings, Secrets: map[string]string{}, Match: pack.Match(spec.Accounts)}
	for name, ref := range spec.Secrets {
		value, err := s.secret(ctx, s.tenant, &ref)
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

// receiving makes the source ready to receive: whose tokens, with which keys, to which audience.
func (s *Server) receiving(ctx context.Context, src *source) error {
	spec, st := src.spec, src.state
	in := &ingest.Source{Tenant: s.tenant, Name: spec.Name, Issuer: spec.Issuer, Audience: st.Audience, StreamID: st.StreamID}
	var algs []string
	if spec.Keys != nil {
		algs = spec.Keys.Algs
	}
	for _, a := range algs {
		if a == "Ed25519" {
			a = string(set.EdDSA)
		}
		in.Algorithms = append(in.Algorithms, set.Algorithm(a))
	}
	if len(in.Algorithms) == 0 {
		in.Algorithms = []set.Algorithm{set.RS256, set.PS256, set.ES256, set.EdDSA}
	}
	switch k := spec.Keys; {
	case k != nil && len(k.JWKS) > 0:
		keys, err := set.ParseJWKS(k.JWKS)
		if err != nil {
			return err
		}
		in.Keys = keys
	case k != nil && k.JWKSURI != "":
		in.Keys = s.remoteKeys(k.JWKSURI)
	case st.JWKSURI != "":
		in.Keys = s.remoteKeys(st.JWKSURI)
	default:
		in.Keys = noKeys{}
	}
	if p := spec.PushAuth; p != nil && p.AuthorizationHeader != nil {
		h, err := s.secret(ctx, s.tenant, p.AuthorizationHeader)
		if err != nil {
			return fmt.Errorf("push_auth: %w", err)
		}
		in.Authorization = h
	}
	if st.Receipts == enroll.ReceiptsActive {
		in.Receipts = &ingest.Agreement{Issuer: st.ReceiptIssuer, Audience: st.ReceiptAudience, Endpoint: st.Endpoint, Vocabulary: receipt.Default()}
	}
	src.in = s.door.Prepare(in)
	return nil
}

// noKeys stands for a source whose metadata has not been read yet.
type noKeys struct{}

// Find says that trying again later can help.
func (noKeys) Find(context.Context, string) ([]set.Key, error) { return nil, set.ErrKeysUnavailable }

// remoteKeys gives the one cache of a key address, which outlives a change of resources.
func (s *Server) remoteKeys(uri string) set.KeySet {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	k := s.remote[uri]
	if k == nil {
		k = set.NewRemoteKeys(uri, s.client, s.now)
		s.remote[uri] = k
	}
	return k
}

// capabilities are the actions that a source may order, as far as the apps' packs can do them now.
func (s *Server) capabilities(_ context.Context, _ string, src *hub.Source) ([]receipt.Capability, error) {
	v := s.next.Load()
	if src.Orders == nil {
		return nil, nil
	}
	var out []receipt.Capability
	for _, action := range src.Orders.Accept {
		c := receipt.Capability{Action: action, Approval: "none", Evidence: receipt.Assertion}
		steps := hub.Steps(action, hub.ReachTokens)
		able := action == hub.Record || action == hub.ReevaluateAccess
		for _, app := range v.deciding {
			if len(src.Orders.At.Names) > 0 && !src.Orders.At.Has(app.Name) || len(steps) == 0 || !can(steps, app.Offers) {
				continue
			}
			able = true
			if proof := proves(action, v.apps[app.Name].Pack, steps); rank(proof) > rank(c.Evidence) {
				c.Evidence = proof
			}
		}
		if able {
			out = append(out, c)
		}
	}
	return out, nil
}

// can reports whether a pack has what an action needs.
func can(steps []hub.Step, offers func(hub.Operation) bool) bool {
	for _, st := range steps {
		if st.Optional || offers(st.Op) {
			continue
		}
		if st.OrElse == "" || !offers(st.OrElse) || st.ForEach && !offers(hub.OpListSessions) {
			return false
		}
	}
	return true
}

// proves says the best level that a pack's read-backs reach for an action.
func proves(action string, pack *connector.Pack, steps []hub.Step) string {
	ends := action == hub.RevokeSessions || action == hub.Reauthenticate
	op := steps[0].Op
	if !pack.Offers(op) {
		op = steps[0].OrElse
	}
	back, ok := pack.ReadBack(op)
	switch {
	case ok && back.Use == hub.OpListSessions && ends:
		return receipt.Verified
	case action == hub.RevokeSessions || action == hub.RevokeTokens:
		return receipt.Assertion
	}
	return receipt.Committed
}

func rank(level string) int {
	return slices.Index([]string{receipt.Assertion, receipt.Counted, receipt.Committed, receipt.Verified}, level)
}

// bearer makes what puts a source's credential on a request; nil where it has none.
func (s *Server) bearer(ctx context.Context, auth *hub.Auth) (func(*http.Request) error, error) {
	if auth == nil || auth.Method != "bearer" || auth.Token == nil {
		return nil, nil
	}
	token, err := s.secret(ctx, s.tenant, auth.Token)
	if err != nil {
		return nil, err
	}
	return receiver.Bearer(token), nil
}
