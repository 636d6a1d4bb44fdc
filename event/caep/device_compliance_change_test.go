package caep_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"countersign/event"
	"countersign/event/caep"
	"countersign/internal/req"
)

// Every pair of states that device-compliance-change allows is read as it stands, also where nothing changed.
func TestEveryComplianceChange(t *testing.T) {
	types := event.NewRegistry(caep.Vocabulary())
	states := []string{"compliant", "not-compliant"}
	for _, before := range states {
		for _, now := range states {
			payload := fmt.Sprintf(`{"previous_status":%q,"current_status":%q}`, before, now)
			got, err := types.Decode(caep.DeviceComplianceChangeURI, json.RawMessage(payload))
			if err != nil {
				t.Errorf("%s: %v", payload, err)
				continue
			}
			if e, ok := got.(*caep.DeviceComplianceChange); !ok || e.PreviousStatus != before || e.CurrentStatus != now || e.Validate() != nil {
				t.Errorf("%s is read as %+v", payload, got)
			}
		}
	}
	req.Covers(t, "IOP-51")
}
