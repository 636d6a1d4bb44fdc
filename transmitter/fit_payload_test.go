package transmitter_test

import (
	"context"
	"encoding/json"
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

// Naming renames the subject. What the payload says in the name space that the event came from stays at home, unless
// the rule lets it go.
func TestNamesInsideThePayload(t *testing.T) {
	const (
		hr     = "https://hr.example"
		scimID = `{"format":"scim","uri":"/Users/hr-5","externalId":"alice"}`
		email  = `{"format":"email","email":"alice@example.com"}`
		issSub = `{"format":"iss_sub","iss":"https://hr.example","sub":"hr-5"}`
	)
	for _, c := range []struct {
		name, typ, sub, payload string
		rule                    string // more members of it
		named                   subject.Identifier
		want, skip              string // what the receiver is told of the payload; or why nothing
	}{
		{name: "a resource", typ: "scim/prov:create:full", sub: scimID, payload: `{"data":{"schemas":["x"],"userName":"hr-5-of-hr","externalId":"hr-5"},"version":"W/\"1\""}`, named: subject.SCIM("/Users/crm-77", ""),
			skip: "data of the event may name somebody in another name space than the receiver's"},
		{name: "a resource is required", typ: "scim/prov:create:full", sub: scimID, payload: `{"data":{"externalId":"hr-5"}}`, rule: `,"payload":"omit"`, named: subject.SCIM("/Users/crm-77", ""),
			skip: "data of the event may name somebody in another name space than the receiver's, and the event is none without"},
		{name: "a resource that may go", typ: "scim/prov:create:full", sub: scimID, payload: `{"data":{"externalId":"hr-5"}}`, rule: `,"payload":"send"`, named: subject.SCIM("/Users/crm-77", ""),
			want: `{"data":{"externalId":"hr-5"}}`},
		{name: "names of attributes", typ: "scim/prov:patch:notice", sub: scimID, payload: `{"attributes":["emails","name.givenName"]}`, named: subject.SCIM("/Users/crm-77", ""),
			want: `{"attributes":["emails","name.givenName"]}`},
		{name: "a filter with a value", typ: "scim/prov:patch:notice", sub: scimID, payload: `{"attributes":["emails[value eq \"hr-5@x\"]"]}`, named: subject.SCIM("/Users/crm-77", ""),
			skip: "attributes of the event may name somebody in another name space than the receiver's"},
		{name: "what a request was answered", typ: "scim/misc:asyncresp", sub: scimID, payload: `{"method":"POST","status":"201","location":"https://hr.example/Users/hr-5"}`, rule: `,"payload":"omit"`, named: subject.SCIM("/Users/crm-77", ""),
			want: `{"method":"POST","status":"201"}`},
		{name: "claims of a token", typ: "caep/token-claims-change", sub: issSub, payload: `{"claims":{"sub":"hr-5"}}`, named: subject.Opaque("crm-77"),
			skip: "claims of the event may name somebody in another name space than the receiver's"},
		{name: "claims of the receiver's own issuer", typ: "caep/token-claims-change", sub: issSub, payload: `{"claims":{"sub":"hr-5"}}`, named: subject.IssSub(hr, "hr-5"),
			want: `{"claims":{"sub":"hr-5"}}`},
		{name: "an address says nothing of other names", typ: "caep/token-claims-change", sub: email, payload: `{"claims":{"sub":"hr-5"}}`, named: subject.Email("alice@example.com"),
			skip: "claims of the event may name somebody in another name space than the receiver's"},
		{name: "a session", typ: "caep/session-presented", sub: email, payload: `{"event_timestamp":1,"fp_ua":"f","ext_id":"hr-5"}`, rule: `,"payload":"omit"`, named: subject.Opaque("crm-77"),
			want: `{"event_timestamp":1,"fp_ua":"f"}`},
		{name: "a member that nobody defines", typ: "caep/session-revoked", sub: email, payload: `{"event_timestamp":1,"login":"hr-5","x":true}`, named: subject.Opaque("crm-77"),
			skip: "login of the event may name somebody in another name space than the receiver's"},
		{name: "many of them", typ: "caep/session-revoked", sub: email, payload: `{"a":1,"b\u0007":"hr-5","c":{"d":"hr-5"},"e":[]}`, rule: `,"payload":"skip"`, named: subject.Opaque("crm-77"),
			skip: "a, b, c, others of the event may name somebody in another name space than the receiver's"},
		{name: "nothing that names", typ: "caep/session-revoked", sub: email, payload: `{"event_timestamp":1,"initiating_entity":"admin","reason_admin":{"en":"why"},"odd":null,"x":false}`, named: subject.Opaque("crm-77"),
			want: `{"event_timestamp":1,"initiating_entity":"admin","reason_admin":{"en":"why"},"odd":null,"x":false}`},
		{name: "an open type", typ: "risc/account-purged", sub: email, payload: `{"event_timestamp":1,"login":"hr-5"}`, rule: `,"payload":"omit"`, named: subject.Opaque("crm-77"),
			want: `{"event_timestamp":1}`},
		{name: "the new address beside the old one", typ: "risc/identifier-changed", sub: email, payload: `{"new-value":"a2@example.com"}`, named: subject.Email("alice@example.com"),
			want: `{"new-value":"a2@example.com"}`},
		{name: "the new address of one that the receiver does not know", typ: "risc/identifier-changed", sub: email, payload: `{"new-value":"a2@example.com"}`, named: subject.Email("a@crm.example"),
			skip: "new-value of the event may name somebody in another name space than the receiver's"},
		{name: "a rule that says another word", typ: "caep/session-revoked", sub: email, payload: `{"login":"hr-5"}`, rule: `,"payload":"all"`, named: subject.Opaque("crm-77"),
			skip: "login of the event may name somebody in another name space than the receiver's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := new(transmitter.Memory)
			cfg := newConfig(store)
			cfg.Name = func(context.Context, *transmitter.Stream, subject.Identifier, string) (subject.Identifier, string, error) {
				return c.named, "", nil
			}
			cfg.Registry = event.NewRegistry(scim.Vocabulary(), caep.Vocabulary(), risc.Vocabulary())
			cfg.Events = nil
			x := newTransmitter(t, cfg)
			typ, ok := cfg.Registry.Resolve(c.typ)
			if !ok {
				t.Fatal(c.typ)
			}
			takes := func(s *transmitter.Stream) { s.Delivered = []string{typ.URI} }
			putListed(t, store, "s", "", naming(`{"format":"opaque","account_at":"crm"`+c.rule+`}`), takes)
			putListed(t, store, "older", "", naming(`{"format":"opaque","account_at":"crm"`+c.rule+`}`), takes, shaped(transmitter.ShapeApple))
			putListed(t, store, "plain", "", takes)
			m := transmitter.Message{Type: typ.URI, SubID: json.RawMessage(c.sub), Payload: json.RawMessage(c.payload), TXN: "t"}
			sent := mustSend(t, x, m)
			if got := string(keptClaims(t, x, store, "plain").Events[0].Payload); got != c.payload {
				t.Errorf("who is told the event's own words is told %s", got)
			}
			why, err := x.Explain(t.Context(), m, "s")
			if err != nil || why.Sent != (c.skip == "") {
				t.Errorf("explained: %+v, %v", why, err)
			}
			if c.skip != "" {
				if len(sent.Queued) != 1 || len(sent.Skipped) != 2 || sent.Skipped[0].Reason != c.skip {
					t.Fatalf("queued %d, skipped %+v, want %s", len(sent.Queued), sent.Skipped, c.skip)
				}
				return
			}
			if len(sent.Queued) != 3 {
				t.Fatalf("skipped: %+v", sent.Skipped)
			}
			if got := string(keptClaims(t, x, store, "s").Events[0].Payload); got != c.want {
				t.Errorf("told %s, want %s", got, c.want)
			}
			if got := string(keptClaims(t, x, store, "older").Events[0].Payload); strings.Contains(got, "hr-5") != strings.Contains(c.want, "hr-5") {
				t.Errorf("the older shape is told %s", got)
			}
		})
	}
	req.Covers(t, "TX-155")
}
