package cli

import (
	"context"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// unresolvedSummary says how much waits, and why.
func (a *App) unresolvedSummary(ctx context.Context, cl *client) error {
	var u struct {
		Count  int        `json:"count"`
		Oldest hub.Micros `json:"oldest_at"`
		By     []struct {
			Source string `json:"source"`
			Reason string `json:"reason"`
			Count  int    `json:"count"`
		} `json:"by"`
	}
	if err := cl.do(ctx, "GET", "/unresolved", nil, nil, &u); err != nil {
		return err
	}
	a.note("%d wait, the first since %s:", u.Count, when(u.Oldest))
	for _, r := range u.By {
		a.note("  %d from %s: %s", r.Count, r.Source, r.Reason)
	}
	a.note("They run by themselves when the mapping appears; at once: countersign signal redrive --unresolved")
	return nil
}

func (a *App) signalRedrive() *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "redrive [ID…]", Short: "Look at unresolved signals once more", ValidArgsFunction: a.names("/signals", 1000, "id"),
		Long: "Redrive finds out anew whom unresolved signals are about. They run by themselves when an identity, an account or the rules of a\n" +
			"source change; this is for when something else did. A signal that was decided is not decided twice.",
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return hub.Errorf(hub.Invalid, "give ids of signals, or --unresolved for all that wait").WithHint("countersign signal list --unresolved")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{}
			if len(args) > 0 {
				body["ids"] = args
			}
			var out struct {
				Queued int `json:"queued"`
			}
			if err := cl.do(c.Context(), "POST", "/unresolved/redrive", nil, body, &out); err != nil {
				return err
			}
			if a.flags.json {
				return a.object(out)
			}
			a.say("%d signals are looked at again. What came of them: countersign signal list", out.Queued)
			return nil
		}}
	c.Flags().BoolVar(&all, "unresolved", false, "every signal that is unresolved")
	return c
}
