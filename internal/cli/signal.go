package cli

import (
	"crypto/rand"
	"encoding/json"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

func (a *App) signalCommand() *cobra.Command {
	return noun("signal", "What came in, and what became of it", a.signalList(), a.signalShow(), a.signalSend())
}

func (a *App) signalList() *cobra.Command {
	var limit int
	var state, source, eventType, identity string
	c := &cobra.Command{Use: "list", Short: "List signals, newest first", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
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
		return a.listed(rows, more, []string{"id", "received", "event", "from", "whom", "state", "receipt"}, "signal")
	}}
	c.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	c.Flags().StringVar(&state, "state", "", "received, unresolved, decided or done")
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
			a.say("  none was ordered")
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

func (a *App) signalSend() *cobra.Command {
	var eventType, sub, payload, order, do, txn, key string
	c := &cobra.Command{Use: "send --event TYPE --subject JSON", Short: "Put a signal in, through the hub's API", Args: exact(0),
		Example: `  countersign signal send --event caep/session-revoked --subject '{"format":"email","email":"alice@example.test"}'`,
		RunE: func(c *cobra.Command, _ []string) error {
			if eventType == "" || sub == "" {
				return hub.Errorf(hub.Invalid, "--event and --subject are needed").WithHint("countersign event types")
			}
			body := map[string]any{"event_type": eventType, "do": do}
			if txn != "" {
				body["txn"] = txn
			}
			for name, text := range map[string]string{"sub_id": sub, "event": payload} {
				if text == "" {
					continue
				}
				if !json.Valid([]byte(text)) {
					return hub.Errorf(hub.Invalid, "--%s is not JSON", map[string]string{"sub_id": "subject", "event": "payload"}[name])
				}
				body[name] = json.RawMessage(text)
			}
			if order != "" {
				data, err := os.ReadFile(order)
				if err != nil {
					return hub.Errorf(hub.Invalid, "--order: %w", err)
				}
				if !json.Valid(data) {
					return hub.Errorf(hub.Invalid, "--order: %s is not JSON", order)
				}
				body["order"] = json.RawMessage(data)
			}
			if key == "" {
				key = rand.Text()
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var out json.RawMessage
			if err := cl.do(c.Context(), "POST", "/signals", nil, body, &out, "Idempotency-Key", key); err != nil {
				return err
			}
			if a.flags.json {
				return a.object(out)
			}
			var s struct{ ID string }
			if err := json.Unmarshal(out, &s); err != nil {
				return err
			}
			a.say("%s", s.ID)
			a.note("Its story: countersign signal show %s", s.ID)
			return nil
		}}
	c.Flags().StringVar(&eventType, "event", "", "event type, by name or URI")
	c.Flags().StringVar(&sub, "subject", "", "subject identifier, JSON")
	c.Flags().StringVar(&payload, "payload", "", "the event's members, JSON")
	c.Flags().StringVar(&order, "order", "", "file with a directive: what is ordered from those who receive it")
	c.Flags().StringVar(&do, "do", "act", "act: act on it here; transmit: send it to the streams that asked for its type")
	c.Flags().StringVar(&txn, "txn", "", "transaction id that ties signals together")
	c.Flags().StringVar(&key, "key", "", "idempotency key, to repeat a request without harm; made up otherwise")
	return c
}
