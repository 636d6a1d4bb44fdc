package server

import (
	"context"
	"time"

	"countersign/internal/connector"
	"countersign/internal/flow"
	"countersign/internal/flow/act"
	"countersign/internal/flow/emit"
	"countersign/internal/flow/enroll"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/receipt"
)

// backlog is how many signals may wait to be processed before no more are taken.
const backlog = 100_000

// build makes the flow and ties its ends. Each of them asks for its tenant by name when it needs it.
func (s *Server) build() {
	stop := s.pass
	if stop == nil {
		stop = func(string) {}
	}
	s.enroller = enroll.New(enroll.Config{Store: s.store, Client: s.client, Secret: s.secret, Now: s.now, Log: s.log,
		Capabilities: func(_ context.Context, tenant string, src *hub.Source) ([]receipt.Capability, error) {
			return s.capabilities(tenant, src)
		},
		Source: func(_ context.Context, tenant, name string) (*hub.Source, error) {
			t, err := s.must(tenant)
			if err != nil {
				return nil, err
			}
			if src := t.view.Load().sources[name]; src != nil {
				return src.spec, nil
			}
			return nil, nil
		},
		Issuer:     s.issuerOf,
		KeysURL:    func(tenant string) string { return s.issuerOf(tenant) + "/jwks.json" },
		ReceiveURL: s.receiveURL,
		Events:     s.eventTypes,
		Changed: func(ctx context.Context, tenant string) {
			if t := s.of(tenant); t != nil {
				if err := t.again(ctx); err != nil {
					s.log.ErrorContext(ctx, "the resources could not be read again", "tenant", tenant, "err", err)
				}
			}
		},
		Poke:  func() { s.belt.Poke() },
		Vault: sealed{s.secrets, s.vault},
		Take:  s.takePolled, Polls: s.poll, LastSignal: s.lastSignal,
		Stop: stop,
	})
	s.oauth = s.authorization()
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
		App: func(_ context.Context, tenant, name string) (*connector.App, error) {
			t, err := s.must(tenant)
			if err != nil {
				return nil, err
			}
			if app := t.view.Load().apps[name]; app != nil {
				return app, nil
			}
			return nil, hub.Errorf(hub.NotFound, "there is no app %s", name)
		},
		Protected: s.protected,
		Withdrawn: func(sig *hub.Signal) bool {
			return sig.Order != nil && (sig.Order.Withdrawn != 0 || s.withdrawn.has(sig.Seq))
		},
		Changed: func(a *hub.Action) { s.metrics.Action(string(a.State)) },
		Tried:   s.metrics.Attempt,
		Poke:    func() { s.belt.Poke() },
	})
	s.pollers = newPollers(s)
	s.refusals = ingest.NewRefusals(s.store, s.now, s.log)
	s.door = ingest.New(ingest.Config{Verified: s.enroller.Verified, Updated: s.enroller.Updated,
		Store: tracedStore{s.store, s.tracer}, Registry: s.registry, Now: s.now, Log: s.log, Counted: s.metrics.Signal, Refused: s.metrics.Refusal, Refusals: s.refusals, Cure: cure, Stop: stop,
		Find: s.receiver,
		Taken: func(sig *hub.Signal, job *hub.Job) {
			s.hear(sig)
			if job != nil {
				s.belt.Take(flow.Work{Job: *job, Item: sig})
			}
		},
		Withdrawn: func(signalSeq int64) {
			s.withdrawn.add(signalSeq)
			s.belt.Poke()
		},
		Again: func(job *hub.Job) { s.belt.Take(flow.Work{Job: *job}) },
		Transmitter: func(tenant string) ingest.Transmitter {
			if t := s.of(tenant); t != nil {
				return outbox{t.streams, &t.told}
			}
			return nil
		},
		Issuer: s.issuerOf,
		Full:   func() bool { return s.belt.Waiting("process") > backlog },
	})
	process := &flow.Processor{Store: s.store, Judge: s.tracedJudge, Decided: s.decided, Transmitted: s.transmitted, Stale: s.stale}
	s.belt = flow.NewBelt(flow.Config{Jobs: s.store, Log: s.log, Steps: []flow.Step{
		{Kind: "process", Limit: 64, Do: process.Do},
		{Kind: "act", Limit: 512, PerKey: 16, Key: s.actKey, Do: s.act},
		{Kind: "cut", Limit: 64, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) { return 0, s.office.DoCut(ctx, &w.Job) }},
		{Kind: "send", Limit: 256, PerKey: 64, Key: s.sendKey, Do: s.send},
		{Kind: "enroll", Limit: 16, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) { return 0, s.enroller.Do(ctx, &w.Job) }},
		{Kind: "verify", Limit: 8, Do: func(ctx context.Context, w *flow.Work) (time.Duration, error) {
			return 0, s.enroller.DoVerify(ctx, &w.Job)
		}},
	}})
}
