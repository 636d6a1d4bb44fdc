package store

import (
	"strings"
	"sync"

	"countersign/transmitter"
)

// keepRows writes all of ks inside the writer's transaction with a few statements of many rows.
func (s *Store) keepRows(t *tx, ks []*keeping) error {
	s.keepTrips.Add(1) // the group goes to the writer once, as a batch goes to PostgreSQL once
	var todo []*keeping
	for _, k := range ks {
		k.reset()
		if k.out != nil && k.out.Generation != 0 {
			g, known := s.gens[k.tenant]
			if !known {
				if _, err := t.one(`SELECT value FROM generation WHERE tenant = $1 AND kind = 'stream'`, []any{k.tenant}, &g); err != nil {
					return err
				}
				s.gens[k.tenant] = g
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
	var orders, jobs, events, bodies, skips [][]any
	for _, k := range todo {
		k.isNew(s)
		if k.sig != nil && k.sig.Order != nil {
			orders = append(orders, k.orderRow())
		}
		if j := k.kept.Job; j != nil {
			jobs = append(jobs, k.jobRow(j))
		}
		if k.out != nil && k.keepsEvent() {
			events = append(events, k.eventRow())
			for i, b := range k.bodies {
				bodies = append(bodies, []any{k.event, int64(i + 1), b})
			}
			for i := range k.out.Skips {
				skips = append(skips, k.skipRow(i))
			}
		}
	}
	if _, err := t.insert(`received_order (`+orderColumns+`)`, ``, orders, nil); err != nil {
		return err
	}
	if _, err := t.insert(`job (`+jobColumns+`)`, ``, jobs, nil); err != nil {
		return err
	}
	if _, err := t.insert(`event (`+eventColumns+`)`, ``, events, nil); err != nil {
		return err
	}
	if _, err := t.insert(`event_body (`+bodyColumns+`)`, ``, bodies, nil); err != nil {
		return err
	}
	if _, err := t.insert(`skip (`+skipColumns+`)`, ``, skips, nil); err != nil {
		return err
	}
	return s.keepOutbox(t, todo)
}

// keepKeys takes the clients' idempotency keys and sorts out what was seen before.
func (s *Store) keepKeys(t *tx, ks []*keeping) ([]*keeping, error) {
	var rows [][]any
	for _, k := range ks {
		if k.idem != nil {
			rows = append(rows, []any{k.tenant, k.idem.Client, k.idem.Key, k.idem.BodyHash, k.sig.ID, int64(k.at)})
		}
	}
	if len(rows) == 0 {
		return ks, nil
	}
	got := make(map[string]bool, len(rows))
	_, err := t.insert(`idempotency (tenant, client, key, body_hash, ref, at)`, ` ON CONFLICT (tenant, client, key) DO NOTHING RETURNING ref`, rows, func(scan scanFunc) error {
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
	n, err := t.insert(`signal (`+signalColumns+`)`, ` ON CONFLICT (tenant, source, jti) DO NOTHING`, rows, nil)
	if err != nil {
		return nil, err
	}
	if n == int64(len(rows)) {
		return ks, nil // all of them are new, as nearly always
	}
	todo := ks[:0:0]
	for _, k := range ks {
		if k.sig != nil {
			var seq int64
			written, err := t.one(`SELECT seq FROM signal WHERE seq = $1`, []any{k.seq}, &seq)
			if err != nil {
				return nil, err
			}
			if !written {
				if err := s.classify(t, k); err != nil {
					return nil, err
				}
				continue
			}
		}
		todo = append(todo, k)
	}
	return todo, nil
}

// openStreams remembers which streams of a tenant take rows, as of one generation: every change of a stream
// begins another. Only the one writer of SQLite uses it, and before any write of its group that could change a
// stream, so that what it reads is committed.
type openStreams struct {
	generation int64
	takes      map[int64]takes
}

// takes says what a stream takes.
type takes int

const (
	takesNothing takes = iota // it is gone
	takesParting              // it is disabled: rows that say so
	takesAll
)

// keepOutbox writes the rows whose streams are there and not disabled, and their orders.
func (s *Store) keepOutbox(t *tx, ks []*keeping) error {
	var rows, wide, orders [][]any
	loose := map[int64]takes{}
	for _, k := range ks {
		if k.out == nil {
			continue
		}
		open := loose
		if g := k.out.Generation; g != 0 { // keepRows has seen that it is the tenant's
			c := s.open[k.tenant]
			if c == nil || c.generation != g {
				c = &openStreams{g, map[int64]takes{}}
				s.open[k.tenant] = c
			}
			open = c.takes
		}
		for i := range k.out.Rows {
			r := &k.out.Rows[i]
			state, known := open[r.Stream]
			if !known {
				var status string
				found, err := t.one(`SELECT status FROM stream WHERE seq = $1 AND tenant = $2`, []any{r.Stream, k.tenant}, &status)
				if err != nil {
					return err
				}
				switch {
				case !found:
					state = takesNothing
				case status == transmitter.Disabled:
					state = takesParting
				default:
					state = takesAll
				}
				open[r.Stream] = state
			}
			if state == takesNothing || state == takesParting && !r.Parting {
				continue
			}
			k.rows[i] = k.outbox + int64(i)
			row := []any{r.Stream, k.rows[i], k.event, r.JTI, r.IssuedAt, r.KeyID, r.Algorithm, k.orders[i]}
			if body := k.body(i); body != 0 || r.Parting {
				wide = append(wide, append(row, body, r.Parting))
			} else {
				rows = append(rows, row)
			}
			if r.Order != nil {
				orders = append(orders, k.sentRow(i))
			}
		}
	}
	if _, err := t.insert(`sent_order (`+sentColumns+`)`, ``, orders, nil); err != nil {
		return err
	}
	if _, err := t.insert(`outbox (stream, seq, event, jti, issued_at, kid, alg, sent_order)`, ``, rows, nil); err != nil {
		return err
	}
	_, err := t.insert(`outbox (`+outboxColumns+`)`, ``, wide, nil)
	return err
}

// outboxColumns are those of a row that waits, in the order in which dead_letter has them, too.
const outboxColumns = `stream, seq, event, jti, issued_at, kid, alg, sent_order, body, parting`

// blob keeps an empty body apart from NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// chunk gives how many of n rows the next statement takes: all of a few, and of many a round number, so that the
// statements that are kept compiled stay few.
func chunk(n int) int {
	switch {
	case n <= 32:
		return n
	case n < 128:
		return n &^ 15
	}
	return 128
}

// insert writes rows with as few statements as there are chunks, and gives how many were written; each, where
// not nil, reads what is RETURNING, and nothing is counted.
func (t *tx) insert(into, tail string, rows [][]any, each func(scanFunc) error) (written int64, err error) {
	head := "INSERT INTO " + into + " VALUES "
	var args []any
	for len(rows) > 0 {
		n := chunk(len(rows))
		width := len(rows[0])
		if args == nil {
			args = make([]any, 0, n*width)
		}
		args = args[:0]
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		rows = rows[n:]
		query := shape{head, tail, width, n}.text()
		t.count()
		if each == nil {
			r, err := t.q.ExecContext(t.ctx, query, args...)
			if err != nil {
				return written, err
			}
			k, err := r.RowsAffected()
			if err != nil {
				return written, err
			}
			written += k
			continue
		}
		res, err := t.q.QueryContext(t.ctx, query, args...)
		if err != nil {
			return written, err
		}
		for res.Next() {
			if err := each(res.Scan); err != nil {
				res.Close()
				return written, err
			}
		}
		if err := res.Close(); err != nil {
			return written, err
		}
		if err := res.Err(); err != nil {
			return written, err
		}
	}
	return written, nil
}

// shape is a statement of many rows: head, n tuples of width parameters, and tail.
type shape struct {
	head, tail string
	width, n   int
}

var shapes sync.Map // shape to its text, which is long

func (s shape) text() string {
	if text, ok := shapes.Load(s); ok {
		return text.(string)
	}
	text := s.head + tuples(s.width, s.n) + s.tail
	shapes.Store(s, text)
	return text
}

// tuples gives n tuples of width parameters. They have no numbers: SQLite looks numbered ones up by name, one by
// one through the list of all names, which is quadratic in a long statement.
func tuples(width, n int) string {
	one := "(" + strings.Repeat(",?", width)[1:] + ")"
	return strings.Repeat(","+one, n)[1:]
}
