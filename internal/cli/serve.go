package cli

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/config"
	"countersign/internal/hub"
	"countersign/internal/server"
	"countersign/internal/telemetry"
)

func (a *App) serveCommand() *cobra.Command {
	var file, listen, admin, packs, secretsDir string
	var dev, always bool
	var files []string
	c := &cobra.Command{Use: "serve", Short: "Run the hub", Args: exact(0),
		Long: "Serve runs the hub until it is told to stop. Without arguments it keeps everything in ./data, makes a self-signed\n" +
			"certificate, a master key and the operator's token there, and listens on loopback only.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := config.Default()
			if file != "" {
				var err error
				if cfg, err = config.Load(file); err != nil {
					return err
				}
			}
			for flag, to := range map[string]*string{"data": &cfg.Data, "listen": &cfg.Listen, "admin-listen": &cfg.AdminListen, "packs": &cfg.Packs, "secrets-dir": &cfg.SecretsDir} {
				if f := c.Flags().Lookup(flag); f != nil && f.Changed {
					*to = f.Value.String()
				}
			}
			cfg.Dev = dev
			if err := cfg.Check(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.serve(ctx, cfg, files, always)
		}}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration file; countersign config example prints one")
	f.StringVar(&listen, "listen", "", "where the doors for other systems listen")
	f.StringVar(&admin, "admin-listen", "", "where the admin API and the console listen")
	f.StringVar(&packs, "packs", "", "folder with connector packs of your own")
	f.StringVar(&secretsDir, "secrets-dir", "", "folder that {file: …} in --apply files is read below")
	f.BoolVar(&dev, "dev", false, "open http and loopback targets; loopback listeners only; receipts are marked")
	f.StringArrayVar(&files, "apply", nil, "apply this file at the start, into an empty database only; may be repeated")
	f.BoolVar(&always, "apply-always", false, "apply at every start")
	return c
}

const (
	// commitDelayEnv names the variable with which the bench makes the disk seem slower. It works under --dev only.
	commitDelayEnv = "COUNTERSIGN_BENCH_FSYNC"
)

func commitDelay(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, hub.Errorf(hub.Invalid, "%s: %w", commitDelayEnv, err)
	}
	return d, nil
}

func (a *App) serve(ctx context.Context, cfg config.Config, files []string, always bool) error {
	if a.Env("GOGC") == "" {
		tending, stop := context.WithCancel(ctx)
		defer stop()
		go tend(tending)
	}
	delay, err := commitDelay(a.Env(commitDelayEnv))
	if err != nil {
		return err
	}
	log := telemetry.Logger(a.Stderr, cfg.Log.Level, cfg.Log.Format)
	var s *server.Server
	s, err = server.New(ctx, server.Options{Config: cfg, Version: a.Version, Stop: a.Env(server.StopEnv), CommitDelay: delay, Log: log,
		Started: func(ctx context.Context) error {
			if len(files) == 0 {
				return nil
			}
			empty, err := s.Empty(ctx)
			if err != nil {
				return err
			}
			if !empty && !always {
				log.Info("--apply did nothing: the database is not empty; --apply-always applies at every start")
				return nil
			}
			cl, err := a.ownClient(s, cfg)
			if err != nil {
				return err
			}
			answer, err := a.apply(ctx, cl, applyFlags{files: files, secretsDir: cfg.SecretsDir})
			if err != nil {
				return hub.Errorf(hub.CodeOf(err), "--apply: %w", err)
			}
			log.Info("applied", "files", len(files), "resources", len(answer.Plan))
			return nil
		}})
	if err != nil {
		if cfg.Database != "" && hub.CodeOf(err) == hub.Unavailable && hint(err) == "" {
			err = hub.Errorf(hub.Unavailable, "the database cannot be had: %w", err).WithHint("see that PostgreSQL runs and that database, user and password in the URL are right")
		}
		return err
	}
	defer s.Close()
	for _, n := range s.Notes() {
		log.Info(n)
	}
	a.greet(s, cfg)
	return s.Run(ctx)
}

// ownClient calls the hub that this process runs.
func (a *App) ownClient(s *server.Server, cfg config.Config) (*client, error) {
	token, err := os.ReadFile(filepath.Join(cfg.Data, config.TokenFile))
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, path := range []string{filepath.Join(cfg.Data, config.CertFile), cfg.TLS.Cert, cfg.CAFile} {
		if pem, err := os.ReadFile(path); path != "" && err == nil {
			pool.AppendCertsFromPEM(pem)
		}
	}
	return newClient(s.AdminURL(), strings.TrimSpace(string(token)), pool), nil
}

// greet says where the hub is and what to do next.
func (a *App) greet(s *server.Server, cfg config.Config) {
	if a.flags.json {
		a.object(map[string]string{"public": s.PublicURL(), "admin": s.AdminURL(), "data": cfg.Data})
		return
	}
	if cfg.Dev {
		a.say("Development mode: http and loopback targets are open, and receipts say so.")
	}
	a.say("Countersign %s\n  public   %s\n  console  %s\n  token    %s", a.Version, s.PublicURL(), s.AdminURL(), filepath.Join(cfg.Data, config.TokenFile))
	a.say("Next: countersign apply -f FILE --data %s, or open the console and sign in with the token.", cfg.Data)
	fmt.Fprintln(a.Stdout)
}
