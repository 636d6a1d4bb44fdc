package receipt

import "fmt"

// Review lists what is worth knowing about a valid receipt and does not make it invalid: evidence below what
// was wanted (level shortfall), and notes on residue, times, claims beyond what is shown and a customer
// printed with less than asked (A11, A14, A17, A20, A49). floor is the lowest level acceptable whatever the
// order asked, "" for none; iat is that of the receipt and now the moment of looking, in seconds.
func Review(o *Order, r *Receipt, iat, now int64, floor string) []Finding {
	v := &review{order: o, now: now, iat: iat}
	closed := r.Stage != StageInterim
	want := wanted(o.Directive, floor)
	for i := range r.Lines {
		l := &r.Lines[i]
		where := fmt.Sprintf("lines[%d]", i)
		v.times(where, l)
		reached := l.Reached()
		if l.Evidence != nil && levelRank(reached) < levelRank(l.Evidence.Level) {
			v.note(where, "evidence_claim", "it claims %s and shows %s", l.Evidence.Level, reached)
		}
		a, ordered := o.Directive.Action(l.actionID())
		class, _ := ClassOf(l.Status, l.Reason)
		if closed && ordered && !a.Optional && class == ClassSatisfied && levelRank(reached) < levelRank(want) {
			v.add(LevelShortfall, where, "evidence", "%s was wanted, %s is reached", want, reached)
		}
		if closed && o.Directive.Receipt.Detail == "per_target" && l.quantity() > 1 {
			v.add(LevelShortfall, where, "detail", "a line for each target was wanted, this one speaks of %d", l.quantity()) // A14
		}
	}
	asked := o.Directive.Receipt.Customer
	if (asked == "echo" || asked == "hash") && (r.Customer == nil || r.Customer.Omitted) {
		v.note("customer", "customer", "%s was asked for, and the customer is omitted", asked)
	}
	return v.findings
}

type review struct {
	order    *Order
	iat, now int64
	findings []Finding
}

func (v *review) add(level, where, code, format string, args ...any) {
	v.findings = append(v.findings, Finding{Level: level, Where: where, Code: code, Text: fmt.Sprintf(format, args...)})
}

func (v *review) note(where, code, format string, args ...any) {
	v.add(LevelNote, where, code, format, args...)
}

// times flags what does not lie in order (A49), a start after not_after, and residue (A11).
func (v *review) times(where string, l *Line) {
	var verified int64
	if l.Evidence != nil {
		verified = l.Evidence.VerifiedAt
	}
	latest := v.iat + clockSlack
	for _, pair := range []struct {
		a, b int64
		text string
	}{
		{l.RequestedAt, l.StartedAt, "requested_at lies after started_at"},
		{l.RequestedAt, l.CompletedAt, "requested_at lies after completed_at"},
		{l.StartedAt, l.CompletedAt, "started_at lies after completed_at"},
		{l.CompletedAt, verified, "completed_at lies after verified_at"},
		{l.CompletedAt, l.ReversedAt, "completed_at lies after reversed_at"},
		{l.CompletedAt, latest, "completed_at lies after the receipt"},
		{verified, latest, "verified_at lies after the receipt"},
	} {
		if pair.a != 0 && pair.b != 0 && pair.a > pair.b {
			v.note(where, "times", "%s", pair.text)
		}
	}
	if limit := v.order.Directive.NotAfter; limit != 0 && l.StartedAt > limit {
		v.note(where, "started_late", "the action started after not_after")
	}
	if l.EffectiveBy > v.now {
		v.note(where, "residue", "access granted before can last until %s", clock(l.EffectiveBy))
	}
}

// wanted is the evidence level to compare with: what the order asked, and never below floor.
func wanted(d *Directive, floor string) string {
	if levelRank(floor) > levelRank(d.Receipt.Evidence) {
		return floor
	}
	return d.Receipt.Evidence
}

// reachedOf is the lowest level on the satisfied lines of required actions, "" where there is none.
func reachedOf(d *Directive, r *Receipt) string {
	lowest := ""
	for i := range r.Lines {
		l := &r.Lines[i]
		a, ok := d.Action(l.actionID())
		if class, _ := ClassOf(l.Status, l.Reason); !ok || a.Optional || class != ClassSatisfied {
			continue
		}
		if got := l.Reached(); lowest == "" || levelRank(got) < levelRank(lowest) {
			lowest = got
		}
	}
	return lowest
}
