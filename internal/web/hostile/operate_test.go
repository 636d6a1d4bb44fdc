package hostile

import (
	"net/url"
	"testing"

	"countersign/internal/pgtest"
	"countersign/internal/req"
)

func init() {
	usual["operate"] = struct{ request, auth string }{"GET admin:/api/v1/streams", "operator"}
}

// TestOperate sends the cases of the folder operate, what an operator asks about streams, deliveries, orders, keys and
// tenants, to a hub on SQLite over HTTP/1.1, and to one on PostgreSQL over HTTP/2.
func TestOperate(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { operate(t, "", false) })
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		u, err := url.Parse(address)
		must(t, err)
		q := u.Query()
		q.Set("search_path", schema)
		u.RawQuery = q.Encode()
		operate(t, u.String(), true)
	})
}

func operate(t *testing.T, database string, http2 bool) {
	h := build(t, database, http2, func(*house) []any {
		type m = map[string]any
		return []any{m{"kind": "tenant", "name": "blue"}, m{"kind": "client", "name": "runner", "auth": "bearer", "scopes": []string{"resources.read", "resources.write"}}}
	})
	var made struct {
		Token string `json:"token"`
	}
	h.call(t, "POST", "/api/v1/tokens", []byte(`{"client":"runner"}`), &made)
	h.tokens["runner"] = made.Token
	h.last = nil
	for _, c := range readCases(t, "operate", 300) {
		t.Run(c.name, func(t *testing.T) { h.run(t, c, "api") }) // answers are those of the admin API
		req.Covers(t, ids(c.clause)...)
	}
	if h.trapped.Load() != 0 {
		t.Errorf("%d connections came to the listener that tokens point at", h.trapped.Load())
	}
	h.silentLog(t)
}
