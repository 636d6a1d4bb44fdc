package bench

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestResultHasWhatScriptsRead(t *testing.T) {
	names := []string{"rate", "floor", "ratio", "p50_ms", "p99_ms", "cpu_us_per_set", "rss_mb", "lost", "sent_twice", "kills"}
	for name, r := range map[string]*Result{
		"all":     {Rate: 500, Floor: 250, Ratio: 2, P50: 1, P99: 2, CPU: 100, RSS: 40},
		"nothing": {},
		"kill":    {Kills: 5, SentTwice: 1, RSS: 50},
		"loss":    {Rate: 500, Floor: 250, Lost: 1},
	} {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		var any map[string]any
		if err := json.Unmarshal(b.Bytes(), &any); err != nil || bytes.Count(b.Bytes(), []byte("\n")) != 1 {
			t.Fatalf("%s: %q, %v", name, b.String(), err)
		}
		got := map[string]*float64{}
		for k, v := range any {
			if f, ok := v.(float64); ok {
				got[k] = &f
			}
		}
		for _, n := range names {
			if _, ok := any[n]; ok == (n == "ratio" && r.Lost > 0) {
				t.Errorf("%s: member %s there: %v", name, n, ok)
			}
		}
		if name == "all" && slices.ContainsFunc(names[:7], func(n string) bool { return got[n] == nil || *got[n] == 0 }) {
			t.Errorf("%s", b.String())
		}
		if name == "kill" && any["p50_ms"] != nil {
			t.Errorf("a figure without latencies says %v", any["p50_ms"])
		}
	}
}

func TestLatencies(t *testing.T) {
	start := time.Now()
	rc := &receivers{arrived: map[int64]time.Time{16: start.Add(time.Millisecond), 32: start.Add(3 * time.Millisecond)}}
	r := &Result{}
	rc.latencies(map[int64]time.Time{16: start, 32: start, 48: start}, r)
	if r.P50 != 1 || r.Max != 3 {
		t.Errorf("p50 %v, max %v", r.P50, r.Max)
	}
}
