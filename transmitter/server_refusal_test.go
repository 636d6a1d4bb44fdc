package transmitter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/transmitter"
)

// TestRefusals is the table of everything the management API says no to.
func TestRefusals(t *testing.T) {
	const streams, status, verify = "/t/blue/ssf/streams", "/t/blue/ssf/status", "/t/blue/ssf/verify"
	const add, remove, poll = "/t/blue/ssf/subjects/add", "/t/blue/ssf/subjects/remove", streams + "/ID/poll"
	const mail = `{"format":"email","email":"a@example.com"}`
	crowd := func(n int) string {
		b := []byte(`{"format":"complex"`)
		for i := range n {
			b = fmt.Appendf(b, `,"p%d":{"format":"opaque","id":"%d"}`, i, i)
		}
		return string(append(b, '}'))
	}
	push := func(member string) string {
		return `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in",` + member + `}}`
	}
	to := func(u string) string {
		return `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"` + u + `"}}`
	}
	receipts := func(object string) string {
		return `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in"},"` + settingsName + `":` + object + `}`
	}
	tests := []struct {
		name   string
		call   call
		status int
		says   string
		covers []string
	}{
		{"create without token", call{method: "POST", path: streams, body: `{`}, 401, "bearer", []string{"TX-32", "TX-35", "TX-39", "AZ-2", "AZ-3"}},
		{"create with a wrong token", call{method: "POST", path: streams, token: "wrong", body: `{`}, 401, "not valid", []string{"TX-35", "AZ-4"}},
		{"two Authorization fields", call{method: "GET", path: streams, header: http.Header{"Authorization": {"Bearer token-a", "Bearer token-b"}}}, 401, "", []string{"P-127"}},
		{"basic", call{method: "GET", path: streams, header: http.Header{"Authorization": {"Basic dG9rZW4tYTo="}}}, 401, "", []string{"AZ-1"}},
		{"token in the query", call{method: "GET", path: streams + "?access_token=token-a"}, 401, "", []string{"IOP-42"}},
		{"create with garbage", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":`}, 400, "body", []string{"TX-38", "TX-67"}},
		{"create with nothing", call{method: "POST", path: streams, token: "token-a"}, 400, "body", []string{"TX-38"}},
		{"create with null", call{method: "POST", path: streams, token: "token-a", body: `null`}, 400, "body", nil},
		{"create with an array", call{method: "POST", path: streams, token: "token-a", body: `[]`}, 400, "body", nil},
		{"create with a name twice", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{},"delivery":{}}`}, 400, "body", []string{"P-121"}},
		{"create, too deep", call{method: "POST", path: streams, token: "token-a", body: `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`}, 400, "body", []string{"P-130"}},
		{"create, too large", call{method: "POST", path: streams, token: "token-a", body: `{"description":"` + strings.Repeat("x", 70_000) + `"}`}, 413, "larger", []string{"P-128"}},
		{"create, encoded", call{method: "POST", path: streams, token: "token-a", body: `{}`, header: http.Header{"Content-Encoding": {"gzip"}}}, 415, "encoded", []string{"P-128"}},
		{"create with trailing text", call{method: "POST", path: streams, token: "token-a", body: createBody("https://r.example/in") + `{}`}, 400, "body", []string{"P-122"}},
		{"create with bad UTF-8", call{method: "POST", path: streams, token: "token-a", body: "{\"description\":\"\xff\"}"}, 400, "body", []string{"P-122"}},
		{"create with NUL", call{method: "POST", path: streams, token: "token-a", body: `{"description":"\u0000"}`}, 400, "body", []string{"P-123"}},
		{"create with a foreign poll address", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://r.example/p"}}`}, 400, "leave it out", []string{"TX-62"}},
		{"create with another method", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{"method":"pigeon","endpoint_url":"https://r.example/p"}}`}, 400, "none of", []string{"TX-64"}},
		{"create with delivery and no method", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{}}`}, 400, "method is missing", []string{"TX-64"}},
		{"create without endpoint", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{"method":"urn:ietf:rfc:8935"}}`}, 400, "endpoint_url", nil},
		{"create with http", call{method: "POST", path: streams, token: "token-a", body: to("http://r.example/in")}, 400, "not https", []string{"TX-70", "P-36"}},
		{"create with another scheme", call{method: "POST", path: streams, token: "token-a", body: to("file:///etc/passwd")}, 400, "endpoint_url", []string{"TX-70"}},
		{"create with user", call{method: "POST", path: streams, token: "token-a", body: to("https://u:p@r.example/in")}, 400, "user", []string{"TX-70"}},
		{"create with fragment", call{method: "POST", path: streams, token: "token-a", body: to("https://r.example/in#x")}, 400, "fragment", []string{"TX-70"}},
		{"create with a host that is not allowed", call{method: "POST", path: streams, token: "token-a", body: to("https://evil.example/in")}, 400, "not allowed", []string{"P-36"}},
		{"create with CR LF in the header", call{method: "POST", path: streams, token: "token-a", body: push(`"authorization_header":"Bearer x\r\nHost: evil"`)}, 400, "header", nil},
		{"create with white space around the header", call{method: "POST", path: streams, token: "token-a", body: push(`"authorization_header":" Bearer x"`)}, 400, "header", nil},
		{"create with text that no header holds", call{method: "POST", path: streams, token: "token-a", body: push(`"authorization_header":"Bearer ä"`)}, 400, "header", nil},
		{"create without scope", call{method: "POST", path: streams, token: "read-a", body: createBody("https://r.example/in")}, 403, "ssf.manage", []string{"TX-36", "IOP-36", "AZ-4"}},
		{"receipts: no issuer", call{method: "POST", path: streams, token: "token-a", body: receipts(`{"receipt_jwks_uri":"https://r.example/j","receipt_delivery":"push"}`)}, 400, "receipt_issuer", []string{"AR-§3.2"}},
		{"receipts: two key places", call{method: "POST", path: streams, token: "token-a", body: receipts(`{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/j","receipt_jwks":{"keys":[]},"receipt_delivery":"push"}`)}, 400, "receipt", []string{"AR-§3.2"}},
		{"receipts: keys at http", call{method: "POST", path: streams, token: "token-a", body: receipts(`{"receipt_issuer":"https://r.example","receipt_jwks_uri":"http://r.example/j","receipt_delivery":"push"}`)}, 400, "receipt", []string{"AR-§10"}},
		{"receipts: keys at a host that is not allowed", call{method: "POST", path: streams, token: "token-a", body: receipts(`{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://evil.example/j","receipt_delivery":"push"}`)}, 400, "receipt_jwks_uri is not allowed", []string{"AR-§10"}},
		{"receipts: no key", call{method: "POST", path: streams, token: "token-a", body: receipts(`{"receipt_issuer":"https://r.example","receipt_jwks":{"keys":[]},"receipt_delivery":"push"}`)}, 400, "receipt_jwks", nil},
		{"read another's stream", call{method: "GET", path: streams + "?stream_id=ID", token: "token-b"}, 404, "no such stream", []string{"TX-33", "TX-37", "TX-75", "P-14", "P-105"}},
		{"read an unknown stream", call{method: "GET", path: streams + "?stream_id=none", token: "token-a"}, 404, "no such stream", []string{"TX-37"}},
		{"read with an empty id", call{method: "GET", path: streams + "?stream_id=", token: "token-a"}, 400, "stream_id", []string{"TX-40"}},
		{"read with two ids", call{method: "GET", path: streams + "?stream_id=a&stream_id=b", token: "token-a"}, 400, "stream_id", nil},
		{"read without scope", call{method: "GET", path: streams, token: "rcpt-a"}, 403, "ssf.read", []string{"TX-36"}},
		{"update garbage before unknown", call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"none",`}, 400, "body", []string{"TX-39", "P-13"}},
		{"update without id", call{method: "PATCH", path: streams, token: "token-a", body: `{}`}, 400, "stream_id", []string{"TX-40", "TX-76"}},
		{"update of another's stream", call{method: "PATCH", path: streams, token: "token-b", body: `{"stream_id":"ID","description":"x"}`}, 404, "no such stream", []string{"TX-37"}},
		{"update without scope", call{method: "PATCH", path: streams, token: "read-a", body: `{"stream_id":"ID","description":"x"}`}, 403, "ssf.manage", []string{"TX-36"}},
		{"update without token", call{method: "PATCH", path: streams, body: `{"stream_id":"ID"}`}, 401, "", []string{"TX-35"}},
		{"replace of another's stream", call{method: "PUT", path: streams, token: "token-b", body: strings.Replace(createBody("https://b.example/in"), "{", `{"stream_id":"ID",`, 1)}, 404, "no such stream", []string{"TX-37"}},
		{"delete without id", call{method: "DELETE", path: streams, token: "token-a"}, 400, "stream_id", []string{"TX-96", "P-107"}},
		{"delete of another's stream", call{method: "DELETE", path: streams + "?stream_id=ID", token: "token-b"}, 404, "no such stream", []string{"TX-37", "TX-94"}},
		{"delete without scope", call{method: "DELETE", path: streams + "?stream_id=ID", token: "read-a"}, 403, "ssf.manage", []string{"TX-36"}},
		{"delete without token", call{method: "DELETE", path: streams + "?stream_id=ID"}, 401, "", []string{"TX-35"}},
		{"another method", call{method: "TRACE", path: streams, token: "token-a"}, 405, "GET, POST, PATCH, PUT, DELETE", []string{"P-129"}},
		{"status without id", call{method: "GET", path: status, token: "token-a"}, 400, "stream_id", []string{"TX-40", "TX-97"}},
		{"status of another's stream", call{method: "GET", path: status + "?stream_id=ID", token: "token-b"}, 404, "no such stream", []string{"TX-99"}},
		{"status without token", call{method: "GET", path: status + "?stream_id=ID"}, 401, "", []string{"TX-99"}},
		{"status without scope", call{method: "GET", path: status + "?stream_id=ID", token: "rcpt-a"}, 403, "ssf.read", []string{"TX-99"}},
		{"status update, garbage", call{method: "POST", path: status, token: "token-a", body: `{`}, 400, "body", []string{"TX-102"}},
		{"status update, unknown status", call{method: "POST", path: status, token: "token-a", body: `{"stream_id":"ID","status":"Enabled"}`}, 400, "enabled", []string{"TX-102"}},
		{"status update, no status", call{method: "POST", path: status, token: "token-a", body: `{"stream_id":"ID"}`}, 400, "status", []string{"TX-100", "TX-102"}},
		{"status update of another's stream", call{method: "POST", path: status, token: "token-b", body: `{"stream_id":"ID","status":"paused"}`}, 404, "no such stream", []string{"TX-102"}},
		{"status update without scope", call{method: "POST", path: status, token: "read-a", body: `{"stream_id":"ID","status":"paused"}`}, 403, "ssf.manage", []string{"TX-102"}},
		{"status, another method", call{method: "PUT", path: status, token: "token-a"}, 405, "GET, POST", nil},
		{"verify garbage", call{method: "POST", path: verify, token: "token-a", body: `{`}, 400, "body", []string{"TX-125"}},
		{"verify without id", call{method: "POST", path: verify, token: "token-a", body: `{"state":"x"}`}, 400, "stream_id", []string{"TX-123"}},
		{"verify with a number as state", call{method: "POST", path: verify, token: "token-a", body: `{"stream_id":"ID","state":1}`}, 400, "state", []string{"TX-123"}},
		{"verify another's stream", call{method: "POST", path: verify, token: "token-b", body: `{"stream_id":"ID"}`}, 404, "no such stream", []string{"TX-125"}},
		{"verify without token", call{method: "POST", path: verify, body: `{"stream_id":"ID"}`}, 401, "", []string{"TX-125"}},
		{"verify without scope", call{method: "POST", path: verify, token: "read-a", body: `{"stream_id":"ID"}`}, 403, "ssf.manage", []string{"IOP-45"}},
		{"verify, another method", call{method: "GET", path: verify, token: "token-a"}, 405, "POST", nil},
		{"verify with a long state", call{method: "POST", path: verify, token: "token-a", body: `{"stream_id":"ID","state":"` + strings.Repeat("x", 5000) + `"}`}, 400, "state is longer", nil},
		{"nothing there", call{method: "GET", path: "/t/blue/ssf/subjects", token: "token-a"}, 404, "", []string{"TX-27"}},
		{"add without token", call{method: "POST", path: add, body: `{`}, 401, "bearer", []string{"TX-115"}},
		{"add, garbage", call{method: "POST", path: add, token: "token-a", body: `{`}, 400, "body", []string{"TX-115"}},
		{"add, no subject", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID"}`}, 400, "subject is missing", []string{"TX-112"}},
		{"add, null", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":null}`}, 400, "subject is missing", []string{"TX-112"}},
		{"add, no id", call{method: "POST", path: add, token: "token-a", body: `{"subject":` + mail + `}`}, 400, "stream_id is missing", []string{"TX-112", "TX-40"}},
		{"add, a subject that is text", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":"alice"}`}, 400, "body", []string{"TX-115"}},
		{"add, no format", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":{"email":"a@example.com"}}`}, 400, "body", []string{"TX-115"}},
		{"add, an email without one", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":{"format":"email"}}`}, 400, "body", []string{"TX-115"}},
		{"add, verified as text", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":` + mail + `,"verified":"yes"}`}, 400, "verified is neither true nor false", []string{"TX-112"}},
		{"add, 1,500 members", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":` + crowd(1500) + `}`}, 400, "more than 64 identifiers", nil},
		{"add, 10,000 members", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"ID","subject":` + crowd(10_000) + `}`}, 413, "larger", nil},
		{"add to another's stream", call{method: "POST", path: add, token: "token-b", body: `{"stream_id":"ID","subject":` + mail + `}`}, 404, "no such stream", []string{"TX-115", "TX-37"}},
		{"add to an unknown stream", call{method: "POST", path: add, token: "token-a", body: `{"stream_id":"none","subject":` + mail + `}`}, 404, "no such stream", []string{"TX-115"}},
		{"add without scope", call{method: "POST", path: add, token: "read-a", body: `{"stream_id":"ID","subject":` + mail + `}`}, 403, "ssf.manage", []string{"TX-115"}},
		{"add, another method", call{method: "GET", path: add, token: "token-a"}, 405, "POST", nil},
		{"remove without token", call{method: "POST", path: remove, body: `{`}, 401, "bearer", []string{"TX-120"}},
		{"remove, garbage", call{method: "POST", path: remove, token: "token-a", body: `[`}, 400, "body", []string{"TX-120"}},
		{"remove, no subject", call{method: "POST", path: remove, token: "token-a", body: `{"stream_id":"ID"}`}, 400, "subject is missing", []string{"TX-119"}},
		{"remove the stream", call{method: "POST", path: remove, token: "token-a", body: `{"stream_id":"ID","subject":{"format":"opaque","id":"ID"}}`}, 400, "cannot be removed", []string{"TX-122"}},
		{"remove from another's stream", call{method: "POST", path: remove, token: "token-b", body: `{"stream_id":"ID","subject":` + mail + `}`}, 404, "no such stream", []string{"TX-120", "TX-37"}},
		{"remove without scope", call{method: "POST", path: remove, token: "read-a", body: `{"stream_id":"ID","subject":` + mail + `}`}, 403, "ssf.manage", []string{"TX-120"}},
		{"poll without token", call{method: "POST", path: poll, body: `{`}, 401, "bearer", []string{"TX-20", "TX-176"}},
		{"poll with a wrong token", call{method: "POST", path: poll, token: "wrong", body: `{}`}, 401, "not valid", []string{"TX-176"}},
		{"poll with nothing", call{method: "POST", path: poll, token: "token-a"}, 400, "body", []string{"TX-185"}},
		{"poll with garbage", call{method: "POST", path: poll, token: "token-a", body: `{"maxEvents":`}, 400, "body", []string{"TX-185"}},
		{"poll with an array", call{method: "POST", path: poll, token: "token-a", body: `[]`}, 400, "not an object", []string{"TX-185"}},
		{"poll with null", call{method: "POST", path: poll, token: "token-a", body: `null`}, 400, "not an object", []string{"TX-185"}},
		{"poll with text after", call{method: "POST", path: poll, token: "token-a", body: `{} {}`}, 400, "body", []string{"TX-185"}},
		{"poll with a name twice", call{method: "POST", path: poll, token: "token-a", body: `{"ack":[],"ack":[]}`}, 400, "body", []string{"P-121"}},
		{"poll with -1", call{method: "POST", path: poll, token: "token-a", body: `{"maxEvents":-1}`}, 400, "maxEvents", []string{"TX-185"}},
		{"poll with 1.5", call{method: "POST", path: poll, token: "token-a", body: `{"maxEvents":1.5}`}, 400, "maxEvents", []string{"TX-185"}},
		{"poll with 1e2", call{method: "POST", path: poll, token: "token-a", body: `{"maxEvents":1e2}`}, 400, "maxEvents", []string{"TX-185"}},
		{"poll with text", call{method: "POST", path: poll, token: "token-a", body: `{"maxEvents":"1"}`}, 400, "maxEvents", []string{"TX-185"}},
		{"poll, yes", call{method: "POST", path: poll, token: "token-a", body: `{"returnImmediately":"true"}`}, 400, "returnImmediately", []string{"TX-185"}},
		{"poll, ack is text", call{method: "POST", path: poll, token: "token-a", body: `{"ack":"x"}`}, 400, "ack is not an array", []string{"TX-185"}},
		{"poll, ack has a number", call{method: "POST", path: poll, token: "token-a", body: `{"ack":["x",1]}`}, 400, "ack is not an array of strings", []string{"TX-185"}},
		{"poll, setErrs is an array", call{method: "POST", path: poll, token: "token-a", body: `{"setErrs":[]}`}, 400, "setErrs is not an object", []string{"TX-185"}},
		{"poll, setErrs has text", call{method: "POST", path: poll, token: "token-a", body: `{"setErrs":{"x":"invalid_key"}}`}, 400, "setErrs is not an object", []string{"TX-185"}},
		{"poll, setErrs without err", call{method: "POST", path: poll, token: "token-a", body: `{"setErrs":{"x":{}}}`}, 400, "no err", []string{"TX-185"}},
		{"poll, err is a number", call{method: "POST", path: poll, token: "token-a", body: `{"setErrs":{"x":{"err":1}}}`}, 400, "err in setErrs is not a string", []string{"TX-185"}},
		{"poll of another's stream", call{method: "POST", path: poll, token: "token-b", body: `{}`}, 404, "no such stream", []string{"TX-192", "TX-37"}},
		{"poll of an unknown stream", call{method: "POST", path: streams + "/none/poll", token: "token-a", body: `{}`}, 404, "no such stream", []string{"TX-37"}},
		{"poll of a pushed stream", call{method: "POST", path: poll, token: "token-a", body: `{}`}, 400, "delivered by push", nil},
		{"poll, another method", call{method: "GET", path: poll, token: "token-a"}, 405, "POST", []string{"TX-175"}},
		{"poll without an id", call{method: "POST", path: streams + "//poll", token: "token-a", body: `{}`}, 404, "nothing at this address", nil},
		{"poll below a poll", call{method: "POST", path: streams + "/a/b/poll", token: "token-a", body: `{}`}, 404, "nothing at this address", nil},
		{"poll, encoded", call{method: "POST", path: poll, token: "token-a", body: `{}`, header: http.Header{"Content-Encoding": {"gzip"}}}, 415, "encoded", []string{"P-128"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := new(transmitter.Memory)
			cfg := newConfig(store)
			cfg.AllowEndpoint = notEvil
			x := newTransmitter(t, cfg)
			id := create(t, x, "token-a", createBody("https://r.example/in"))
			c := test.call
			c.path, c.body = strings.ReplaceAll(c.path, "ID", id), strings.ReplaceAll(c.body, `"ID"`, `"`+id+`"`)
			generation, _ := store.Generation(t.Context())
			r := do(x, c)
			body := text(t, r)
			if r.StatusCode != test.status || !strings.Contains(body, test.says) {
				t.Errorf("%d %s, want %d with %q", r.StatusCode, body, test.status, test.says)
			}
			if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" || !json.Valid([]byte(body)) {
				t.Errorf("headers %v", r.Header)
			}
			switch challenge := r.Header.Get("WWW-Authenticate"); {
			case (r.StatusCode == 401 || r.StatusCode == 403) != (challenge != ""):
				t.Errorf("%d with WWW-Authenticate %q", r.StatusCode, challenge)
			case r.StatusCode == 401 && c.token == "" && c.header == nil && strings.Contains(challenge, "error"):
				t.Errorf("an error code without credentials: %q", challenge)
			case r.StatusCode == 403 && !strings.Contains(challenge, `error="insufficient_scope"`):
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			if (r.StatusCode == 405) != (r.Header.Get("Allow") != "") {
				t.Errorf("%d with Allow %q", r.StatusCode, r.Header.Get("Allow"))
			}
			if strings.Contains(body, "push-secret") || strings.Contains(body, "token-") {
				t.Errorf("a secret is in the answer: %s", body)
			}
			if now, _ := store.Generation(t.Context()); now != generation {
				t.Error("a refused request changed something")
			}
			if store.CountsOf(id).Subjects != 0 {
				t.Error("a refused request put a subject on a list")
			}
			if keys, _ := store.Waiting(t.Context()); len(keys) != 0 {
				t.Error("a refused request queued something")
			}
			req.Covers(t, test.covers...)
		})
	}
}

func TestForeignAndUnknownAnswerAlike(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", createBody("https://r.example/in"))
	gone := create(t, x, "token-b", `{}`)
	if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=" + gone, token: "token-b"}); r.StatusCode != 204 {
		t.Fatal(r.StatusCode)
	}
	for _, c := range []call{
		{method: "GET", path: "/t/blue/ssf/streams?stream_id=%s"},
		{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=%s"},
		{method: "GET", path: "/t/blue/ssf/status?stream_id=%s"},
		{method: "PATCH", path: "/t/blue/ssf/streams", body: `{"stream_id":"%s"}`},
		{method: "POST", path: "/t/blue/ssf/status", body: `{"stream_id":"%s","status":"paused"}`},
		{method: "PUT", path: "/t/blue/ssf/streams", body: `{"stream_id":"%s"}`},
		{method: "POST", path: "/t/blue/ssf/verify", body: `{"stream_id":"%s"}`},
		{method: "POST", path: "/t/blue/ssf/subjects/add", body: `{"stream_id":"%s","subject":{"format":"opaque","id":"x"}}`},
		{method: "POST", path: "/t/blue/ssf/subjects/remove", body: `{"stream_id":"%s","subject":{"format":"opaque","id":"x"}}`},
		{method: "POST", path: "/t/blue/ssf/streams/%s/poll", body: `{"returnImmediately":true}`},
	} {
		var answers [3]string
		for i, stream := range []string{id, "str_unknown", gone} {
			c := c
			c.token = "token-b"
			c.path, c.body = strings.ReplaceAll(c.path, "%s", stream), strings.ReplaceAll(c.body, "%s", stream)
			r := do(x, c)
			answers[i] = r.Status + text(t, r)
		}
		if answers[0] != answers[1] || answers[0] != answers[2] || !strings.HasPrefix(answers[0], "404") {
			t.Errorf("%s %s: %q", c.method, c.path, answers)
		}
	}
	req.Covers(t, "TX-37", "P-14")
}

func TestStoreTroubleIs503(t *testing.T) {
	x := newTransmitter(t, newConfig(&brokenStore{Memory: new(transmitter.Memory)}))
	r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: createBody("https://r.example/in")})
	if body := text(t, r); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || strings.Contains(body, "secret of the store") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

func TestOptionsAndHead(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	r := do(x, call{method: "OPTIONS", path: "/t/blue/ssf/streams"})
	if r.StatusCode != 204 || r.Header.Get("Allow") != "GET, POST, PATCH, PUT, DELETE" || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS: %d %v", r.StatusCode, r.Header)
	}
	if r := do(x, call{method: "HEAD", path: "/t/blue/ssf/streams"}); r.StatusCode != 401 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	if r := do(x, call{method: "HEAD", path: "/t/blue/jwks.json"}); r.StatusCode != 200 || r.ContentLength <= 0 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

// The media type of a body is not looked at (TX-41).
func TestMediaTypes(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	for _, typ := range [][]string{nil, {"application/json"}, {"application/json; charset=utf-8"}, {"text/plain"}, {""}} {
		if r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: `{}`, header: http.Header{"Content-Type": typ}}); r.StatusCode != 201 {
			t.Errorf("%q: %d", typ, r.StatusCode)
		}
	}
	req.Covers(t, "TX-41")
}
