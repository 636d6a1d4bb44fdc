package oauth

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
)

// Grant is what a valid token gives.
type Grant struct {
	Client  *hub.Client // as it is now
	Scopes  []string    // of the token, within those of the client
	ID      string      // of the token, where it has one; may be logged
	Expires hub.Micros  // 0: not known
}

// invalid is the one answer to a token that is not valid; why is for the log of who reads errors, and names no token.
func invalid(why string) error {
	return hub.Errorf(hub.Unauthenticated, "the token is not valid: %s", why)
}

const (
	presharedPrefix = "cs_" // what internal/web/api.Mint makes
	minToken        = 20
	maxAccess       = 200 // an access token of ours has 47 octets
)

// Resolve is Check for callers that need no more than the client's name and what the token may do.
func (s *Server) Resolve(ctx context.Context, tenant, token string) (client string, scopes []string, err error) {
	g, err := s.Check(ctx, tenant, token)
	if err != nil {
		return "", nil, err
	}
	return g.Client.Name, g.Scopes, nil
}

// Check says whose a token is at a tenant and what it may do. It gives hub.Unauthenticated for one that is unknown,
// expired, revoked, of another tenant, of no client (the operator's), or of a client that is no more; another error, such as
// hub.Unavailable, says nothing about the token.
func (s *Server) Check(ctx context.Context, tenant, token string) (*Grant, error) {
	if len(token) < minToken || len(token) > maxJWT {
		return nil, invalid("its length")
	}
	var f finding
	var err error
	switch {
	case strings.HasPrefix(token, Prefix):
		f, err = s.remembered(ctx, token, s.access)
	case strings.HasPrefix(token, presharedPrefix):
		f, err = s.remembered(ctx, token, s.preshared)
	default:
		f, err = s.foreign(ctx, tenant, token)
	}
	if err != nil {
		return nil, err
	}
	switch now := hub.At(s.cfg.Now()); {
	case f.tenant != tenant:
		return nil, invalid("another tenant's")
	case f.expires != 0 && now >= f.expires:
		return nil, invalid("it has expired")
	}
	c, err := s.cfg.Client(ctx, tenant, f.client)
	if hub.CodeOf(err) == hub.NotFound || err == nil && (c == nil || c.Spec == nil) {
		return nil, invalid("its client is no more")
	}
	if err != nil {
		return nil, err
	}
	g := &Grant{Client: c.Spec, ID: f.id, Expires: f.expires}
	for _, scope := range c.Spec.Scopes {
		if f.all || slices.Contains(f.scopes, scope) {
			g.Scopes = append(g.Scopes, scope)
		}
	}
	return g, nil
}

// Access says whose an access token of our own is, at which tenant, and what it may do. Its errors are those of Check; a token
// of any other kind is hub.Unauthenticated.
func (s *Server) Access(ctx context.Context, token string) (tenant string, g *Grant, err error) {
	if !strings.HasPrefix(token, Prefix) || len(token) < minToken || len(token) > maxAccess {
		return "", nil, invalid("it is none of this server")
	}
	f, err := s.remembered(ctx, token, s.access)
	if err != nil {
		return "", nil, err
	}
	if f.tenant != DefaultTenant && !s.cfg.Tenant(f.tenant) {
		return "", nil, invalid("its tenant is no more")
	}
	g, err = s.Check(ctx, f.tenant, token)
	return f.tenant, g, err
}

// finding is what is known of a token, before the client is looked at.
type finding struct {
	tenant, client, id string
	scopes             []string
	all                bool // all scopes of the client
	expires            hub.Micros
}

// access finds one of our own access tokens.
func (s *Server) access(ctx context.Context, hash []byte) (finding, error) {
	a, err := s.cfg.Store.AccessByHash(ctx, hash)
	if hub.CodeOf(err) == hub.NotFound || err == nil && a == nil {
		return finding{}, invalid("it is not known")
	}
	if err != nil {
		return finding{}, err
	}
	return finding{tenant: a.Tenant, client: a.Client, id: a.ID, scopes: a.Scopes, expires: a.Expires}, nil
}

// preshared finds a token that an operator made. One without scopes has all of its client.
func (s *Server) preshared(ctx context.Context, hash []byte) (finding, error) {
	t, err := s.cfg.Store.TokenByHash(ctx, hash)
	if hub.CodeOf(err) == hub.NotFound || err == nil && t == nil {
		return finding{}, invalid("it is not known")
	}
	if err != nil {
		return finding{}, err
	}
	switch {
	case t.Revoked != 0:
		return finding{}, invalid("it is revoked")
	case t.Client == "":
		return finding{}, invalid("the operator is no client")
	}
	return finding{tenant: t.Tenant, client: t.Client, id: t.ID, scopes: t.Scopes, all: len(t.Scopes) == 0, expires: t.Expires}, nil
}

// remembered asks the store about a token, or takes what it said within the last second.
func (s *Server) remembered(ctx context.Context, token string, ask func(context.Context, []byte) (finding, error)) (finding, error) {
	sum := sha256.Sum256([]byte(token))
	if f, ok := s.known.get(sum); ok {
		return f, nil
	}
	gen := s.known.generation()
	f, err := ask(ctx, sum[:])
	if err == nil {
		s.known.put(sum, f, gen, time.Second)
	}
	return f, err
}

// Forget lets go of what is remembered of tokens. Call it after tokens or clients were changed on this node;
// other nodes see a change within a second.
func (s *Server) Forget() { s.known.forget() }

// memo remembers findings for a short time. It is bounded.
type memo struct {
	now func() time.Time

	mu  sync.Mutex
	all map[[32]byte]memory
	gen int
}

type memory struct {
	finding
	none  bool // the token is known not to be valid
	until time.Time
}

const maxMemo = 10_000

func newMemo(now func() time.Time) *memo { return &memo{now: now, all: map[[32]byte]memory{}} }

func (m *memo) look(key [32]byte) (memory, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.all[key]
	return k, ok && m.now().Before(k.until)
}

func (m *memo) get(key [32]byte) (finding, bool) {
	k, ok := m.look(key)
	return k.finding, ok
}

func (m *memo) generation() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gen
}

// put remembers a finding, unless something was forgotten since gen.
func (m *memo) put(key [32]byte, f finding, gen int, life time.Duration) {
	m.keep(key, memory{finding: f, until: m.now().Add(life)}, gen)
}

func (m *memo) keep(key [32]byte, k memory, gen int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gen != gen {
		return
	}
	if len(m.all) >= maxMemo {
		for key, k := range m.all {
			if !m.now().Before(k.until) {
				delete(m.all, key)
			}
		}
		if len(m.all) >= maxMemo {
			clear(m.all)
		}
	}
	m.all[key] = k
}

func (m *memo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.all)
	m.gen++
}
