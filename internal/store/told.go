package store

import "context"

// Told is an event that waits on a stream, as whoever must not send it twice asks for it.
type Told struct {
	TXN, Type string
	Stream    int64 // its key
}

// Told gives what waits to be delivered, up to n rows with a txn: what a process that starts must know was queued already.
func (v *Transmitter) Told(ctx context.Context, n int) ([]Told, error) {
	var all []Told
	err := v.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			var w Told
			err := scan(&w.TXN, &w.Type, &w.Stream)
			all = append(all, w)
			return err
		}, `SELECT e.txn, e.type, o.stream FROM outbox o JOIN event e ON e.seq = o.event WHERE e.tenant = $1 AND e.txn <> '' LIMIT $2`, v.tenant, n)
	})
	return all, err
}
