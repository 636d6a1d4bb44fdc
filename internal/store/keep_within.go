package store

import "countersign/transmitter"

// keepWithin writes what k sends inside a transaction of another kind, statement by statement: an announcement, or
// what a decision transmits. It returns transmitter.ErrStale where the streams are not those it was matched against.
func (s *Store) keepWithin(t *tx, k *keeping) error {
	k.reset()
	out := k.out
	if !k.keepsEvent() {
		return s.fresh(t, k)
	}
	// Locked until the commit: no stream changes under the rows.
	if err := s.fresh(t, k); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO event (`+eventColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`, k.eventRow()...); err != nil {
		return err
	}
	for i, b := range k.bodies {
		if _, err := t.exec(`INSERT INTO event_body (`+bodyColumns+`) VALUES ($1, $2, $3)`, k.event, int64(i+1), b); err != nil {
			return err
		}
	}
	for i := range out.Skips {
		if _, err := t.exec(`INSERT INTO skip (`+skipColumns+`) VALUES ($1, $2, $3, $4, $5)`, k.skipRow(i)...); err != nil {
			return err
		}
	}
	for i := range out.Rows {
		r := &out.Rows[i]
		var status string
		found, err := t.one(`SELECT status FROM stream WHERE seq = $1 AND tenant = $2`, []any{r.Stream, k.tenant}, &status)
		if err != nil {
			return err
		}
		if !found || status == transmitter.Disabled && !r.Parting {
			continue
		}
		if r.Order != nil {
			if _, err := t.exec(`INSERT INTO sent_order (`+sentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`, k.sentRow(i)...); err != nil {
				return err
			}
		}
		if s.d == &postgresDialect { // seq is the table's own, so that it rises over all nodes
			_, err = t.one(`INSERT INTO outbox (stream, event, jti, issued_at, kid, alg, sent_order, body, parting) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING seq`,
				[]any{r.Stream, k.event, r.JTI, r.IssuedAt, r.KeyID, r.Algorithm, k.orders[i], k.body(i), r.Parting}, &k.rows[i])
		} else {
			k.rows[i] = k.outbox + int64(i)
			_, err = t.exec(`INSERT INTO outbox (`+outboxColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
				r.Stream, k.rows[i], k.event, r.JTI, r.IssuedAt, r.KeyID, r.Algorithm, k.orders[i], k.body(i), r.Parting)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fresh holds the generation of the tenant's streams, and compares it with the one that k was matched against.
func (s *Store) fresh(t *tx, k *keeping) error {
	var g int64
	if _, err := t.one(`SELECT value FROM generation WHERE tenant = $1 AND kind = 'stream'`+s.d.forShare, []any{k.tenant}, &g); err != nil {
		return err
	}
	if !k.loose && k.out.Generation != 0 && k.out.Generation != g {
		return transmitter.ErrStale
	}
	return nil
}
