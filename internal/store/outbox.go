package store

import (
	"context"

	"countersign/transmitter"
)

// Enqueue implements transmitter.Store.
func (v *Transmitter) Enqueue(ctx context.Context, out *transmitter.Outgoing) error {
	if err := needTenant(v.tenant); err != nil {
		return err
	}
	return v.s.runKeep(ctx, &keeping{tenant: v.tenant, out: out})
}

// Waiting implements transmitter.Store.
func (v *Transmitter) Waiting(ctx context.Context) ([]int64, error) {
	var keys []int64
	err := v.read(ctx, func(t *tx) error {
		keys = nil
		return t.each(func(scan scanFunc) error {
			var k int64
			err := scan(&k)
			keys = append(keys, k)
			return err
		}, `SELECT seq FROM stream WHERE tenant = $1 AND EXISTS (SELECT 1 FROM outbox WHERE outbox.stream = stream.seq) ORDER BY seq`, v.tenant)
	})
	return keys, err
}

// itemColumns are those of a row o with its event e and order s. A body of the row's own is looked for only where it
// has one, which a join would not see.
const itemColumns = `o.stream, o.seq, o.jti, o.issued_at, o.kid, o.alg, o.parting, coalesce(s.input, ''), e.seq, e.type, e.subject, e.txn, e.at,
	CASE o.body WHEN 0 THEN e.body ELSE (SELECT b.body FROM event_body b WHERE b.event = o.event AND b.no = o.body) END`

const itemJoins = ` JOIN event e ON e.seq = o.event LEFT JOIN sent_order s ON s.seq = o.sent_order`

func scanItem(scan scanFunc, more ...any) (transmitter.Item, error) {
	it := transmitter.Item{Event: &transmitter.Event{}}
	var subject []byte
	var at int64
	err := scan(append([]any{&it.Stream, &it.Seq, &it.JTI, &it.IssuedAt, &it.KeyID, &it.Algorithm, &it.Parting, &it.Input,
		&it.Event.Key, &it.Event.Type, &subject, &it.Event.TXN, &at, &it.Event.Body}, more...)...)
	copy(it.Event.Subject[:], subject)
	it.Event.At = transmitter.Micros(at)
	return it, err
}

func (v *Transmitter) items(ctx context.Context, most int, query string, args ...any) ([]transmitter.Item, error) {
	items := make([]transmitter.Item, 0, most)
	err := v.read(ctx, func(t *tx) error {
		items = items[:0]
		return t.each(func(scan scanFunc) error {
			it, err := scanItem(scan)
			items = append(items, it)
			return err
		}, query, args...)
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Next implements transmitter.Store.
func (v *Transmitter) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	if n <= 0 {
		return nil, nil
	}
	return v.items(ctx, min(n, 256), `SELECT `+itemColumns+` FROM outbox o`+itemJoins+`
		WHERE o.stream = $1 AND o.seq > $2 AND e.tenant = $3 ORDER BY o.seq LIMIT $4`, stream, after, v.tenant, n)
}

// Parting implements transmitter.Store.
func (v *Transmitter) Parting(ctx context.Context) ([]transmitter.Item, error) {
	return v.items(ctx, 0, `SELECT `+itemColumns+` FROM outbox o`+itemJoins+` WHERE o.parting AND e.tenant = $1 ORDER BY o.seq`, v.tenant)
}

// pollWindow is how many of the lowest waiting rows of a stream Acknowledge looks at beyond as many as there are jtis.
//
// There is no index by jti over the waiting rows: each SET of every stream, pushed ones too, would pay for an insert and a
// removal at a random place. Measured on SQLite with BenchmarkAck, it makes the end of 64 delivered rows cost 1.2 ms of
// processor time instead of 0.2. What was polled lies among the lowest rows of its stream, because a poll gives the
// lowest first and what is not acknowledged again, so a look at those finds it at once.
const pollWindow = 1 << 16

// Acknowledge implements transmitter.Store.
func (v *Transmitter) Acknowledge(ctx context.Context, stream int64, acked []string, refused []transmitter.Refusal, at transmitter.Micros) (int, error) {
	named := make(map[string]*transmitter.Refusal, len(acked)+len(refused)) // nil: delivered
	for i := range refused {
		named[refused[i].JTI] = &refused[i]
	}
	for _, jti := range acked {
		named[jti] = nil
	}
	if len(named) == 0 {
		return 0, needTenant(v.tenant)
	}
	a := &acks{tenant: v.tenant}
	err := v.read(ctx, func(t *tx) error {
		a.outcomes = nil
		var after int64 = -1 << 62
		left := len(named) + pollWindow
		for page := len(named) + 64; left > 0 && len(a.outcomes) < len(named); page *= 4 {
			page = min(page, 8192, left)
			n := 0
			err := t.each(func(scan scanFunc) error {
				n++
				o := transmitter.Outcome{Stream: stream, At: at}
				var order int64
				if err := scan(&o.Seq, &o.JTI, &o.Event, &order); err != nil {
					return err
				}
				after = o.Seq
				r, ok := named[o.JTI]
				if !ok {
					return nil
				}
				o.Plain = order == 0
				if r != nil {
					o.Dead, o.Reason = true, shorten(r.Reason())
				}
				a.outcomes = append(a.outcomes, o)
				return nil
			}, `SELECT o.seq, o.jti, o.event, o.sent_order FROM outbox o WHERE o.stream = $1 AND o.seq > $2
				AND EXISTS (SELECT 1 FROM stream st WHERE st.seq = $1 AND st.tenant = $3) ORDER BY o.seq LIMIT $4`, stream, after, v.tenant, page)
			if err != nil || n < page {
				return err
			}
			left -= n
		}
		return nil
	})
	if err != nil || len(a.outcomes) == 0 {
		return 0, err
	}
	err = v.write(ctx, pointPoll, func(t *tx) error { return v.s.e.ack(t, a) })
	if err != nil {
		return 0, err
	}
	return a.ended, nil
}

// shorten cuts the words of a stranger to a length that fits, and to text that both engines keep.
func shorten(s string) string {
	const most = 1024
	if len(s) <= most && goodText(s) == nil {
		return s
	}
	out := make([]rune, 0, min(len(s), most))
	for _, r := range s {
		if r == 0 {
			r = '\uFFFD'
		}
		if out = append(out, r); len(string(out)) > most {
			return string(out[:len(out)-1])
		}
	}
	return string(out)
}

// Counts implements transmitter.Store. The oldest row is the one of lowest seq.
func (v *Transmitter) Counts(ctx context.Context, stream int64) (transmitter.Counts, error) {
	var c transmitter.Counts
	err := v.read(ctx, func(t *tx) error {
		var oldest int64
		_, err := t.one(`SELECT (SELECT count(*) FROM outbox o WHERE o.stream = stream.seq), delivered, (SELECT count(*) FROM dead_letter d WHERE d.stream = stream.seq),
				coalesce((SELECT e.at FROM outbox o JOIN event e ON e.seq = o.event WHERE o.stream = stream.seq ORDER BY o.seq LIMIT 1), 0), subjects
			FROM stream WHERE seq = $1 AND tenant = $2`, []any{stream, v.tenant}, &c.Waiting, &c.Delivered, &c.Dead, &oldest, &c.Subjects)
		c.Oldest = transmitter.Micros(oldest)
		return err
	})
	return c, err
}

// KeysInUse implements transmitter.Store.
func (v *Transmitter) KeysInUse(ctx context.Context) (map[string]int64, error) {
	used := map[string]int64{}
	err := v.read(ctx, func(t *tx) error {
		clear(used)
		for _, table := range []string{"outbox", "dead_letter"} {
			err := t.each(func(scan scanFunc) error {
				var kid string
				var n int64
				err := scan(&kid, &n)
				used[kid] += n
				return err
			}, `SELECT o.kid, count(*) FROM `+table+` o JOIN stream st ON st.seq = o.stream WHERE st.tenant = $1 GROUP BY o.kid`, v.tenant)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}
