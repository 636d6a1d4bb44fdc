package cli

import (
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"countersign/internal/bench"
	"countersign/internal/hub"
	"countersign/internal/store"
)

// checkBench refuses what cannot be measured before anything is started. given says whether a flag was.
func checkBench(given func(flag string) bool, args []string, opt bench.Options) error {
	fanOut := 1
	if opt.What == "ingest" {
		fanOut = 0
	}
	bad := func(format string, args ...any) error {
		return hub.Errorf(hub.Invalid, format, args...).WithHint("countersign bench --help")
	}
	switch {
	case len(args) > 1, !slices.Contains(bench.Figures(), opt.What):
		return bad("bench measures one of %s, not %s", strings.Join(bench.Figures(), ", "), strings.Join(args, " "))
	case opt.Alg != "" && !slices.Contains([]string{"RS256", "ES256", "EdDSA"}, opt.Alg):
		return bad("--alg is RS256, ES256 or EdDSA, not %q", opt.Alg)
	case opt.FanOut < fanOut:
		return bad("--fan-out is at least %d", fanOut)
	case given("seconds") && opt.Seconds <= 0:
		return bad("--seconds is more than 0")
	case opt.Rate < 0:
		return bad("--rate is not below 0")
	case opt.Rows < 0:
		return bad("--rows is not below 0")
	case opt.Signals < 0:
		return bad("--signals is not below 0")
	case opt.Kills < 0:
		return bad("--kills is not below 0")
	}
	return checkPostgres(opt.Database)
}

// checkPostgres says what is wrong with a --database of demo and bench.
func checkPostgres(database string) error {
	if database == "" {
		return nil
	}
	if u, err := url.Parse(database); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return hub.Errorf(hub.Invalid, "--database wants a postgres:// URL").WithHint("leave it out for SQLite")
	}
	return nil
}

func (a *App) benchCommand() *cobra.Command {
	var opt bench.Options
	c := &cobra.Command{
		Use:   "bench [" + strings.Join(bench.Figures(), "|") + "]",
		Short: "Measure a hub beside the floors of this machine",
		Long: "Starts its own hub process, receivers and load on loopback, and prints each figure beside the floors of the same\n" +
			"run: raw signatures per second, bare HTTP pushes per second, fsync. A run with loss exits 1 and prints no ratio.\n\n" +
			"  deliver    signals in at the API door, tokens out by push: a closed loop\n" +
			"  steady     the same at three quarters of the sign floor: does the queue grow\n" +
			"  ingest     the door and the store: time to the acknowledgement\n" +
			"  receive    tokens signed before, pushed, correlated and decided (--signals)\n" +
			"  isolation  100 receivers, and what four bad ones do to the others' p99\n" +
			"  backlog    CPU of a token with a million waiting ones against none\n" +
			"  polls      a thousand polls held at once: memory of each, and one event for all\n" +
			"  polls-plain the same behind a proxy that ends TLS\n" +
			"  streams    memory of 10,000 streams that lie idle\n" +
			"  lot        10,000 streams, 1,000 polls and 10 million subjects in one hub; a look-up among these\n" +
			"  nodes      two hubs on one PostgreSQL database against one\n" +
			"  loop       a signal in, sessions ended and proven, the receipt accepted\n" +
			"  outage     the database goes away under load and comes back (--seconds, PostgreSQL)\n" +
			"  full       the disk fills up under load and has room again (--dir, SQLite)\n" +
			"  kill-receive  pushes and polls under SIGKILL at named points and at random\n" +
			"  kill       the loop and deliveries under SIGKILL at named points and at random\n\n" +
			"  countersign bench deliver --alg ES256 --fan-out 10\n  countersign bench ingest --rate 1000\n  countersign bench loop\n  countersign bench kill --database postgres://…",
		ValidArgs: bench.Figures(),
		RunE: func(c *cobra.Command, args []string) error {
			opt.What = "deliver"
			if len(args) > 0 {
				opt.What = args[0]
			}
			if err := checkBench(c.Flags().Changed, args, opt); err != nil {
				return err
			}
			opt.DropSchema, opt.FillSubjects = store.DropSchema, store.FillSubjects
			if !a.flags.json && isTerminal(a.Stderr) {
				opt.Out = a.Stderr
			} else {
				opt.Out = io.Discard
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := bench.Run(ctx, opt)
			if err != nil {
				return hub.Errorf(hub.Unavailable, "bench %s: %w", opt.What, err)
			}
			if a.flags.json {
				if err := r.WriteJSON(a.Stdout); err != nil {
					return err
				}
			} else {
				r.Print(a.Stdout)
			}
			if !r.OK() {
				return &exitError{status: 1}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&opt.Alg, "alg", "", "RS256, ES256 or EdDSA (default: the figure's own)")
	f.IntVar(&opt.FanOut, "fan-out", 1, "streams that take each event; ingest: 0 measures the door and the store alone")
	f.Float64Var(&opt.Seconds, "seconds", 10, "seconds of load in all")
	f.Float64Var(&opt.Rate, "rate", 0, "events per second of an open loop (default: the figure's own; ingest: a closed loop)")
	f.IntVar(&opt.Clients, "clients", 64, "waiters of a closed loop")
	f.DurationVar(&opt.Fsync, "fsync-delay", 0, "added to each commit, to see what a slower disk does")
	f.IntVar(&opt.Kills, "kills", 5, "kill: random kills beside the named stop points")
	f.IntVar(&opt.Rows, "rows", 0, "backlog: tokens that wait (default 1,000,000); streams: how many lie idle (default 10,000)")
	f.IntVar(&opt.Signals, "signals", 0, "receive: how many are pushed (default 100,000)")
	f.StringVar(&opt.Dir, "dir", "", "full: a small file system of its own")
	f.StringVar(&opt.Database, "database", "", "a postgres:// URL instead of SQLite")
	return c
}
