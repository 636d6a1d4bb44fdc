package server

import (
	"strings"
	"testing"
)

// A receiver without a stream API is sent events about people, and nothing about its stream.
func TestDirectStream(t *testing.T) {
	w := newWorld(t)
	p := newPushed(w)
	p.keys = w.keySet
	w.applyAt("default", clientMany, `{"kind":"stream","name":"partner","client":"crm","deliver":{"to":"`+p.URL+`/events","direct":true}}`)
	if status, body := w.call("POST", "/streams/partner/verify", map[string]any{}); status != 409 || !strings.Contains(string(body), "has no stream API") {
		t.Errorf("verify: %d %s", status, body)
	}
	for _, word := range []string{"paused", "enabled"} {
		if status, body := w.call("POST", "/streams/partner/status", map[string]string{"status": word}); status >= 300 {
			t.Fatalf("%s: %d %s", word, status, body)
		}
	}
	w.transmit("alice@example.test")
	w.eventually("the event came", func() bool { n, _, _ := p.state(); return n == 1 })
	if _, kids, wrong := p.state(); len(kids) != 1 || len(wrong) != 0 {
		t.Errorf("%d SETs came, wrong %v", len(kids), wrong)
	}
}
