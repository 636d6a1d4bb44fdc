package receipt

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
)

func ourSettings() Settings {
	return Settings{Endpoint: idp + "/receipts", DeliveryMethods: []string{DeliveryPush}, DirectiveEvents: []string{caepPrefix + "session-revoked"},
		Actions: []string{"revoke_sessions", "disable_account"}, Algorithms: []string{"EdDSA", "RS256"}, ReceiptAudience: idp}
}

func theirSettings() Settings {
	return Settings{ReceiptIssuer: hub, JWKSURI: hub + "/jwks.json", Delivery: DeliveryPush,
		Capabilities: []Capability{{Action: "revoke_sessions", TypicalSeconds: 30, Approval: "none", Evidence: Verified}, {Action: "delete_account"}}}
}

func TestParseSettings(t *testing.T) {
	req.Covers(t, "AR-3.1", "AR-3.2", "AR-11", "A41")
	// The example of design §3.2.
	s, err := ParseSettings(json.RawMessage(`{"receipt_issuer": "https://hub.example.net", "receipt_jwks_uri": "https://hub.example.net/jwks.json", "receipt_delivery": "push",
  "capabilities": [{"action": "revoke_sessions", "typical_seconds": 30, "approval": "none", "evidence": "verified"}, {"action": "delete_account", "approval": "always"}], "acme": 1}`))
	if err != nil || s.CheckRequest() != nil || len(s.Capabilities) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, raw := range []string{
		`[]`, `{"receipt_issuer":"http://hub.example.net"}`, `{"receipt_issuer":"https://hub.example.net#x"}`, `{"receipt_jwks":{}}`,
		`{"capabilities":[]}`, `{"capabilities":[{}]}`, `{"capabilities":[{"action":"revoke_sessions","evidence":"proof"}]}`,
		`{"receipt_delivery":"poll"}`, `{"status":"maybe"}`, `{"max_receipt_bytes":16383}`, `{"max_receipt_bytes":16384.0}`,
		`{"receipt_signing_alg_values_supported":["HS256"]}`, `{"receipt_signing_alg_values_supported":["none"]}`, `{"directive_events_supported":[]}`,
		`{"receipt_log":{"origin":"o"}}`, `{"status":"active","status":"declined"}`,
	} {
		if _, err := ParseSettings(json.RawMessage(raw)); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := ParseSettings(json.RawMessage(`{"max_receipt_bytes":16384}`)); err != nil {
		t.Error(err)
	}
}

func TestNegotiation(t *testing.T) {
	req.Covers(t, "AR-3.2", "AR-3.3", "AR-2")
	v, legacy := Default(), Vocabulary{Settings: "https://v.example/s"}
	raw := func(s Settings) json.RawMessage {
		m, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// The receiver sees the metadata, asks; the transmitter answers; the receiver reads the answer.
	md := map[string]json.RawMessage{v.Settings: raw(ourSettings())}
	offered, chosen, ok := Offered(md, legacy, v)
	if !ok || chosen != v || offered.CheckMetadata() != nil {
		t.Fatalf("offered %+v %v %v", offered, chosen, ok)
	}
	asked, chosen, ok, err := Requested(map[string]json.RawMessage{v.Settings: raw(theirSettings())}, legacy, v)
	if err != nil || !ok || chosen != v {
		t.Fatalf("requested: %v %v", ok, err)
	}
	answer, err := Answer(ourSettings(), asked)
	if err != nil {
		t.Fatal(err)
	}
	want := theirSettings()
	want.Status, want.Actions, want.ReceiptAudience, want.Endpoint = StatusActive, []string{"revoke_sessions"}, idp, idp+"/receipts"
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	agreed, ok := Agreed(map[string]json.RawMessage{v.Settings: raw(answer)}, v)
	if !ok {
		t.Fatal("the answer is not an agreement")
	}
	for action, may := range map[string]bool{"revoke_sessions": true, "disable_account": false, "delete_account": false} {
		if agreed.MayOrder(action, caepPrefix+"session-revoked") != may {
			t.Errorf("MayOrder(%s)", action)
		}
	}
	agreed.Capabilities[0].EventTypes = []string{riscPrefix + "account-disabled"}
	if agreed.MayOrder("revoke_sessions", caepPrefix+"session-revoked") {
		t.Error("ordered about an event type that the capability leaves out")
	}

	if _, ok := Agreed(map[string]json.RawMessage{}, v); ok {
		t.Error("no echo is a legacy peer")
	}
	if _, ok := Agreed(map[string]json.RawMessage{v.Settings: raw(theirSettings())}, v); ok {
		t.Error("an echo without status is no agreement")
	}
	if _, _, ok, err := Requested(nil, v); ok || err != nil {
		t.Errorf("nothing asked: %v %v", ok, err)
	}
	both := map[string]json.RawMessage{v.Settings: raw(theirSettings()), legacy.Settings: raw(theirSettings())}
	if _, _, _, err := Requested(both, legacy, v); !errors.Is(err, ErrSettings) {
		t.Errorf("two vocabularies: %v", err)
	}
	for name, change := range map[string]func(*Settings){
		"no action in common":    func(s *Settings) { s.Capabilities = s.Capabilities[1:] },
		"delivery not offered":   func(s *Settings) { s.Delivery = DeliveryStream },
		"no capabilities at all": func(s *Settings) { s.Capabilities = nil },
	} {
		s := theirSettings()
		change(&s)
		a, err := Answer(ourSettings(), s)
		if err != nil || a.Status != StatusDeclined || a.CheckAnswer() != nil {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if _, ok := Agreed(map[string]json.RawMessage{v.Settings: raw(a)}, v); ok || a.MayOrder("revoke_sessions", "x") {
			t.Errorf("%s: taken for an agreement", name)
		}
	}
	for name, change := range map[string]func(*Settings){
		"no issuer":   func(s *Settings) { s.ReceiptIssuer = "" },
		"no keys":     func(s *Settings) { s.JWKSURI = "" },
		"keys twice":  func(s *Settings) { s.JWKS = json.RawMessage(`{"keys":[]}`) },
		"no delivery": func(s *Settings) { s.Delivery = "" },
	} {
		s := theirSettings()
		change(&s)
		if _, err := Answer(ourSettings(), s); !errors.Is(err, ErrSettings) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Settings){
		"methods":  func(s *Settings) { s.DeliveryMethods = nil },
		"events":   func(s *Settings) { s.DirectiveEvents = nil },
		"actions":  func(s *Settings) { s.Actions = nil },
		"algs":     func(s *Settings) { s.Algorithms = nil },
		"endpoint": func(s *Settings) { s.Endpoint = "" },
	} {
		s := ourSettings()
		change(&s)
		if err := s.CheckMetadata(); !errors.Is(err, ErrSettings) {
			t.Errorf("metadata without %s: %v", name, err)
		}
	}
	if !slices.Equal(ourSettings().Actions, []string{"revoke_sessions", "disable_account"}) {
		t.Error("Answer changed its argument")
	}
}
