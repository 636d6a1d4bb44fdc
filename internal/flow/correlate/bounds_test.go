package correlate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/flow/correlate"
	"countersign/internal/hub"
)

// Settings of a way, subjects of a tenant, and the session that stands for all.
func TestSettings(t *testing.T) {
	st := people{list: []hub.Identity{
		{Name: "alice", Emails: []string{"Alice@example.test"}, Accounts: []hub.Account{{At: "kc", ID: "u1"}, {At: "crew", ID: "g1"}}},
		{Name: "bob", Emails: []string{"bob@example.test"}},
	}}
	exact := hub.Correlate{Format: "email", Case: "exact"}
	ours := hub.Correlate{Format: "opaque", Part: "tenant", Is: []string{"acme", "acme-eu"}}
	user := `"user":{"format":"iss_sub","iss":"https://kc.test","sub":"u1"}`
	session := func(id string) string {
		return `{"format":"complex",` + user + `,"session":{"format":"opaque","id":"` + id + `"}}`
	}
	for _, c := range []struct {
		name, sub          string
		ways               []hub.Correlate
		looksUp, wildcards bool
		who, code, session string
		says               string // in the reason or a miss
	}{
		{name: "exact case", sub: `{"format":"email","email":"Alice@EXAMPLE.test"}`, ways: []hub.Correlate{exact}, who: "alice"},
		{name: "another case", sub: `{"format":"email","email":"alice@example.test"}`, ways: []hub.Correlate{exact}, code: "no_such_subject", says: "email: no identity has it in this case"},
		{name: "another case, by apps", sub: `{"format":"email","email":"BOB@example.test"}`, ways: []hub.Correlate{exact}, looksUp: true, code: "no_such_subject", says: "they do not tell its case apart"},
		{name: "lower case, by apps", sub: `{"format":"email","email":"zoe@example.test"}`, ways: []hub.Correlate{exact}, looksUp: true, who: "zoe@example.test"},
		{name: "our tenant", sub: `{"format":"complex",` + user + `,"tenant":{"format":"opaque","id":"acme-eu"}}`, ways: []hub.Correlate{ours}, who: "alice"},
		{name: "no tenant said", sub: `{"format":"complex",` + user + `}`, ways: []hub.Correlate{ours}, who: "alice"},
		{name: "another tenant", sub: `{"format":"complex",` + user + `,"tenant":{"format":"opaque","id":"other"}}`, ways: []hub.Correlate{ours}, code: "not_authorized", says: "a tenant that is not ours"},
		{name: "our tenant in another format", sub: `{"format":"complex",` + user + `,"tenant":{"format":"uri","uri":"acme:x"}}`, ways: []hub.Correlate{ours}, code: "not_authorized", says: "a tenant that is not ours"},
		{name: "our tenant among aliases", sub: `{"format":"complex",` + user + `,"tenant":{"format":"aliases","identifiers":[{"format":"uri","uri":"urn:x"},{"format":"opaque","id":"acme"}]}}`, ways: []hub.Correlate{ours}, who: "alice"},
		{name: "a group alone", sub: `{"format":"complex","group":{"format":"opaque","id":"g1"}}`, code: "no_such_subject", says: "names a group and no person"},
		{name: "a group by rule", sub: `{"format":"complex","group":{"format":"opaque","id":"g1"}}`, ways: []hub.Correlate{{Format: "opaque", Part: "group", At: "crew"}}, who: "alice"},
		{name: "a tenant alone", sub: `{"format":"complex","tenant":{"format":"opaque","id":"acme"}}`, ways: []hub.Correlate{ours}, code: "no_such_subject", says: "names a tenant and no person"},
		{name: "all sessions, by the profile", sub: session("ALL"), wildcards: true, who: "alice", says: "ALL stands for every session"},
		{name: "a session called ALL", sub: session("ALL"), who: "alice", session: "ALL"},
		{name: "one session, by the profile", sub: session("all"), wildcards: true, who: "alice", session: "all"},
	} {
		got, err := correlate.Correlate(t.Context(), st, correlate.Input{Signal: &hub.Signal{Tenant: "default", SubID: json.RawMessage(c.sub)}, LooksUp: c.looksUp, Wildcards: c.wildcards,
			Source: &hub.Source{Name: "kc", Issuer: "https://kc.test", Correlate: c.ways}})
		if err != nil {
			t.Fatal(err)
		}
		who := ""
		if got.Identity != nil {
			who = got.Identity.Name
		}
		if who != c.who || got.Code != c.code || got.Session != c.session || !strings.Contains(got.Reason+"\n"+strings.Join(got.Misses, "\n"), c.says) {
			t.Errorf("%s: who %q, code %q, session %q, reason %q, misses %q", c.name, who, got.Code, got.Session, got.Reason, got.Misses)
		}
		for _, text := range append(got.Misses, got.Reason) {
			for _, hidden := range []string{"example.test", "u1", "g1", "acme", "other"} {
				if strings.Contains(text, hidden) {
					t.Errorf("%s: %q holds what the subject says", c.name, text)
				}
			}
		}
	}
}
