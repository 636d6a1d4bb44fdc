package transmitter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/internal/req"
	"countersign/subject"
	"countersign/transmitter"
)

const (
	scimUser  = `{"format":"scim","uri":"/Users/5581","externalId":"mira"}`
	phoneMira = `{"format":"phone_number","phone_number":"+31201230001"}`
)

// What leaves is stricter than what is taken: the subject has the format that its type wants, the payload today's form.
func TestWhatMayBeSent(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Registry = event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), scim.Vocabulary())
	x := newTransmitter(t, cfg)
	var all []string
	for _, typ := range cfg.Registry.Types() {
		all = append(all, typ.URI)
	}
	putListed(t, store, "s1", "", func(s *transmitter.Stream) { s.Delivered = all })
	tests := []struct {
		name, typ, sub, payload string
		sent                    string // the payload as it is sent; empty: refused
		refused                 error
		covers                  []string
	}{
		{"identifier changed by e-mail", "risc/identifier-changed", mira, `{"new-value":"m@y.example"}`, `{"new-value":"m@y.example"}`, nil, []string{"EV-61", "EV-63"}},
		{"identifier changed by phone", "risc/identifier-changed", phoneMira, `{"new-value":"+31201230002"}`, `{"new-value":"+31201230002"}`, nil, []string{"EV-61"}},
		{"identifier changed of an account", "risc/identifier-changed", miraSub, `{}`, "", subject.ErrInvalid, []string{"EV-61"}},
		{"identifier changed of a complex one", "risc/identifier-changed", `{"format":"complex","user":` + mira + `}`, `{}`, "", subject.ErrInvalid, []string{"EV-61"}},
		{"identifier recycled", "risc/identifier-recycled", mira, `{}`, `{}`, nil, []string{"EV-65"}},
		{"identifier recycled of an account", "risc/identifier-recycled", blue, `{}`, "", subject.ErrInvalid, []string{"EV-65"}},
		{"SCIM", "scim/prov:patch:full", scimUser, `{"data":{"Operations":[]}}`, `{"data":{"Operations":[]}}`, nil, []string{"EV-80", "EV-102"}},
		{"SCIM about another subject", "scim/prov:delete", mira, `{}`, "", subject.ErrInvalid, []string{"EV-80"}},
		{"SCIM with a strange path", "scim/prov:put:notice", scimUser, `{"attributes":["a b"]}`, "", event.ErrInvalid, []string{"EV-84"}},
		{"SCIM of both forms", "scim/prov:put:notice", scimUser, `{"attributes":["a"],"data":{}}`, "", event.ErrInvalid, []string{"EV-83"}},
		{"a status of CAEP 1.1", "caep/device-compliance-change", mira, `{"previous_status":"unknown","current_status":"compliant"}`, "", event.ErrInvalid, []string{"EV-39"}},
		{"a plain reason", "caep/session-revoked", mira, `{"reason_admin" : "moved","note":1}`, `{"reason_admin":{"und":"moved"},"note":1}`, nil, []string{"EV-14"}},
		{"milliseconds", "caep/session-revoked", mira, `{"event_timestamp":1615304991123}`, `{"event_timestamp":1615304991}`, nil, []string{"EV-17"}},
		{"an exponent", "caep/session-revoked", mira, `{"event_timestamp":1.6e9,"reason_user":{"en":"x"}}`, `{"event_timestamp":1.6e9,"reason_user":{"en":"x"}}`, nil, nil},
		{"another subject in the payload", "caep/session-revoked", mira, `{"transferee":` + miraSub + `}`, `{"transferee":` + miraSub + `}`, nil, []string{"SUB-8", "TX-153"}},
		{"unknown members of RISC", "risc/account-disabled", mira, `{"reason":"hijacking","initiating_entity":"admin"}`, `{"reason":"hijacking","initiating_entity":"admin"}`, nil, []string{"EV-58"}},
		{"a reason that is no text", "risc/account-disabled", mira, `{"reason":5}`, "", event.ErrInvalid, []string{"EV-58"}},
		{"a compromise of nothing", "risc/credential-compromise", mira, `{}`, "", event.ErrInvalid, []string{"EV-67"}},
	}
	for _, test := range tests {
		for _, checked := range []bool{false, true} { // as the hub sends: parsed and decoded by itself
			m := transmitter.Message{Type: test.typ, SubID: json.RawMessage(test.sub), Payload: json.RawMessage(test.payload)}
			if _, err := cfg.Registry.Decode(resolveURI(t, cfg.Registry, test.typ), m.Payload); checked && err == nil {
				sub := parse(t, test.sub)
				m.Checked = &sub
			}
			_, err := x.Send(t.Context(), m)
			if test.refused != nil {
				if !errors.Is(err, test.refused) {
					t.Errorf("%s: error is %v, want %v", test.name, err, test.refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			c := keptClaims(t, x, store, "s1")
			if len(c.Events) != 1 || string(c.Events[0].Payload) != test.sent || string(c.SubID) != test.sub {
				t.Errorf("%s: sent %s %s", test.name, c.SubID, c.Events[0].Payload)
			}
		}
		req.Covers(t, test.covers...)
	}
}

func resolveURI(t testing.TB, r *event.Registry, name string) string {
	t.Helper()
	typ, ok := r.Resolve(name)
	if !ok {
		t.Fatalf("no type %s", name)
	}
	return typ.URI
}

// Every SET has a txn; one that is given is the one that is sent, the same for all SETs of one transaction.
func TestTXN(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Registry = event.NewRegistry(scim.Vocabulary())
	x := newTransmitter(t, cfg)
	deliver := func(s *transmitter.Stream) { s.Delivered = []string{scim.MiscAsyncResponseURI, scim.ProvDeleteURI} }
	putListed(t, store, "s1", "", deliver)
	putListed(t, store, "s2", "", deliver)
	m := transmitter.Message{Type: "scim/misc:asyncresp", SubID: json.RawMessage(scimUser), Payload: json.RawMessage(`{"method":"POST","status":"201"}`), TXN: "set-txn-77:0"}
	sent := mustSend(t, x, m)
	for _, id := range []string{"s1", "s2"} {
		if c := keptClaims(t, x, store, id); c.TXN != "set-txn-77:0" || sent.TXN != c.TXN {
			t.Errorf("%s: txn %q", id, c.TXN)
		}
	}
	req.Covers(t, "EV-99", "TX-150")
	m = transmitter.Message{Type: "scim/prov:delete", SubID: json.RawMessage(scimUser)}
	sent = mustSend(t, x, m)
	one, two := keptClaims(t, x, store, "s1"), keptClaims(t, x, store, "s2")
	if slices.Equal(one.Audience, two.Audience) || len(one.Audience) != 1 || len(two.Audience) != 1 {
		t.Errorf("aud %q and %q", one.Audience, two.Audience)
	}
	if one.TXN == "" || one.TXN != two.TXN || one.TXN != sent.TXN || one.ID == two.ID {
		t.Errorf("txn %q and %q, jti %q and %q", one.TXN, two.TXN, one.ID, two.ID)
	}
	if again := mustSend(t, x, m); again.TXN == sent.TXN {
		t.Error("two causes have one txn")
	}
	req.Covers(t, "EV-81", "TX-149", "TX-150")
}

// A receiver with a name of its own for people is told that one alone, also where the message has several, and never
// a format that the type forbids.
func TestNamedReceiversLearnNoOtherName(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	named := subject.Opaque("crm-77")
	cfg.Name = func(context.Context, *transmitter.Stream, subject.Identifier, string) (subject.Identifier, string, error) {
		return named, "", nil
	}
	x := newTransmitter(t, cfg)
	putListed(t, store, "crm", "", naming(`"crm"`), func(s *transmitter.Stream) {
		s.Delivered = append(s.Delivered, risc.IdentifierChangedURI)
	})
	m := message("x")
	m.SubID = json.RawMessage(`{"format":"aliases","identifiers":[` + mira + `,` + miraSub + `]}`)
	mustSend(t, x, m)
	c := keptClaims(t, x, store, "crm")
	if got := string(c.SubID); got != `{"format":"opaque","id":"crm-77"}` || strings.Contains(got, "mira") {
		t.Errorf("told %s", got)
	}
	req.Covers(t, "SUB-20")
	sent := mustSend(t, x, transmitter.Message{Type: "risc/identifier-changed", SubID: json.RawMessage(mira)})
	if len(sent.Queued) != 0 || len(sent.Skipped) != 1 || !strings.Contains(sent.Skipped[0].Reason, "email or phone_number") {
		t.Errorf("an identifier that the receiver may not be told so: %+v", sent)
	}
	named = subject.Email("m@crm.example")
	if sent = mustSend(t, x, transmitter.Message{Type: "risc/identifier-changed", SubID: json.RawMessage(mira)}); len(sent.Queued) != 1 {
		t.Errorf("named by e-mail: %+v", sent)
	}
	req.Covers(t, "EV-61")
}
