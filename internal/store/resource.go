package store

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"countersign/internal/hub"
	"countersign/subject"
	"countersign/transmitter"
)

const resourceSelect = `SELECT tenant, kind, name, owner_set, version, spec, created, updated FROM resource`

func scanResource(scan scanFunc) (hub.Resource, error) {
	var r hub.Resource
	var kind, spec string
	var created, updated int64
	err := scan(&r.Tenant, &kind, &r.Name, &r.Set, &r.Version, &spec, &created, &updated)
	r.Kind, r.Spec, r.Created, r.Updated = hub.Kind(kind), raw(spec), hub.Micros(created), hub.Micros(updated)
	return r, err
}

// Apply carries out all changes in one transaction or none, and gives the tenant's generation afterwards. It grows
// when anything changed. A put of what is there already changes nothing; a delete of what is not there is hub.NotFound.
func (s *Store) Apply(ctx context.Context, tenant string, changes []Change) (int64, error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	for i := range changes {
		r := &changes[i].Resource
		if r.Kind == "" || r.Name == "" {
			return 0, hub.Errorf(hub.Invalid, "a resource needs a kind and a name")
		}
		if r.Tenant != "" && r.Tenant != tenant {
			return 0, hub.Errorf(hub.Invalid, "%s %s belongs to another tenant", r.Kind, r.Name)
		}
	}
	var generation int64
	err := s.write(ctx, pointNone, func(t *tx) error {
		now := s.now()
		changed := false
		for i := range changes {
			c := &changes[i]
			var did bool
			var err error
			switch c.Op {
			case OpPut:
				did, err = putResource(t, tenant, &c.Resource, now)
			case OpDelete:
				did, err = true, s.deleteResource(t, tenant, &c.Resource, now)
			default:
				err = hub.Errorf(hub.Invalid, "%q is no operation on a resource", c.Op)
			}
			if err != nil {
				return err
			}
			changed = changed || did
		}
		var err error
		if changed {
			generation, err = bump(t, tenant, "resource")
		} else {
			generation, err = readGeneration(t, tenant)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return generation, nil
}

func putResource(t *tx, tenant string, r *hub.Resource, now hub.Micros) (changed bool, err error) {
	var set, spec string
	found, err := t.one(`SELECT owner_set, spec FROM resource WHERE tenant = $1 AND kind = $2 AND name = $3`, []any{tenant, string(r.Kind), r.Name}, &set, &spec)
	if err != nil {
		return false, err
	}
	if found && set == r.Set && bytes.Equal([]byte(spec), r.Spec) {
		return false, nil
	}
	if _, err := t.exec(`INSERT INTO resource (tenant, kind, name, owner_set, version, spec, created, updated) VALUES ($1, $2, $3, $4, 1, $5, $6, $6)
		ON CONFLICT (tenant, kind, name) DO UPDATE SET owner_set = excluded.owner_set, spec = excluded.spec, updated = excluded.updated,
			version = CASE WHEN resource.spec = excluded.spec THEN resource.version ELSE resource.version + 1 END`,
		tenant, string(r.Kind), r.Name, r.Set, string(r.Spec), int64(now)); err != nil {
		return false, err
	}
	if r.Kind != hub.KindIdentity {
		return true, nil
	}
	if found {
		if err := dropIdentity(t, tenant, r.Name); err != nil {
			return false, err
		}
	}
	var id hub.Identity
	if err := json.Unmarshal(r.Spec, &id); err != nil {
		return false, hub.Errorf(hub.Invalid, "the spec of identity %s: %w", r.Name, err)
	}
	for _, email := range id.Emails {
		if _, err := t.exec(`INSERT INTO identity_email (tenant, email, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, tenant, emailKey(email), r.Name); err != nil {
			return false, err
		}
	}
	for _, a := range accountsOf(&id) {
		if _, err := t.exec(`INSERT INTO identity_account (tenant, place, account, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, tenant, a.At, a.ID, r.Name); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) deleteResource(t *tx, tenant string, r *hub.Resource, now hub.Micros) error {
	n, err := t.exec(`DELETE FROM resource WHERE tenant = $1 AND kind = $2 AND name = $3`, tenant, string(r.Kind), r.Name)
	if err != nil {
		return err
	}
	if n == 0 {
		return hub.Errorf(hub.NotFound, "there is no %s %s", r.Kind, r.Name)
	}
	switch r.Kind {
	case hub.KindIdentity:
		return forgetIdentity(t, tenant, r.Name)
	case hub.KindClient:
		return s.dropClient(t, tenant, r.Name, now)
	case hub.KindTenant:
		if r.Name != tenant { // the tenant in which they are kept stays, and loses only what its document said
			return dropTenant(t, r.Name, now)
		}
	}
	return nil
}

// dropClient ends what a client was given: its tokens, which a later client of the same name must not inherit, and its
// streams, which would go on telling it about people.
func (s *Store) dropClient(t *tx, tenant, name string, now hub.Micros) error {
	if _, err := bump(t, tenant, "stream"); err != nil {
		return err
	}
	v := s.Transmitter(tenant, nil)
	var streams []*transmitter.Stream
	err := t.each(func(scan scanFunc) error {
		st := &transmitter.Stream{Receiver: name}
		err := scan(&st.Key, &st.ID, &st.Listed)
		streams = append(streams, st)
		return err
	}, `SELECT seq, id, listed FROM stream WHERE tenant = $1 AND receiver = $2 ORDER BY seq`, tenant, name)
	if err != nil {
		return err
	}
	for _, st := range streams {
		if err := v.removeStream(t, st); err != nil {
			return err
		}
	}
	if _, err := t.exec(`DELETE FROM oauth_access WHERE tenant = $1 AND client = $2`, tenant, name); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE access_token SET revoked = $1 WHERE tenant = $2 AND client = $3 AND revoked = 0`, int64(now), tenant, name)
	return err
}

// Phones and devices of identities lie among the accounts, at places whose names nobody can give to a place.
const (
	placePhones  = "#phone"
	placeDevices = "#device/"
)

// accountsOf gives what an identity is found by, besides its addresses.
func accountsOf(id *hub.Identity) []hub.Account {
	accounts := slices.Clone(id.Accounts)
	for _, number := range id.Phones {
		accounts = append(accounts, hub.Account{At: placePhones, ID: number})
	}
	for _, d := range id.Devices {
		accounts = append(accounts, hub.Account{At: placeDevices + d.At, ID: d.ID})
	}
	return accounts
}

// forgetIdentity removes all that look-ups lead to an identity by, what was imported for it too.
func forgetIdentity(t *tx, tenant, name string) error {
	if err := dropIdentity(t, tenant, name); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM imported_account WHERE tenant = $1 AND name = $2`, tenant, name)
	return err
}

// dropIdentity removes what look-ups of an identity go by, as far as it says so itself.
func dropIdentity(t *tx, tenant, name string) error {
	if _, err := t.exec(`DELETE FROM identity_email WHERE tenant = $1 AND name = $2`, tenant, name); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM identity_account WHERE tenant = $1 AND name = $2`, tenant, name)
	return err
}

// emailKey is how addresses are compared: without regard to the case of ASCII letters. Other letters stay, since their case
// mappings make different addresses equal.
func emailKey(email string) string { return subject.CanonicalEmail(email) }

// Resources gives all of a tenant's resources of a kind by name; of every kind with kind "".
func (s *Store) Resources(ctx context.Context, tenant string, kind hub.Kind) ([]hub.Resource, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var all []hub.Resource
	w := where(tenant)
	w.and(`kind = ?`, string(kind))
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			r, err := scanResource(scan)
			all = append(all, r)
			return err
		}, resourceSelect+w.where.String()+` ORDER BY kind, name`, w.args...)
	})
	return all, err
}

// ListResources lists a tenant's resources of a kind by rising name; the cursor is the last name.
func (s *Store) ListResources(ctx context.Context, tenant string, kind hub.Kind, p hub.Page) (hub.Listed[hub.Resource], error) {
	out := hub.Listed[hub.Resource]{Items: []hub.Resource{}}
	if err := needTenant(tenant); err != nil {
		return out, err
	}
	w := where(tenant)
	w.and(`kind = ?`, string(kind))
	w.and(`name > ?`, p.After)
	w.args = append(w.args, p.Size()+1)
	err := s.read(ctx, func(t *tx) error {
		out.Items = out.Items[:0]
		return t.each(func(scan scanFunc) error {
			r, err := scanResource(scan)
			out.Items = append(out.Items, r)
			return err
		}, resourceSelect+w.where.String()+` ORDER BY name LIMIT $`+itoa(len(w.args)), w.args...)
	})
	if err != nil {
		return hub.Listed[hub.Resource]{}, err
	}
	if n := p.Size(); len(out.Items) > n {
		out.Items = out.Items[:n]
		out.Next = out.Items[n-1].Name
	}
	return out, nil
}

// Resource gives one resource, or hub.NotFound.
func (s *Store) Resource(ctx context.Context, tenant string, kind hub.Kind, name string) (*hub.Resource, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var r *hub.Resource
	err := s.read(ctx, func(t *tx) error {
		r = nil
		return t.each(func(scan scanFunc) error {
			one, err := scanResource(scan)
			r = &one
			return err
		}, resourceSelect+` WHERE tenant = $1 AND kind = $2 AND name = $3`, tenant, string(kind), name)
	})
	if err == nil && r == nil {
		err = hub.Errorf(hub.NotFound, "there is no %s %s", kind, name)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Generation grows whenever a resource of the tenant changes, on any node. It is cheap to ask for.
func (s *Store) Generation(ctx context.Context, tenant string) (int64, error) {
	var g int64
	err := s.read(ctx, func(t *tx) (err error) {
		g, err = readGeneration(t, tenant)
		return err
	})
	return g, err
}

func readGeneration(t *tx, tenant string) (int64, error) {
	var g int64
	_, err := t.one(`SELECT value FROM generation WHERE tenant = $1 AND kind = 'resource'`, []any{tenant}, &g)
	return g, err
}

// FindIdentityByEmail gives the names of the identities that have an address, without regard to case; none is no error.
func (s *Store) FindIdentityByEmail(ctx context.Context, tenant, email string) ([]string, error) {
	return s.names(ctx, tenant, `SELECT name FROM identity_email WHERE tenant = $1 AND email = $2 ORDER BY name`, tenant, emailKey(email))
}

// FindIdentityByAccount gives the names of the identities that have an account at a place, named by themselves or imported;
// none is no error.
func (s *Store) FindIdentityByAccount(ctx context.Context, tenant, place, id string) ([]string, error) {
	return s.names(ctx, tenant, `SELECT name FROM identity_account WHERE tenant = $1 AND place = $2 AND account = $3
		UNION SELECT name FROM imported_account WHERE tenant = $1 AND place = $2 AND account = $3 ORDER BY name`, tenant, place, id)
}

// FindIdentityByPhone gives the names of the identities that have a number, written as + and digits; none is no error.
func (s *Store) FindIdentityByPhone(ctx context.Context, tenant, number string) ([]string, error) {
	return s.FindIdentityByAccount(ctx, tenant, placePhones, number)
}

// FindIdentityByDevice gives the names of the identities that have a device at a place; none is no error.
func (s *Store) FindIdentityByDevice(ctx context.Context, tenant, place, id string) ([]string, error) {
	return s.FindIdentityByAccount(ctx, tenant, placeDevices+place, id)
}

func (s *Store) names(ctx context.Context, tenant, query string, args ...any) ([]string, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var names []string
	err := s.read(ctx, func(t *tx) error {
		names = nil
		return t.each(func(scan scanFunc) error {
			var n string
			err := scan(&n)
			names = append(names, n)
			return err
		}, query, args...)
	})
	return names, err
}

// Identity gives an identity's spec with the accounts that were imported for it, or hub.NotFound.
func (s *Store) Identity(ctx context.Context, tenant, name string) (*hub.Identity, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var id *hub.Identity
	err := s.read(ctx, func(t *tx) error {
		id = nil
		var spec string
		found, err := t.one(`SELECT spec FROM resource WHERE tenant = $1 AND kind = 'identity' AND name = $2`, []any{tenant, name}, &spec)
		if err != nil || !found {
			return err
		}
		one := &hub.Identity{}
		if err := json.Unmarshal([]byte(spec), one); err != nil {
			return hub.Errorf(hub.Internal, "identity %s: %w", name, err)
		}
		id = one
		return t.each(func(scan scanFunc) error {
			var a hub.Account
			err := scan(&a.At, &a.ID)
			if !slices.Contains(id.Accounts, a) {
				id.Accounts = append(id.Accounts, a)
			}
			return err
		}, `SELECT place, account FROM imported_account WHERE tenant = $1 AND name = $2 ORDER BY place, account`, tenant, name)
	})
	if err == nil && id == nil {
		err = hub.Errorf(hub.NotFound, "there is no %s %s", hub.KindIdentity, name)
	}
	if err != nil {
		return nil, err
	}
	return id, nil
}
