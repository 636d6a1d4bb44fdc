package vault

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/set"
)

// Overlap is how long a key that was replaced is published at least: as long as receipts are tried, and as any
// receiver may keep a key set. Nothing that it signed is on its way after that.
const Overlap = 7 * 24 * time.Hour

// Rotate makes the next key of an algorithm. It is published at once and signs from Step on, once it was published for
// long enough; with now it signs at once. hub.Conflict where one is under way already, unless now asks for it.
func (k *Keys) Rotate(ctx context.Context, tenant string, alg set.Algorithm, now bool) (KeyRow, error) {
	if !slices.Contains(Algorithms, alg) {
		return KeyRow{}, hub.Errorf(hub.Invalid, "%s is no algorithm that we sign with", alg).WithHint("RS256, ES256 or EdDSA")
	}
	if _, err := k.Reload(ctx, tenant); err != nil {
		return KeyRow{}, err
	}
	for _, r := range k.Rows(tenant) {
		if r.Alg != alg || r.State != Next {
			continue
		}
		if !now {
			return KeyRow{}, hub.Errorf(hub.Conflict, "the key %s of %s is published already and will sign soon", r.KID, alg).WithHint("countersign key rotate --now lets it sign at once")
		}
		return k.promote(ctx, r)
	}
	r, err := k.make(ctx, tenant, alg, Next)
	if err != nil {
		return KeyRow{}, err
	}
	if now {
		return k.promote(ctx, r)
	}
	_, err = k.Reload(ctx, tenant)
	return r, err
}

// promote lets a published key sign, in place of the one that did.
func (k *Keys) promote(ctx context.Context, r KeyRow) (KeyRow, error) {
	at := k.now()
	if err := k.rows.SetKeyState(ctx, r.Tenant, r.KID, Active, at); err != nil {
		return r, err
	}
	// Between the two writes both are active and the older one signs, which is what it did before.
	for _, old := range k.Rows(r.Tenant) {
		if old.Alg == r.Alg && old.State == Active && old.KID != r.KID {
			if err := k.rows.SetKeyState(ctx, r.Tenant, old.KID, Retiring, at); err != nil {
				return r, err
			}
		}
	}
	r.State, r.Changed = Active, at
	_, err := k.Reload(ctx, r.Tenant)
	return r, err
}

// Retire ends a key that nothing waits for: a retiring one, or a next one that shall not sign after all.
func (k *Keys) Retire(ctx context.Context, tenant, kid string) (KeyRow, error) {
	r, err := k.find(ctx, tenant, kid)
	if err != nil {
		return r, err
	}
	switch r.State {
	case Active:
		return r, hub.Errorf(hub.Conflict, "the key %s signs %s; another one has to sign first", kid, r.Alg).WithHint("countersign key rotate --alg %s", r.Alg)
	case Compromised:
		return r, hub.Errorf(hub.Conflict, "the key %s was withdrawn as compromised", kid)
	case Retired:
		return r, nil
	}
	return k.end(ctx, r, Retired)
}

// Withdraw takes a compromised key out of use at once. Where it signed, another one signs before this returns.
func (k *Keys) Withdraw(ctx context.Context, tenant, kid string) (KeyRow, error) {
	r, err := k.find(ctx, tenant, kid)
	if err != nil || r.State == Compromised {
		return r, err
	}
	if r.State == Active {
		if _, err := k.Rotate(ctx, tenant, r.Alg, true); err != nil {
			return r, err
		}
	}
	return k.end(ctx, r, Compromised)
}

func (k *Keys) end(ctx context.Context, r KeyRow, state string) (KeyRow, error) {
	r.State, r.Changed = state, k.now()
	if err := k.rows.SetKeyState(ctx, r.Tenant, r.KID, state, r.Changed); err != nil {
		return r, err
	}
	_, err := k.Reload(ctx, r.Tenant)
	return r, err
}

func (k *Keys) find(ctx context.Context, tenant, kid string) (KeyRow, error) {
	if _, err := k.Reload(ctx, tenant); err != nil {
		return KeyRow{}, err
	}
	for _, r := range k.Rows(tenant) {
		if r.KID == kid {
			return r, nil
		}
	}
	return KeyRow{}, hub.Errorf(hub.NotFound, "there is no signing key %.80q", kid).WithHint("countersign key list")
}

// Step does what time asks for: a next key that was published for the time lets it sign, and a retiring one that was
// published for Overlap since, and that used says nothing waits for, is retired. It reports whether anything changed.
func (k *Keys) Step(ctx context.Context, tenant string, published time.Duration, used func(kid string) (bool, error)) (changed bool, err error) {
	now := k.now()
	for _, r := range k.Rows(tenant) {
		age := now.Sub(r.Changed)
		switch {
		case r.State == Next && age >= published:
			if _, err := k.promote(ctx, r); err != nil {
				return changed, err
			}
			changed = true
		case r.State == Retiring && age >= Overlap:
			busy, err := used(r.KID)
			if err != nil {
				return changed, err
			}
			if busy {
				continue
			}
			if _, err := k.end(ctx, r, Retired); err != nil {
				return changed, err
			}
			changed = true
		}
	}
	return changed, nil
}

// Import takes a private key from a PEM file (PKCS #8, PKCS #1 or SEC 1). Its kid is the thumbprint of its public part
// (RFC 7638), so that the same file is the same key for ever. Where the tenant has signed with another key of that
// algorithm before, the new one is published first, as in Rotate; a fresh tenant signs with it at once.
func (k *Keys) Import(ctx context.Context, tenant string, file []byte) (KeyRow, error) {
	alg, key, err := parseKey(file)
	if err != nil {
		return KeyRow{}, err
	}
	probe, err := set.NewSigner(alg, "probe", key)
	if err != nil {
		return KeyRow{}, hub.Errorf(hub.Invalid, "%s", strings.TrimPrefix(err.Error(), "set: "))
	}
	kid := probe.Public().Thumbprint()
	rows, err := k.rows.Keys(ctx, tenant)
	if err != nil {
		return KeyRow{}, err
	}
	state := Active
	for _, r := range rows {
		if r.KID == kid {
			return r, nil
		}
		if r.Alg == alg && r.State == Active {
			state = Next
		}
	}
	return k.put(ctx, tenant, alg, kid, state, key)
}

func parseKey(file []byte) (set.Algorithm, crypto.Signer, error) {
	block, _ := pem.Decode(file)
	if block == nil {
		return "", nil, hub.Errorf(hub.Invalid, "the file holds no PEM block").WithHint("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return "", nil, hub.Errorf(hub.Invalid, "the PEM block is %.40q, not a private key", block.Type)
	}
	if err != nil {
		return "", nil, hub.Errorf(hub.Invalid, "the private key cannot be read: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return set.RS256, key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return set.ES256, key, nil
		}
		return "", nil, hub.Errorf(hub.Invalid, "of the elliptic curves only P-256 is signed with")
	case ed25519.PrivateKey:
		return set.EdDSA, key, nil
	}
	return "", nil, hub.Errorf(hub.Invalid, "%s", fmt.Sprintf("a private key of type %T is not signed with", key))
}
