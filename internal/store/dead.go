package store

import (
	"context"
	"slices"
	"unicode/utf8"

	"countersign/transmitter"
)

// Dead implements transmitter.Store.
func (v *Transmitter) Dead(ctx context.Context, stream int64, n int) ([]transmitter.DeadLetter, error) {
	var letters []transmitter.DeadLetter
	if n <= 0 {
		return nil, nil
	}
	err := v.read(ctx, func(t *tx) error {
		letters = nil
		return t.each(func(scan scanFunc) error {
			var l transmitter.DeadLetter
			var at int64
			var err error
			l.Item, err = scanItem(scan, &l.Status, &l.Reason, &at)
			l.At = transmitter.Micros(at)
			letters = append(letters, l)
			return err
		}, `SELECT `+itemColumns+`, o.status, o.reason, o.at FROM dead_letter o`+itemJoins+`
			WHERE o.stream = $1 AND e.tenant = $2 ORDER BY o.at DESC, o.seq DESC LIMIT $3`, stream, v.tenant, n)
	})
	return letters, err
}

// moveAtOnce is how many rows one transaction of Redrive and Expire moves, so that nobody waits long behind it.
const moveAtOnce = 2000

// Redrive implements transmitter.Store. Many letters are moved in several transactions, each of them whole.
func (v *Transmitter) Redrive(ctx context.Context, which transmitter.DeadFilter) (int, error) {
	if err := needTenant(v.tenant); err != nil {
		return 0, err
	}
	w := &filter{args: []any{v.tenant}}
	w.where.WriteString(` WHERE st.tenant = $1 AND st.status <> 'disabled' AND coalesce(s.withdrawn, 0) = 0`)
	w.and(`d.jti = ?`, which.JTI)
	if which.Stream != 0 {
		w.add(`d.stream = ?`, which.Stream)
	}
	if which.Seq != 0 {
		w.add(`d.seq = ?`, which.Seq)
	}
	if which.Reason != "" {
		w.add(`substr(d.reason, 1, `+itoa(utf8.RuneCountInString(which.Reason))+`) = ?`, which.Reason)
	}
	total := 0
	for {
		moved := 0
		err := v.write(ctx, pointRedrive, func(t *tx) error {
			moved = 0
			// No stream is disabled or removed meanwhile.
			if err := v.s.fresh(t, &keeping{tenant: v.tenant, loose: true}); err != nil {
				return err
			}
			found := map[int64][]int64{}
			var orders []int64
			var streams []int64
			lock := ""
			if v.s.d == &postgresDialect {
				lock = ` FOR UPDATE OF d`
			}
			err := t.each(func(scan scanFunc) error {
				var stream, seq, order int64
				err := scan(&stream, &seq, &order)
				if len(found[stream]) == 0 {
					streams = append(streams, stream)
				}
				found[stream] = append(found[stream], seq)
				if order != 0 {
					orders = append(orders, order)
				}
				moved++
				return err
			}, `SELECT d.stream, d.seq, d.sent_order FROM dead_letter d JOIN stream st ON st.seq = d.stream LEFT JOIN sent_order s ON s.seq = d.sent_order`+
				w.where.String()+` ORDER BY d.stream, d.seq LIMIT `+itoa(moveAtOnce)+lock, w.args...)
			if err != nil {
				return err
			}
			for _, stream := range streams {
				seqs := v.s.d.ints(found[stream])
				// OVERRIDING SYSTEM VALUE is not needed: seq is an identity BY DEFAULT on PostgreSQL.
				if _, err := t.exec(`INSERT INTO outbox (`+outboxColumns+`) SELECT `+outboxColumns+` FROM dead_letter WHERE stream = $1 AND `+v.s.d.in("seq", 2), stream, seqs); err != nil {
					return err
				}
				if which.At != 0 {
					if _, err := t.exec(`INSERT INTO redriven (tenant, stream, seq, at) SELECT $1, stream, seq, $2 FROM dead_letter WHERE stream = $3 AND `+v.s.d.in("seq", 4)+
						` ON CONFLICT (stream, seq) DO UPDATE SET at = excluded.at`, v.tenant, int64(which.At), stream, seqs); err != nil {
						return err
					}
				}
				if _, err := t.exec(`DELETE FROM dead_letter WHERE stream = $1 AND `+v.s.d.in("seq", 2), stream, seqs); err != nil {
					return err
				}
			}
			if len(orders) == 0 {
				return nil
			}
			_, err = t.exec(`UPDATE sent_order SET state = $1, arrived = 0 WHERE state IN ('rejected', 'expired') AND `+v.s.d.in("seq", 2), transmitter.OrderQueued, v.s.d.ints(orders))
			return err
		})
		if err != nil {
			return total, err
		}
		total += moved
		if moved < moveAtOnce {
			return total, nil
		}
	}
}

// Expire implements transmitter.Store. Which rows are too old is found beside the writer.
func (v *Transmitter) Expire(ctx context.Context, before transmitter.Micros, n int) (int, error) {
	if n <= 0 {
		return 0, needTenant(v.tenant)
	}
	at := max(transmitter.Micros(v.s.now()), before)
	a := &acks{tenant: v.tenant, expired: true}
	err := v.read(ctx, func(t *tx) error {
		a.outcomes = nil
		var old int
		if found, err := t.one(`SELECT 1 FROM event WHERE tenant = $1 AND at > 0 AND at < $2 LIMIT 1`, []any{v.tenant, int64(before)}, &old); err != nil || !found {
			return err
		}
		return t.each(func(scan scanFunc) error {
			o := transmitter.Outcome{Dead: true, Reason: "expired", At: at}
			err := scan(&o.Stream, &o.Seq, &o.JTI, &o.Event)
			a.outcomes = append(a.outcomes, o)
			return err
		}, `SELECT o.stream, o.seq, o.jti, o.event FROM outbox o CROSS JOIN event e
			WHERE e.seq = o.event AND e.tenant = $1 AND e.at > 0 AND e.at < $2
			AND NOT EXISTS (SELECT 1 FROM redriven r WHERE r.stream = o.stream AND r.seq = o.seq AND r.at >= $2) LIMIT $3`, v.tenant, int64(before), n)
	})
	total := 0
	for rest := a.outcomes; err == nil && len(rest) > 0; {
		k := min(len(rest), moveAtOnce)
		found := rest[:k]
		part := &acks{tenant: v.tenant, expired: true}
		rest = rest[k:]
		err = v.write(ctx, pointExpire, func(t *tx) (err error) {
			if part.outcomes, err = v.notRedriven(t, found, before); err != nil {
				return err
			}
			return v.s.e.ack(t, part)
		})
		if err == nil {
			total += part.ended
		}
	}
	if err == nil {
		err = v.forgetRedriven(ctx, before)
	}
	return total, err
}

// notRedriven gives those of the rows that are still there and were not put back since they were found: given up by another
// process meanwhile, and redriven, they are young again. Where others write beside, they are held until the end, so that
// nobody puts them back in between.
func (v *Transmitter) notRedriven(t *tx, found []transmitter.Outcome, before transmitter.Micros) ([]transmitter.Outcome, error) {
	type place struct{ stream, seq int64 }
	held := map[place]bool{}
	if v.s.d == &postgresDialect {
		seqs := map[int64][]int64{}
		for i := range found {
			seqs[found[i].Stream] = append(seqs[found[i].Stream], found[i].Seq)
		}
		for _, stream := range mapKeys(seqs) {
			err := t.each(func(scan scanFunc) error {
				p := place{stream: stream}
				err := scan(&p.seq)
				held[p] = true
				return err
			}, `SELECT seq FROM outbox WHERE stream = $1 AND `+v.s.d.in("seq", 2)+` ORDER BY seq FOR UPDATE`, stream, v.s.d.ints(seqs[stream]))
			if err != nil {
				return nil, err
			}
		}
	}
	again := map[place]bool{}
	err := t.each(func(scan scanFunc) error {
		var p place
		err := scan(&p.stream, &p.seq)
		again[p] = true
		return err
	}, `SELECT stream, seq FROM redriven WHERE tenant = $1 AND at >= $2`, v.tenant, int64(before))
	return slices.DeleteFunc(slices.Clone(found), func(o transmitter.Outcome) bool {
		p := place{o.Stream, o.Seq}
		return again[p] || v.s.d == &postgresDialect && !held[p]
	}), err
}

// forgetRedriven forgets redrives that say nothing of the age of a row any more.
func (v *Transmitter) forgetRedriven(ctx context.Context, before transmitter.Micros) error {
	var old int
	found := false
	err := v.read(ctx, func(t *tx) (err error) {
		found, err = t.one(`SELECT 1 FROM redriven WHERE tenant = $1 AND at < $2 LIMIT 1`, []any{v.tenant, int64(before)}, &old)
		return err
	})
	if err != nil || !found {
		return err
	}
	return v.write(ctx, pointNone, func(t *tx) error {
		_, err := t.exec(`DELETE FROM redriven WHERE tenant = $1 AND at < $2`, v.tenant, int64(before))
		return err
	})
}
