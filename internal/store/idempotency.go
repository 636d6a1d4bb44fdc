package store

import (
	"context"

	"countersign/internal/hub"
)

// ForgetKeys removes idempotency keys, of all tenants, that were used before a moment, at most n. A key that is forgotten can
// be used again. It gives how many there were.
func (s *Store) ForgetKeys(ctx context.Context, before hub.Micros, n int) (int, error) {
	var gone int64
	type key struct{ tenant, client, key string }
	var old []key
	err := s.read(ctx, func(t *tx) error {
		old = nil
		return t.each(func(scan scanFunc) error {
			var k key
			err := scan(&k.tenant, &k.client, &k.key)
			old = append(old, k)
			return err
		}, `SELECT tenant, client, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2`, int64(before), n)
	})
	if err != nil || len(old) == 0 {
		return 0, err
	}
	err = s.write(ctx, pointNone, func(t *tx) error {
		gone = 0
		for _, k := range old {
			// It may have been used anew since it was looked for.
			n, err := t.exec(`DELETE FROM idempotency WHERE tenant = $1 AND client = $2 AND key = $3 AND at < $4`, k.tenant, k.client, k.key, int64(before))
			if err != nil {
				return err
			}
			gone += n
		}
		return nil
	})
	return int(gone), err
}
