package store

import (
	"context"
	"encoding/json"
	"fmt"

	"countersign/internal/hub"
)

const actionSelect = `SELECT seq, signal, doc, evidence FROM action`

// actionRow is an action as its doc column has it: the exported members, and those that JSON for people leaves out.
type actionRow struct {
	hub.Action
	Email string `json:"email,omitempty"`
}

func actionDoc(a *hub.Action) (string, error) {
	row := actionRow{Action: *a, Email: a.Email}
	row.Evidence, row.Tries = nil, nil // the evidence has its own column, byte for byte
	b, err := json.Marshal(row)
	return string(b), err
}

func scanAction(scan scanFunc) (*hub.Action, error) {
	var row actionRow
	var seq, signal int64
	var doc, evidence string
	if err := scan(&seq, &signal, &doc, &evidence); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), &row); err != nil {
		return nil, fmt.Errorf("store: action %d: %w", seq, err)
	}
	a := &row.Action
	a.Seq, a.SignalSeq, a.Email, a.Evidence = seq, signal, row.Email, raw(evidence)
	return a, nil
}

// oneAction reads an action with its tries.
func (s *Store) oneAction(ctx context.Context, where string, args ...any) (*hub.Action, error) {
	var a *hub.Action
	err := s.read(ctx, func(t *tx) error {
		a = nil
		if err := t.each(func(scan scanFunc) (err error) {
			a, err = scanAction(scan)
			return err
		}, actionSelect+where, args...); err != nil {
			return err
		}
		if a == nil {
			return notFound("action")
		}
		return t.each(func(scan scanFunc) error {
			at := hub.Attempt{ActionSeq: a.Seq}
			var op string
			var sent, answered int64
			if err := scan(&at.Seq, &at.No, &op, &at.Request, &at.Key, &sent, &answered, &at.Status, &at.Class, &at.Note); err != nil {
				return err
			}
			at.Op, at.Sent, at.Answered = hub.Operation(op), hub.Micros(sent), hub.Micros(answered)
			a.Tries = append(a.Tries, at)
			return nil
		}, `SELECT seq, no, op, request, idem_key, sent, answered, status, class, note FROM attempt WHERE action = $1 ORDER BY no`, a.Seq)
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Action gives an action with its tries, or hub.NotFound.
func (s *Store) Action(ctx context.Context, tenant, id string) (*hub.Action, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	return s.oneAction(ctx, ` WHERE tenant = $1 AND id = $2`, tenant, id)
}

// ActionBySeq gives an action with its tries, or hub.NotFound.
func (s *Store) ActionBySeq(ctx context.Context, seq int64) (*hub.Action, error) {
	return s.oneAction(ctx, ` WHERE seq = $1`, seq)
}

// ActionsOf gives the actions of a signal in the order in which they were planned, without their tries.
func (s *Store) ActionsOf(ctx context.Context, signalSeq int64) ([]*hub.Action, error) {
	var all []*hub.Action
	err := s.read(ctx, func(t *tx) (err error) {
		all, err = actionsOf(t, signalSeq)
		return err
	})
	return all, err
}

func actionsOf(t *tx, signalSeq int64) ([]*hub.Action, error) {
	var all []*hub.Action
	err := t.each(func(scan scanFunc) error {
		a, err := scanAction(scan)
		all = append(all, a)
		return err
	}, actionSelect+` WHERE signal = $1 ORDER BY seq`, signalSeq)
	return all, err
}

// ListActions lists a tenant's actions, newest first, without their tries.
func (s *Store) ListActions(ctx context.Context, tenant string, f ActionFilter, p hub.Page) (hub.Listed[*hub.Action], error) {
	if err := needTenant(tenant); err != nil {
		return hub.Listed[*hub.Action]{}, err
	}
	w := where(tenant)
	w.and(`state = ?`, string(f.State))
	w.and(`app = ?`, f.App)
	w.and(`identity = ?`, f.Identity)
	w.and(`signal = (SELECT s.seq FROM signal s WHERE s.tenant = $1 AND s.id = ?)`, f.SignalID)
	return list(ctx, s, p, actionSelect, w, scanAction, func(a *hub.Action) string { return a.ID })
}

// BeginAttempt commits an attempt before its request is sent, with the action as it stands then. It
// refuses a stale claim, and renews the lease. It sets at.Seq and at.ActionSeq.
func (s *Store) BeginAttempt(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job) error {
	key, err := s.seqs.take(ctx, 1)
	if err != nil {
		return err
	}
	doc, err := actionDoc(a)
	if err != nil {
		return err
	}
	err = s.write(ctx, pointAttempt, func(t *tx) error {
		if err := s.hold(t, job); err != nil {
			return err
		}
		if err := s.putAction(t, a, doc); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO attempt (seq, action, no, op, request, idem_key, sent, answered, status, class, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			key, a.Seq, at.No, string(at.Op), at.Request, at.Key, int64(at.Sent), int64(at.Answered), at.Status, at.Class, at.Note)
		return err
	})
	if err != nil {
		return err
	}
	at.Seq, at.ActionSeq = key, a.Seq
	return nil
}

// putAction writes an action that is not final yet; a final one never changes (hub.Conflict).
func (s *Store) putAction(t *tx, a *hub.Action, doc string) error {
	n, err := t.exec(`UPDATE action SET app = $1, identity = $2, state = $3, is_open = $4, doc = $5, evidence = $6 WHERE seq = $7 AND is_open`,
		a.App, a.Identity, string(a.State), !a.State.Final(), doc, string(a.Evidence), a.Seq)
	if err == nil && n == 0 {
		err = hub.Errorf(hub.Conflict, "the action is final")
	}
	return err
}

// SaveAction writes what came of a try: the action, the attempt (nil: there was none), and further actions that the
// try brought to light. job is the claimed job: next nil means that it is done, else it is free and due then.
//
// When the signal has nothing open any more it is done and, with an order, its "cut" is enqueued in the same
// transaction. The jobs that come back are claimed by this store: those of add that are open, and the cut.
func (s *Store) SaveAction(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job, next *hub.Micros, add []*hub.Action) ([]hub.Job, error) {
	key, err := s.seqs.take(ctx, 1+2*int64(len(add)))
	if err != nil {
		return nil, err
	}
	for i, x := range add {
		x.Seq, x.Tenant, x.SignalID, x.SignalSeq = key+1+int64(i), a.Tenant, a.SignalID, a.SignalSeq
	}
	doc, err := actionDoc(a)
	if err != nil {
		return nil, err
	}
	var jobs []hub.Job
	err = s.write(ctx, pointAction, func(t *tx) error {
		jobs = nil
		var tenant string
		var ordered bool
		if a.State.Final() {
			// Two last actions of a signal come one after the other, so that the later one sees that it is the last.
			found, err := t.one(`SELECT tenant, has_order FROM signal WHERE seq = $1`+s.d.forUpdate, []any{a.SignalSeq}, &tenant, &ordered)
			if err != nil {
				return err
			}
			if !found {
				return notFound("signal")
			}
		}
		if err := s.release(t, job, next); err != nil {
			return err
		}
		if err := s.putAction(t, a, doc); err != nil {
			return err
		}
		if at != nil {
			if _, err := t.exec(`UPDATE attempt SET answered = $1, status = $2, class = $3, note = $4 WHERE seq = $5`,
				int64(at.Answered), at.Status, at.Class, at.Note, at.Seq); err != nil {
				return err
			}
		}
		var err error
		if jobs, err = s.addActions(t, add, key+1+int64(len(add))); err != nil || !a.State.Final() {
			return err
		}
		var open int
		if _, err := t.one(`SELECT count(*) FROM action WHERE signal = $1 AND is_open`, []any{a.SignalSeq}, &open); err != nil || open > 0 {
			return err
		}
		if _, err := t.exec(`UPDATE signal SET state = 'done' WHERE seq = $1`, a.SignalSeq); err != nil || !ordered {
			return err
		}
		cut, err := s.enqueue(t, tenant, hub.Job{Seq: key, Kind: "cut", Ref: a.SignalSeq, Due: s.now()}, s.claim())
		if cut != nil {
			jobs = append(jobs, *cut)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return jobs, nil
}
