package cli

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"countersign/internal/web/console"
)

// devCommand is for those who work on the program.
func (a *App) devCommand() *cobra.Command {
	pages := &cobra.Command{Use: "pages DIR", Short: "Write every console page in every state into a folder", Args: exact(1), RunE: func(_ *cobra.Command, args []string) error {
		write := func(name string, data []byte) error {
			path := filepath.Join(args[0], filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			return os.WriteFile(path, data, 0o644)
		}
		for path, data := range console.Assets() {
			if err := write(path, data); err != nil {
				return err
			}
		}
		for _, p := range console.Pages() {
			html := bytes.ReplaceAll(p.HTML, []byte(`="/assets/`), []byte(`="assets/`))
			if err := write(p.Name+".html", html); err != nil {
				return err
			}
			a.say("%s", filepath.Join(args[0], p.Name+".html"))
		}
		return nil
	}}
	commands := &cobra.Command{Use: "commands", Short: "Print docs/commands.md: every command with its flags", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		_, err := a.Stdout.Write([]byte(commandPage(c.Root())))
		return err
	}}
	c := noun("dev", "For those who work on the program", pages, commands)
	c.Hidden = true
	return c
}
