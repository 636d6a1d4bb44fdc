package server

import (
	"context"

	"countersign/internal/hub"
	"countersign/internal/web/api"
	"countersign/internal/web/oauth"
	"countersign/internal/web/ssf"
)

// authorization makes the authorization server of all tenants.
func (s *Server) authorization() *oauth.Server {
	return oauth.New(oauth.Config{Issuer: s.issuerOf, Store: s.store, HTTP: s.client, Address: ssf.Address(s.proxies()), Now: s.now, Log: s.log,
		Tenant: func(name string) bool { return s.of(name) != nil },
		Client: s.oauthClient,
		Decoy: func(ctx context.Context, tenant string) error {
			_, err := s.reveal(ctx, tenant, &hub.Secret{Stored: "no-client-of-this-name"})
			return err
		},
		External: func(tenant string) *oauth.External {
			if t := s.of(tenant); t != nil {
				return t.external.Load()
			}
			return nil
		},
	})
}

// oauthClient gives a client as it is set up now.
func (s *Server) oauthClient(ctx context.Context, tenant, name string) (*oauth.Client, error) {
	t, err := s.must(tenant)
	if err != nil {
		return nil, err
	}
	spec := t.view.Load().clients[name]
	if spec == nil {
		return nil, hub.Errorf(hub.NotFound, "there is no client %s", name)
	}
	c := &oauth.Client{Spec: spec}
	if spec.Secret != nil {
		c.Reveal = func(ctx context.Context) (string, error) { return s.reveal(ctx, tenant, spec.Secret) }
	}
	return c, nil
}

// reveal gives a client's secret; one that is not there lets nobody in.
func (s *Server) reveal(ctx context.Context, tenant string, ref *hub.Secret) (string, error) {
	value, err := s.secret(ctx, tenant, ref)
	if hub.CodeOf(err) == hub.NotFound {
		return "", nil
	}
	return value, err
}

// apiCaller is the client behind an access token of our own, as the admin API sees it: within the client's scopes, at the
// client's tenant, and never the operator.
func (s *Server) apiCaller(ctx context.Context, token string) (*api.Caller, error) {
	tenant, g, err := s.oauth.Access(ctx, token)
	if hub.CodeOf(err) == hub.Unauthenticated {
		return nil, hub.Errorf(hub.Unauthenticated, "the token is not valid").WithHint("get a new one at the token endpoint, %s/oauth/token", s.issuerOf(api.DefaultTenant))
	}
	if err != nil {
		return nil, err
	}
	return &api.Caller{Name: g.Client.Name, TokenID: g.ID, Tenant: tenant, Client: g.Client.Name, Spec: g.Client, Scopes: g.Scopes, Expires: g.Expires}, nil
}

// outsider tells a tenant of the further issuer that its resource names. Its secret is one of the tenant default, where
// tenants are kept; without it the issuer's tokens are refused, and the resource shows why.
func (t *tenant) outsider(ctx context.Context, spec *hub.Tenant) {
	home := t.s.home()
	if spec.OAuth == nil {
		t.external.Store(nil)
		return
	}
	x := &oauth.External{Spec: spec.OAuth}
	if i := spec.OAuth.Introspection; i != nil {
		value, err := t.s.secret(ctx, "default", i.ClientSecret)
		if err != nil {
			why := missing("oauth.introspection.client_secret", i.ClientSecret, err)
			t.external.Store(nil)
			t.s.log.WarnContext(ctx, "a tenant's issuer cannot be used", "tenant", t.name, "err", why)
			if home != nil {
				home.tenantProblems.Store("tenant "+t.name, why.Error())
			}
			return
		}
		x.Secret = value
	}
	if home != nil {
		home.tenantProblems.Delete("tenant " + t.name)
	}
	t.external.Store(x)
}
