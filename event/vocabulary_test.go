package event_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/req"
)

func standard() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}

// The file holds what the texts of the specifications print; the tables must have exactly these.
func TestVocabulariesAgreeWithTheSpecifications(t *testing.T) {
	f, err := os.Open("testdata/types.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		vocabulary, uri, ok := strings.Cut(s.Text(), " ")
		if ok && !strings.HasPrefix(s.Text(), "#") {
			want[vocabulary] = append(want[vocabulary], uri)
		}
	}
	got := map[string][]string{}
	for _, row := range standard().Types() {
		vocabulary, last, _ := strings.Cut(row.Name, "/")
		got[vocabulary] = append(got[vocabulary], row.URI)
		if !strings.HasSuffix(row.URI, last) {
			t.Errorf("%s: the name is not the end of %s", row.Name, row.URI)
		}
		if row.Title == "" || row.Clause == "" {
			t.Errorf("%s: title or clause is missing", row.Name)
		}
	}
	for _, uris := range want {
		slices.Sort(uris)
	}
	for _, uris := range got {
		slices.Sort(uris)
	}
	req.Covers(t, "EV-3", "EV-6", "EV-15", "EV-18", "EV-21", "EV-29", "EV-35", "EV-40", "EV-46", "EV-49",
		"EV-55", "EV-56", "EV-57", "EV-59", "EV-60", "EV-64", "EV-66", "EV-72", "EV-73", "EV-74", "EV-75", "EV-76", "EV-77", "EV-78",
		"EV-85", "EV-86", "EV-87", "EV-88", "EV-89", "EV-90", "EV-91", "EV-92", "EV-93", "EV-94", "EV-95", "EV-96")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("URIs (-specification +table):\n%s", diff)
	}
}

func TestRowsThatDiffer(t *testing.T) {
	r := standard()
	var deprecated, streamLevel []string
	for _, row := range r.Types() {
		if row.Deprecated {
			deprecated = append(deprecated, row.Name)
		}
		if row.StreamLevel {
			streamLevel = append(streamLevel, row.Name)
		}
	}
	req.Covers(t, "EV-78") // received, not sent
	if diff := cmp.Diff([]string{"risc/sessions-revoked"}, deprecated); diff != "" {
		t.Errorf("deprecated:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ssf/stream-updated", "ssf/verification"}, streamLevel); diff != "" {
		t.Errorf("stream level:\n%s", diff)
	}
}

func TestMembersOfTypes(t *testing.T) {
	common := []string{"event_timestamp", "initiating_entity", "reason_admin", "reason_user"}
	tests := map[string][]string{
		"caep/session-revoked":          common,
		"caep/token-claims-change":      append([]string{"claims"}, common...),
		"caep/credential-change":        append([]string{"credential_type", "change_type", "friendly_name", "x509_issuer", "x509_serial", "fido2_aaguid"}, common...),
		"caep/assurance-level-change":   append([]string{"namespace", "current_level", "previous_level", "change_direction"}, common...),
		"caep/device-compliance-change": append([]string{"previous_status", "current_status"}, common...),
		"caep/session-established":      append([]string{"fp_ua", "acr", "amr", "ext_id"}, common...),
		"caep/session-presented":        append([]string{"fp_ua", "ext_id"}, common...),
		"caep/risk-level-change":        append([]string{"risk_reason", "principal", "current_level", "previous_level"}, common...),
		"ssf/verification":              {"state"},
		"ssf/stream-updated":            {"status", "reason"},
		"risc/account-disabled":         {"reason"},
		"risc/identifier-changed":       {"new-value"},
		"risc/credential-compromise":    {"credential_type", "event_timestamp", "reason_admin", "reason_user"},
		"scim/prov:patch:full":          {"data", "version"},
		"scim/prov:put:notice":          {"attributes", "version"},
		"scim/misc:asyncresp":           {"method", "status", "version", "bulkId", "location", "response"},
		"risc/account-purged":           nil,
	}
	r := standard()
	for name, want := range tests {
		row, ok := r.Resolve(name)
		if !ok {
			t.Errorf("%s is not registered", name)
			continue
		}
		if diff := cmp.Diff(want, row.Members); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestLookupIsExact(t *testing.T) {
	r := standard()
	req.Covers(t, "EV-1")
	for _, uri := range []string{
		"https://schemas.openid.net/secevent/caep/event-type/session-revoked/",
		"https://schemas.openid.net/secevent/caep/event-type/Session-Revoked",
		"HTTPS://schemas.openid.net/secevent/caep/event-type/session-revoked",
		"http://schemas.openid.net/secevent/caep/event-type/session-revoked",
		"", "caep/session-revoked",
	} {
		if _, ok := r.Lookup(uri); ok {
			t.Errorf("Lookup(%q) found a type", uri)
		}
	}
	byName, ok := r.Resolve("caep/session-revoked")
	byURI, ok2 := r.Resolve(caep.SessionRevokedURI)
	if !ok || !ok2 || byName.URI != byURI.URI {
		t.Errorf("Resolve by name %v %q, by URI %v %q", ok, byName.URI, ok2, byURI.URI)
	}
	if _, ok := (*event.Registry)(nil).Resolve("caep/session-revoked"); ok {
		t.Error("a nil registry knows a type")
	}
}

func TestRegistryRefusesDoubles(t *testing.T) {
	for name, rows := range map[string][]event.Type{
		"URI":    {{URI: caep.SessionRevokedURI, Name: "x/y"}},
		"name":   {{URI: "urn:x", Name: "caep/session-revoked"}},
		"no URI": {{Name: "x/y"}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			event.NewRegistry(caep.Vocabulary(), rows)
		})
	}
}
