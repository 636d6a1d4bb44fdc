package hostile

import (
	"maps"
	"sync"
	"testing"

	"countersign/internal/req"
)

// startSlow opens every stalling connection at once on a hub of its own. What it gives waits for the answers:
// each must come by the server's own time limit, and the effects of all must be those of the files together.
func startSlow(t *testing.T) func(*testing.T) {
	h := build(t, "", false, nil)
	h.good(t)
	cases := readCases(t, "slow", 5)
	before := h.count(t)
	var end sync.WaitGroup
	results := make([]*quiet, len(cases))
	var effects []effect
	for i, c := range cases {
		s := c.steps[0]
		sc := h.scope(c)
		h.prepare(t, s, sc, nil)
		effects = append(effects, s.effects...)
		results[i] = &quiet{TB: t}
		end.Go(func() {
			for j, a := range h.send(results[i], s, sc, "slow") {
				h.check(results[i], s, sc, "slow", s.expect[j], a)
			}
		})
	}
	return func(t *testing.T) {
		end.Wait()
		for i, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				for _, text := range results[i].said {
					t.Error(text)
				}
			})
			req.Covers(t, ids(c.clause)...)
		}
		h.settle(t, before, sum(effects), 1, "all slow cases together")
		h.good(t)
		h.silentLog(t)
	}
}

// sum adds effects of one name.
func sum(all []effect) (out []effect) {
	total := map[string]int{}
	for _, e := range all {
		total[e.name] += e.n
	}
	for name := range maps.Keys(total) {
		out = append(out, effect{name: name, n: total[name]})
	}
	return out
}
