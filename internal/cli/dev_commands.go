package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandPage is docs/commands.md.
func commandPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("<!-- Made from the program by `make generate`. -->\n# Commands\n\n" +
		"Every command with its arguments and flags, as `--help` tells them. [README.md](README.md#the-command-line) says which is for what.\n\n" +
		"Flags that all of them have:\n\n")
	flagTable(&b, root.PersistentFlags())
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n", c.Name())
		if c.HasSubCommands() {
			fmt.Fprintf(&b, "\n%s.\n", prose(c.Short))
		}
		commandEntry(&b, c)
	}
	return b.String()
}

func commandEntry(b *strings.Builder, c *cobra.Command) {
	if c.Hidden {
		return
	}
	if c.Runnable() && !c.HasSubCommands() {
		text := c.Short + "."
		if c.Long != "" {
			text = c.Long
		}
		fmt.Fprintf(b, "\n`%s`\n\n%s\n", strings.TrimSuffix(c.UseLine(), " [flags]"), prose(text))
		if c.LocalNonPersistentFlags().HasAvailableFlags() {
			b.WriteString("\n")
			flagTable(b, c.LocalNonPersistentFlags())
		}
	}
	for _, sub := range c.Commands() {
		commandEntry(b, sub)
	}
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| Flag | Means; default |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + "`, `" + name
		}
		if kind != "" {
			name += " " + kind
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += "; " + f.DefValue
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(prose(usage), "|", "\\|"))
	})
}

// prose keeps text from being read as markup.
func prose(s string) string {
	return strings.NewReplacer("\n", " ", "<", "&lt;", "*", "\\*", "_", "\\_", "[", "\\[").Replace(strings.Join(strings.Fields(s), " "))
}
