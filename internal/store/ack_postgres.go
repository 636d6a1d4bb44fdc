package store

import (
	"context"
	"strings"

	"countersign/transmitter"

	"github.com/jackc/pgx/v5"
)

// pgAck ends rows in one statement. The lines of the history come ready made, each with the row it is of; the server
// puts the pages together from those whose rows it found.
const pgAck = `WITH gone AS (
		DELETE FROM outbox o
		USING unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bytea[], $11::text[], $12::bigint[])
			u (stream, seq, dead, status, reason, at, jti, tries, first_at, line, state, arrived)
		WHERE o.stream = u.stream AND o.seq = u.seq AND o.jti = u.jti
		RETURNING o.stream, o.seq, o.event, o.jti, o.issued_at, o.kid, o.alg, o.sent_order, o.body, o.parting, u.dead, u.status, u.reason, u.at, u.tries, u.first_at, u.line, u.state, u.arrived
	), aside AS (
		INSERT INTO dead_letter (` + outboxColumns + `, status, reason, at, tries, first_at)
		SELECT ` + outboxColumns + `, status, reason, at, tries, first_at FROM gone WHERE dead
	), ordered AS (
		UPDATE sent_order SET state = gone.state, arrived = gone.arrived
		FROM gone WHERE gone.sent_order <> 0 AND sent_order.seq = gone.sent_order AND sent_order.state = '` + transmitter.OrderQueued + `'
	), counted AS (
		UPDATE stream SET delivered = delivered + c.n
		FROM (SELECT stream, count(*) AS n FROM gone WHERE NOT dead GROUP BY stream ORDER BY stream) c WHERE stream.seq = c.stream
	), paged AS (
		INSERT INTO delivery_page (` + pageColumns + `)
		SELECT h.tenant, g.stream, min(g.event), max(g.event), min(g.at), max(g.at), count(*), h.head || string_agg(g.line, ''::bytea ORDER BY g.seq)
		FROM gone g JOIN unnest($13::bigint[], $14::text[], $15::bytea[]) h (stream, tenant, head) ON h.stream = g.stream
		GROUP BY g.stream, h.tenant, h.head
	)
	SELECT count(*) FROM gone`

// pgAckArgs are the parameters of pgAck; nil where there is nothing to end.
func pgAckArgs(as []*acks) []any {
	var c, heads columns
	bases := map[int64]pageBase{}
	for _, a := range as {
		for i := range a.outcomes {
			o := a.outcomes[i]
			o.Reason = strings.ToValidUTF8(o.Reason, "�")
			base, ok := bases[o.Stream]
			if !ok {
				base = pageBase{event: o.Event, at: int64(o.At)}
				bases[o.Stream] = base
				heads.add(o.Stream, a.tenant, base.appendTo(nil))
			}
			c.add(o.Stream, o.Seq, o.Dead, o.Status, o.Reason, int64(o.At), o.JTI, o.Tries, int64(o.First), base.appendLine(nil, &o), a.orderState(&o), a.arrived(&o))
		}
	}
	if c.n == 0 {
		return nil
	}
	return append(c.args(), heads.args()...)
}

// ackBatch is the outcomes of one round trip.
type ackBatch struct{ as []*acks }

func newAckBatch(ops []*op) *ackBatch {
	b := &ackBatch{}
	for _, o := range ops {
		if o.acks != nil {
			b.as = append(b.as, o.acks)
		}
	}
	return b
}

func (b *ackBatch) queue(out *pgx.Batch) {
	if args := pgAckArgs(b.as); args != nil {
		out.Queue(pgAck, args...)
	}
}

// complete looks up what the outcomes do not say of their rows, which a pump of this version always does.
func (e *pg) complete(ctx context.Context, a *acks) error {
	for i := range a.outcomes {
		if o := &a.outcomes[i]; o.JTI == "" || o.Event == 0 {
			left, err := e.s.present(&tx{ctx: ctx, q: e.reader()}, a.outcomes, map[[2]int64]bool{})
			a.outcomes = left
			return err
		}
	}
	return nil
}

// ack ends rows within a transaction of another kind.
func (e *pg) ack(t *tx, a *acks) error {
	a.ended = 0
	args := pgAckArgs([]*acks{a})
	if args == nil {
		return nil
	}
	_, err := t.one(pgAck, args, &a.ended)
	return err
}
