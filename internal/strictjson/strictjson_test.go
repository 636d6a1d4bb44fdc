package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/internal/strictjson"
)

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int, last string) string {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		return b.String() + `"` + last + `":1}`
	}
	tests := []struct {
		name, in string
		lim      strictjson.Limits
		want     error
	}{
		{name: "object", in: ` {"a": [1, -0.5e+3, true, false, null, "x\u00e9\n"], "b": {}} `},
		{name: "empty", in: ``, want: strictjson.ErrSyntax},
		{name: "only space", in: " \n", want: strictjson.ErrSyntax},
		{name: "half object", in: `{"a":`, want: strictjson.ErrSyntax},
		{name: "comma at end", in: `{"a":1,}`, want: strictjson.ErrSyntax},
		{name: "comma at end of array", in: `[1,]`, want: strictjson.ErrSyntax},
		{name: "no colon", in: `{"a" 1}`, want: strictjson.ErrSyntax},
		{name: "name not a string", in: `{a:1}`, want: strictjson.ErrSyntax},
		{name: "single quotes", in: `{'a':1}`, want: strictjson.ErrSyntax},
		{name: "plus sign", in: `[+1]`, want: strictjson.ErrSyntax},
		{name: "leading zero", in: `[01]`, want: strictjson.ErrSyntax},
		{name: "bare point", in: `[1.]`, want: strictjson.ErrSyntax},
		{name: "bare exponent", in: `[1e]`, want: strictjson.ErrSyntax},
		{name: "minus alone", in: `[-]`, want: strictjson.ErrSyntax},
		{name: "NaN", in: `[NaN]`, want: strictjson.ErrSyntax},
		{name: "word cut", in: `tru`, want: strictjson.ErrSyntax},
		{name: "bad escape", in: `"\x41"`, want: strictjson.ErrSyntax},
		{name: "short unicode escape", in: `"\u12"`, want: strictjson.ErrSyntax},
		{name: "control character", in: "\"a\nb\"", want: strictjson.ErrSyntax},
		{name: "raw NUL", in: "\"a\x00b\"", want: strictjson.ErrSyntax},
		{name: "open string", in: `"abc`, want: strictjson.ErrSyntax},
		{name: "string ends in backslash", in: `"abc\`, want: strictjson.ErrSyntax},
		{name: "byte order mark", in: "\xef\xbb\xbf{}", want: strictjson.ErrSyntax},
		{name: "second value", in: `{} {}`, want: strictjson.ErrTrailing},
		{name: "garbage after", in: `{}x`, want: strictjson.ErrTrailing},
		{name: "repeat at top", in: `{"iss":1,"iss":2}`, want: strictjson.ErrDuplicate},
		{name: "repeat escaped", in: `{"iss":1,"\u0069ss":2}`, want: strictjson.ErrDuplicate},
		{name: "repeat escaped with a pair", in: `{"😀":1,"\ud83d\ude00":2}`, want: strictjson.ErrDuplicate},
		{name: "repeat deep", in: `{"a":[{"b":{"c":1,"d":2,"c":3}}]}`, want: strictjson.ErrDuplicate},
		{name: "repeat after an inner object", in: `{"a":1,"b":{"x":1},"a":2}`, want: strictjson.ErrDuplicate},
		{name: "same name in siblings", in: `{"a":{"x":1},"b":{"x":1},"x":[{"x":1}]}`},
		{name: "names differ by case", in: `{"iss":1,"ISS":2}`},
		{name: "many members", in: many(60, "z")},
		{name: "many members, repeat early", in: many(60, "m0"), want: strictjson.ErrDuplicate},
		{name: "many members, repeat late", in: many(60, "m59"), want: strictjson.ErrDuplicate},
		{name: "depth 16", in: deep(16)},
		{name: "depth 17", in: deep(17), want: strictjson.ErrDepth},
		{name: "depth of objects", in: strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), want: strictjson.ErrDepth},
		{name: "depth bomb", in: strings.Repeat("[", 200_000), want: strictjson.ErrDepth},
		{name: "depth of the caller", in: deep(3), lim: strictjson.Limits{Depth: 2}, want: strictjson.ErrDepth},
		{name: "size", in: `"` + strings.Repeat("x", strictjson.DefaultBytes) + `"`, want: strictjson.ErrSize},
		{name: "size of the caller", in: `[1]`, lim: strictjson.Limits{Bytes: 2}, want: strictjson.ErrSize},
		{name: "no size limit", in: `"` + strings.Repeat("x", strictjson.DefaultBytes) + `"`, lim: strictjson.Limits{Bytes: -1}},
		{name: "invalid UTF-8", in: "\"\xff\"", want: strictjson.ErrText},
		{name: "surrogate as UTF-8", in: "\"\xed\xa0\x80\"", want: strictjson.ErrText},
		{name: "overlong UTF-8", in: "\"\xc0\x80\"", want: strictjson.ErrText},
		{name: "high surrogate alone", in: `"\ud800"`, want: strictjson.ErrText},
		{name: "high surrogate before text", in: `"\ud800abcdef"`, want: strictjson.ErrText},
		{name: "two high surrogates", in: `"\ud800\ud800"`, want: strictjson.ErrText},
		{name: "low surrogate alone", in: `"\udc00"`, want: strictjson.ErrText},
		{name: "surrogate in a name", in: `{"\udfff":1}`, want: strictjson.ErrText},
		{name: "pair", in: `"\ud83d\ude00"`},
		{name: "NUL escape", in: `"a\u0000b"`, want: strictjson.ErrText},
		{name: "NUL in a name", in: `{"a\u0000":1}`, want: strictjson.ErrText},
		{name: "large numbers are JSON", in: `[1e400, 12345678901234567890, 0.1e-999]`},
		{name: "fraction refused", in: `[1.0]`, lim: strictjson.Limits{NoFloats: true}, want: strictjson.ErrFloat},
		{name: "exponent refused", in: `[1E3]`, lim: strictjson.Limits{NoFloats: true}, want: strictjson.ErrFloat},
		{name: "whole numbers allowed", in: `[1, -20, 0]`, lim: strictjson.Limits{NoFloats: true}},
		{name: "1.5 inside text allowed", in: `["1.5e3"]`, lim: strictjson.Limits{NoFloats: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := strictjson.Check([]byte(tt.in), tt.lim)
			if !errors.Is(err, tt.want) || (err != nil) != (tt.want != nil) {
				t.Fatalf("Check = %v, want %v", err, tt.want)
			}
		})
	}
	req.Covers(t, "A7", "A8")
}

func TestUnmarshal(t *testing.T) {
	type inner struct {
		N int64    `json:"n"`
		L []string `json:"l"`
	}
	type Shared struct {
		Reason string `json:"reason"`
	}
	type outer struct {
		Shared
		Iss   string            `json:"iss"`
		Inner *inner            `json:"inner"`
		List  []inner           `json:"list"`
		Map   map[string]string `json:"map"`
		Raw   json.RawMessage   `json:"raw"`
		Any   any               `json:"any"`
		F     float64           `json:"f"`
		B     bool              `json:"b"`
		P     *int              `json:"p"`
		Off   string            `json:"-"`
		Bare  string
	}
	seven := 7
	tests := []struct {
		name, in string
		want     outer
		err      error
		text     string
	}{
		{name: "everything", in: `{"iss":"\u0061b","inner":{"n":-5,"l":["x","y"]},"list":[{"n":1},{"n":2}],"map":{"k":"v"},
			"raw":{"z": 1 },"any":{"q":[1]},"f":2.5,"b":true,"p":7,"reason":"r","Bare":"bare"}`,
			want: outer{Shared: Shared{"r"}, Iss: "ab", Inner: &inner{-5, []string{"x", "y"}}, List: []inner{{N: 1}, {N: 2}},
				Map: map[string]string{"k": "v"}, Raw: json.RawMessage(`{"z": 1 }`), Any: map[string]any{"q": []any{1.0}},
				F: 2.5, B: true, P: &seven, Bare: "bare"}},
		{name: "names are exact", in: `{"iss":"true","ISS":"false","i\u017fs":"long s","Iss":"x","bare":"y","Off":"o","-":"o"}`, want: outer{Iss: "true"}},
		{name: "null", in: `{"iss":null,"inner":null,"map":null,"p":null,"any":null}`},
		{name: "unknown member of any size", in: `{"zz":1e400,"iss":"a"}`, want: outer{Iss: "a"}},
		{name: "text for number", in: `{"inner":{"n":"5"}}`, err: strictjson.ErrType, text: "inner.n: want a whole number, got a string"},
		{name: "fraction for whole", in: `{"list":[{"n":1},{"n":1.5}]}`, err: strictjson.ErrType, text: "list[1].n: want a whole number, got 1.5"},
		{name: "object for text", in: `{"iss":{}}`, err: strictjson.ErrType, text: "iss: want a string, got an object"},
		{name: "array for object", in: `{"inner":[]}`, err: strictjson.ErrType, text: "inner: want an object, got an array"},
		{name: "in a map", in: `{"map":{"k":5}}`, err: strictjson.ErrType, text: "map.k: want a string, got a number"},
		{name: "top", in: `[]`, err: strictjson.ErrType, text: "want an object, got an array"},
		{name: "checked first", in: `{"iss":"a","iss":"b"}`, err: strictjson.ErrDuplicate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got outer
			err := strictjson.Unmarshal([]byte(tt.in), &got)
			if !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.text) {
					t.Errorf("text %q lacks %q", err, tt.text)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type shouting string

func (s *shouting) UnmarshalJSON(b []byte) error {
	var text string
	if err := strictjson.Unmarshal(b, &text); err != nil {
		return err
	}
	*s = shouting(strings.ToUpper(text))
	return nil
}

func TestUnmarshalOwnTypes(t *testing.T) {
	var v struct {
		S shouting   `json:"s"`
		L []shouting `json:"l"`
	}
	if err := strictjson.Unmarshal([]byte(`{"s":"a","l":["b"]}`), &v); err != nil || v.S != "A" || v.L[0] != "B" {
		t.Errorf("got %+v, %v", v, err)
	}
	err := strictjson.Unmarshal([]byte(`{"l":["b",5]}`), &v)
	var te *strictjson.TypeError
	if !errors.As(err, &te) || te.Path != "l[1]" {
		t.Errorf("err = %v, want a TypeError at l[1]", err)
	}
}

func TestObject(t *testing.T) {
	got, err := strictjson.Object([]byte(` {"b" : {"x":"}"} , "\u0061":[1,"]"],"c":-1.5e3, "d":"\"" } `))
	if err != nil {
		t.Fatal(err)
	}
	want := []strictjson.Member{{Name: "b", Value: json.RawMessage(`{"x":"}"}`)}, {Name: "a", Value: json.RawMessage(`[1,"]"]`)},
		{Name: "c", Value: json.RawMessage(`-1.5e3`)}, {Name: "d", Value: json.RawMessage(`"\""`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := strictjson.Object([]byte(`[]`)); !errors.Is(err, strictjson.ErrType) {
		t.Errorf("array: %v", err)
	}
}

func TestJCS(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{in: `{"sub":"99beb27c", "format":"iss_sub","iss":"https://idp.example.com/"}`, want: `{"format":"iss_sub","iss":"https://idp.example.com/","sub":"99beb27c"}`},
		{in: `["a\/b\u0041\u001f\b\u000a\"\\\u20ac<>&\u2028"]`, want: "[\"a/bA\\u001f\\b\\n\\\"\\\\€<>&\u2028\"]"},
		// RFC 8785 §3.2.3: U+1F600 sorts before U+FB33 because its first code unit is a surrogate.
		{in: `{"\ufb33":"1","\ud83d\ude00":"2","\u20ac":"3","\r":"4","1":"5","\u00f6":"6","\u0080":"7"}`,
			want: "{\"\\r\":\"4\",\"1\":\"5\",\"\u0080\":\"7\",\"ö\":\"6\",\"€\":\"3\",\"😀\":\"2\",\"\ufb33\":\"1\"}"},
		{in: `{"a":1}`, err: strictjson.ErrFloat},
		{in: `{"a":[true]}`, err: strictjson.ErrFloat},
		{in: `null`, err: strictjson.ErrFloat},
		{in: `{"a":"\ud800"}`, err: strictjson.ErrText},
	}
	for _, tt := range tests {
		got, err := strictjson.JCS([]byte(tt.in))
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("JCS(%s) = %s, %v; want %s, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
	req.Covers(t, "A20")
}

func TestCanonical(t *testing.T) {
	same := [][]string{
		{`{"a":1,"b":null}`, `{"b":null,"a":1.0}`, `{ "a":10e-1 , "b" : null }`},
		{`[0]`, `[-0]`, `[0.0e7]`},
		{`[1e400]`, ` [1e400]`},
		{`[true,false]`},
		{`[9007199254740993]`},
		{`[9007199254740992]`},
	}
	seen := map[string]int{}
	for i, group := range same {
		for _, in := range group {
			got, err := strictjson.Canonical([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if of, ok := seen[string(got)]; ok && of != i {
				t.Errorf("%s has the form %s of group %d", in, got, of)
			}
			seen[string(got)] = i
		}
	}
	if len(seen) != len(same) {
		t.Errorf("%d forms for %d values: %v", len(seen), len(same), seen)
	}
}

// FuzzCheck holds Check to encoding/json: what Check passes is valid JSON, decodes alike, and its
// canonical form is a fixed point.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"\ud83d\ude00"}],"c":null}`, `{"iss":1,"\u0069ss":2}`, `[1e400]`, `"\u0000"`,
		`{"a":"\ud800"}`, "\"\xff\"", `{}x`, `[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]`, ` -0.0e-0 `, `{"":{"":{}}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data, strictjson.Limits{}) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("Check passed what is not JSON: %q", data)
		}
		var ours any
		var theirs any
		theirErr := json.Unmarshal(data, &theirs)
		if err := strictjson.Unmarshal(data, &ours); (err == nil) != (theirErr == nil) {
			t.Fatalf("%q: %v against %v", data, err, theirErr)
		}
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Fatal(diff)
		}
		var fields struct {
			A string           `json:"a"`
			B []int            `json:"b"`
			C map[string]bool  `json:"c"`
			D json.RawMessage  `json:"d"`
			E *struct{ F any } `json:"e"`
		}
		strictjson.Unmarshal(data, &fields)
		form, err := strictjson.Canonical(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := strictjson.Canonical(form)
		if err != nil || string(again) != string(form) {
			t.Fatalf("canonical form %q becomes %q, %v", form, again, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	in := []byte(`{"iss":"https://idp.example.com/ssf","aud":"https://hub.example.net","iat":1789462800,"jti":"v1","sub_id":{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example.com/","sub":"99beb27c"},"session":{"format":"opaque","id":"s-1"}},"events":{"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{"event_timestamp":1789462800,"initiating_entity":"user","reason_admin":{"en":"User logout"}}}}`)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := strictjson.Check(in, strictjson.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
