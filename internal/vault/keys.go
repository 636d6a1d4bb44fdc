package vault

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"countersign/set"
)

// KeyRow is a signing key as the store has it: the public part as JWK, the private part sealed.
type KeyRow struct {
	Tenant  string
	KID     string
	Alg     set.Algorithm
	State   string // Next, Active, Retiring, Retired or Compromised
	Public  json.RawMessage
	Sealed  []byte
	Created time.Time
	Changed time.Time // when it came into its state
}

// The states of a signing key. It is published from the first to the third.
const (
	Next        = "next"        // published, so that verifiers learn it, and not used yet
	Active      = "active"      // signs
	Retiring    = "retiring"    // signs what was planned under it, and nothing new
	Retired     = "retired"     // kept for the evidence of what it signed
	Compromised = "compromised" // withdrawn at once; never signs again
)

// ErrCompromised: what was to be signed was fixed under a key that was withdrawn since.
var ErrCompromised = errors.New("vault: the signing key was withdrawn as compromised")

// KeyRows is what Keys needs of the store.
type KeyRows interface {
	PutKey(ctx context.Context, k KeyRow) error
	Keys(ctx context.Context, tenant string) ([]KeyRow, error)
	// SetKeyState brings a key into a state.
	SetKeyState(ctx context.Context, tenant, kid, state string, at time.Time) error
}

// Keys are the signing keys of each tenant, dedicated to Security Event Tokens. Safe for concurrent use.
type Keys struct {
	vault *Vault
	rows  KeyRows
	now   func() time.Time

	mu    sync.RWMutex
	rings map[string]*ring
}

// ring is the keys of a tenant, opened. It is replaced whole.
type ring struct {
	rows    []KeyRow
	signers []*set.Signer // those that sign what is new, RS256, ES256, EdDSA; then the retiring ones
	active  int           // how many of signers sign what is new
	also    []set.Key     // next ones
	all     map[string]*set.Signer
	barred  map[string]bool // compromised
}

// Algorithms are those for which a tenant has keys, the default first: the CAEP interoperability
// profile asks for RS256.
var Algorithms = []set.Algorithm{set.RS256, set.ES256, set.EdDSA}

// NewKeys puts the vault in front of the rows. now may be nil.
func NewKeys(v *Vault, rows KeyRows, now func() time.Time) *Keys {
	if now == nil {
		now = time.Now
	}
	return &Keys{vault: v, rows: rows, now: now, rings: map[string]*ring{}}
}

// Ensure loads the tenant's keys, and makes those that are missing. Two nodes that start at once may
// both make a key; both are kept and published, and the older one signs.
func (k *Keys) Ensure(ctx context.Context, tenant string) error {
	rows, err := k.rows.Keys(ctx, tenant)
	if err != nil {
		return err
	}
	have := map[set.Algorithm]bool{}
	for _, r := range rows {
		have[r.Alg] = have[r.Alg] || r.State == Active
	}
	made := false
	for _, alg := range Algorithms {
		if !have[alg] {
			if _, err := k.make(ctx, tenant, alg, Active); err != nil {
				return fmt.Errorf("vault: make a signing key: %w", err)
			}
			made = true
		}
	}
	if made {
		if rows, err = k.rows.Keys(ctx, tenant); err != nil {
			return err
		}
	}
	_, err = k.load(tenant, rows)
	return err
}

// Reload looks for what another node changed, and reports whether anything did.
func (k *Keys) Reload(ctx context.Context, tenant string) (changed bool, err error) {
	rows, err := k.rows.Keys(ctx, tenant)
	if err != nil {
		return false, err
	}
	return k.load(tenant, rows)
}

// load opens the keys and makes them the tenant's ring. A key that is open already is not opened again.
func (k *Keys) load(tenant string, rows []KeyRow) (changed bool, err error) {
	was := k.ring(tenant)
	if was != nil && slices.EqualFunc(was.rows, rows, func(a, b KeyRow) bool { return a.KID == b.KID && a.State == b.State }) {
		return false, nil
	}
	rg := &ring{rows: rows, all: map[string]*set.Signer{}, barred: map[string]bool{}}
	signs := map[set.Algorithm]KeyRow{}
	var retiring []*set.Signer
	for _, r := range rows {
		if r.State == Compromised {
			rg.barred[r.KID] = true
			continue
		}
		var s *set.Signer
		if was != nil {
			s = was.all[r.KID]
		}
		if s == nil {
			if s, err = k.open(r); err != nil {
				return false, err
			}
		}
		rg.all[r.KID] = s
		switch r.State {
		case Next:
			rg.also = append(rg.also, s.Public())
		case Retiring:
			retiring = append(retiring, s)
		case Active:
			old, ok := signs[r.Alg]
			if ok && (old.Created.Before(r.Created) || old.Created.Equal(r.Created) && old.KID < r.KID) {
				retiring = append(retiring, s) // made by two nodes at once: published, and the older one signs
				continue
			}
			if ok {
				retiring = append(retiring, rg.all[old.KID])
			}
			signs[r.Alg] = r
		}
	}
	for _, alg := range Algorithms {
		s := rg.all[signs[alg].KID]
		if s == nil {
			return false, fmt.Errorf("vault: tenant %s has no key that signs %s", tenant, alg)
		}
		rg.signers = append(rg.signers, s)
	}
	rg.active = len(rg.signers)
	rg.signers = append(rg.signers, retiring...)
	k.mu.Lock()
	k.rings[tenant] = rg
	k.mu.Unlock()
	return true, nil
}

func (k *Keys) make(ctx context.Context, tenant string, alg set.Algorithm, state string) (KeyRow, error) {
	key, err := set.GenerateKey(alg)
	if err != nil {
		return KeyRow{}, err
	}
	var id [6]byte
	rand.Read(id[:])
	return k.put(ctx, tenant, alg, base64.RawURLEncoding.EncodeToString(id[:]), state, key)
}

// put seals and keeps a private key.
func (k *Keys) put(ctx context.Context, tenant string, alg set.Algorithm, kid, state string, key crypto.Signer) (KeyRow, error) {
	s, err := set.NewSigner(alg, kid, key)
	if err != nil {
		return KeyRow{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return KeyRow{}, err
	}
	public, err := json.Marshal(s.Public())
	if err != nil {
		return KeyRow{}, err
	}
	now := k.now()
	r := KeyRow{Tenant: tenant, KID: kid, Alg: alg, State: state, Public: public,
		Sealed: k.vault.Seal("signing-key", tenant+"/"+kid, der), Created: now, Changed: now}
	return r, k.rows.PutKey(ctx, r)
}

func (k *Keys) open(r KeyRow) (*set.Signer, error) {
	der, err := k.vault.Open("signing-key", r.Tenant+"/"+r.KID, r.Sealed)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", r.KID, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("vault: signing key %s: %w", r.KID, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("vault: signing key %s cannot sign", r.KID)
	}
	return set.NewSigner(r.Alg, r.KID, signer)
}

func (k *Keys) ring(tenant string) *ring {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.rings[tenant]
}

// Signers gives the keys that sign: first those for what is new, one for each algorithm, RS256 first; then the retiring
// ones. Ensure comes before.
func (k *Keys) Signers(tenant string) []*set.Signer {
	if r := k.ring(tenant); r != nil {
		return r.signers
	}
	return nil
}

// Next gives the keys that are published and do not sign yet.
func (k *Keys) Next(tenant string) []set.Key {
	if r := k.ring(tenant); r != nil {
		return r.also
	}
	return nil
}

// Signer gives the key that signs what is new with one algorithm; nil where there is none.
func (k *Keys) Signer(tenant string, alg set.Algorithm) *set.Signer {
	r := k.ring(tenant)
	if r == nil {
		return nil
	}
	for _, s := range r.signers[:r.active] {
		if s.Algorithm() == alg {
			return s
		}
	}
	return nil
}

// Complete signs an input that was fixed with the key kid, also after another key took over. A key that was withdrawn
// signs nothing any more: ErrCompromised.
func (k *Keys) Complete(tenant, kid, input string) (string, error) {
	r := k.ring(tenant)
	switch {
	case r != nil && r.barred[kid]:
		return "", fmt.Errorf("%w: %s", ErrCompromised, kid)
	case r == nil || r.all[kid] == nil:
		return "", fmt.Errorf("vault: tenant %s has no signing key %q", tenant, kid)
	}
	return r.all[kid].Complete(input)
}

// Known gives the public keys by which what we ever signed can be verified: all but the compromised ones, whose
// signature proves nothing.
func (k *Keys) Known(tenant string) []set.Key {
	r := k.ring(tenant)
	if r == nil {
		return nil
	}
	var out []set.Key
	for _, row := range r.rows {
		if s := r.all[row.KID]; s != nil {
			out = append(out, s.Public())
		}
	}
	return out
}

// Rows gives every key with its state, oldest first.
func (k *Keys) Rows(tenant string) []KeyRow {
	if r := k.ring(tenant); r != nil {
		return slices.Clone(r.rows)
	}
	return nil
}

// Find gives the public part of a key of any state but compromised; nil where there is none.
func (k *Keys) Find(tenant, kid string) *set.Key {
	r := k.ring(tenant)
	if r == nil || r.all[kid] == nil {
		return nil
	}
	key := r.all[kid].Public()
	return &key
}
