package set_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/internal/strictjson"
	"countersign/set"
)

func TestMarshal(t *testing.T) {
	c := &set.Claims{
		Issuer: "https://i.example/\"<&>\u2028é", Audience: []string{"a", "b"}, IssuedAt: 1789462800, ID: "j\t1", TXN: "t", TimeOfEvent: -5,
		SubID:  json.RawMessage(` {"format":"opaque","id":"x"}`),
		Events: []set.Event{{Type: "urn:e1", Payload: json.RawMessage(`{"b":1,"a":2}`)}, {Type: "urn:e2"}},
		Extra:  []set.Member{{Name: "z", Value: json.RawMessage(`[1]`)}, {Name: "a", Value: json.RawMessage(`null`)}},
	}
	got := string(marshal(t, c))
	want := `{"iss":"https://i.example/\"<&>` + "\u2028" + `é","aud":["a","b"],"iat":1789462800,"jti":"j\t1","txn":"t","toe":-5,"sub_id": {"format":"opaque","id":"x"},"events":{"urn:e1":{"b":1,"a":2},"urn:e2":{}},"z":[1],"a":null}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var any map[string]any
	if err := json.Unmarshal([]byte(got), &any); err != nil || any["iss"] != c.Issuer || any["jti"] != c.ID {
		t.Errorf("encoding/json reads %v, %v", any, err)
	}
	one := string(marshal(t, claims()))
	if !strings.HasPrefix(one, `{"iss":"`+issuer+`","aud":"`+audience+`","iat":1789462800,"jti":"j-1","txn":"txn-8675310","sub_id":{`) {
		t.Errorf("one audience is a string: %s", one)
	}
	req.Covers(t, "TX-148", "TX-153", "TX-154")
}

func TestMarshalRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(*set.Claims)
		also error
	}{
		{"no iss", func(c *set.Claims) { c.Issuer = "" }, nil},
		{"no jti", func(c *set.Claims) { c.ID = "" }, nil},
		{"no iat", func(c *set.Claims) { c.IssuedAt = 0 }, nil},
		{"no event", func(c *set.Claims) { c.Events = nil }, nil},
		{"event without type", func(c *set.Claims) { c.Events[0].Type = "" }, nil},
		{"event is text", func(c *set.Claims) { c.Events[0].Payload = []byte(`"x"`) }, nil},
		{"event is broken", func(c *set.Claims) { c.Events[0].Payload = []byte(`{"a":`) }, strictjson.ErrSyntax},
		{"event closes the payload", func(c *set.Claims) { c.Events[0].Payload = []byte(`{}},"sub":"x","y":{"z":{}`) }, strictjson.ErrTrailing},
		{"two events of one type", func(c *set.Claims) { c.Events = append(c.Events, c.Events[0]) }, strictjson.ErrDuplicate},
		{"subject is text", func(c *set.Claims) { c.SubID = []byte(`"x"`) }, nil},
		{"bad UTF-8", func(c *set.Claims) { c.ID = "\xff" }, strictjson.ErrText},
		{"NUL", func(c *set.Claims) { c.TXN = "a\x00" }, strictjson.ErrText},
		{"sub", func(c *set.Claims) { c.Extra = []set.Member{{Name: "sub", Value: []byte(`"x"`)}} }, nil},
		{"exp", func(c *set.Claims) { c.Extra = []set.Member{{Name: "exp", Value: []byte(`1`)}} }, nil},
		{"a claim again", func(c *set.Claims) { c.Extra = []set.Member{{Name: "iss", Value: []byte(`"x"`)}} }, strictjson.ErrDuplicate},
		{"no value", func(c *set.Claims) { c.Extra = []set.Member{{Name: "x"}} }, nil},
		{"too deep", func(c *set.Claims) {
			c.Extra = []set.Member{{Name: "x", Value: []byte(strings.Repeat("[", 16) + strings.Repeat("]", 16))}}
		}, strictjson.ErrDepth},
	}
	for _, tt := range tests {
		c := claims()
		tt.edit(c)
		out, err := c.Marshal()
		if verdict(t, err) != "ErrClaims" || out != nil {
			t.Errorf("%s: %s, %v, want ErrClaims", tt.name, out, err)
		}
		if tt.also != nil && !errors.Is(err, tt.also) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.also)
		}
	}
	req.Covers(t, "TX-141", "TX-143", "TX-144", "TX-152")
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := set.NewID()
		if len(id) != 24 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// FuzzParse: what parses has three strict parts, and claims without fault marshal to a payload that
// parses to the same claims.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"alg":"RS256","typ":"secevent+jwt","kid":"r1"}`), marshal(f, claims()), []byte("signature"))
	f.Add([]byte(`{"alg":"none"}`), []byte(`{"iss":"a","aud":["b","c"],"iat":1.5e3,"jti":"x","toe":-1,"txn":"","sub_id":{},"events":{"e":{}},"y":1e400}`), []byte{})
	f.Add([]byte(`{"alg":"none","crit":[]}`), []byte(`[]`), []byte{})
	f.Add([]byte(`{"alg":1}`), []byte(`{"iss":null,"events":[]}`), []byte{0xff})
	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		set.Parse(string(header))
		set.Parse(string(header) + "." + string(payload) + "." + string(signature))
		u, err := set.Parse(b64(string(header)) + "." + b64(string(payload)) + "." + b64(string(signature)))
		if err != nil {
			if v := verdict(t, err); v != "ErrMalformed" && v != "ErrTooLarge" {
				t.Fatalf("Parse gives %s", v)
			}
			return
		}
		if string(u.Payload()) != string(payload) {
			t.Fatal("not the payload that was sent")
		}
		c := u.Claims()
		if u.Fault() != nil {
			verdict(t, u.Fault())
			return
		}
		out, err := c.Marshal()
		if err != nil {
			return
		}
		again, err := set.Parse(b64(`{"alg":"none"}`) + "." + b64(string(out)) + ".")
		if err != nil || again.Fault() != nil {
			t.Fatalf("%s marshals to %s: %v, %v", payload, out, err, again.Fault())
		}
		if len(c.Audience) == 0 {
			c.Audience = nil
		}
		if diff := cmp.Diff(c, again.Claims()); diff != "" {
			t.Fatal(diff)
		}
	})
}
