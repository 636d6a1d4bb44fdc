package store

import (
	"context"
	"strings"

	"countersign/internal/hub"
)

// RefusalsKept is how many refusals of one source are kept; older ones go.
const RefusalsKept = 1000

const refusedColumns = `seq, id, tenant, source, door, status, err, reason, quirk, cure, side, jti, size, n, at, last`

// AddRefusals writes what was refused, of any sources of a tenant, in one transaction, and removes what is beyond
// RefusalsKept of each. One whose ID is there already has grown: its count and its last moment are taken. Text that the engines would not keep is made fit: a refusal is about text that was not fit.
func (s *Store) AddRefusals(ctx context.Context, tenant string, refusals []hub.Refusal) error {
	if err := needTenant(tenant); err != nil || len(refusals) == 0 {
		return err
	}
	first, err := s.seqs.take(ctx, int64(len(refusals)))
	if err != nil {
		return err
	}
	rows := make([][]any, len(refusals))
	sources := map[string]bool{}
	for i := range refusals {
		r := &refusals[i]
		sources[r.Source] = true
		rows[i] = []any{first + int64(i), r.ID, tenant, r.Source, fit(r.Door), int64(r.Status), fit(r.Err), fit(r.Reason), fit(r.Quirk), fit(r.Cure), fit(r.Side), fit(r.JTI),
			int64(r.Size), r.Count, int64(r.At), int64(r.Last)}
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		if err := s.insertRefused(t, rows); err != nil {
			return err
		}
		for source := range sources {
			var oldest string
			found, err := t.one(`SELECT id FROM refused WHERE tenant = $1 AND source = $2 ORDER BY id DESC LIMIT 1 OFFSET $3`, []any{tenant, source, RefusalsKept - 1}, &oldest)
			if err != nil || !found {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := t.exec(`DELETE FROM refused WHERE tenant = $1 AND source = $2 AND id < $3`, tenant, source, oldest); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) insertRefused(t *tx, rows [][]any) error {
	const grown = ` ON CONFLICT (tenant, id) DO UPDATE SET n = excluded.n, last = excluded.last`
	if s.d != &postgresDialect {
		_, err := t.insert(`refused (`+refusedColumns+`)`, grown, rows, nil)
		return err
	}
	for _, r := range rows {
		marks := make([]string, len(r))
		for i := range r {
			marks[i] = "$" + itoa(i+1)
		}
		if _, err := t.exec(`INSERT INTO refused (`+refusedColumns+`) VALUES (`+strings.Join(marks, ", ")+`)`+grown, r...); err != nil {
			return err
		}
	}
	return nil
}

// fit makes a text one that both engines keep.
func fit(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// Refusals lists what was refused, newest first; source may be empty for all sources of the tenant.
func (s *Store) Refusals(ctx context.Context, tenant, source string, p hub.Page) (hub.Listed[hub.Refusal], error) {
	if err := needTenant(tenant); err != nil {
		return hub.Listed[hub.Refusal]{}, err
	}
	w := where(tenant)
	w.and(`source = ?`, source)
	return list(ctx, s, p, `SELECT id, source, door, status, err, reason, quirk, cure, side, jti, size, n, at, last FROM refused`, w, func(scan scanFunc) (hub.Refusal, error) {
		var r hub.Refusal
		var at, last int64
		err := scan(&r.ID, &r.Source, &r.Door, &r.Status, &r.Err, &r.Reason, &r.Quirk, &r.Cure, &r.Side, &r.JTI, &r.Size, &r.Count, &at, &last)
		r.At, r.Last = hub.Micros(at), hub.Micros(last)
		return r, err
	}, func(r hub.Refusal) string { return r.ID })
}

// ForgetRefusals removes those of a source that is gone.
func (s *Store) ForgetRefusals(ctx context.Context, tenant, source string) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		_, err := t.exec(`DELETE FROM refused WHERE tenant = $1 AND source = $2`, tenant, source)
		return err
	})
}
