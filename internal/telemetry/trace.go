package telemetry

import (
	"context"
	"crypto/sha256"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// endpointEnv are the variables of OpenTelemetry that say where traces go.
var endpointEnv = []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}

// TraceConfig says where traces go.
type TraceConfig struct {
	// Endpoint is the address of a collector that speaks OTLP over HTTP, without a path. Empty: what the variables of
	// OpenTelemetry say; where they say nothing, there are no traces.
	Endpoint string
	Version  string
	Node     string
}

// Tracer makes spans. A nil Tracer makes none, and costs nothing. It is safe for concurrent use.
//
// The way of a signal is one trace from the door to the last act, as long as this process lives: what follows from a
// signal finds the span it came from by the signal's key, see [Tracer.Keep] and [Tracer.Of]. After a restart it begins a
// trace of its own, with the same txn.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer

	mu       sync.Mutex
	now, old map[[32]byte]trace.SpanContext
}

// Tracing starts to send traces, and returns nil where nobody wants them. Call Shutdown at the end.
func Tracing(ctx context.Context, c TraceConfig) (*Tracer, error) {
	var opt []otlptracehttp.Option
	if c.Endpoint != "" {
		opt = append(opt, otlptracehttp.WithEndpointURL(strings.TrimSuffix(c.Endpoint, "/")+"/v1/traces"))
	} else if !inEnv() {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx, opt...)
	if err != nil {
		return nil, err
	}
	return newTracer(c, sdktrace.WithBatcher(exporter)), nil
}

func inEnv() bool {
	for _, name := range endpointEnv {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

func newTracer(c TraceConfig, opt sdktrace.TracerProviderOption) *Tracer {
	attrs := resource.NewSchemaless(attribute.String("service.name", "countersign"), attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Node))
	p := sdktrace.NewTracerProvider(opt, sdktrace.WithResource(attrs))
	return &Tracer{provider: p, tracer: p.Tracer("countersign")}
}

// Shutdown sends what is left, until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is one piece of work. The nil Span takes everything and does nothing.
type Span struct{ s trace.Span }

// Start begins a span below the one in ctx. Attributes come as name and value; an empty value is left out. Names of
// people, tokens and secrets are never among them.
func (t *Tracer) Start(ctx context.Context, name string, attrs ...string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx, s := t.tracer.Start(ctx, name, trace.WithAttributes(pairs(attrs)...))
	return ctx, &Span{s}
}

// Past records a span that is over.
func (t *Tracer) Past(ctx context.Context, name string, began time.Time, took time.Duration, failed string, attrs ...string) {
	if t == nil {
		return
	}
	_, s := t.tracer.Start(ctx, name, trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(pairs(attrs)...))
	if failed != "" {
		s.SetStatus(codes.Error, failed)
	}
	s.End(trace.WithTimestamp(began.Add(took)))
}

func pairs(attrs []string) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(attrs)/2)
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			out = append(out, attribute.String(attrs[i], attrs[i+1]))
		}
	}
	return out
}

// Set adds attributes.
func (s *Span) Set(attrs ...string) {
	if s != nil {
		s.s.SetAttributes(pairs(attrs)...)
	}
}

// End ends the span; an error marks it as failed, in the words of its class only where what says them is not ours.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.s.SetStatus(codes.Error, "failed") // an error's text may name a person
	}
	s.s.End()
}

// maxTraces bounds how many ways are remembered at once.
const maxTraces = 20_000

// Keep remembers the span in ctx under a key, such as a signal's txn, so that what follows from it joins the trace.
func (t *Tracer) Keep(ctx context.Context, tenant, key string) {
	if t == nil || key == "" {
		return
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil || len(t.now) >= maxTraces {
		t.old, t.now = t.now, make(map[[32]byte]trace.SpanContext)
	}
	t.now[traceKey(tenant, key)] = sc
}

// Of gives ctx the span that was kept under the first of the keys that is known; ctx itself where none is.
func (t *Tracer) Of(ctx context.Context, tenant string, keys ...string) context.Context {
	if t == nil {
		return ctx
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if key == "" {
			continue
		}
		k := traceKey(tenant, key)
		sc, ok := t.now[k]
		if !ok {
			sc, ok = t.old[k]
		}
		if ok {
			return trace.ContextWithSpanContext(ctx, sc)
		}
	}
	return ctx
}

func traceKey(tenant, key string) [32]byte { return sha256.Sum256([]byte(tenant + "\x00" + key)) }

// Door makes a span of each request of a listener. It goes on with the trace of a traceparent header (W3C Trace Context).
// A long poll is waiting and no work, and has no span.
func (t *Tracer) Door(listener string, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	wire := propagation.TraceContext{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/poll") || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" {
			next.ServeHTTP(w, r)
			return
		}
		ctx, s := t.tracer.Start(wire.Extract(r.Context(), propagation.HeaderCarrier(r.Header)), listener, trace.WithSpanKind(trace.SpanKindServer))
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		in := r.WithContext(ctx)
		defer func() {
			route := in.Pattern
			if route == "" || route == "/" {
				route = "other" // the path may hold an id
			}
			r.Pattern = in.Pattern
			s.SetName(r.Method + " " + strings.TrimPrefix(route, r.Method+" "))
			s.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", route),
				attribute.Int("http.response.status_code", sw.status))
			if sw.status >= 500 {
				s.SetStatus(codes.Error, strconv.Itoa(sw.status))
			}
			s.End()
		}()
		next.ServeHTTP(sw, in)
	})
}
