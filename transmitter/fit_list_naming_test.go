package transmitter_test

import (
	"context"
	"testing"

	"countersign/internal/req"
	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// A receiver that is told people by names of its own lists them by these names. What others call them matches nothing
// there: otherwise the receiver would learn from what arrives which of its people has that address.
func TestListsMatchWhatTheReceiverIsTold(t *testing.T) {
	const (
		alice = `{"format":"email","email":"alice@example.com"}`
		crm   = `{"format":"opaque","id":"crm-77"}`
	)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	asked := 0
	cfg.Name = func(_ context.Context, s *transmitter.Stream, sub subject.Identifier, _ string) (subject.Identifier, string, error) {
		asked++
		if email, _ := sub.Email(); email == "alice@example.com" && string(s.Naming) == `"crm"` {
			return subject.Opaque("crm-77"), "", nil
		}
		return subject.Identifier{}, "the person has no account there", nil
	}
	x := newTransmitter(t, cfg)
	for _, c := range []struct {
		id, defaults, entry string
		on, sent            bool
	}{
		{"none, by its name", stream.DefaultNone, crm, true, true},
		{"none, by another's name", stream.DefaultNone, alice, true, false},
		{"none, by another's name in a complex one", stream.DefaultNone, `{"format":"complex","user":` + alice + `}`, true, false},
		{"none, by aliases with its name", stream.DefaultNone, `{"format":"aliases","identifiers":[` + alice + `,` + crm + `]}`, true, true},
		{"none, by aliases of others", stream.DefaultNone, `{"format":"aliases","identifiers":[` + alice + `,{"format":"opaque","id":"x"}]}`, true, false},
		{"all, its name removed", stream.DefaultAll, crm, false, false},
		{"all, another's name removed", stream.DefaultAll, alice, false, true},
	} {
		putListed(t, store, c.id, c.defaults, naming(`"crm"`))
		list(t, x, c.id, c.entry, c.on)
		m := message("alice")
		m.Streams = []string{c.id}
		if sent := mustSend(t, x, m); (len(sent.Queued) == 1) != c.sent {
			t.Errorf("%s: sent %v, skipped %+v", c.id, len(sent.Queued) == 1, sent.Skipped)
		}
		if got, err := x.Explain(t.Context(), m, c.id); err != nil || got.Sent != c.sent {
			t.Errorf("%s: explained as %+v, %v", c.id, got, err)
		}
	}
	req.Covers(t, "SUB-35", "TX-155")

	// A list cannot have somebody without a name there, and an empty one asks for nobody's name.
	putListed(t, store, "nameless", stream.DefaultNone, naming(`"erp"`))
	before := asked
	if sent := mustSend(t, x, transmitter.Message{Type: sessionRevoked, SubID: message("alice").SubID, Streams: []string{"nameless"}}); len(sent.Skipped) != 1 || asked != before {
		t.Errorf("an empty list: %+v, and %d names were asked for", sent.Skipped, asked-before)
	}
	list(t, x, "nameless", alice, true)
	m := message("alice")
	m.TXN = "txn-nameless"
	m.Streams = []string{"nameless"}
	if sent := mustSend(t, x, m); len(sent.Queued) != 0 || sent.Skipped[0].Reason != "the subject is not on the stream's list" {
		t.Errorf("without a name: %+v", sent)
	}
	if lines, err := store.Deliveries(t.Context(), transmitter.DeliveryFilter{TXN: "txn-nameless"}); err != nil || len(lines) != 0 {
		t.Errorf("the history has %d lines, %v: who is not on a list is no news", len(lines), err)
	}
}
