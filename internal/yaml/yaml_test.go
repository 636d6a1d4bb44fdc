package yaml_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/yaml"
)

type limits struct {
	People int    `json:"people"`
	Per    string `json:"per"`
}

type spec struct {
	Name     string            `json:"name"`
	Mode     string            `json:"mode,omitempty"`
	When     string            `json:"when,omitempty"`
	Order    int               `json:"order,omitempty"`
	Optional bool              `json:"optional,omitempty"`
	On       []string          `json:"on,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	Limits   *limits           `json:"limits,omitempty"`
	Free     json.RawMessage   `json:"free,omitempty"`
}

func TestDecode(t *testing.T) {
	var got spec
	err := yaml.Decode([]byte(`
name: yes
mode: off
when: 'status == 204 && !done'
order: 0x10
optional: true
on: [2026-11-22, on, 15m]
settings: {url: "https://a.test", pin: "0017"}
limits: {people: 20, per: 1h}
free: {n: 1e3, list: [~, true, 2026-11-22, 0o17]}
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := spec{Name: "yes", Mode: "off", When: "status == 204 && !done", Order: 16, Optional: true, On: []string{"2026-11-22", "on", "15m"},
		Settings: map[string]string{"url": "https://a.test", "pin": "0017"}, Limits: &limits{20, "1h"}, Free: json.RawMessage(`{"n":1000,"list":[null,true,"2026-11-22",15]}`)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown key", "name: a\nlimts: {people: 1}", "line 2:1: the key limts is not known here: did you mean limits?"},
		{"unknown nested key", "name: a\nlimits:\n  peoples: 1", "line 3:3: the key peoples is not known here: did you mean people?"},
		{"far key lists all", "limits:\n  xxxxxxxx: 1", "known are people, per"},
		{"duplicate key", "name: a\nname: b", "line 2:1: the key name stands here twice"},
		{"duplicate nested", "free: {a: 1, a: 2}", "line 1:14: the key a stands here twice"},
		{"anchor", "name: &x a", "line 1:7: &x is a YAML anchor"},
		{"alias", "name: &x a\nmode: *x", "anchor"},
		{"alias unknown", "when: *done", "unknown anchor"},
		{"tag", "name: !!str a", "is a YAML tag"},
		{"bare tag", "when: ! sessions.size()", "is a YAML tag"},
		{"negation", "when: !sessions.exists(s, true)", "YAML tag"},
		{"merge", "<<: {name: a}", "merge key"},
		{"bool for text", "when: true", "line 1:7: true is true or false to YAML and text is wanted here: quote it"},
		{"number for text", "settings: {pin: 0017}", "0017 is a number to YAML"},
		{"null for text", "name:", "nothing is written after name"},
		{"map for text", "when: {a: 1}", "YAML reads a mapping"},
		{"list for text", "when: [a]", "YAML reads a list"},
		{"text for int", "order: ten", "a whole number is wanted"},
		{"yes is no bool", "optional: yes", "true or false is wanted here, not \"yes\""},
		{"scalar for list", "on: caep", "a list is wanted"},
		{"big number", "order: 99999999999999999999", "does not fit"},
		{"infinity", "free: .inf", "no JSON form"},
		{"number key", "free: {1: a}", "the key 1 is a number"},
		{"colon in expression", "when: a ? b : c", "between single quotes"},
		{"two documents", "name: a\n---\nname: b", "line 3:1: one document is wanted"},
		{"empty", "# nothing\n", "the document is empty"},
		{"not UTF-8", "name: \xff", "not UTF-8"},
		{"NUL", `name: "a\0b"`, "NUL"},
		{"depth", "free: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s spec
			err := yaml.Decode([]byte(c.in), &s)
			var e *yaml.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	docs, err := yaml.Documents([]byte("# head\n---\napiVersion: countersign/v1\nkind: policy\nname: a\non: [x]\n---\n---\nkind: app\nname: b\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 2 || docs[1].Kind != "app" || docs[1].Name != "b" || docs[1].APIVersion != yaml.Version || docs[1].Line != 9 {
		t.Fatalf("got %+v", docs)
	}
	if got := string(docs[0].Raw); got != `{"name":"a","on":["x"]}` {
		t.Error(got)
	}
	var s spec
	if err := docs[0].Decode(&s); err != nil || s.On[0] != "x" {
		t.Error(s, err)
	}
	if got := docs[0].Errorf("on[0]", "no").Error(); got != "line 6:6: no" {
		t.Error(got)
	}
	if err := docs[0].Keys(func(p, v string) string {
		if p == "on" {
			return "here"
		}
		return ""
	}); err == nil || err.Error() != "line 6:1: here" {
		t.Error(err)
	}
	for in, want := range map[string]string{
		"kind: app\nname: a":                              "the first document of a file says apiVersion",
		"apiVersion: countersign/v2\nkind: app":           `apiVersion "countersign/v2" is not understood`,
		"apiVersion: countersign/v1\nname: a":             "says its kind",
		"apiVersion: countersign/v1\nkind: app\nname: 12": "name is text",
		"- a": "a resource is a mapping",
		"":    "no document",
		"apiVersion: countersign/v1\nkind: app\n---\napiVersion: v1\nkind: app": "not understood",
	} {
		if _, err := yaml.Documents([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
	// The same JSON as the API takes.
	docs, err = yaml.Documents([]byte(`{"apiVersion":"countersign/v1","kind":"app","name":"wiki","settings":{"url":"https:\/\/a.test","x":"\ud83d\ude00\\/"}}`))
	if err != nil || string(docs[0].Raw) != `{"name":"wiki","settings":{"url":"https://a.test","x":"😀\\/"}}` {
		t.Error(docs, err)
	}
}

func FuzzDocuments(f *testing.F) {
	for _, s := range []string{"apiVersion: countersign/v1\nkind: app\nname: a\n", "a: &x [*x]", "when: !b", "{\"a\": [1, 2.5, null]}", "---\n--- |\n x\n", "a: \"\\ud83d\"", "? [a]\n: b", "<<: {}", "a: 'x\n\n y'", "%YAML 1.2\n---\na: 1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if err := yaml.Decode(data, &v); err == nil {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var again any
			if err := yaml.Decode(b, &again); err == nil && !cmp.Equal(v, again) {
				t.Fatalf("JSON of the document reads differently: %s", cmp.Diff(v, again))
			}
		}
		docs, err := yaml.Documents(data)
		if err != nil {
			return
		}
		for _, d := range docs {
			if !json.Valid(d.Raw) {
				t.Fatalf("no JSON: %s", d.Raw)
			}
			var s spec
			_ = d.Decode(&s)
		}
	})
}
