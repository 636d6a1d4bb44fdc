package server

import (
	"context"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/vault"
	"countersign/set"
)

// keyRows lets the vault keep its keys in the store: neither knows the other.
type keyRows struct{ s *store.Store }

// PutKey keeps a key.
func (k keyRows) PutKey(ctx context.Context, r vault.KeyRow) error {
	return k.s.PutKey(ctx, store.Key{Tenant: r.Tenant, KID: r.KID, Alg: string(r.Alg), State: r.State, Public: r.Public, Sealed: r.Sealed, Created: hub.At(r.Created)})
}

// Keys gives a tenant's keys.
func (k keyRows) Keys(ctx context.Context, tenant string) ([]vault.KeyRow, error) {
	rows, err := k.s.Keys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	out := make([]vault.KeyRow, len(rows))
	for i, r := range rows {
		out[i] = vault.KeyRow{Tenant: r.Tenant, KID: r.KID, Alg: set.Algorithm(r.Alg), State: r.State, Public: r.Public, Sealed: r.Sealed, Created: r.Created.Time(), Changed: r.Changed.Time()}
	}
	return out, nil
}

// SetKeyState brings a key into a state.
func (k keyRows) SetKeyState(ctx context.Context, tenant, kid, state string, at time.Time) error {
	return k.s.SetKeyState(ctx, tenant, kid, state, hub.At(at))
}
