package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"countersign/internal/hub"
	"countersign/internal/web/api"
	"countersign/internal/web/oauth"
	"countersign/transmitter"
)

// tenant is what the hub holds of one tenant: its resources as compiled, and its transmitter. The store, the belt, the
// way out and the metrics are shared; every row and every look-up has its tenant's name.
type tenant struct {
	s      *Server
	name   string
	issuer string // iss of what it signs, and the root of its addresses
	legacy string // of the spec it was opened with

	view      atomic.Pointer[view]
	reloading sync.Mutex
	rounds    rounds
	streams   *transmitter.Transmitter
	told      told // what was queued lately, so that nothing goes round

	listing  sync.Mutex
	listed   []transmitter.Stream // the streams at the generation listedAt; nil: not read yet
	listedAt int64

	// Under reloading: stream resources as they were last carried out, whether something is still to be done, and at
	// which generation the streams were last held to their clients.
	settled   map[string]string
	unsettled bool
	narrowed  int64
	problems  atomic.Pointer[map[string]string] // of resources, found while their streams were set up
	// Of the default tenant: problems of tenant resources, which it keeps.
	tenantProblems sync.Map

	external atomic.Pointer[oauth.External] // its further issuer of access tokens; nil: none

	starting sync.Mutex
	stop     context.CancelFunc // of the transmitter's Run; nil before
}

// of gives an open tenant; nil where there is none of that name.
func (s *Server) of(name string) *tenant {
	all := s.tenants.Load()
	if all == nil {
		return nil
	}
	return (*all)[name]
}

// home is the tenant that is there from the start.
func (s *Server) home() *tenant { return s.of(api.DefaultTenant) }

// must is of with the error for work whose tenant is not open here: it is left to a later try, and nothing is
// concluded from what cannot be seen.
func (s *Server) must(name string) (*tenant, error) {
	if t := s.of(name); t != nil {
		return t, nil
	}
	return nil, hub.Errorf(hub.Unavailable, "the tenant %s is not open on this node", name)
}

// all gives the open tenants by name.
func (s *Server) all() []*tenant {
	m := s.tenants.Load()
	if m == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(*m), func(a, b *tenant) int { return strings.Compare(a.name, b.name) })
}

// Streams is the transmitter of a tenant; nil where there is no such tenant.
func (s *Server) Streams(name string) *transmitter.Transmitter {
	if t := s.of(name); t != nil {
		return t.streams
	}
	return nil
}

// issuerOf is a tenant's name as an issuer: the public URL, and for others than the default one /t/NAME below it.
func (s *Server) issuerOf(name string) string {
	if name == api.DefaultTenant {
		return s.publicURL
	}
	return s.publicURL + tenantPath + name
}

// open makes a tenant ready: its keys, its transmitter, its resources. Nothing of it runs yet.
func (s *Server) open(ctx context.Context, name string, spec *hub.Tenant) (*tenant, error) {
	if name == api.DefaultTenant {
		if err := s.importKeys(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.keys.Ensure(ctx, name); err != nil {
		return nil, err
	}
	t := &tenant{s: s, name: name, issuer: s.issuerOf(name), legacy: spec.Legacy}
	var err error
	if t.streams, err = s.transmitter(t); err != nil {
		return nil, err
	}
	if err := t.rekey(); err != nil {
		return nil, err
	}
	if err := t.recall(ctx); err != nil {
		return nil, err
	}
	if err := t.reload(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// openAll brings the open tenants up to what the resources say: those that are new are opened, those that are gone
// are closed, and one whose older draft changed is opened anew. The first call opens the default tenant.
func (s *Server) openAll(ctx context.Context) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	specs, err := s.tenantSpecs(ctx)
	if err != nil {
		return err
	}
	now := map[string]*tenant{}
	if was := s.tenants.Load(); was != nil {
		maps.Copy(now, *was)
	}
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		old := now[name]
		if old != nil && old.legacy == specs[name].Legacy {
			continue
		}
		t, err := s.open(ctx, name, specs[name])
		if err != nil {
			if name == api.DefaultTenant && old == nil {
				return err
			}
			s.log.ErrorContext(ctx, "a tenant cannot be opened; it is tried again", "tenant", name, "err", err)
			continue
		}
		old.close()
		now[name] = t
	}
	for name, t := range now {
		if specs[name] == nil {
			t.close()
			delete(now, name)
			s.log.InfoContext(ctx, "a tenant was deleted", "tenant", name)
		}
	}
	s.tenants.Store(&now)
	for name, t := range now {
		t.outsider(ctx, specs[name])
		s.start(t)
	}
	return nil
}

// tenantSpecs reads the tenant resources. The default tenant is there without one, too.
func (s *Server) tenantSpecs(ctx context.Context) (map[string]*hub.Tenant, error) {
	specs := map[string]*hub.Tenant{api.DefaultTenant: {Name: api.DefaultTenant}}
	err := each(ctx, s, api.DefaultTenant, hub.KindTenant, func(spec *hub.Tenant, _ int64) error {
		specs[spec.Name] = spec
		return nil
	})
	return specs, err
}

// start runs a tenant's transmitter, once and only while the hub runs.
func (s *Server) start(t *tenant) {
	spawn := s.spawn.Load()
	if spawn == nil {
		return
	}
	t.starting.Lock()
	defer t.starting.Unlock()
	if t.stop != nil {
		return
	}
	t.stop = (*spawn)("the transmitter of "+t.name, t.streams.Run)
}

// close ends what runs of a tenant. A nil tenant is closed already.
func (t *tenant) close() {
	if t == nil {
		return
	}
	t.starting.Lock()
	defer t.starting.Unlock()
	if t.stop != nil {
		t.stop()
	}
	t.stop = func() {}
}

// empty says why a tenant may not be deleted: it goes only when nothing is set up in it and nobody has a stream there. The
// history that it leaves, signals, decisions and receipts, is kept, and so are its keys.
func (s *Server) empty(ctx context.Context, name string) error {
	for _, kind := range hub.Kinds {
		rows, err := s.store.Resources(ctx, name, kind)
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			return fmt.Errorf("it still has the %s %s; delete what is in it first", kind, rows[0].Name)
		}
	}
	streams, _, err := s.store.Transmitter(name, s.vault).AllStreams(ctx)
	if err != nil {
		return err
	}
	if len(streams) > 0 {
		return fmt.Errorf("receivers still have %d streams in it; delete their clients first", len(streams))
	}
	return nil
}
