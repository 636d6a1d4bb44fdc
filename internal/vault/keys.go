package vault

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"countersign/set"
)

// KeyRow is a signing key as the store has it: the public part as JWK, the private part sealed.
type KeyRow struct {
	Tenant  string
	KID     string
	Alg     set.Algorithm
	State   string // active | next | retired
	Public  json.RawMessage
	Sealed  []byte
	Created time.Time
}

// KeyRows is what Keys needs of the store.
type KeyRows interface {
	PutKey(ctx context.Context, k KeyRow) error
	Keys(ctx context.Context, tenant string) ([]KeyRow, error)
}

// Keys are the signing keys of each tenant, dedicated to Security Event Tokens. Safe for concurrent use.
type Keys struct {
	vault *Vault
	rows  KeyRows
	now   func() time.Time

	mu    sync.RWMutex
	rings map[string]*ring
}

type ring struct {
	active []*set.Signer // RS256, ES256, EdDSA
	all    map[string]*set.Signer
	public []set.Key
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
		have[r.Alg] = have[r.Alg] || r.State == "active"
	}
	made := false
	for _, alg := range Algorithms {
		if !have[alg] {
			if err := k.make(ctx, tenant, alg); err != nil {
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
	rg := &ring{all: map[string]*set.Signer{}}
	signs := map[set.Algorithm]KeyRow{}
	for _, r := range rows {
		s, err := k.open(r)
		if err != nil {
			return err
		}
		rg.all[r.KID] = s
		if r.State != "retired" {
			rg.public = append(rg.public, s.Public())
		}
		if was, ok := signs[r.Alg]; r.State == "active" && (!ok || r.Created.Before(was.Created) || r.Created.Equal(was.Created) && r.KID < was.KID) {
			signs[r.Alg] = r
		}
	}
	for _, alg := range Algorithms {
		rg.active = append(rg.active, rg.all[signs[alg].KID])
	}
	k.mu.Lock()
	k.rings[tenant] = rg
	k.mu.Unlock()
	return nil
}

func (k *Keys) make(ctx context.Context, tenant string, alg set.Algorithm) error {
	key, err := set.GenerateKey(alg)
	if err != nil {
		return err
	}
	var id [6]byte
	rand.Read(id[:])
	kid := base64.RawURLEncoding.EncodeToString(id[:])
	s, err := set.NewSigner(alg, kid, key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := json.Marshal(s.Public())
	if err != nil {
		return err
	}
	return k.rows.PutKey(ctx, KeyRow{Tenant: tenant, KID: kid, Alg: alg, State: "active", Public: public,
		Sealed: k.vault.Seal("signing-key", tenant+"/"+kid, der), Created: k.now()})
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

// Signers gives the keys that sign now, one for each algorithm, RS256 first. Ensure comes before.
func (k *Keys) Signers(tenant string) []*set.Signer {
	if r := k.ring(tenant); r != nil {
		return r.active
	}
	return nil
}

// Signer gives the key that signs now with one algorithm; nil where there is none.
func (k *Keys) Signer(tenant string, alg set.Algorithm) *set.Signer {
	for _, s := range k.Signers(tenant) {
		if s.Algorithm() == alg {
			return s
		}
	}
	return nil
}

// Complete signs an input that was fixed with the key kid, also after another key took over.
func (k *Keys) Complete(tenant, kid, input string) (string, error) {
	r := k.ring(tenant)
	if r == nil || r.all[kid] == nil {
		return "", fmt.Errorf("vault: tenant %s has no signing key %q", tenant, kid)
	}
	return r.all[kid].Complete(input)
}

// Public gives the keys to publish: all that are not retired.
func (k *Keys) Public(tenant string) []set.Key {
	if r := k.ring(tenant); r != nil {
		return r.public
	}
	return nil
}
