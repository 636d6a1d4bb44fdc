package correlate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/flow/correlate"
	"countersign/internal/hub"
)

// Each format finds whom it names, and what does not answer is written down without a guess.
func TestFormats(t *testing.T) {
	st := people{list: []hub.Identity{
		{Name: "alice", Emails: []string{"alice@example.test"}, Phones: []string{"+15550100"}, Devices: []hub.Account{{At: "mdm", ID: "laptop-1"}},
			Accounts: []hub.Account{{At: "kc", ID: "u1"}, {At: "hr", ID: "E17"}, {At: "kc", ID: "did:web:a.test"}, {At: "kc", ID: "urn:p:1"}, {At: "kc", ID: "alice@example.test"}, {At: "tokens", ID: "j1"}}},
		{Name: "bob", Emails: []string{"bob@example.test"}, Devices: []hub.Account{{At: "mdm", ID: "laptop-2"}}},
	}}
	dev := hub.Correlate{Format: "opaque", Part: "device", At: "mdm"}
	mail := hub.Correlate{Format: "email"}
	for _, c := range []struct {
		name, sub string
		ways      []hub.Correlate
		who, code string
		miss      string
	}{
		{"scim id", `{"format":"scim","uri":"/Users/u1"}`, []hub.Correlate{{Format: "scim"}}, "alice", "", ""},
		{"scim externalId", `{"format":"scim","uri":"/Users/x","externalId":"E17"}`, []hub.Correlate{{Format: "scim", As: "external_id", At: "hr"}}, "alice", "", ""},
		{"scim group", `{"format":"scim","uri":"/Groups/u1"}`, []hub.Correlate{{Format: "scim"}}, "", "no_such_subject", "scim: the path is that of a group"},
		{"phone", `{"format":"phone_number","phone_number":"+1 555-0100"}`, []hub.Correlate{{Format: "phone_number"}}, "alice", "", ""},
		{"did", `{"format":"did","url":"did:web:a.test"}`, []hub.Correlate{{Format: "did"}}, "alice", "", ""},
		{"uri", `{"format":"uri","uri":"urn:p:1"}`, []hub.Correlate{{Format: "uri"}}, "alice", "", ""},
		{"account", `{"format":"account","uri":"acct:alice@EXAMPLE.test"}`, []hub.Correlate{{Format: "account"}}, "alice", "", ""},
		{"account as email", `{"format":"account","uri":"acct:bob@example.test"}`, []hub.Correlate{{Format: "account", As: "email"}}, "bob", "", ""},
		{"jwt_id without place", `{"format":"jwt_id","iss":"https://kc.test","jti":"j1"}`, []hub.Correlate{{Format: "jwt_id"}}, "", "no_such_subject", "jwt_id: the way names no place at which it would be known"},
		{"jwt_id at a place", `{"format":"jwt_id","iss":"https://kc.test","jti":"j1"}`, []hub.Correlate{{Format: "jwt_id", At: "tokens"}}, "alice", "", ""},
		{"saml of another issuer", `{"format":"saml_assertion_id","issuer":"https://x.test","assertion_id":"j1"}`, []hub.Correlate{{Format: "saml_assertion_id", At: "tokens"}}, "", "not_authorized", "not one of those that this source may speak for"},
		{"aliases", `{"format":"aliases","identifiers":[{"format":"opaque","id":"?"},{"format":"email","email":"alice@example.test"}]}`, []hub.Correlate{mail}, "alice", "", ""},
		{"aliases of two people", `{"format":"aliases","identifiers":[{"format":"email","email":"bob@example.test"},{"format":"phone_number","phone_number":"+15550100"}]}`, []hub.Correlate{mail, {Format: "phone_number"}}, "", "ambiguous_subject", "another identity has it"},
		{"device alone", `{"format":"complex","device":{"format":"opaque","id":"laptop-1"}}`, []hub.Correlate{mail, dev}, "alice", "", ""},
		{"device of another", `{"format":"complex","user":{"format":"email","email":"alice@example.test"},"device":{"format":"opaque","id":"laptop-2"}}`, []hub.Correlate{mail, dev}, "", "ambiguous_subject", "another identity has it"},
		{"device does not replace the user", `{"format":"complex","user":{"format":"email","email":"z@example.test"},"device":{"format":"opaque","id":"laptop-2"}}`, []hub.Correlate{mail, dev}, "", "no_such_subject", "device: not asked"},
		{"a device id is no account id", `{"format":"opaque","id":"laptop-1"}`, []hub.Correlate{{Format: "opaque", At: "mdm"}}, "", "no_such_subject", "no identity has it"},
		{"tag", `{"format":"email","email":"bob+x@example.test"}`, []hub.Correlate{{Format: "email", IgnoreTag: true}}, "bob", "", "email: no identity has it"},
		{"tag without setting", `{"format":"email","email":"bob+x@example.test"}`, []hub.Correlate{mail}, "", "no_such_subject", "email: no identity has it"},
		{"nfkc", "{\"format\":\"email\",\"email\":\"\uff42ob@example.test\"}", []hub.Correlate{{Format: "email", Normalize: "nfkc"}}, "bob", "", ""},
	} {
		got, err := correlate.Correlate(t.Context(), st, correlate.Input{Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(c.sub)}, Source: &hub.Source{Name: "kc", Issuer: "https://kc.test", Correlate: c.ways}})
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		if got.Identity != nil {
			who = got.Identity.Name
		}
		if who != c.who || got.Code != c.code || !strings.Contains(strings.Join(got.Misses, "\n"), c.miss) {
			t.Errorf("%s: who %q, code %q, reason %q, misses %q", c.name, who, got.Code, got.Reason, got.Misses)
		}
	}
}
