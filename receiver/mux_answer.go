package receiver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"countersign/receipt"
	"countersign/set"
)

// answer works on an order and sends its receipts. What was done is saved before it is told.
func (m *Mux) answer(ctx context.Context, item *Item, s *Other, w *way) (time.Time, error) {
	save := func() error {
		state, err := json.Marshal(w)
		if err != nil {
			return err
		}
		item.State, item.Due = state, m.lease()
		return m.cfg.Inbox.Save(ctx, *item)
	}
	var again time.Time // when the functions are called again
	if !w.Final {
		failed, err := m.order(ctx, s, w, save)
		if err != nil {
			return time.Time{}, err
		}
		cut, err := m.cut(s, w)
		if err != nil {
			m.cfg.Log.ErrorContext(ctx, "a receipt cannot be made", "jti", s.ID, "err", err)
		}
		if cut {
			if err := save(); err != nil {
				return time.Time{}, err
			}
		}
		if !w.Final {
			w.Tried++
			again = m.cfg.Now().Add(backOff(w.Tried, muxPause, muxLongest, failed))
			if end := deadline(s, cmp.Or(m.cfg.Patience, muxPatience)); again.After(end) && m.cfg.Now().Before(end) {
				again = end
			}
		}
	}
	next := m.send(ctx, s, w)
	if next.IsZero() || !again.IsZero() && again.Before(next) {
		next = again
	}
	if next.IsZero() {
		return next, nil
	}
	state, err := json.Marshal(w)
	item.State = state
	return next, err
}

// deadline is when functions are not called any more: shortly before the order has to be complete, else after patience.
func deadline(s *Other, patience time.Duration) time.Time {
	by := s.Order.Directive.CompleteBy
	if by == 0 {
		return s.Received.Add(patience)
	}
	end := time.Unix(by, 0)
	return end.Add(-min(10*time.Second, max(end.Sub(s.Received)/10, 0)))
}

// order calls the function for each action that has no line yet. failed is the last error of one; it will be called again.
func (m *Mux) order(ctx context.Context, s *Other, w *way, save func() error) (failed, err error) {
	d := s.Order.Directive
	if reason := d.Refusal(); reason != "" {
		w.Lines = receipt.RefusedLines(d, reason, s.Received.Unix())
		return nil, nil
	}
	if w.Withdrawn == 0 {
		if w.Withdrawn, err = m.withdrawn(ctx, s.Order); err != nil {
			return nil, err
		}
	}
	for _, a := range d.Actions {
		if at := lineOf(w, a.ID); at >= 0 && w.Lines[at].Status != receipt.Pending {
			continue
		}
		now := m.cfg.Now()
		begun := w.Tries[a.ID] > 0
		known := m.acts[w.Type] != nil && m.cfg.Receipts.mayOrder(a.Action)
		var line receipt.Line
		switch {
		case !known && a.Optional:
			continue
		case !known:
			line = receipt.Line{Status: receipt.Failed, Reason: "not_supported"}
		case w.Withdrawn != 0 && !begun:
			line = receipt.Line{Status: receipt.Skipped, Reason: "withdrawn"}
		case !begun && d.NotAfter != 0 && now.Unix() > d.NotAfter:
			line = receipt.Line{Status: receipt.Failed, Reason: "expired"}
		case begun && !now.Before(deadline(s, cmp.Or(m.cfg.Patience, muxPatience))):
			line = receipt.Line{Status: receipt.Failed, Reason: "timed_out"}
		default:
			s.Action, s.Ref = a, ref(s.Order, a, a.Target)
			var ferr error
			if line, ferr = m.act(ctx, s, w); ferr != nil {
				m.cfg.Log.WarnContext(ctx, "a function failed and will be called again", "type", w.Type, "jti", s.ID, "action", a.Action, "try", s.Try, "err", ferr)
				failed, line = ferr, receipt.Line{Status: receipt.Pending, Reason: "in_progress"}
			}
		}
		setLine(w, a.ID, m.fill(s, a, line, w))
		if err := save(); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// lineOf finds the line of an action, -1 where there is none.
func lineOf(w *way, action string) int {
	return slices.IndexFunc(w.Lines, func(l receipt.Line) bool { return l.ID == action || l.ID == action+".1" })
}

func setLine(w *way, action string, l receipt.Line) {
	if at := lineOf(w, action); at >= 0 {
		w.Lines[at] = l
		return
	}
	w.Lines = append(w.Lines, l)
}

func ref(o *receipt.Order, a receipt.OrderedAction, t *receipt.Target) string {
	app, id := "", ""
	if t != nil {
		app, id = t.App, t.ID
	}
	return receipt.Ref(o.Issuer, o.JTI, a.ID, a.Action, app, id)
}

// usual is the reason of a line that gives none.
var usual = map[string]string{
	receipt.Succeeded: "done", receipt.Unconfirmed: "accepted_unconfirmed", receipt.Failed: "app_error", receipt.Skipped: "not_applicable",
	receipt.Pending: "in_progress", receipt.Reversed: "reversed_by_system",
}

// fill completes the line that a function gave.
func (m *Mux) fill(s *Other, a receipt.OrderedAction, l receipt.Line, w *way) receipt.Line {
	d := s.Order.Directive
	now := m.cfg.Now().Unix()
	if l.Status == "" && l.Reason == "" {
		l.Status = receipt.Succeeded
	}
	l.Reason = cmp.Or(l.Reason, usual[l.Status])
	if class, ok := receipt.ClassOf(l.Status, l.Reason); !ok || class == receipt.ClassNone {
		m.cfg.Log.Error("a function gave a line whose status and reason do not go together", "jti", s.ID, "action", a.Action, "status", l.Status, "reason", l.Reason)
		l = receipt.Line{Status: receipt.Failed, Reason: "internal_error"}
	}
	l.Action = a.Action
	if a.Action == "revoke_sessions" {
		l.Reach = cmp.Or(l.Reach, a.Reach())
	}
	if g := a.Target; g != nil { // printed as it was given (receipts A14)
		t := receipt.Target{}
		if l.Target != nil {
			t = *l.Target
		}
		t.App, t.Kind, t.ID = g.App, cmp.Or(g.Kind, t.Kind), cmp.Or(g.ID, t.ID)
		l.Target = &t
	}
	l.ID, l.Ref = a.ID, ref(s.Order, a, l.Target)
	switch {
	case d.Receipt.Detail == "summary":
		l.Quantity, l.Target, l.Ref = max(l.Quantity, 1), nil, ""
	case l.Target != nil:
		l.ID = a.ID + ".1"
	}
	l.RequestedAt = cmp.Or(l.RequestedAt, s.Received.Unix())
	tries := w.Tries[a.ID]
	l.Attempts = &tries
	if tries > 0 {
		l.StartedAt = cmp.Or(l.StartedAt, w.Since.Unix())
	}
	if l.Status == receipt.Pending {
		l.CompletedAt, l.Counts, l.Evidence = 0, nil, nil
		return l
	}
	l.CompletedAt = cmp.Or(l.CompletedAt, now)
	wanted := d.Receipt.Evidence == receipt.Counted || d.Receipt.Evidence == receipt.Committed || d.Receipt.Evidence == receipt.Verified
	evidence := receipt.Evidence{}
	if l.Evidence != nil {
		evidence = *l.Evidence
	}
	if !wanted { // counts reveal usage, and are printed only when they were asked for (receipts design §8)
		l.Counts, evidence.Level = nil, receipt.Assertion
	}
	if evidence.Level == "" {
		evidence.Level = receipt.Assertion
		if c := l.Counts; c != nil && c.Found != nil && c.Acted != nil && c.Left != nil {
			evidence.Level = receipt.Counted
		}
	}
	evidence.Method = cmp.Or(evidence.Method, receipt.MethodAPIResponse)
	l.Evidence = &evidence
	return l
}

// cut makes the receipt that is due, and reports whether one was.
func (m *Mux) cut(s *Other, w *way) (bool, error) {
	pending := slices.ContainsFunc(w.Lines, func(l receipt.Line) bool { return l.Status == receipt.Pending })
	d := s.Order.Directive
	if pending && (d.Receipt.When != "all" || w.Seq > 0) { // one interim is enough
		return false, nil
	}
	r, payload, err := m.issue(s, w, w.Lines, pending)
	if err != nil {
		// What a function added breaks a rule of receipts: its verdict is told, and no more.
		m.cfg.Log.Error("a line of a function breaks the rules of receipts", "jti", s.ID, "err", err)
		bare := slices.Clone(w.Lines)
		for i, l := range bare {
			if a, ok := d.Action(actionOf(l.ID)); ok {
				bare[i] = m.fill(s, a, receipt.Line{Status: l.Status, Reason: l.Reason, RequestedAt: l.RequestedAt, StartedAt: l.StartedAt, CompletedAt: l.CompletedAt}, w)
			}
		}
		if r, payload, err = m.issue(s, w, bare, pending); err != nil {
			if r, payload, err = m.issue(s, w, receipt.RefusedLines(d, "internal_error", s.Received.Unix()), false); err != nil {
				return false, err
			}
			pending = false
		}
		w.Lines = r.Lines
	}
	signer := m.cfg.Receipts.Signer
	compact, err := signer.Sign(payload)
	if err != nil {
		return false, err
	}
	w.Number, w.Seq, w.Hash, w.Receipt, w.Final = r.Number, r.Seq, set.Address(signer.Input(payload)), compact, !pending
	w.Sends, w.Cut = 0, m.cfg.Now()
	if d.Receipt.When == "exceptions" && r.Outcome == receipt.OutcomeFulfilled {
		w.Receipt = "" // owed to nobody
	}
	return true, nil
}

func actionOf(line string) string {
	for i := range len(line) {
		if line[i] == '.' {
			return line[:i]
		}
	}
	return line
}

// issue builds the claims of a receipt with these lines.
func (m *Mux) issue(s *Other, w *way, lines []receipt.Line, pending bool) (*receipt.Receipt, []byte, error) {
	now := m.cfg.Now()
	r := &receipt.Receipt{
		Number: cmp.Or(w.Number, receipt.NewNumber()), Seq: w.Seq + 1, Stage: receipt.StageFinal, Order: receipt.OrderLink{ReceivedAt: s.Received.Unix()},
		Merchant: &m.cfg.Receipts.Merchant, Cashier: &receipt.Who{Type: "system"}, Customer: receipt.CustomerFor(s.Order), Lines: slices.Clone(lines),
	}
	if m.cfg.Receipts.Merchant == (receipt.Merchant{}) {
		r.Merchant = nil
	}
	if pending {
		r.Stage = receipt.StageInterim
		r.NextUpdateBy = now.Add(24 * time.Hour).Unix()
		if by := s.Order.Directive.CompleteBy; by > now.Unix() {
			r.NextUpdateBy = by
		}
	}
	if w.Seq > 0 {
		r.Supersedes = &receipt.Supersedes{Seq: w.Seq, Hash: w.Hash}
	}
	payload, err := receipt.Issue(s.Order, r, set.NewID(), now.Unix())
	return r, payload, err
}

// send delivers the receipt that waits, if one does, and says when to try again; zero: it is not owed any more.
func (m *Mux) send(ctx context.Context, s *Other, w *way) time.Time {
	if w.Receipt == "" {
		return time.Time{}
	}
	err := m.cfg.Receipts.post(ctx, m.client.client(), w.Receipt)
	w.Sends++
	now := m.cfg.Now()
	until := w.Cut.Add(receiptPatience)
	if by := s.Order.Directive.CompleteBy; by != 0 {
		if late := time.Unix(by, 0).Add(receiptAfter); late.After(until) {
			until = late
		}
	}
	if err != nil && !errors.Is(err, errReceipt) && now.Before(until) {
		m.cfg.Log.InfoContext(ctx, "a receipt could not be delivered yet", "jti", s.ID, "try", w.Sends, "err", harmless(err))
		return now.Add(backOff(w.Sends, receiptPause, receiptLongest, err))
	}
	if err != nil {
		m.cfg.Log.ErrorContext(ctx, "a receipt was not taken", "jti", s.ID, "tries", w.Sends, "err", harmless(err))
	}
	if sent := m.cfg.Receipts.Sent; sent != nil {
		if u, perr := set.Parse(w.Receipt); perr == nil {
			if r, rerr := receipt.ReceiptOf(u, m.cfg.Receipts.vocabulary()); rerr == nil {
				sent(r, err)
			}
		}
	}
	w.Receipt = ""
	return time.Time{}
}
