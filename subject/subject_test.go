package subject_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/subject"
)

func parse(t *testing.T, raw string) subject.Identifier {
	t.Helper()
	id, err := subject.Parse(json.RawMessage(raw))
	if err != nil {
		t.Fatalf("Parse(%s): %v", raw, err)
	}
	return id
}

func TestParse(t *testing.T) {
	type get map[string]string
	tests := []struct {
		raw    string
		format string
		get    get
	}{
		{`{"format":"account","uri":"acct:mira.okafor@harbor-app.example"}`, "account", get{"uri": "acct:mira.okafor@harbor-app.example"}},
		{`{"format":"email","email":"Mira.Okafor@harbor-app.example"}`, "email", get{"email": "Mira.Okafor@harbor-app.example"}},
		{`{"format":"email","email":"\"mira okafor\"@harbor-app.example"}`, "email", get{"email": `"mira okafor"@harbor-app.example`}},
		{`{"format":"iss_sub","iss":"https://idp.example/t/blue","sub":"u-5581"}`, "iss_sub", get{"iss": "https://idp.example/t/blue", "sub": "u-5581"}},
		{`{"format":"opaque","id":"9f0e6d2c8b"}`, "opaque", get{"id": "9f0e6d2c8b", "iss": ""}},
		{`{"format":"phone_number","phone_number":"+31201230001"}`, "phone_number", get{"phone_number": "+31201230001"}},
		{`{"format":"phone_number","phone_number":"+1 (206) 555-01.23"}`, "phone_number", get{"phone_number": "+12065550123"}},
		{`{"format":"phone","phone_number":"+12065550123"}`, "phone_number", get{"phone_number": "+12065550123"}},
		{`{"format":"phone","phone":"+1 206 555 0123"}`, "phone_number", get{"phone_number": "+12065550123"}},
		{`{"format":"did","url":"did:example:blue123#key-2"}`, "did", get{"url": "did:example:blue123#key-2"}},
		{`{"format":"uri","uri":"urn:uuid:6f1c2c34-7d0a-4a35-9f5e-0b1c2d3e4f50"}`, "uri", get{"uri": "urn:uuid:6f1c2c34-7d0a-4a35-9f5e-0b1c2d3e4f50"}},
		{`{"format":"aliases","identifiers":[{"format":"email","email":"a@x.example"},{"format":"phone_number","phone_number":"+31201230001"}]}`, "aliases", nil},
		{`{"format":"jwt_id","iss":"https://idp.example","jti":"idt-7c81"}`, "jwt_id", get{"jti": "idt-7c81"}},
		{`{"format":"jwt-id","iss":"https://idp.example","jti":"idt-7c81"}`, "jwt_id", get{"jti": "idt-7c81"}},
		{`{"format":"saml_assertion_id","issuer":"https://saml.example","assertion_id":"_b7d1e0aa"}`, "saml_assertion_id", get{"issuer": "https://saml.example"}},
		{`{"format":"saml-assertion-id","issuer":"https://saml.example","assertion_id":"_b7d1e0aa"}`, "saml_assertion_id", get{"assertion_id": "_b7d1e0aa"}},
		{`{"format":"ip-addresses","ip-addresses":["203.0.113.9","2001:db8::17"]}`, "ip-addresses", nil},
		{`{"format":"scim","uri":"/Users/5581","externalId":"mira.okafor","id":"5581"}`, "scim", get{"uri": "/Users/5581", "externalId": "mira.okafor", "id": "5581"}},
		{`{"format":"scim","uri":"/Users/5581"}`, "scim", get{"externalId": ""}},
		{`{"format":"https://vendor.example/badge","badge":"77","n":5}`, "https://vendor.example/badge", get{"badge": "77", "n": ""}},
		{`{"format":"email","email":"a@x.example","note":1e400,"EMAIL":"b@x.example"}`, "email", get{"email": "a@x.example", "note": ""}},
	}
	for _, tt := range tests {
		id := parse(t, tt.raw)
		if id.Format() != tt.format {
			t.Errorf("%s: format %q, want %q", tt.raw, id.Format(), tt.format)
		}
		for member, want := range tt.get {
			if got := id.Get(member); got != want {
				t.Errorf("%s: %s = %q, want %q", tt.raw, member, got, want)
			}
		}
		if string(id.Raw()) != tt.raw {
			t.Errorf("%s: raw became %s", tt.raw, id.Raw())
		}
	}
	aliases := parse(t, tests[11].raw).Aliases()
	if len(aliases) != 2 || aliases[1].Get("phone_number") != "+31201230001" {
		t.Errorf("aliases = %v", aliases)
	}
	if diff := cmp.Diff([]string{"203.0.113.9", "2001:db8::17"}, parse(t, tests[16].raw).Addresses()); diff != "" {
		t.Error(diff)
	}
	req.Covers(t, "SUB-1", "SUB-3", "SUB-5", "SUB-10", "SUB-11", "SUB-12", "SUB-14", "SUB-15", "SUB-16", "SUB-17", "SUB-18",
		"SUB-19", "SUB-21", "SUB-22", "SUB-23", "SUB-24", "SUB-25", "SUB-26")
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ raw, text string }{
		{`"email"`, "not an object"},
		{`[]`, "not an object"},
		{`{}`, "no format"},
		{`{"email":"a@x.example"}`, "no format"},
		{`{"format":""}`, "format is not a name"},
		{`{"format":null,"id":"x"}`, "format is not a name"},
		{`{"format":5,"id":"x"}`, "format is not a name"},
		{`{"FORMAT":"opaque","id":"x"}`, "no format"},
		{`{"format":"opaque","format":"email","id":"x"}`, "repeated"},
		{`{"format":"opaque","id":"x`, "not JSON"},
		{`{"format":"opaque","id":"\u0000"}`, "NUL"},
		{`{"format":"opaque"}`, "opaque: id"},
		{`{"format":"opaque","ID":"x"}`, "opaque: id"},
		{`{"format":"opaque","id":""}`, "opaque: id"},
		{`{"format":"opaque","id":null}`, "opaque: id"},
		{`{"format":"opaque","id":5}`, "opaque: id"},
		{`{"format":"account","uri":"mira@harbor-app.example"}`, "account: uri"},
		{`{"format":"account","uri":"acct:mira"}`, "account: uri"},
		{`{"format":"email","email":"mira"}`, "email: email"},
		{`{"format":"email","email":"@x.example"}`, "email: email"},
		{`{"format":"email","email":"a@"}`, "email: email"},
		{`{"format":"email","email":"a b@x.example"}`, "email: email"},
		{`{"format":"email","email":"a@x.example\u000d\u000aBcc: b@x.example"}`, "email: email"},
		{`{"format":"email","email":"Mira <a@x.example>"}`, "email: email"},
		{`{"format":"email","email":"a@b@x.example"}`, "email: email"},
		{`{"format":"email","email":["a@x.example"]}`, "email: email"},
		{`{"format":"iss_sub","iss":"https://idp.example"}`, "iss_sub: sub"},
		{`{"format":"iss_sub","sub":"u"}`, "iss_sub: iss"},
		{`{"format":"phone_number","phone_number":"0201230001"}`, "phone_number"},
		{`{"format":"phone_number","phone_number":"+31 20 CALL ME"}`, "phone_number"},
		{`{"format":"phone_number","phone_number":"+1234567890123456"}`, "phone_number"},
		{`{"format":"phone_number"}`, "phone_number"},
		{`{"format":"did","url":"https://example.org"}`, "did: url"},
		{`{"format":"did","url":"did:example:"}`, "did: url"},
		{`{"format":"uri","uri":"no scheme"}`, "uri: uri"},
		{`{"format":"uri","uri":"/path"}`, "uri: uri"},
		{`{"format":"jwt_id","iss":"https://idp.example"}`, "jwt_id: jti"},
		{`{"format":"saml_assertion_id","iss":"https://saml.example","assertion_id":"_1"}`, "saml_assertion_id: issuer"},
		{`{"format":"ip-addresses","ip_addresses":["203.0.113.9"]}`, "ip-addresses"},
		{`{"format":"ip-addresses","ip-addresses":[]}`, "ip-addresses"},
		{`{"format":"ip-addresses","ip-addresses":["203.0.113.999"]}`, "ip-addresses"},
		{`{"format":"ip-addresses","ip-addresses":["fe80::1%eth0"]}`, "ip-addresses"},
		{`{"format":"ip-addresses","ip-addresses":[7]}`, "ip-addresses"},
		{`{"format":"scim","externalId":"mira"}`, "scim: uri"},
		{`{"format":"scim","uri":"https://scim.example/Users/1"}`, "scim: uri"},
		{`{"format":"scim","uri":"//scim.example/Users/1"}`, "scim: uri"},
		{`{"format":"scim","uri":"/Users/1","externalId":7}`, "scim: externalId"},
		{`{"format":"aliases","identifiers":[]}`, "aliases: identifiers"},
		{`{"format":"aliases","identifiers":{"format":"opaque","id":"x"}}`, "aliases: identifiers"},
		{`{"format":"aliases","identifiers":[{"format":"aliases","identifiers":[{"format":"opaque","id":"x"}]}]}`, "aliases inside aliases"},
		{`{"format":"aliases","identifiers":[{"format":"complex","user":{"format":"opaque","id":"x"}}]}`, "complex"},
		{`{"format":"aliases","identifiers":[{"format":"opaque"}]}`, "aliases: opaque: id"},
		{`{"format":"complex"}`, "without a member"},
		{`{"format":"complex","badge":7}`, "without a member"},
		{`{"format":"complex","user":{"format":"email"}}`, "user: email: email"},
		{`{"format":"complex","user":"u-1","tenant":{"format":"opaque","id":"t"}}`, "user: not an object"},
		{`{"format":"complex","user":{"format":"complex","user":{"format":"opaque","id":"x"}}}`, "without a member"},
		{`{"user":{"format":"opaque","id":"x"},"n":1}`, "no format"},
		{strings.Repeat(`{"format":"aliases","identifiers":[`, 10) + strings.Repeat(`]}`, 10), "nested too deeply"},
	}
	for _, tt := range tests {
		id, err := subject.Parse(json.RawMessage(tt.raw))
		if !errors.Is(err, subject.ErrInvalid) || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("Parse(%s) = %v, want ErrInvalid with %q", tt.raw, err, tt.text)
		}
		if !id.IsZero() {
			t.Errorf("Parse(%s) gives %v with its error", tt.raw, id)
		}
		if err != nil && strings.Contains(err.Error(), "x.example") {
			t.Errorf("error shows the subject: %v", err)
		}
	}
	req.Covers(t, "SUB-1", "SUB-2", "SUB-4", "SUB-11", "SUB-12", "SUB-14", "SUB-15", "SUB-16", "SUB-17", "SUB-18", "SUB-19",
		"SUB-21", "SUB-22", "SUB-23", "SUB-24", "SUB-27", "SUB-30")
}

func TestComplex(t *testing.T) {
	id := parse(t, `{"format":"complex","tenant":{"format":"opaque","id":"blue"},
		"user":{"format":"email","email":"Mira@Harbor.example"},"session":{"format":"opaque","id":"sess-8842"},
		"badge_reader":{"format":"opaque","id":"b-1"},"nested":{"format":"complex","user":{"format":"opaque","id":"x"}},"note":"n","extra":{"a":1}}`)
	if diff := cmp.Diff([]string{"tenant", "user", "session", "badge_reader"}, id.Parts()); diff != "" {
		t.Error(diff)
	}
	if s, ok := id.Session(); !ok || s.Get("id") != "sess-8842" {
		t.Errorf("session = %v, %v", s, ok)
	}
	if _, ok := id.Part("device"); ok {
		t.Error("a device from nowhere")
	}
	if e, ok := id.Email(); !ok || e != "mira@harbor.example" {
		t.Errorf("email = %q, %v", e, ok)
	}
	old := parse(t, `{"user":{"format":"email","email":"a@x.example"},"session":{"format":"opaque","id":"s"}}`)
	if old.Format() != "complex" || len(old.Parts()) != 2 {
		t.Errorf("draft shape: %v %v", old.Format(), old.Parts())
	}
	if got, want := string(old.Emit()), `{"format":"complex","session":{"format":"opaque","id":"s"},"user":{"email":"a@x.example","format":"email"}}`; got != want {
		t.Errorf("emit %s, want %s", got, want)
	}
	req.Covers(t, "SUB-27", "SUB-28", "SUB-30", "SUB-32", "SUB-26")
}

func TestPerson(t *testing.T) {
	tests := []struct {
		raw, email, iss, sub string
	}{
		{`{"format":"email","email":"Mira.O@Harbor.EXAMPLE"}`, "mira.o@harbor.example", "", ""},
		// U+212A KELVIN SIGN is lower-cased to k by Unicode; the two addresses are not the same person's.
		{`{"format":"email","email":"\u212aate@x.example"}`, "\u212aate@x.example", "", ""},
		{`{"format":"iss_sub","iss":"https://idp.example","sub":"U-1"}`, "", "https://idp.example", "U-1"},
		{`{"format":"complex","user":{"format":"iss_sub","iss":"i","sub":"s"},"session":{"format":"opaque","id":"x"}}`, "", "i", "s"},
		{`{"format":"complex","user":{"format":"aliases","identifiers":[{"format":"iss_sub","iss":"i","sub":"s"},{"format":"email","email":"A@x.example"}]}}`, "a@x.example", "i", "s"},
		{`{"format":"complex","device":{"format":"iss_sub","iss":"i","sub":"s"}}`, "", "", ""},
		{`{"format":"opaque","id":"a@x.example"}`, "", "", ""},
	}
	for _, tt := range tests {
		id := parse(t, tt.raw)
		email, ok := id.Email()
		if email != tt.email || ok != (tt.email != "") {
			t.Errorf("%s: email %q, %v", tt.raw, email, ok)
		}
		iss, sub, ok := id.IssSub()
		if iss != tt.iss || sub != tt.sub || ok != (tt.iss != "") {
			t.Errorf("%s: iss_sub %q %q %v", tt.raw, iss, sub, ok)
		}
	}
	req.Covers(t, "SUB-9", "SUB-13")
}

func TestMatch(t *testing.T) {
	user, other := `{"format":"opaque","id":"U"}`, `{"format":"opaque","id":"V"}`
	complex := func(pairs ...string) string {
		out := `{"format":"complex"`
		for i := 0; i < len(pairs); i += 2 {
			out += `,"` + pairs[i] + `":` + pairs[i+1]
		}
		return out + "}"
	}
	tests := []struct {
		name, a, b string
		match      bool
		identical  bool
	}{
		{"identical", `{"format":"email","email":"a@x.example"}`, `{ "email": "a@x.example", "format": "email" }`, true, true},
		{"escapes", `{"format":"opaque","id":"a"}`, `{"format":"opaque","id":"\u0061"}`, true, true},
		{"case of an address", `{"format":"email","email":"A@x.example"}`, `{"format":"email","email":"a@x.example"}`, false, false},
		{"two formats", `{"format":"opaque","id":"a@x.example"}`, `{"format":"email","email":"a@x.example"}`, false, false},
		{"undeclared member", `{"format":"opaque","id":"a"}`, `{"format":"opaque","id":"a","n":1}`, false, false},
		{"undeclared members alike", `{"format":"opaque","id":"a","n":1}`, `{"n":1.0,"id":"a","format":"opaque"}`, true, true},
		{"older name", `{"format":"phone","phone_number":"+1 206 555 0123"}`, `{"format":"phone_number","phone_number":"+12065550123"}`, true, true},
		{"user is a wildcard in the added one", complex("tenant", other), complex("tenant", other, "user", user), true, false},
		{"device is a wildcard in the event", complex("user", user, "device", other), complex("user", user), true, false},
		{"group differs", complex("user", user, "group", user), complex("user", user, "group", other), false, false},
		{"no common member", complex("tenant", user), complex("user", user), false, false},
		{"same complex", complex("user", user, "tenant", other), complex("tenant", other, "user", user), true, true},
		{"draft shape", `{"user":` + user + `}`, complex("user", user), true, true},
		{"own member name", complex("badge", user), complex("badge", other), false, false},
		{"simple is a member", user, complex("user", user, "tenant", other), true, false},
		{"simple is no member", `{"format":"opaque","id":"W"}`, complex("user", user, "tenant", other), false, false},
		{"alias", `{"format":"aliases","identifiers":[` + other + `,` + user + `]}`, user, true, false},
		{"two aliases", `{"format":"aliases","identifiers":[` + other + `,` + user + `]}`, `{"format":"aliases","identifiers":[{"format":"opaque","id":"W"},` + user + `]}`, true, false},
		{"aliases in another order", `{"format":"aliases","identifiers":[` + other + `,` + user + `]}`, `{"format":"aliases","identifiers":[` + user + `,` + other + `]}`, true, true},
		{"no alias", `{"format":"aliases","identifiers":[` + other + `]}`, user, false, false},
		{"alias in a complex", complex("user", `{"format":"aliases","identifiers":[`+other+`,`+user+`]}`), complex("user", user), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := parse(t, tt.a), parse(t, tt.b)
			for _, pair := range [][2]subject.Identifier{{a, b}, {b, a}} {
				if got := subject.Match(pair[0], pair[1]); got != tt.match {
					t.Errorf("Match = %v, want %v", got, tt.match)
				}
				if got := subject.Identical(pair[0], pair[1]); got != tt.identical {
					t.Errorf("Identical = %v, want %v", got, tt.identical)
				}
			}
			if (a.Key() == b.Key()) != tt.identical {
				t.Error("the keys say otherwise")
			}
			if subject.Match(a, subject.Identifier{}) || subject.Identical(subject.Identifier{}, subject.Identifier{}) {
				t.Error("nobody matches somebody")
			}
		})
	}
	req.Covers(t, "SUB-33", "SUB-34", "SUB-37", "SUB-38", "SUB-39")
}

func TestConstructors(t *testing.T) {
	tests := []struct {
		got  subject.Identifier
		want string
	}{
		{subject.Email("a@x.example"), `{"format":"email","email":"a@x.example"}`},
		{subject.IssSub("https://idp.example/", `q"\`), `{"format":"iss_sub","iss":"https://idp.example/","sub":"q\"\\"}`},
		{subject.Opaque("stream-1"), `{"format":"opaque","id":"stream-1"}`},
		{subject.JWTID("i", "j"), `{"format":"jwt_id","iss":"i","jti":"j"}`},
		{subject.Account("acct:a@x.example"), `{"format":"account","uri":"acct:a@x.example"}`},
		{subject.Phone("+31201230001"), `{"format":"phone_number","phone_number":"+31201230001"}`},
		{subject.Phone("+31 20 123 0001"), `{"format":"phone_number","phone_number":"+31201230001"}`},
		{subject.SCIM("/Users/1", ""), `{"format":"scim","uri":"/Users/1"}`},
		{subject.SCIM("/Users/1", "e"), `{"format":"scim","uri":"/Users/1","externalId":"e"}`},
		{subject.Aliases(subject.Opaque("a"), subject.Opaque("a"), subject.Opaque("b")), `{"format":"aliases","identifiers":[{"format":"opaque","id":"a"},{"format":"opaque","id":"b"}]}`},
		{subject.Complex(map[string]subject.Identifier{"zone": subject.Opaque("z"), "badge": subject.Opaque("b"), "session": subject.Opaque("s"), "user": subject.Email("a@x.example")}),
			`{"format":"complex","user":{"format":"email","email":"a@x.example"},"session":{"format":"opaque","id":"s"},"badge":{"format":"opaque","id":"b"},"zone":{"format":"opaque","id":"z"}}`},
		{subject.Email("nobody"), ""},
		{subject.Opaque(""), ""},
		{subject.Opaque("\xff"), ""},
		{subject.Phone("112"), ""},
		{subject.Aliases(), ""},
		{subject.Aliases(subject.Aliases(subject.Opaque("a"))), ""},
		{subject.Complex(nil), ""},
		{subject.Complex(map[string]subject.Identifier{"user": {}}), ""},
		{subject.Complex(map[string]subject.Identifier{"format": subject.Opaque("x")}), ""},
		{subject.Complex(map[string]subject.Identifier{"user": subject.Complex(map[string]subject.Identifier{"user": subject.Opaque("x")})}), ""},
	}
	for _, tt := range tests {
		if string(tt.got.Raw()) != tt.want {
			t.Errorf("made %s, want %s", tt.got.Raw(), tt.want)
		}
	}
	req.Covers(t, "SUB-2", "SUB-3", "SUB-16", "SUB-19", "SUB-26", "SUB-30")
}

func TestNothingPrintsTheSubject(t *testing.T) {
	id := subject.Email("mira@harbor.example")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "subject", id, "in", struct{ S subject.Identifier }{id})
	text := fmt.Sprintf("%v %+v %#v %s", id, id, id, id)
	if strings.Contains(text, "mira") {
		t.Errorf("printed: %s", text)
	}
	if line := log.String(); !strings.Contains(line, `"subject":"email subject"`) {
		t.Errorf("logged: %s", line)
	}
}

func TestJSON(t *testing.T) {
	type holder struct {
		Subject subject.Identifier `json:"subject"`
	}
	var h holder
	in := `{"subject":{"format":"email","email":"a@x.example","n":1}}`
	if err := json.Unmarshal([]byte(in), &h); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(h)
	if err != nil || string(out) != in {
		t.Errorf("round trip: %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"subject":null}`), &h); err != nil || !h.Subject.IsZero() {
		t.Errorf("null: %v, %v", h, err)
	}
	if err := json.Unmarshal([]byte(`{"subject":{"format":"email"}}`), &h); !errors.Is(err, subject.ErrInvalid) {
		t.Errorf("invalid: %v", err)
	}
}

// FuzzParse: what parses is identical to itself, parses again from both of its spellings, and never
// matches the zero Identifier.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"format":"email","email":"a@x.example"}`, `{"format":"phone","phone":"+1 206 555 0123"}`, `{"format":"iss_sub","iss":"i","sub":"s"}`,
		`{"format":"aliases","identifiers":[{"format":"opaque","id":"b"},{"format":"opaque","id":"a"}]}`,
		`{"format":"complex","user":{"format":"email","email":"a@x.example"},"x":5,"y":{"format":"complex"}}`,
		`{"user":{"format":"jwt-id","iss":"i","jti":"j"}}`, `{"format":"ip-addresses","ip-addresses":["::1"]}`, `{"format":"scim","uri":"/Users/1"}`,
		`{"format":"uri","uri":"urn:x:y"}`, `{"format":"did","url":"did:a:b"}`, `{"format":"account","uri":"acct:a@b"}`,
		`{"format":"phone_number","phone":"+1234","phone_number":"+12345"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, err := subject.Parse(raw)
		if err != nil {
			return
		}
		if !subject.Identical(id, id) || !subject.Match(id, id) {
			t.Fatalf("%s is not itself", raw)
		}
		again, err := subject.Parse([]byte(id.Canonical()))
		if err != nil || again.Canonical() != id.Canonical() || again.Format() != id.Format() {
			t.Fatalf("%s becomes %s and then %s: %v", raw, id.Canonical(), again.Canonical(), err)
		}
		// What is sent names the same subject, and needs no more change.
		sent, err := subject.Parse(id.Emit())
		if err != nil || string(sent.Emit()) != string(id.Emit()) || sent.Format() != id.Format() || !slices.Equal(sent.Parts(), id.Parts()) {
			t.Fatalf("%s is sent as %s: %v", raw, id.Emit(), err)
		}
		id.Email()
		id.IssSub()
		id.Session()
		id.Key()
	})
}

// What we send has the members that the format describes and no others, whatever came (SUB-3); Google's subject_type is
// among those that no new service may use (RISC 1.0 §3.1).
func TestSentStrictly(t *testing.T) {
	for raw, want := range map[string]string{
		`{"format":"email","email":"a@x.example"}`:                                        `{"format":"email","email":"a@x.example"}`,
		`{"format":"email","note":1,"email":"a@x.example"}`:                               `{"format":"email","email":"a@x.example"}`,
		`{"subject_type":"iss-sub","format":"iss_sub","sub":"s","iss":"i","email":"a@x"}`: `{"format":"iss_sub","iss":"i","sub":"s"}`,
		`{"format":"phone","phone":"+31 20 1","x":null}`:                                  `{"format":"phone_number","phone_number":"+31201"}`,
		`{"format":"complex","user":{"format":"opaque","id":"1","n":2},"x":5,"y":null}`:   `{"format":"complex","user":{"format":"opaque","id":"1"}}`,
		`{"user":{"format":"jwt-id","iss":"i","jti":"j","n":2}}`:                          `{"format":"complex","user":{"format":"jwt_id","iss":"i","jti":"j"}}`,
		`{"format":"aliases","identifiers":[{"format":"opaque","id":"1","n":2}],"n":3}`:   `{"format":"aliases","identifiers":[{"format":"opaque","id":"1"}]}`,
		`{"format":"ip-addresses","ip-addresses":["::1"],"n":1}`:                          `{"format":"ip-addresses","ip-addresses":["::1"]}`,
		`{"format":"scim","uri":"/Users/1","id":"1","userName":"a"}`:                      `{"format":"scim","uri":"/Users/1","id":"1","userName":"a"}`,
		`{"format":"https://x.example/own","a":1}`:                                        `{"format":"https://x.example/own","a":1}`,
	} {
		id, err := subject.Parse(json.RawMessage(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got := string(id.Emit()); got != want {
			t.Errorf("%s is sent as %s, want %s", raw, got, want)
		}
		if string(id.Raw()) != raw {
			t.Errorf("%s is no longer what it was", raw)
		}
	}
	req.Covers(t, "SUB-3", "EV-79")
}

// More names than anybody has are refused before they are compared.
func TestSubjectsAreBounded(t *testing.T) {
	one := `{"format":"opaque","id":"1"}`
	var members []string
	for i := range 3000 {
		members = append(members, fmt.Sprintf(`"m%d":%s`, i, one))
	}
	for _, raw := range []string{
		`{"format":"complex",` + strings.Join(members, ",") + `}`,
		`{"format":"aliases","identifiers":[` + strings.Repeat(one+",", 3000) + one + `]}`,
	} {
		if _, err := subject.Parse(json.RawMessage(raw)); !errors.Is(err, subject.ErrInvalid) || !strings.Contains(err.Error(), "more than 2048") {
			t.Errorf("error is %v", err)
		}
	}
}
