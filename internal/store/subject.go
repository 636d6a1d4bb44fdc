package store

import (
	"context"
	"encoding/json"
	"slices"

	"countersign/transmitter"
)

// How an entry of a subject list lies in stream_subject.
const (
	subjectOff = 1 << iota
	subjectVerified
)

// simple reports whether an entry is all in its key.
func simple(e *transmitter.SubjectEntry) bool {
	return e.Subject == nil && len(e.Keys) == 1 && e.Keys[0] == e.ID
}

// PutSubject implements transmitter.Store.
func (v *Transmitter) PutSubject(ctx context.Context, e *transmitter.SubjectEntry, limit int64) error {
	keys := uniqueKeys(e.Keys)
	if len(keys) == 0 {
		keys = [][16]byte{e.ID}
	}
	flags := 0
	if e.Off {
		flags |= subjectOff
	}
	if e.Verified {
		flags |= subjectVerified
	}
	id := e.ID[:]
	if simple(e) {
		id = []byte{}
	}
	return v.write(ctx, pointNone, func(t *tx) error {
		var listed bool
		var n int64
		found, err := t.one(`SELECT listed, subjects FROM stream WHERE seq = $1 AND tenant = $2`, []any{e.Stream, v.tenant}, &listed, &n)
		if err != nil {
			return err
		}
		if !found {
			return transmitter.ErrNotFound
		}
		if !listed {
			// The generation is locked before the stream, as everywhere.
			gen, err := bump(t, v.tenant, "stream")
			if err != nil {
				return err
			}
			if _, err := t.exec(`UPDATE stream SET listed = $1, generation = $2 WHERE seq = $3`, true, gen, e.Stream); err != nil {
				return err
			}
		}
		// Two calls for one stream come one after the other from here on.
		if found, err = t.one(`SELECT subjects FROM stream WHERE seq = $1`+v.s.d.forUpdate, []any{e.Stream}, &n); err != nil {
			return err
		}
		if !found {
			return transmitter.ErrNotFound
		}
		had, err := v.dropSubject(t, e.Stream, e.ID)
		if err != nil {
			return err
		}
		if !had {
			if limit > 0 && n >= limit {
				return transmitter.ErrTooMany
			}
			if _, err := t.exec(`UPDATE stream SET subjects = subjects + 1 WHERE seq = $1`, e.Stream); err != nil {
				return err
			}
		}
		for _, key := range keys {
			if _, err := t.exec(`INSERT INTO stream_subject (key, stream, id, flags, until, at) VALUES ($1, $2, $3, $4, $5, $6)`,
				key[:], e.Stream, id, flags, int64(e.Until), int64(e.At)); err != nil {
				return err
			}
		}
		if len(id) == 0 {
			return nil
		}
		all := make([]byte, 0, 16*len(keys))
		for _, key := range keys {
			all = append(all, key[:]...)
		}
		_, err = t.exec(`INSERT INTO stream_complex (stream, id, keys, subject) VALUES ($1, $2, $3, $4)`, e.Stream, e.ID[:], all, string(e.Subject))
		return err
	})
}

// dropSubject removes the entry of an id, and reports whether there was one.
func (v *Transmitter) dropSubject(t *tx, stream int64, id [16]byte) (bool, error) {
	had, err := t.exec(`DELETE FROM stream_subject WHERE key = $1 AND stream = $2 AND id = $3`, id[:], stream, []byte{})
	if err != nil || had > 0 {
		return had > 0, err
	}
	var keys []byte
	found, err := t.one(`DELETE FROM stream_complex WHERE stream = $1 AND id = $2 RETURNING keys`, []any{stream, id[:]}, &keys)
	if err != nil || !found {
		return false, err
	}
	for key := range slices.Chunk(keys, 16) {
		if _, err := t.exec(`DELETE FROM stream_subject WHERE key = $1 AND stream = $2 AND id = $3`, key, stream, id[:]); err != nil {
			return false, err
		}
	}
	return true, nil
}

func uniqueKeys(keys [][16]byte) [][16]byte {
	out := make([][16]byte, 0, len(keys))
next:
	for _, k := range keys {
		for _, o := range out {
			if o == k {
				continue next
			}
		}
		out = append(out, k)
	}
	return out
}

// subjectSelect looks up by one key. Pairs of streams that are gone are still there for a while; the join leaves them out.
// It is a CROSS JOIN because SQLite would look up each stream of the tenant with the key otherwise.
const subjectSelect = `SELECT s.stream, s.id, s.flags, s.until, s.at, coalesce(c.keys, s.key), coalesce(c.subject, '')
	FROM stream_subject s CROSS JOIN stream st LEFT JOIN stream_complex c ON c.stream = s.stream AND c.id = s.id
	WHERE s.key = $1 AND st.seq = s.stream AND st.tenant = $2`

// Subjects implements transmitter.Store.
func (v *Transmitter) Subjects(ctx context.Context, keys [][16]byte) ([]transmitter.SubjectEntry, error) {
	var all []transmitter.SubjectEntry
	type which struct {
		stream int64
		id     [16]byte
	}
	var seen map[which]bool
	err := v.read(ctx, func(t *tx) error {
		for i, key := range keys {
			err := t.each(func(scan scanFunc) error {
				var e transmitter.SubjectEntry
				var id, all16 []byte
				var flags, until, at int64
				var subject string
				if err := scan(&e.Stream, &id, &flags, &until, &at, &all16, &subject); err != nil {
					return err
				}
				if len(id) == 0 {
					id = key[:]
				}
				copy(e.ID[:], id)
				if len(keys) > 1 {
					if seen == nil {
						seen = map[which]bool{}
					}
					w := which{e.Stream, e.ID}
					if seen[w] {
						return nil
					}
					seen[w] = true
				}
				for k := range slices.Chunk(all16, 16) {
					e.Keys = append(e.Keys, [16]byte(k))
				}
				if subject != "" {
					e.Subject = json.RawMessage(subject)
				}
				e.Off, e.Verified = flags&subjectOff != 0, flags&subjectVerified != 0
				e.Until, e.At = transmitter.Micros(until), transmitter.Micros(at)
				all = append(all, e)
				return nil
			}, subjectSelect, keys[i][:], v.tenant)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
