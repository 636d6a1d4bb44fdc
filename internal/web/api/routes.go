package api

import (
	"net/http"
	"strings"

	"countersign/internal/hub"
)

// Prefix is where the API lives.
const Prefix = "/api/v1"

// route is one row of the table: what is called, with which scope, and who answers.
type route struct {
	method, path string
	scope        string
	open         bool // no token is asked
	do           func(d *Door, w http.ResponseWriter, r *request) error
}

// routes is the site map. openapi.json says the same for callers, and a test holds the two together.
var routes = []route{
	{"GET", "/version", scopeAny, true, (*Door).version},
	{"GET", "/openapi.json", scopeAny, true, (*Door).openapi},
	{"GET", "/whoami", scopeAny, false, (*Door).whoami},
	{"GET", "/event-types", scopeAny, false, (*Door).eventTypes},

	{"POST", "/apply", ScopeResourcesWrite, false, (*Door).apply},
	{"GET", "/export", ScopeResourcesRead, false, (*Door).export},

	{"GET", "/sources", ScopeResourcesRead, false, list(hub.KindSource)},
	{"GET", "/sources/{name}", ScopeResourcesRead, false, show(hub.KindSource)},
	{"DELETE", "/sources/{name}", ScopeResourcesWrite, false, remove(hub.KindSource)},
	{"GET", "/sources/{name}/refusals", ScopeSignalsRead, false, (*Door).refusedBySource},
	{"GET", "/sources/{name}/doctor", ScopeResourcesWrite, false, (*Door).examineSource},
	{"POST", "/sources/{name}/stream/{verb}", ScopeResourcesWrite, false, (*Door).sourceStep},
	{"POST", "/sources/{name}/subjects", ScopeResourcesWrite, false, (*Door).sourceSubjects},
	{"POST", "/sources/{name}/authorize", ScopeResourcesWrite, false, (*Door).authorizeSource},
	{"POST", "/sources/{name}/pause", ScopeResourcesWrite, false, (*Door).pauseSource},
	{"POST", "/sources/{name}/resume", ScopeResourcesWrite, false, (*Door).resumeSource},
	{"POST", "/sources/{name}/verify", ScopeResourcesWrite, false, (*Door).verifySource},
	{"GET", "/apps", ScopeResourcesRead, false, list(hub.KindApp)},
	{"GET", "/apps/{name}", ScopeResourcesRead, false, show(hub.KindApp)},
	{"DELETE", "/apps/{name}", ScopeResourcesWrite, false, remove(hub.KindApp)},
	{"GET", "/identities", ScopeResourcesRead, false, list(hub.KindIdentity)},
	{"GET", "/identities/{name}", ScopeResourcesRead, false, show(hub.KindIdentity)},
	{"DELETE", "/identities/{name}", ScopeResourcesWrite, false, remove(hub.KindIdentity)},
	{"POST", "/import/identities", ScopeResourcesWrite, false, (*Door).importIdentities},
	{"GET", "/accounts", ScopeResourcesRead, false, (*Door).listAccounts},
	{"GET", "/accounts/{at}/{id}", ScopeResourcesRead, false, (*Door).showAccount},
	{"POST", "/import/accounts", ScopeResourcesWrite, false, (*Door).importAccounts},
	{"GET", "/policies", ScopeResourcesRead, false, list(hub.KindPolicy)},
	{"GET", "/policies/{name}", ScopeResourcesRead, false, show(hub.KindPolicy)},
	{"DELETE", "/policies/{name}", ScopeResourcesWrite, false, remove(hub.KindPolicy)},
	{"GET", "/clients", ScopeResourcesRead, false, list(hub.KindClient)},
	{"GET", "/clients/{name}", ScopeResourcesRead, false, show(hub.KindClient)},
	{"DELETE", "/clients/{name}", ScopeResourcesWrite, false, remove(hub.KindClient)},

	{"POST", "/signals", ScopeSignalsWrite, false, (*Door).postSignal},
	{"GET", "/signals", ScopeSignalsRead, false, (*Door).listSignals},
	{"GET", "/unresolved", ScopeSignalsRead, false, (*Door).unresolvedSignals},
	{"POST", "/unresolved/redrive", ScopeResourcesWrite, false, (*Door).redriveSignals},
	{"GET", "/signals/{id}", ScopeSignalsRead, false, (*Door).showSignal},
	{"GET", "/actions", ScopeSignalsRead, false, (*Door).listActions},
	{"GET", "/actions/{id}", ScopeSignalsRead, false, (*Door).showAction},
	{"GET", "/receipts", ScopeSignalsRead, false, (*Door).listReceipts},
	{"GET", "/receipts/{id}", ScopeSignalsRead, false, (*Door).showReceipt},
	{"GET", "/receipts/{id}/evidence", ScopeSignalsToken, false, (*Door).evidence},

	{"GET", "/streams", ScopeResourcesRead, false, (*Door).listStreams},
	{"GET", "/streams/{id}", ScopeResourcesRead, false, (*Door).showStream},
	{"DELETE", "/streams/{id}", ScopeResourcesWrite, false, (*Door).deleteStream},
	{"POST", "/streams/{id}/status", ScopeResourcesWrite, false, (*Door).setStreamStatus},
	{"POST", "/streams/{id}/verify", ScopeResourcesWrite, false, (*Door).verifyStream},
	{"POST", "/streams/{id}/explain", ScopeSignalsRead, false, (*Door).explainStream},
	{"POST", "/streams/{id}/subjects", ScopeResourcesWrite, false, (*Door).changeStreamSubject},
	{"POST", "/streams/{id}/each-event", ScopeSignalsWrite, false, (*Door).eachEvent},
	{"GET", "/streams/{id}/doctor", ScopeResourcesWrite, false, (*Door).examineStream},
	{"GET", "/deliveries", ScopeSignalsRead, false, (*Door).listDeliveries},
	{"POST", "/deliveries/redrive", ScopeResourcesWrite, false, (*Door).redrive},
	{"GET", "/orders", ScopeSignalsRead, false, (*Door).listSentOrders},
	{"GET", "/orders/{ref}", ScopeSignalsRead, false, (*Door).showSentOrder},
	{"POST", "/orders/{ref}/withdraw", ScopeResourcesWrite, false, (*Door).withdraw},

	{"GET", "/tenants", scopeOperator, false, (*Door).listTenants},
	{"GET", "/tenants/{name}", scopeOperator, false, (*Door).showTenant},
	{"DELETE", "/tenants/{name}", scopeOperator, false, (*Door).deleteTenant},
	{"GET", "/secrets", scopeOperator, false, (*Door).listSecrets},
	{"PUT", "/secrets/{name}", scopeOperator, false, (*Door).putSecret},
	{"DELETE", "/secrets/{name}", scopeOperator, false, (*Door).deleteSecret},
	{"GET", "/tokens", scopeOperator, false, (*Door).listTokens},
	{"POST", "/tokens", scopeOperator, false, (*Door).createToken},
	{"DELETE", "/tokens/{id}", scopeOperator, false, (*Door).revokeToken},
	{"GET", "/keys", ScopeResourcesRead, false, (*Door).listKeys},
	{"POST", "/keys/rotate", scopeOperator, false, (*Door).rotateKey},
	{"POST", "/keys/{kid}/retire", scopeOperator, false, (*Door).retireKey},
}

// request is a call whose caller is known.
type request struct {
	*http.Request
	caller *Caller // nil on open routes
	tenant string
}

func (d *Door) mount() {
	allowed := map[string][]string{}
	for _, rt := range routes {
		path := Prefix + rt.path
		allowed[path] = append(allowed[path], rt.method)
		d.mux.HandleFunc(rt.method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := d.serve(rt, w, r); err != nil {
				d.fail(w, r, err)
			}
		})
	}
	for path, methods := range allowed {
		allow := strings.Join(methods, ", ")
		allow = strings.Replace(allow, "GET", "GET, HEAD", 1) // the mux answers HEAD where it answers GET
		d.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allow)
			d.problem(w, http.StatusMethodNotAllowed, problem{Code: hub.Invalid, Title: "this path does not know the method " + safeMethod(r.Method), Hint: "use one of: " + allow})
		})
	}
	d.mux.HandleFunc("GET /healthz", d.healthz)
	d.mux.HandleFunc("GET /readyz", d.readyz)
	if d.c.Metrics != nil {
		d.mux.HandleFunc("GET /metrics", d.metrics)
	}
	d.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.problem(w, http.StatusNotFound, problem{Code: hub.NotFound, Title: "there is nothing at this path", Hint: "the paths are in " + Prefix + "/openapi.json"})
	})
}

func (d *Door) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	req := &request{Request: r, tenant: d.c.Tenant}
	if !rt.open {
		caller, err := d.caller(r)
		if err != nil {
			return err
		}
		if !caller.May(rt.scope) {
			what := "the scope " + rt.scope
			if rt.scope == scopeOperator {
				what = "the operator token"
			}
			return hub.Errorf(hub.Forbidden, "this needs %s", what).WithHint("give the client the scope with apply, or use another token")
		}
		req.caller = caller
		if err := d.aim(req); err != nil {
			return err
		}
	}
	return rt.do(d, w, req)
}

func (d *Door) caller(r *http.Request) (*Caller, error) {
	token, err := bearer(r)
	if err == errNoToken {
		return nil, hub.Errorf(hub.Unauthenticated, "an access token is needed").WithHint("send Authorization: Bearer TOKEN; the operator's is in operator.token of the data folder")
	}
	if err != nil {
		return nil, err
	}
	if d.c.Access != nil && !strings.HasPrefix(token, TokenPrefix) {
		return d.c.Access(r.Context(), token)
	}
	return d.callers.find(r.Context(), d.c.Store, token, d.c.Now())
}

func safeMethod(m string) string {
	if len(m) > 20 {
		return m[:20]
	}
	return m
}
