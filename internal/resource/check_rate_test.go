package resource

import (
	"strings"
	"testing"
)

func TestRateOfASource(t *testing.T) {
	for rate, want := range map[string]string{
		"{signals: 100, per: 1s}":   "",
		"{signals: 1, per: 24h}":    "",
		"{signals: 0, per: 1s}":     "signals is how many",
		"{signals: -5, per: 1s}":    "signals is how many",
		"{signals: 10}":             "per is a span",
		"{signals: 10, per: \"1\"}": "per is a span",
		"{signals: 10, per: 0s}":    "per is a span",
		"{signals: 10, per: 100h}":  "per is a span",
		"{signals: 10, per: -1s}":   "per is a span",
	} {
		text := "apiVersion: countersign/v1\nkind: source\nname: idp\ntype: ssf\nissuer: https://idp.example.test\nrate: " + rate + "\n"
		_, err := DecodeAll([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", rate, err)
		}
	}
}
