package store

import (
	"context"

	"countersign/internal/hub"
)

// Unresolved counts the signals of a tenant that wait until somebody fits their subject.
type Unresolved struct {
	Count  int64              `json:"count"`
	Oldest hub.Micros         `json:"oldest_at,omitempty"` // when the first of them came
	By     []UnresolvedReason `json:"by"`                  // most first
}

// UnresolvedReason is one part of them.
type UnresolvedReason struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// UnresolvedSummary counts what waits, by source and reason, at most 100 of these.
func (s *Store) UnresolvedSummary(ctx context.Context, tenant string) (*Unresolved, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var u *Unresolved
	err := s.read(ctx, func(t *tx) error {
		u = &Unresolved{By: []UnresolvedReason{}}
		var oldest int64
		if _, err := t.one(`SELECT count(*), coalesce(min(received), 0) FROM signal WHERE tenant = $1 AND state = 'unresolved'`, []any{tenant}, &u.Count, &oldest); err != nil {
			return err
		}
		u.Oldest = hub.Micros(oldest)
		return t.each(func(scan scanFunc) error {
			var r UnresolvedReason
			err := scan(&r.Source, &r.Reason, &r.Count)
			u.By = append(u.By, r)
			return err
		}, `SELECT source, reason, count(*) FROM signal WHERE tenant = $1 AND state = 'unresolved' GROUP BY source, reason ORDER BY 3 DESC, 1, 2 LIMIT 100`, tenant)
	})
	return u, err
}

// Requeue makes one unresolved signal due for processing: hub.NotFound where there is none, hub.Conflict where it is not
// unresolved.
func (s *Store) Requeue(ctx context.Context, tenant, id string) error {
	if err := needTenant(tenant); err != nil {
		return err
	}
	key, err := s.seqs.take(ctx, 1)
	if err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		var seq int64
		var state string
		found, err := t.one(`SELECT seq, state FROM signal WHERE tenant = $1 AND id = $2`, []any{tenant, id}, &seq, &state)
		if err != nil {
			return err
		}
		if !found {
			return notFound("signal")
		}
		if state != string(hub.SignalUnresolved) {
			return hub.Errorf(hub.Conflict, "the signal is %s: only what waits for somebody who fits is run again", state).WithHint("countersign signal show %s", id)
		}
		_, err = s.enqueue(t, tenant, hub.Job{Seq: key, Kind: "process", Ref: seq, Due: s.now()}, "")
		return err
	})
}
