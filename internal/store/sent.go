package store

import (
	"context"

	"countersign/receipt"
	"countersign/transmitter"
)

// orderSelect reads orders as scanOrder takes them.
const orderSelect = `SELECT seq, receiver, receipt_issuer, jti, stream_id, receipt_audience, set_hash, input, event_type, txn, issued_at, complete_by, interim_by, receipt_when,
	state, arrived, withdrawn, withdrawn_why, disputed, agreed FROM sent_order`

func scanOrder(scan scanFunc) (*transmitter.SentOrder, error) {
	o := &transmitter.SentOrder{}
	var arrived, withdrawn int64
	var agreed string
	err := scan(&o.Key, &o.Receiver, &o.ReceiptIssuer, &o.JTI, &o.Stream, &o.ReceiptAudience, &o.SetHash, &o.Input, &o.EventType, &o.TXN, &o.IssuedAt, &o.CompleteBy,
		&o.InterimBy, &o.When, &o.State, &arrived, &withdrawn, &o.WithdrawnWhy, &o.Disputed, &agreed)
	o.Arrived, o.Withdrawn = transmitter.Micros(arrived), transmitter.Micros(withdrawn)
	o.Agreed = raw(agreed)
	return o, err
}

// Order implements transmitter.Store.
func (v *Transmitter) Order(ctx context.Context, key transmitter.OrderKey) (*transmitter.SentOrder, error) {
	var o *transmitter.SentOrder
	err := v.read(ctx, func(t *tx) (err error) {
		o, err = v.order(t, key, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// order reads an order sent, with the receipts accepted for it.
func (v *Transmitter) order(t *tx, key transmitter.OrderKey, lock string) (*transmitter.SentOrder, error) {
	var o *transmitter.SentOrder
	err := t.each(func(scan scanFunc) (err error) {
		o, err = scanOrder(scan)
		return err
	}, orderSelect+` WHERE tenant = $1 AND receiver = $2 AND receipt_issuer = $3 AND jti = $4`+lock, v.tenant, key.Receiver, key.ReceiptIssuer, key.JTI)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, transmitter.ErrNotFound
	}
	return o, v.receipts(t, []*transmitter.SentOrder{o})
}

// receipts reads the receipts accepted for orders.
func (v *Transmitter) receipts(t *tx, orders []*transmitter.SentOrder) error {
	byKey := make(map[int64]*transmitter.SentOrder, len(orders))
	for len(orders) > 0 {
		n := min(len(orders), 500)
		keys := make([]int64, n)
		for i, o := range orders[:n] {
			keys[i], byKey[o.Key] = o.Key, o
		}
		orders = orders[n:]
		err := t.each(func(scan scanFunc) error {
			var r transmitter.KeptReceipt
			var order, accepted int64
			err := scan(&order, &r.JTI, &r.Issuer, &r.Number, &r.Seq, &r.Stage, &r.Outcome, &r.Hash, &r.IssuedAt, &r.ReceivedAt, &r.Supersedes, &r.Compact, &accepted, &r.Gap, &r.Late)
			r.Accepted = transmitter.Micros(accepted)
			if o := byKey[order]; o != nil {
				o.Receipts = append(o.Receipts, r)
			}
			return err
		}, `SELECT sent_order, jti, issuer, number, no, stage, outcome, hash, issued_at, received_at, supersedes, compact, accepted, gap, late FROM accepted_receipt
			WHERE `+v.s.d.in("sent_order", 1)+` AND NOT disputed ORDER BY sent_order, no, seq`, v.s.d.ints(keys))
		if err != nil {
			return err
		}
	}
	return nil
}

// answered is the condition that the last word on an order q was said.
const answered = `EXISTS (SELECT 1 FROM accepted_receipt r WHERE r.sent_order = sent_order.seq AND NOT r.disputed AND r.stage IN ('` + receipt.StageFinal + `', '` + receipt.StageAmended + `'))`

// Orders implements transmitter.Store.
func (v *Transmitter) Orders(ctx context.Context, which transmitter.OrderFilter) ([]transmitter.SentOrder, error) {
	n := which.N
	if n == 0 {
		n = 100
	}
	w := where(v.tenant)
	w.and(`jti = ?`, which.JTI)
	w.and(`set_hash = ?`, which.SetHash)
	w.and(`txn = ?`, which.TXN)
	w.and(`receiver = ?`, which.Receiver)
	w.and(`stream_id = ?`, which.Stream)
	w.and(`state = ?`, which.State)
	if which.Unanswered {
		w.where.WriteString(` AND NOT ` + answered)
	}
	if which.DueBefore != 0 {
		w.add(`complete_by > 0 AND complete_by < ?`, which.DueBefore)
	}
	if which.Before != 0 {
		w.add(`seq < ?`, which.Before)
	}
	w.args = append(w.args, n)
	var all []*transmitter.SentOrder
	err := v.read(ctx, func(t *tx) error {
		all = nil
		err := t.each(func(scan scanFunc) error {
			o, err := scanOrder(scan)
			all = append(all, o)
			return err
		}, orderSelect+w.where.String()+` ORDER BY seq DESC LIMIT $`+itoa(len(w.args)), w.args...)
		if err != nil {
			return err
		}
		return v.receipts(t, all)
	})
	if err != nil {
		return nil, err
	}
	out := make([]transmitter.SentOrder, len(all))
	for i, o := range all {
		out[i] = *o
	}
	return out, nil
}

// WithdrawOrder implements transmitter.Store.
func (v *Transmitter) WithdrawOrder(ctx context.Context, key transmitter.OrderKey, at transmitter.Micros, reason string) (*transmitter.SentOrder, error) {
	var o *transmitter.SentOrder
	err := v.write(ctx, pointWithdraw, func(t *tx) (err error) {
		if o, err = v.order(t, key, v.s.d.forUpdate); err != nil {
			return err
		}
		for i := range o.Receipts {
			if s := o.Receipts[i].Stage; s == receipt.StageFinal || s == receipt.StageAmended {
				return transmitter.ErrConflict
			}
		}
		if o.Withdrawn != 0 {
			return transmitter.ErrConflict
		}
		o.Withdrawn, o.WithdrawnWhy = at, reason
		if o.State == transmitter.OrderQueued {
			// A row that is being delivered at this moment is locked on PostgreSQL: whoever comes first wins.
			n, err := t.exec(`DELETE FROM outbox WHERE stream = (SELECT seq FROM stream WHERE tenant = $1 AND id = $2) AND sent_order = $3`, v.tenant, o.Stream, o.Key)
			if err != nil {
				return err
			}
			if n > 0 {
				o.State = transmitter.OrderDropped
			}
		}
		_, err = t.exec(`UPDATE sent_order SET state = $1, withdrawn = $2, withdrawn_why = $3 WHERE seq = $4`, o.State, int64(at), reason, o.Key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// AcceptReceipt implements transmitter.Store.
func (v *Transmitter) AcceptReceipt(ctx context.Context, key transmitter.OrderKey, r *transmitter.KeptReceipt, decide func(*transmitter.SentOrder, transmitter.Elsewhere) transmitter.Verdict) (transmitter.Verdict, error) {
	row, err := v.s.seqs.take(ctx, 1)
	if err != nil {
		return transmitter.KeepNothing, err
	}
	var verdict transmitter.Verdict
	accept := func(t *tx) error {
		verdict = transmitter.KeepNothing
		o, err := v.order(t, key, v.s.d.forUpdate)
		if err != nil {
			return err
		}
		seq := o.Key
		var e transmitter.Elsewhere
		if _, err := t.one(`SELECT hash FROM accepted_receipt WHERE tenant = $1 AND issuer = $2 AND jti = $3 AND NOT disputed`,
			[]any{v.tenant, r.Issuer, r.JTI}, &e.JTIHash); err != nil {
			return err
		}
		if _, err := t.one(`SELECT order_jti FROM accepted_receipt WHERE tenant = $1 AND issuer = $2 AND number = $3 AND NOT disputed ORDER BY seq LIMIT 1`,
			[]any{v.tenant, r.Issuer, r.Number}, &e.NumberOrder); err != nil {
			return err
		}
		known := false
		for i := range o.Receipts {
			known = known || o.Receipts[i].Hash == r.Hash
		}
		verdict = decide(o, e)
		if verdict == transmitter.KeepNothing || known {
			return nil
		}
		disputed := verdict == transmitter.Dispute
		if disputed {
			// Evidence of one content address is kept once.
			var n int
			if _, err := t.one(`SELECT count(*) FROM accepted_receipt WHERE sent_order = $1 AND hash = $2`, []any{seq, r.Hash}, &n); err != nil {
				return err
			}
			if _, err := t.exec(`UPDATE sent_order SET disputed = $1 WHERE seq = $2 AND disputed = ''`, "two receipts contradict each other", seq); err != nil || n > 0 {
				return err
			}
		}
		_, err = t.exec(`INSERT INTO accepted_receipt (seq, tenant, sent_order, order_jti, issuer, jti, number, no, stage, outcome, hash, issued_at, received_at, supersedes, compact, accepted, gap, late, disputed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
			row, v.tenant, seq, o.JTI, r.Issuer, r.JTI, r.Number, r.Seq, r.Stage, r.Outcome, r.Hash, r.IssuedAt, r.ReceivedAt, r.Supersedes, r.Compact, int64(r.Accepted), r.Gap, r.Late, disputed)
		return err
	}
	err = v.write(ctx, pointNone, accept)
	if unique(err) {
		// The same jti was accepted for another order meanwhile: ask again, now that it can be seen.
		err = v.write(ctx, pointNone, accept)
	}
	if err != nil {
		return transmitter.KeepNothing, err
	}
	return verdict, nil
}
