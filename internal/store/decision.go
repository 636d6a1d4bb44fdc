package store

import (
	"context"
	"encoding/json"
	"strings"

	"countersign/internal/hub"
)

// Decide writes a decision with its actions and their jobs, what the limits count, and the signal's new
// state, identity and misses; job is the claimed job "process" and ends. It sets the keys of d's actions.
//
// The jobs come back claimed by this store: one "act" for each open action, in their order. Where nothing is
// open the signal is done and, with an order, the job "cut" comes back instead; with open actions an
// order's "cut" is due at opt.CutAt.
func (s *Store) Decide(ctx context.Context, sig *hub.Signal, d *hub.Decision, actions []*hub.Action, job *hub.Job, opt DecideOptions) ([]hub.Job, error) {
	if err := needTenant(sig.Tenant); err != nil {
		return nil, err
	}
	w := &deciding{s: s, sig: sig, d: d, actions: actions, job: job, opt: opt, state: hub.SignalDone}
	keys := 2 + 2*int64(len(actions))
	for _, out := range opt.Out {
		k := &keeping{tenant: sig.Tenant, out: out, at: s.now()}
		k.plan()
		w.sent = append(w.sent, k)
		keys += k.need()
	}
	var err error
	if w.key, err = s.seqs.take(ctx, keys); err != nil {
		return nil, err
	}
	next := w.key + 2 + 2*int64(len(actions))
	for _, k := range w.sent {
		k.assign(next)
		next += k.need()
	}
	findings, err := json.Marshal(d.Findings)
	if err != nil {
		return nil, err
	}
	w.findings = string(findings)
	for i, a := range actions {
		a.Seq, a.Tenant, a.SignalID, a.SignalSeq = w.key+2+int64(i), sig.Tenant, sig.ID, sig.Seq
		if !a.State.Final() {
			w.state = hub.SignalDecided
		}
	}
	w.jobKey = w.key + 2 + int64(len(actions))
	if err := s.decide(ctx, w); err != nil {
		return nil, err
	}
	for _, k := range w.sent {
		k.finish()
	}
	sig.State, sig.Reason = w.state, ""
	return w.jobs, nil
}

// deciding is one call of Decide on its way through the writer.
type deciding struct {
	s        *Store
	sig      *hub.Signal
	d        *hub.Decision
	actions  []*hub.Action
	job      *hub.Job
	opt      DecideOptions
	sent     []*keeping
	key      int64 // of the decision; the next one is the receipt's job
	jobKey   int64 // of the first action's job
	findings string
	state    hub.SignalState

	jobs []hub.Job
}

func (w *deciding) decisionRow() []any {
	return []any{w.key, w.d.ID, w.sig.Tenant, w.sig.Seq, int64(w.d.At), string(w.d.Inputs), w.findings, strings.Join(w.d.Planned, " ")}
}

// one writes it statement by statement.
func (w *deciding) one(t *tx) error {
	s, sig, opt := w.s, w.sig, w.opt
	w.jobs = nil
	if err := s.release(t, w.job, nil); err != nil {
		return err
	}
	var ordered bool
	found, err := t.one(`UPDATE signal SET state = $1, reason = '', identity = $2, misses = $3 WHERE seq = $4 AND tenant = $5 AND state IN ('received', 'unresolved') RETURNING has_order`,
		[]any{string(w.state), sig.IdentityName, lines(sig.Misses), sig.Seq, sig.Tenant}, &ordered)
	if err != nil {
		return err
	}
	if !found {
		return hub.Errorf(hub.Conflict, "the signal was decided already")
	}
	if err := s.charge(t, sig.Tenant, opt.Charges, w.d.At); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO decision (`+decisionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, w.decisionRow()...); err != nil {
		return err
	}
	for _, k := range w.sent {
		if err := s.keepWithin(t, k); err != nil {
			return err
		}
	}
	if w.jobs, err = s.addActions(t, w.actions, w.jobKey); err != nil || !ordered {
		return err
	}
	cut := hub.Job{Seq: w.key + 1, Kind: "cut", Ref: sig.Seq, Due: opt.CutAt}
	claim := ""
	if w.state == hub.SignalDone {
		cut.Due, claim = s.now(), s.claim()
	} else if opt.CutAt == 0 {
		return nil
	}
	ours, err := s.enqueue(t, sig.Tenant, cut, claim)
	if ours != nil {
		w.jobs = append(w.jobs, *ours)
	}
	return err
}

const (
	decisionColumns = `seq, id, tenant, signal, at, inputs, findings, planned`
	actionColumns   = `seq, id, tenant, signal, app, identity, state, is_open, doc, evidence`
)

// addActions writes actions, and for each open one the job that carries it out, claimed by us.
func (s *Store) addActions(t *tx, actions []*hub.Action, jobKey int64) ([]hub.Job, error) {
	var jobs []hub.Job
	now, claim := s.now(), s.claim()
	for i, a := range actions {
		doc, err := actionDoc(a)
		if err != nil {
			return nil, err
		}
		if _, err := t.exec(`INSERT INTO action (`+actionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			a.Seq, a.ID, a.Tenant, a.SignalSeq, a.App, a.Identity, string(a.State), !a.State.Final(), doc, string(a.Evidence)); err != nil {
			return nil, err
		}
		if a.State.Final() {
			continue
		}
		ours, err := s.enqueue(t, a.Tenant, hub.Job{Seq: jobKey + int64(i), Kind: "act", Ref: a.Seq, Due: now}, claim)
		if err != nil {
			return nil, err
		}
		if ours != nil {
			jobs = append(jobs, *ours)
		}
	}
	return jobs, nil
}

// charge counts people against limits, and refuses where a limit is reached. Scopes are locked one by one in
// the order given, so that two decisions cannot pass one limit together.
func (s *Store) charge(t *tx, tenant string, charges []Charge, at hub.Micros) error {
	for _, c := range charges {
		if c.Limit > 0 {
			if s.d == &postgresDialect {
				if err := t.each(func(scanFunc) error { return nil }, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, tenant+"\x01"+c.Scope); err != nil {
					return err
				}
			}
			others, _, err := countPeople(t, tenant, c.Scope, c.Identity, c.Since)
			if err != nil {
				return err
			}
			if others >= c.Limit {
				return hub.Errorf(hub.Limited, "the limit of %d people for %s is reached", c.Limit, c.Scope)
			}
		}
		if _, err := t.exec(`INSERT INTO charge (tenant, scope, identity, at) VALUES ($1, $2, $3, $4)`, tenant, c.Scope, c.Identity, int64(at)); err != nil {
			return err
		}
	}
	return nil
}

func countPeople(t *tx, tenant, scope, identity string, since hub.Micros) (others int, counted bool, err error) {
	var all, own int
	_, err = t.one(`SELECT count(DISTINCT identity), coalesce(max(CASE WHEN identity = $1 THEN 1 ELSE 0 END), 0) FROM charge WHERE tenant = $2 AND scope = $3 AND at > $4`,
		[]any{identity, tenant, scope, int64(since)}, &all, &own)
	return all - own, own == 1, err
}

// CountPeople gives how many other identities were charged to a scope after since, and whether this one was.
func (s *Store) CountPeople(ctx context.Context, tenant, scope, identity string, since hub.Micros) (others int, counted bool, err error) {
	if err := needTenant(tenant); err != nil {
		return 0, false, err
	}
	err = s.read(ctx, func(t *tx) (err error) {
		others, counted, err = countPeople(t, tenant, scope, identity, since)
		return err
	})
	return others, counted, err
}

// DecisionOf gives the latest decision for a signal, or hub.NotFound.
func (s *Store) DecisionOf(ctx context.Context, signalSeq int64) (*hub.Decision, error) {
	d := &hub.Decision{}
	err := s.read(ctx, func(t *tx) error {
		var at int64
		var inputs, findings, planned string
		found, err := t.one(`SELECT d.id, s.id, d.at, d.inputs, d.findings, d.planned FROM decision d JOIN signal s ON s.seq = d.signal
			WHERE d.signal = $1 ORDER BY d.seq DESC LIMIT 1`, []any{signalSeq}, &d.ID, &d.SignalID, &at, &inputs, &findings, &planned)
		if err != nil {
			return err
		}
		if !found {
			return notFound("decision")
		}
		d.At, d.Inputs = hub.Micros(at), raw(inputs)
		d.Planned = strings.Fields(planned)
		return json.Unmarshal([]byte(findings), &d.Findings)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}
