package transmitter

import (
	"context"
	"slices"

	"countersign/receipt"
)

func copyOrder(o *SentOrder) *SentOrder {
	c := *o
	c.Receipts = slices.Clone(o.Receipts)
	return &c
}

// Order implements Store.
func (m *Memory) Order(_ context.Context, key OrderKey) (*SentOrder, error) {
	defer m.lock()()
	if o := m.orders[key]; o != nil {
		return copyOrder(o), nil
	}
	return nil, ErrNotFound
}

// Orders implements Store.
func (m *Memory) Orders(_ context.Context, which OrderFilter) ([]SentOrder, error) {
	defer m.lock()()
	var out []SentOrder
	for _, o := range m.orders {
		switch {
		case which.JTI != "" && which.JTI != o.JTI, which.SetHash != "" && which.SetHash != o.SetHash,
			which.TXN != "" && which.TXN != o.TXN, which.Receiver != "" && which.Receiver != o.Receiver,
			which.Stream != "" && which.Stream != o.Stream, which.State != "" && which.State != o.State,
			which.Unanswered && answered(o), which.DueBefore != 0 && (o.CompleteBy == 0 || o.CompleteBy >= which.DueBefore),
			which.Before != 0 && o.Key >= which.Before:
			continue
		}
		out = append(out, *copyOrder(o))
	}
	slices.SortFunc(out, func(a, b SentOrder) int { return int(b.Key - a.Key) })
	return out[:min(len(out), or(which.N, 100))], nil
}

// answered reports whether the last word on an order was said, so far as it was accepted.
func answered(o *SentOrder) bool {
	return slices.ContainsFunc(o.Receipts, func(r KeptReceipt) bool {
		return r.Stage == receipt.StageFinal || r.Stage == receipt.StageAmended
	})
}

// WithdrawOrder implements Store.
func (m *Memory) WithdrawOrder(_ context.Context, key OrderKey, at Micros, reason string) (*SentOrder, error) {
	defer m.lock()()
	o := m.orders[key]
	switch {
	case o == nil:
		return nil, ErrNotFound
	case o.Withdrawn != 0 || answered(o):
		return nil, ErrConflict
	}
	o.Withdrawn, o.WithdrawnWhy = at, reason
	if o.State == OrderQueued {
		for key, rows := range m.rows {
			i := slices.IndexFunc(rows, func(it Item) bool { return m.bySeq[it.Seq] == o })
			if i < 0 {
				continue
			}
			o.State = OrderDropped
			delete(m.bySeq, rows[i].Seq)
			m.waiting--
			if m.rows[key] = slices.Delete(rows, i, i+1); len(m.rows[key]) == 0 {
				delete(m.rows, key)
			}
			break
		}
	}
	return copyOrder(o), nil
}

// AcceptReceipt implements Store.
func (m *Memory) AcceptReceipt(_ context.Context, key OrderKey, r *KeptReceipt, decide func(*SentOrder, Elsewhere) Verdict) (Verdict, error) {
	defer m.lock()()
	o := m.orders[key]
	if o == nil {
		return KeepNothing, ErrNotFound
	}
	jti, number := [2]string{r.Issuer, r.JTI}, [2]string{r.Issuer, r.Number}
	v := decide(copyOrder(o), Elsewhere{JTIHash: m.jtis[jti], NumberOrder: m.numbers[number]})
	switch v {
	case Accept:
		for _, k := range o.Receipts {
			if k.Hash == r.Hash {
				return v, nil
			}
		}
		o.Receipts = insertReceipt(o.Receipts, *r)
		m.jtis[jti], m.numbers[number] = r.Hash, o.JTI
	case Dispute:
		m.evidence = append(m.evidence, *r)
		o.Disputed = "two receipts contradict each other"
	}
	return v, nil
}
