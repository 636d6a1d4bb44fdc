package server

import (
	"net/http"
	"strings"

	"countersign/internal/web/api"
)

// tenantPath begins the addresses of every tenant but the default one.
const tenantPath = "/t/"

// wellKnown begins the addresses of published documents; a tenant's path follows the document's name (RFC 8615, RFC 8414 §3).
const wellKnown = "/.well-known/"

// tenantOf gives the tenant that an address of the outside listener belongs to. It looks at the path as it was decoded
// and takes no address apart any further: what is not exactly of one of the two forms belongs to the default tenant,
// which has nothing there.
func tenantOf(path string) string {
	rest, ok := strings.CutPrefix(path, tenantPath)
	if !ok {
		document, found := strings.CutPrefix(path, wellKnown)
		if !found {
			return api.DefaultTenant
		}
		_, tail, found := strings.Cut(document, "/")
		if rest, ok = strings.CutPrefix("/"+tail, tenantPath); !found || !ok {
			return api.DefaultTenant
		}
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// serveStreams answers at the addresses of the tenants. The default tenant answers for those that do not exist, with 404
// and the same words as for any other address.
func (s *Server) serveStreams(w http.ResponseWriter, r *http.Request) {
	t := s.home()
	if name := tenantOf(r.URL.Path); name != api.DefaultTenant {
		if other := s.of(name); other != nil {
			t = other
		}
	}
	t.streams.ServeHTTP(w, r)
}
