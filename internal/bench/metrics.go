package bench

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// metrics reads the hub's counters: statements that keeping took (on PostgreSQL, round trips), and signals kept.
func (g *rig) metrics(ctx context.Context) (statements, signals float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.hub.Admin+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		name, value, ok := strings.Cut(sc.Text(), " ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch {
		case name == "countersign_store_keep_groups_total":
			statements += v
		case strings.HasPrefix(name, "countersign_signals_total{") && strings.Contains(name, `"new"`):
			signals += v
		}
	}
	return statements, signals, sc.Err()
}
