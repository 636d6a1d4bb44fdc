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
	var file string
	check := &cobra.Command{Use: "check FILE", Short: "Say everything that is wrong with a configuration file", RunE: func(c *cobra.Command, args []string) error {
		if file != "" {
			args = append(args, file)
		}
		if err := exact(1)(c, args); err != nil {
			return err
		}
		return a.checkConfig(args[0], dev)
	}}
	check.Flags().BoolVar(&dev, "dev", false, "check as serve --dev would")
	check.Flags().StringVar(&file, "config", "", "the file, as for serve")
	return noun("config", "The configuration file", example, check)
}

func (a *App) checkConfig(file string, dev bool) error {
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	c.Dev = dev
	if err := c.Check(); err != nil {
		return err
	}
	if a.flags.json {
		return a.object(map[string]any{"ok": true, "file": file})
	}
	a.say("%s is in order.", file)
	return nil
}
