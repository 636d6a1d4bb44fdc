package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

func (a *App) deliveryCommand() *cobra.Command {
	return noun("delivery", "What was sent on streams, waits, was set aside or skipped", a.deliveryList(), a.deliveryRedrive())
}

func (a *App) deliveryList() *cobra.Command {
	var limit int
	var stream, jti, txn, outcome string
	c := &cobra.Command{Use: "list", Short: "List deliveries, newest first", Args: exact(0),
		Example: "  countersign delivery list --stream crm-signals --outcome dead\n  countersign delivery list --txn 8675309 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			items, more, err := cl.list(c.Context(), "/deliveries", filters("stream", stream, "jti", jti, "txn", txn, "outcome", outcome), limit)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.lines(items)
			}
			var rows [][]string
			for _, it := range items {
				var d api.Delivery
				if err := json.Unmarshal(it, &d); err != nil {
					return err
				}
				rows = append(rows, deliveryRow(d))
			}
			return a.listed(rows, more, deliveryHead, "delivery of this kind")
		}}
	c.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	c.Flags().StringVar(&stream, "stream", "", "only on this stream: a name or a stream_id")
	c.Flags().StringVar(&jti, "jti", "", "only this token")
	c.Flags().StringVar(&txn, "txn", "", "only of this transaction")
	c.Flags().StringVar(&outcome, "outcome", "", "waiting, delivered, dead or skipped")
	_ = c.RegisterFlagCompletionFunc("outcome", words("waiting", "delivered", "dead", "skipped"))
	a.flagNames(c, "stream", "/streams", "name", "stream_id")
	return c
}

var deliveryHead = []string{"at", "stream", "event", "outcome", "answer", "tries", "jti", "reason"}

func deliveryRow(d api.Delivery) []string {
	stream := d.Name
	if stream == "" {
		stream = d.Stream
	}
	outcome, answer := d.Outcome, ""
	if d.Back {
		outcome += ", sent again since"
	}
	if d.Status != 0 {
		answer = itoa(d.Status)
	}
	return []string{when(d.At), stream, shortType(d.Type), outcome, answer, count(int64(d.Tries)), d.JTI, d.Reason}
}

// count is a number for people; none is nothing to look at.
func count[T int | int64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func (a *App) deliveryRedrive() *cobra.Command {
	var req api.RedriveRequest
	var yes bool
	c := &cobra.Command{Use: "redrive", Short: "Send again what was set aside", Args: exact(0),
		Long: "Redrive puts dead letters back among what waits, each at its old place and with its old jti. Say which: those of a\n" +
			"stream, one by its jti, those whose reason begins with a text, or --all.",
		Example: "  countersign delivery redrive --stream crm-signals\n  countersign delivery redrive --reason 'HTTP 400 invalid_request'",
		RunE: func(c *cobra.Command, _ []string) error {
			switch chosen := req.Stream != "" || req.JTI != "" || req.Reason != ""; {
			case !chosen && !req.All:
				return hub.Errorf(hub.Invalid, "which ones? --stream, --jti, --reason or --all is needed").WithHint("countersign delivery list --outcome dead")
			case chosen && req.All:
				return hub.Errorf(hub.Invalid, "--all goes with no other choice").WithHint("countersign delivery redrive --help")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if req.All {
				if err := a.confirm(yes, "send again every dead letter of every stream"); err != nil {
					return err
				}
			}
			raw, err := cl.raw(c.Context(), "POST", "/deliveries/redrive", nil, req)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			var r api.Redriven
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			if r.Redriven == 0 {
				a.note("There is no dead letter of this kind, or its stream is disabled.")
			}
			a.say("%d on their way again", r.Redriven)
			return nil
		}}
	c.Flags().StringVar(&req.Stream, "stream", "", "those of this stream: a name or a stream_id")
	c.Flags().StringVar(&req.JTI, "jti", "", "this one")
	c.Flags().StringVar(&req.Reason, "reason", "", "those whose reason begins so")
	c.Flags().BoolVar(&req.All, "all", false, "all of every stream")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.flagNames(c, "stream", "/streams", "name", "stream_id")
	return c
}
