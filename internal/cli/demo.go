package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"countersign/internal/demo"
	"countersign/internal/hub"
	"countersign/internal/store"
)

// stories are what demo can play.
var stories = [][2]string{
	{"loop", "an order comes in, sessions end at three apps, a signed receipt goes back"},
}

func (a *App) demoCommand() *cobra.Command {
	var opt demo.Options
	var list bool
	c := &cobra.Command{
		Use:   "demo [STORY]",
		Short: "Play the whole loop with real sessions, and print the receipt",
		Long: "Starts this binary as a hub, an identity provider, three web applications and browsers, all on loopback under\n" +
			"a certificate authority made for the occasion, and plays a story. At a terminal it then leaves everything running\n" +
			"until Ctrl-C; without one, or with --once, it exits. The exit status is 0 only if all was as promised.\n\n" +
			"  countersign demo\n  countersign demo --once --json --keep run1\n  countersign demo --once --break wrong-person",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if list {
				return a.stories()
			}
			if len(args) == 1 && !slices.ContainsFunc(stories, func(s [2]string) bool { return s[0] == args[0] }) {
				return hub.Errorf(hub.Invalid, "there is no story %q", args[0]).WithHint("countersign demo --list")
			}
			if _, ok := demo.Breaks[opt.Break]; opt.Break != "" && !ok {
				return hub.Errorf(hub.Invalid, "nothing named %q can be broken", opt.Break).WithHint("--break app-down, forged-receipt or wrong-person")
			}
			if err := checkPostgres(opt.Database); err != nil {
				return err
			}
			terminal := isTerminal(a.Stdout)
			opt.JSON = a.flags.json
			opt.Once = opt.Once || !terminal
			opt.DropSchema = store.DropSchema
			if !opt.JSON {
				opt.Print = demo.Printer{W: a.Stdout, Color: terminal && a.Env("NO_COLOR") == ""}
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := demo.Run(ctx, opt, func(ctx context.Context, s *demo.Standing) {
				fmt.Fprint(a.Stdout, s.Text())
				<-ctx.Done()
			})
			if err != nil {
				return hub.Errorf(hub.Unavailable, "%w", err).WithHint("run it again with --keep DIR and read DIR/hub.log")
			}
			if opt.JSON {
				if err := a.object(r); err != nil {
					return err
				}
			}
			if !r.OK {
				return &exitError{status: 1}
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&list, "list", false, "name the stories")
	f.BoolVar(&opt.Once, "once", false, "play the scene and exit")
	f.StringVar(&opt.Database, "database", "", "a postgres:// URL: play it there, in a schema of its own that is dropped unless --keep")
	f.StringVar(&opt.Keep, "keep", "", "keep data, logs, evidence.json, order.jwt, receipt.jwt and slip.txt in this folder")
	f.StringVar(&opt.Break, "break", "", "let something go wrong on purpose: app-down, forged-receipt or wrong-person")
	return c
}

func (a *App) stories() error {
	for _, s := range stories {
		if a.flags.json {
			if err := a.object(map[string]string{"story": s[0], "title": s[1]}); err != nil {
				return err
			}
			continue
		}
		a.say("%-8s %s", s[0], s[1])
	}
	return nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
