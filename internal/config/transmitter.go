package config

import (
	"fmt"
	"time"
)

// Span reads a span that Check accepted; an empty one is 0.
func Span(s string) time.Duration {
	d, _ := time.ParseDuration(s) // Check said so where it cannot be read
	return d
}

func (t *Transmitter) check() (bad []string) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		key, value string
		least      time.Duration
		most       time.Duration
		must       bool
	}{
		{"retention", t.Retention, time.Minute, 366 * day, true},
		{"history", t.History, time.Minute, 3660 * day, true},
		{"poll_wait", t.PollWait, time.Second, 40 * time.Second, true}, // the listener writes no longer than 45 s
		{"inactivity", t.Inactivity, time.Minute, 366 * day, false},
		{"removal_grace", t.RemovalGrace, time.Second, 366 * day, false},
		{"min_verification", t.MinVerification, time.Second, day, false},
	} {
		if c.value == "" && !c.must {
			continue
		}
		if d, err := time.ParseDuration(c.value); err != nil || d < c.least || d > c.most {
			bad = append(bad, fmt.Sprintf("transmitter.%s: %q is not a span from %s to %s", c.key, c.value, c.least, c.most))
		}
	}
	if t.DefaultSubjects != "ALL" && t.DefaultSubjects != "NONE" {
		bad = append(bad, fmt.Sprintf("transmitter.default_subjects: %q is not ALL or NONE", t.DefaultSubjects))
	}
	if t.MaxSubjects < 1 {
		bad = append(bad, "transmitter.max_subjects: must be at least 1")
	}
	if t.MaxStreams < 1 {
		bad = append(bad, "transmitter.max_streams: must be at least 1")
	}
	return bad
}
