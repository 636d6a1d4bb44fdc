package store

import (
	"context"

	"countersign/internal/hub"
)

// OrderWithdrawn notes that the source of an order took it back (receipts design §6.6), and lets what has not begun come up
// at once: an open action, and the receipt of an order whose subject is still unknown. It gives the signal that carried the
// order, or hub.NotFound: for a jti that the source never sent, that carried no order, or whose content address is another. A
// second time changes nothing.
func (s *Store) OrderWithdrawn(ctx context.Context, tenant, source, jti, setHash string, at hub.Micros) (signalSeq int64, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		var state string
		found, err := t.one(`SELECT seq, state FROM signal WHERE tenant = $1 AND source = $2 AND jti = $3 AND set_hash = $4 AND has_order`,
			[]any{tenant, source, jti, setHash}, &signalSeq, &state)
		if err != nil {
			return err
		}
		if !found {
			return notFound("order")
		}
		n, err := t.exec(`UPDATE received_order SET withdrawn = $1 WHERE signal = $2 AND tenant = $3 AND withdrawn = 0`, int64(at), signalSeq, tenant)
		if err != nil || n == 0 {
			return err
		}
		now := int64(s.now())
		// A job that somebody holds sees the order when it looks next; one that waits looks now.
		if _, err := t.exec(`UPDATE job SET due = $1, ready = CASE WHEN claim = '' THEN $1 ELSE ready END
			WHERE kind = 'act' AND ready > $1 AND ref IN (SELECT seq FROM action WHERE signal = $2 AND is_open)`, now, signalSeq); err != nil {
			return err
		}
		if state != string(hub.SignalUnresolved) {
			return nil
		}
		_, err = t.exec(`UPDATE job SET due = $1, ready = CASE WHEN claim = '' THEN $1 ELSE ready END WHERE kind = 'cut' AND ref = $2 AND ready > $1`, now, signalSeq)
		return err
	})
	return signalSeq, err
}
