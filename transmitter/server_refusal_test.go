package transmitter_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/transmitter"
)

// TestRefusals is the table of everything the management API says no to.
func TestRefusals(t *testing.T) {
	const streams, status, verify = "/t/blue/ssf/streams", "/t/blue/ssf/status", "/t/blue/ssf/verify"
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
		{"create without delivery", call{method: "POST", path: streams, token: "token-a", body: `{}`}, 400, "by push only", []string{"TX-60", "TX-64", "P-23"}},
		{"create with poll", call{method: "POST", path: streams, token: "token-a", body: `{"delivery":{"method":"urn:ietf:rfc:8936"}}`}, 400, "by push only", []string{"TX-64"}},
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
		{"nothing there", call{method: "GET", path: "/t/blue/ssf/subjects:add", token: "token-a"}, 404, "", []string{"TX-27"}},
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
	for _, c := range []call{
		{method: "GET", path: "/t/blue/ssf/streams?stream_id=%s"},
		{method: "DELETE", path: "/t/blue/ssf/streams?stream_id=%s"},
		{method: "GET", path: "/t/blue/ssf/status?stream_id=%s"},
		{method: "PATCH", path: "/t/blue/ssf/streams", body: `{"stream_id":"%s"}`},
		{method: "POST", path: "/t/blue/ssf/status", body: `{"stream_id":"%s","status":"paused"}`},
		{method: "POST", path: "/t/blue/ssf/verify", body: `{"stream_id":"%s"}`},
	} {
		var answers [2]string
		for i, stream := range []string{id, "str_unknown"} {
			c := c
			c.token = "token-b"
			c.path, c.body = strings.ReplaceAll(c.path, "%s", stream), strings.ReplaceAll(c.body, "%s", stream)
			r := do(x, c)
			answers[i] = r.Status + text(t, r)
		}
		if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "404") {
			t.Errorf("%s %s: %q and %q", c.method, c.path, answers[0], answers[1])
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
