package store

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"countersign/internal/hub"
)

// Account is one account of an identity at a place: named by the identity itself, or read from the app's list.
type Account struct {
	At       string     `json:"at"`
	ID       string     `json:"id"`
	Identity string     `json:"identity"`
	Set      string     `json:"set,omitempty"`         // of an imported one
	Imported hub.Micros `json:"imported_at,omitempty"` // 0: the identity names it itself
}

// AccountFilter limits a list of accounts; empty members limit nothing.
type AccountFilter struct{ At, Identity string }

const accountCursor = "\x00"

// ListAccounts lists the accounts of a tenant by place, id and identity. Phones and devices are none.
func (s *Store) ListAccounts(ctx context.Context, tenant string, f AccountFilter, p hub.Page) (hub.Listed[Account], error) {
	out := hub.Listed[Account]{Items: []Account{}}
	if err := needTenant(tenant); err != nil {
		return out, err
	}
	var from [3]string
	if p.After != "" {
		raw, err := base64.RawURLEncoding.DecodeString(p.After)
		parts := strings.Split(string(raw), accountCursor)
		if err != nil || len(parts) != 3 {
			return out, hub.Errorf(hub.Invalid, "after is not from a page of this list").WithHint("give the next of the page before, unchanged")
		}
		from = [3]string(parts)
	}
	n := p.Size()
	w := where(tenant)
	w.and(`place = ?`, f.At)
	w.and(`name = ?`, f.Identity)
	// One more than wanted tells that there is more; twice as many, since an account can stand in both.
	w.args = append(w.args, from[0], from[1], from[2], 2*n+2)
	k := len(w.args)
	one := func(alias, columns, table string) string {
		return `SELECT * FROM (SELECT ` + columns + ` FROM ` + table + w.where.String() + ` AND place NOT LIKE '#%' AND (place, account, name) > ($` + itoa(k-3) + `, $` + itoa(k-2) + `, $` + itoa(k-1) +
			`) ORDER BY place, account, name LIMIT $` + itoa(k) + `) ` + alias
	}
	query := one("a", `place, account, name, '' AS owner_set, CAST(0 AS BIGINT) AS at`, "identity_account") + ` UNION ALL ` + one("b", "place, account, name, owner_set, at", "imported_account") +
		` ORDER BY 1, 2, 3, 5 LIMIT $` + itoa(k)
	err := s.read(ctx, func(t *tx) error {
		out.Items = out.Items[:0]
		return t.each(func(scan scanFunc) error {
			var a Account
			var at int64
			err := scan(&a.At, &a.ID, &a.Identity, &a.Set, &at)
			a.Imported = hub.Micros(at)
			out.Items = append(out.Items, a)
			return err
		}, query, w.args...)
	})
	if err != nil {
		return hub.Listed[Account]{}, err
	}
	out.Items = slices.CompactFunc(out.Items, func(a, b Account) bool { return a.At == b.At && a.ID == b.ID && a.Identity == b.Identity })
	if len(out.Items) > n {
		out.Items = out.Items[:n]
		last := out.Items[n-1]
		out.Next = base64.RawURLEncoding.EncodeToString([]byte(last.At + accountCursor + last.ID + accountCursor + last.Identity))
	}
	return out, nil
}

// AccountsAt gives for each of an app's account ids the identities that have it, and for each address (canonical) the
// identities that have that.
func (s *Store) AccountsAt(ctx context.Context, tenant, place string, ids, emails []string) (byID map[string][]Account, byEmail map[string][]string, err error) {
	if err := needTenant(tenant); err != nil {
		return nil, nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		byID, byEmail = map[string][]Account{}, map[string][]string{}
		for _, table := range []string{`SELECT account, name, '', 0 FROM identity_account`, `SELECT account, name, owner_set, at FROM imported_account`} {
			if err := selectMany(t, table+` WHERE tenant = $1 AND place = $2 AND account IN (`, `)`, []any{tenant, place}, ids, func(scan scanFunc) error {
				a := Account{At: place}
				var at int64
				err := scan(&a.ID, &a.Identity, &a.Set, &at)
				a.Imported = hub.Micros(at)
				if !slices.ContainsFunc(byID[a.ID], func(b Account) bool { return b.Identity == a.Identity }) {
					byID[a.ID] = append(byID[a.ID], a)
				}
				return err
			}); err != nil {
				return err
			}
		}
		keys := make([]string, len(emails))
		for i, e := range emails {
			keys[i] = emailKey(e)
		}
		return selectMany(t, `SELECT email, name FROM identity_email WHERE tenant = $1 AND email IN (`, `)`, []any{tenant}, keys, func(scan scanFunc) error {
			var email, name string
			err := scan(&email, &name)
			byEmail[email] = append(byEmail[email], name)
			return err
		})
	})
	return byID, byEmail, err
}

// Protected gives those of some identities that have protect: never.
func (s *Store) Protected(ctx context.Context, tenant string, names []string) (out map[string]bool, err error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		out = map[string]bool{}
		return selectMany(t, `SELECT name, spec FROM resource WHERE tenant = $1 AND kind = 'identity' AND name IN (`, `)`, []any{tenant}, names, func(scan scanFunc) error {
			var name, spec string
			if err := scan(&name, &spec); err != nil {
				return err
			}
			if protected(spec) {
				out[name] = true
			}
			return nil
		})
	})
	return out, err
}

// ImportAccounts writes accounts of a set in one transaction. Identities that are gone by then are left out.
func (s *Store) ImportAccounts(ctx context.Context, tenant, set string, accounts []Account) (written int, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Identity
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		there := map[string]bool{}
		if err := selectMany(t, `SELECT name FROM resource WHERE tenant = $1 AND kind = 'identity' AND name IN (`, `)`, []any{tenant}, names, func(scan scanFunc) error {
			var name string
			err := scan(&name)
			there[name] = true
			return err
		}); err != nil {
			return err
		}
		now := int64(s.now())
		var rows [][]any
		for _, a := range accounts {
			if there[a.Identity] {
				rows = append(rows, []any{tenant, a.At, a.ID, a.Identity, set, now})
			}
		}
		written = len(rows)
		return insertMany(t, s.d, `INSERT INTO imported_account (tenant, place, account, name, owner_set, at) VALUES `,
			` ON CONFLICT (tenant, place, account, name) DO UPDATE SET owner_set = excluded.owner_set, at = excluded.at`, rows)
	})
	return written, err
}

// ImportedAt gives the accounts of a set at a place after a cursor, which is the last id with its identity.
func (s *Store) ImportedAt(ctx context.Context, tenant, set, place string, after Account, n int) (out []Account, err error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(func(scan scanFunc) error {
			a := Account{At: place}
			var at int64
			err := scan(&a.ID, &a.Identity, &a.Set, &at)
			a.Imported = hub.Micros(at)
			out = append(out, a)
			return err
		}, `SELECT account, name, owner_set, at FROM imported_account WHERE tenant = $1 AND place = $2 AND (account, name) > ($3, $4) AND owner_set = $5 ORDER BY account, name LIMIT $6`,
			tenant, place, after.ID, after.Identity, set, n)
	})
	return out, err
}

// DeleteImported removes imported accounts, in one transaction.
func (s *Store) DeleteImported(ctx context.Context, tenant string, accounts []Account) (deleted int, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		deleted = 0
		for _, a := range accounts {
			n, err := t.exec(`DELETE FROM imported_account WHERE tenant = $1 AND place = $2 AND account = $3 AND name = $4`, tenant, a.At, a.ID, a.Identity)
			if err != nil {
				return err
			}
			deleted += int(n)
		}
		return nil
	})
	return deleted, err
}
