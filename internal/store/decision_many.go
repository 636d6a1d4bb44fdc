package store

import (
	"context"
	"errors"

	"countersign/internal/hub"
)

// errAlone says that one of many is not as all of them were taken for; each is written by itself then, and its own error
// found.
var errAlone = errors.New("store: not all of them can be written together")

// decide writes w: on SQLite together with what others decide at the same moment.
func (s *Store) decide(ctx context.Context, w *deciding) error {
	if e, ok := s.e.(*lite); ok && w.plain() {
		for _, text := range []string{w.sig.IdentityName, lines(w.sig.Misses), w.findings, string(w.d.Inputs)} {
			if err := goodText(text); err != nil {
				return err
			}
		}
		leave, err := s.admit()
		if err != nil {
			return err
		}
		defer leave()
		return translate(e.queue.submit(ctx, &op{point: pointDecide, decide: w}))
	}
	return s.write(ctx, pointDecide, w.one)
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
			if err != nil {
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
	ended := 0
	if err := t.many(`DELETE FROM job WHERE NOT again AND seq IN (VALUES `, `) RETURNING seq, claim`, seqs, func(scan scanFunc) error {
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
	}); err != nil {
		return err
	}
	changed := 0
	if err := t.many(`UPDATE signal SET state = v.column3, reason = '', identity = v.column4, misses = v.column5 FROM (VALUES `,
		`) v WHERE signal.seq = v.column1 AND signal.tenant = v.column2 AND signal.state IN ('received', 'unresolved') RETURNING has_order`, signals, func(scan scanFunc) error {
			var ordered bool
			if err := scan(&ordered); err != nil {
				return err
			}
			if ordered {
				return errAlone
			}
			changed++
			return nil
		}); err != nil {
		return err
	}
	if ended != len(ws) || changed != len(ws) {
		return errAlone
	}
	if _, err := t.insert(`decision (`+decisionColumns+`)`, ``, decisions, nil); err != nil {
		return err
	}
	if _, err := t.insert(`action (`+actionColumns+`)`, ``, actions, nil); err != nil {
		return err
	}
	_, err := t.insert(`job (`+jobColumns+`)`, ``, jobs, nil)
	return err
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
