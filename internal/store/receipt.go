package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"countersign/internal/hub"
)

const receiptSelect = `SELECT r.seq, r.id, r.tenant, s.id, r.signal, r.source, r.receipt_no, r.no, r.stage, r.outcome, r.jti, r.kid, r.input, r.hash, r.body, r.chain,
	r.endpoint, r.state, r.reason, r.tries, r.cut, r.accepted, r.token FROM receipt r JOIN signal s ON s.seq = r.signal`

func scanReceipt(scan scanFunc) (*hub.Receipt, error) {
	r := &hub.Receipt{}
	var body string
	var cut, accepted int64
	if err := scan(&r.Seq, &r.ID, &r.Tenant, &r.SignalID, &r.SignalSeq, &r.Source, &r.ReceiptNo, &r.No, &r.Stage, &r.Outcome, &r.JTI, &r.KID, &r.Input, &r.Hash,
		&body, &r.Chain, &r.Endpoint, &r.State, &r.Reason, &r.Tries, &cut, &accepted, &r.Token); err != nil {
		return nil, err
	}
	r.Body, r.Cut, r.Accepted = raw(body), hub.Micros(cut), hub.Micros(accepted)
	return r, nil
}

func (s *Store) oneReceipt(ctx context.Context, where string, args ...any) (*hub.Receipt, error) {
	var r *hub.Receipt
	err := s.read(ctx, func(t *tx) error {
		r = nil
		return t.each(func(scan scanFunc) (err error) {
			r, err = scanReceipt(scan)
			return err
		}, receiptSelect+where, args...)
	})
	if err == nil && r == nil {
		err = notFound("receipt")
	}
	return r, err
}

// Receipt gives a receipt, or hub.NotFound.
func (s *Store) Receipt(ctx context.Context, tenant, id string) (*hub.Receipt, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	return s.oneReceipt(ctx, ` WHERE r.tenant = $1 AND r.id = $2`, tenant, id)
}

// ReceiptBySeq gives a receipt, or hub.NotFound.
func (s *Store) ReceiptBySeq(ctx context.Context, seq int64) (*hub.Receipt, error) {
	return s.oneReceipt(ctx, ` WHERE r.seq = $1`, seq)
}

// ReceiptsOf gives the receipts of a signal by rising number.
func (s *Store) ReceiptsOf(ctx context.Context, signalSeq int64) ([]*hub.Receipt, error) {
	var all []*hub.Receipt
	err := s.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			r, err := scanReceipt(scan)
			all = append(all, r)
			return err
		}, receiptSelect+` WHERE r.signal = $1 ORDER BY r.no`, signalSeq)
	})
	return all, err
}

// ListReceipts lists a tenant's receipts, newest first.
func (s *Store) ListReceipts(ctx context.Context, tenant string, f ReceiptFilter, p hub.Page) (hub.Listed[*hub.Receipt], error) {
	if err := needTenant(tenant); err != nil {
		return hub.Listed[*hub.Receipt]{}, err
	}
	w := where(tenant)
	w.and(`state = ?`, f.State)
	w.and(`source = ?`, f.Source)
	w.and(`signal_id = ?`, f.SignalID)
	const columns = `seq, id, tenant, signal_id, signal, source, receipt_no, no, stage, outcome, jti, kid, input, hash, body, chain, endpoint, state, reason, tries, cut, accepted, token`
	return list(ctx, s, p, `SELECT `+columns+` FROM (SELECT r.*, s.id AS signal_id FROM receipt r JOIN signal s ON s.seq = r.signal) q`, w, scanReceipt,
		func(r *hub.Receipt) string { return r.ID })
}

// OrderForCut gives what a receipt is cut from: the signal with its order, and its actions as planned.
func (s *Store) OrderForCut(ctx context.Context, signalSeq int64) (*hub.Signal, []*hub.Action, error) {
	var g *hub.Signal
	var all []*hub.Action
	err := s.read(ctx, func(t *tx) (err error) {
		if g, err = oneSignal(t, ` WHERE seq = $1`, signalSeq); err != nil {
			return err
		}
		all, err = actionsOf(t, signalSeq)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if g.Order == nil {
		return nil, nil, hub.Errorf(hub.Conflict, "signal %s has no order", g.ID)
	}
	return g, all, nil
}

// Chain is the value that binds a receipt to all that a tenant cut before: SHA-256 over the previous value
// (empty for the first) and the receipt's content address.
func Chain(previous, hash string) string {
	sum := sha256.Sum256([]byte(previous + hash))
	return "sha-256:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// SaveReceipt keeps a cut receipt and moves its order on, where the order still stands at prevSeq; else hub.Conflict.
// The chain value is computed inside. job is the claimed "cut": next nil means done, else it is free and due
// then. When r.State is queued the job "send" comes back, claimed by this store. It sets r.Seq and r.Chain.
func (s *Store) SaveReceipt(ctx context.Context, r *hub.Receipt, prevSeq int, job *hub.Job, next *hub.Micros) (*hub.Job, error) {
	if err := needTenant(r.Tenant); err != nil {
		return nil, err
	}
	key, err := s.seqs.take(ctx, 2)
	if err != nil {
		return nil, err
	}
	var send *hub.Job
	var chain string
	err = s.write(ctx, pointReceipt, func(t *tx) error {
		send = nil
		if err := s.release(t, job, next); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE received_order SET last_seq = $1, last_hash = $2, stage = $3, outcome = $4 WHERE signal = $5 AND tenant = $6 AND last_seq = $7`,
			r.No, r.Hash, r.Stage, r.Outcome, r.SignalSeq, r.Tenant, prevSeq)
		if err != nil {
			return err
		}
		if n == 0 {
			return hub.Errorf(hub.Conflict, "another receipt of this order was cut meanwhile")
		}
		if _, err := t.exec(`INSERT INTO receipt_chain (tenant, no, value) VALUES ($1, 0, '') ON CONFLICT (tenant) DO NOTHING`, r.Tenant); err != nil {
			return err
		}
		var previous string
		var no int64
		if _, err := t.one(`SELECT no, value FROM receipt_chain WHERE tenant = $1`+s.d.forUpdate, []any{r.Tenant}, &no, &previous); err != nil {
			return err
		}
		chain = Chain(previous, r.Hash)
		if _, err := t.exec(`UPDATE receipt_chain SET no = $1, value = $2 WHERE tenant = $3`, no+1, chain, r.Tenant); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO receipt (seq, id, tenant, signal, source, receipt_no, no, stage, outcome, jti, kid, input, hash, body, chain, chain_no, endpoint, state, reason, tries, cut, accepted, token)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`,
			key, r.ID, r.Tenant, r.SignalSeq, r.Source, r.ReceiptNo, r.No, r.Stage, r.Outcome, r.JTI, r.KID, r.Input, r.Hash, string(r.Body), chain, no+1,
			r.Endpoint, r.State, r.Reason, r.Tries, int64(r.Cut), int64(r.Accepted), r.Token); err != nil {
			return err
		}
		if r.State == "queued" {
			send, err = s.enqueue(t, r.Tenant, hub.Job{Seq: key + 1, Kind: "send", Ref: key, Due: s.now()}, s.claim())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r.Seq, r.Chain = key, chain
	return send, nil
}

// MarkReceipt writes where the delivery of a receipt stands: its state, reason, tries, token and when it
// was accepted. job is the claimed "send": next nil means done, else it is free and due then.
func (s *Store) MarkReceipt(ctx context.Context, r *hub.Receipt, job *hub.Job, next *hub.Micros) error {
	return s.write(ctx, pointReceipt, func(t *tx) error {
		if err := s.release(t, job, next); err != nil {
			return err
		}
		n, err := t.exec(`UPDATE receipt SET state = $1, reason = $2, tries = $3, accepted = $4, token = CASE WHEN token = '' THEN $5 ELSE token END WHERE seq = $6 AND tenant = $7`,
			r.State, r.Reason, r.Tries, int64(r.Accepted), r.Token, r.Seq, r.Tenant)
		if err == nil && n == 0 {
			err = notFound("receipt")
		}
		return err
	})
}

// SendAgain queues the latest receipt of an order once more, for an order that was delivered again, unless that was
// done after notSince or nothing is cut yet. The job "send" comes back claimed, or nil.
func (s *Store) SendAgain(ctx context.Context, signalSeq int64, notSince hub.Micros) (*hub.Job, error) {
	key, err := s.seqs.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	var send *hub.Job
	err = s.write(ctx, pointNone, func(t *tx) error {
		send = nil
		now := s.now()
		var tenant string
		found, err := t.one(`UPDATE received_order SET sent_again = $1 WHERE signal = $2 AND last_seq > 0 AND sent_again <= $3 RETURNING tenant`,
			[]any{int64(now), signalSeq, int64(notSince)}, &tenant)
		if err != nil || !found {
			return err
		}
		var receipt int64
		found, err = t.one(`SELECT seq FROM receipt WHERE signal = $1 AND state <> 'kept' ORDER BY no DESC LIMIT 1`, []any{signalSeq}, &receipt)
		if err != nil || !found {
			return err
		}
		send, err = s.enqueue(t, tenant, hub.Job{Seq: key, Kind: "send", Ref: receipt, Due: now}, s.claim())
		return err
	})
	if err != nil {
		return nil, err
	}
	return send, nil
}
