package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"countersign/internal/config"
	"countersign/internal/hub"
	"countersign/internal/web/api"
	"countersign/internal/web/ssf"
)

// drain is how long a stopping hub lets requests and work that began come to their end.
const drain = 20 * time.Second

// Run serves until ctx ends or a part fails, then stops in order: no new requests, no new work, what has begun
// at an app is finished, then the store is closed.
func (s *Server) Run(ctx context.Context) error {
	outside, admin := s.doors()
	quiet := slog.NewLogLogger(s.log.Handler(), slog.LevelDebug) // strangers' failed handshakes are no news
	out := &http.Server{Handler: outside, ErrorLog: quiet}
	adm := &http.Server{Handler: admin, ErrorLog: quiet}
	ssf.Limits(out)
	ssf.Limits(adm)
	adm.WriteTimeout = 5 * time.Minute // exports are long

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var wg sync.WaitGroup
	failed := make(chan error, 6)
	spawn := func(name string, run func(context.Context) error) context.CancelFunc {
		own, stop := context.WithCancel(work)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer stop()
			if err := run(own); err != nil && own.Err() == nil {
				select {
				case failed <- hub.Errorf(hub.Internal, "%s ended: %w", name, err):
				default: // one reason to stop is enough
				}
			}
		}()
		return stop
	}
	s.opening.Lock()
	s.spawn.Store(&spawn)
	for _, t := range s.all() {
		s.start(t)
	}
	s.opening.Unlock()
	spawn("the flow", s.belt.Run)
	spawn("the refusals", s.refusals.Run)
	spawn("the polls", s.pollers.Run)
	spawn("the look-out", s.lookOut)
	spawn("the watch", s.watch)
	spawn("the count", s.count)
	serve := func(name string, on func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := on(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				failed <- hub.Errorf(hub.Internal, "%s ended: %w", name, err)
			}
		}()
	}
	if s.cfg.Plain() {
		serve("listen", func() error { return out.Serve(s.outside) })
	} else {
		out.TLSConfig = s.certificate()
		serve("listen", func() error { return out.ServeTLS(s.outside, "", "") })
	}
	if s.cfg.AdminPlain() {
		serve("admin_listen", func() error { return adm.Serve(s.admin) })
	} else {
		adm.TLSConfig = s.certificate()
		serve("admin_listen", func() error { return adm.ServeTLS(s.admin, "", "") })
	}
	if err := s.writeAddress(); err != nil {
		s.log.Warn("the address file could not be written", "err", err)
	}
	var err error
	if s.started != nil {
		err = s.started(ctx)
	}
	if err == nil {
		s.running.Store(true)
	} else {
		failed <- err
	}

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.running.Store(false)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	_ = out.Shutdown(end)
	_ = adm.Shutdown(end)
	s.opening.Lock() // nothing is spawned from here on
	s.spawn.Store(nil)
	s.opening.Unlock()
	stopWork()
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-end.Done():
		s.log.Warn("some work did not end in time; it is taken up again at the next start")
	}
	if err := s.tracer.Shutdown(end); err != nil {
		s.log.Warn("the last traces were not sent", "err", err)
	}
	return errors.Join(err, s.Close())
}

// lookOut sees what other nodes changed, and counts what waits.
func (s *Server) lookOut(ctx context.Context) error {
	t := time.NewTicker(2 * time.Second)
	defer t.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		for _, kind := range []string{"process", "act", "cut", "send", "enroll", "verify"} {
			s.metrics.Jobs(kind, s.belt.Waiting(kind))
		}
		for _, t := range s.all() {
			g, err := s.store.Generation(ctx, t.name)
			if err != nil {
				continue
			}
			changed := g != t.view.Load().generation
			// What a node learned of a stream changes no generation, so several nodes look now and then anyway.
			if changed || s.store.Engine() == "postgres" && round%5 == 0 {
				if err := t.reload(ctx); err != nil && ctx.Err() == nil {
					s.log.Warn("the resources could not be read again", "tenant", t.name, "err", err)
				}
			}
			if round%5 == 0 || s.store.Engine() == "postgres" {
				if err := t.tendKeys(ctx); err != nil && ctx.Err() == nil {
					s.log.Warn("the signing keys could not be looked after", "tenant", t.name, "err", err)
				}
			}
			if err := t.look(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("the streams could not be read again", "tenant", t.name, "err", err)
			}
			if changed && t.name == api.DefaultTenant {
				if err := s.openAll(ctx); err != nil && ctx.Err() == nil {
					s.log.Warn("the tenants could not be read again", "err", err)
				}
			}
		}
	}
}

// Ready says whether work can be taken: the store answers and the flow runs.
func (s *Server) Ready(ctx context.Context) error {
	if !s.running.Load() {
		return hub.Errorf(hub.Unavailable, "the hub is starting or stopping")
	}
	return s.store.Ping(ctx)
}

// writeAddress says where this hub is, for commands run with --data.
func (s *Server) writeAddress() error {
	raw, err := json.Marshal(map[string]string{"admin": s.AdminURL(), "public": s.publicURL})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.cfg.Data, config.AddressFile), string(raw)+"\n")
}

func (s *Server) proxies() []netip.Prefix { return config.Prefixes(s.cfg.TrustedProxies) }

// split gives the API what is its, and the pages the rest.
func split(apiDoor, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		if strings.HasPrefix(p, "/api/") || p == "/healthz" || p == "/readyz" || p == "/metrics" {
			apiDoor.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}
