package telemetry

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// collector stands in for an OTLP collector: it takes what is exported and reads the protobuf of it.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []exported
}

// exported is one span: its name, the hex-free ids as raw bytes, and its attributes of text.
type exported struct {
	name, traceID, spanID, parent string
	attrs                         map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s %v", r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		// ExportTraceServiceRequest.resource_spans = 1, ResourceSpans.scope_spans = 2, ScopeSpans.spans = 2
		for _, rs := range fields(t, raw)[1] {
			for _, ss := range fields(t, rs)[2] {
				for _, span := range fields(t, ss)[2] {
					f := fields(t, span)
					s := exported{traceID: one(f[1]), spanID: one(f[2]), parent: one(f[4]), name: one(f[5]), attrs: map[string]string{}}
					for _, kv := range f[9] {
						pair := fields(t, kv)
						for _, v := range pair[2] {
							s.attrs[one(pair[1])] = one(fields(t, v)[1])
						}
					}
					c.spans = append(c.spans, s)
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func one(b [][]byte) string {
	if len(b) == 0 {
		return ""
	}
	return string(b[0])
}

// fields takes a protobuf message apart: the length-delimited values by field number.
func fields(t *testing.T, b []byte) map[int][][]byte {
	t.Helper()
	out := map[int][][]byte{}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatal("a tag cannot be read")
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
			_, n := binary.Uvarint(b)
			b = b[n:]
		case 1:
			b = b[8:]
		case 2:
			size, n := binary.Uvarint(b)
			b = b[n:]
			out[int(tag>>3)] = append(out[int(tag>>3)], b[:size])
			b = b[size:]
		case 5:
			b = b[4:]
		default:
			t.Fatalf("wire type %d", tag&7)
		}
	}
	return out
}

func (c *collector) find(t *testing.T, name string) exported {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no span %s among %d", name, len(c.spans))
	return exported{}
}

// The way of a signal is one trace that begins at the caller, over steps that only share a key.
func TestTrace(t *testing.T) {
	c := newCollector(t)
	tr, err := Tracing(context.Background(), TraceConfig{Endpoint: c.URL + "/", Version: "1", Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /receive/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, s := tr.Start(r.Context(), "ingest", "txn", "t-1", "empty", "")
		tr.Keep(ctx, "default", "t-1")
		s.Set("source", "idp")
		s.End(nil)
		w.WriteHeader(202)
	})
	door := tr.Door("listen", mux)
	r := httptest.NewRequest("POST", "/receive/secret-id", nil)
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	door.ServeHTTP(httptest.NewRecorder(), r)
	if r.Pattern != "POST /receive/{id}" {
		t.Errorf("pattern %q", r.Pattern)
	}
	door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/ssf/streams/x/poll", nil))

	ctx := tr.Of(context.Background(), "default", "", "unknown", "t-1")
	_, s := tr.Start(ctx, "decide")
	s.End(errors.New("alice@example.test is not known"))
	tr.Past(ctx, "transmit.push", time.Now().Add(-time.Second), time.Second, "answered 500", "txn", "t-1")
	other := tr.Of(context.Background(), "acme", "t-1") // of another tenant
	_, s = tr.Start(other, "elsewhere")
	s.End(nil)
	if err := tr.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	entry := c.find(t, "POST /receive/{id}")
	if entry.traceID != "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c" || entry.parent != "\xb7\xad\x6b\x71\x69\x20\x33\x31" {
		t.Errorf("the caller's trace is not gone on with: %x", entry.traceID)
	}
	ingest, decide, push := c.find(t, "ingest"), c.find(t, "decide"), c.find(t, "transmit.push")
	if ingest.parent != entry.spanID || decide.parent != ingest.spanID || push.parent != ingest.spanID || push.traceID != entry.traceID {
		t.Errorf("the spans do not hang together: %+v", c.spans)
	}
	if ingest.attrs["txn"] != "t-1" || ingest.attrs["source"] != "idp" || push.attrs["txn"] != "t-1" {
		t.Errorf("attributes %v", ingest.attrs)
	}
	if _, ok := ingest.attrs["empty"]; ok {
		t.Error("an empty attribute was sent")
	}
	if c.find(t, "elsewhere").traceID == entry.traceID {
		t.Error("one tenant's trace goes on in another's")
	}
	for _, s := range c.spans {
		for _, v := range append([]string{s.name}, s.attrs["http.route"]) {
			if strings.Contains(v, "secret-id") || strings.Contains(v, "alice") || strings.Contains(v, "poll") {
				t.Errorf("span %+v", s)
			}
		}
	}
}

// Nobody asked for traces: a nil Tracer makes none.
func TestNoTracer(t *testing.T) {
	for _, name := range endpointEnv {
		t.Setenv(name, "")
	}
	tr, err := Tracing(context.Background(), TraceConfig{})
	if tr != nil || err != nil {
		t.Fatal(tr, err)
	}
	ctx, s := tr.Start(context.Background(), "x")
	s.Set("a", "b")
	s.End(nil)
	tr.Keep(ctx, "default", "t")
	tr.Past(tr.Of(ctx, "default", "t"), "y", time.Now(), 0, "")
	rec := httptest.NewRecorder()
	tr.Door("x", http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if rec.Code != 404 || tr.Shutdown(ctx) != nil {
		t.Error(rec.Code)
	}
}

func TestTraceFromEnvironment(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	tr, err := Tracing(context.Background(), TraceConfig{})
	if err != nil || tr == nil {
		t.Fatal(tr, err)
	}
	_, s := tr.Start(context.Background(), "here")
	s.End(nil)
	if err := tr.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.find(t, "here")
}
