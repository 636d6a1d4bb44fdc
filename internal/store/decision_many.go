package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"countersign/internal/hub"
)

// errAlone says that one of many is not as all of them were taken for; each is written by itself then, and its own error
// found.
var errAlone = errors.New("store: not all of them can be written together")

// decide writes w, together with what others decide at the same moment.
func (s *Store) decide(ctx context.Context, w *deciding) error {
	if !w.plain() {
		return s.write(ctx, pointDecide, w.one)
	}
	for _, text := range []string{w.sig.Tenant, w.d.ID, w.sig.IdentityName, lines(w.sig.Misses), w.findings, string(w.d.Inputs), strings.Join(w.d.Planned, " ")} {
		if err := goodText(text); err != nil {
			return err
		}
	}
	leave, err := s.admit()
	if err != nil {
		return err
	}
	defer leave()
	return translate(s.e.decide(ctx, w))
}

func (e *lite) decide(ctx context.Context, w *deciding) error {
	return e.queue.submit(ctx, &op{point: pointDecide, decide: w})
}

func (e *pg) decide(ctx context.Context, w *deciding) error {
	return e.decides.submit(ctx, &op{point: pointDecide, decide: w})
}

// groupDecides runs decisions in one transaction, and each alone where that cannot be.
func (e *pg) groupDecides(ops []*op) {
	ctx := context.Background()
	ws := make([]*deciding, len(ops))
	for i, o := range ops {
		ws[i] = o.decide
	}
	err := e.retry(ctx, pointDecide, func(t *tx) error { return e.s.decideRows(t, ws) })
	var refused *pgconn.PgError
	if len(ops) > 1 && (errors.Is(err, errAlone) || errors.As(err, &refused)) {
		for _, o := range ops {
			o.err = e.retry(ctx, pointDecide, o.decide.one)
		}
		return
	}
	for _, o := range ops {
		o.err = err
	}
}

// plain reports that nothing depends on what others write: no limit is counted, nothing is transmitted, and there is no
// order whose receipt is due.
func (w *deciding) plain() bool {
	return w.job != nil && w.sig.Order == nil && w.opt.CutAt == 0 && len(w.opt.Charges) == 0 && len(w.sent) == 0
}

// decideRows writes many decisions with a few statements of many rows. Where one of them is not what it seems, such as a
// signal that was decided meanwhile, it gives errAlone and nothing counts.
func (s *Store) decideRows(t *tx, ws []*deciding) error {
	if len(ws) == 1 {
		return ws[0].one(t)
	}
	// In one order, so that two groups of PostgreSQL do not wait for each other.
	slices.SortFunc(ws, func(a, b *deciding) int { return cmp.Compare(a.sig.Seq, b.sig.Seq) })
	claims := make(map[int64]string, len(ws))
	var seqs, signals, decisions, actions, jobs [][]any
	now, claim := s.now(), s.claim()
	for _, w := range ws {
		w.jobs = nil
		claims[w.job.Seq] = w.job.Claim
		seqs = append(seqs, []any{w.job.Seq})
		signals = append(signals, []any{w.sig.Seq, w.sig.Tenant, string(w.state), w.sig.IdentityName, lines(w.sig.Misses)})
		decisions = append(decisions, w.decisionRow())
		for i, a := range w.actions {
			doc, err := actionDoc(a)
			if err != nil || checkText([]any{a.ID, a.App, a.Identity, doc, string(a.Evidence)}) != nil {
				return errAlone
			}
			actions = append(actions, []any{a.Seq, a.ID, a.Tenant, a.SignalSeq, a.App, a.Identity, string(a.State), !a.State.Final(), doc, string(a.Evidence)})
			if a.State.Final() {
				continue
			}
			// Nobody knows the action before the commit, so there is no such job yet.
			j := hub.Job{Seq: w.jobKey + int64(i), Kind: "act", Ref: a.Seq, Due: now, Tries: 1, Claim: claim, Until: now + leaseMicros}
			jobs = append(jobs, (&keeping{tenant: a.Tenant}).jobRow(&j))
			w.jobs = append(w.jobs, j)
		}
	}
	if len(claims) != len(ws) {
		return errAlone
	}
	ended, changed := 0, 0
	end := func(scan scanFunc) error {
		var seq int64
		var held string
		if err := scan(&seq, &held); err != nil {
			return err
		}
		if held != claims[seq] {
			return errAlone
		}
		ended++
		return nil
	}
	change := func(scan scanFunc) error {
		var ordered bool
		if err := scan(&ordered); err != nil {
			return err
		}
		if ordered {
			return errAlone
		}
		changed++
		return nil
	}
	rows := &decidedRows{seqs, signals, decisions, actions, jobs}
	find, write := rows.find, rows.write
	if s.d == &postgresDialect {
		find, write = rows.findPostgres, rows.writePostgres
	}
	if err := find(t, end, change); err != nil {
		return err
	}
	if ended != len(ws) || changed != len(ws) {
		return errAlone
	}
	return write(t)
}

// decidedRows are the rows of many decisions: their jobs that end, their signals, and what is written.
type decidedRows struct{ ended, signals, decisions, actions, jobs [][]any }

func (r *decidedRows) find(t *tx, end, change func(scanFunc) error) error {
	if err := t.many(`DELETE FROM job WHERE NOT again AND seq IN (VALUES `, `) RETURNING seq, claim`, r.ended, end); err != nil {
		return err
	}
	return t.many(`UPDATE signal SET state = v.column3, reason = '', identity = v.column4, misses = v.column5 FROM (VALUES `,
		`) v WHERE signal.seq = v.column1 AND signal.tenant = v.column2 AND signal.state IN ('received', 'unresolved') RETURNING has_order`, r.signals, change)
}

func (r *decidedRows) write(t *tx) error {
	if _, err := t.insert(`decision (`+decisionColumns+`)`, ``, r.decisions, nil); err != nil {
		return err
	}
	if _, err := t.insert(`action (`+actionColumns+`)`, ``, r.actions, nil); err != nil {
		return err
	}
	_, err := t.insert(`job (`+jobColumns+`)`, ``, r.jobs, nil)
	return err
}

func (r *decidedRows) findPostgres(t *tx, end, change func(scanFunc) error) error {
	// Each row is found by its key. Without this a plan that was made while the tables were small would read all of them.
	if err := t.each(func(scanFunc) error { return nil },
		`SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`); err != nil {
		return err
	}
	if err := t.each(end, `DELETE FROM job WHERE NOT again AND seq = ANY($1::bigint[]) RETURNING seq, claim`, arrays(r.ended)...); err != nil {
		return err
	}
	return t.each(change, `UPDATE signal SET state = v.state, reason = '', identity = v.identity, misses = v.misses
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) v (seq, tenant, state, identity, misses)
		WHERE signal.seq = v.seq AND signal.tenant = v.tenant AND signal.state IN ('received', 'unresolved') RETURNING has_order`, arrays(r.signals)...)
}

func (r *decidedRows) writePostgres(t *tx) error {
	for _, w := range []struct {
		rows  [][]any
		query string
	}{
		{r.decisions, `INSERT INTO decision (` + decisionColumns + `)
			SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[])`},
		{r.actions, `INSERT INTO action (` + actionColumns + `)
			SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::text[], $10::text[])`},
		{r.jobs, `INSERT INTO job (` + jobColumns + `)
			SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[], $10::boolean[])`},
	} {
		if len(w.rows) == 0 {
			continue
		}
		if _, err := t.exec(w.query, arrays(w.rows)...); err != nil {
			return err
		}
	}
	return nil
}

// arrays gives rows as one array for each column, which is how unnest takes them.
func arrays(rows [][]any) []any {
	var c columns
	for _, r := range rows {
		c.add(r...)
	}
	return c.args()
}

// many runs a statement about many tuples, as few times as there are chunks.
func (t *tx) many(head, tail string, rows [][]any, each func(scanFunc) error) error {
	var args []any
	for len(rows) > 0 {
		n, width := chunk(len(rows)), len(rows[0])
		args = args[:0]
		for _, r := range rows[:n] {
			args = append(args, r...)
		}
		rows = rows[n:]
		if err := t.each(each, shape{head, tail, width, n}.text(), args...); err != nil {
			return err
		}
	}
	return nil
}
