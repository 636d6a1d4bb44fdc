package cli

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"countersign/internal/connector"
	"countersign/internal/hub"
)

func (a *App) packCommand() *cobra.Command {
	check := &cobra.Command{Use: "check DIR…", Short: "Read packs and run the pairs beside them, without a hub", Args: cobra.MinimumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		for _, dir := range args {
			if _, err := os.Stat(filepath.Join(dir, "pack.yaml")); err != nil {
				return hub.Errorf(hub.NotFound, "%w", err).WithHint("give the folder of one pack: pack.yaml, README.md and testdata")
			}
			if err := connector.Check(dir); err != nil {
				return hub.Errorf(hub.Invalid, "%s: %w", dir, err).WithHint("put the pack or its pairs right, and check again")
			}
			if a.flags.json {
				if err := a.object(map[string]any{"ok": true, "pack": dir}); err != nil {
					return err
				}
				continue
			}
			a.say("%s is in order.", dir)
		}
		return nil
	}}
	return noun("pack", "Connector packs", check)
}
