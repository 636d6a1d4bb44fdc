package event_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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

func resolve(t testing.TB, name string) event.Type {
	t.Helper()
	row, ok := standard().Resolve(name)
	if !ok {
		t.Fatalf("no type %s", name)
	}
	return row
}

func TestDecode(t *testing.T) {
	extra := func(name, value string) []event.Extra {
		return []event.Extra{{Name: name, Value: json.RawMessage(value)}}
	}
	tests := []struct {
		name, typ, payload string
		covers             []string
		want               event.Payload
	}{
		{"session revoked without members", "caep/session-revoked", `{}`, []string{"EV-16"}, &caep.SessionRevoked{}},
		{"session revoked with all common claims", "caep/session-revoked",
			`{"initiating_entity":"policy","reason_admin":{"en":"Rule R-114","nl":"Regel R-114"},"reason_user":{"en":"Signed out"},"event_timestamp":1615304991}`,
			[]string{"EV-10", "EV-11", "EV-12", "EV-13", "EV-17"},
			&caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1615304991, InitiatingEntity: caep.ByPolicy,
				ReasonAdmin: event.Text{"en": "Rule R-114", "nl": "Regel R-114"}, ReasonUser: event.Text{"en": "Signed out"}}}},
		{"time with a fraction", "caep/session-revoked", `{"event_timestamp":1615304991.9}`, []string{"EV-10"},
			&caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1615304991}}},
		{"time with an exponent", "caep/session-revoked", `{"event_timestamp":1.615304991e9}`, []string{"EV-10"},
			&caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1615304991}}},
		{"time in milliseconds", "caep/session-revoked", `{"event_timestamp":1615304991123}`, []string{"RX-68"},
			&caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1615304991, Milliseconds: true}}},
		{"reason as a plain string", "caep/session-revoked", `{"reason_admin":"moved"}`, []string{"EV-14"},
			&caep.SessionRevoked{Common: caep.Common{ReasonAdmin: event.Text{"und": "moved"}}}},
		{"null is absent", "caep/session-revoked", `{"reason_admin":null,"event_timestamp":null,"initiating_entity":null}`, nil, &caep.SessionRevoked{}},
		{"unknown members", "caep/session-revoked", `{"kc_n":123456789012345678901234567890}`, []string{"EV-2", "RX-60"},
			&caep.SessionRevoked{Common: caep.Common{Extra: extra("kc_n", "123456789012345678901234567890")}}},
		{"names are compared exactly", "caep/session-revoked", `{"Event_Timestamp":"x"}`, []string{"RX-60"},
			&caep.SessionRevoked{Common: caep.Common{Extra: extra("Event_Timestamp", `"x"`)}}},
		{"token claims change", "caep/token-claims-change", `{"claims":{"trusted_network":false}}`, []string{"EV-19"},
			&caep.TokenClaimsChange{Claims: json.RawMessage(`{"trusted_network":false}`)}},
		{"credential change", "caep/credential-change",
			`{"credential_type":"fido2-roaming","change_type":"create","friendly_name":"Jane's USB authenticator","fido2_aaguid":"accced6a-63f5-490a-9eea-e59bc1896cfc","x509_issuer":"i","x509_serial":"s"}`,
			[]string{"EV-22", "EV-23", "EV-24", "EV-25", "EV-26", "EV-27"},
			&caep.CredentialChange{CredentialType: "fido2-roaming", ChangeType: caep.ChangeCreate, FriendlyName: "Jane's USB authenticator",
				FIDO2AAGUID: "accced6a-63f5-490a-9eea-e59bc1896cfc", X509Issuer: "i", X509Serial: "s"}},
		{"credential types are open", "caep/credential-change", `{"credential_type":"OKTA_VERIFY_PUSH","change_type":"revoke"}`, []string{"EV-22", "Q-38"},
			&caep.CredentialChange{CredentialType: "OKTA_VERIFY_PUSH", ChangeType: caep.ChangeRevoke}},
		{"assurance level change", "caep/assurance-level-change",
			`{"namespace":"NIST-AAL","current_level":"nist-aal2","previous_level":"nist-aal1","change_direction":"increase"}`, []string{"EV-30", "EV-31", "EV-32", "EV-33"},
			&caep.AssuranceLevelChange{Namespace: "NIST-AAL", CurrentLevel: "nist-aal2", PreviousLevel: "nist-aal1", ChangeDirection: caep.Increase}},
		{"namespaces are open", "caep/assurance-level-change", `{"namespace":"Retinal Scan","current_level":"hi-res-scan"}`, []string{"EV-30"},
			&caep.AssuranceLevelChange{Namespace: "Retinal Scan", CurrentLevel: "hi-res-scan"}},
		{"device compliance change", "caep/device-compliance-change", `{"previous_status":"compliant","current_status":"not-compliant"}`, []string{"EV-36", "EV-37"},
			&caep.DeviceComplianceChange{PreviousStatus: caep.Compliant, CurrentStatus: caep.NotCompliant}},
		{"session established", "caep/session-established", `{"fp_ua":"abb0","acr":"AAL2","amr":["otp","pwd"],"ext_id":"12345"}`, []string{"EV-41", "EV-42", "EV-43", "EV-44"},
			&caep.SessionEstablished{FPUA: "abb0", ACR: "AAL2", AMR: []string{"otp", "pwd"}, ExtID: "12345"}},
		{"session presented", "caep/session-presented", `{"fp_ua":"abb0","ext_id":"12345"}`, []string{"EV-47", "EV-48"},
			&caep.SessionPresented{FPUA: "abb0", ExtID: "12345"}},
		{"untyped members of another type are kept", "caep/session-presented", `{"fp_ua":{"hash":"abb0"},"ext_id":7}`, []string{"EV-47", "EV-48"},
			&caep.SessionPresented{Common: caep.Common{Extra: []event.Extra{
				{Name: "fp_ua", Value: json.RawMessage(`{"hash":"abb0"}`)}, {Name: "ext_id", Value: json.RawMessage(`7`)}}}}},
		{"risk level change", "caep/risk-level-change",
			`{"principal":"USER","current_level":"LOW","previous_level":"HIGH","risk_reason":"PASSWORD_FOUND_IN_DATA_BREACH"}`, []string{"EV-50", "EV-51", "EV-52", "EV-53"},
			&caep.RiskLevelChange{Principal: "USER", CurrentLevel: caep.Low, PreviousLevel: caep.High, RiskReason: "PASSWORD_FOUND_IN_DATA_BREACH"}},
		{"principals are open", "caep/risk-level-change", `{"principal":"APPLICATION","current_level":"MEDIUM"}`, []string{"EV-50"},
			&caep.RiskLevelChange{Principal: "APPLICATION", CurrentLevel: caep.Medium}},
		{"verification", "ssf/verification", `{"state":"9b1f6c62"}`, []string{"EV-4"}, &ssf.Verification{State: "9b1f6c62"}},
		{"verification without state", "ssf/verification", `{}`, []string{"EV-4", "RX-42"}, &ssf.Verification{}},
		{"verification with null", "ssf/verification", `{"state":null}`, []string{"RX-42"}, &ssf.Verification{}},
		{"stream updated", "ssf/stream-updated", `{"status":"paused","reason":"unreachable"}`, []string{"EV-7", "EV-8"},
			&ssf.StreamUpdated{Status: "paused", Reason: "unreachable"}},
		{"account disabled", "risc/account-disabled", `{"reason":"hijacking"}`, []string{"EV-58"}, &risc.AccountDisabled{Reason: "hijacking"}},
		{"identifier changed", "risc/identifier-changed", `{"new-value":"john.roe@example.com"}`, []string{"EV-63"}, &risc.IdentifierChanged{NewValue: "john.roe@example.com"}},
		{"credential compromise", "risc/credential-compromise", `{"credential_type":"password","event_timestamp":1508184845,"reason_admin":{"en":"a"},"reason_user":{"en":"u"}}`,
			[]string{"EV-67", "EV-68", "EV-69", "EV-70"},
			&risc.CredentialCompromise{CredentialType: "password", EventTimestamp: 1508184845, ReasonAdmin: event.Text{"en": "a"}, ReasonUser: event.Text{"en": "u"}}},
		{"scim notice", "scim/prov:put:notice", `{"attributes":["name.familyName"],"version":"W/\"1\""}`, []string{"EV-82", "EV-83"},
			&scim.Notice{Attributes: []string{"name.familyName"}, Version: `W/"1"`}},
		{"scim full", "scim/prov:create:full", `{"data":{"userName":"a"}}`, []string{"EV-83"}, &scim.Full{Data: json.RawMessage(`{"userName":"a"}`)}},
		{"scim response", "scim/misc:asyncresp", `{"method":"POST","status":"200","location":"/Users/1","bulkId":"q","version":"v"}`, []string{"EV-97"},
			&scim.AsyncResponse{Method: "POST", Status: "200", Location: "/Users/1", BulkID: "q", Version: "v"}},
		{"scim response of a failure", "scim/misc:asyncresp", `{"status":"400","response":{"status":"400"}}`, []string{"EV-98"},
			&scim.AsyncResponse{Status: "400", Response: json.RawMessage(`{"status":"400"}`)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := standard().Decode(resolve(t, tt.typ).URI, json.RawMessage(tt.payload))
			if err != nil {
				t.Fatal(err)
			}
			req.Covers(t, tt.covers...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		typ, payload, want string
		covers             []string
	}{
		{"caep/session-revoked", `[]`, "", nil},
		{"caep/session-revoked", `"x"`, "", nil},
		{"caep/session-revoked", ``, "", nil},
		{"caep/session-revoked", `{"a":1,"a":2}`, "repeated", nil},
		{"caep/session-revoked", `{"x":{"a":1,"\u0061":2}}`, "repeated", nil},
		{"caep/session-revoked", `{"event_timestamp":"1615304991"}`, "event_timestamp is not a number", []string{"EV-10"}},
		{"caep/session-revoked", `{"event_timestamp":1e400}`, "event_timestamp is not a number", []string{"EV-10"}},
		{"caep/session-revoked", `{"event_timestamp":1e300}`, "event_timestamp is no date", []string{"EV-10"}},
		{"caep/session-revoked", `{"event_timestamp":true}`, "event_timestamp is not a number", []string{"EV-10"}},
		{"caep/session-revoked", `{"initiating_entity":"Admin"}`, "initiating_entity is not one of", []string{"EV-11"}},
		{"caep/session-revoked", `{"initiating_entity":1}`, "initiating_entity is not a string", []string{"EV-11"}},
		{"caep/session-revoked", `{"reason_admin":{}}`, "reason_admin has no language", []string{"EV-12"}},
		{"caep/session-revoked", `{"reason_user":{}}`, "reason_user has no language", []string{"EV-13"}},
		{"caep/session-revoked", `{"reason_admin":{"en":null}}`, "reason_admin has a value", []string{"EV-12"}},
		{"caep/session-revoked", `{"reason_admin":["en"]}`, "reason_admin is not an object", []string{"EV-12"}},
		{"caep/token-claims-change", `{}`, "claims is required", []string{"EV-19", "RX-62"}},
		{"caep/token-claims-change", `{"claims":{}}`, "claims has no claim", []string{"EV-19"}},
		{"caep/token-claims-change", `{"claims":["role"]}`, "claims is not an object", []string{"EV-19"}},
		{"caep/credential-change", `{"change_type":"create"}`, "credential_type is required", []string{"EV-22", "RX-62"}},
		{"caep/credential-change", `{"credential_type":"pin"}`, "change_type is required", []string{"EV-23", "RX-62"}},
		{"caep/credential-change", `{"credential_type":"pin","change_type":"reset"}`, "change_type is not one of", []string{"EV-23"}},
		{"caep/credential-change", `{"credential_type":"pin","change_type":"Create"}`, "change_type is not one of", []string{"EV-23"}},
		{"caep/credential-change", `{"credential_type":null,"change_type":"create"}`, "credential_type is required", []string{"EV-22"}},
		{"caep/assurance-level-change", `{"current_level":"x"}`, "namespace is required", []string{"EV-30"}},
		{"caep/assurance-level-change", `{"namespace":"x"}`, "current_level is required", []string{"EV-31"}},
		{"caep/assurance-level-change", `{"namespace":"x","current_level":"y","change_direction":"up"}`, "change_direction is not one of", []string{"EV-33"}},
		{"caep/device-compliance-change", `{"current_status":"compliant"}`, "previous_status is required", []string{"EV-36"}},
		{"caep/device-compliance-change", `{"previous_status":"compliant"}`, "current_status is required", []string{"EV-37"}},
		{"caep/device-compliance-change", `{"previous_status":"compliant","current_status":"Not-Compliant"}`, "current_status is not one of", []string{"EV-37"}},
		{"caep/device-compliance-change", `{"previous_status":"not_compliant","current_status":"compliant"}`, "previous_status is not one of", []string{"EV-36"}},
		{"caep/session-established", `{"amr":"otp"}`, "amr is not an array of strings", []string{"EV-43"}},
		{"caep/session-established", `{"amr":["otp",null]}`, "amr is not an array of strings", []string{"EV-43"}},
		{"caep/session-established", `{"acr":2}`, "acr is not a string", []string{"EV-42"}},
		{"caep/risk-level-change", `{"current_level":"LOW"}`, "principal is required", []string{"EV-50"}},
		{"caep/risk-level-change", `{"principal":"USER"}`, "current_level is required", []string{"EV-51"}},
		{"caep/risk-level-change", `{"principal":"USER","current_level":"low"}`, "current_level is not one of", []string{"EV-51"}},
		{"caep/risk-level-change", `{"principal":"USER","current_level":"LOW","previous_level":"UNKNOWN"}`, "previous_level is not one of", []string{"EV-52"}},
		{"ssf/verification", `{"state":1}`, "state is not a string", []string{"EV-4"}},
		{"ssf/stream-updated", `{}`, "status is required", []string{"EV-7"}},
		{"ssf/stream-updated", `{"status":"Paused"}`, "status is not one of", []string{"EV-7"}},
		{"ssf/stream-updated", `{"status":"paused","reason":{"en":"x"}}`, "reason is not a string", []string{"EV-8"}},
		{"risc/account-disabled", `{"reason":{"en":"x"}}`, "reason is not a string", []string{"EV-58"}},
		{"risc/credential-compromise", `{}`, "credential_type is required", []string{"EV-67"}},
		{"risc/account-purged", `[]`, "", nil},
		{"scim/prov:create:full", `{"attributes":["a"]}`, "data is required", []string{"EV-83"}},
		{"scim/prov:create:full", `{"data":{},"attributes":["a"]}`, "attributes does not belong", []string{"EV-83"}},
		{"scim/prov:patch:notice", `{"attributes":["a"],"data":{}}`, "data does not belong", []string{"EV-83"}},
		{"scim/prov:patch:notice", `{}`, "attributes is required", []string{"EV-83"}},
		{"scim/misc:asyncresp", `{"status":200}`, "status is not a string", []string{"EV-97"}},
		{"scim/misc:asyncresp", `{"status":"400"}`, "response is required", []string{"EV-98"}},
	}
	for _, tt := range tests {
		t.Run(tt.typ+" "+tt.payload, func(t *testing.T) {
			_, err := standard().Decode(resolve(t, tt.typ).URI, json.RawMessage(tt.payload))
			req.Covers(t, tt.covers...)
			if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrInvalid with %q", err, tt.want)
			}
		})
	}
}

// What was read is written back: known members as they were meant, unknown ones as they came.
func TestRoundTrip(t *testing.T) {
	tests := []struct{ name, typ, in, want string }{
		{"unknown type", "urn:example:later", `{"n":1e400,"big":12345678901234567890123,"html":"<&>"}`, ""},
		{"type without members", "risc/account-purged", `{"z":1,"a":{"deep":[1.0,null]}}`, ""},
		{"unknown members", "caep/credential-change",
			`{"credential_type":"app","change_type":"delete","event_timestamp":1795314739,"initiating_entity":"admin","kc_credential_id":"eebb<>&","n":12345678901234567890123,"f":1.50,"o":{"b":1,"a":[]}}`, ""},
		{"order of known members", "ssf/stream-updated", `{"x":null,"reason":"r","status":"paused"}`, `{"status":"paused","reason":"r","x":null}`},
		{"reason string becomes an object", "caep/session-revoked", `{"reason_user":"moved"}`, `{"reason_user":{"und":"moved"}}`},
		{"milliseconds become seconds", "caep/session-revoked", `{"event_timestamp":1615304991123}`, `{"event_timestamp":1615304991}`},
	}
	req.Covers(t, "EV-2", "RX-60", "EV-14")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			uri := tt.typ
			if row, ok := standard().Resolve(tt.typ); ok {
				uri = row.URI
			}
			p, err := standard().Decode(uri, json.RawMessage(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.(json.Marshaler).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.in
			}
			if string(out) != want {
				t.Errorf("wrote %s\nwant  %s", out, want)
			}
		})
	}
}

func TestUnknownTypeIsNoError(t *testing.T) {
	p, err := standard().Decode("https://schemas.openid.net/secevent/later/event-type/new", json.RawMessage(`{"a":[1]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Covers(t, "RX-61")
	raw, ok := p.(*event.Raw)
	if !ok || string(raw.Member("a")) != "[1]" || raw.Member("b") != nil {
		t.Errorf("payload %T, a = %s", p, raw.Member("a"))
	}
}

// Tokens of a real Keycloak, kept with the package that verifies them.
func TestKeycloakPayloads(t *testing.T) {
	files, _ := filepath.Glob("../set/testdata/keycloak-26/[0-9]*.json")
	if len(files) != 10 {
		t.Fatalf("%d captures, want 10", len(files))
	}
	want := map[string]event.Payload{
		"01": &ssf.Verification{State: "VGhpcyBpcyBhbiBleGFtcGxl"},
		"02": &ssf.Verification{},
		"03": &caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1795314735, InitiatingEntity: caep.ByUser, ReasonAdmin: event.Text{"en": "User logout"}}},
		"04": &caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1795314738, InitiatingEntity: caep.ByUser, ReasonAdmin: event.Text{"en": "User logout"}}},
		"05": &caep.CredentialChange{CredentialType: "app", ChangeType: caep.ChangeDelete,
			Common: caep.Common{EventTimestamp: 1795314739, InitiatingEntity: caep.ByAdmin, Extra: []event.Extra{
				{Name: "kc_credential_type", Value: json.RawMessage(`"otp"`)},
				{Name: "kc_credential_user_label", Value: json.RawMessage(`"phone"`)},
				{Name: "kc_credential_id", Value: json.RawMessage(`"eebb934a-17d0-450a-939a-a29a853e7830"`)}}}},
		"06": &caep.CredentialChange{CredentialType: "password", ChangeType: caep.ChangeUpdate,
			Common: caep.Common{EventTimestamp: 1795314741, InitiatingEntity: caep.ByAdmin,
				Extra: []event.Extra{{Name: "kc_credential_type", Value: json.RawMessage(`"password"`)}}}},
		"07": &caep.SessionRevoked{Common: caep.Common{EventTimestamp: 1795314735, InitiatingEntity: caep.ByUser, ReasonAdmin: event.Text{"en": "User logout"}}},
	}
	for _, file := range files {
		number := filepath.Base(file)[:2]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var capture struct {
			Payload struct {
				Events map[string]json.RawMessage
			}
		}
		if err := json.Unmarshal(data, &capture); err != nil {
			t.Fatal(err)
		}
		for uri, payload := range capture.Payload.Events {
			got, err := standard().Decode(uri, payload)
			switch number {
			case "08", "10": // 08 has no sub_id, 10 is no SET: neither is for the payload to find
			case "09": // the status is an object
				req.Covers(t, "EV-7", "Q-45")
				if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), "status is not a string") {
					t.Errorf("%s: error %v, want one about status", file, err)
				}
			default:
				if err != nil {
					t.Errorf("%s: %v", file, err)
				}
				if diff := cmp.Diff(want[number], got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", file, diff)
				}
			}
		}
	}
}

func TestTextIn(t *testing.T) {
	text := event.Text{"en": "hello", "de": "hallo", "nl": "hoi"}
	for language, want := range map[string]string{"de": "hallo", "fr": "hello"} {
		if got := text.In(language); got != want {
			t.Errorf("In(%q) = %q, want %q", language, got, want)
		}
	}
	if got := (event.Text{"nl": "hoi", "de": "hallo"}).In("fr"); got != "hallo" {
		t.Errorf("without English: %q", got)
	}
	if got := event.Text(nil).In("en"); got != "" {
		t.Errorf("nil gives %q", got)
	}
}

// FuzzDecode: nothing panics, what is accepted is valid, and writing it and reading it again gives the
// same payload.
func FuzzDecode(f *testing.F) {
	r := standard()
	rows := r.Types()
	for i := range rows {
		f.Add(uint8(i), []byte(`{}`))
	}
	f.Add(uint8(3), []byte(`{"credential_type":"app","change_type":"delete","event_timestamp":1795314739.5,"reason_admin":{"en":"x"},"k":1e400}`))
	f.Add(uint8(5), []byte(`{"event_timestamp":1795314739123,"initiating_entity":"user","reason_admin":"x","reason_user":{"en":"\ud83d\ude00"}}`))
	f.Add(uint8(0), []byte(`{"fp_ua":[{}],"amr":[],"amr":["x"]}`))
	f.Fuzz(func(t *testing.T, i uint8, payload []byte) {
		uri := rows[int(i)%len(rows)].URI
		p, err := r.Decode(uri, payload)
		if err != nil {
			if !errors.Is(err, event.ErrInvalid) {
				t.Fatalf("error %v is not ErrInvalid", err)
			}
			return
		}
		out, err := p.(json.Marshaler).MarshalJSON()
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		again, err := r.Decode(uri, out)
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, out)
		}
		out2, _ := again.(json.Marshaler).MarshalJSON()
		if string(out) != string(out2) {
			t.Fatalf("written twice:\n%s\n%s", out, out2)
		}
	})
}

// event_timestamp is when it happened, in every CAEP type, and is read and written as seconds.
func TestEventTimestampOfEachType(t *testing.T) {
	required := map[string]string{
		"caep/session-revoked": "", "caep/session-established": "", "caep/session-presented": "",
		"caep/token-claims-change": `"claims":{"a":1},`, "caep/credential-change": `"credential_type":"pin","change_type":"create",`,
		"caep/assurance-level-change":   `"namespace":"n","current_level":"l",`,
		"caep/device-compliance-change": `"previous_status":"compliant","current_status":"not-compliant",`,
		"caep/risk-level-change":        `"principal":"USER","current_level":"LOW",`,
	}
	for name, members := range required {
		uri := resolve(t, name).URI
		p, err := standard().Decode(uri, json.RawMessage(`{`+members+`"event_timestamp":1615304991}`))
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.(json.Marshaler).MarshalJSON()
		var back struct {
			At int64 `json:"event_timestamp"`
		}
		if err != nil || json.Unmarshal(out, &back) != nil || back.At != 1615304991 {
			t.Errorf("%s becomes %s, %v", name, out, err)
		}
		for _, bad := range []string{`"1615304991"`, `true`, `{}`} {
			if _, err := standard().Decode(uri, json.RawMessage(`{`+members+`"event_timestamp":`+bad+`}`)); !errors.Is(err, event.ErrInvalid) {
				t.Errorf("%s takes %s: %v", name, bad, err)
			}
		}
	}
	req.Covers(t, "EV-17", "EV-20", "EV-28", "EV-34", "EV-38", "EV-45", "EV-54")
}

// What is taken from others and not sent by us.
func TestStricterOnSending(t *testing.T) {
	for _, test := range []struct{ typ, payload, want, covers string }{
		{"caep/device-compliance-change", `{"previous_status":"unmanaged","current_status":"compliant"}`, "previous_status", "EV-39"},
		{"caep/device-compliance-change", `{"previous_status":"compliant","current_status":"unknown"}`, "current_status", "EV-39"},
		{"caep/device-compliance-change", `{"previous_status":"compliant","current_status":"not-compliant"}`, "", "EV-39"},
		{"scim/prov:put:notice", `{"attributes":["name.familyName","emails[type eq \"work\"].value","urn:ietf:params:scim:schemas:core:2.0:User:name","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.$ref"]}`, "", "EV-84"},
		{"scim/prov:put:notice", `{"attributes":["name.familyName","1st"]}`, "attributes", "EV-84"},
		{"scim/prov:patch:notice", `{"attributes":["emails[type eq \"work\""]}`, "attributes", "EV-84"},
		{"scim/prov:create:notice", `{"attributes":["a b"]}`, "attributes", "EV-84"},
		{"scim/prov:create:notice", `{"attributes":["a.b.c"]}`, "attributes", "EV-84"},
	} {
		p, err := standard().Decode(resolve(t, test.typ).URI, json.RawMessage(test.payload))
		if err != nil {
			t.Errorf("%s %s is not taken: %v", test.typ, test.payload, err)
			continue
		}
		err = p.(event.Strict).ValidateSent()
		if (err == nil) != (test.want == "") || err != nil && (!errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("sending %s: %v", test.payload, err)
		}
		req.Covers(t, test.covers)
	}
}

// The types whose subject has a format of its own.
func TestSubjectsOfTypes(t *testing.T) {
	for _, row := range standard().Types() {
		var want []string
		switch {
		case row.Name == "risc/identifier-changed" || row.Name == "risc/identifier-recycled":
			want = []string{"email", "phone_number"}
		case strings.HasPrefix(row.Name, "scim/"):
			want = []string{"scim"}
		}
		if diff := cmp.Diff(want, row.Subjects); diff != "" {
			t.Errorf("%s:\n%s", row.Name, diff)
		}
	}
}
