package store

import (
	"github.com/jackc/pgx/v5"
)

// columns collects rows as one array for each column, which is how unnest takes them.
type columns struct {
	texts map[int][]string
	ints  map[int][]int64
	bools map[int][]bool
	blobs map[int][][]byte
	n     int
	width int
}

func (c *columns) add(row ...any) {
	if c.n == 0 {
		c.texts, c.ints, c.bools, c.blobs = map[int][]string{}, map[int][]int64{}, map[int][]bool{}, map[int][][]byte{}
		c.width = len(row)
	}
	for i, v := range row {
		switch v := v.(type) {
		case string:
			c.texts[i] = append(c.texts[i], v)
		case int64:
			c.ints[i] = append(c.ints[i], v)
		case int:
			c.ints[i] = append(c.ints[i], int64(v))
		case bool:
			c.bools[i] = append(c.bools[i], v)
		case []byte:
			c.blobs[i] = append(c.blobs[i], v)
		default:
			panic("store: a column of no known type")
		}
	}
	c.n++
}

func (c *columns) args() []any {
	args := make([]any, c.width)
	for i := range args {
		switch {
		case c.texts[i] != nil:
			args[i] = c.texts[i]
		case c.ints[i] != nil:
			args[i] = c.ints[i]
		case c.bools[i] != nil:
			args[i] = c.bools[i]
		default:
			args[i] = c.blobs[i]
		}
	}
	return args
}

// keepBatch is the keepings of one round trip.
type keepBatch struct {
	s     *Store
	ks    []*keeping
	bySeq map[int64]*keeping
}

func newKeepBatch(s *Store, ops []*op) *keepBatch {
	b := &keepBatch{s: s, bySeq: map[int64]*keeping{}}
	for _, o := range ops {
		if k := o.keep; k != nil {
			k.reset()
			b.ks = append(b.ks, k)
		}
	}
	return b
}

func (b *keepBatch) any() bool { return len(b.ks) > 0 }

// The hot statements of PostgreSQL. Each row carries what it depends on: gen is the generation of streams it was
// matched against (0: any), and what belongs to a signal is written only where the signal was.
const (
	pgLockStreams = `SELECT tenant FROM generation WHERE kind = 'stream' AND tenant = ANY($1::text[]) ORDER BY tenant FOR SHARE`

	pgFresh = `(u.gen = 0 OR EXISTS (SELECT 1 FROM generation g WHERE g.tenant = u.tenant AND g.kind = 'stream' AND g.value = u.gen))`

	pgKeepKeys = `INSERT INTO idempotency (tenant, client, key, body_hash, ref, at)
		SELECT tenant, client, key, body_hash, ref, at
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) u (tenant, client, key, body_hash, ref, at, gen)
		WHERE ` + pgFresh + ` ON CONFLICT (tenant, client, key) DO NOTHING`

	pgKeepSignals = `INSERT INTO signal (` + signalColumns + `)
		SELECT ` + signalColumns + `
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[],
			$12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $21::boolean[],
			$22::bigint[], $23::boolean[], $24::text[], $25::text[]) u (` + signalColumns + `, gen, has_key, client, key)
		WHERE ` + pgFresh + ` AND (NOT u.has_key OR EXISTS (
			SELECT 1 FROM idempotency i WHERE i.tenant = u.tenant AND i.client = u.client AND i.key = u.key AND i.ref = u.id))
		ON CONFLICT (tenant, source, jti) DO NOTHING RETURNING seq`

	pgKeepOrders = `INSERT INTO received_order (` + orderColumns + `)
		SELECT ` + orderColumns + `
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
			$11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[]) u (` + orderColumns + `)
		WHERE EXISTS (SELECT 1 FROM signal s WHERE s.seq = u.signal)`

	pgKeepJobs = `INSERT INTO job (` + jobColumns + `)
		SELECT ` + jobColumns + `
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::boolean[]) u (` + jobColumns + `)
		WHERE EXISTS (SELECT 1 FROM signal s WHERE s.seq = u.ref)`

	pgKeepEvents = `INSERT INTO event (` + eventColumns + `)
		SELECT ` + eventColumns + `
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[]) u (` + eventColumns + `, gen, signal)
		WHERE ` + pgFresh + ` AND (u.signal = 0 OR EXISTS (SELECT 1 FROM signal s WHERE s.seq = u.signal)) RETURNING seq`

	pgKeepBodies = `INSERT INTO event_body (` + bodyColumns + `)
		SELECT u.event, u.no, u.body FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) u (` + bodyColumns + `) JOIN event e ON e.seq = u.event`

	pgKeepSkips = `INSERT INTO skip (` + skipColumns + `)
		SELECT u.tenant, u.stream, u.event, u.reason, u.at FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) u (` + skipColumns + `)
		JOIN event e ON e.seq = u.event`

	pgKeepSent = `INSERT INTO sent_order (` + sentColumns + `)
		SELECT u.seq, u.tenant, u.receiver, u.receipt_issuer, u.jti, u.stream_id, u.receipt_audience, u.set_hash, u.input, u.event_type, u.txn, u.issued_at, u.complete_by, u.state, u.disputed, u.interim_by, u.receipt_when, u.agreed
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
			$12::bigint[], $13::bigint[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::text[], $19::bigint[], $20::bigint[]) u (` + sentColumns + `, stream, event)
		JOIN stream st ON st.seq = u.stream AND st.tenant = u.tenant AND st.status <> 'disabled' JOIN event e ON e.seq = u.event`

	pgKeepOutbox = `INSERT INTO outbox (stream, event, jti, issued_at, kid, alg, sent_order, body, parting)
		SELECT u.stream, u.event, u.jti, u.issued_at, u.kid, u.alg, u.sent_order, u.body, u.parting
		FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::boolean[], $10::text[], $11::bigint[])
			u (stream, event, jti, issued_at, kid, alg, sent_order, body, parting, tenant, n)
		JOIN stream st ON st.seq = u.stream AND st.tenant = u.tenant AND (u.parting OR st.status <> 'disabled') JOIN event e ON e.seq = u.event
		ORDER BY u.n RETURNING stream, event, jti, seq`
)

// queue adds the statements to the round trip, with what is done with their answers.
func (b *keepBatch) queue(out *pgx.Batch) {
	if len(b.ks) == 0 {
		return
	}
	var keys, signals, orders, jobs, events, bodies, skips, sent, rows columns
	tenants := map[string]bool{}
	n := 0
	for _, k := range b.ks {
		gen := int64(0)
		if k.out != nil {
			gen = k.out.Generation
			tenants[k.tenant] = true
		}
		if k.idem != nil {
			keys.add(k.tenant, k.idem.Client, k.idem.Key, k.idem.BodyHash, k.sig.ID, int64(k.at), gen)
		}
		if k.sig != nil {
			b.bySeq[k.seq] = k
			client, key := "", ""
			if k.idem != nil {
				client, key = k.idem.Client, k.idem.Key
			}
			signals.add(append(k.signalRow(), gen, k.idem != nil, client, key)...)
			if k.sig.Order != nil {
				orders.add(k.orderRow()...)
			}
			if j := k.job(b.s); j != nil {
				jobs.add(k.jobRow(j)...)
			}
		}
		if k.out == nil {
			continue
		}
		b.bySeq[k.event] = k
		signal := int64(0)
		if k.sig != nil {
			signal = k.seq
		}
		events.add(append(k.eventRow(), gen, signal)...)
		for i, b := range k.bodies {
			bodies.add(k.event, int64(i+1), b)
		}
		for i := range k.out.Skips {
			skips.add(k.skipRow(i)...)
		}
		for i := range k.out.Rows {
			r := &k.out.Rows[i]
			if r.Order != nil {
				sent.add(append(k.sentRow(i), r.Stream, k.event)...)
			}
			rows.add(r.Stream, k.event, r.JTI, r.IssuedAt, r.KeyID, r.Algorithm, k.orders[i], k.body(i), r.Parting, k.tenant, n)
			n++
		}
	}
	if len(tenants) > 0 {
		names := make([]string, 0, len(tenants))
		for name := range tenants {
			names = append(names, name)
		}
		out.Queue(pgLockStreams, names)
	}
	if keys.n > 0 {
		out.Queue(pgKeepKeys, keys.args()...)
	}
	if signals.n > 0 {
		out.Queue(pgKeepSignals, signals.args()...).Query(func(res pgx.Rows) error {
			return b.scanSeqs(res, func(k *keeping) { k.isNew(b.s) })
		})
	}
	for _, next := range []struct {
		c *columns
		q string
	}{{&orders, pgKeepOrders}, {&jobs, pgKeepJobs}} {
		if next.c.n > 0 {
			out.Queue(next.q, next.c.args()...)
		}
	}
	if events.n > 0 {
		out.Queue(pgKeepEvents, events.args()...).Query(func(res pgx.Rows) error {
			return b.scanSeqs(res, func(k *keeping) { k.wrote = true })
		})
	}
	for _, next := range []struct {
		c *columns
		q string
	}{{&bodies, pgKeepBodies}, {&skips, pgKeepSkips}, {&sent, pgKeepSent}} {
		if next.c.n > 0 {
			out.Queue(next.q, next.c.args()...)
		}
	}
	if rows.n > 0 {
		out.Queue(pgKeepOutbox, rows.args()...).Query(b.scanRows)
	}
}

func (b *keepBatch) scanSeqs(res pgx.Rows, f func(*keeping)) error {
	for res.Next() {
		var seq int64
		if err := res.Scan(&seq); err != nil {
			return err
		}
		f(b.bySeq[seq])
	}
	return res.Err()
}

func (b *keepBatch) scanRows(res pgx.Rows) error {
	for res.Next() {
		var stream, event, seq int64
		var jti string
		if err := res.Scan(&stream, &event, &jti, &seq); err != nil {
			return err
		}
		k := b.bySeq[event]
		for i := range k.out.Rows {
			if r := &k.out.Rows[i]; r.Stream == stream && r.JTI == jti {
				k.rows[i] = seq
			}
		}
	}
	return res.Err()
}
