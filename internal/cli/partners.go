package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/partner"
)

// partnersCommand is about the products on the other side. It needs no hub.
func (a *App) partnersCommand() *cobra.Command {
	return &cobra.Command{Use: "partners [NAME]", Short: "Products that speak SSF: what each needs, and the steps to connect one", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return partner.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.onePartner(args[0])
			}
			yes := map[bool]string{true: "yes"}
			var rows [][]string
			for _, p := range partner.All() {
				if a.flags.json {
					if err := a.object(partnerLine{p, p.Known()}); err != nil {
						return err
					}
				}
				rows = append(rows, []string{p.Name, p.Title, yes[p.Transmits], yes[p.Receives], strings.Join(p.Delivery, " "), strings.Join(p.QuirkIDs, " "), p.Sure + " " + p.Checked})
			}
			if a.flags.json {
				return nil
			}
			if err := a.table([]string{"profile", "partner", "transmits", "receives", "delivery", "quirks", "how sure"}, rows); err != nil {
				return err
			}
			a.note("countersign partners NAME prints the steps of one.")
			return nil
		}}
}

type partnerLine struct {
	*partner.Profile
	Known string `json:"known"`
}

func (a *App) onePartner(name string) error {
	p, ok := partner.Find(name)
	if !ok {
		err := hub.Errorf(hub.NotFound, "there is no partner profile %q", name)
		if near := partner.Nearest(name); near != "" {
			return err.WithHint("did you mean %s? countersign partners lists them", near)
		}
		return err.WithHint("countersign partners lists them")
	}
	if a.flags.json {
		return a.object(struct {
			partnerLine
			Guide string `json:"guide"`
		}{partnerLine{p, p.Known()}, p.Guide})
	}
	_, err := a.Stdout.Write([]byte(p.Page()))
	return err
}
