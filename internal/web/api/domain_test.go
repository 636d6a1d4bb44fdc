package api

import (
	"testing"

	"countersign/internal/hub"
)

// A client with domains speaks of people of these and of nobody else, by whichever of the names somebody would be found.
func TestDomains(t *testing.T) {
	b := newBench(t)
	const own, other = `{"format":"email","email":"bob@Example.test"}`, `{"format":"email","email":"bob@example.com"}`
	for sub, allowed := range map[string]bool{
		own: true, other: false,
		`{"format":"email","email":"\"a@example.test\"@example.com"}`:                                           false,
		`{"format":"email","email":"\"a@example.com\"@example.test"}`:                                           true,
		`{"format":"aliases","identifiers":[` + own + `,` + other + `]}`:                                        false,
		`{"format":"aliases","identifiers":[` + own + `,{"format":"phone_number","phone_number":"+15550100"}]}`: false,
		`{"format":"aliases","identifiers":[` + own + `]}`:                                                      true,
		`{"format":"opaque","id":"7"}`:                                                                          false,
		`{"format":"complex","user":` + own + `,"session":{"format":"opaque","id":"s1"}}`:                       true,
		`{"format":"complex","user":` + own + `,"device":` + other + `}`:                                        false,
		`{"format":"complex","device":{"format":"opaque","id":"d1"}}`:                                           false,
	} {
		w := b.post("/signals", b.tokens["writer"], `{"event_type":"caep/session-revoked","sub_id":`+sub+`,"event":{"event_timestamp":1789462800}}`)
		if allowed {
			b.want(202, w)
			continue
		}
		b.refused(403, hub.Forbidden, "may not send signals about this subject", w)
	}
}
