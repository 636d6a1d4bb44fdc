package cli

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

func (a *App) secretCommand() *cobra.Command {
	set := &cobra.Command{Use: "set NAME", Short: "Keep a value read from standard input", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		if terminal(a.Stdin) {
			a.note("Type the value, then Ctrl-D. It will show; a pipe keeps it off the screen.")
		}
		data, err := io.ReadAll(io.LimitReader(a.Stdin, 64<<10+1))
		if err != nil {
			return err
		}
		value := strings.TrimRight(string(data), "\r\n")
		if value == "" {
			return hub.Errorf(hub.Invalid, "there was no value on standard input").WithHint("printf %%s VALUE | countersign secret set %s", args[0])
		}
		var out json.RawMessage
		if err := cl.do(c.Context(), "PUT", "/secrets/"+url.PathEscape(args[0]), nil, map[string]string{"value": value}, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(out)
		}
		a.say("secret %s is kept; refer to it as {stored: %s}", args[0], args[0])
		return nil
	}}
	list := &cobra.Command{Use: "list", Short: "List names; nobody gets the values", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, _, err := cl.list(c.Context(), "/secrets", url.Values{"unpaged": {"1"}}, 0)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var s struct {
				Name    string     `json:"name"`
				Updated hub.Micros `json:"updated_at"`
			}
			if err := json.Unmarshal(it, &s); err != nil {
				return err
			}
			rows = append(rows, []string{s.Name, when(s.Updated)})
		}
		return a.table([]string{"name", "changed"}, rows)
	}}
	var yes bool
	del := &cobra.Command{Use: "delete NAME", Short: "Delete one that nothing refers to", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		if err := a.confirm(yes, "delete secret "+args[0]); err != nil {
			return err
		}
		var out json.RawMessage
		if err := cl.do(c.Context(), "DELETE", "/secrets/"+url.PathEscape(args[0]), nil, nil, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(out)
		}
		a.say("deleted secret %s", args[0])
		return nil
	}}
	del.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return noun("secret", "Values that resources refer to", set, list, del)
}
