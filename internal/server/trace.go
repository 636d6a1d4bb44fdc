package server

import (
	"context"

	"countersign/internal/flow"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/internal/telemetry"
	"countersign/transmitter"
)

// tracedStore is the store as the doors see it: each signal that is kept is a span, and what follows from the signal finds
// it by its txn and by its id.
type tracedStore struct {
	*store.Store
	tracer *telemetry.Tracer
}

// Keep keeps a signal.
func (s tracedStore) Keep(ctx context.Context, sig *hub.Signal, fingerprint string, out *transmitter.Outgoing, idem *store.Idempotency) (store.Kept, error) {
	ctx, span := s.tracer.Start(ctx, "ingest", "txn", sig.TXN, "countersign.signal", sig.ID, "countersign.tenant", sig.Tenant, "countersign.source", sig.Source, "countersign.event_type", sig.EventType)
	// Before it is kept: what is kept may be worked on at once.
	s.tracer.Keep(ctx, sig.Tenant, sig.TXN)
	s.tracer.Keep(ctx, sig.Tenant, sig.ID)
	kept, err := s.Store.Keep(ctx, sig, fingerprint, out, idem)
	span.End(err)
	return kept, err
}

// tracedJudge is judge as a span of the signal's trace.
func (s *Server) tracedJudge(ctx context.Context, sig *hub.Signal) (*flow.Judgement, error) {
	ctx, span := s.tracer.Start(s.tracer.Of(ctx, sig.Tenant, sig.ID, sig.TXN), "decide", "txn", sig.TXN, "countersign.signal", sig.ID, "countersign.tenant", sig.Tenant)
	j, err := s.judge(ctx, sig)
	if err == nil && j.Decision != nil {
		span.Set("countersign.decision", j.Decision.ID)
	}
	s.tracer.Keep(ctx, sig.Tenant, sig.ID)
	s.tracer.Keep(ctx, sig.Tenant, sig.TXN)
	span.End(err)
	return j, err
}

// pushed records a try to deliver as a span of the trace of its txn.
func (t *tenant) pushed(try transmitter.Try) {
	tr := t.s.tracer
	if tr == nil {
		return
	}
	outcome := "accepted"
	switch {
	case try.Dead:
		outcome = "dead"
	case try.Reason != "":
		outcome = "retry"
	}
	failed := ""
	if try.Reason != "" {
		failed = outcome // the receiver's words are not ours to pass on
	}
	tr.Past(tr.Of(context.Background(), t.name, try.TXN), "transmit.push", try.Began, try.Took, failed, "txn", try.TXN, "countersign.tenant", t.name,
		"countersign.stream_id", try.StreamID, "countersign.jti", try.JTI, "countersign.event_type", try.Type, "countersign.outcome", outcome)
}
