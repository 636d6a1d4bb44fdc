package server

import (
	"context"
	"fmt"
	"os"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/vault"
	"countersign/internal/web/api"
	"countersign/set"
	"countersign/transmitter"
)

// keysMaxAge is how long receivers may keep our key set; a key is published for twice that before it signs.
const keysMaxAge = 5 * time.Minute

// published is how long a key is published before it signs.
const published = 2 * keysMaxAge

// withdrawnFor is how long a withdrawn key is looked after: another node may have planned rows under it until it heard.
const withdrawnFor = time.Hour

// rekey hands the tenant's keys as they are now to its transmitter.
func (t *tenant) rekey() error {
	return t.streams.SetKeys(transmitter.Keys{Signers: t.s.keys.Signers(t.name), Also: t.s.keys.Next(t.name)})
}

// tendKeys does what time and other nodes ask for: keys change their state, and what waits under a withdrawn one is given
// another.
func (t *tenant) tendKeys(ctx context.Context) error {
	heard, err := t.s.keys.Reload(ctx, t.name)
	if err != nil {
		return err
	}
	stepped, err := t.s.keys.Step(ctx, t.name, published, func(kid string) (bool, error) { return t.inUse(ctx, kid) })
	if err != nil {
		return err
	}
	if heard || stepped {
		if err := t.rekey(); err != nil {
			return err
		}
	}
	for _, r := range t.s.keys.Rows(t.name) {
		if r.State != vault.Compromised || t.s.now().Sub(r.Changed) > withdrawnFor {
			continue
		}
		n, err := t.reissue(ctx, r.KID)
		if err != nil {
			return err
		}
		if n > 0 {
			t.s.log.WarnContext(ctx, "what waited under a withdrawn key was given another", "tenant", t.name, "kid", r.KID, "rows", n)
		}
	}
	return nil
}

// reissue gives what waits under a kid another key; nothing where nothing does.
func (t *tenant) reissue(ctx context.Context, kid string) (int, error) {
	waiting, err := t.streams.KeysInUse(ctx)
	if err != nil || waiting[kid] == 0 {
		return 0, err
	}
	return t.streams.Reissue(ctx, kid)
}

// inUse reports whether anything is still to be sent that was fixed under a key: a row of a stream, or a receipt.
func (t *tenant) inUse(ctx context.Context, kid string) (bool, error) {
	waiting, err := t.streams.KeysInUse(ctx)
	if err != nil || waiting[kid] > 0 {
		return true, err
	}
	for p := (hub.Page{Limit: 200}); ; {
		got, err := t.s.store.ListReceipts(ctx, t.name, store.ReceiptFilter{State: "queued"}, p)
		if err != nil {
			return true, err
		}
		for _, r := range got.Items {
			if r.KID == kid {
				return true, nil
			}
		}
		if got.Next == "" {
			return false, nil
		}
		p.After = got.Next
	}
}

// importKeys takes the signing keys that the configuration names.
func (s *Server) importKeys(ctx context.Context) error {
	for _, path := range s.cfg.Keys.Files {
		file, err := os.ReadFile(path)
		if err != nil {
			return hub.Errorf(hub.Invalid, "keys.files: %w", err)
		}
		if _, err := s.keys.Import(ctx, api.DefaultTenant, file); err != nil {
			return fmt.Errorf("keys.files: %s: %w", path, err)
		}
	}
	return nil
}

// keyRing lets operators change signing keys.
type keyRing struct{ s *Server }

func (k keyRing) info(t *tenant, r vault.KeyRow, waiting map[string]int64) api.KeyInfo {
	out := api.KeyInfo{KID: r.KID, Alg: string(r.Alg), State: r.State, JWK: r.Public, Created: hub.At(r.Created), Waiting: waiting[r.KID]}
	if key := k.s.keys.Find(t.name, r.KID); key != nil {
		out.Thumbprint = key.Thumbprint()
	}
	if r.State == vault.Next {
		out.ActiveAt = hub.At(r.Changed.Add(published))
	}
	return out
}

// List gives every key that is still known, with its state.
func (k keyRing) List(ctx context.Context, tenant string) ([]api.KeyInfo, error) {
	t, err := k.s.must(tenant)
	if err != nil {
		return nil, err
	}
	if _, err := k.s.keys.Reload(ctx, tenant); err != nil {
		return nil, err
	}
	waiting, err := t.streams.KeysInUse(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.KeyInfo{}
	for _, r := range k.s.keys.Rows(tenant) {
		out = append(out, k.info(t, r, waiting))
	}
	return out, nil
}

// Rotate makes the next key of an algorithm.
func (k keyRing) Rotate(ctx context.Context, tenant, alg string, now bool) (api.KeyInfo, error) {
	t, err := k.s.must(tenant)
	if err != nil {
		return api.KeyInfo{}, err
	}
	r, err := k.s.keys.Rotate(ctx, tenant, set.Algorithm(alg), now)
	if err != nil {
		return api.KeyInfo{}, err
	}
	if err := t.rekey(); err != nil {
		return api.KeyInfo{}, err
	}
	k.s.log.InfoContext(ctx, "a signing key was made", "tenant", tenant, "kid", r.KID, "alg", alg, "state", r.State)
	return k.info(t, r, nil), nil
}

// Retire ends a key. A compromised one is out of the published key set when this returns, and what waited under it is
// signed anew.
func (k keyRing) Retire(ctx context.Context, tenant, kid string, compromised bool) (api.KeyInfo, error) {
	t, err := k.s.must(tenant)
	if err != nil {
		return api.KeyInfo{}, err
	}
	if !compromised {
		busy, err := t.inUse(ctx, kid)
		if err != nil {
			return api.KeyInfo{}, err
		}
		if busy {
			return api.KeyInfo{}, hub.Errorf(hub.Conflict, "what waits for its receivers will be signed with the key %s", kid).
				WithHint("it is retired by itself when nothing waits any more; countersign key retire --compromised withdraws it at once")
		}
		r, err := k.s.keys.Retire(ctx, tenant, kid)
		if err != nil {
			return api.KeyInfo{}, err
		}
		return k.info(t, r, nil), t.rekey()
	}
	r, err := k.s.keys.Withdraw(ctx, tenant, kid)
	if err != nil {
		return api.KeyInfo{}, err
	}
	if err := t.rekey(); err != nil {
		return api.KeyInfo{}, err
	}
	k.s.log.WarnContext(ctx, "a signing key was withdrawn as compromised", "tenant", tenant, "kid", kid)
	out := k.info(t, r, nil)
	out.Reissued, err = t.reissue(ctx, kid)
	return out, err
}
