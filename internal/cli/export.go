package cli

import (
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"
)

func (a *App) exportCommand() *cobra.Command {
	var set, kind string
	c := &cobra.Command{Use: "export", Short: "Print every resource as a file that apply takes", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		q := url.Values{}
		if set != "" {
			q.Set("set", set)
		}
		if kind != "" {
			q.Set("kind", kind)
		}
		var out struct {
			Resources []json.RawMessage `json:"resources"`
		}
		if err := cl.do(c.Context(), "GET", "/export", q, nil, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(out.Resources)
		}
		for i, doc := range out.Resources {
			text, err := toYAML(doc)
			if err != nil {
				return err
			}
			head := "---\n"
			if i == 0 {
				head = "apiVersion: countersign/v1\n"
			}
			a.Stdout.Write([]byte(head))
			a.Stdout.Write(text)
		}
		return nil
	}}
	c.Flags().StringVar(&set, "set", "", "only of this set")
	c.Flags().StringVar(&kind, "kind", "", "only of this kind")
	return c
}
