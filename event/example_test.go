package event_test

import (
	"encoding/json"
	"fmt"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
)

// The registry lists what is known, for a command or a page.
func ExampleRegistry_Types() {
	registry := event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
	for _, t := range registry.Types()[:3] {
		fmt.Printf("%-30s %-25s %s\n", t.Name, t.Title, t.Clause)
	}
	fmt.Println(len(registry.Types()), "in all")
	// Output:
	// caep/assurance-level-change    Assurance level change    CAEP 1.0 §3.4
	// caep/credential-change         Credential change         CAEP 1.0 §3.3
	// caep/device-compliance-change  Device compliance change  CAEP 1.0 §3.5
	// 36 in all
}

// Decode gives a payload of the event's own type and keeps what that type does not define.
func ExampleRegistry_Decode() {
	registry := event.NewRegistry(caep.Vocabulary())
	payload, err := registry.Decode(caep.CredentialChangeURI, json.RawMessage(
		`{"credential_type": "app", "change_type": "delete", "event_timestamp": 1795314739, "label": "phone"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if change, ok := payload.(*caep.CredentialChange); ok {
		fmt.Println(change.CredentialType, change.ChangeType, change.EventTimestamp)
	}
	out, _ := json.Marshal(payload)
	fmt.Println(string(out))

	_, err = registry.Decode(caep.CredentialChangeURI, json.RawMessage(`{"credential_type": "app", "change_type": "reset"}`))
	fmt.Println(err)
	// Output:
	// app delete 1795314739
	// {"credential_type":"app","change_type":"delete","event_timestamp":1795314739,"label":"phone"}
	// caep/credential-change: event: payload breaks the definition of its type: change_type is not one of create, revoke, update, delete
}

// A payload to be sent is a value; Validate says what is missing.
func ExamplePayload() {
	p := &caep.RiskLevelChange{Principal: "USER", CurrentLevel: caep.High}
	p.ReasonAdmin = event.Text{"en": "password found in a breach"}
	out, _ := json.Marshal(p)
	fmt.Println(p.Validate(), string(out))
	// Output:
	// <nil> {"principal":"USER","current_level":"HIGH","reason_admin":{"en":"password found in a breach"}}
}
