package store

import (
	"context"

	"countersign/transmitter"
)

// acks are the outcomes of one call of Done.
type acks struct {
	tenant   string
	outcomes []transmitter.Outcome
}

// Enqueue implements transmitter.Store.
func (v *Transmitter) Enqueue(ctx context.Context, out *transmitter.Outgoing) error {
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	return v.s.runKeep(ctx, &keeping{tenant: v.tenant, out: out})
}

// Waiting implements transmitter.Store.
func (v *Transmitter) Waiting(ctx context.Context) ([]int64, error) {
	var keys []int64
	err := v.read(ctx, func(t *tx) error {
		keys = nil
		return t.each(func(scan scanFunc) error {
			var k int64
			err := scan(&k)
			keys = append(keys, k)
			return err
		}, `SELECT seq FROM stream WHERE tenant = $1 AND EXISTS (SELECT 1 FROM outbox WHERE outbox.stream = stream.seq) ORDER BY seq`, v.tenant)
	})
	return keys, err
}

// Next implements transmitter.Store.
func (v *Transmitter) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	items := make([]transmitter.Item, 0, min(n, 256))
	err := v.read(ctx, func(t *tx) error {
		return t.each(func(scan scanFunc) error {
			it := transmitter.Item{Stream: stream, Event: &transmitter.Event{}}
			var subject []byte
			if err := scan(&it.Seq, &it.JTI, &it.IssuedAt, &it.KeyID, &it.Algorithm, &it.Input, &it.Event.Key, &it.Event.Type, &subject, &it.Event.Body); err != nil {
				return err
			}
			copy(it.Event.Subject[:], subject)
			items = append(items, it)
			return nil
		}, `SELECT o.seq, o.jti, o.issued_at, o.kid, o.alg, coalesce(s.input, ''), e.seq, e.type, e.subject, e.body
			FROM outbox o JOIN event e ON e.seq = o.event LEFT JOIN sent_order s ON s.seq = o.sent_order
			WHERE o.stream = $1 AND o.seq > $2 AND e.tenant = $3 ORDER BY o.seq LIMIT $4`, stream, after, v.tenant, n)
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Done implements transmitter.Store.
func (v *Transmitter) Done(ctx context.Context, outcomes []transmitter.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	for i := range outcomes {
		if err := goodText(outcomes[i].Reason); err != nil {
			return err
		}
	}
	leave, err := v.s.admit()
	if err != nil {
		return err
	}
	defer leave()
	return translate(v.s.e.done(ctx, &acks{tenant: v.tenant, outcomes: outcomes}))
}

// ackRows removes delivered rows with few statements, and sets dead ones aside; SQLite's form.
func (s *Store) ackRows(t *tx, as []*acks) error {
	delivered := map[int64]int64{}
	var orders []int64
	var keys []any
	flush := func(all bool) error {
		for len(keys) > 0 && (all || len(keys) >= 256) {
			n := 1
			for _, size := range [...]int{128, 32, 8, 2} {
				if len(keys) >= 2*size {
					n = size
					break
				}
			}
			t.count()
			rows, err := t.q.QueryContext(t.ctx, `DELETE FROM outbox WHERE (stream, seq) IN (VALUES `+tuples(2, n)+`) RETURNING stream, sent_order`, keys[:2*n]...)
			if err != nil {
				return err
			}
			for rows.Next() {
				var stream, order int64
				if err := rows.Scan(&stream, &order); err != nil {
					rows.Close()
					return err
				}
				delivered[stream]++
				if order != 0 {
					orders = append(orders, order)
				}
			}
			if err := rows.Close(); err != nil {
				return err
			}
			if err := rows.Err(); err != nil {
				return err
			}
			keys = keys[2*n:]
		}
		return nil
	}
	for _, a := range as {
		for i := range a.outcomes {
			o := &a.outcomes[i]
			if o.Dead {
				if err := s.setAside(t, a.tenant, o); err != nil {
					return err
				}
				continue
			}
			keys = append(keys, o.Stream, o.Seq)
			if err := flush(false); err != nil {
				return err
			}
		}
	}
	if err := flush(true); err != nil {
		return err
	}
	for _, o := range orders {
		if _, err := t.exec(`UPDATE sent_order SET state = $1 WHERE seq = $2 AND state = $3`, transmitter.OrderDelivered, o, transmitter.OrderQueued); err != nil {
			return err
		}
	}
	for stream, n := range delivered {
		if _, err := t.exec(`UPDATE stream SET delivered = delivered + $1 WHERE seq = $2`, n, stream); err != nil {
			return err
		}
	}
	return nil
}

// setAside makes a row a dead letter.
func (s *Store) setAside(t *tx, tenant string, o *transmitter.Outcome) error {
	var event, issued, order int64
	var jti, kid, alg string
	found, err := t.one(`DELETE FROM outbox WHERE stream = $1 AND seq = $2 RETURNING event, jti, issued_at, kid, alg, sent_order`,
		[]any{o.Stream, o.Seq}, &event, &jti, &issued, &kid, &alg, &order)
	if err != nil || !found {
		return err
	}
	if _, err := t.exec(`INSERT INTO dead_letter (stream, seq, event, jti, issued_at, kid, alg, sent_order, status, reason, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, o.Stream, o.Seq, event, jti, issued, kid, alg, order, o.Status, o.Reason, int64(o.At)); err != nil {
		return err
	}
	if order == 0 {
		return nil
	}
	_, err = t.exec(`UPDATE sent_order SET state = $1 WHERE seq = $2 AND state = $3`, transmitter.OrderRejected, order, transmitter.OrderQueued)
	return err
}

// Dead implements transmitter.Store.
func (v *Transmitter) Dead(ctx context.Context, stream int64, n int) ([]transmitter.DeadLetter, error) {
	var letters []transmitter.DeadLetter
	err := v.read(ctx, func(t *tx) error {
		letters = nil
		return t.each(func(scan scanFunc) error {
			l := transmitter.DeadLetter{Item: transmitter.Item{Stream: stream, Event: &transmitter.Event{}}}
			var subject []byte
			var at int64
			it := &l.Item
			if err := scan(&it.Seq, &it.JTI, &it.IssuedAt, &it.KeyID, &it.Algorithm, &it.Input, &it.Event.Key, &it.Event.Type, &subject, &it.Event.Body,
				&l.Status, &l.Reason, &at); err != nil {
				return err
			}
			copy(it.Event.Subject[:], subject)
			l.At = transmitter.Micros(at)
			letters = append(letters, l)
			return nil
		}, `SELECT o.seq, o.jti, o.issued_at, o.kid, o.alg, coalesce(s.input, ''), e.seq, e.type, e.subject, e.body, o.status, o.reason, o.at
			FROM dead_letter o JOIN event e ON e.seq = o.event LEFT JOIN sent_order s ON s.seq = o.sent_order
			WHERE o.stream = $1 AND e.tenant = $2 ORDER BY o.at DESC, o.seq DESC LIMIT $3`, stream, v.tenant, n)
	})
	return letters, err
}

// Counts implements transmitter.Store.
func (v *Transmitter) Counts(ctx context.Context, stream int64) (transmitter.Counts, error) {
	var c transmitter.Counts
	err := v.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT (SELECT count(*) FROM outbox o WHERE o.stream = stream.seq), delivered, (SELECT count(*) FROM dead_letter d WHERE d.stream = stream.seq)
			FROM stream WHERE seq = $1 AND tenant = $2`, []any{stream, v.tenant}, &c.Waiting, &c.Delivered, &c.Dead)
		return err
	})
	return c, err
}

// Backoff implements transmitter.Store.
func (v *Transmitter) Backoff(ctx context.Context, stream int64, tr transmitter.Trouble) error {
	return v.write(ctx, pointNone, func(t *tx) error {
		_, err := t.exec(`UPDATE stream SET fails = $1, next_at = $2, since = $3, fault = $4, trouble = $5 WHERE seq = $6 AND tenant = $7`,
			tr.Fails, int64(tr.Next), int64(tr.Since), tr.Open, tr.Reason, stream, v.tenant)
		return err
	})
}
