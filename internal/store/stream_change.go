package store

import (
	"context"
	"maps"
	"slices"

	"countersign/transmitter"
)

// UpdateStream implements transmitter.Store.
func (v *Transmitter) UpdateStream(ctx context.Context, receiver, id string, change func(*transmitter.Stream) error) (*transmitter.Stream, error) {
	return v.change(ctx, pointNone, receiver, id, 0, func(st *transmitter.Stream) (*transmitter.Outgoing, error) { return nil, change(st) })
}

// announceKeys is how many keys are taken before an announcement, which nearly always is one event on one stream.
const announceKeys = 16

// Announce implements transmitter.Store.
func (v *Transmitter) Announce(ctx context.Context, receiver, id string, change func(*transmitter.Stream) (*transmitter.Outgoing, error)) (*transmitter.Stream, error) {
	// Taken beforehand, so that on SQLite the rows come after those that were kept before and before those that follow.
	first, err := v.s.seqs.take(ctx, announceKeys)
	if err != nil {
		return nil, err
	}
	return v.change(ctx, pointAnnounce, receiver, id, first, change)
}

// change edits a stream in one transaction, and keeps what is announced of it.
func (v *Transmitter) change(ctx context.Context, point, receiver, id string, first int64, change func(*transmitter.Stream) (*transmitter.Outgoing, error)) (*transmitter.Stream, error) {
	var kept *transmitter.Stream
	var k *keeping
	err := v.write(ctx, point, func(t *tx) error {
		k = nil
		gen, err := bump(t, v.tenant, "stream")
		if err != nil {
			return err
		}
		was, err := v.stream(t, receiver, id, v.s.d.forUpdate)
		if err != nil {
			return err
		}
		st := *was
		out, err := change(&st)
		if err != nil {
			return err
		}
		st.Key, st.ID, st.Receiver, st.Audience, st.Generation = was.Key, was.ID, was.Receiver, was.Audience, gen
		st.Trouble, st.Listed, st.Active = was.Trouble, was.Listed, was.Active
		doc, auth, err := v.encode(&st)
		if err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE stream SET status = $1, doc = $2, receipts = $3, auth = $4, generation = $5, inactivity = $6 WHERE seq = $7`,
			st.Status, doc, string(st.Receipts), auth, gen, st.InactivityTimeout, st.Key); err != nil {
			return err
		}
		if st.Status == transmitter.Disabled {
			if err := v.dropWaiting(t, &st); err != nil {
				return err
			}
		}
		if out != nil {
			k = &keeping{tenant: v.tenant, out: out, at: v.s.now(), loose: true}
			k.plan()
			if need := k.need(); need > announceKeys {
				if first, err = v.s.seqs.within(t, need); err != nil {
					return err
				}
			}
			k.assign(first)
			if err := v.s.keepWithin(t, k); err != nil {
				return err
			}
		}
		kept = &st
		return nil
	})
	if err != nil {
		return nil, err
	}
	if k != nil {
		k.finish()
	}
	return kept, nil
}

// dropWaiting removes what waits on a stream; its orders that were not delivered are dropped.
func (v *Transmitter) dropWaiting(t *tx, st *transmitter.Stream) error {
	if _, err := t.exec(`UPDATE sent_order SET state = $1 WHERE tenant = $2 AND stream_id = $3 AND state = 'queued'`,
		transmitter.OrderDropped, v.tenant, st.ID); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM outbox WHERE stream = $1`, st.Key)
	return err
}

// DeleteStream implements transmitter.Store.
func (v *Transmitter) DeleteStream(ctx context.Context, receiver, id string) error {
	return v.write(ctx, pointNone, func(t *tx) error {
		if _, err := bump(t, v.tenant, "stream"); err != nil {
			return err
		}
		st, err := v.stream(t, receiver, id, v.s.d.forUpdate)
		if err != nil {
			return err
		}
		return v.removeStream(t, st)
	})
}

// removeStream removes a stream with all that is only its own. Orders and receipts stay.
func (v *Transmitter) removeStream(t *tx, st *transmitter.Stream) error {
	if err := v.dropWaiting(t, st); err != nil {
		return err
	}
	if st.Listed {
		// There is no index by stream over what may be millions of pairs; Purge looks for them. No look-up finds them any more.
		if _, err := t.exec(`INSERT INTO stream_gone (stream) VALUES ($1) ON CONFLICT DO NOTHING`, st.Key); err != nil {
			return err
		}
	}
	for _, q := range []string{`DELETE FROM stream_complex WHERE stream = $1`, `DELETE FROM dead_letter WHERE stream = $1`, `DELETE FROM stream WHERE seq = $1`} {
		if _, err := t.exec(q, st.Key); err != nil {
			return err
		}
	}
	return nil
}

// Backoff implements transmitter.Store. On PostgreSQL it is hub.Conflict where another node delivers the stream: that
// one knows better.
func (v *Transmitter) Backoff(ctx context.Context, stream int64, tr transmitter.Trouble) error {
	return v.write(ctx, pointNone, func(t *tx) error {
		if err := v.s.e.ours(t, stream); err != nil {
			return err
		}
		_, err := t.exec(`UPDATE stream SET fails = $1, next_at = $2, since = $3, fault = $4, trouble = $5 WHERE seq = $6 AND tenant = $7`,
			tr.Fails, int64(tr.Next), int64(tr.Since), tr.Open, tr.Reason, stream, v.tenant)
		return err
	})
}

// Touch implements transmitter.Store.
func (v *Transmitter) Touch(ctx context.Context, active map[int64]transmitter.Micros) error {
	if len(active) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(active)) // in one order, so that two nodes do not wait for each other
	return v.write(ctx, pointNone, func(t *tx) error {
		for rest := keys; len(rest) > 0; {
			n := chunk(len(rest))
			args := []any{v.tenant}
			for _, key := range rest[:n] {
				args = append(args, key, int64(active[key]))
			}
			rest = rest[n:]
			if _, err := t.exec(`UPDATE stream SET active = u.column2 FROM (`+bigints(2, 2, n)+`) u
				WHERE stream.seq = u.column1 AND stream.tenant = $1 AND stream.active < u.column2`, args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Idle implements transmitter.Store.
func (v *Transmitter) Idle(ctx context.Context, now transmitter.Micros) ([]transmitter.Stream, error) {
	var all []transmitter.Stream
	err := v.read(ctx, func(t *tx) error {
		all = nil
		return t.each(func(scan scanFunc) error {
			st, err := v.decode(scan)
			if err == nil && max(st.Created, st.Updated, st.Active)+transmitter.Micros(st.InactivityTimeout)*1_000_000 < now {
				all = append(all, *st)
			}
			return err
		}, `SELECT `+streamColumns+` FROM stream WHERE tenant = $1 AND status = 'enabled' AND inactivity > 0 AND active + inactivity * 1000000 < $2 ORDER BY seq`,
			v.tenant, int64(now))
	})
	return all, err
}
