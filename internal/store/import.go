package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"countersign/internal/hub"
)

// Imported is what one batch of an import did, or would do.
type Imported struct {
	Created, Updated, Unchanged int
	// Foreign are the names of identities that are there already and belong to another set; they were left alone.
	Foreign []string
	// Changes tell of each identity that was created or updated, in the order given.
	Changes []ImportChange
}

// ImportChange is one identity that an import creates or updates. Was is the spec before; nil for a new one.
type ImportChange struct {
	Name string
	Was  json.RawMessage
	Is   json.RawMessage
}

// many is how many rows one statement writes or reads. Statements are compiled once for each count, so that only this one
// and single rows occur.
const many = 128

// ImportIdentities writes a batch of identities in one transaction; with dry it only says what it would do. Their Spec and
// Set are those of hub.Identity. An identity of another set is left as it is and named. The tenant's generation does not
// grow: Touch is called when an import has ended.
func (s *Store) ImportIdentities(ctx context.Context, tenant string, batch []hub.Resource, dry bool) (Imported, error) {
	var out Imported
	if err := needTenant(tenant); err != nil {
		return out, err
	}
	ids := make([]hub.Identity, len(batch))
	for i := range batch {
		if batch[i].Kind != hub.KindIdentity || batch[i].Name == "" {
			return out, hub.Errorf(hub.Invalid, "an import holds identities with names")
		}
		if err := json.Unmarshal(batch[i].Spec, &ids[i]); err != nil {
			return out, hub.Errorf(hub.Invalid, "the spec of identity %s: %w", batch[i].Name, err)
		}
	}
	do := func(t *tx) error {
		out = Imported{}
		there, err := specs(t, tenant, batch)
		if err != nil {
			return err
		}
		var fresh, changed, emails, accounts [][]any
		now := int64(s.now())
		for i := range batch {
			r := &batch[i]
			was, found := there[r.Name]
			spec := r.Spec
			if found && was.set == r.Set && ids[i].Protect == "" && protected(was.spec) {
				// What does not speak of it leaves a person protected: only "none" does not.
				ids[i].Protect = never
				if spec, err = json.Marshal(ids[i]); err != nil {
					return err
				}
			}
			switch {
			case found && was.set != r.Set:
				out.Foreign = append(out.Foreign, r.Name)
				continue
			case found && was.spec == string(spec):
				out.Unchanged++
				continue
			case found:
				out.Updated++
				out.Changes = append(out.Changes, ImportChange{Name: r.Name, Was: json.RawMessage(was.spec), Is: spec})
				if !dry {
					if err := dropIdentity(t, tenant, r.Name); err != nil {
						return err
					}
				}
			default:
				out.Created++
				out.Changes = append(out.Changes, ImportChange{Name: r.Name, Is: r.Spec})
			}
			row := []any{tenant, string(r.Kind), r.Name, r.Set, int64(1), string(spec), now, now}
			if found || s.d == &postgresDialect { // where another node may have written it since we looked
				changed = append(changed, row)
			} else {
				fresh = append(fresh, row)
			}
			for _, e := range ids[i].Emails {
				emails = append(emails, []any{tenant, emailKey(e), r.Name})
			}
			for _, a := range accountsOf(&ids[i]) {
				accounts = append(accounts, []any{tenant, a.At, a.ID, r.Name})
			}
		}
		if dry {
			return nil
		}
		// In the order of their keys they touch fewer pages.
		slices.SortFunc(emails, func(a, b []any) int { return strings.Compare(a[1].(string), b[1].(string)) })
		slices.SortFunc(accounts, func(a, b []any) int {
			if c := strings.Compare(a[1].(string), b[1].(string)); c != 0 {
				return c
			}
			return strings.Compare(a[2].(string), b[2].(string))
		})
		const head = `INSERT INTO resource (tenant, kind, name, owner_set, version, spec, created, updated) VALUES `
		if err := insertMany(t, s.d, head, ``, fresh); err != nil {
			return err
		}
		if err := insertMany(t, s.d, head, ` ON CONFLICT (tenant, kind, name) DO UPDATE SET spec = excluded.spec, updated = excluded.updated, version = resource.version + 1`, changed); err != nil {
			return err
		}
		if err := insertMany(t, s.d, `INSERT INTO identity_email (tenant, email, name) VALUES `, ` ON CONFLICT DO NOTHING`, emails); err != nil {
			return err
		}
		return insertMany(t, s.d, `INSERT INTO identity_account (tenant, place, account, name) VALUES `, ` ON CONFLICT DO NOTHING`, accounts)
	}
	var err error
	if dry {
		err = s.read(ctx, do)
	} else {
		err = s.write(ctx, pointNone, do)
	}
	if err != nil {
		return Imported{}, err
	}
	return out, nil
}

const never = "never" // hub.Identity.Protect

// protected reports whether the spec of an identity says that nothing acts on it.
func protected(spec string) bool {
	var id struct {
		Protect string `json:"protect"`
	}
	return strings.Contains(spec, `"protect"`) && json.Unmarshal([]byte(spec), &id) == nil && id.Protect == never
}

// Touch makes the tenant's generation grow, so that every node sees what an import wrote.
func (s *Store) Touch(ctx context.Context, tenant string) (generation int64, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		generation, err = bump(t, tenant, "resource")
		return err
	})
	return generation, err
}

// IdentitiesOfSet gives the names of a set's identities that a prune may delete after one, at most n of those looked at; the
// cursor is the last name that was looked at, empty after the last. Protected people are not among them: one who is not declared
// any more is protected by nothing.
func (s *Store) IdentitiesOfSet(ctx context.Context, tenant, set, after string, n int) (names []string, next string, err error) {
	if err := needTenant(tenant); err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(t *tx) error {
		names, next = nil, ""
		seen := 0
		err := t.each(func(scan scanFunc) error {
			var name, owner, spec string
			if err := scan(&name, &owner, &spec); err != nil {
				return err
			}
			seen++
			next = name
			if owner == set && !protected(spec) {
				names = append(names, name)
			}
			return nil
		}, `SELECT name, owner_set, spec FROM resource WHERE tenant = $1 AND kind = 'identity' AND name > $2 ORDER BY name LIMIT $3`, tenant, after, n)
		if seen < n {
			next = ""
		}
		return err
	})
	return names, next, err
}

// DeleteIdentities removes identities of one set by name, in one transaction, and gives how many there were.
func (s *Store) DeleteIdentities(ctx context.Context, tenant, set string, names []string) (deleted int, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		deleted = 0
		for _, name := range names {
			n, err := t.exec(`DELETE FROM resource WHERE tenant = $1 AND kind = 'identity' AND name = $2 AND owner_set = $3`, tenant, name, set)
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			deleted++
			if err := forgetIdentity(t, tenant, name); err != nil {
				return err
			}
		}
		return nil
	})
	return deleted, err
}

// owned is an identity that is there.
type owned struct{ set, spec string }

// specs reads what is there of a batch.
func specs(t *tx, tenant string, batch []hub.Resource) (map[string]owned, error) {
	out := make(map[string]owned, len(batch))
	names := make([]string, len(batch))
	for i := range batch {
		names[i] = batch[i].Name
	}
	err := selectMany(t, `SELECT name, owner_set, spec FROM resource WHERE tenant = $1 AND kind = 'identity' AND name IN (`, `)`, []any{tenant}, names, func(scan scanFunc) error {
		var name string
		var o owned
		err := scan(&name, &o.set, &o.spec)
		out[name] = o
		return err
	})
	return out, err
}

// place is a parameter's place in a statement with very many: SQLite looks for the name of each one that has a name.
func (d *dialect) place(number int) string {
	if d == &postgresDialect {
		return "$" + itoa(number)
	}
	return "?"
}

// insertMany writes rows of equal length, many to a statement and the rest one by one.
func insertMany(t *tx, d *dialect, head, tail string, rows [][]any) error {
	for len(rows) > 0 {
		n := 1
		if len(rows) >= many {
			n = many
		}
		var b strings.Builder
		if n > 1 && d != &postgresDialect {
			// A statement that fails undoes its transaction here in any case: SQLite need not copy pages to undo it alone.
			b.WriteString("INSERT OR FAIL")
			b.WriteString(strings.TrimPrefix(head, "INSERT"))
		} else {
			b.WriteString(head)
		}
		args := make([]any, 0, n*len(rows[0]))
		for i, row := range rows[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteByte('(')
			for j := range row {
				if j > 0 {
					b.WriteString(", ")
				}
				b.WriteString(d.place(len(args) + j + 1))
			}
			b.WriteByte(')')
			args = append(args, row...)
		}
		b.WriteString(tail)
		if _, err := t.exec(b.String(), args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// selectMany reads by a list of values, many to a statement and the rest one by one.
func selectMany(t *tx, head, tail string, args []any, values []string, f func(scan scanFunc) error) error {
	for len(values) > 0 {
		n := 1
		if len(values) >= many {
			n = many
		}
		var b strings.Builder
		b.WriteString(head)
		all := append(make([]any, 0, len(args)+n), args...)
		for i, v := range values[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			all = append(all, v)
			b.WriteByte('$')
			b.WriteString(itoa(len(all)))
		}
		b.WriteString(tail)
		if err := t.each(f, b.String(), all...); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}
