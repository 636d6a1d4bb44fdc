package store

import (
	"context"
	"encoding/json"

	"countersign/internal/hub"
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

// ClaimKey takes a client's idempotency key, or gives what is known of its first use. Another request under the same
// key is hub.Conflict.
func (s *Store) ClaimKey(ctx context.Context, tenant string, idem Idempotency) (KeyAnswer, error) {
	if err := needTenant(tenant); err != nil {
		return KeyAnswer{}, err
	}
	var a KeyAnswer
	err := s.write(ctx, pointNone, func(t *tx) error {
		a = KeyAnswer{}
		n, err := t.exec(`INSERT INTO idempotency (tenant, client, key, body_hash, ref, status, at) VALUES ($1, $2, $3, $4, '', 0, $5)
			ON CONFLICT (tenant, client, key) DO NOTHING`, tenant, idem.Client, idem.Key, idem.BodyHash, int64(s.now()))
		if err != nil {
			return err
		}
		if n > 0 {
			a.New = true
			return nil
		}
		var hash string
		if _, err := t.one(`SELECT body_hash, ref, status, body FROM idempotency WHERE tenant = $1 AND client = $2 AND key = $3`,
			[]any{tenant, idem.Client, idem.Key}, &hash, &a.Ref, &a.Status, &a.Body); err != nil {
			return err
		}
		if hash != idem.BodyHash {
			return hub.Errorf(hub.Conflict, "the idempotency key was used for another request").WithHint("use a new key for a new request")
		}
		return nil
	})
	if err != nil {
		return KeyAnswer{}, err
	}
	return a, nil
}

// FinishKey stores the answer to the first request under a key. Status 0 gives the key up instead, so that the
// request can be made again.
func (s *Store) FinishKey(ctx context.Context, tenant string, idem Idempotency, status int, body []byte) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		if status == 0 {
			_, err := t.exec(`DELETE FROM idempotency WHERE tenant = $1 AND client = $2 AND key = $3 AND status = 0 AND ref = ''`, tenant, idem.Client, idem.Key)
			return err
		}
		n, err := t.exec(`UPDATE idempotency SET status = $1, body = $2 WHERE tenant = $3 AND client = $4 AND key = $5`, status, blob(body), tenant, idem.Client, idem.Key)
		if err == nil && n == 0 {
			err = notFound("idempotency key")
		}
		return err
	})
}
