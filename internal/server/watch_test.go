package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
)

// An order without its receipt is said to be late or overdue, once, and counted.
func TestOrdersDue(t *testing.T) {
	w := newWorld(t)
	w.apply(docPassOn + `---
kind: stream
name: crm-orders
client: siem
deliver: {poll: true}
orders: {receipts: true, issuer: "https://crm.example.test", jwks_uri: "https://crm.example.test/jwks.json"}
---
kind: policy
name: pass-on
on: [caep/session-revoked]
then:
  - {transmit: caep/session-revoked, to: [crm-orders], order: {obligation: must, actions: [{id: a1, action: revoke_sessions}]}, within: 15m}
`)
	w.push("raw", w.sign("j1", `{"format":"email","email":"alice@example.test"}`, nil))
	w.signal("raw", "j1", hub.SignalDone)
	said := map[string]bool{}
	look := func() string {
		t.Helper()
		if err := w.srv.watchOnce(context.Background(), said); err != nil {
			t.Fatal(err)
		}
		w.srv.countStreams(context.Background())
		_, text := w.ask("GET", w.srv.AdminURL()+"/metrics", "", "")
		return string(text)
	}
	if text := look(); !strings.Contains(text, `countersign_orders_due{flag="overdue"} 0`) || len(said) != 0 {
		t.Errorf("before it is due: %v", said)
	}
	w.shift.Store(int64(16 * time.Minute))
	text := look()
	if !strings.Contains(text, `countersign_orders_due{flag="overdue"} 1`) || len(said) != 1 {
		t.Errorf("a quarter of an hour later: %v", said)
	}
	id, _ := w.streamAt("crm-orders")
	for _, want := range []string{`countersign_stream_waiting{stream_id="` + id + `",tenant="default"} 1`, `countersign_stream_failing{stream_id="` + id + `",tenant="default"} 0`, "countersign_outbox_rows 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(text, "alice") {
		t.Error("a person stands in the metrics")
	}
}

// A signal's way from the sender's trace to our push is one trace, and txn is on it.
func TestTraceFollowsASignal(t *testing.T) {
	var mu sync.Mutex
	var sent bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&sent, body)
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	w := newWorld(t)
	w.apply(docPassOn + docPassAll + "---\n" + strings.TrimPrefix(docPolicy, "---\n"))
	w.applyAt("default", `{"kind":"client","name":"crm","auth":"bearer","scopes":["ssf.read","ssf.manage"],"streams":"many"}`)
	p := newPushed(w)
	p.keys = w.keySet
	w.pushStream(p.URL + "/events")
	src := w.srv.home().view.Load().sources["raw"]
	r, err := http.NewRequest("POST", w.srv.receiveURL(src.state.ReceiveID), strings.NewReader(w.sign("j1", `{"format":"email","email":"alice@example.test"}`, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	resp, err := w.admin.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	w.signal("raw", "j1", hub.SignalDone)
	w.eventually("it was pushed", func() bool { n, _, _ := p.state(); return n == 1 })
	w.stop() // sends what is left
	mu.Lock()
	defer mu.Unlock()
	all := sent.String()
	const trace = "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c"
	for _, name := range []string{"POST /receive/{id}", "ingest", "decide", "act", "transmit.push"} {
		// In a span the trace's id stands before its name.
		at, found := all, false
		for !found {
			i := strings.Index(at, trace)
			if i < 0 {
				break
			}
			at = at[i+len(trace):]
			found = strings.Contains(at[:min(len(at), 120)], name)
		}
		if !found {
			t.Errorf("the trace has no span %s", name)
		}
	}
	if !strings.Contains(all, "t-j1") {
		t.Error("txn is on no span")
	}
	for _, hidden := range []string{"alice", w.token, src.state.ReceiveID} {
		if strings.Contains(all, hidden) {
			t.Errorf("the traces hold %q", hidden)
		}
	}
}
