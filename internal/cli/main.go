package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// Main is one run of the program: what it is given, and where it writes.
type Main struct {
	Args    []string // without the program's name
	Env     func(string) string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Version string
}

// App is what the commands of one run share.
type App struct {
	*Main
	flags struct {
		server, token, data, tenant, caFile string
		json                                bool
	}
}

// exitError ends the run with a status of its own and, where err is nil, without a message.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// tenantName is what --tenant takes: a name as resources have them, or nothing.
var tenantName = regexp.MustCompile(`^([a-z0-9]([a-z0-9._@+-]{0,126}[a-z0-9])?)?$`)

// Groups of the help, as surface.md has them.
const (
	groupTry   = "try"
	groupRun   = "run"
	groupSetUp = "setup"
	groupWatch = "watch"
	groupTest  = "test"
	groupBench = "measure"
)

// Run runs the command and gives the exit status.
func (m *Main) Run(ctx context.Context) int {
	if m.Env == nil {
		m.Env = os.Getenv
	}
	root := m.root()
	root.SetArgs(m.Args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var ee *exitError
	if errors.As(err, &ee) {
		if ee.err != nil {
			m.complain(c, ee.err)
		}
		return ee.status
	}
	m.complain(c, err)
	return hub.CodeOf(err).Exit()
}

// complain writes an error and the next step of the command c.
func (m *Main) complain(c *cobra.Command, err error) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	fmt.Fprintf(m.Stderr, "countersign: %s\n", plain(lines[0]))
	for _, l := range lines[1:] {
		fmt.Fprintf(m.Stderr, "  %s\n", plain(l))
	}
	fmt.Fprintf(m.Stderr, "next: %s\n", plain(next(c, err)))
}

// next is what to do about err: the first hint in its chain, and otherwise what its code says.
func next(c *cobra.Command, err error) string {
	if h := hint(err); h != "" {
		return h
	}
	switch hub.CodeOf(err) {
	case hub.Unavailable, hub.Limited:
		return "put that right, or wait a little, and repeat the command"
	case hub.Internal:
		return "look into the log of the hub; if it happens again, report it (CONTRIBUTING.md)"
	}
	return c.CommandPath() + " --help"
}

// hint is the first one in the chain of err; empty where there is none.
func hint(err error) string {
	var he *hub.Error
	for errors.As(err, &he) {
		if he.Hint != "" {
			return he.Hint
		}
		err = he.Unwrap()
	}
	return ""
}

// plain keeps text from outside from steering the terminal, and from looking like another text: of the characters that are
// not seen only the one that joins emoji stays.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && r != 0x200d || r == 0x2028 || r == 0x2029 {
			return '\ufffd'
		}
		return r
	}, s)
}

func (m *Main) root() *cobra.Command {
	a := &App{Main: m}
	root := &cobra.Command{
		Use:   "countersign",
		Short: "A Shared Signals hub whose signals come back with a signed receipt",
		Long: "Countersign takes in security signals, finds out whom they are about, acts at your applications,\n" +
			"and answers the sender with a signed receipt.\n\nFirst steps: countersign demo, or countersign serve.",
		Version:       m.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return hub.Errorf(hub.Invalid, "there is no command %q", args[0]).WithHint("countersign help")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(m.Stdin)
	root.SetOut(m.Stdout)
	root.SetErr(m.Stderr)
	root.SetVersionTemplate("countersign {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return hub.Errorf(hub.Invalid, "%w", err).WithHint("%s --help", c.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&a.flags.server, "server", "", "address of the hub's admin listener (COUNTERSIGN_SERVER)")
	f.StringVar(&a.flags.token, "token", "", "access token (COUNTERSIGN_TOKEN)")
	f.StringVar(&a.flags.data, "data", "", "data folder of a hub on this machine; address and token are found there")
	f.StringVar(&a.flags.caFile, "ca-file", "", "more roots for https, a PEM file")
	f.StringVar(&a.flags.tenant, "tenant", "", "tenant; the one of the token otherwise")
	f.BoolVar(&a.flags.json, "json", false, "print JSON: one object, or one object a line")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		if !tenantName.MatchString(a.flags.tenant) {
			return hub.Errorf(hub.Invalid, "--tenant %q is not the name of a tenant", a.flags.tenant).WithHint("countersign tenant list")
		}
		return nil
	}
	root.AddGroup(&cobra.Group{ID: groupTry, Title: "Try"}, &cobra.Group{ID: groupRun, Title: "Run"}, &cobra.Group{ID: groupSetUp, Title: "Set up"},
		&cobra.Group{ID: groupWatch, Title: "Watch"}, &cobra.Group{ID: groupTest, Title: "Try things"}, &cobra.Group{ID: groupBench, Title: "Measure"})
	root.SetHelpCommandGroupID(groupTry)
	root.SetCompletionCommandGroupID(groupTry)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupTry, a.demoCommand(), a.versionCommand())
	add(groupRun, a.serveCommand(), a.configCommand())
	add(groupRun, a.doctorCommand())
	add(groupSetUp, a.applyCommand(), a.exportCommand(), a.diffCommand())
	for _, n := range nouns {
		add(groupSetUp, a.nounCommand(n))
		if n.kind == hub.KindIdentity {
			add(groupSetUp, a.accountCommand())
		}
	}
	add(groupSetUp, a.streamCommand(), a.secretCommand(), a.tokenCommand(), a.keyCommand())
	add(groupWatch, a.signalCommand(), a.actionCommand(), a.orderCommand(), a.receiptCommand(), a.deliveryCommand())
	add(groupTest, a.sendCommand(), a.listenCommand(), a.eventCommand(), a.packCommand(), a.partnersCommand())
	add(groupBench, a.benchCommand())
	root.AddCommand(a.devCommand())
	a.completions(root)
	return root
}

// noun makes a command that only holds others.
func noun(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return hub.Errorf(hub.Invalid, "%s: there is no command %q", c.CommandPath(), args[0]).WithHint("%s --help", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(subs...)
	return c
}

// exact wants n arguments, and names them in the error.
func exact(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return hub.Errorf(hub.Invalid, "usage: %s", c.UseLine()).WithHint("%s --help", c.CommandPath())
		}
		return nil
	}
}
