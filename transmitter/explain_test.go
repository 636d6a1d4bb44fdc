package transmitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// Explain says what Send does, and names the rule that is in the way.
func TestExplain(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Name = func(_ context.Context, s *transmitter.Stream, _ subject.Identifier, _ string) (subject.Identifier, string, error) {
		if string(s.Naming) == `"none"` {
			return subject.Identifier{}, "the person has no account there", nil
		}
		return subject.Opaque("named"), "", nil
	}
	x := newTransmitter(t, cfg)
	putListed(t, store, "plain", "")
	putListed(t, store, "paused", "", func(s *transmitter.Stream) { s.Status = transmitter.Paused })
	putListed(t, store, "disabled", "", func(s *transmitter.Stream) { s.Status = transmitter.Disabled })
	putListed(t, store, "untyped", "", func(s *transmitter.Stream) { s.Delivered = []string{credentialChange} })
	putListed(t, store, "listed", stream.DefaultNone)
	putListed(t, store, "unlisted", stream.DefaultNone)
	putListed(t, store, "removed", "")
	putListed(t, store, "named", "", naming(`"crm"`))
	putListed(t, store, "nameless", "", naming(`"none"`))
	putListed(t, store, "keyless", "", func(s *transmitter.Stream) { s.Algorithm = "RS256" })
	alice := `{"format":"email","email":"alice@example.com"}`
	list(t, x, "listed", alice, true)
	list(t, x, "removed", alice, false)
	for id, failing := range map[string]string{
		"plain": "", "paused": "", "listed": "", "named": "",
		"disabled": "status", "untyped": "requested", "unlisted": "subject list", "removed": "subject list", "nameless": "naming", "keyless": "signing key",
	} {
		got, err := x.Explain(t.Context(), message("alice"), id)
		if err != nil {
			t.Fatal(err)
		}
		in := ""
		for _, s := range got.Steps {
			if s.Why == "" {
				t.Errorf("%s: %s says nothing", id, s.What)
			}
			if strings.Contains(s.Why, "alice") {
				t.Errorf("%s: %s tells the subject", id, s.What)
			}
			if !s.OK {
				in += s.What
			}
		}
		if got.Sent != (failing == "") || in != failing {
			t.Errorf("%s: sent %v, in the way: %q, want %q", id, got.Sent, in, failing)
		}
		m := message("alice")
		m.Streams = []string{id}
		if sent := mustSend(t, x, m); (len(sent.Queued) == 1) != got.Sent {
			t.Errorf("%s: explained as sent %v, and queued %d", id, got.Sent, len(sent.Queued))
		}
	}
	whole, err := x.Explain(t.Context(), message("alice"), "plain")
	want := &transmitter.Explanation{Sent: true, Steps: []transmitter.Step{
		{What: "event type", OK: true, Why: "caep/session-revoked is offered"},
		{What: "requested", OK: true, Why: "the receiver requested nothing in particular and gets what is offered"},
		{What: "status", OK: true, Why: "the stream is enabled"},
		{What: "naming", OK: true, Why: "the receiver is told the subject as the message names it"},
		{What: "subject list", OK: true, Why: "the stream takes every subject, and this one was not removed"},
		{What: "signing key", OK: true, Why: "it will be signed with ES256 by key es-1"},
	}}
	if d := cmp.Diff(want, whole); d != "" || err != nil {
		t.Errorf("%v, differs (-want +got):\n%s", err, d)
	}
	if _, err := x.Explain(t.Context(), message("alice"), "unknown"); !errors.Is(err, transmitter.ErrNotFound) {
		t.Errorf("an unknown stream: %v", err)
	}
	broken := message("alice")
	broken.SubID = json.RawMessage(`{"format":"email"}`)
	if _, err := x.Explain(t.Context(), broken, "plain"); !errors.Is(err, subject.ErrInvalid) {
		t.Errorf("a broken subject: %v", err)
	}
	unknown := message("alice")
	unknown.Type = "https://x.example/unknown"
	if got, err := x.Explain(t.Context(), unknown, "plain"); err != nil || got.Sent || len(got.Steps) != 1 {
		t.Errorf("an unknown type: %+v, %v", got, err)
	}
	other := message("alice")
	other.Streams = []string{"paused"}
	if got, err := x.Explain(t.Context(), other, "plain"); err != nil || got.Sent {
		t.Errorf("a message for another stream: %+v, %v", got, err)
	}
}

func TestExplainOrder(t *testing.T) {
	x := newTill(t)
	plain := putListed(t, x.store, "plain", "")
	m := message("alice")
	m.Order = json.RawMessage(directive)
	steps := func(id string, order string) (bool, string) {
		t.Helper()
		m.Order = json.RawMessage(order)
		got, err := x.Explain(t.Context(), m, id)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got.Steps {
			if s.What == "order" {
				return s.OK && got.Sent, s.Why
			}
		}
		return false, "no such step"
	}
	for name, test := range map[string]struct {
		id, order string
		ok        bool
		why       string
	}{
		"good":           {x.ids[0], directive, true, "receipts are active"},
		"no receipts":    {plain.ID, directive, false, "receipts are not active"},
		"another action": {x.ids[0], strings.Replace(directive, "revoke_sessions", "disable_account", 1), false, "disable_account"},
		"malformed":      {x.ids[0], `{"obligation":"maybe"}`, false, "order"},
	} {
		if ok, why := steps(test.id, test.order); ok != test.ok || !strings.Contains(why, test.why) {
			t.Errorf("%s: %v, %s", name, ok, why)
		}
	}
}
