package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
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
	"countersign/internal/web/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
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
	tenant   string
	node     string
	now      func() time.Time
	log      *slog.Logger
	prepared *config.Prepared
	metrics  *telemetry.Metrics

	store    *store.Store
	vault    *vault.Vault
	secrets  *vault.Secrets
	keys     *vault.Keys
	registry *event.Registry
	packs    *connector.Packs
	client   *http.Client
	push     http.RoundTripper // of deliveries
	runner   *connector.Runner

	belt     *flow.Belt
	door     *ingest.Door
	worker   *act.Worker
	office   *emit.Office
	enroller *enroll.Enroller
	streams  *transmitter.Transmitter
	pass     func(point string) // the kill bench's stop points; nil in production

	outside, admin net.Listener
	publicURL      string

	view      atomic.Pointer[view]
	next      atomic.Pointer[view] // being swapped in
	reloading sync.Mutex
	keysMu    sync.Mutex
	remote    map[string]*set.RemoteKeys
	started   func(ctx context.Context) error
	running   atomic.Bool
	notes     []string
}

// New opens the store, makes what a first start needs, reads the resources and binds both listeners. It
// serves nobody before Run. Close it when Run is not called.
func New(ctx context.Context, o Options) (s *Server, err error) {
	s = &Server{cfg: o.Config, dev: o.Config.Dev, version: o.Version, tenant: api.DefaultTenant, node: o.Node, now: o.Now, log: o.Log, started: o.Started, remote: map[string]*set.RemoteKeys{}}
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
	if err := s.keys.Ensure(ctx, s.tenant); err != nil {
		return nil, err
	}
	if s.outside, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return nil, hub.Errorf(hub.Unavailable, "listen: %w", err).WithHint("another program uses the address; give another one with --listen")
	}
	if s.admin, err = net.Listen("tcp", s.cfg.AdminListen); err != nil {
		return nil, hub.Errorf(hub.Unavailable, "admin_listen: %w", err).WithHint("another program uses the address; give another one with --admin-listen")
	}
	s.publicURL = s.cfg.URL(s.outside.Addr())
	if err := s.build(); err != nil {
		return nil, err
	}
	if err := s.reload(ctx); err != nil {
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
	return egress.Client(cfg), egress.Push(cfg), nil
}

// build makes the flow and ties its ends.
func (s *Server) build() error {
	stop := s.pass
	if stop == nil {
		stop = func(string) {}
	}
	s.enroller = enroll.New(enroll.Config{Store: s.store, Client: s.client, Secret: s.secret, Capabilities: s.capabilities, Now: s.now, Log: s.log,
		Source: func(_ context.Context, _, name string) (*hub.Source, error) {
			if src := s.view.Load().sources[name]; src != nil {
				return src.spec, nil
			}
			return nil, nil
		},
		Issuer:     func(string) string { return s.publicURL },
		KeysURL:    func(string) string { return s.publicURL + "/jwks.json" },
		ReceiveURL: s.receiveURL,
		Events:     s.eventTypes,
		Changed: func(ctx context.Context, _ string) {
			if err := s.reload(ctx); err != nil {
				s.log.ErrorContext(ctx, "the resources could not be read again", "err", err)
			}
		},
		Poke: func() { s.belt.Poke() },
	})
	merchant := receipt.Merchant{Name: s.cfg.Name, Software: "countersign/" + s.version}
	if s.dev {
		merchant.Software += " dev"
	}
	s.office = emit.New(emit.Config{Store: s.store, Answer: s.answer, Complete: s.keys.Complete, Secret: s.vault.Pseudonym, Client: s.client, Why: s.whyUnresolved,
		Merchant: merchant, Register: receipt.Register{ID: s.node}, Stop: stop, Now: s.now, Log: s.log,
		Cut: func(r *hub.Receipt, job *hub.Job) {
			s.metrics.Receipt(r.State)
			if job != nil {
				s.belt.Take(flow.Work{Job: *job, Item: r})
			}
		},
		Sent: func(r *hub.Receipt) { s.metrics.Receipt(r.State) },
	})
	s.worker = act.New(act.Config{Store: s.store, Runner: s.runner, Key: s.office.Ref, Next: s.handOn, Stop: stop, Now: s.now, Log: s.log,
		App: func(_ context.Context, _, name string) (*connector.App, error) {
			if app := s.view.Load().apps[name]; app != nil {
				return app, nil
			}
			return nil, hub.Errorf(hub.NotFound, "there is no app %s", name)
		},
		Protected: s.protected,
		Changed:   func(a *hub.Action) { s.metrics.Action(string(a.State)) },
		Tried:     s.metrics.Attempt,
		Poke:      func() { s.belt.Poke() },
	})
	s.door = ingest.New(ingest.Config{Store: s.store, Registry: s.registry, Now: s.now, Log: s.log, Counted: s.metrics.Signal, Refused: s.metrics.Refusal,
		Find: func(id string) *ingest.Source { return s.view.Load().receive[id] },
		Taken: func(sig *hub.Signal, job *hub.Job) {
			if job != nil {
				s.belt.Take(flow.Work{Job: *job, Item: sig})
			}
		},
		Again:       func(job *hub.Job) { s.belt.Take(flow.Work{Job: *job}) },
		Transmitter: func(string) ingest.Transmitter { return s.streams },
		Issuer:      func(string) string { return s.publicURL },
		Full:        func() bool { return s.belt.Waiting("process") > backlog },
	})
	process := &flow.Processor{Store: s.store, Judge: s.judge, Decided: s.decided}
	s.belt = flow.NewBelt(flow.Config{Jobs: s.store, Log: s.log, Steps: []flow.Step{
		{Kind: "process", Limit: 64, Do: process.Do},
		{Kind: "act", Limit: 512, PerKey: 16, Key: s.actKey, Do: s.act},
		{Kind: "cut", Limit: 64, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) { return 0, s.office.DoCut(ctx, &w.Job) }},
		{Kind: "send", Limit: 256, PerKey: 64, Key: s.sendKey, Do: s.send},
		{Kind: "enroll", Limit: 16, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) { return 0, s.enroller.Do(ctx, &w.Job) }},
	}})
	return s.transmitter()
}

// backlog is how many signals may wait to be processed before no more are taken.
const backlog = 100_000

// transmitter makes the hub a transmitter of its own.
func (s *Server) transmitter() (err error) {
	stop := s.pass
	s.streams, err = transmitter.New(transmitter.Config{Issuer: s.publicURL, Signers: s.keys.Signers(s.tenant), Registry: s.registry,
		Store:  s.store.Transmitter(s.tenant, s.vault),
		Caller: ssf.Caller(s.streamClient),
		Receipts: &receipt.Settings{DirectiveEvents: s.orderable(), Actions: actions,
			Algorithms: []string{string(set.RS256), string(set.PS256), string(set.ES256), string(set.EdDSA)}},
		Client: s.client, Transport: s.push, InsecureHTTP: s.dev,
		AllowEndpoint: s.allowEndpoint(ssf.AllowEndpoint(func(_ context.Context, client string) ([]string, error) {
			if c := s.view.Load().clients[client]; c != nil {
				return c.PushHosts, nil
			}
			return nil, hub.Errorf(hub.NotFound, "there is no client %s", client)
		})),
		Delivered: func(t transmitter.Try) {
			switch {
			case t.Reason == "":
				if stop != nil {
					stop("push.after-202")
				}
				s.metrics.Delivery("accepted")
			case t.Dead:
				s.metrics.Delivery("dead")
			default:
				s.metrics.Delivery("retry")
			}
		},
		Now: s.now, Log: s.log,
	})
	return err
}

// allowEndpoint refuses an address that could never be called, before anything else is asked about it.
func (s *Server) allowEndpoint(next func(context.Context, transmitter.Caller, *url.URL) error) func(context.Context, transmitter.Caller, *url.URL) error {
	guard := egress.Config{Allow: config.Prefixes(s.cfg.Egress.Allow), Dev: s.dev}
	return func(ctx context.Context, c transmitter.Caller, u *url.URL) error {
		if why := egress.Closed(guard, u.Hostname()); why != "" {
			return errors.New("it is " + why)
		}
		return next(ctx, c, u)
	}
}

// actions are what a receiver on our streams may be asked to do.
var actions = []string{hub.RevokeSessions, hub.RevokeTokens, hub.Reauthenticate, hub.DisableAccount, hub.EnableAccount, hub.DeleteAccount,
	hub.RequireCredentialChange, hub.RevokeCredential, hub.SyncCredential, hub.RefreshClaims, hub.ReevaluateAccess, hub.RestrictDevice,
	hub.UpdateIdentifier, hub.UnlinkIdentifier, hub.SyncResource, hub.Record}

// orderable are the event types that may carry a directive.
func (s *Server) orderable() []string {
	var out []string
	for _, t := range s.registry.Types() {
		if !t.StreamLevel && !t.Deprecated && t.URI != "urn:ietf:params:scim:event:misc:asyncresp" {
			out = append(out, t.URI)
		}
	}
	return out
}

// eventTypes are those that we ask sources for that name none.
func (s *Server) eventTypes() []string {
	var out []string
	for _, t := range s.registry.Types() {
		if !t.StreamLevel {
			out = append(out, t.URI)
		}
	}
	return out
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
	g, err := s.store.Generation(ctx, s.tenant)
	return g == 0, err
}

// operator makes the operator's token at the first start (0600).
func (s *Server) operator(ctx context.Context) error {
	path := filepath.Join(s.cfg.Data, config.TokenFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	token, row, err := api.Mint(ctx, s.store, s.tenant, "", "operator", nil, s.now(), time.Time{})
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
