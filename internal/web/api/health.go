package api

import (
	"fmt"
	"net/http"

	"countersign/internal/hub"
)

// healthz says that the process answers; it asks nobody else.
func (d *Door) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readyz says whether work can be taken now.
func (d *Door) readyz(w http.ResponseWriter, r *http.Request) {
	if d.c.Ready != nil {
		if err := d.c.Ready(r.Context()); err != nil {
			if !d.unready.Swap(true) { // whoever waits asks often
				d.c.Log.WarnContext(r.Context(), "not ready", "err", err)
			}
			d.problem(w, http.StatusServiceUnavailable, problem{Code: hub.Unavailable, Title: "not ready to take work", Hint: "look at the hub's log; this answer changes by itself when the cause is gone"})
			return
		}
		if d.unready.Swap(false) {
			d.c.Log.InfoContext(r.Context(), "ready again")
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ready")
}

func (d *Door) metrics(w http.ResponseWriter, r *http.Request) {
	if !d.c.MetricsOpen {
		c, err := d.caller(r)
		if err == nil && c.Tenant != d.c.Tenant { // they tell of every tenant
			err = hub.Errorf(hub.Forbidden, "this needs a token of the tenant %s", d.c.Tenant)
		}
		if err != nil {
			d.fail(w, r, err)
			return
		}
	}
	d.c.Metrics.ServeHTTP(w, r)
}

// version needs no token, so that a client can say what it reached before it shows one.
func (d *Door) version(w http.ResponseWriter, _ *request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"name": "countersign", "version": d.c.Version, "api": "v1"})
}

func (d *Door) whoami(w http.ResponseWriter, r *request) error {
	scopes := r.caller.Scopes
	if r.caller.Operator {
		scopes = []string{scopeOperator}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"tenant": r.tenant, "client": r.caller.Client, "operator": r.caller.Operator, "scopes": emptyNotNull(scopes)})
}

func (d *Door) eventTypes(w http.ResponseWriter, _ *request) error {
	type row struct {
		URI        string `json:"uri"`
		Name       string `json:"name"`
		Title      string `json:"title"`
		Clause     string `json:"clause"`
		Deprecated bool   `json:"deprecated"`
		Stream     bool   `json:"stream_level"`
	}
	items := []row{}
	for _, t := range d.c.Registry.Types() {
		items = append(items, row{t.URI, t.Name, t.Title, t.Clause, t.Deprecated, t.StreamLevel})
	}
	return writeJSON(w, http.StatusOK, page[row]{Items: items})
}

func emptyNotNull[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
