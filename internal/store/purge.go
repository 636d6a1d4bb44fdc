package store

import (
	"context"
	"slices"
	"sync"

	"countersign/transmitter"
)

// purgeChunk is how many rows one transaction of Purge removes at most, so that nobody waits long behind it. What is to go
// is found beside the writer.
const purgeChunk = 1000

// Purge implements transmitter.Store.
func (v *Transmitter) Purge(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	if err := needTenant(v.tenant); err != nil || n <= 0 {
		return 0, err
	}
	total := 0
	for _, step := range []func(context.Context, int64, int) (int, error){v.purgePages, v.purgeCutPages, v.purgeSkips, v.purgeDead, v.purgeEvents, v.purgeSubjects} {
		gone, err := step(ctx, int64(before), n)
		total += gone
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// purgeSeqs removes the rows of a table whose keys a query gives, up to n, and what other statements say of the same keys.
func (v *Transmitter) purgeSeqs(ctx context.Context, find string, args []any, deletes ...string) (int, error) {
	var seqs []int64
	err := v.read(ctx, func(t *tx) error {
		seqs = nil
		return t.each(func(scan scanFunc) error {
			var seq int64
			err := scan(&seq)
			seqs = append(seqs, seq)
			return err
		}, find, args...)
	})
	total := 0
	for keys := range slices.Chunk(seqs, purgeChunk) {
		if err != nil {
			break
		}
		var gone int64
		err = v.write(ctx, pointNone, func(t *tx) (err error) {
			for _, q := range deletes { // the last one counts
				if gone, err = t.exec(q, v.s.d.ints(keys)); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			total += int(gone)
		}
	}
	return total, err
}

// purgePages removes pages of which all lines are too old.
func (v *Transmitter) purgePages(ctx context.Context, before int64, n int) (int, error) {
	type old struct{ seq, lines int64 }
	var all []old
	lines := int64(0)
	err := v.read(ctx, func(t *tx) error {
		all, lines = nil, 0
		return t.each(func(scan scanFunc) error {
			var o old
			err := scan(&o.seq, &o.lines)
			if lines < int64(n) {
				all = append(all, o)
				lines += o.lines
			}
			return err
		}, `SELECT seq, n FROM delivery_page WHERE tenant = $1 AND last_at < $2 ORDER BY last_at LIMIT $3`, v.tenant, before, n)
	})
	total := 0
	for part := range slices.Chunk(all, purgeChunk) {
		if err != nil {
			break
		}
		keys := make([]int64, len(part))
		sum := 0
		for i, o := range part {
			keys[i] = o.seq
			sum += int(o.lines)
		}
		err = v.write(ctx, pointNone, func(t *tx) error {
			_, err := t.exec(`DELETE FROM delivery_page WHERE `+v.s.d.in("seq", 1), v.s.d.ints(keys))
			return err
		})
		if err == nil {
			total += sum
		}
	}
	return total, err
}

// cutPages is how many pages are looked at for lines on both sides of the limit. A page is of one moment, nearly: those
// that the limit falls into are among the first ones that end after it.
const cutPages = 64

// purgeCutPages takes the lines that are too old out of pages that have others, too.
func (v *Transmitter) purgeCutPages(ctx context.Context, before int64, _ int) (int, error) {
	total := 0
	seqs := []int64{}
	err := v.read(ctx, func(t *tx) error {
		seqs = seqs[:0]
		return t.each(func(scan scanFunc) error {
			var seq, first int64
			err := scan(&seq, &first)
			if first < before {
				seqs = append(seqs, seq)
			}
			return err
		}, `SELECT seq, first_at FROM delivery_page WHERE tenant = $1 AND last_at >= $2 ORDER BY last_at LIMIT $3`, v.tenant, before, cutPages)
	})
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	err = v.write(ctx, pointNone, func(t *tx) error {
		total = 0
		for _, seq := range seqs {
			p := &page{tenant: v.tenant}
			found, err := t.one(`SELECT stream, entries FROM delivery_page WHERE seq = $1`+v.s.d.forUpdate, []any{seq}, &p.stream, &p.entries)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			kept, gone, err := p.without(before)
			if err != nil {
				return err
			}
			if gone == 0 {
				continue
			}
			if _, err := t.exec(`UPDATE delivery_page SET first_event = $1, last_event = $2, first_at = $3, last_at = $4, n = $5, entries = $6 WHERE seq = $7`,
				kept.firstEvent, kept.lastEvent, kept.firstAt, kept.lastAt, kept.n, blob(kept.entries), seq); err != nil {
				return err
			}
			total += int(gone)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return total, nil
}

func (v *Transmitter) purgeSkips(ctx context.Context, before int64, n int) (int, error) {
	return v.purgeSeqs(ctx, `SELECT seq FROM skip WHERE tenant = $1 AND at < $2 ORDER BY at LIMIT $3`, []any{v.tenant, before, n},
		`DELETE FROM skip WHERE `+v.s.d.in("seq", 1))
}

func (v *Transmitter) purgeDead(ctx context.Context, before int64, n int) (int, error) {
	var streams map[int64][]int64
	err := v.read(ctx, func(t *tx) error {
		streams = map[int64][]int64{}
		return t.each(func(scan scanFunc) error {
			var stream, seq int64
			err := scan(&stream, &seq)
			streams[stream] = append(streams[stream], seq)
			return err
		}, `SELECT d.stream, d.seq FROM dead_letter d JOIN stream st ON st.seq = d.stream WHERE st.tenant = $1 AND d.at < $2 ORDER BY d.at LIMIT $3`, v.tenant, before, n)
	})
	total := 0
	for stream, seqs := range streams {
		for keys := range slices.Chunk(seqs, purgeChunk) {
			if err != nil {
				return total, err
			}
			var gone int64
			err = v.write(ctx, pointNone, func(t *tx) (err error) {
				gone, err = t.exec(`DELETE FROM dead_letter WHERE stream = $1 AND at < $2 AND `+v.s.d.in("seq", 3), stream, before, v.s.d.ints(keys))
				return err
			})
			if err == nil {
				total += int(gone)
			}
		}
	}
	return total, err
}

// purgeEvents removes events that no row refers to. One statement looks for them, so that a row which is moved between the
// tables meanwhile is seen in one of them; and an event without rows never gets one again.
func (v *Transmitter) purgeEvents(ctx context.Context, before int64, n int) (int, error) {
	return v.purgeSeqs(ctx, `SELECT e.seq FROM event e LEFT JOIN outbox o ON o.event = e.seq LEFT JOIN dead_letter d ON d.event = e.seq
			WHERE e.tenant = $1 AND e.at < $2 AND o.event IS NULL AND d.event IS NULL LIMIT $3`, []any{v.tenant, before, n},
		`DELETE FROM event_body WHERE `+v.s.d.in("event", 1), `DELETE FROM event WHERE `+v.s.d.in("seq", 1))
}

// goneStreams is one pass over the subject lists that removes those of streams that are gone.
type goneStreams struct {
	mu      sync.Mutex
	streams []int64 // of this pass; empty: none is under way
	after   []byte  // key
}

// purgeSubjects removes subjects of streams that are gone. It goes through all lists in the order of their keys, some with
// each call; when it is through, the streams of that pass are forgotten.
func (v *Transmitter) purgeSubjects(ctx context.Context, _ int64, n int) (int, error) {
	g := &v.s.gone
	if !g.mu.TryLock() {
		return 0, nil
	}
	defer g.mu.Unlock()
	type pair struct {
		key, id []byte
		stream  int64
	}
	var all []pair
	err := v.read(ctx, func(t *tx) error {
		if len(g.streams) == 0 {
			g.after = []byte{}
			if err := t.each(func(scan scanFunc) error {
				var stream int64
				err := scan(&stream)
				g.streams = append(g.streams, stream)
				return err
			}, `SELECT stream FROM stream_gone ORDER BY stream LIMIT 1000`); err != nil || len(g.streams) == 0 {
				return err
			}
		}
		all = nil
		return t.each(func(scan scanFunc) error {
			var p pair
			err := scan(&p.key, &p.stream, &p.id)
			all = append(all, p)
			return err
		}, `SELECT key, stream, id FROM stream_subject WHERE key >= $1 AND `+v.s.d.in("stream", 2)+` ORDER BY key LIMIT $3`, g.after, v.s.d.ints(g.streams), n)
	})
	if err != nil || len(g.streams) == 0 {
		return 0, err
	}
	total := 0
	for part := range slices.Chunk(all, purgeChunk) {
		gone := int64(len(part))
		err := v.write(ctx, pointNone, func(t *tx) (err error) {
			if v.s.d == &postgresDialect { // one statement; it keeps nobody waiting
				gone, err = t.exec(`DELETE FROM stream_subject WHERE key >= $1 AND key <= $2 AND `+v.s.d.in("stream", 3), part[0].key, part[len(part)-1].key, v.s.d.ints(g.streams))
				return err
			}
			for _, p := range part {
				if _, err := t.exec(`DELETE FROM stream_subject WHERE key = $1 AND stream = $2 AND id = $3`, p.key, p.stream, p.id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += int(gone)
		g.after = part[len(part)-1].key
	}
	if len(all) < n {
		err := v.write(ctx, pointNone, func(t *tx) error {
			_, err := t.exec(`DELETE FROM stream_gone WHERE `+v.s.d.in("stream", 1), v.s.d.ints(g.streams))
			return err
		})
		if err != nil {
			return total, err
		}
		g.streams = nil
	}
	return total, nil
}
