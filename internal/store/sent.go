package store

import (
	"context"

	"countersign/transmitter"
)

// Order implements transmitter.Store.
func (v *Transmitter) Order(ctx context.Context, key transmitter.OrderKey) (*transmitter.SentOrder, error) {
	var o *transmitter.SentOrder
	err := v.read(ctx, func(t *tx) (err error) {
		o, _, err = v.order(t, key, "")
		return err
	})
	return o, err
}

// order reads an order sent, with the receipts accepted for it, and gives its key.
func (v *Transmitter) order(t *tx, key transmitter.OrderKey, lock string) (*transmitter.SentOrder, int64, error) {
	o := &transmitter.SentOrder{JTI: key.JTI, Receiver: key.Receiver, ReceiptIssuer: key.ReceiptIssuer}
	var seq int64
	found, err := t.one(`SELECT seq, stream_id, receipt_audience, set_hash, input, event_type, txn, issued_at, complete_by, state, disputed FROM sent_order
		WHERE tenant = $1 AND receiver = $2 AND receipt_issuer = $3 AND jti = $4`+lock, []any{v.tenant, key.Receiver, key.ReceiptIssuer, key.JTI},
		&seq, &o.Stream, &o.ReceiptAudience, &o.SetHash, &o.Input, &o.EventType, &o.TXN, &o.IssuedAt, &o.CompleteBy, &o.State, &o.Disputed)
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, transmitter.ErrNotFound
	}
	err = t.each(func(scan scanFunc) error {
		var r transmitter.KeptReceipt
		var accepted int64
		err := scan(&r.JTI, &r.Issuer, &r.Number, &r.Seq, &r.Stage, &r.Outcome, &r.Hash, &r.IssuedAt, &r.ReceivedAt, &r.Supersedes, &r.Compact, &accepted, &r.Gap, &r.Late)
		r.Accepted = transmitter.Micros(accepted)
		o.Receipts = append(o.Receipts, r)
		return err
	}, `SELECT jti, issuer, number, no, stage, outcome, hash, issued_at, received_at, supersedes, compact, accepted, gap, late FROM accepted_receipt
		WHERE sent_order = $1 AND NOT disputed ORDER BY no, seq`, seq)
	return o, seq, err
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
		o, seq, err := v.order(t, key, v.s.d.forUpdate)
		if err != nil {
			return err
		}
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
