package caep_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"countersign/event"
	"countersign/event/caep"
	"countersign/internal/req"
)

// Every value that credential-change allows is read as it stands, whichever the two are; of the kinds of change there are no
// others, of credentials there may be.
func TestEveryCredentialChange(t *testing.T) {
	types := event.NewRegistry(caep.Vocabulary())
	credentials := append(caep.CredentialTypes(), "smart-card")
	changes := []string{"create", "revoke", "update", "delete"}
	if len(credentials) != 11 {
		t.Errorf("%d types of credentials", len(credentials)-1)
	}
	for _, credential := range credentials {
		for _, change := range changes {
			payload := fmt.Sprintf(`{"credential_type":%q,"change_type":%q}`, credential, change)
			got, err := types.Decode(caep.CredentialChangeURI, json.RawMessage(payload))
			if err != nil {
				t.Errorf("%s: %v", payload, err)
				continue
			}
			if e, ok := got.(*caep.CredentialChange); !ok || e.CredentialType != credential || e.ChangeType != change || e.Validate() != nil {
				t.Errorf("%s is read as %+v", payload, got)
			}
		}
		if got, err := types.Decode(caep.CredentialChangeURI, json.RawMessage(fmt.Sprintf(`{"credential_type":%q,"change_type":"renew"}`, credential))); err == nil && got.Validate() == nil {
			t.Errorf("%s: another kind of change is taken", credential)
		}
	}
	req.Covers(t, "IOP-49")
}
