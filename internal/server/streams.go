package server

import (
	"context"
	"errors"
	"net/url"

	"countersign/internal/config"
	"countersign/internal/egress"
	"countersign/internal/hub"
	"countersign/internal/web/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
	"countersign/transmitter"
)

// transmitter makes a tenant's transmitter.
func (s *Server) transmitter(t *tenant) (*transmitter.Transmitter, error) {
	c := &s.cfg.Transmitter
	return transmitter.New(transmitter.Config{Issuer: t.issuer, Signers: s.keys.Signers(t.name), Registry: s.registry,
		Store:  s.store.Transmitter(t.name, s.vault),
		Caller: ssf.Caller(t.streamClient),
		Receipts: &receipt.Settings{DirectiveEvents: s.orderable(), Actions: actions,
			Algorithms: []string{string(set.RS256), string(set.PS256), string(set.ES256), string(set.EdDSA)}},
		Client: s.client, Transport: s.push, InsecureHTTP: s.dev, KeysMaxAge: keysMaxAge,
		AllowEndpoint: s.allowEndpoint(ssf.AllowEndpoint(func(_ context.Context, client string) ([]string, error) {
			if c := t.view.Load().clients[client]; c != nil {
				return c.PushHosts, nil
			}
			return nil, hub.Errorf(hub.NotFound, "there is no client %s", client)
		})),
		Delivered: func(try transmitter.Try) {
			s.delivered(try)
			t.pushed(try)
		},
		Retention: config.Span(c.Retention), History: config.Span(c.History), PollWait: config.Span(c.PollWait), Inactivity: config.Span(c.Inactivity),
		RemovalGrace: config.Span(c.RemovalGrace), MinVerification: config.Span(c.MinVerification), DefaultSubjects: c.DefaultSubjects,
		MaxSubjects: c.MaxSubjects, MaxStreams: int(c.MaxStreams), Legacy: t.shapes(),
		PollParked: maxParked,
		Name: func(ctx context.Context, st *transmitter.Stream, sub subject.Identifier, _ string) (subject.Identifier, string, error) {
			return t.view.Load().namer.Name(ctx, st.Naming, sub)
		},
		Now: s.now, Log: s.log,
	})
}

// maxParked is how many polls of a tenant wait at once; the door lets in a few more of all tenants (internal/web/ssf).
const maxParked = 10_000

// shapes are the older drafts that the tenant serves.
func (t *tenant) shapes() []string {
	if t.legacy == "" {
		return nil
	}
	return []string{t.legacy}
}

// delivered counts a try to deliver.
func (s *Server) delivered(t transmitter.Try) {
	switch {
	case t.Reason == "":
		if s.pass != nil {
			s.pass("push.after-202")
		}
		s.metrics.Delivery("accepted")
	case t.Dead:
		s.metrics.Delivery("dead")
	default:
		s.metrics.Delivery("retry")
	}
}

// guard is what outgoing calls are held to.
func (s *Server) guard() egress.Config {
	return egress.Config{Allow: config.Prefixes(s.cfg.Egress.Allow), Dev: s.dev}
}

// allowEndpoint refuses an address that could never be called, before anything else is asked about it.
func (s *Server) allowEndpoint(next func(context.Context, transmitter.Caller, *url.URL) error) func(context.Context, transmitter.Caller, *url.URL) error {
	guard := s.guard()
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
