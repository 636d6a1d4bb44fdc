package decide_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/flow/decide"
	"countersign/internal/hub"
)

func decideOne(t *testing.T, policy, event, payload string, change func(*decide.Input)) *decide.Result {
	t.Helper()
	set, err := decide.Load([]byte("apiVersion: countersign/v1\nkind: policy\nname: p\n"+policy), decide.Types())
	if err != nil {
		t.Fatal(err)
	}
	typ, _ := decide.Types().Resolve(event)
	in := decide.Input{Signal: &hub.Signal{ID: "sig_1", Tenant: "default", Source: "idp", EventType: typ.URI, SubID: []byte(`{}`), Event: []byte(payload), Received: 1_700_000_000_000_000},
		Source: &hub.Source{Name: "idp"}, Person: decide.Person{Identity: &hub.Identity{Name: "alice", Emails: []string{"alice@example.test"}}}, Now: time.Unix(1_700_000_000, 0)}
	if change != nil {
		change(&in)
	}
	res, err := set.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestTransmit(t *testing.T) {
	const order = `, order: {obligation: must, actions: [{id: a1, action: revoke_sessions}]}, within: 15m`
	same := "on: [caep/session-revoked]\nthen: [{transmit: caep/session-revoked, to: all"
	payload := `{"event_timestamp":1,"initiating_entity":"policy","x":1}`

	res := decideOne(t, same+"}]\n", "caep/session-revoked", payload, nil)
	if len(res.Transmits) != 1 || string(res.Transmits[0].Payload) != payload || !res.Transmits[0].To.All || res.Transmits[0].Order != nil {
		t.Errorf("the same type: %+v", res.Transmits)
	}
	res = decideOne(t, same+order+"}]\n", "caep/session-revoked", payload, nil)
	if got := string(res.Transmits[0].Order); got != `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"complete_by":1700000900}` {
		t.Errorf("order %s", got)
	}
	// Another type takes over what both have, and nothing that only the first means.
	res = decideOne(t, "on: [risc/account-disabled]\nthen: [{transmit: caep/session-revoked, to: [a, b]}]\n", "risc/account-disabled", `{"reason":"hijacking","initiating_entity":"policy"}`, nil)
	if got := string(res.Transmits[0].Payload); got != `{"event_timestamp":1700000000,"initiating_entity":"policy"}` {
		t.Errorf("payload %s", got)
	}
	protect := func(in *decide.Input) { in.Person.Identity.Protect = "never" }
	if res = decideOne(t, same+order+"}]\n", "caep/session-revoked", payload, protect); len(res.Transmits) != 0 || res.Decision.Findings[0].Result != "denied" {
		t.Errorf("an order about a protected person: %+v", res)
	}
	if res = decideOne(t, same+"}]\n", "caep/session-revoked", payload, protect); len(res.Transmits) != 1 {
		t.Errorf("an event about a protected person: %+v", res)
	}
	if res = decideOne(t, "mode: monitor\n"+same+"}]\n", "caep/session-revoked", payload, nil); len(res.Transmits) != 0 || res.Decision.Findings[0].Result != "monitor" {
		t.Errorf("monitor: %+v", res)
	}
}

func TestTransmitRefused(t *testing.T) {
	for rule, want := range map[string]string{
		"on: [caep/session-revoked]\nthen: [{transmit: caep/session-evoked, to: all}]\n":     "there is no event type caep/session-evoked",
		"on: [caep/session-revoked]\nthen: [{transmit: ssf/verification, to: all}]\n":        "about the stream itself",
		"on: [caep/session-revoked]\nthen: [{transmit: caep/credential-change, to: all}]\n":  "has members that cannot be made from another type",
		"on: [caep/credential-change]\nthen: [{transmit: caep/credential-change, to: []}]\n": "transmit says to whom",
	} {
		_, err := decide.Load([]byte("apiVersion: countersign/v1\nkind: policy\nname: p\n"+rule), decide.Types())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}
