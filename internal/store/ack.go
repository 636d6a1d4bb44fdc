package store

import (
	"context"
	"errors"

	"countersign/transmitter"
)

// acks are the outcomes of one call.
type acks struct {
	tenant   string
	outcomes []transmitter.Outcome
	expired  bool // what is dead waited too long; else it was refused
	ended    int  // how many rows it ended; of Done on PostgreSQL it is not counted
}

// orderState is what becomes of the order of a row.
func (a *acks) orderState(o *transmitter.Outcome) string {
	switch {
	case !o.Dead:
		return transmitter.OrderDelivered
	case a.expired:
		return transmitter.OrderExpired
	}
	return transmitter.OrderRejected
}

// arrived is when the receiver took the row or refused it; never, where it waited too long.
func (a *acks) arrived(o *transmitter.Outcome) int64 {
	if a.expired {
		return 0
	}
	return int64(o.At)
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

// errGone means that rows of a batch were not there.
var errGone = errors.New("store: rows are gone")

// ackRows removes delivered rows with few statements, sets dead ones aside, and writes their page of the history;
// SQLite's form. Nearly always all rows are there and the outcomes say all that the history wants. Otherwise the rows
// are looked at first.
func (s *Store) ackRows(t *tx, as []*acks) error {
	whole := true
	for _, a := range as {
		for i := range a.outcomes {
			o := &a.outcomes[i]
			whole = whole && o.JTI != "" && o.Event != 0
		}
	}
	if whole {
		if _, err := t.exec(`SAVEPOINT acks`); err != nil {
			return err
		}
		err := s.ackAll(t, as)
		if err == nil {
			_, err = t.exec(`RELEASE acks`)
			return err
		}
		if err != errGone {
			return err
		}
		if _, err := t.exec(`ROLLBACK TO acks`); err != nil {
			return err
		}
		if _, err := t.exec(`RELEASE acks`); err != nil {
			return err
		}
	}
	there := make([]*acks, len(as))
	taken := map[[2]int64]bool{}
	for i, a := range as {
		left, err := s.present(t, a.outcomes, taken)
		if err != nil {
			return err
		}
		there[i] = &acks{tenant: a.tenant, outcomes: left, expired: a.expired}
	}
	if err := s.ackAll(t, there); err != nil {
		return err
	}
	for i, a := range as {
		a.ended = len(there[i].outcomes)
	}
	return nil
}

// present gives the outcomes whose rows are there and were not reissued, with what the rows know better.
func (s *Store) present(t *tx, outcomes []transmitter.Outcome, taken map[[2]int64]bool) ([]transmitter.Outcome, error) {
	byStream := map[int64][]int64{}
	for i := range outcomes {
		byStream[outcomes[i].Stream] = append(byStream[outcomes[i].Stream], outcomes[i].Seq)
	}
	type row struct {
		jti   string
		event int64
	}
	rows := map[[2]int64]row{}
	for stream, seqs := range byStream {
		for len(seqs) > 0 {
			n := min(len(seqs), 1000)
			err := t.each(func(scan scanFunc) error {
				var seq int64
				var r row
				err := scan(&seq, &r.jti, &r.event)
				rows[[2]int64{stream, seq}] = r
				return err
			}, `SELECT seq, jti, event FROM outbox WHERE stream = $1 AND `+s.d.in("seq", 2), stream, s.d.ints(seqs[:n]))
			if err != nil {
				return nil, err
			}
			seqs = seqs[n:]
		}
	}
	var left []transmitter.Outcome
	for _, o := range outcomes {
		key := [2]int64{o.Stream, o.Seq}
		r, ok := rows[key]
		if !ok || taken[key] || o.JTI != "" && o.JTI != r.jti {
			continue
		}
		taken[key] = true
		o.JTI, o.Event = r.jti, r.event
		left = append(left, o)
	}
	return left, nil
}

// ackAll is ackRows for rows that are all there; errGone where one is not.
func (s *Store) ackAll(t *tx, as []*acks) error {
	var lines pages
	plain := map[int64][]any{} // keys of delivered rows without an order, by stream
	ended := map[int64]int64{} // how many were delivered, by stream
	for _, a := range as {
		a.ended = len(a.outcomes)
		for i := range a.outcomes {
			o := &a.outcomes[i]
			lines.add(a.tenant, o)
			switch {
			case o.Dead:
				if err := s.setAside(t, a, o); err != nil {
					return err
				}
				continue
			case o.Plain:
				plain[o.Stream] = append(plain[o.Stream], o.Seq)
			default:
				if err := s.delivered(t, a, o); err != nil {
					return err
				}
			}
			ended[o.Stream]++
		}
	}
	for stream, keys := range plain {
		for len(keys) > 0 {
			n := chunk(len(keys))
			args := append(make([]any, 0, n+1), stream)
			args = append(args, keys[:n]...)
			keys = keys[n:]
			k, err := t.exec(shape{`DELETE FROM outbox WHERE stream = ? AND seq IN `, ``, n, 1}.text(), args...)
			if err != nil {
				return err
			}
			if k != int64(n) {
				return errGone
			}
		}
	}
	for stream, n := range ended {
		if _, err := t.exec(`UPDATE stream SET delivered = delivered + $1 WHERE seq = $2`, n, stream); err != nil {
			return err
		}
	}
	_, err := t.insert(`delivery_page (`+pageColumns+`)`, ``, lines.rows(), nil)
	return err
}

// delivered removes one row that may carry an order.
func (s *Store) delivered(t *tx, a *acks, o *transmitter.Outcome) error {
	var order int64
	found, err := t.one(`DELETE FROM outbox WHERE stream = $1 AND seq = $2 AND jti = $3 RETURNING sent_order`, []any{o.Stream, o.Seq, o.JTI}, &order)
	if err != nil {
		return err
	}
	if !found {
		return errGone
	}
	return s.orderEnds(t, a, o, order)
}

func (s *Store) orderEnds(t *tx, a *acks, o *transmitter.Outcome, order int64) error {
	if order == 0 {
		return nil
	}
	_, err := t.exec(`UPDATE sent_order SET state = $1, arrived = $2 WHERE seq = $3 AND state = $4`, a.orderState(o), a.arrived(o), order, transmitter.OrderQueued)
	return err
}

// setAside makes a row a dead letter.
func (s *Store) setAside(t *tx, a *acks, o *transmitter.Outcome) error {
	var event, issued, order, body int64
	var jti, kid, alg string
	var parting bool
	found, err := t.one(`DELETE FROM outbox WHERE stream = $1 AND seq = $2 AND jti = $3 RETURNING event, jti, issued_at, kid, alg, sent_order, body, parting`,
		[]any{o.Stream, o.Seq, o.JTI}, &event, &jti, &issued, &kid, &alg, &order, &body, &parting)
	if err != nil {
		return err
	}
	if !found {
		return errGone
	}
	if _, err := t.exec(`INSERT INTO dead_letter (`+outboxColumns+`, status, reason, at, tries, first_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		o.Stream, o.Seq, event, jti, issued, kid, alg, order, body, parting, o.Status, o.Reason, int64(o.At), o.Tries, int64(o.First)); err != nil {
		return err
	}
	return s.orderEnds(t, a, o, order)
}
