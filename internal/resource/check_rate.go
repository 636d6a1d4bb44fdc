package resource

import (
	"time"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// checkRate wants a whole number of tokens in a span of time.
func checkRate(doc yaml.Doc, r *hub.Rate) error {
	if r == nil {
		return nil
	}
	if r.Signals < 1 {
		return doc.Errorf("rate.signals", "signals is how many tokens are taken in the span per: 1 or more")
	}
	per, err := time.ParseDuration(r.Per)
	if err != nil || per < time.Millisecond || per > 24*time.Hour {
		return doc.Errorf("rate.per", "per is a span such as 1s or 1m, up to 24h")
	}
	return nil
}
