package store

import (
	"context"
	"encoding/json"
)

// SourceStream gives the state of our stream at a source, as it was put; nil where there is none.
func (s *Store) SourceStream(ctx context.Context, tenant, source string) (json.RawMessage, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var state string
	err := s.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT state FROM source_stream WHERE tenant = $1 AND source = $2`, []any{tenant, source}, &state)
		return err
	})
	return raw(state), err
}

// PutSourceStream stores the state of our stream at a source; nil removes it.
func (s *Store) PutSourceStream(ctx context.Context, tenant, source string, state json.RawMessage) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		if state == nil {
			_, err := t.exec(`DELETE FROM source_stream WHERE tenant = $1 AND source = $2`, tenant, source)
			return err
		}
		_, err := t.exec(`INSERT INTO source_stream (tenant, source, state) VALUES ($1, $2, $3) ON CONFLICT (tenant, source) DO UPDATE SET state = excluded.state`,
			tenant, source, string(state))
		return err
	})
}

// SourceStreams gives the states of all a tenant's streams at sources, by source.
func (s *Store) SourceStreams(ctx context.Context, tenant string) (map[string]json.RawMessage, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	err := s.read(ctx, func(t *tx) error {
		clear(all)
		return t.each(func(scan scanFunc) error {
			var source, state string
			err := scan(&source, &state)
			all[source] = raw(state)
			return err
		}, `SELECT source, state FROM source_stream WHERE tenant = $1`, tenant)
	})
	return all, err
}

// SwapSourceStream stores now in place of was, as SourceStream gave it (nil: nothing is stored), and reports whether it did:
// not where something else is there.
func (s *Store) SwapSourceStream(ctx context.Context, tenant, source string, was, now json.RawMessage) (bool, error) {
	if err := needTenant(tenant); err != nil {
		return false, err
	}
	var n int64
	err := s.write(ctx, pointNone, func(t *tx) (err error) {
		if was == nil {
			n, err = t.exec(`INSERT INTO source_stream (tenant, source, state) VALUES ($1, $2, $3) ON CONFLICT (tenant, source) DO NOTHING`, tenant, source, string(now))
			return err
		}
		n, err = t.exec(`UPDATE source_stream SET state = $1 WHERE tenant = $2 AND source = $3 AND state = $4`, string(now), tenant, source, string(was))
		return err
	})
	return n == 1, err
}
