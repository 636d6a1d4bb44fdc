package server

import (
	"context"
	"fmt"
	"slices"

	"countersign/internal/connector"
	"countersign/internal/flow/enroll"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
)

// receiver finds the source of a receive address, of whichever tenant: ids are random and belong to one source.
func (s *Server) receiver(id string) *ingest.Source {
	for _, t := range *s.tenants.Load() {
		if v := t.view.Load(); v != nil {
			if in := v.receive[id]; in != nil {
				return in
			}
		}
	}
	return nil
}

// receiving makes the source ready to receive: whose tokens, with which keys, to which audience.
func (t *tenant) receiving(ctx context.Context, src *source) error {
	s := t.s
	spec, st := src.spec, src.state
	in := &ingest.Source{Tenant: t.name, Name: spec.Name, Issuer: spec.Issuer, Audience: st.Audience, StreamID: st.StreamID, Critical: st.Critical}
	if err := receiveRules(in, spec); err != nil {
		return err
	}
	var algs []string
	if spec.Keys != nil {
		algs = spec.Keys.Algs
	}
	for _, a := range algs {
		if a == "Ed25519" {
			a = string(set.EdDSA)
		}
		in.Algorithms = append(in.Algorithms, set.Algorithm(a))
	}
	if len(in.Algorithms) == 0 {
		in.Algorithms = []set.Algorithm{set.RS256, set.PS256, set.ES256, set.EdDSA}
	}
	switch k := spec.Keys; {
	case k != nil && len(k.JWKS) > 0:
		keys, err := set.ParseJWKS(k.JWKS)
		if err != nil {
			return err
		}
		in.Keys = keys
	case k != nil && k.JWKSURI != "":
		in.Keys = s.remoteKeys(k.JWKSURI)
	case st.Keys(spec) != "": // never those of the issuer that the source had before
		in.Keys = s.remoteKeys(st.Keys(spec))
	default: // RX-46: a transmitter may verify its stream before it answers the request that makes it
		in.Keys = metadataKeys{s, t.name, spec.Name}
	}
	if p := spec.PushAuth; p != nil && p.AuthorizationHeader != nil {
		h, err := s.secret(ctx, t.name, p.AuthorizationHeader)
		if err != nil {
			return fmt.Errorf("push_auth: %w", err)
		}
		in.Authorization = h
	}
	if st.Receipts == enroll.ReceiptsActive && st.With(spec) {
		in.Receipts = &ingest.Agreement{Issuer: st.ReceiptIssuer, Audience: st.ReceiptAudience, Endpoint: st.Endpoint, Vocabulary: receipt.Default()}
	}
	src.in = s.door.Prepare(in)
	return nil
}

// remoteKeys gives the one cache of a key address, which outlives a change of resources.
func (s *Server) remoteKeys(uri string) set.KeySet {
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	k := s.remote[uri]
	if k == nil {
		k = set.NewRemoteKeys(uri, s.client, s.now)
		s.remote[uri] = k
	}
	return k
}

// capabilities are the actions that a source may order, as far as the apps' packs can do them now.
func (s *Server) capabilities(tenant string, src *hub.Source) ([]receipt.Capability, error) {
	next, ok := s.next.Load(tenant)
	if !ok {
		return nil, hub.Errorf(hub.Unavailable, "the tenant %s is not open on this node", tenant)
	}
	v := next.(*view)
	if src.Orders == nil {
		return nil, nil
	}
	var out []receipt.Capability
	for _, action := range src.Orders.Accept {
		c := receipt.Capability{Action: action, Approval: "none", Evidence: receipt.Assertion}
		steps := hub.Steps(action, hub.ReachTokens)
		able := action == hub.Record || action == hub.ReevaluateAccess
		for _, app := range v.deciding {
			if len(src.Orders.At.Names) > 0 && !src.Orders.At.Has(app.Name) || len(steps) == 0 || !can(steps, app.Offers) {
				continue
			}
			able = true
			if proof := proves(action, v.apps[app.Name].Pack, steps); rank(proof) > rank(c.Evidence) {
				c.Evidence = proof
			}
		}
		if able {
			out = append(out, c)
		}
	}
	return out, nil
}

// can reports whether a pack has what an action needs.
func can(steps []hub.Step, offers func(hub.Operation) bool) bool {
	for _, st := range steps {
		if st.Optional || offers(st.Op) {
			continue
		}
		if st.OrElse == "" || !offers(st.OrElse) || st.ForEach && !offers(hub.OpListSessions) {
			return false
		}
	}
	return true
}

// proves says the best level that a pack's read-backs reach for an action.
func proves(action string, pack *connector.Pack, steps []hub.Step) string {
	ends := action == hub.RevokeSessions || action == hub.Reauthenticate
	op := steps[0].Op
	if !pack.Offers(op) {
		op = steps[0].OrElse
	}
	back, ok := pack.ReadBack(op)
	switch {
	case ok && back.Use == hub.OpListSessions && ends:
		return receipt.Verified
	case action == hub.RevokeSessions || action == hub.RevokeTokens:
		return receipt.Assertion
	}
	return receipt.Committed
}

func rank(level string) int {
	return slices.Index([]string{receipt.Assertion, receipt.Counted, receipt.Committed, receipt.Verified}, level)
}
