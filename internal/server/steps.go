package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"countersign/internal/flow"
	"countersign/internal/flow/act"
	"countersign/internal/flow/emit"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/internal/web/api"
	"countersign/internal/web/console"
	"countersign/internal/web/ssf"
	"countersign/set"
	"countersign/transmitter"
)

// handOn puts jobs that a commit made for us on the belt, each with the action it speaks of.
func (s *Server) handOn(sig *hub.Signal, jobs []hub.Job, added []*hub.Action) {
	works := make([]flow.Work, 0, len(jobs))
	for _, j := range jobs {
		w := flow.Work{Job: j}
		if j.Kind == "act" {
			if i := slices.IndexFunc(added, func(a *hub.Action) bool { return a.Seq == j.Ref }); i >= 0 {
				w.Item = &act.Item{Action: added[i], Signal: sig}
			}
		}
		works = append(works, w)
	}
	s.belt.Take(works...)
}

// decided is handOn after a decision.
func (s *Server) decided(sig *hub.Signal, actions []*hub.Action, jobs []hub.Job) {
	for _, a := range actions {
		s.metrics.Action(string(a.State))
	}
	s.handOn(sig, jobs, actions)
}

// transmitted wakes the pump for what a decision put into the outbox.
func (s *Server) transmitted(sig *hub.Signal, out []*transmitter.Outgoing) {
	t := s.of(sig.Tenant)
	if t == nil {
		return
	}
	for _, o := range out {
		outbox{t.streams, &t.told}.Notify(o)
	}
}

// stale lets the next judgement see the streams as they are.
func (s *Server) stale(ctx context.Context, tenant string) error {
	t, err := s.must(tenant)
	if err != nil {
		return err
	}
	return t.streams.Reload(ctx)
}

// actKey keeps the work for one app in a queue of its own.
func (s *Server) actKey(ctx context.Context, w *flow.Work) (string, error) {
	it, ok := w.Item.(*act.Item)
	if !ok {
		var err error
		if it, err = s.worker.Load(ctx, &w.Job); err != nil {
			return "", err
		}
		w.Item = it
	}
	return it.Action.Tenant + "/" + it.Action.App, nil
}

func (s *Server) act(ctx context.Context, w *flow.Work) (time.Duration, error) {
	it, ok := w.Item.(*act.Item)
	if !ok {
		var err error
		if it, err = s.worker.Load(ctx, &w.Job); err != nil {
			return 0, err
		}
		w.Item = it
	}
	if s.tracer == nil {
		return s.worker.Do(ctx, &w.Job, it)
	}
	a := it.Action
	ctx, span := s.tracer.Start(s.tracer.Of(ctx, a.Tenant, a.SignalID), "act", "countersign.signal", a.SignalID, "countersign.tenant", a.Tenant,
		"countersign.action", a.ID, "countersign.action_name", a.Name, "countersign.app", a.App)
	again, err := s.worker.Do(ctx, &w.Job, it)
	if it.Signal != nil { // read by then
		span.Set("txn", it.Signal.TXN)
	}
	span.Set("countersign.state", string(a.State))
	span.End(err)
	return again, err
}

// protected reports whether an account at an app is declared at an identity with protect: never.
func (s *Server) protected(ctx context.Context, tenant, app, account string) (bool, error) {
	names, err := s.store.FindIdentityByAccount(ctx, tenant, app, account)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		id, err := s.store.Identity(ctx, tenant, name)
		if hub.CodeOf(err) == hub.NotFound && err != nil {
			continue
		}
		if err != nil {
			return false, err
		}
		if id.Protect == "never" {
			return true, nil
		}
	}
	return false, nil
}

// sendKey keeps the deliveries to one source in a queue of its own.
func (s *Server) sendKey(ctx context.Context, w *flow.Work) (string, error) {
	r, ok := w.Item.(*hub.Receipt)
	if !ok {
		var err error
		if r, err = s.store.ReceiptBySeq(ctx, w.Job.Ref); err != nil {
			return "", err
		}
		w.Item = r
	}
	return r.Tenant + "/" + r.Source, nil
}

func (s *Server) send(ctx context.Context, w *flow.Work) (time.Duration, error) {
	r, ok := w.Item.(*hub.Receipt)
	if !ok || s.tracer == nil {
		return 0, s.office.DoSend(ctx, &w.Job, r)
	}
	ctx, span := s.tracer.Start(s.tracer.Of(ctx, r.Tenant, r.SignalID), "receipt.send", "countersign.receipt", r.ID, "countersign.tenant", r.Tenant, "countersign.source", r.Source)
	err := s.office.DoSend(ctx, &w.Job, r)
	span.Set("countersign.state", r.State)
	span.End(err)
	return 0, err
}

// answer is how a source is answered now.
func (s *Server) answer(ctx context.Context, tenant, name string) (*emit.Answer, error) {
	t, err := s.must(tenant)
	if err != nil {
		return nil, err
	}
	src := t.view.Load().sources[name]
	if src == nil {
		return &emit.Answer{Signer: s.keys.Signer(tenant, set.RS256), Off: true}, nil
	}
	a := &emit.Answer{Off: src.spec.Receipts != nil && src.spec.Receipts.Send == "off", Issuer: src.spec.Issuer}
	if src.state != nil && src.state.With(src.spec) {
		a.Endpoint = src.state.Endpoint
	}
	if a.Credential, err = s.enroller.Credentials(ctx, tenant, src.spec); err != nil {
		return nil, err
	}
	a.Signer = s.receiptSigner(tenant, src)
	return a, nil
}

// receiptSigner picks the key for receipts: what the source's setting says, if the other side takes it; else the
// first it takes that we have; RS256 when nothing is said (design §4).
func (s *Server) receiptSigner(tenant string, src *source) *set.Signer {
	takes := func(alg set.Algorithm) bool {
		return src.state == nil || len(src.state.Algorithms) == 0 || slices.ContainsFunc(src.state.Algorithms, func(a string) bool {
			return set.Algorithm(a) == alg || a == "Ed25519" && alg == set.EdDSA
		})
	}
	if r := src.spec.Receipts; r != nil && r.Alg != "" {
		alg := set.Algorithm(r.Alg)
		if r.Alg == "Ed25519" {
			alg = set.EdDSA
		}
		if sg := s.keys.Signer(tenant, alg); sg != nil && takes(alg) {
			return sg
		}
	}
	for _, sg := range s.keys.Signers(tenant) { // RS256 first
		if takes(sg.Algorithm()) {
			return sg
		}
	}
	return s.keys.Signer(tenant, set.RS256)
}

// streamClient checks the token of a caller of the stream API.
func (t *tenant) streamClient(ctx context.Context, token string) (*ssf.Client, error) {
	g, err := t.s.oauth.Check(ctx, t.name, token)
	if err != nil {
		return nil, err
	}
	return &ssf.Client{Spec: g.Client, Scopes: g.Scopes, Shape: t.legacy}, nil
}

// submitter lets the admin API hand signals to the flow.
type submitter struct{ s *Server }

// Submit keeps one signal.
func (t submitter) Submit(ctx context.Context, tenant string, sub *api.Submission) (hub.Kept, error) {
	return t.s.door.Submit(ctx, tenant, &ingest.Submission{Client: sub.Client, EventType: sub.EventType, SubID: sub.SubID, Subject: sub.Subject, Event: sub.Event,
		TXN: sub.TXN, Streams: sub.Streams, Act: slices.Contains(sub.Do, "act"), Transmit: slices.Contains(sub.Do, "transmit"), Order: sub.Order, Idempotency: sub.Idempotency})
}

// publicKeys gives the admin API the keys that an evidence file needs.
type publicKeys struct{ s *Server }

// Ours gives our own keys.
func (k publicKeys) Ours(_ context.Context, tenant string) ([]set.Key, error) {
	return k.s.keys.Known(tenant), nil
}

// Source gives the keys of a source.
func (k publicKeys) Source(ctx context.Context, tenant, name string) ([]set.Key, error) {
	t, err := k.s.must(tenant)
	if err != nil {
		return nil, err
	}
	src := t.view.Load().sources[name]
	if src == nil || src.in == nil {
		return nil, hub.Errorf(hub.NotFound, "there is no source %s", name)
	}
	return src.in.Keys.Find(ctx, "")
}

// doors makes the two handlers.
func (s *Server) doors() (outside, admin http.Handler) {
	outside = s.metrics.Wrap("listen", s.tracer.Door("listen", ssf.New(ssf.Config{Streams: http.HandlerFunc(s.serveStreams), OAuth: s.oauth, Receive: s.door.Receive, Ready: s.running.Load, Proxies: s.proxies()})))
	adminAPI := api.New(api.Config{Store: s.store, People: s.store, Accounts: s.accountsOf, Signals: submitter{s}, Sources: s.enroller, Refusals: s.store, Secrets: s.secrets, Keys: publicKeys{s}, Registry: s.registry,
		Check:   s.Check,
		Access:  s.apiCaller,
		Changed: s.changed, Show: s.show, Ready: s.Ready, Metrics: s.metrics.Handler(), MetricsOpen: s.cfg.AdminPlain(),
		Streams: func(tenant string) api.Streams {
			if t := s.of(tenant); t != nil {
				return streamOffice{t.streams, t}
			}
			return nil
		},
		Outbox: func(tenant string) api.Outbox {
			if s.of(tenant) == nil {
				return nil
			}
			return s.store.Transmitter(tenant, s.vault)
		},
		KeyRing: keyRing{s}, Issuer: s.issuerOf, Probe: s.probe,
		Hosts: s.cfg.AdminHosts, Tenant: api.DefaultTenant, Version: s.version, Now: s.now, Log: s.log})
	pages := console.New(console.Config{Store: s.store, Registry: s.registry, Hosts: s.cfg.AdminHosts, Secure: !s.cfg.AdminPlain(), Tenant: api.DefaultTenant,
		Name: s.cfg.Name, Dev: s.dev, Now: s.now, Log: s.log, Show: s.show,
		Streams: func() (sight.Streams, sight.Outbox) {
			if t := s.of(api.DefaultTenant); t != nil {
				return t.streams, s.store.Transmitter(t.name, s.vault)
			}
			return nil, nil
		},
		SignIn: func(ctx context.Context, token string) (console.User, error) {
			c, err := api.Authenticate(ctx, s.store, api.DefaultTenant, token, s.now())
			if err != nil {
				return console.User{}, err
			}
			return console.User{Name: c.Name, Read: c.May(api.ScopeSignalsRead), ReadTokens: c.May(api.ScopeSignalsToken), ReadStreams: c.May(api.ScopeResourcesRead)}, nil
		}})
	return outside, s.metrics.Wrap("admin_listen", s.tracer.Door("admin_listen", split(adminAPI, pages)))
}

// changed is called after resources or secrets were committed.
func (s *Server) changed(ctx context.Context, tenant string) {
	if t := s.of(tenant); t != nil {
		if err := t.reload(ctx); err != nil {
			s.log.ErrorContext(ctx, "the resources could not be read again; the hub works with the older ones", "tenant", tenant, "err", err)
		}
		if err := t.streams.Reload(ctx); err != nil { // a client that is gone took its streams with it
			s.log.WarnContext(ctx, "the streams could not be read again", "tenant", tenant, "err", err)
		}
	}
	if tenant == api.DefaultTenant {
		if err := s.openAll(ctx); err != nil {
			s.log.ErrorContext(ctx, "the tenants could not be read again", "err", err)
		}
	}
	s.oauth.Forget()
	s.belt.Poke()
}

// show adds what a running hub knows of a resource.
func (s *Server) show(ctx context.Context, r *hub.Resource) map[string]any {
	out := map[string]any{}
	t := s.of(r.Tenant)
	if t == nil {
		return out
	}
	v := t.view.Load()
	if why := v.broken[string(r.Kind)+" "+r.Name]; why != "" {
		out["problem"] = why
	}
	if p := t.problems.Load(); p != nil && (*p)[string(r.Kind)+" "+r.Name] != "" {
		out["problem"] = (*p)[string(r.Kind)+" "+r.Name]
	}
	if why, ok := t.tenantProblems.Load(string(r.Kind) + " " + r.Name); ok {
		out["problem"] = why
	}
	if src := v.sources[r.Name]; r.Kind == hub.KindSource && src != nil && src.state != nil {
		s.showSource(ctx, t, src, out)
	}
	return out
}
