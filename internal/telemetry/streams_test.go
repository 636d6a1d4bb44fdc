package telemetry

import (
	"fmt"
	"strings"
	"testing"
)

func TestStreamMetrics(t *testing.T) {
	m := NewMetrics("1")
	m.Streams([]StreamCounts{{Tenant: "default", ID: "s1", Waiting: 3, Oldest: 2.5, Delivered: 7, Dead: 1, Skipped: 4, Failing: true}})
	m.Orders("overdue", 2)
	text := scrape(t, m)
	for _, want := range []string{
		`countersign_stream_waiting{stream_id="s1",tenant="default"} 3`, `countersign_stream_oldest_seconds{stream_id="s1",tenant="default"} 2.5`,
		`countersign_stream_delivered_total{stream_id="s1",tenant="default"} 7`, `countersign_stream_dead{stream_id="s1",tenant="default"} 1`,
		`countersign_stream_skipped_total{stream_id="s1",tenant="default"} 4`, `countersign_stream_failing{stream_id="s1",tenant="default"} 1`,
		`countersign_orders_due{flag="overdue"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// However many streams there are, the series stay within bounds, and nothing is lost from the sums.
func TestStreamMetricsAreBounded(t *testing.T) {
	var all []StreamCounts
	for i := range 1500 {
		all = append(all, StreamCounts{Tenant: "default", ID: fmt.Sprint("s", i), Waiting: int64(i)})
	}
	all[0].Failing = true
	got := bounded(all)
	if len(got) != maxStreams+1 || got[0].ID != "s0" || got[maxStreams].ID != "other" {
		t.Fatalf("%d series, first %s", len(got), got[0].ID)
	}
	sum := int64(0)
	for _, c := range got {
		sum += c.Waiting
	}
	if sum != 1500*1499/2 || all[1].ID != "s1" {
		t.Errorf("sum %d", sum)
	}
}
