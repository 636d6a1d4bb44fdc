package api

import (
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultTenant is the tenant that is there from the start.
const DefaultTenant = "default"

// Door is the admin API as an http.Handler. It is safe for concurrent use.
type Door struct {
	c   Config
	mux *http.ServeMux
	// applying lets one change of resources be planned, checked and written at a time on this node.
	applying sync.Mutex
	callers  callers
	unready  atomic.Bool // the last answer of /readyz, so that a change of it is in the log once
	patience time.Duration
}

// New builds the door. Nothing is started.
func New(c Config) *Door {
	if c.Tenant == "" {
		c.Tenant = DefaultTenant
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	d := &Door{c: c, mux: http.NewServeMux(), patience: patience}
	d.mount()
	return d
}

// ServeHTTP answers /api/v1/…, /healthz, /readyz and /metrics. Other paths are 404; the server's mux
// gives those of the console to the console.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := checkHost(r, d.c.Hosts); err != nil {
		d.fail(w, r, err)
		return
	}
	d.mux.ServeHTTP(w, r)
}
