package correlate

import (
	"context"

	"countersign/internal/hub"
)

// Store is what correlation reads. All names are within one tenant.
type Store interface {
	// FindIdentityByEmail gives the names of the identities with that address; the address is canonical.
	FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error)
	// FindIdentityByAccount gives the names of the identities with that account id at that place.
	FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error)
	// Identity gives one identity by name; hub.NotFound where there is none.
	Identity(ctx context.Context, tenant, name string) (*hub.Identity, error)
}

// Input is one signal and what is known about its place.
type Input struct {
	Signal *hub.Signal
	Source *hub.Source
	// LooksUp reports that at least one app finds its accounts by e-mail, so that an address nobody
	// declared can still be somebody's.
	LooksUp bool
	// Tenants are the names by which a subject's tenant member may call this tenant; empty accepts any.
	Tenants []string
}

// Result is whom a signal is about.
type Result struct {
	// Identity is who it is; nil when unresolved. An address nobody declared is an implicit identity:
	// its name is the address, and its only e-mail.
	Identity *hub.Identity
	Implicit bool
	// Session is the session id that the subject names, and SessionAt the place in whose name space it stands.
	Session   string
	SessionAt string
	// Misses are the ways that did not answer, in the order in which they were tried.
	Misses []string
	// Reason says why nobody was found; empty when somebody was.
	Reason string
	// NotAuthorized: the subject is outside the tenant, so the source has no authority over it.
	NotAuthorized bool
}

// Correlate finds out whom the signal is about. Its error is the store's; an unknown person is no error
// but a Result with a Reason.
func Correlate(ctx context.Context, st Store, in Input) (*Result, error) { panic("soon") }
