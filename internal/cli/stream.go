package cli

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// streamCommand is about the streams on which we transmit, whoever made them. Each is named by the name of its
// resource, where an operator made it, or by its stream_id.
func (a *App) streamCommand() *cobra.Command {
	return noun("stream", "Streams on which we transmit", a.streamList(), a.streamShow(), a.streamStatus(),
		a.streamChange("pause", "paused", "Hold what is for it until it is resumed"),
		a.streamChange("resume", "enabled", "Send again, and what was held first"),
		a.streamChange("disable", "disabled", "Send and hold nothing; what waits is dropped"),
		a.streamVerify(), a.streamExplain(),
		noun("subject", "The list of subjects that a stream is about", a.streamSubject("add"), a.streamSubject("remove")),
		a.streamDelete())
}

func streamPath(ref string, more ...string) string {
	return strings.Join(append([]string{"/streams/" + url.PathEscape(ref)}, more...), "/")
}

// streamNames completes the first argument with the streams that are there.
func (a *App) streamNames() cobra.CompletionFunc { return a.names("/streams", 1, "name", "stream_id") }

func (a *App) streamList() *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "list", Short: "List streams, with how each is doing", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/streams", nil, limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		var warnings []string
		for _, it := range items {
			var s api.StreamInfo
			if err := json.Unmarshal(it, &s); err != nil {
				return err
			}
			rows = append(rows, []string{s.ID, s.Name, s.Client, s.Delivery.Method, s.Status, s.Health, count(s.Waiting), count(s.Sent), count(s.Dead)})
			for _, w := range s.Warnings {
				warnings = append(warnings, label(s)+": "+w)
			}
		}
		if err := a.listed(rows, more, []string{"stream_id", "name", "client", "by", "status", "health", "waiting", "delivered", "dead"}, "stream"); err != nil {
			return err
		}
		for _, w := range warnings {
			a.note("%s", w)
		}
		return nil
	}}
	c.Flags().IntVar(&limit, "limit", 200, "how many at most; 0: all")
	return c
}

// label is what a person calls a stream.
func label(s api.StreamInfo) string {
	if s.Name != "" {
		return s.Name
	}
	return s.ID
}

// streamStory reads one stream.
func (a *App) streamStory(c *cobra.Command, ref string) (raw []byte, s api.StreamStory, err error) {
	cl, err := a.client()
	if err != nil {
		return nil, s, err
	}
	if raw, err = cl.raw(c.Context(), "GET", streamPath(ref), nil, nil); err != nil {
		return nil, s, err
	}
	return raw, s, json.Unmarshal(raw, &s)
}

func (a *App) streamStatus() *cobra.Command {
	return &cobra.Command{Use: "status NAME|ID", Short: "Say in one line how a stream is doing", Args: exact(1), ValidArgsFunction: a.streamNames(),
		RunE: func(c *cobra.Command, args []string) error {
			_, s, err := a.streamStory(c, args[0])
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(map[string]any{"stream_id": s.ID, "name": s.Name, "status": s.Status, "reason": s.Reason, "health": s.Health, "why": s.Why, "waiting": s.Waiting, "dead": s.Dead})
			}
			line := label(s.StreamInfo) + "  " + s.Status
			if s.Reason != "" {
				line += " (" + s.Reason + ")"
			}
			if s.Health != s.Status {
				line += ", " + s.Health
			}
			if s.Why != "" {
				line += ": " + s.Why
			}
			a.say("%s", line)
			if s.Step != "" {
				a.note("next: %s", s.Step)
			}
			return nil
		}}
}

// streamChange makes pause, resume and disable.
func (a *App) streamChange(verb, status, short string) *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{Use: verb + " NAME|ID", Short: short, Args: exact(1), ValidArgsFunction: a.streamNames(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if status == "disabled" {
				if err := a.confirm(yes, "disable stream "+args[0]+" and drop what waits on it"); err != nil {
					return err
				}
			}
			return a.streamAnswer(c, cl, streamPath(args[0], "status"), api.StatusRequest{Status: status, Reason: reason}, func(s api.StreamInfo) {
				a.say("%s %s", label(s), s.Status)
			})
		}}
	c.Flags().StringVar(&reason, "reason", "", "why; the receiver is told")
	if status == "disabled" {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return c
}

// streamAnswer posts a request about a stream and shows the answer.
func (a *App) streamAnswer(c *cobra.Command, cl *client, path string, body any, show func(api.StreamInfo)) error {
	raw, err := cl.raw(c.Context(), "POST", path, nil, body)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.object(json.RawMessage(raw))
	}
	var s api.StreamInfo
	if err := json.Unmarshal(raw, &s); err != nil {
		return hub.Errorf(hub.Internal, "the answer cannot be read: %w", err)
	}
	show(s)
	return nil
}

func (a *App) streamVerify() *cobra.Command {
	return &cobra.Command{Use: "verify NAME|ID", Short: "Send a verification event, to see that the receiver takes it", Args: exact(1), ValidArgsFunction: a.streamNames(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			return a.streamAnswer(c, cl, streamPath(args[0], "verify"), nil, func(s api.StreamInfo) {
				a.say("a verification event is on its way on %s", s.ID)
				a.note("What became of it: countersign delivery list --stream %s --limit 1", args[0])
			})
		}}
}

// jsonFlag checks the JSON of a flag.
func jsonFlag(name, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, hub.Errorf(hub.Invalid, "--%s is not JSON", name).WithHint(`in quotes, as in --%s '{"format":"email","email":"alice@example.test"}'`, name)
	}
	return json.RawMessage(text), nil
}

func (a *App) streamExplain() *cobra.Command {
	var req api.ExplainRequest
	var sub, payload, order string
	c := &cobra.Command{Use: "explain NAME|ID --event TYPE --subject JSON", Short: "Say whether this event about this subject would be sent, and why not", Args: exact(1),
		ValidArgsFunction: a.streamNames(),
		Example:           `  countersign stream explain crm-signals --event caep/session-revoked --subject '{"format":"email","email":"alice@example.test"}'`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if req.EventType == "" || sub == "" {
				return hub.Errorf(hub.Invalid, "--event and --subject are needed").WithHint("countersign event types")
			}
			if req.SubID, err = jsonFlag("subject", sub); err != nil {
				return err
			}
			if req.Event, err = jsonFlag("payload", payload); err != nil {
				return err
			}
			if req.Order, err = a.directive(order); err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			raw, err := cl.raw(c.Context(), "POST", streamPath(args[0], "explain"), nil, req)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			var e api.Explained
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			for _, s := range e.Steps {
				mark := "no "
				if s.OK {
					mark = "yes"
				}
				a.say("%s  %-12s %s", mark, s.What, s.Why)
			}
			verdict := "It would not be sent."
			if e.Sent {
				verdict = "It would be sent."
			}
			a.say("%s", verdict)
			return nil
		}}
	c.Flags().StringVar(&req.EventType, "event", "", "event type, by name or URI")
	c.Flags().StringVar(&sub, "subject", "", "subject identifier, JSON")
	c.Flags().StringVar(&payload, "payload", "", "the event's members, JSON")
	c.Flags().StringVar(&order, "order", "", "file with a directive, to ask about an order")
	return c
}

func (a *App) streamSubject(op string) *cobra.Command {
	var unverified bool
	short := "Put a subject on the list, so that events about it are sent"
	if op == "remove" {
		short = "Take a subject off, so that events about it are not sent"
	}
	c := &cobra.Command{Use: op + " NAME|ID JSON", Short: short, Args: exact(2), ValidArgsFunction: a.streamNames(),
		Example: `  countersign stream subject ` + op + ` crm-signals '{"format":"email","email":"alice@example.test"}'`,
		RunE: func(c *cobra.Command, args []string) error {
			sub, err := jsonFlag("subject", args[1])
			if err != nil {
				return hub.Errorf(hub.Invalid, "the subject is not JSON").WithHint(`in quotes, as in '{"format":"email","email":"alice@example.test"}'`)
			}
			body := map[string]any{op: sub}
			if op == "add" {
				body["verified"] = !unverified
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			raw, err := cl.raw(c.Context(), "POST", streamPath(args[0], "subjects"), nil, body)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			a.say("%s", map[string]string{"add": "added", "remove": "removed"}[op])
			return nil
		}}
	if op == "add" {
		c.Flags().BoolVar(&unverified, "unverified", false, "the receiver did not verify that the subject is whom it says")
	}
	return c
}

func (a *App) streamDelete() *cobra.Command {
	var yes bool
	c := &cobra.Command{Use: "delete NAME|ID", Short: "Delete a stream with what waits on it", Args: exact(1), ValidArgsFunction: a.streamNames(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "delete stream "+args[0]+" and what waits on it"); err != nil {
				return err
			}
			raw, err := cl.raw(c.Context(), "DELETE", streamPath(args[0]), nil, nil)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			a.say("deleted stream %s", args[0])
			return nil
		}}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
