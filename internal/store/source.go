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
