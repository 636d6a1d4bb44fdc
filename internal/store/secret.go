package store

import (
	"context"
	"strings"

	"countersign/internal/hub"
)

// PutSecret stores or replaces a sealed value.
func (s *Store) PutSecret(ctx context.Context, tenant, name string, sealed []byte) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	if name == "" {
		return hub.Errorf(hub.Invalid, "the secret has no name")
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		_, err := t.exec(`INSERT INTO secret (tenant, name, sealed, created, updated) VALUES ($1, $2, $3, $4, $4)
			ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed, updated = excluded.updated`, tenant, name, blob(sealed), int64(s.now()))
		return err
	})
}

// Secret gives a sealed value, or hub.NotFound.
func (s *Store) Secret(ctx context.Context, tenant, name string) ([]byte, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var sealed []byte
	err := s.read(ctx, func(t *tx) error {
		found, err := t.one(`SELECT sealed FROM secret WHERE tenant = $1 AND name = $2`, []any{tenant, name}, &sealed)
		if err == nil && !found {
			err = hub.Errorf(hub.NotFound, "there is no secret %s", name)
		}
		return err
	})
	return sealed, err
}

// ListSecrets gives the names of a tenant's secrets, without their values.
func (s *Store) ListSecrets(ctx context.Context, tenant string) ([]SecretInfo, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var all []SecretInfo
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			var i SecretInfo
			var created, updated int64
			err := scan(&i.Name, &created, &updated)
			i.Created, i.Updated = hub.Micros(created), hub.Micros(updated)
			all = append(all, i)
			return err
		}, `SELECT name, created, updated FROM secret WHERE tenant = $1 ORDER BY name`, tenant)
	})
	return all, err
}

// DeleteSecret removes a secret, or gives hub.NotFound.
func (s *Store) DeleteSecret(ctx context.Context, tenant, name string) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		n, err := t.exec(`DELETE FROM secret WHERE tenant = $1 AND name = $2`, tenant, name)
		if err == nil && n == 0 {
			err = hub.Errorf(hub.NotFound, "there is no secret %s", name)
		}
		return err
	})
}

// PutKey stores a signing key or changes its state. Its algorithm and public part never change.
func (s *Store) PutKey(ctx context.Context, k Key) error {
	if err := needTenant(k.Tenant); err != nil {
		return err
	}
	if k.KID == "" {
		return hub.Errorf(hub.Invalid, "the key has no id")
	}
	if k.Created == 0 {
		k.Created = s.now()
	}
	if k.Changed == 0 {
		k.Changed = k.Created
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		n, err := t.exec(`INSERT INTO signing_key (tenant, kid, alg, state, public_jwk, sealed, created, changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (tenant, kid) DO UPDATE SET state = excluded.state, sealed = excluded.sealed,
				changed = CASE WHEN signing_key.state = excluded.state THEN signing_key.changed ELSE excluded.changed END
			WHERE signing_key.alg = excluded.alg AND signing_key.public_jwk = excluded.public_jwk`,
			k.Tenant, k.KID, k.Alg, k.State, string(k.Public), blob(k.Sealed), int64(k.Created), int64(k.Changed))
		if err == nil && n == 0 {
			err = hub.Errorf(hub.Conflict, "another key has the id %s", k.KID)
		}
		return err
	})
}

// Keys gives a tenant's signing keys, oldest first.
func (s *Store) Keys(ctx context.Context, tenant string) ([]Key, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var all []Key
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			k := Key{Tenant: tenant}
			var public string
			var created, changed int64
			err := scan(&k.KID, &k.Alg, &k.State, &public, &k.Sealed, &created, &changed)
			k.Public, k.Created, k.Changed = raw(public), hub.Micros(created), hub.Micros(changed)
			all = append(all, k)
			return err
		}, `SELECT kid, alg, state, public_jwk, sealed, created, changed FROM signing_key WHERE tenant = $1 ORDER BY created, kid`, tenant)
	})
	return all, err
}

// SetKeyState brings a signing key into a state, or gives hub.NotFound. The state it is in already changes nothing.
func (s *Store) SetKeyState(ctx context.Context, tenant, kid, state string, at hub.Micros) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	switch state {
	case KeyNext, KeyActive, KeyRetiring, KeyRetired, KeyCompromised:
	default:
		return hub.Errorf(hub.Invalid, "%q is no state of a key", state)
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		n, err := t.exec(`UPDATE signing_key SET changed = CASE WHEN state = $1 THEN changed ELSE $2 END, state = $1 WHERE tenant = $3 AND kid = $4`,
			state, int64(at), tenant, kid)
		if err == nil && n == 0 {
			err = hub.Errorf(hub.NotFound, "there is no key %s", kid)
		}
		return err
	})
}

const tokenSelect = `SELECT id, tenant, name, client, hash, scopes, created, expires, revoked FROM access_token`

func scanToken(scan scanFunc) (Token, error) {
	var k Token
	var scopes string
	var created, expires, revoked int64
	err := scan(&k.ID, &k.Tenant, &k.Name, &k.Client, &k.Hash, &scopes, &created, &expires, &revoked)
	k.Scopes, k.Created, k.Expires, k.Revoked = strings.Fields(scopes), hub.Micros(created), hub.Micros(expires), hub.Micros(revoked)
	return k, err
}

// PutToken stores a new access token by its hash.
func (s *Store) PutToken(ctx context.Context, k Token) error {
	if err := needTenant(k.Tenant); err != nil {
		return err
	}
	if k.ID == "" || len(k.Hash) != 32 {
		return hub.Errorf(hub.Invalid, "a token needs an id and its SHA-256")
	}
	if k.Created == 0 {
		k.Created = s.now()
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		_, err := t.exec(`INSERT INTO access_token (id, tenant, name, client, hash, scopes, created, expires, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			k.ID, k.Tenant, k.Name, k.Client, k.Hash, strings.Join(k.Scopes, " "), int64(k.Created), int64(k.Expires), int64(k.Revoked))
		if unique(err) {
			return hub.Errorf(hub.Conflict, "the token is stored already")
		}
		return err
	})
}

// TokenByHash gives the token with a SHA-256, of any tenant, also one that is expired or revoked; or hub.NotFound.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (*Token, error) {
	var k *Token
	err := s.read(ctx, func(t *tx) error {
		k = nil
		return t.each(func(scan scanFunc) error {
			one, err := scanToken(scan)
			k = &one
			return err
		}, tokenSelect+` WHERE hash = $1`, hash)
	})
	if err == nil && k == nil {
		err = notFound("token")
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// ListTokens gives a tenant's tokens, newest first.
func (s *Store) ListTokens(ctx context.Context, tenant string) ([]Token, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var all []Token
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			k, err := scanToken(scan)
			all = append(all, k)
			return err
		}, tokenSelect+` WHERE tenant = $1 ORDER BY id DESC`, tenant)
	})
	return all, err
}

// RevokeToken ends a token's force at once, or gives hub.NotFound. A second time changes nothing.
func (s *Store) RevokeToken(ctx context.Context, tenant, id string) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		n, err := t.exec(`UPDATE access_token SET revoked = CASE WHEN revoked = 0 THEN $1 ELSE revoked END WHERE tenant = $2 AND id = $3`, int64(s.now()), tenant, id)
		if err == nil && n == 0 {
			err = notFound("token")
		}
		return err
	})
}
