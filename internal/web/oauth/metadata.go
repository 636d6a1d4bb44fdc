package oauth

import (
	"encoding/json"
	"net/http"
	"strconv"

	"countersign/set"
	"countersign/transmitter"
)

// Methods by which a client shows itself at the endpoints; hub.Client.Auth.
const (
	methodBasic      = "client_secret_basic"
	methodPost       = "client_secret_post"
	methodPrivateKey = "private_key_jwt"
)

var methods = []string{methodBasic, methodPost, methodPrivateKey}

// StreamScopes are the scopes of the stream API. Names with the prefix ssf mean nothing else here (IOP-35).
var StreamScopes = []string{transmitter.ScopeRead, transmitter.ScopeManage, transmitter.ScopeManageReceipts}

// apiScopes are those of the admin API that a client may have; internal/web/api says what each opens.
var apiScopes = []string{"signals.read", "signals.write", "signals.token", "resources.read", "resources.write"}

func algorithms() []string {
	var out []string
	for _, a := range set.Algorithms() {
		out = append(out, string(a))
	}
	return out
}

// Metadata is authorization server metadata (RFC 8414 §2). We have no authorization endpoint, so
// response_types_supported would be empty, and what is empty is left out (§3.2).
type Metadata struct {
	Issuer             string   `json:"issuer"`
	TokenEndpoint      string   `json:"token_endpoint,omitempty"`
	RevocationEndpoint string   `json:"revocation_endpoint,omitempty"`
	Introspection      string   `json:"introspection_endpoint,omitempty"` // of an external issuer; ours has none
	JWKSURI            string   `json:"jwks_uri,omitempty"`               // of an external issuer; our tokens are opaque
	Scopes             []string `json:"scopes_supported,omitempty"`
	GrantTypes         []string `json:"grant_types_supported,omitempty"`
	Methods            []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	Algs               []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationMethods  []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationAlgs     []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
}

func (s *Server) metadata(tenant string) any {
	base := s.base(tenant)
	return Metadata{
		Issuer:        s.cfg.Issuer(tenant),
		TokenEndpoint: base + pathToken, RevocationEndpoint: base + pathRevoke,
		Scopes:     append(append([]string(nil), StreamScopes...), apiScopes...),
		GrantTypes: []string{"client_credentials"}, // IOP-33
		Methods:    methods, Algs: algorithms(),
		RevocationMethods: methods, RevocationAlgs: algorithms(),
	}
}

// resource is protected resource metadata (RFC 9728 §2) of a tenant's stream API: whose tokens it takes, and with
// which scopes (AZ-29, IOP-34, IOP-46).
func (s *Server) resource(tenant string) any {
	servers := []string{s.cfg.Issuer(tenant)}
	if e := s.cfg.External(tenant); e != nil && e.Spec != nil {
		servers = append(servers, e.Spec.Issuer)
	}
	return struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported"`
		Methods  []string `json:"bearer_methods_supported"`
		Name     string   `json:"resource_name"`
	}{s.cfg.Issuer(tenant), servers, StreamScopes, []string{"header"}, "Shared Signals stream API"}
}

// document answers with a public JSON document.
func (s *Server) document(w http.ResponseWriter, r *http.Request, v any) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refusal{status: http.StatusMethodNotAllowed, code: invalidRequest, why: "this address takes GET only"}.write(w)
		return
	}
	body, err := json.Marshal(v)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	h.Set("Cache-Control", "public, max-age=300")
	h.Del("Pragma")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}
