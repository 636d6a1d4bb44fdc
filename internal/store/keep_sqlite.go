package store

import (
	"strings"

	"countersign/transmitter"
)

// keepRows writes all of ks inside the writer's transaction with a few statements of many rows.
func (s *Store) keepRows(t *tx, ks []*keeping) error {
	before := s.statements.Load()
	defer func() { s.keepTrips.Add(s.statements.Load() - before) }()
	var todo []*keeping
	gens := map[string]int64{}
	for _, k := range ks {
		k.reset()
		if k.out != nil && k.out.Generation != 0 {
			g, known := gens[k.tenant]
			if !known {
				if _, err := t.one(`SELECT value FROM generation WHERE tenant = $1 AND kind = 'stream'`, []any{k.tenant}, &g); err != nil {
					return err
				}
				gens[k.tenant] = g
			}
			if g != k.out.Generation {
				if err := s.classify(t, k); err != nil {
					return err
				}
				continue
			}
		}
		todo = append(todo, k)
	}
	todo, err := s.keepKeys(t, todo)
	if err != nil {
		return err
	}
	if todo, err = s.keepSignals(t, todo); err != nil {
		return err
	}
	var orders, jobs, events [][]any
	for _, k := range todo {
		k.isNew(s)
		if k.sig != nil && k.sig.Order != nil {
			orders = append(orders, k.orderRow())
		}
		if j := k.kept.Job; j != nil {
			jobs = append(jobs, k.jobRow(j))
		}
		if k.out != nil {
			events = append(events, []any{k.event, k.tenant, k.out.Event.Type, k.out.Event.Subject[:], blob(k.out.Event.Body)})
		}
	}
	if err := t.insert(`received_order (`+orderColumns+`)`, ``, orders, nil); err != nil {
		return err
	}
	if err := t.insert(`job (`+jobColumns+`)`, ``, jobs, nil); err != nil {
		return err
	}
	if err := t.insert(`event (seq, tenant, type, subject, body)`, ``, events, nil); err != nil {
		return err
	}
	return s.keepOutbox(t, todo)
}

// keepKeys takes the clients' idempotency keys and sorts out what was seen before.
func (s *Store) keepKeys(t *tx, ks []*keeping) ([]*keeping, error) {
	var rows [][]any
	for _, k := range ks {
		if k.idem != nil {
			rows = append(rows, []any{k.tenant, k.idem.Client, k.idem.Key, k.idem.BodyHash, k.sig.ID, int64(0), nil, int64(k.at)})
		}
	}
	if len(rows) == 0 {
		return ks, nil
	}
	got := make(map[string]bool, len(rows))
	err := t.insert(`idempotency (tenant, client, key, body_hash, ref, status, body, at)`, ` ON CONFLICT (tenant, client, key) DO NOTHING RETURNING ref`, rows, func(scan scanFunc) error {
		var ref string
		err := scan(&ref)
		got[ref] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	todo := ks[:0:0]
	for _, k := range ks {
		if k.idem != nil && !got[k.sig.ID] {
			if err := s.classify(t, k); err != nil {
				return nil, err
			}
			continue
		}
		todo = append(todo, k)
	}
	return todo, nil
}

// keepSignals writes the signals and sorts out repeats and clashes.
func (s *Store) keepSignals(t *tx, ks []*keeping) ([]*keeping, error) {
	rows := make([][]any, 0, len(ks))
	for _, k := range ks {
		if k.sig != nil {
			rows = append(rows, k.signalRow())
		}
	}
	got := make(map[int64]bool, len(rows))
	err := t.insert(`signal (`+signalColumns+`)`, ` ON CONFLICT (tenant, source, jti) DO NOTHING RETURNING seq`, rows, func(scan scanFunc) error {
		var seq int64
		err := scan(&seq)
		got[seq] = true
		return err
	})
	if err != nil {
		return nil, err
	}
	todo := ks[:0:0]
	for _, k := range ks {
		if k.sig != nil && !got[k.seq] {
			if err := s.classify(t, k); err != nil {
				return nil, err
			}
			continue
		}
		todo = append(todo, k)
	}
	return todo, nil
}

// keepOutbox writes the rows whose streams are there and not disabled, and their orders.
func (s *Store) keepOutbox(t *tx, ks []*keeping) error {
	var rows, orders [][]any
	open := map[int64]bool{}
	for _, k := range ks {
		if k.out == nil {
			continue
		}
		for i := range k.out.Rows {
			r := &k.out.Rows[i]
			takes, known := open[r.Stream]
			if !known {
				var status string
				found, err := t.one(`SELECT status FROM stream WHERE seq = $1 AND tenant = $2`, []any{r.Stream, k.tenant}, &status)
				if err != nil {
					return err
				}
				takes = found && status != transmitter.Disabled
				open[r.Stream] = takes
			}
			if !takes {
				continue
			}
			k.rows[i] = k.outbox + int64(i)
			rows = append(rows, []any{r.Stream, k.rows[i], k.event, r.JTI, r.IssuedAt, r.KeyID, r.Algorithm, k.orders[i]})
			if r.Order != nil {
				orders = append(orders, k.sentRow(i))
			}
		}
	}
	if err := t.insert(`sent_order (`+sentColumns+`)`, ``, orders, nil); err != nil {
		return err
	}
	return t.insert(`outbox (stream, seq, event, jti, issued_at, kid, alg, sent_order)`, ``, rows, nil)
}

// blob keeps an empty body apart from NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// insert writes rows with as few statements as there are chunks; each, where not nil, reads what is RETURNING.
func (t *tx) insert(into, tail string, rows [][]any, each func(scanFunc) error) error {
	for len(rows) > 0 {
		n := 1
		for _, size := range [...]int{128, 32, 8, 2} {
			if len(rows) >= size {
				n = size
				break
			}
		}
		width := len(rows[0])
		args := make([]any, 0, n*width)
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		rows = rows[n:]
		query := valuesQuery(into, tail, width, n)
		t.count()
		if each == nil {
			if _, err := t.q.ExecContext(t.ctx, query, args...); err != nil {
				return err
			}
			continue
		}
		res, err := t.q.QueryContext(t.ctx, query, args...)
		if err != nil {
			return err
		}
		for res.Next() {
			if err := each(res.Scan); err != nil {
				res.Close()
				return err
			}
		}
		if err := res.Close(); err != nil {
			return err
		}
		if err := res.Err(); err != nil {
			return err
		}
	}
	return nil
}

// valuesQuery builds INSERT INTO into VALUES (…), (…) tail.
func valuesQuery(into, tail string, width, n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO ")
	b.WriteString(into)
	b.WriteString(" VALUES ")
	b.WriteString(tuples(width, n))
	b.WriteString(tail)
	return b.String()
}

// tuples gives n tuples of width parameters. They have no numbers: SQLite looks numbered ones up by name, one by
// one through the list of all names, which is quadratic in a long statement.
func tuples(width, n int) string {
	one := "(" + strings.Repeat(",?", width)[1:] + ")"
	return strings.Repeat(","+one, n)[1:]
}
