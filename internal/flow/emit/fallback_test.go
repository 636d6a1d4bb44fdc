package emit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
)

const oneSession = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"session"}}],"receipt":{"when":"all","evidence":"verified","detail":%q}}`

// behindLine is the ordered action that the decision closed, as decide links it to the wider one.
func behindLine(app string) *hub.Action {
	a := done(app, "", "a1")
	a.Reach, a.OrderReach, a.Fallback = hub.ReachSession, hub.ReachSession, hub.ReachTokens
	a.State, a.Reason, a.Level, a.Method, a.Attempts, a.Counted, a.EvidenceHash = hub.Failed, "not_supported", hub.Assertion, "operator_statement", 0, false, ""
	a.Started, a.VerifiedAt = 0, 0
	return a
}

func wider(app, account string, change func(*hub.Action)) *hub.Action {
	a := done(app, account, "x")
	a.Reach, a.Fallback, a.Policy = hub.ReachTokens, hub.ReachTokens, "p"
	if change != nil {
		change(a)
	}
	return a
}

// The ordered line is done only if the wider action is proven; otherwise it keeps its failure (details B3).
func TestOrderedLineBehindAWiderFallback(t *testing.T) {
	as := func(state hub.State, reason string, level hub.Level) func(*hub.Action) {
		return func(a *hub.Action) {
			a.State, a.Reason, a.Level, a.VerifiedAt = state, reason, level, 0
			a.Left = 0
			if state == hub.Failed {
				a.Acted, a.Left = 0, 2
			}
		}
	}
	for name, tc := range map[string]struct {
		actions []*hub.Action
		want    []string
		text    string
	}{
		"proven":                   {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", nil)}, []string{"a1.1 revoke_sessions succeeded/done x1", "x.1 revoke_sessions succeeded/done x1"}, "Done by line x.1,"},
		"only the word":            {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", as(hub.Succeeded, "done", hub.Assertion))}, []string{"a1.1 revoke_sessions failed/not_supported x1", "x.1 revoke_sessions succeeded/done x1"}, ""},
		"failed":                   {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", as(hub.Failed, "verification_failed", hub.Committed))}, []string{"a1.1 revoke_sessions failed/not_supported x1", "x.1 revoke_sessions failed/verification_failed x1"}, ""},
		"gone already":             {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", as(hub.Skipped, "already_gone", hub.Verified))}, []string{"a1.1 revoke_sessions skipped/already_gone x1", "x.1 revoke_sessions skipped/already_gone x1"}, "Done by line x.1,"},
		"open":                     {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", as(hub.Running, "", ""))}, []string{"a1.1 revoke_sessions pending/in_progress x1", "x.1 revoke_sessions pending/in_progress x1"}, "Waits for line x.1,"},
		"no policy carried it out": {[]*hub.Action{behindLine("wiki")}, []string{"a1.1 revoke_sessions failed/not_supported x1"}, ""},
		"work of another policy":   {[]*hub.Action{behindLine("wiki"), done("wiki", "7", "x")}, []string{"a1.1 revoke_sessions failed/not_supported x1", "x.1 revoke_sessions succeeded/done x1"}, ""},
		"the app knows nobody": {[]*hub.Action{behindLine("wiki"), wider("wiki", "", func(a *hub.Action) { a.State, a.Reason, a.Hidden = hub.Skipped, "no_such_subject", true })},
			[]string{"a1 revoke_sessions skipped/no_such_subject x1"}, ""},
		"two accounts, one of them proven": {[]*hub.Action{behindLine("wiki"), wider("wiki", "7", nil), wider("wiki", "8", as(hub.Failed, "app_error", hub.Committed))},
			[]string{"a1.1 revoke_sessions succeeded/done x1", "a1.2 revoke_sessions failed/not_supported x1", "x.1 revoke_sessions succeeded/done x1", "x.2 revoke_sessions failed/app_error x1"}, "Done by line x.1,"},
		"the right one of two": {[]*hub.Action{behindLine("wiki"), done("crm", "7", "x"), wider("wiki", "7", nil)},
			[]string{"a1.1 revoke_sessions succeeded/done x1", "x.1 revoke_sessions succeeded/done x1", "x.2 revoke_sessions succeeded/done x1"}, "Done by line x.2,"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, fmt.Sprintf(oneSession, "per_target"))
			o.actions = tc.actions
			_, r := o.cutNow(t)
			want(t, r, tc.want...)
			if got := r.Lines[0].ReasonText["en"]; !strings.HasPrefix(got, tc.text) || tc.text == "" && got != "" {
				t.Errorf("reason_text %q, want %q", got, tc.text)
			}
			if r.Lines[0].Reach != "session" {
				t.Errorf("the ordered line's reach is %s", r.Lines[0].Reach)
			}
		})
	}
	req.Covers(t, "B3")

	o := newOffice(t, fmt.Sprintf(oneSession, "summary"))
	o.actions = []*hub.Action{behindLine("wiki"), wider("wiki", "7", as(hub.Failed, "app_error", hub.Committed)), behindLine("crm"), wider("crm", "7", nil)}
	_, r := o.cutNow(t)
	want(t, r, "a1.1 revoke_sessions failed/not_supported x1", "a1.2 revoke_sessions succeeded/done x1", "x.1 revoke_sessions failed/app_error x1", "x.2 revoke_sessions succeeded/done x1")
	if got := r.Lines[1].ReasonText["en"]; !strings.HasPrefix(got, "Done by line x.2,") {
		t.Errorf("in a summary: %q", got)
	}
}

// When an order ends whose subject nobody fits (design section 3, when to give up).
func TestDeadlineOfAnUnresolvedOrder(t *testing.T) {
	for name, tc := range map[string]struct {
		completeBy, notAfter time.Duration // after it was received; 0: none
		want                 time.Duration
	}{
		"no time given":           {0, 0, 24 * time.Hour},
		"ten seconds before":      {time.Hour, 0, time.Hour - 10*time.Second},
		"a tenth of a short span": {20 * time.Second, 0, 18 * time.Second},
		"over when it came":       {-time.Minute, 0, -time.Minute},
		"not_after comes first":   {time.Hour, time.Minute, time.Minute + time.Microsecond},
		"not_after comes later":   {time.Hour, 2 * time.Hour, time.Hour - 10*time.Second},
		"not_after and no time":   {0, time.Minute, time.Minute + time.Microsecond},
		"not_after after a day":   {0, 48 * time.Hour, 24 * time.Hour},
	} {
		sig := &hub.Signal{Received: hub.At(now), Order: &hub.Order{}}
		if tc.completeBy != 0 {
			sig.Order.CompleteBy = now.Add(tc.completeBy).Unix()
		}
		if tc.notAfter != 0 {
			sig.Order.NotAfter = now.Add(tc.notAfter).Unix()
		}
		if got := Deadline(sig).Time().Sub(now); got != tc.want {
			t.Errorf("%s: %s after it was received, want %s", name, got, tc.want)
		}
	}
}

// While it waits, an unresolved order has one pending line, and its cut comes back at the deadline whatever made it due.
func TestUnresolvedOrderWaits(t *testing.T) {
	for when, interims := range map[string]int{"final": 0, "all": 1} {
		o := newOffice(t, fmt.Sprintf(two, when, "assertion", "per_target"))
		o.sig.State = hub.SignalUnresolved
		o.sig.Order.CompleteBy = now.Add(time.Hour).Unix()
		for range 2 {
			o.cutNow(t)
			if o.next == nil || *o.next != Deadline(o.sig) {
				t.Errorf("%s: the cut comes back at %v", when, o.next)
			}
		}
		if len(o.rows) != interims {
			t.Errorf("%s: %d receipts", when, len(o.rows))
		}
		o.clock = now.Add(time.Hour - 10*time.Second)
		_, r := o.cutNow(t)
		want(t, r, "a1 revoke_sessions skipped/no_such_subject x1")
		if r.Stage != "final" || r.Outcome != "unfulfilled" || o.next != nil || r.Lines[0].CompletedAt < r.Lines[0].RequestedAt {
			t.Errorf("%s: %+v, next %v", when, r, o.next)
		}
		if row, _ := o.cutNow(t); row != nil {
			t.Errorf("%s: said twice", when)
		}
	}
	req.Covers(t, "A28")
}
