package oauth

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// Client is a client as the hub knows it now.
type Client struct {
	Spec   *hub.Client
	Secret string // the value behind Spec.Secret; empty where there is none
	// Reveal gives the secret in place of Secret where reading it costs something: it is asked for at the token
	// endpoint only, and not with each token that is checked. Nil: Secret is it.
	Reveal func(ctx context.Context) (string, error)
}

// External is a tenant's further issuer of access tokens.
type External struct {
	Spec   *hub.ExternalOAuth
	Secret string // the value behind Spec.Introspection.ClientSecret
}

// Store is what is kept: *store.Store.
type Store interface {
	// PutAccess keeps an access token by its hash.
	PutAccess(ctx context.Context, a store.Access) error
	// AccessByHash gives the token with a SHA-256, of any tenant, or hub.NotFound.
	AccessByHash(ctx context.Context, hash []byte) (*store.Access, error)
	// RevokeAccess ends one token by its id, or all of a client by its name, and gives how many.
	RevokeAccess(ctx context.Context, tenant, idOrClient string) (int, error)
	// UseAssertion remembers the jti of a client's assertion, durably; hub.Conflict when it was used.
	UseAssertion(ctx context.Context, tenant, client, jti string, until hub.Micros) error
	// TokenByHash gives a pre-shared token, of any tenant, also one that is expired or revoked, or hub.NotFound.
	TokenByHash(ctx context.Context, hash []byte) (*store.Token, error)
}

// Config is what a Server needs. Members are wanted unless their comment says otherwise.
type Config struct {
	// Issuer gives a tenant's issuer: the iss of its SETs, the issuer of its authorization server, the resource
	// that its tokens are for, and what its endpoints' addresses begin with.
	Issuer func(tenant string) string
	// Tenant says whether there is a tenant. Nil: there is "default" only.
	Tenant func(name string) bool
	// Client finds a client of a tenant, as it is now, or gives hub.NotFound.
	Client func(ctx context.Context, tenant, name string) (*Client, error)
	// External gives a tenant's further issuer of access tokens; nil: it has none. A nil External: none has.
	External func(tenant string) *External
	Store    Store
	// Decoy takes as long as Client.Reveal does, and is called where there is nothing to reveal, so that the time of an answer
	// does not say which clients there are. Nil: revealing costs nothing. Its error is one of Reveal's.
	Decoy func(ctx context.Context, tenant string) error
	// HTTP carries calls to a client's jwks_uri and to external issuers. It must guard against inner addresses and
	// follow no redirects: internal/egress.Client.
	HTTP *http.Client
	// Life is how long access tokens live. 0, or more than an hour: an hour (IOP-33).
	Life time.Duration
	// Address names where a request comes from, for the bound on failures. Nil: the peer's IP address.
	Address func(*http.Request) string
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: discarded
}

// DefaultTenant is the tenant without /t/NAME.
const DefaultTenant = "default"

// Server is the authorization server of all tenants, and checks tokens for the doors. It is safe for concurrent use
// and starts no goroutines.
type Server struct {
	cfg      Config
	failures *meter // wrong credentials, by address, and by client and address
	grants   *meter // tokens given, by client
	known    *memo  // rows of tokens, for a second

	mu      sync.Mutex
	keys    map[string]*remote // by tenant, client and jwks_uri
	issuers map[string]*issuer // external ones, by tenant
}

// New makes a Server.
func New(c Config) *Server {
	if c.Tenant == nil {
		c.Tenant = func(name string) bool { return name == DefaultTenant }
	}
	if c.External == nil {
		c.External = func(string) *External { return nil }
	}
	if c.Life <= 0 || c.Life > time.Hour {
		c.Life = time.Hour
	}
	if c.Address == nil {
		c.Address = peer
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: c, failures: newMeter(c.Now), grants: newMeter(c.Now), known: newMemo(c.Now), keys: map[string]*remote{}, issuers: map[string]*issuer{}}
}

// peer is the address of the other end; of IPv6 the network, which one host may have to itself.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Unmap().Is4() {
		return host
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.String()
}

// Paths of the endpoints below an issuer, and of the documents between its host and its path.
const (
	pathToken    = "/oauth/token"
	pathRevoke   = "/oauth/revoke"
	pathMetadata = "/.well-known/oauth-authorization-server"
	pathResource = "/.well-known/oauth-protected-resource"
)

// Owns reports whether a path is answered here, so that a mux can be told by a function.
func (s *Server) Owns(path string) bool {
	_, what := s.find(path)
	return what != ""
}

// find gives the tenant and the endpoint that a path means; an empty endpoint where there is nothing.
func (s *Server) find(path string) (tenant, what string) {
	tenant = DefaultTenant
	for _, doc := range []string{pathMetadata, pathResource} {
		if rest, ok := strings.CutPrefix(path, doc); ok { // RFC 8414 §3.1, RFC 9728 §3.1: inserted
			if rest == "" || rest == "/" {
				return tenant, doc
			}
			name, ok := strings.CutPrefix(rest, "/t/")
			if !ok || !s.has(name) {
				return "", ""
			}
			return name, doc
		}
	}
	rest := path
	if named, ok := strings.CutPrefix(path, "/t/"); ok {
		name, below, _ := strings.Cut(named, "/")
		if !s.has(name) {
			return "", ""
		}
		tenant, rest = name, "/"+below
	}
	switch rest {
	case pathToken, pathRevoke:
		return tenant, rest
	case pathMetadata, pathResource: // also where it is appended
		return tenant, rest
	}
	return "", ""
}

// has reports whether a tenant is reached under /t/NAME; the default one has no name in addresses.
func (s *Server) has(name string) bool {
	return name != "" && name != DefaultTenant && !strings.Contains(name, "/") && s.cfg.Tenant(name)
}

// ServeHTTP answers by path and method.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // RFC 6749 §5.1
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	tenant, what := s.find(r.URL.Path)
	switch what {
	case pathToken:
		s.endpoint(w, r, tenant, s.token)
	case pathRevoke:
		s.endpoint(w, r, tenant, s.revoke)
	case pathMetadata:
		s.document(w, r, s.metadata(tenant))
	case pathResource:
		s.document(w, r, s.resource(tenant))
	default:
		refusal{status: http.StatusNotFound, code: invalidRequest, why: "there is nothing at this address"}.write(w)
	}
}

// base is a tenant's issuer without a slash at its end: endpoints hang below it.
func (s *Server) base(tenant string) string { return strings.TrimSuffix(s.cfg.Issuer(tenant), "/") }

// endpoint reads a form, finds the client and carries out what it asks for.
func (s *Server) endpoint(w http.ResponseWriter, r *http.Request, tenant string, do func(context.Context, *call) error) {
	if r.Method != http.MethodPost { // RFC 6749 §3.2
		w.Header().Set("Allow", http.MethodPost)
		refusal{status: http.StatusMethodNotAllowed, code: invalidRequest, why: "this address takes POST only"}.write(w)
		return
	}
	form, err := readForm(w, r)
	if err == nil {
		c := &call{w: w, r: r, tenant: tenant, form: form}
		err = s.authenticated(r.Context(), c, do)
	}
	if err != nil {
		s.refuse(w, r, err)
	}
}

// call is one request to an endpoint.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	tenant string
	form   url.Values // each name once, none without a value
	client *Client    // that was authenticated
}
