package cli

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/web/api"
)

func (a *App) orderCommand() *cobra.Command {
	return noun("order", "Orders that we sent, and what came back", a.orderList(), a.orderShow(), a.orderExplain(), a.orderWithdraw())
}

// standings are the words of receipts design §6.7.
var standings = []string{"queued", "acknowledged", "rejected", "in_progress", "receipted", "closed_unreceipted", "unreceiptable", "disputed", "dropped", "expired", "withdrawn"}

func (a *App) orderList() *cobra.Command {
	var limit int
	var overdue bool
	var state, client, stream, txn string
	c := &cobra.Command{Use: "list", Short: "List orders, newest first", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		q := filters("state", state, "client", client, "stream", stream, "txn", txn)
		if overdue {
			q.Set("overdue", "true")
		}
		items, more, err := cl.list(c.Context(), "/orders", q, limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var o api.OrderInfo
			if err := json.Unmarshal(it, &o); err != nil {
				return err
			}
			stream := o.Name
			if stream == "" {
				stream = o.Stream
			}
			rows = append(rows, []string{o.JTI, seconds(o.IssuedAt), shortType(o.Type), o.Client, stream, standing(o), o.Outcome, seconds(o.CompleteBy)})
		}
		return a.listed(rows, more, []string{"jti", "sent", "event", "client", "stream", "standing", "outcome", "complete by"}, "order")
	}}
	c.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	c.Flags().BoolVar(&overdue, "overdue", false, "only those whose deadline passed without the receipt that was due")
	c.Flags().StringVar(&state, "state", "", "only in this state: "+strings.Join(standings, ", "))
	c.Flags().StringVar(&client, "client", "", "only to this client")
	c.Flags().StringVar(&stream, "stream", "", "only on this stream: a name or a stream_id")
	c.Flags().StringVar(&txn, "txn", "", "only of this transaction")
	_ = c.RegisterFlagCompletionFunc("state", words(standings...))
	a.flagNames(c, "stream", "/streams", "name", "stream_id")
	return c
}

// standing is the state with its two warnings.
func standing(o api.OrderInfo) string {
	switch {
	case o.Overdue:
		return o.Standing + ", overdue"
	case o.Late:
		return o.Standing + ", late"
	}
	return o.Standing
}

// seconds shows a NumericDate.
func seconds(n int64) string {
	if n == 0 {
		return ""
	}
	return time.Unix(n, 0).UTC().Format("2006-01-02 15:04:05Z")
}

// story reads an order by its jti or content address.
func (a *App) order(c *cobra.Command, ref string) (raw []byte, o api.OrderStory, err error) {
	cl, err := a.client()
	if err != nil {
		return nil, o, err
	}
	if raw, err = cl.raw(c.Context(), "GET", "/orders/"+url.PathEscape(ref), nil, nil); err != nil {
		return nil, o, err
	}
	return raw, o, json.Unmarshal(raw, &o)
}

func (a *App) orderShow() *cobra.Command {
	return &cobra.Command{Use: "show JTI|ADDRESS", Short: "Show an order, its way, and the receipts that came", Args: exact(1),
		ValidArgsFunction: a.names("/orders", 1, "jti"),
		RunE: func(c *cobra.Command, args []string) error {
			raw, o, err := a.order(c, args[0])
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			a.tellOrder(&o)
			return nil
		}}
}

func (a *App) tellOrder(o *api.OrderStory) {
	a.say("%s  %s to %s, sent %s, %s", o.JTI, shortType(o.Type), o.Client, seconds(o.IssuedAt), standing(o.OrderInfo))
	a.say("  address    %s", o.SetHash)
	for _, pair := range [][2]string{{"stream", strings.TrimSpace(o.Name + " " + o.Stream)}, {"txn", o.TXN}, {"subject", string(o.SubID)}, {"directive", string(o.Directive)},
		{"interim by", seconds(o.InterimBy)}, {"complete by", seconds(o.CompleteBy)}, {"outcome", o.Outcome}, {"disputed", o.Disputed}, {"withdrawn", o.WithdrawnWhy}} {
		if pair[1] != "" {
			a.say("  %-10s %s", pair[0], pair[1])
		}
	}
	a.say("\nwhat happened")
	for _, m := range o.Timeline {
		a.say("  %s  %-9s %s", when(m.At), m.What, m.Text)
	}
	a.say("\nreceipts")
	if len(o.Answers) == 0 {
		a.say("  none yet")
	}
	for _, r := range o.Answers {
		note := ""
		if r.Gap {
			note += ", one before it is missing"
		}
		if r.Late {
			note += ", came late and changed nothing"
		}
		a.say("  %s  no. %d of %s, %s: %s%s", when(r.Accepted), r.Seq, r.Number, r.Stage, r.Outcome, note)
	}
	if len(o.Explanation) > 0 {
		a.note("\nWhy it stands so: countersign order explain %s", o.JTI)
	}
}

func (a *App) orderExplain() *cobra.Command {
	return &cobra.Command{Use: "explain JTI|ADDRESS", Short: "Say in sentences how an order stands, and why", Args: exact(1),
		ValidArgsFunction: a.names("/orders", 1, "jti"),
		RunE: func(c *cobra.Command, args []string) error {
			_, o, err := a.order(c, args[0])
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(map[string]any{"jti": o.JTI, "standing": o.Standing, "outcome": o.Outcome, "late": o.Late, "overdue": o.Overdue, "explanation": o.Explanation})
			}
			for _, l := range o.Explanation {
				a.say("%s", l)
			}
			return nil
		}}
}

func (a *App) orderWithdraw() *cobra.Command {
	var req api.WithdrawRequest
	var yes bool
	c := &cobra.Command{Use: "withdraw JTI|ADDRESS --reason TEXT", Short: "Take an order back", Args: exact(1),
		Long:              "Withdraw takes an order back: one that still waits is not sent at all, otherwise its receiver is told on the same stream.\nAn order with a final receipt cannot be withdrawn.",
		ValidArgsFunction: a.names("/orders", 1, "jti"),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "withdraw order "+args[0]); err != nil {
				return err
			}
			raw, err := cl.raw(c.Context(), "POST", "/orders/"+url.PathEscape(args[0])+"/withdraw", nil, req)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.object(json.RawMessage(raw))
			}
			var o api.OrderInfo
			if err := json.Unmarshal(raw, &o); err != nil {
				return err
			}
			a.say("%s %s", o.JTI, standing(o))
			return nil
		}}
	c.Flags().StringVar(&req.ReasonAdmin, "reason", "", "why, for the receiver's administrators")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
