package hostile

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tables are the counted rows by the name that files give them.
var tables = []struct{ name, query string }{
	{"signals", "signal"}, {"clashes", "clash"}, {"orders", "received_order"}, {"decisions", "decision"}, {"actions", "action"},
	{"attempts", "attempt"}, {"receipts", "receipt"}, {"streams", "stream"}, {"sent", "sent_order"},
	{"accepted", "accepted_receipt WHERE NOT disputed"}, {"disputed", "accepted_receipt WHERE disputed"},
	{"resources", "resource"}, {"tokens", "access_token"}, {"keys", "idempotency"}, {"secrets", "secret"}, {"dead", "dead_letter"},
	{"outbox", "outbox"}, {"jobs", "job"}, {"subjects", "stream_subject WHERE stream IN (SELECT seq FROM stream)"},
}

// counting is one statement for all of them.
var counting = func() string {
	var parts []string
	for _, tb := range tables {
		parts = append(parts, "(SELECT count(*) FROM "+tb.query+")")
	}
	return "SELECT " + strings.Join(parts, ", ")
}()

// count reads everything that is counted.
func (h *house) count(t testing.TB) counts {
	t.Helper()
	out := counts{}
	values := make([]int, len(tables))
	into := make([]any, len(tables))
	for i := range values {
		into[i] = &values[i]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	must(t, h.db.QueryRowContext(ctx, counting).Scan(into...))
	for i, tb := range tables {
		out[tb.name] = values[i]
	}
	h.metrics(t, out)
	out["app"] = int(h.site.Requests.Load())
	out["fetches"], out["trap"], out["answers"] = int(h.fetches.Load()), int(h.trapped.Load()), int(h.answers.Load())
	out["pushes"] = h.desk.count()
	return out
}

// counted are the metrics that files may name, and the label that they name them by.
var counted = map[string]func(labels string) string{
	"countersign_refusals_total": func(l string) string { return "refused{" + label(l, "err") + "}" },
	"countersign_signals_total":  func(l string) string { return label(l, "door") + "{" + label(l, "result") + "}" },
}

// metrics reads the page that an operator's Prometheus reads.
func (h *house) metrics(t testing.TB, out counts) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, h.hub.AdminURL()+"/metrics", nil)
	must(t, err)
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := h.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %d", resp.StatusCode)
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), "{")
		give := counted[name]
		if !ok || give == nil {
			continue
		}
		labels, value, ok := strings.Cut(rest, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			t.Fatalf("/metrics: %s", lines.Text())
		}
		out[give(labels)] = int(n)
	}
	must(t, lines.Err())
}

func label(labels, name string) string {
	_, after, _ := strings.Cut(labels, name+`="`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}
