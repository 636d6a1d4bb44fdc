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
		USING unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[], $6::boolean[]) u (stream, seq, jti, at, line, dead)
		WHERE o.stream = u.stream AND o.seq = u.seq AND o.jti = u.jti
		RETURNING o.stream, o.seq, o.event, o.jti, o.issued_at, o.kid, o.alg, o.sent_order, o.body, o.parting, u.at, u.line, u.dead
	), aside AS (
		INSERT INTO dead_letter (` + outboxColumns + `, status, reason, at, tries, first_at)
		SELECT ` + goneColumns + `, d.status, d.reason, g.at, d.tries, d.first_at
		FROM gone g JOIN unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::text[], $11::bigint[], $12::bigint[]) d (stream, seq, status, reason, tries, first_at)
			ON d.stream = g.stream AND d.seq = g.seq WHERE g.dead
	), ordered AS (
		UPDATE sent_order SET state = CASE WHEN NOT gone.dead THEN '` + transmitter.OrderDelivered + `' WHEN $13::boolean THEN '` + transmitter.OrderExpired + `' ELSE '` + transmitter.OrderRejected + `' END,
			arrived = CASE WHEN $13::boolean THEN 0 ELSE gone.at END
		FROM gone WHERE gone.sent_order <> 0 AND sent_order.seq = gone.sent_order AND sent_order.state = '` + transmitter.OrderQueued + `'
	), counted AS (
		UPDATE stream SET delivered = delivered + c.n
		FROM (SELECT stream, count(*) AS n FROM gone WHERE NOT dead GROUP BY stream ORDER BY stream) c WHERE stream.seq = c.stream
	), paged AS (
		INSERT INTO delivery_page (` + pageColumns + `)
		SELECT h.tenant, g.stream, min(g.event), max(g.event), min(g.at), max(g.at), count(*), h.head || string_agg(g.line, ''::bytea ORDER BY g.seq)
		FROM gone g JOIN unnest($14::bigint[], $15::text[], $16::bytea[]) h (stream, tenant, head) ON h.stream = g.stream
		GROUP BY g.stream, h.tenant, h.head
	)
	SELECT count(*) FROM gone`

// goneColumns are outboxColumns of g.
const goneColumns = `g.stream, g.seq, g.event, g.jti, g.issued_at, g.kid, g.alg, g.sent_order, g.body, g.parting`

// pgAckArgs are the parameters of pgAck; nil where there is nothing to end. All of as are expired, or none is.
func pgAckArgs(as []*acks) []any {
	n := 0
	for _, a := range as {
		n += len(a.outcomes)
	}
	if n == 0 {
		return nil
	}
	streams, seqs, ats := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	jtis, lines, dead := make([]string, 0, n), make([][]byte, 0, n), make([]bool, 0, n)
	deadStreams, deadSeqs, statuses, reasons, tries, firsts := []int64{}, []int64{}, []int64{}, []string{}, []int64{}, []int64{}
	heads, tenants, headOf := [][]byte{}, []string{}, []int64{}
	bases := map[int64]pageBase{}
	buffer := make([]byte, 0, 48*n) // all lines lie in it; one that outgrows it has its own
	for _, a := range as {
		for i := range a.outcomes {
			o := &a.outcomes[i]
			if o.Dead {
				clean := *o
				clean.Reason = strings.ToValidUTF8(o.Reason, "�")
				o = &clean
				deadStreams, deadSeqs, statuses = append(deadStreams, o.Stream), append(deadSeqs, o.Seq), append(statuses, int64(o.Status))
				reasons, tries, firsts = append(reasons, o.Reason), append(tries, int64(o.Tries)), append(firsts, int64(o.First))
			}
			base, ok := bases[o.Stream]
			if !ok {
				base = pageBase{event: o.Event, at: int64(o.At)}
				bases[o.Stream] = base
				headOf, tenants, heads = append(headOf, o.Stream), append(tenants, a.tenant), append(heads, base.appendTo(nil))
			}
			from := len(buffer)
			buffer = base.appendLine(buffer, o)
			streams, seqs, jtis, ats = append(streams, o.Stream), append(seqs, o.Seq), append(jtis, o.JTI), append(ats, int64(o.At))
			lines, dead = append(lines, buffer[from:len(buffer):len(buffer)]), append(dead, o.Dead)
		}
	}
	return []any{streams, seqs, jtis, ats, lines, dead, deadStreams, deadSeqs, statuses, reasons, tries, firsts, as[0].expired, headOf, tenants, heads}
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
