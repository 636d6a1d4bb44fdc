package store

import (
	"context"
	"encoding/json"
	"strings"

	"countersign/internal/hub"
)

const signalSelect = `SELECT ` + signalColumns + ` FROM signal`

func scanSignal(scan scanFunc) (*hub.Signal, error) {
	g := &hub.Signal{}
	var sub, event, print, misses string
	var received int64
	var state string
	var ordered bool
	if err := scan(&g.Seq, &g.ID, &g.Tenant, &g.Source, &g.Door, &g.Issuer, &g.JTI, &g.IssuedAt, &g.TXN, &g.EventType, &sub, &event,
		&g.SetHash, &g.Token, &print, &received, &state, &g.Reason, &g.IdentityName, &misses, &ordered); err != nil {
		return nil, err
	}
	g.SubID, g.Event, g.Received, g.State = raw(sub), raw(event), hub.Micros(received), hub.SignalState(state)
	if misses != "" {
		g.Misses = strings.Split(misses, "\n")
	}
	if ordered {
		g.Order = &hub.Order{} // filled by withOrder
	}
	return g, nil
}

// raw gives JSON as it was stored; nothing was stored as the empty text.
func raw(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// lines joins reasons; a line break within one would be read as two.
func lines(list []string) string {
	clean := make([]string, len(list))
	for i, s := range list {
		clean[i] = strings.ReplaceAll(s, "\n", " ")
	}
	return strings.Join(clean, "\n")
}

func withOrder(t *tx, g *hub.Signal) error {
	if g.Order == nil {
		return nil
	}
	o := g.Order
	var directive string
	var withdrawn int64
	found, err := t.one(`SELECT directive, receipt_no, refused, receipt_issuer, receipt_audience, endpoint, complete_by, not_after, last_seq, last_hash, stage, outcome, withdrawn
		FROM received_order WHERE signal = $1`, []any{g.Seq}, &directive, &o.ReceiptNo, &o.Refused, &o.ReceiptIssuer, &o.ReceiptAudience, &o.Endpoint,
		&o.CompleteBy, &o.NotAfter, &o.LastSeq, &o.LastHash, &o.Stage, &o.Outcome, &withdrawn)
	o.Withdrawn = hub.Micros(withdrawn)
	if err != nil {
		return err
	}
	if !found {
		return hub.Errorf(hub.Internal, "the order of signal %s is missing", g.ID)
	}
	o.Directive = raw(directive)
	return nil
}

// signalWhere reads one signal with its order.
func (s *Store) signalWhere(ctx context.Context, where string, args ...any) (*hub.Signal, error) {
	var g *hub.Signal
	err := s.read(ctx, func(t *tx) (err error) {
		g, err = oneSignal(t, where, args...)
		return err
	})
	return g, err
}

func oneSignal(t *tx, where string, args ...any) (*hub.Signal, error) {
	var g *hub.Signal
	err := t.each(func(scan scanFunc) (err error) {
		g, err = scanSignal(scan)
		return err
	}, signalSelect+where, args...)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, notFound("signal")
	}
	return g, withOrder(t, g)
}

// Signal gives a signal with its order, or hub.NotFound.
func (s *Store) Signal(ctx context.Context, tenant, id string) (*hub.Signal, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	return s.signalWhere(ctx, ` WHERE tenant = $1 AND id = $2`, tenant, id)
}

// SignalBySeq gives a signal with its order, or hub.NotFound.
func (s *Store) SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error) {
	return s.signalWhere(ctx, ` WHERE seq = $1`, seq)
}

// SignalByJTI gives the signal that was kept under a source's jti, or hub.NotFound.
func (s *Store) SignalByJTI(ctx context.Context, tenant, source, jti string) (*hub.Signal, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	return s.signalWhere(ctx, ` WHERE tenant = $1 AND source = $2 AND jti = $3`, tenant, source, jti)
}

// filter builds a WHERE clause from what is not empty.
type filter struct {
	where strings.Builder
	args  []any
}

func where(tenant string) *filter {
	f := &filter{args: []any{tenant}}
	f.where.WriteString(` WHERE tenant = $1`)
	return f
}

// and adds a condition on a text, where that is not empty.
func (f *filter) and(condition, value string) {
	if value != "" {
		f.add(condition, value)
	}
}

// add adds a condition; ? is the value.
func (f *filter) add(condition string, value any) {
	f.args = append(f.args, value)
	f.where.WriteString(` AND ` + strings.ReplaceAll(condition, "?", "$"+itoa(len(f.args))))
}

// page ends the query: newest first, one row more than asked for, which tells whether there is a next page.
func (f *filter) page(p hub.Page) string {
	f.and(`id < ?`, p.After)
	f.args = append(f.args, p.Size()+1)
	return f.where.String() + ` ORDER BY id DESC LIMIT $` + itoa(len(f.args))
}

// list runs a paged query.
func list[T any](ctx context.Context, s *Store, p hub.Page, query string, f *filter, scan func(scanFunc) (T, error), id func(T) string) (hub.Listed[T], error) {
	var out hub.Listed[T]
	query += f.page(p)
	err := s.read(ctx, func(t *tx) error {
		out = hub.Listed[T]{Items: []T{}}
		return t.each(func(sc scanFunc) error {
			v, err := scan(sc)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, v)
			return nil
		}, query, f.args...)
	})
	if err != nil {
		return hub.Listed[T]{}, err
	}
	if n := p.Size(); len(out.Items) > n {
		out.Items = out.Items[:n]
		out.Next = id(out.Items[n-1])
	}
	return out, nil
}

// ListSignals lists a tenant's signals, newest first.
func (s *Store) ListSignals(ctx context.Context, tenant string, f SignalFilter, p hub.Page) (hub.Listed[*hub.Signal], error) {
	if err := needTenant(tenant); err != nil {
		return hub.Listed[*hub.Signal]{}, err
	}
	w := where(tenant)
	w.and(`state = ?`, string(f.State))
	w.and(`source = ?`, f.Source)
	w.and(`event_type = ?`, f.Type)
	w.and(`identity = ?`, f.Identity)
	out, err := list(ctx, s, p, signalSelect, w, scanSignal, func(g *hub.Signal) string { return g.ID })
	if err != nil {
		return out, err
	}
	return out, s.read(ctx, func(t *tx) error {
		for _, g := range out.Items {
			if err := withOrder(t, g); err != nil {
				return err
			}
		}
		return nil
	})
}

// CountClashes counts the refused tokens of a tenant: known jti, other content.
func (s *Store) CountClashes(ctx context.Context, tenant string) (int64, error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	var n int64
	err := s.read(ctx, func(t *tx) error {
		_, err := t.one(`SELECT count(*) FROM clash WHERE tenant = $1`, []any{tenant}, &n)
		return err
	})
	return n, err
}

// Clashes gives the evidence of the clashes with one signal's jti, oldest first.
func (s *Store) Clashes(ctx context.Context, tenant, source, jti string) ([]Clash, error) {
	if err := needTenant(tenant); err != nil {
		return nil, err
	}
	var out []Clash
	err := s.read(ctx, func(t *tx) error {
		out = nil
		return t.each(func(scan scanFunc) error {
			c := Clash{Tenant: tenant, Source: source, JTI: jti}
			var at int64
			err := scan(&c.Token, &c.Print, &at)
			c.At = hub.Micros(at)
			out = append(out, c)
			return err
		}, `SELECT token, fingerprint, at FROM clash WHERE tenant = $1 AND source = $2 AND jti = $3 ORDER BY seq`, tenant, source, jti)
	})
	return out, err
}

// SetUnresolved writes down that nobody known fits the signal, why, and which ways were tried. job is the
// claimed job "process"; it ends, or is due again at opt.RetryAt.
func (s *Store) SetUnresolved(ctx context.Context, signalSeq int64, job *hub.Job, reason string, misses []string, opt UnresolvedOptions) error {
	key, err := s.seqs.take(ctx, 1)
	if err != nil {
		return err
	}
	return s.write(ctx, pointNone, func(t *tx) error {
		var tenant string
		found, err := t.one(`UPDATE signal SET state = 'unresolved', reason = $1, misses = $2 WHERE seq = $3 AND state IN ('received', 'unresolved') RETURNING tenant`,
			[]any{reason, lines(misses), signalSeq}, &tenant)
		if err != nil {
			return err
		}
		if !found {
			return hub.Errorf(hub.Conflict, "the signal was decided meanwhile")
		}
		if opt.CutAt != 0 {
			if _, err := s.enqueue(t, tenant, hub.Job{Seq: key, Kind: "cut", Ref: signalSeq, Due: opt.CutAt}, ""); err != nil {
				return err
			}
		}
		var next *hub.Micros
		if opt.RetryAt != 0 {
			next = &opt.RetryAt
		}
		return s.release(t, job, next)
	})
}

// RequeueUnresolved makes every unresolved signal of the tenant due for processing; for when mappings
// change. It gives how many there are.
func (s *Store) RequeueUnresolved(ctx context.Context, tenant string) (int, error) {
	if err := needTenant(tenant); err != nil {
		return 0, err
	}
	n := 0
	err := s.write(ctx, pointNone, func(t *tx) error {
		var signals []int64
		err := t.each(func(scan scanFunc) error {
			var q int64
			err := scan(&q)
			signals = append(signals, q)
			return err
		}, `SELECT seq FROM signal WHERE tenant = $1 AND state = 'unresolved' ORDER BY seq`, tenant)
		if err != nil || len(signals) == 0 {
			return err
		}
		key, err := s.seqs.within(t, int64(len(signals)))
		if err != nil {
			return err
		}
		now := s.now()
		for i, q := range signals {
			if _, err := s.enqueue(t, tenant, hub.Job{Seq: key + int64(i), Kind: "process", Ref: q, Due: now}, ""); err != nil {
				return err
			}
		}
		n = len(signals)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
