package store

import (
	"context"
	"strings"

	"countersign/internal/hub"
)

// Access is a short-lived access token that the hub's own authorization server gave out. Only its SHA-256 is stored.
type Access struct {
	Hash    []byte // SHA-256 of the token, 32 octets
	Tenant  string
	Client  string // name of the client resource
	Scopes  []string
	Expires hub.Micros
	ID      string // public name of the token, for logs and revocation
}

// purgeAtOnce is how many rows that nobody needs any more go with a write of the same table.
const purgeAtOnce = 64

// PutAccess stores a new access token. Some that are expired go in the same transaction, so that no more stay than
// are given out within their time.
func (s *Store) PutAccess(ctx context.Context, a Access) error {
	if err := needTenant(a.Tenant); err != nil {
		return err
	}
	if a.ID == "" || a.Client == "" || len(a.Hash) != 32 || a.Expires == 0 {
		return hub.Errorf(hub.Invalid, "an access token needs an id, a client, its SHA-256 and an end")
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM oauth_access WHERE hash IN (SELECT hash FROM oauth_access WHERE expires < $1 LIMIT $2)`, int64(s.now()), purgeAtOnce); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO oauth_access (hash, id, tenant, client, scopes, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
			a.Hash, a.ID, a.Tenant, a.Client, strings.Join(a.Scopes, " "), int64(a.Expires))
		if unique(err) {
			return hub.Errorf(hub.Conflict, "the access token is stored already")
		}
		return err
	})
}

// AccessByHash gives the access token with a SHA-256, of any tenant, or hub.NotFound: also for one that is expired
// or was revoked.
func (s *Store) AccessByHash(ctx context.Context, hash []byte) (*Access, error) {
	a := &Access{Hash: hash}
	err := s.read(ctx, func(t *tx) error {
		var scopes string
		var expires int64
		found, err := t.one(`SELECT id, tenant, client, scopes, expires FROM oauth_access WHERE hash = $1 AND expires > $2`,
			[]any{hash, int64(s.now())}, &a.ID, &a.Tenant, &a.Client, &scopes, &expires)
		if err == nil && !found {
			err = notFound("access token")
		}
		a.Scopes, a.Expires = strings.Fields(scopes), hub.Micros(expires)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// RevokeAccess ends the force of the access token of that id, or of all of the client of that name, at once, and
// gives how many there were. None is no error (RFC 7009 §2.2).
func (s *Store) RevokeAccess(ctx context.Context, tenant, idOrClient string) (int, error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	var gone int64
	err := s.write(ctx, pointNone, func(t *tx) (err error) {
		gone, err = t.exec(`DELETE FROM oauth_access WHERE tenant = $1 AND (id = $2 OR client = $2)`, tenant, idOrClient)
		return err
	})
	return int(gone), err
}

// UseAssertion notes that a client used the assertion with this jti, and gives hub.Conflict where it had (RFC 7523 §3:
// a replay). It is remembered until the assertion is expired.
func (s *Store) UseAssertion(ctx context.Context, tenant, client, jti string, until hub.Micros) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	if client == "" || jti == "" || len(jti) > 1024 {
		return hub.Errorf(hub.Invalid, "an assertion needs a client and a jti of at most 1024 bytes")
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM oauth_assertion WHERE seq IN (SELECT seq FROM oauth_assertion WHERE until < $1 ORDER BY until LIMIT $2)`,
			int64(s.now()), purgeAtOnce); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO oauth_assertion (tenant, client, jti, until) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, client, jti) DO NOTHING`,
			tenant, client, jti, int64(until))
		if err == nil && n == 0 {
			err = hub.Errorf(hub.Conflict, "the assertion was used before")
		}
		return err
	})
}
