package enroll

import (
	"cmp"
	"encoding/json"
	"slices"

	"countersign/receipt"
)

// agreement reads the transmitter's answer about receipts, and says why it is none. What an active answer leaves
// out has a default: the audience is the transmitter's issuer, the endpoint is the one of its metadata, and it
// may order what both sides named (receipts design §3.2).
func agreement(answer json.RawMessage, offered receipt.Settings, issuer string, asked *receipt.Settings) (receipt.Settings, string) {
	if answer == nil || asked == nil {
		return receipt.Settings{}, ""
	}
	s, err := receipt.ParseSettings(answer)
	if err == nil && s.Status == receipt.StatusDeclined {
		return s, "the transmitter answered declined"
	}
	if err == nil && s.Status == receipt.StatusActive {
		s.ReceiptAudience = cmp.Or(s.ReceiptAudience, issuer)
		s.Endpoint = cmp.Or(s.Endpoint, offered.Endpoint)
		if len(s.Actions) == 0 {
			for _, c := range asked.Capabilities {
				if slices.Contains(offered.Actions, c.Action) {
					s.Actions = append(s.Actions, c.Action)
				}
			}
		}
	}
	if err == nil {
		err = s.CheckAnswer()
	}
	if err != nil {
		return s, "the transmitter's answer is not complete: " + err.Error()
	}
	return s, ""
}
