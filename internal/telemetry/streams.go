package telemetry

import (
	"cmp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// StreamCounts is what is seen of one stream.
type StreamCounts struct {
	Tenant, ID string
	Waiting    int64
	Oldest     float64 // seconds that the oldest waiting token waits; 0: nothing waits
	Delivered  int64
	Dead       int64
	Skipped    int64
	Failing    bool // it is in back-off, or its set-up is at fault
}

// maxStreams is how many streams have series of their own; the rest are one series with the id "other".
const maxStreams = 1000

// streamMetrics shows the latest picture of all streams.
type streamMetrics struct {
	mu   sync.Mutex
	seen []StreamCounts

	waiting, oldest, delivered, dead, skipped, failing *prometheus.Desc
}

func newStreamMetrics() *streamMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("countersign_stream_"+name, help+" Beyond 1000 streams the busiest have series of their own and the rest are the stream_id other.", []string{"tenant", "stream_id"}, nil)
	}
	return &streamMetrics{
		waiting:   desc("waiting", "Tokens that wait for the receiver."),
		oldest:    desc("oldest_seconds", "How long the oldest of them waits."),
		delivered: desc("delivered_total", "Tokens that the receiver took."),
		dead:      desc("dead", "Tokens that were set aside."),
		skipped:   desc("skipped_total", "Events that the receiver was not told of, for a reason that is in the history."),
		failing:   desc("failing", "1 while deliveries fail."),
	}
}

// Describe implements prometheus.Collector.
func (s *streamMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.waiting, s.oldest, s.delivered, s.dead, s.skipped, s.failing} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *streamMetrics) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	seen := s.seen
	s.mu.Unlock()
	for _, c := range seen {
		put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			out <- prometheus.MustNewConstMetric(d, kind, v, c.Tenant, c.ID)
		}
		failing := 0.0
		if c.Failing {
			failing = 1
		}
		put(s.waiting, prometheus.GaugeValue, float64(c.Waiting))
		put(s.oldest, prometheus.GaugeValue, c.Oldest)
		put(s.delivered, prometheus.CounterValue, float64(c.Delivered))
		put(s.dead, prometheus.GaugeValue, float64(c.Dead))
		put(s.skipped, prometheus.CounterValue, float64(c.Skipped))
		put(s.failing, prometheus.GaugeValue, failing)
	}
}

// Streams sets the picture of all streams.
func (m *Metrics) Streams(all []StreamCounts) {
	if m == nil {
		return
	}
	m.streams.mu.Lock()
	defer m.streams.mu.Unlock()
	m.streams.seen = bounded(all)
}

// bounded keeps the streams on which something is wrong or much waits, and adds up the rest.
func bounded(all []StreamCounts) []StreamCounts {
	if len(all) <= maxStreams {
		return all
	}
	all = slices.Clone(all)
	worst := func(c StreamCounts) int64 {
		if c.Failing {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b StreamCounts) int {
		return cmp.Or(cmp.Compare(worst(b), worst(a)), cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Dead, a.Dead))
	})
	rest := StreamCounts{ID: "other"}
	for _, c := range all[maxStreams:] {
		rest.Waiting += c.Waiting
		rest.Delivered += c.Delivered
		rest.Dead += c.Dead
		rest.Skipped += c.Skipped
		rest.Oldest = max(rest.Oldest, c.Oldest)
		rest.Failing = rest.Failing || c.Failing
	}
	return append(all[:maxStreams:maxStreams], rest)
}

// Orders sets how many orders that we sent are open without the receipt that is due: late or overdue.
func (m *Metrics) Orders(flag string, n int) {
	if m != nil {
		m.orders.WithLabelValues(flag).Set(float64(n))
	}
}
