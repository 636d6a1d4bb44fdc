package telemetry

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(rec.Body)
	if err != nil || rec.Code != 200 {
		t.Fatal(rec.Code, err)
	}
	return string(b)
}

func TestMetrics(t *testing.T) {
	m := NewMetrics("1.2")
	m.Signal("push", "new")
	m.Signal("push", "new")
	m.Signal("api", "repeat")
	m.Refusal("invalid_issuer")
	m.Action("succeeded")
	m.Attempt("done")
	m.Receipt("accepted")
	m.Delivery("retry")
	m.Outbox(7)
	m.Jobs("act", 3)
	m.Store(func() StoreCounts {
		return StoreCounts{Operations: 16, Statements: 4, KeepTrips: 3, Commits: 2, Waiting: 1}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signals/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	h := m.Wrap("admin", mux)
	for _, p := range []string{"/signals/a", "/signals/b", "/elsewhere"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", p, nil))
	}
	text := scrape(t, m)
	for _, want := range []string{
		`countersign_signals_total{door="push",result="new"} 2`, `countersign_signals_total{door="api",result="repeat"} 1`,
		`countersign_refusals_total{err="invalid_issuer"} 1`, `countersign_actions_total{state="succeeded"} 1`, `countersign_attempts_total{class="done"} 1`,
		`countersign_receipts_total{state="accepted"} 1`, `countersign_deliveries_total{result="retry"} 1`, `countersign_outbox_rows 7`, `countersign_jobs{kind="act"} 3`,
		`countersign_store_operations_total 16`, `countersign_store_statements_total 4`, `countersign_store_keep_groups_total 3`, `countersign_store_commits_total 2`, `countersign_store_waiting 1`,
		`countersign_build_info{version="1.2"} 1`,
		`countersign_http_requests_total{listener="admin",route="GET /signals/{id}",status="404"} 2`,
		`countersign_http_requests_total{listener="admin",route="none",status="404"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// Rooms are tested without metrics, so a nil one counts nothing and passes requests on.
func TestNilMetrics(t *testing.T) {
	var m *Metrics
	m.Signal("push", "new")
	m.Store(nil)
	rec := httptest.NewRecorder()
	m.Wrap("x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != 204 {
		t.Error(rec.Code)
	}
}

func TestLogMasks(t *testing.T) {
	var b bytes.Buffer
	log := Logger(&b, "debug", "json")
	log.Info("x", "token", "t-1", "access_token", "t-2", "Authorization", "t-3", "secret", "t-4", "subject", "t-5", "sub_id", "t-6", "email", "t-7", "token_id", "tok_8", "signal", "sig_9")
	out := b.String()
	for _, hidden := range []string{"t-1", "t-2", "t-3", "t-4", "t-5", "t-6", "t-7"} {
		if strings.Contains(out, hidden) {
			t.Errorf("the log shows %s: %s", hidden, out)
		}
	}
	for _, shown := range []string{"tok_8", "sig_9", Masked} {
		if !strings.Contains(out, shown) {
			t.Errorf("the log lacks %s: %s", shown, out)
		}
	}
}

func TestLogLevels(t *testing.T) {
	var b bytes.Buffer
	Logger(&b, "warn", "text").Info("quiet")
	Logger(&b, "nonsense", "text").Debug("quiet")
	if b.Len() != 0 {
		t.Errorf("logged %s", b.String())
	}
	Logger(&b, "nonsense", "text").Info("loud")
	if !strings.Contains(b.String(), "msg=loud") {
		t.Errorf("logged %s", b.String())
	}
}
