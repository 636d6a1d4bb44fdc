package stream_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/stream"
)

func TestMetadataURL(t *testing.T) {
	tests := []struct {
		issuer, want string
		covers       []string
	}{
		{"https://tr.example.com", "https://tr.example.com/.well-known/ssf-configuration", []string{"TX-1", "RX-2"}},
		{"https://tr.example.com/", "https://tr.example.com/.well-known/ssf-configuration", []string{"TX-2", "RX-2"}},
		{"https://tr.example.com/issuer1", "https://tr.example.com/.well-known/ssf-configuration/issuer1", []string{"TX-1", "RX-2"}},
		{"https://h.example/t/blue/", "https://h.example/.well-known/ssf-configuration/t/blue", []string{"TX-2", "RX-2"}},
		{"https://h.example:8443/t/blue", "https://h.example:8443/.well-known/ssf-configuration/t/blue", []string{"TX-1"}},
		{"https://h.example/a%2Fb", "https://h.example/.well-known/ssf-configuration/a%2Fb", []string{"TX-1"}},
		{"https://h.example/t//", "https://h.example/.well-known/ssf-configuration/t/", []string{"TX-2"}},
		{"http://127.0.0.1:18180/realms/ssfdemo", "http://127.0.0.1:18180/.well-known/ssf-configuration/realms/ssfdemo", nil},
	}
	for _, tt := range tests {
		got, err := stream.MetadataURL(tt.issuer)
		req.Covers(t, tt.covers...)
		if err != nil || got != tt.want {
			t.Errorf("MetadataURL(%q) = %q, %v; want %q", tt.issuer, got, err, tt.want)
		}
	}
	for _, issuer := range []string{"", "tr.example.com", "/path", "ftp://h.example", "https://", "https:h.example",
		"https://h.example/?a=b", "https://h.example/?", "https://h.example/#f", "https://u:p@h.example", "https://h.example/%zz"} {
		if got, err := stream.MetadataURL(issuer); !errors.Is(err, stream.ErrInvalid) {
			t.Errorf("MetadataURL(%q) = %q, %v; want ErrInvalid", issuer, got, err)
		}
	}
}

func TestMetadataOmitsWhatIsEmpty(t *testing.T) {
	out, err := json.Marshal(stream.Metadata{
		SpecVersion: stream.SpecVersion, Issuer: "https://tr.example.com",
		DeliveryMethodsSupported: []string{}, CriticalSubjectMembers: []string{}, AuthorizationSchemes: stream.AuthorizationSchemes{},
	})
	if err != nil {
		t.Fatal(err)
	}
	req.Covers(t, "TX-4", "TX-9")
	if want := `{"spec_version":"1_0","issuer":"https://tr.example.com"}`; string(out) != want {
		t.Errorf("wrote %s, want %s", out, want)
	}
}

// The example of SSF 1.0 §7.2.3, with the receipts settings beside it.
func TestMetadataRoundTrip(t *testing.T) {
	const in = `{"spec_version":"1_0","issuer":"https://tr.example.com","jwks_uri":"https://tr.example.com/jwks.json",` +
		`"delivery_methods_supported":["urn:ietf:rfc:8935","urn:ietf:rfc:8936"],"configuration_endpoint":"https://tr.example.com/ssf/mgmt/stream",` +
		`"status_endpoint":"https://tr.example.com/ssf/mgmt/status","add_subject_endpoint":"https://tr.example.com/ssf/mgmt/subject:add",` +
		`"remove_subject_endpoint":"https://tr.example.com/ssf/mgmt/subject:remove","verification_endpoint":"https://tr.example.com/ssf/mgmt/verification",` +
		`"critical_subject_members":["tenant","user"],"authorization_schemes":[{"spec_urn":"urn:ietf:rfc:6749"},{"spec_urn":"urn:ietf:rfc:8705"}],` +
		`"default_subjects":"NONE","https://ns.countersign.example/ar/1/action-receipts":{"max_receipt_bytes":262144,"x":12345678901234567890123}}`
	var md stream.Metadata
	if err := json.Unmarshal([]byte(in), &md); err != nil {
		t.Fatal(err)
	}
	req.Covers(t, "TX-5", "RX-5")
	if md.DefaultSubjects != stream.DefaultNone || len(md.AuthorizationSchemes) != 2 || md.AuthorizationSchemes[0].SpecURN != stream.OAuth2URN || len(md.Extra) != 1 {
		t.Errorf("read %+v", md)
	}
	out, err := json.Marshal(md)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != in {
		t.Errorf("wrote %s\nwant  %s", out, in)
	}
}

func TestMetadataReads(t *testing.T) {
	tests := []struct {
		name, in string
		covers   []string
		want     stream.Metadata
	}{
		{"null is absent", `{"issuer":"https://i","jwks_uri":null,"authorization_schemes":null,"critical_subject_members":null}`, []string{"RX-37"}, stream.Metadata{Issuer: "https://i"}},
		{"names are exact", `{"issuer":"https://i","ISSUER":"https://evil","Jwks_uri":"x"}`, []string{"RX-5"},
			stream.Metadata{Issuer: "https://i", Extra: map[string]json.RawMessage{"ISSUER": json.RawMessage(`"https://evil"`), "Jwks_uri": json.RawMessage(`"x"`)}}},
		{"empty arrays are tolerated", `{"delivery_methods_supported":[]}`, nil, stream.Metadata{DeliveryMethodsSupported: []string{}}},
		{"unknown delivery methods", `{"delivery_methods_supported":["https://schemas.openid.net/secevent/risc/delivery-method/push"]}`, nil,
			stream.Metadata{DeliveryMethodsSupported: []string{"https://schemas.openid.net/secevent/risc/delivery-method/push"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got stream.Metadata
			if err := json.Unmarshal([]byte(tt.in), &got); err != nil {
				t.Fatal(err)
			}
			req.Covers(t, tt.covers...)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetadataRefuses(t *testing.T) {
	for in, want := range map[string]string{
		`[]`:                                        "metadata",
		`{"issuer":1}`:                              "issuer is not a string",
		`{"issuer":"a","issuer":"b"}`:               "repeated",
		`{"delivery_methods_supported":"x"}`:        "delivery_methods_supported is not an array of strings",
		`{"critical_subject_members":[null]}`:       "critical_subject_members is not an array of strings",
		`{"authorization_schemes":{}}`:              "authorization_schemes",
		`{"authorization_schemes":["x"]}`:           "authorization scheme",
		`{"authorization_schemes":[{"a":1,"a":2}]}`: "repeated",
	} {
		var md stream.Metadata
		if err := json.Unmarshal([]byte(in), &md); !errors.Is(err, stream.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want ErrInvalid with %q", in, err, want)
		}
	}
}

func TestKeycloakMetadata(t *testing.T) {
	data, err := os.ReadFile("testdata/keycloak-26/metadata.json")
	if err != nil {
		t.Fatal(err)
	}
	var md stream.Metadata
	if err := json.Unmarshal(data, &md); err != nil {
		t.Fatal(err)
	}
	if md.Issuer != "http://127.0.0.1:18180/realms/ssfdemo" || len(md.DeliveryMethodsSupported) != 4 || md.DefaultSubjects != stream.DefaultNone || md.Extra != nil {
		t.Errorf("read %+v", md)
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://i","authorization_schemes":[{"spec_urn":"u"}],"x":{"y":1e400}}`))
	f.Add([]byte(`{"delivery_methods_supported":[],"jwks_uri":null}`))
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, data, new(stream.Metadata), new(stream.Metadata)) })
}

// roundTrip holds any reader to: what is read can be written, read again, and is then written alike.
func roundTrip(t *testing.T, data []byte, a, b any) {
	if json.Unmarshal(data, a) != nil {
		return
	}
	out, err := json.Marshal(a)
	if err != nil {
		t.Fatalf("cannot write what was read: %v", err)
	}
	if err := json.Unmarshal(out, b); err != nil {
		t.Fatalf("cannot read what was written: %v\n%s", err, out)
	}
	again, err := json.Marshal(b)
	if err != nil || string(out) != string(again) {
		t.Fatalf("written twice: %v\n%s\n%s", err, out, again)
	}
}
