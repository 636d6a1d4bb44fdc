package correlate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/flow/correlate"
	"countersign/internal/hub"
	"countersign/internal/req"
)

// An id of another name space is no id of ours: a session is one at the source alone, an account is one at the place that a rule
// names, and what nobody can look up is unresolved. ALL is every session under the profile of a partner that means it so, and an
// id like any other elsewhere.
func TestNameSpaces(t *testing.T) {
	about := func(sub string, source *hub.Source, wildcards bool) *correlate.Result {
		t.Helper()
		got, err := correlate.Correlate(t.Context(), known, correlate.Input{Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(sub)}, Source: source, Wildcards: wildcards})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	keycloak := &hub.Source{Name: "keycloak", Issuer: issuer}
	all := `{"format":"complex","user":{"format":"iss_sub","iss":"` + issuer + `","sub":"99beb27c"},"session":{"format":"opaque","id":"ALL"}}`
	if got := about(all, keycloak, true); got.Identity == nil || got.Session != "" || got.SessionAt != "" || !strings.Contains(strings.Join(got.Misses, "\n"), "stands for every session") {
		t.Errorf("Q-34, in the profile: %+v", got)
	}
	if got := about(all, keycloak, false); got.Identity == nil || got.Session != "ALL" || got.SessionAt != "keycloak" {
		t.Errorf("Q-34, strict: %+v", got)
	}

	// authentik's session is a hash of its own: it is one at that source, and nowhere else.
	authentik := &hub.Source{Name: "authentik", Issuer: "https://ak.example", Correlate: []hub.Correlate{{Format: "email"}}}
	if got := about(`{"format":"complex","user":{"format":"email","email":"alice@example.test"},"session":{"format":"opaque","id":"9f86d0"}}`, authentik, false); got.SessionAt != "authentik" {
		t.Errorf("Q-33: %+v", got)
	}
	// Okta's sub is its own user id: the same text as an account elsewhere is another person's or nobody's.
	okta := &hub.Source{Name: "okta", Issuer: "https://org.okta.example"}
	if got := about(`{"format":"iss_sub","iss":"https://org.okta.example","sub":"99beb27c"}`, okta, false); got.Identity != nil || got.Code != "no_such_subject" {
		t.Errorf("Q-33: an account of Keycloak was found by an id of Okta: %+v", got)
	}
	req.Covers(t, "Q-33", "Q-34")
}

// A complex subject means what fits all of its members: the session narrows the user, a tenant that is not ours leaves nobody, and a
// user whom nobody fits is not replaced by the device beside it.
func TestAllMembersOfASubject(t *testing.T) {
	ways := []hub.Correlate{{Format: "email"}, {Part: "device", Format: "opaque", As: "device_id", At: "mdm"}, {Part: "tenant", Format: "opaque", Is: []string{"acme"}}}
	people := people{list: []hub.Identity{
		{Name: "alice", Emails: []string{"alice@example.test"}, Devices: []hub.Account{{At: "mdm", ID: "laptop"}}},
		{Name: "bob", Emails: []string{"bob@example.test"}, Devices: []hub.Account{{At: "mdm", ID: "phone"}}},
	}}
	for _, c := range []struct{ name, user, device, tenant, who string }{
		{"all fit", "alice", "laptop", "acme", "alice"},
		{"another tenant", "alice", "laptop", "other", ""},
		{"nobody's address beside a known device", "dave", "laptop", "acme", ""},
		{"another person's device", "alice", "phone", "acme", ""},
	} {
		sub := `{"format":"complex","user":{"format":"email","email":"` + c.user + `@example.test"},"device":{"format":"opaque","id":"` + c.device + `"},` +
			`"session":{"format":"opaque","id":"s1"},"tenant":{"format":"opaque","id":"` + c.tenant + `"}}`
		got, err := correlate.Correlate(t.Context(), people, correlate.Input{Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(sub)}, Source: &hub.Source{Name: "idp", Issuer: issuer, Correlate: ways}})
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		if got.Identity != nil {
			who = got.Identity.Name
		}
		if who != c.who || who != "" && got.Session != "s1" {
			t.Errorf("%s: %q, session %q: %s %v", c.name, who, got.Session, got.Reason, got.Misses)
		}
	}
	req.Covers(t, "SUB-40", "RX-65")
}
