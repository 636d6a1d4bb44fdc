package emit

import (
	"strconv"

	"countersign/internal/hub"
	"countersign/receipt"
)

// lines prints every action: those of the order in its order, then extra work (A13, A30).
func (o *Office) lines(ord *receipt.Order, sig *hub.Signal, actions []*hub.Action) []receipt.Line {
	d := ord.Directive
	byLine := map[string][]*hub.Action{}
	for _, a := range actions {
		id := a.Line
		if !a.Ordered || id == "" {
			id = receipt.ExtraWork
		}
		byLine[id] = append(byLine[id], a)
	}
	shown := visible(byLine[receipt.ExtraWork])
	extra := make([]receipt.Line, len(shown))
	for i, a := range shown {
		extra[i] = o.line(ord, sig, receipt.OrderedAction{ID: receipt.ExtraWork, Action: a.Name}, a)
	}
	extra, pos := o.number(d, receipt.ExtraWork, extra)
	at := map[*hub.Action]string{}
	for i, a := range shown {
		at[a] = extra[pos[i]].ID
	}
	var out []receipt.Line
	if sig.Order.Withdrawn != 0 && !planned(actions) && sig.State != hub.SignalReceived {
		out = ended(d, sig, "withdrawn", sig.Order.Withdrawn.Time()) // it was taken back before anything was planned for it
	} else if sig.Order.Refused != "" {
		out = receipt.RefusedLines(d, sig.Order.Refused, sig.Received.Seconds())
	} else {
		for _, oa := range d.Actions {
			out = append(out, o.ordered(ord, sig, oa, stands(byLine[oa.ID], byLine[receipt.ExtraWork]), at)...)
		}
	}
	return append(out, extra...)
}

// planned reports whether anything was planned for the order itself.
func planned(actions []*hub.Action) bool {
	for _, a := range actions {
		if a.Ordered {
			return true
		}
	}
	return false
}

// ordered prints one ordered action: a line for each target, or one that stands for all.
func (o *Office) ordered(ord *receipt.Order, sig *hub.Signal, oa receipt.OrderedAction, actions []stand, at map[*hub.Action]string) []receipt.Line {
	var shown []receipt.Line
	for _, a := range actions {
		if !a.Hidden {
			l := o.line(ord, sig, oa, a.Action)
			naming(&l, a, at)
			shown = append(shown, l)
		}
	}
	if len(shown) > 0 {
		shown, _ = o.number(ord.Directive, oa.ID, shown)
		return shown
	}
	one := receipt.Line{ID: oa.ID, Action: oa.Action, RequestedAt: sig.Received.Seconds()}
	if oa.Action == hub.RevokeSessions {
		one.Reach = oa.Reach()
	}
	switch {
	case len(actions) > 0:
		// Every app was asked, and none knows the person (design §3).
		one.Status, one.Reason = receipt.Skipped, "no_such_subject"
		for _, a := range actions {
			one.CompletedAt = max(one.CompletedAt, a.Completed.Seconds())
		}
		one.Evidence = &receipt.Evidence{Level: receipt.Assertion, Method: receipt.MethodAPIResponse}
	case sig.State == hub.SignalReceived || sig.State == hub.SignalUnresolved:
		one.Status, one.Reason = receipt.Pending, "queued"
	case oa.Optional:
		return nil
	default:
		one.Status, one.Reason = receipt.Failed, "internal_error"
	}
	return []receipt.Line{one}
}

// line prints one action at its target.
func (o *Office) line(ord *receipt.Order, sig *hub.Signal, oa receipt.OrderedAction, a *hub.Action) receipt.Line {
	status, reason := a.State.Line(a.Reason)
	attempts := a.Attempts
	l := receipt.Line{ID: oa.ID, Action: a.Name, Status: status, Reason: reason, Attempts: &attempts,
		RequestedAt: a.Requested.Seconds(), StartedAt: a.Started.Seconds()}
	if a.ReasonText != "" {
		l.ReasonText = map[string]string{"en": clip(a.ReasonText, 512)}
	}
	if a.Name == hub.RevokeSessions {
		l.Reach = string(a.Reach)
		if a.Ordered {
			l.Reach = oa.Reach()
		}
	}
	l.Target = o.target(sig, oa, a)
	app, id := "", ""
	if l.Target != nil {
		app, id = l.Target.App, l.Target.ID
	}
	l.Ref = receipt.Ref(ord.Issuer, ord.JTI, oa.ID, a.Name, app, id)
	if status == receipt.Pending {
		return l
	}
	l.CompletedAt = a.Completed.Seconds()
	if a.EffectiveBy != 0 {
		l.EffectiveBy = int64((a.EffectiveBy + 1e6 - 1) / 1e6) // never before the moment itself
	}
	counts := wantsCounts(ord.Directive) && a.Counted
	if counts {
		l.Counts = receipt.CountsOf(a.Unit, a.Found, a.Acted, a.Left)
	}
	level := a.Level
	if level == "" {
		level = hub.Assertion
	}
	if countable(a.Name) && !counts {
		level = hub.Assertion // levels are cumulative, and the counts are not on the line (A17, §8)
	}
	method := a.Method
	if method == "" {
		method = receipt.MethodOperator
	}
	l.Evidence = &receipt.Evidence{Level: string(level), Hash: a.EvidenceHash, Method: method, VerifiedAt: a.VerifiedAt.Seconds()}
	return l
}

// wantsCounts: counts reveal usage, and are printed only when they were asked for (receipts design §8).
func wantsCounts(d *receipt.Directive) bool {
	switch d.Receipt.Evidence {
	case receipt.Counted, receipt.Committed, receipt.Verified:
		return true
	}
	return false
}

func countable(action string) bool {
	return action == hub.RevokeSessions || action == hub.RevokeTokens
}

// target is what the line is about, named by a pseudonym of this source. What the order gave is printed as given (A14).
func (o *Office) target(sig *hub.Signal, oa receipt.OrderedAction, a *hub.Action) *receipt.Target {
	t := receipt.Target{App: a.App}
	switch {
	case a.Name == hub.RevokeSessions && a.Reach == hub.ReachSession && a.Session != "":
		t.Kind, t.ID = "session", o.pseudonym(sig, a.App+"/session/"+a.Session)
	case a.Account != "":
		t.Kind, t.ID = "account", o.pseudonym(sig, a.App+"/"+a.Account)
	}
	if g := oa.Target; g != nil {
		t.App = g.App
		if g.Kind != "" {
			t.Kind = g.Kind
		}
		if g.ID != "" {
			t.ID = g.ID
		}
	}
	if t.App == "" {
		return nil // the hub itself, or nothing was matched (B2)
	}
	return &t
}

func (o *Office) pseudonym(sig *hub.Signal, account string) string {
	return receipt.Pseudonym(o.Secret(sig.Tenant), sig.Tenant+"/"+sig.Source, account)
}

// Ref is the content address of an action, and its idempotency key towards the app (receipts design
// §5.3): the one that the receipt will print. For work nobody ordered it is made of the signal.
func (o *Office) Ref(sig *hub.Signal, a *hub.Action) string {
	oa := receipt.OrderedAction{ID: receipt.ExtraWork}
	if a.Ordered && a.Line != "" {
		oa.ID = a.Line
		if sig.Order != nil {
			if ord, err := o.order(sig); err == nil {
				if given, ok := ord.Directive.Action(a.Line); ok {
					oa = given
				}
			}
		}
	}
	t := o.target(sig, oa, a)
	app, id := "", ""
	if t != nil {
		app, id = t.App, t.ID
	}
	iss, jti := sig.Issuer, sig.JTI
	if iss == "" {
		iss = sig.Source
	}
	return receipt.Ref(iss, jti, oa.ID, a.Name, app, id)
}

// number gives the lines of one action their ids, and groups them where the order asked for a summary (A14). pos says
// which line of out each one became.
func (o *Office) number(d *receipt.Directive, id string, lines []receipt.Line) (out []receipt.Line, pos []int) {
	pos = make([]int, len(lines))
	for i := range pos {
		pos[i] = i
	}
	if d.Receipt.Detail == "summary" {
		lines, pos = summary(lines)
		if len(lines) == 1 && id != receipt.ExtraWork {
			lines[0].ID = id
			return lines, pos
		}
	} else if len(lines) == 1 && lines[0].Target == nil && id != receipt.ExtraWork {
		lines[0].ID = id
		return lines, pos
	}
	for i := range lines {
		lines[i].ID = id + "." + strconv.Itoa(i+1)
	}
	return lines, pos
}

// summary joins lines of equal action, status and reason: quantity counts targets, and no target is named. pos says
// for each line which it became a part of.
func summary(lines []receipt.Line) (out []receipt.Line, pos []int) {
	type key struct{ action, reach, status, reason string }
	at := map[key]int{}
	for _, l := range lines {
		k := key{l.Action, l.Reach, l.Status, l.Reason}
		i, seen := at[k]
		if !seen {
			i, at[k] = len(out), len(out)
		}
		pos = append(pos, i)
		if !seen {
			l.Target, l.Ref, l.Quantity = nil, "", 1
			out = append(out, l)
			continue
		}
		s := &out[i]
		s.Quantity++
		s.RequestedAt = earliest(s.RequestedAt, l.RequestedAt)
		s.StartedAt = earliest(s.StartedAt, l.StartedAt)
		s.CompletedAt = max(s.CompletedAt, l.CompletedAt)
		s.EffectiveBy = max(s.EffectiveBy, l.EffectiveBy)
		n := *s.Attempts + *l.Attempts
		s.Attempts = &n
		if s.Counts != nil && l.Counts != nil {
			s.Counts = receipt.CountsOf(s.Counts.Unit, *s.Counts.Found+*l.Counts.Found, *s.Counts.Acted+*l.Counts.Acted, *s.Counts.Left+*l.Counts.Left)
		} else {
			s.Counts = nil
		}
		if s.Evidence != nil && l.Evidence != nil {
			// The lowest of the levels; one hash cannot stand for several documents.
			s.Evidence = &receipt.Evidence{Level: lower(s.Evidence.Level, l.Evidence.Level), Method: s.Evidence.Method,
				VerifiedAt: max(s.Evidence.VerifiedAt, l.Evidence.VerifiedAt)}
		}
	}
	for i := range out {
		e := out[i].Evidence
		if e == nil || out[i].Quantity == 1 {
			continue
		}
		if e.Level == receipt.Committed || e.Level == receipt.Verified {
			e.Level = receipt.Assertion
			if out[i].Counts != nil {
				e.Level = receipt.Counted
			}
		}
		if e.VerifiedAt != 0 && e.VerifiedAt < out[i].CompletedAt {
			e.VerifiedAt = 0
		}
	}
	return out, pos
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

var levels = map[string]int{receipt.Assertion: 0, receipt.Counted: 1, receipt.Committed: 2, receipt.Verified: 3}

func lower(a, b string) string {
	if levels[a] < levels[b] {
		return a
	}
	return b
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
