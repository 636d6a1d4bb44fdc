package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"countersign/connectors"
	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	eventssf "countersign/event/ssf"
	"countersign/internal/config"
	"countersign/internal/connector"
	"countersign/internal/egress"
	"countersign/internal/flow"
	"countersign/internal/flow/act"
	"countersign/internal/flow/emit"
	"countersign/internal/flow/enroll"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/telemetry"
	"countersign/internal/vault"
	"countersign/internal/web/api"
	"countersign/internal/web/oauth"
	"countersign/internal/web/ssf"
	"countersign/set"
)

// Options are what a hub is built from.
type Options struct {
	Config  config.Config // checked
	Version string
	// Node is the stable id of this node. Empty: the name of the host.
	Node string
	// Stop is the value of StopEnv. It works under --dev only.
	Stop string
	// CommitDelay is added to each commit of SQLite, for the bench: as if the disk were slower. It works under --dev only.
	CommitDelay time.Duration
	// Started is called once when both listeners answer, and before the hub says that it is ready: what is
	// applied at the start goes in here. An error ends Run. Nil: nothing.
	Started func(ctx context.Context) error
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: slog.Default
}

// Server is one hub.
type Server struct {
	cfg      config.Config
	dev      bool
	version  string
	node     string
	now      func() time.Time
	log      *slog.Logger
	prepared *config.Prepared
	metrics  *telemetry.Metrics
	tracer   *telemetry.Tracer // nil: nobody wants traces

	store    *store.Store
	vault    *vault.Vault
	secrets  *vault.Secrets
	keys     *vault.Keys
	registry *event.Registry
	packs    *connector.Packs
	client   *http.Client
	push     http.RoundTripper // of deliveries
	poll     *http.Client      // of polls, which the other side may hold
	probe    *http.Client      // of the doctor, to our own public address
	runner   *connector.Runner

	belt     *flow.Belt
	door     *ingest.Door
	refusals *ingest.Refusals
	pollers  *pollers
	worker   *act.Worker
	office   *emit.Office
	enroller *enroll.Enroller
	pass     func(point string) // the kill bench's stop points; nil in production

	outside, admin net.Listener
	publicURL      string

	oauth *oauth.Server

	tenants atomic.Pointer[map[string]*tenant]
	opening sync.Mutex
	next    sync.Map                                                                              // by tenant: the *view being swapped in
	spawn   atomic.Pointer[func(name string, run func(context.Context) error) context.CancelFunc] // nil before Run

	withdrawn lately // orders that were taken back while their work may be in memory

	heard sync.Map // by tenant and source: when this node took its last signal

	keysMu  sync.Mutex
	remote  map[string]*set.RemoteKeys
	started func(ctx context.Context) error
	running atomic.Bool
	notes   []string
}

// New opens the store, makes what a first start needs, reads the resources and binds both listeners. It
// serves nobody before Run. Close it when Run is not called.
func New(ctx context.Context, o Options) (s *Server, err error) {
	s = &Server{cfg: o.Config, dev: o.Config.Dev, version: o.Version, node: cmp.Or(o.Node, o.Config.Node), now: o.Now, log: o.Log, started: o.Started, remote: map[string]*set.RemoteKeys{}}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.node == "" {
		if s.node, err = os.Hostname(); err != nil || s.node == "" {
			s.node = "node"
		}
	}
	if (o.Stop != "" || o.CommitDelay != 0) && !s.dev {
		return nil, hub.Errorf(hub.Invalid, "%s and a commit delay are for --dev only", StopEnv)
	}
	if s.pass, err = stopper(o.Stop); err != nil {
		return nil, err
	}
	if s.prepared, err = s.cfg.Prepare(s.now()); err != nil {
		return nil, err
	}
	s.notes = s.prepared.Notes
	built := s // the return of an error makes s nil
	defer func() {
		if err != nil {
			built.Close()
		}
	}()
	s.metrics = telemetry.NewMetrics(o.Version)
	if s.tracer, err = telemetry.Tracing(ctx, telemetry.TraceConfig{Endpoint: s.cfg.OTLPEndpoint, Version: o.Version, Node: s.node}); err != nil {
		return nil, hub.Errorf(hub.Invalid, "otlp_endpoint: %w", err)
	}
	s.registry = event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), eventssf.Vocabulary(), scim.Vocabulary())
	if s.packs, err = connector.Load(connectors.FS, s.cfg.Packs); err != nil {
		return nil, hub.Errorf(hub.Invalid, "packs: %w", err).WithHint("countersign pack check FOLDER")
	}
	if s.client, s.push, err = s.outgoing(); err != nil {
		return nil, err
	}
	s.runner = connector.NewRunner(connector.Config{Client: s.client, Now: s.now})
	if s.store, err = store.Open(ctx, s.prepared.Database, store.Config{CommitDelay: o.CommitDelay, Now: s.now, Node: s.node, Stop: s.pass, Log: s.log}); err != nil {
		return nil, err
	}
	s.metrics.Store(func() telemetry.StoreCounts {
		c := s.store.Stats()
		return telemetry.StoreCounts{Operations: c.Ops, Statements: c.Statements, KeepTrips: c.KeepTrips, Commits: c.Commits, Waiting: c.Waiting}
	})
	master, made, err := vault.Master(vault.Source{File: s.cfg.MasterKey.File, Env: s.cfg.MasterKey.Env, Made: s.cfg.MasterPath()})
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err)
	}
	if made {
		s.notes = append(s.notes, "made a master key in "+s.cfg.MasterPath()+"; move it away from the data with master_key")
	}
	if s.vault, err = vault.Open(master); err != nil {
		return nil, err
	}
	s.secrets = vault.NewSecrets(s.vault, s.store)
	s.keys = vault.NewKeys(s.vault, keyRows{s.store}, s.now)
	if s.outside, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return nil, hub.Errorf(hub.Unavailable, "listen: %w", err).WithHint("another program uses the address; give another one with --listen")
	}
	if s.admin, err = net.Listen("tcp", s.cfg.AdminListen); err != nil {
		return nil, hub.Errorf(hub.Unavailable, "admin_listen: %w", err).WithHint("another program uses the address; give another one with --admin-listen")
	}
	s.publicURL = s.cfg.URL(s.outside.Addr())
	s.build()
	if err := s.openAll(ctx); err != nil {
		return nil, err
	}
	if err := s.operator(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// outgoing makes the client for calls to the outside, and the transport of deliveries.
func (s *Server) outgoing() (*http.Client, http.RoundTripper, error) {
	var roots *x509.CertPool
	if s.cfg.CAFile != "" {
		pem, err := os.ReadFile(s.cfg.CAFile)
		if err != nil {
			return nil, nil, hub.Errorf(hub.Invalid, "ca_file: %w", err)
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, hub.Errorf(hub.Invalid, "ca_file: %s holds no certificate", s.cfg.CAFile)
		}
	}
	cfg := egress.Config{Allow: config.Prefixes(s.cfg.Egress.Allow), RootCAs: roots, Dev: s.dev}
	s.probe = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ownRoots(roots), MinVersion: tls.VersionTLS12}}}
	patient := cfg
	patient.ResponseTimeout, patient.Timeout = pollHold, pollHold
	s.poll = egress.Client(patient)
	return egress.Client(cfg), egress.Push(cfg), nil
}

// ownRoots are the roots for looking at our own public address: with our certificate, where it is self-signed.
func (s *Server) ownRoots(roots *x509.CertPool) *x509.CertPool {
	own := s.prepared.Certificate
	if own == nil || own.Leaf == nil || !bytes.Equal(own.Leaf.RawIssuer, own.Leaf.RawSubject) {
		return roots
	}
	if roots != nil {
		roots = roots.Clone() // the others are for calls to everybody
	} else if system, err := x509.SystemCertPool(); err == nil {
		roots = system
	} else {
		roots = x509.NewCertPool()
	}
	roots.AddCert(own.Leaf)
	return roots
}

func (s *Server) receiveURL(id string) string { return s.publicURL + ssf.ReceivePath + id }

// PublicURL is where other systems reach the hub, and its name as an issuer.
func (s *Server) PublicURL() string { return s.publicURL }

// AdminURL is where people and the command line reach it.
func (s *Server) AdminURL() string { return s.cfg.AdminURL(s.admin.Addr()) }

// Notes are sentences for the operator: what was made, and what to change before others rely on it.
func (s *Server) Notes() []string { return s.notes }

// Empty reports whether nothing was set up yet.
func (s *Server) Empty(ctx context.Context) (bool, error) {
	g, err := s.store.Generation(ctx, api.DefaultTenant)
	return g == 0, err
}

// operator makes the operator's token at the first start (0600).
func (s *Server) operator(ctx context.Context) error {
	path := filepath.Join(s.cfg.Data, config.TokenFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	token, row, err := api.Mint(ctx, s.store, api.DefaultTenant, "", "operator", nil, s.now(), time.Time{})
	if err != nil {
		return err
	}
	if err := writeFile(path, token+"\n"); err != nil {
		return fmt.Errorf("operator token: %w", err)
	}
	s.notes = append(s.notes, "made the operator's token "+row.ID+" in "+path)
	return nil
}

// writeFile puts a private file in place whole.
func writeFile(path, text string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// certificate gives a listener's TLS settings.
func (s *Server) certificate() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*s.prepared.Certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// Close lets go of what New opened, when Run is not called or has returned.
func (s *Server) Close() error {
	var errs []error
	for _, l := range []net.Listener{s.outside, s.admin} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
		s.store = nil
	}
	return errors.Join(errs...)
}
