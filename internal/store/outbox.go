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
	plain := map[int64][]any{} // keys of delivered rows without an order, by stream
	for _, a := range as {
		for i := range a.outcomes {
			o := &a.outcomes[i]
			switch {
			case o.Dead:
				if err := s.setAside(t, a.tenant, o); err != nil {
					return err
				}
			case o.Plain:
				plain[o.Stream] = append(plain[o.Stream], o.Seq)
			default:
				if err := s.delivered(t, o); err != nil {
					return err
				}
			}
		}
	}
	for stream, keys := range plain {
		var gone int64
		for len(keys) > 0 {
			n := chunk(len(keys))
			args := append(make([]any, 0, n+1), stream)
			args = append(args, keys[:n]...)
			keys = keys[n:]
			k, err := t.exec(shape{`DELETE FROM outbox WHERE stream = ? AND seq IN `, ``, n, 1}.text(), args...)
			if err != nil {
				return err
			}
			gone += k
		}
		if gone == 0 {
			continue
		}
		if _, err := t.exec(`UPDATE stream SET delivered = delivered + $1 WHERE seq = $2`, gone, stream); err != nil {
			return err
		}
	}
	return nil
}

// delivered removes one row that may carry an order.
func (s *Store) delivered(t *tx, o *transmitter.Outcome) error {
	var order int64
	found, err := t.one(`DELETE FROM outbox WHERE stream = $1 AND seq = $2 RETURNING sent_order`, []any{o.Stream, o.Seq}, &order)
	if err != nil || !found {
		return err
	}
	if order != 0 {
		if _, err := t.exec(`UPDATE sent_order SET state = $1 WHERE seq = $2 AND state = $3`, transmitter.OrderDelivered, order, transmitter.OrderQueued); err != nil {
			return err
		}
	}
	_, err = t.exec(`UPDATE stream SET delivered = delivered + 1 WHERE seq = $1`, o.Stream)
	return err
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
