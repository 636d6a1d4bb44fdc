package server

import (
	"context"
	"sync"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// maxPeople is how many look-ups of each kind a view remembers; beyond it forgets all of them and begins anew.
const maxPeople = 16_384

// people is the store as correlation reads it, with a memory for what was found at one generation of the resources. A view
// has its own, so that what changes is seen when the view is swapped, with everything else that was applied. Whom nobody
// fits is not remembered: a mapping may come at any moment.
type people struct {
	*store.Store
	tenant string

	mu       sync.RWMutex
	names    map[lookUp]string
	identity map[string]*hub.Identity
}

// lookUp is a value of one kind at one place.
type lookUp struct{ kind, place, value string }

func newPeople(st *store.Store, tenant string) *people {
	return &people{Store: st, tenant: tenant, names: map[lookUp]string{}, identity: map[string]*hub.Identity{}}
}

// FindIdentityByEmail gives the names of the identities with that address.
func (p *people) FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error) {
	return p.find(tenant, lookUp{"email", "", email}, func() ([]string, error) { return p.Store.FindIdentityByEmail(ctx, tenant, email) })
}

// FindIdentityByAccount gives the names of the identities with that account id at that place.
func (p *people) FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error) {
	return p.find(tenant, lookUp{"account", place, id}, func() ([]string, error) { return p.Store.FindIdentityByAccount(ctx, tenant, place, id) })
}

// Identity gives one identity by name. What it gives is shared: nobody changes it.
func (p *people) Identity(ctx context.Context, tenant, name string) (*hub.Identity, error) {
	if tenant != p.tenant {
		return p.Store.Identity(ctx, tenant, name)
	}
	p.mu.RLock()
	known := p.identity[name]
	p.mu.RUnlock()
	if known != nil {
		return known, nil
	}
	found, err := p.Store.Identity(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.identity) >= maxPeople {
		clear(p.identity)
	}
	p.identity[name] = found
	return found, nil
}

func (p *people) find(tenant string, what lookUp, ask func() ([]string, error)) ([]string, error) {
	if tenant != p.tenant {
		return ask()
	}
	p.mu.RLock()
	name, known := p.names[what]
	p.mu.RUnlock()
	if known {
		return []string{name}, nil
	}
	names, err := ask()
	if err != nil || len(names) != 1 {
		return names, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) >= maxPeople {
		clear(p.names)
	}
	p.names[what] = names[0]
	return names, nil
}
