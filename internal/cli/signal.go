package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
)

func (a *App) signalCommand() *cobra.Command {
	return noun("signal", "What came in, and what became of it", a.signalList(), a.signalShow(), a.signalRedrive(), a.signalSend())
}

func (a *App) signalList() *cobra.Command {
	var limit int
	var state, source, eventType, identity string
	var unresolved bool
	c := &cobra.Command{Use: "list", Short: "List signals, newest first", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		if unresolved && state != "" && state != string(hub.SignalUnresolved) {
			return hub.Errorf(hub.Invalid, "--unresolved does not go with --state %s", state)
		}
		if unresolved {
			state = string(hub.SignalUnresolved)
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/signals", filters("state", state, "source", source, "event_type", eventType, "identity", identity), limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var s hub.Signal
			if err := json.Unmarshal(it, &s); err != nil {
				return err
			}
			answer := ""
			if s.Order != nil {
				answer = s.Order.ReceiptNo + " " + s.Order.Outcome
			}
			who := s.IdentityName
			if who == "" {
				who = s.Reason
			}
			rows = append(rows, []string{s.ID, when(s.Received), shortType(s.EventType), s.Source, who, string(s.State), answer})
		}
		if err := a.listed(rows, more, []string{"id", "received", "event", "from", "whom", "state", "receipt"}, "signal"); err != nil || !unresolved || len(rows) == 0 {
			return err
		}
		return a.unresolvedSummary(c.Context(), cl)
	}}
	c.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	c.Flags().StringVar(&state, "state", "", "received, unresolved, decided or done")
	c.Flags().BoolVar(&unresolved, "unresolved", false, "what waits until somebody fits its subject, and how much of it there is")
	c.Flags().StringVar(&source, "source", "", "only from this source")
	c.Flags().StringVar(&eventType, "event", "", "only of this type")
	c.Flags().StringVar(&identity, "identity", "", "only about this identity")
	return c
}

// listed prints a table, or says that there is nothing.
func (a *App) listed(rows [][]string, more bool, head []string, what string) error {
	if len(rows) == 0 {
		a.note("There is no %s.", what)
		return nil
	}
	if err := a.table(head, rows); err != nil {
		return err
	}
	if more {
		a.note("There are more: --limit 0 lists all.")
	}
	return nil
}

func filters(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// shortType keeps the end of an event type URI.
func shortType(uri string) string {
	if i := strings.LastIndex(uri, "/"); i >= 0 {
		return uri[i+1:]
	}
	return strings.TrimPrefix(uri, "urn:ietf:params:scim:event:")
}

// story is the answer of GET /signals/{id}.
type story struct {
	hub.Signal
	Token *struct {
		Compact string          `json:"compact"`
		Header  json.RawMessage `json:"header"`
		Claims  json.RawMessage `json:"claims"`
	} `json:"token"`
	Decision *hub.Decision `json:"decision"`
	Actions  []hub.Action  `json:"actions"`
	Receipts []hub.Receipt `json:"receipts"`
	Agreed   string        `json:"-"` // what the source and we agreed on receipts, by now
}

// receiptsOf says what was agreed on receipts with a source; empty where that cannot be told, which is no failure of a story.
func (a *App) receiptsOf(ctx context.Context, cl *client, source string) string {
	var r struct {
		State struct {
			Receipts string `json:"receipts"`
		} `json:"state"`
	}
	if cl.do(ctx, "GET", sourcePath(source), nil, nil, &r) != nil {
		return ""
	}
	return r.State.Receipts
}

func (a *App) signalShow() *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Tell the whole story of one signal", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		raw, err := cl.raw(c.Context(), "GET", "/signals/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.object(json.RawMessage(raw))
		}
		var s story
		if err := json.Unmarshal(raw, &s); err != nil {
			return err
		}
		if s.Order == nil && s.Source != "" {
			s.Agreed = a.receiptsOf(c.Context(), cl, s.Source)
		}
		a.tell(&s)
		return nil
	}}
}

// tell prints a story for people.
func (a *App) tell(s *story) {
	a.say("%s  %s from %s, received %s, %s", s.ID, shortType(s.EventType), s.Source, when(s.Received), s.State)
	a.say("\ntoken\n  type     %s\n  subject  %s\n  event    %s", s.EventType, s.SubID, s.Event)
	if s.TXN != "" {
		a.say("  txn      %s", s.TXN)
	}
	if s.SetHash != "" {
		a.say("  address  %s", s.SetHash)
	}
	if s.PassedOn() {
		where := s.Reason
		if where == "" {
			where = "to every enabled stream that asked for the type; nothing is looked up or decided here"
		}
		a.say("\ntransmitted\n  %s", where)
		return
	}
	who := s.IdentityName
	if who == "" {
		who = "nobody yet: " + s.Reason
	}
	a.say("\nwhom\n  %s", who)
	for _, m := range s.Misses {
		a.say("  no answer from %s", m)
	}
	a.say("\nwhy")
	switch {
	case s.Decision == nil:
		a.say("  not decided yet")
	case len(s.Decision.Findings) == 0:
		a.say("  no policy speaks of this signal")
	default:
		for _, f := range s.Decision.Findings {
			what := f.Policy
			if f.Rule > 0 {
				what += " rule " + itoa(f.Rule)
			}
			if f.Line != "" {
				what = strings.TrimSpace(what + " ordered " + f.Line)
			}
			a.say("  %-8s %s: %s", f.Result, what, f.Reason)
		}
	}
	a.say("\nwhat")
	if len(s.Actions) == 0 {
		a.say("  nothing")
	}
	for _, x := range s.Actions {
		counts := ""
		if x.Counted {
			counts = ", " + strconv.Itoa(x.Acted) + " of " + strconv.Itoa(x.Found) + " " + x.Unit
		}
		level := ""
		if x.Level != "" {
			level = ", " + string(x.Level)
		}
		app := x.App
		if app == "" {
			app = "the hub"
		}
		reason := ""
		if x.Reason != "" && x.Reason != "done" {
			reason = " (" + x.Reason + ")"
		}
		a.say("  %s %s at %s: %s%s%s%s", x.ID, x.Name, app, x.State, reason, counts, level)
		for _, t := range x.Tries {
			answer := "no answer"
			if t.Answered != 0 {
				answer = strconv.Itoa(t.Status) + " " + t.Class
			}
			a.say("    try %d  %s  %s  %s", t.No, clock(t.Sent), t.Request, answer)
		}
	}
	a.say("\nreceipt")
	if len(s.Receipts) == 0 {
		if s.Order == nil {
			switch s.Agreed {
			case enroll.ReceiptsLegacy:
				a.say("  none was ordered: receipts are not supported by %s", s.Source)
			case enroll.ReceiptsDeclined:
				a.say("  none was ordered: %s declined receipts", s.Source)
			default:
				a.say("  none was ordered")
			}
		} else {
			a.say("  not cut yet")
		}
	}
	for _, r := range s.Receipts {
		more := ""
		if r.Reason != "" {
			more = ": " + r.Reason
		}
		a.say("  %s %s no. %d %s, %s, %s%s", r.ID, r.ReceiptNo, r.No, r.Stage, r.Outcome, r.State, more)
	}
	if len(s.Receipts) > 0 {
		a.note("\nThe slip: countersign receipt show %s", s.Receipts[len(s.Receipts)-1].ID)
	}
}
