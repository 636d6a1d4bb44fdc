package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"countersign/outbox"
)

// The request as the hub gets it, the same at each try.
func TestHubRequest(t *testing.T) {
	var bodies []string
	var last *http.Request
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies, last = append(bodies, string(b)), r
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	send := outbox.Hub(server.URL+"/", "tok", server.Client())
	e := outbox.Entry{ID: "id-1", Signal: signal("mira"), Created: time.Now()}
	bare := outbox.Entry{ID: "id-2", Signal: outbox.Signal{EventType: "t", SubID: e.SubID, Event: json.RawMessage(`{}`)}}
	for _, e := range []outbox.Entry{e, e, bare} {
		if err := send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if last.URL.Path != "/api/v1/signals" || last.Method != "POST" || last.Header.Get("Authorization") != "Bearer tok" ||
		last.Header.Get("Idempotency-Key") != "id-2" || last.Header.Get("Content-Type") != "application/json" {
		t.Errorf("request: %s %s %v", last.Method, last.URL.Path, last.Header)
	}
	want := `{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"mira@x.example"},"event":{"event_timestamp":1700000000},"txn":"sale-1","do":["act","transmit"]}`
	if bodies[0] != want || bodies[1] != bodies[0] {
		t.Errorf("bodies: %s", bodies)
	}
	if bodies[2] != `{"event_type":"t","sub_id":{"format":"email","email":"mira@x.example"},"event":{}}` {
		t.Errorf("bare: %s", bodies[2])
	}
}

// What each answer does to the entry.
func TestHubAnswers(t *testing.T) {
	for _, test := range []struct {
		status int
		header string
		body   string
		dead   bool
		reason string
		wait   time.Duration // at least
	}{
		{202, "", "", false, "", 0},
		{200, "", "", false, "", 0},
		{400, "", `{"title":"Bad Request","detail":"sub_id is missing"}`, true, "HTTP 400: sub_id is missing", 0},
		{409, "", `{"title":"Conflict"}`, true, "HTTP 409: Conflict", 0},
		{413, "", "", true, "HTTP 413", 0},
		{422, "", "not JSON", true, "HTTP 422", 0},
		{401, "", "", false, "HTTP 401", 0},
		{403, "", "", false, "HTTP 403", 0},
		{404, "", "", false, "HTTP 404", 0},
		{302, "", "", false, "HTTP 302", 0},
		{429, "120", "", false, "HTTP 429", 2 * time.Minute},
		{503, "30", "", false, "HTTP 503", 30 * time.Second},
		{503, "soon", "", false, "HTTP 503", 0},
		{500, "9999999", "", false, "HTTP 500", 0},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if test.header != "" {
				w.Header().Set("Retry-After", test.header)
			}
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		}))
		p := place{table: outbox.Table{Dialect: outbox.SQLite}, driver: "sqlite", dsn: "file:" + filepath.Join(t.TempDir(), "app.db")}
		db := made(t, p)
		put(t, p, db, "mira")
		now := time.Now().Add(time.Second)
		relay := &outbox.Relay{DB: db, Table: p.table, Send: outbox.Hub(server.URL, "tok", nil), Now: func() time.Time { return now }}
		pass(t, relay)
		server.Close()
		var state, reason string
		var due int64
		if err := db.QueryRow(`SELECT state, reason, due_at FROM `+outbox.DefaultTable).Scan(&state, &reason, &due); err != nil {
			t.Fatal(err)
		}
		want := "waiting"
		if test.dead {
			want = "dead"
		} else if test.reason == "" {
			want = "sent"
		}
		if state != want || reason != test.reason {
			t.Errorf("%d: %s, %q", test.status, state, reason)
		}
		if state == "waiting" {
			if wait := time.UnixMicro(due).Sub(now); wait < test.wait-time.Microsecond || wait <= 0 {
				t.Errorf("%d: waits %v", test.status, wait)
			}
		}
	}
}

func TestHubIsAway(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	err := outbox.Hub(server.URL, "tok", nil)(context.Background(), outbox.Entry{ID: "x", Signal: signal("mira")})
	if err == nil || errors.Is(err, outbox.ErrInvalid) {
		t.Errorf("error is %v", err)
	}
}
