package cli

import (
	"github.com/spf13/cobra"

	"countersign/internal/config"
)

func (a *App) configCommand() *cobra.Command {
	example := &cobra.Command{Use: "example", Short: "Print the whole configuration file, with comments and defaults", Args: exact(0), RunE: func(*cobra.Command, []string) error {
		_, err := a.Stdout.Write(config.Example())
		return err
	}}
	var dev bool
	check := &cobra.Command{Use: "check FILE", Short: "Say everything that is wrong with a configuration file", Args: exact(1), RunE: func(_ *cobra.Command, args []string) error {
		c, err := config.Load(args[0])
		if err != nil {
			return err
		}
		c.Dev = dev
		if err := c.Check(); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(map[string]any{"ok": true, "file": args[0]})
		}
		a.say("%s is in order.", args[0])
		return nil
	}}
	check.Flags().BoolVar(&dev, "dev", false, "check as serve --dev would")
	return noun("config", "The configuration file", example, check)
}
