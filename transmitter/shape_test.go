package transmitter_test

import (
	"encoding/json"
	"testing"

	"countersign/internal/req"
	"countersign/transmitter"
)

func shaped(shape string) func(*transmitter.Stream) {
	return func(s *transmitter.Stream) { s.Shape = shape }
}

// What receivers of older drafts are told, claim by claim.
func TestOlderShapes(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	putListed(t, store, "sse", "", shaped(transmitter.ShapeSSE))
	putListed(t, store, "apple", "", shaped(transmitter.ShapeApple))
	putListed(t, store, "final", "")
	tests := []struct {
		name, sub, payload, sse, apple string
		covers                         []string
	}{
		{
			name: "simple", sub: mira, payload: `{"event_timestamp":1,"reason_admin":{"de":"Grund","en":"why"},"reason_user":{"de":"Grund"},"note":1,"https://x.example/n":2}`,
			sse:    `{"subject":` + mira + `,"event_timestamp":1,"reason_admin":"why","reason_user":"Grund","https://x.example/n":2}`,
			apple:  `{"subject":{"user":` + mira + `},"event_timestamp":1,"reason_admin":{"de":"Grund","en":"why"},"reason_user":{"de":"Grund"},"note":1,"https://x.example/n":2}`,
			covers: []string{"LEG-10", "LEG-13", "LEG-14", "LEG-25"},
		},
		{
			name: "complex", sub: `{"format": "complex", "user": ` + miraSub + `, "session": {"format": "jwt_id", "iss": "i", "jti": "j"}}`, payload: `{"subject":"not ours"}`,
			sse:    `{"subject":{"user":` + miraSub + `,"session":{"format":"jwt-id","iss":"i","jti":"j"}}}`,
			apple:  `{"subject":{"user":` + miraSub + `,"session":{"format":"jwt_id","iss":"i","jti":"j"}}}`,
			covers: []string{"LEG-11", "LEG-12", "LEG-25"},
		},
		{
			name: "aliases", sub: `{"format":"aliases","identifiers":[{"format":"saml_assertion_id","issuer":"i","assertion_id":"a"},` + mira + `]}`, payload: `{}`,
			sse:    `{"subject":{"format":"aliases","identifiers":[{"format":"saml-assertion-id","issuer":"i","assertion_id":"a"},` + mira + `]}}`,
			apple:  `{"subject":{"user":{"format":"aliases","identifiers":[{"format":"saml_assertion_id","issuer":"i","assertion_id":"a"},` + mira + `]}}}`,
			covers: []string{"LEG-12"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := message("x")
			m.SubID, m.Payload, m.TXN, m.TimeOfEvent = json.RawMessage(test.sub), json.RawMessage(test.payload), "txn-1", 1_700_000_000
			if sent := mustSend(t, x, m); len(sent.Queued) != 3 {
				t.Fatalf("sent: %+v", sent)
			}
			for id, want := range map[string]string{"sse": test.sse, "apple": test.apple} {
				c := keptClaims(t, x, store, id)
				if len(c.SubID) != 0 || c.TXN != "txn-1" || c.TimeOfEvent != 1_700_000_000 || len(c.Events) != 1 {
					t.Errorf("%s: claims %+v", id, c)
				}
				if got := string(c.Events[0].Payload); got != want {
					t.Errorf("%s:\n got %s\nwant %s", id, got, want)
				}
			}
			// The receiver of SSF 1.0 beside them gets nothing of it.
			if c := keptClaims(t, x, store, "final"); len(c.SubID) == 0 {
				t.Error("SSF 1.0 without sub_id")
			}
			req.Covers(t, test.covers...)
			req.Covers(t, "LEG-26")
		})
	}
}
