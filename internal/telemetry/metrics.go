package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what the hub does. All methods may be used at once; a nil *Metrics counts nothing.
type Metrics struct {
	registry  *prometheus.Registry
	signals   *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	actions   *prometheus.CounterVec
	attempts  *prometheus.CounterVec
	receipts  *prometheus.CounterVec
	delivered *prometheus.CounterVec
	outbox    prometheus.Gauge
	jobs      *prometheus.GaugeVec
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	streams   *streamMetrics
	orders    *prometheus.GaugeVec
	sources   *prometheus.GaugeVec
	waiting   *prometheus.GaugeVec
}

// NewMetrics makes a registry of its own, with the metrics of the Go runtime and the process.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		signals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_signals_total",
			Help: "Signals that came in, by door and result: new, repeat or clash."}, []string{"door", "result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_refusals_total",
			Help: "Requests refused at the doors for other systems, by error code."}, []string{"err"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_actions_total",
			Help: "Actions that entered a state, by state."}, []string{"state"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_attempts_total",
			Help: "Acting requests sent to applications, by class of the answer."}, []string{"class"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_receipts_total",
			Help: "Receipts that entered a state: kept, queued, accepted or dead."}, []string{"state"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_deliveries_total",
			Help: "Deliveries of our own tokens to receivers, by result: accepted, retry or dead."}, []string{"result"}),
		outbox: prometheus.NewGauge(prometheus.GaugeOpts{Name: "countersign_outbox_rows",
			Help: "Tokens that wait for their receiver."}),
		jobs: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_jobs",
			Help: "Jobs that wait or run, by kind."}, []string{"kind"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "countersign_http_requests_total",
			Help: "Requests by listener, route and status."}, []string{"listener", "route", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "countersign_http_request_seconds",
			Help: "Time to answer a request, by listener and route.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"listener", "route"}),
	}
	m.streams = newStreamMetrics()
	m.orders = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_orders_due",
		Help: "Orders that we sent whose receipt is due and missing: late after interim_by, overdue after complete_by."}, []string{"flag"})
	m.sources = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_sources",
		Help: "Sources by how our stream there is: ok, pending, failed, silent (verification events do not come) or stopped (by the transmitter)."}, []string{"state"})
	m.waiting = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_signals_unresolved",
		Help: "Signals that wait until somebody fits their subject, by tenant."}, []string{"tenant"})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "countersign_build_info", Help: "Always 1; the label says the version."}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.signals, m.refusals, m.actions, m.attempts, m.receipts, m.delivered, m.outbox, m.jobs, m.requests, m.latency, m.streams, m.orders, m.sources, m.waiting, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in the Prometheus text form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Signal counts one signal at a door: push or api; new, repeat or clash.
func (m *Metrics) Signal(door, result string) {
	if m != nil {
		m.signals.WithLabelValues(door, result).Inc()
	}
}

// Refusal counts one refused request by its RFC 8935 err or receipt error.
func (m *Metrics) Refusal(err string) {
	if m != nil {
		m.refusals.WithLabelValues(err).Inc()
	}
}

// Action counts one action that entered a state.
func (m *Metrics) Action(state string) {
	if m != nil {
		m.actions.WithLabelValues(state).Inc()
	}
}

// Attempt counts one acting request by the class of its answer.
func (m *Metrics) Attempt(class string) {
	if m != nil {
		m.attempts.WithLabelValues(class).Inc()
	}
}

// Receipt counts one receipt that entered a state.
func (m *Metrics) Receipt(state string) {
	if m != nil {
		m.receipts.WithLabelValues(state).Inc()
	}
}

// Delivery counts one delivery of a token of ours.
func (m *Metrics) Delivery(result string) {
	if m != nil {
		m.delivered.WithLabelValues(result).Inc()
	}
}

// Outbox sets how many tokens wait for their receiver.
func (m *Metrics) Outbox(rows int64) {
	if m != nil {
		m.outbox.Set(float64(rows))
	}
}

// Jobs sets how many jobs of a kind wait or run.
func (m *Metrics) Jobs(kind string, n int) {
	if m != nil {
		m.jobs.WithLabelValues(kind).Set(float64(n))
	}
}

// Sources sets how many sources are in each state.
func (m *Metrics) Sources(n map[string]int) {
	if m == nil {
		return
	}
	for state, count := range n {
		m.sources.WithLabelValues(state).Set(float64(count))
	}
}

// Unresolved tells how many signals of each tenant wait until somebody fits their subject.
func (m *Metrics) Unresolved(byTenant map[string]int64) {
	if m == nil {
		return
	}
	m.waiting.Reset()
	for tenant, n := range byTenant {
		m.waiting.WithLabelValues(tenant).Set(float64(n))
	}
}

// StoreCounts is what the store did since it was opened.
type StoreCounts struct {
	Operations int64 // writes answered
	Statements int64 // of the write path
	KeepTrips  int64 // groups in which signals were kept
	Commits    int64
	Waiting    int64 // writes that wait or run
}

// Store makes the store's own counters readable; read is called at each scrape.
func (m *Metrics) Store(read func() StoreCounts) {
	if m == nil {
		return
	}
	counter := func(name, help string, of func(StoreCounts) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(read())) })
	}
	m.registry.MustRegister(
		counter("countersign_store_operations_total", "Writes answered.", func(c StoreCounts) int64 { return c.Operations }),
		counter("countersign_store_statements_total", "Statements of the write path; on PostgreSQL, round trips.", func(c StoreCounts) int64 { return c.Statements }),
		counter("countersign_store_keep_groups_total", "Groups in which signals were kept: on PostgreSQL each is one round trip.", func(c StoreCounts) int64 { return c.KeepTrips }),
		counter("countersign_store_commits_total", "Transactions committed.", func(c StoreCounts) int64 { return c.Commits }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "countersign_store_waiting", Help: "Writes that wait or run."},
			func() float64 { return float64(read().Waiting) }),
	)
}

// Wrap counts the requests of a listener. The route is the pattern that the inner mux matched, so
// that ids in paths make no new series; what no pattern matched is "none".
func (m *Metrics) Wrap(listener string, next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(sw, r)
		route := r.Pattern
		if route == "" || route == "/" {
			route = "none"
		}
		m.requests.WithLabelValues(listener, route, strconv.Itoa(sw.status)).Inc()
		m.latency.WithLabelValues(listener, route).Observe(time.Since(start).Seconds())
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader keeps the status.
func (w *statusWriter) WriteHeader(status int) {
	if !w.wrote && status >= 200 {
		w.status, w.wrote = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
