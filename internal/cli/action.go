package cli

import (
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

func (a *App) actionCommand() *cobra.Command {
	var limit int
	var state, app, identity, signal string
	list := &cobra.Command{Use: "list", Short: "List actions, newest first", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/actions", filters("state", state, "app", app, "identity", identity, "signal", signal), limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var x hub.Action
			if err := json.Unmarshal(it, &x); err != nil {
				return err
			}
			rows = append(rows, []string{x.ID, x.Name, x.App, x.Identity, string(x.State), x.Reason, string(x.Level), strconv.Itoa(x.Attempts)})
		}
		return a.listed(rows, more, []string{"id", "action", "app", "whom", "state", "reason", "proof", "tries"}, "action")
	}}
	list.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	list.Flags().StringVar(&state, "state", "", "only in this state")
	list.Flags().StringVar(&app, "app", "", "only at this app")
	list.Flags().StringVar(&identity, "identity", "", "only about this identity")
	list.Flags().StringVar(&signal, "signal", "", "only of this signal")
	show := &cobra.Command{Use: "show ID", Short: "Show one, with its attempts and its evidence", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		raw, err := cl.raw(c.Context(), "GET", "/actions/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.object(json.RawMessage(raw))
		}
		text, err := toYAML(raw)
		if err != nil {
			return err
		}
		for _, l := range splitLines(string(text)) {
			a.say("%s", l)
		}
		return nil
	}}
	return noun("action", "What was done, or is being done", list, show)
}
