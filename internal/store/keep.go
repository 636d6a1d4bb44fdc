package store

import (
	"context"
	"strings"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// keeping is one call of Keep or of Enqueue on its way through the writer: what to write, and what came of it.
type keeping struct {
	tenant      string
	sig         *hub.Signal // nil: only out
	fingerprint string
	out         *transmitter.Outgoing
	idem        *Idempotency
	at          hub.Micros

	// Keys that were taken before the write. order keys are one for each row of out, 0 where it has none.
	seq, jobSeq, event int64
	outbox             int64 // first of the rows; SQLite only
	orders             []int64
	claim              string
	bodies             [][]byte // what rows are told in place of the event's body, each once
	bodyOf             []int64  // number from 1 of each row's among bodies; 0: the event's; nil: all are
	loose              bool     // whatever the generation of the streams is

	kept  Kept
	rows  []int64 // Seq given to each row of out
	wrote bool    // its event is there; PostgreSQL only
	err   error
}

// Keep makes a signal durable: the dedup row that is the signal itself, its order, its job "process" (claimed by
// this store, in Kept.Job) or, with out, one outbox row for each stream that matched; all in one
// transaction that many callers share. The job is made where sig.State is empty or SignalReceived.
//
// A second signal of the same (tenant, source, jti) is a KeptRepeat when its fingerprint is the same and a
// KeptClash otherwise: then nothing is written but the evidence. With idem, a repeat of the client's key gives
// KeptRepeat, and hub.Conflict where the request differs. Where out.Generation is not the tenant's any more it
// returns transmitter.ErrStale and nothing was written.
//
// On success of a new signal sig.Seq and sig.State are set, and out.Event.Key and the rows' Seq.
func (s *Store) Keep(ctx context.Context, sig *hub.Signal, fingerprint string, out *transmitter.Outgoing, idem *Idempotency) (Kept, error) {
	if err := needTenant(sig.Tenant); err != nil {
		return Kept{}, err
	}
	if sig.ID == "" || sig.Source == "" || sig.JTI == "" || fingerprint == "" {
		return Kept{}, hub.Errorf(hub.Invalid, "a signal needs an id, a source, a jti and a fingerprint")
	}
	if sig.State == "" {
		sig.State = hub.SignalReceived
	}
	for _, text := range []string{sig.ID, sig.Tenant, sig.Source, sig.Door, sig.Issuer, sig.JTI, sig.TXN, sig.EventType, string(sig.SubID),
		string(sig.Event), sig.SetHash, sig.Token, fingerprint, sig.Reason, sig.IdentityName} {
		if err := goodText(text); err != nil {
			return Kept{}, err
		}
	}
	if o := sig.Order; o != nil {
		for _, text := range []string{string(o.Directive), o.ReceiptNo, o.Refused, o.ReceiptIssuer, o.ReceiptAudience, o.Endpoint} {
			if err := goodText(text); err != nil {
				return Kept{}, err
			}
		}
	}
	if idem != nil {
		for _, text := range []string{idem.Client, idem.Key, idem.BodyHash} {
			if err := goodText(text); err != nil {
				return Kept{}, err
			}
		}
	}
	k := &keeping{tenant: sig.Tenant, sig: sig, fingerprint: fingerprint, out: out, idem: idem}
	if err := s.runKeep(ctx, k); err != nil {
		return Kept{}, err
	}
	return k.kept, nil
}

// runKeep takes the keys of k, runs it, and hands the results to its caller's structs.
func (s *Store) runKeep(ctx context.Context, k *keeping) error {
	leave, err := s.admit()
	if err != nil {
		return err
	}
	defer leave()
	if k.out != nil {
		for i := range k.out.Rows {
			r := &k.out.Rows[i]
			for _, text := range []string{r.JTI, r.KeyID, r.Algorithm, k.out.Event.Type, k.out.Event.TXN} {
				if err := goodText(text); err != nil {
					return err
				}
			}
			if o := r.Order; o != nil {
				for _, text := range []string{o.Receiver, o.ReceiptIssuer, o.JTI, o.Stream, o.ReceiptAudience, o.SetHash, o.Input, o.EventType, o.TXN, o.When} {
					if err := goodText(text); err != nil {
						return err
					}
				}
			}
		}
		for i := range k.out.Skips {
			if err := goodText(k.out.Skips[i].Reason); err != nil {
				return err
			}
		}
	}
	if err := s.keysFor(ctx, k); err != nil {
		return err
	}
	k.at = s.now()
	if err := s.e.keep(ctx, k); err != nil {
		return translate(err)
	}
	if k.err != nil {
		return translate(k.err)
	}
	if k.sig != nil && k.kept.Status == hub.KeptNew {
		k.sig.Seq = k.seq
		s.signals.Add(1)
	}
	if k.out != nil && (k.sig == nil || k.kept.Status == hub.KeptNew) {
		k.finish()
	}
	return nil
}

// finish hands what was committed to the structs of the caller.
func (k *keeping) finish() {
	k.out.Event.Key = k.event
	for i := range k.out.Rows {
		r := &k.out.Rows[i]
		r.Seq = k.rows[i]
		if r.Order != nil && r.Seq != 0 {
			r.Order.Key = k.orders[i]
		}
	}
}

// keysFor takes all integer keys that k can need, in one go.
func (s *Store) keysFor(ctx context.Context, k *keeping) error {
	k.plan()
	first, err := s.seqs.take(ctx, k.need())
	if err != nil {
		return err
	}
	k.assign(first)
	k.claim = s.claim()
	return nil
}

// plan finds the bodies that rows have of their own. Rows that are told the same share one slice.
func (k *keeping) plan() {
	if k.out == nil {
		return
	}
	rows := k.out.Rows
	for i := range rows {
		body := rows[i].Body
		if body == nil {
			continue
		}
		if k.bodyOf == nil {
			k.bodyOf = make([]int64, len(rows))
		}
		for n, b := range k.bodies {
			if len(b) == len(body) && (len(b) == 0 || &b[0] == &body[0]) {
				k.bodyOf[i] = int64(n + 1)
			}
		}
		if k.bodyOf[i] == 0 {
			k.bodies = append(k.bodies, body)
			k.bodyOf[i] = int64(len(k.bodies))
		}
	}
}

// body is the number of the body that a row has of its own; 0: the event's.
func (k *keeping) body(row int) int64 {
	if k.bodyOf == nil {
		return 0
	}
	return k.bodyOf[row]
}

// need is how many keys k takes.
func (k *keeping) need() int64 {
	if k.out == nil {
		return 3
	}
	return 3 + 2*int64(len(k.out.Rows))
}

// assign gives k its keys.
func (k *keeping) assign(first int64) {
	k.seq, k.jobSeq, k.event = first, first+1, first+2
	if k.out == nil {
		return
	}
	rows := int64(len(k.out.Rows))
	k.outbox = first + 3
	k.orders = make([]int64, rows)
	for i := range k.out.Rows {
		if k.out.Rows[i].Order != nil {
			k.orders[i] = first + 3 + rows + int64(i)
		}
	}
}

// keepsEvent reports whether anything refers to the event.
func (k *keeping) keepsEvent() bool { return len(k.out.Rows) > 0 || len(k.out.Skips) > 0 }

// eventRow is the event. Its body is left out where no row is told it.
func (k *keeping) eventRow() []any {
	e := &k.out.Event
	told := false
	for i := range k.out.Rows {
		told = told || k.body(i) == 0
	}
	body := []byte{}
	if told {
		body = blob(e.Body)
	}
	return []any{k.event, k.tenant, e.Type, e.Subject[:], body, e.TXN, int64(k.planned())}
}

// planned is when the event was planned; an event has a moment, so that it can be forgotten.
func (k *keeping) planned() transmitter.Micros {
	if at := k.out.Event.At; at != 0 {
		return at
	}
	return transmitter.Micros(k.at)
}

// reset forgets what an undone run of the writer found.
func (k *keeping) reset() {
	k.kept, k.err, k.wrote = Kept{}, nil, false
	k.rows = nil
	if k.out != nil {
		k.rows = make([]int64, len(k.out.Rows))
	}
}

// job is the job "process" of a new signal, where it has one.
func (k *keeping) job(s *Store) *hub.Job {
	if k.sig == nil || k.sig.State != hub.SignalReceived {
		return nil
	}
	return &hub.Job{Seq: k.jobSeq, Kind: "process", Ref: k.seq, Due: k.at, Tries: 1, Claim: k.claim, Until: k.at + hub.Micros(Lease.Microseconds())}
}

// isNew sets the result of a signal that was written.
func (k *keeping) isNew(s *Store) {
	if k.sig != nil {
		k.kept = Kept{Kept: hub.Kept{ID: k.sig.ID, Seq: k.seq, Status: hub.KeptNew}, Job: k.job(s)}
	}
}

// classify says why k was not written: a repeat, a clash, another request under the client's key, or a
// snapshot of the streams that is no longer true. It keeps the evidence of a clash.
func (s *Store) classify(t *tx, k *keeping) error {
	if k.idem != nil {
		var hash, ref string
		found, err := t.one(`SELECT body_hash, ref FROM idempotency WHERE tenant = $1 AND client = $2 AND key = $3`,
			[]any{k.tenant, k.idem.Client, k.idem.Key}, &hash, &ref)
		if err != nil {
			return err
		}
		if found && ref != k.sig.ID {
			if hash != k.idem.BodyHash {
				k.err = hub.Errorf(hub.Conflict, "the idempotency key was used for another request").WithHint("use a new key for a new request")
				return nil
			}
			k.kept = Kept{Kept: hub.Kept{ID: ref, Status: hub.KeptRepeat}}
			_, err := t.one(`SELECT seq FROM signal WHERE tenant = $1 AND id = $2`, []any{k.tenant, ref}, &k.kept.Seq)
			return err
		}
	}
	if k.sig != nil {
		var seq int64
		var id, print string
		found, err := t.one(`SELECT seq, id, fingerprint FROM signal WHERE tenant = $1 AND source = $2 AND jti = $3`,
			[]any{k.tenant, k.sig.Source, k.sig.JTI}, &seq, &id, &print)
		if err != nil {
			return err
		}
		if found {
			k.kept = Kept{Kept: hub.Kept{ID: id, Seq: seq, Status: hub.KeptRepeat}}
			if print != k.fingerprint {
				k.kept.Status = hub.KeptClash
				if _, err := t.exec(`INSERT INTO clash (seq, tenant, source, jti, token, fingerprint, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
					ON CONFLICT (tenant, source, jti, fingerprint) DO NOTHING`,
					k.seq, k.tenant, k.sig.Source, k.sig.JTI, k.sig.Token, k.fingerprint, k.at); err != nil {
					return err
				}
			}
			if k.idem == nil {
				return nil
			}
			// The key was new but the signal was not: the key now stands for the signal that is there.
			if k.kept.Status == hub.KeptClash {
				_, err = t.exec(`DELETE FROM idempotency WHERE tenant = $1 AND client = $2 AND key = $3 AND ref = $4`, k.tenant, k.idem.Client, k.idem.Key, k.sig.ID)
			} else {
				_, err = t.exec(`UPDATE idempotency SET ref = $1 WHERE tenant = $2 AND client = $3 AND key = $4 AND ref = $5`, id, k.tenant, k.idem.Client, k.idem.Key, k.sig.ID)
			}
			return err
		}
	}
	k.err = transmitter.ErrStale
	return nil
}

// The columns of the rows that Keep writes, in the order in which both engines give their values.
const (
	signalColumns = `seq, id, tenant, source, door, issuer, jti, issued_at, txn, event_type, sub_id, event, set_hash, token, fingerprint, received, state, reason, identity, misses, has_order`
	orderColumns  = `signal, tenant, directive, receipt_no, refused, receipt_issuer, receipt_audience, endpoint, complete_by, not_after, last_seq, last_hash, stage, outcome, sent_again`
	jobColumns    = `seq, tenant, kind, ref, key, due, ready, tries, claim, again`
	sentColumns   = `seq, tenant, receiver, receipt_issuer, jti, stream_id, receipt_audience, set_hash, input, event_type, txn, issued_at, complete_by, state, disputed, interim_by, receipt_when, agreed`
	eventColumns  = `seq, tenant, type, subject, body, txn, at`
	skipColumns   = `tenant, stream, event, reason, at`
	bodyColumns   = `event, no, body`
)

func (k *keeping) signalRow() []any {
	g := k.sig
	return []any{k.seq, g.ID, g.Tenant, g.Source, g.Door, g.Issuer, g.JTI, g.IssuedAt, g.TXN, g.EventType, string(g.SubID), string(g.Event),
		g.SetHash, g.Token, k.fingerprint, int64(g.Received), string(g.State), g.Reason, g.IdentityName, strings.Join(g.Misses, "\n"), g.Order != nil}
}

func (k *keeping) orderRow() []any {
	o := k.sig.Order
	return []any{k.seq, k.tenant, string(o.Directive), o.ReceiptNo, o.Refused, o.ReceiptIssuer, o.ReceiptAudience, o.Endpoint, o.CompleteBy, o.NotAfter,
		int64(o.LastSeq), o.LastHash, o.Stage, o.Outcome, int64(0)}
}

func (k *keeping) jobRow(j *hub.Job) []any {
	return []any{j.Seq, k.tenant, j.Kind, j.Ref, j.Key, int64(j.Due), int64(j.Until), int64(j.Tries), j.Claim, false}
}

func (k *keeping) sentRow(i int) []any {
	o := k.out.Rows[i].Order
	state := o.State
	if state == "" {
		state = transmitter.OrderQueued
	}
	return []any{k.orders[i], k.tenant, o.Receiver, o.ReceiptIssuer, o.JTI, o.Stream, o.ReceiptAudience, o.SetHash, o.Input, o.EventType, o.TXN,
		o.IssuedAt, o.CompleteBy, state, o.Disputed, o.InterimBy, o.When, string(o.Agreed)}
}

func (k *keeping) skipRow(i int) []any {
	p := &k.out.Skips[i]
	return []any{k.tenant, p.Stream, k.event, p.Reason, int64(k.planned())}
}
