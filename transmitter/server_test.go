package transmitter_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

func TestMetadata(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	for _, path := range []string{"/.well-known/ssf-configuration/t/blue", "/t/blue/.well-known/ssf-configuration"} {
		r := do(x, call{method: "GET", path: path})
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s", path, r.StatusCode, r.Header.Get("Content-Type"))
		}
		body := text(t, r)
		if strings.Contains(body, "[]") || strings.Contains(body, "null") {
			t.Errorf("empty members: %s", body)
		}
		var md stream.Metadata
		if err := json.Unmarshal([]byte(body), &md); err != nil {
			t.Fatal(err)
		}
		if md.Issuer != issuer || md.SpecVersion != "1_0" || md.JWKSURI != "https://ssf.example/t/blue/jwks.json" {
			t.Errorf("metadata: %s", body)
		}
		if !slices.Equal(md.DeliveryMethodsSupported, []string{"urn:ietf:rfc:8935"}) || md.AddSubjectEndpoint != "" || md.RemoveSubjectEndpoint != "" {
			t.Errorf("metadata promises what is not there: %s", body)
		}
		if len(md.AuthorizationSchemes) == 0 || md.Extra[settingsName] == nil {
			t.Errorf("metadata lacks schemes or receipts: %s", body)
		}
		// What the metadata names is really there.
		for _, endpoint := range []string{md.JWKSURI, md.ConfigurationEndpoint, md.StatusEndpoint, md.VerificationEndpoint} {
			r := do(x, call{method: "DELETE", path: strings.TrimPrefix(endpoint, "https://ssf.example")})
			if r.StatusCode == 404 {
				t.Errorf("%s is not served", endpoint)
			}
		}
	}
	req.Covers(t, "TX-1", "TX-2", "TX-3", "TX-4", "TX-7", "TX-8", "TX-9", "TX-10", "TX-11", "TX-19", "TX-26", "TX-27", "IOP-4", "IOP-5", "IOP-6", "IOP-26", "P-1", "P-2", "P-5", "P-6")
	if r := do(x, call{method: "POST", path: "/.well-known/ssf-configuration/t/blue"}); r.StatusCode != 405 || r.Header.Get("Allow") != "GET" {
		t.Errorf("POST: %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := do(x, call{method: "GET", path: "/.well-known/ssf-configuration"}); r.StatusCode != 404 {
		t.Errorf("metadata of another issuer: %d", r.StatusCode)
	}
	req.Covers(t, "TX-6")

	cfg := newConfig(new(transmitter.Memory))
	cfg.Receipts = nil
	plain := newTransmitter(t, cfg)
	if body := text(t, do(plain, call{method: "GET", path: "/.well-known/ssf-configuration/t/blue"})); strings.Contains(body, "receipt") {
		t.Errorf("receipts are offered though there are none: %s", body)
	}
	if r := do(plain, call{method: "POST", path: "/t/blue/ssf/receipts", token: "token-a"}); r.StatusCode != 404 {
		t.Errorf("receipt endpoint without receipts: %d", r.StatusCode)
	}
}

func TestKeys(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	r := do(x, call{method: "GET", path: "/t/blue/jwks.json"})
	if r.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("Cache-Control %q", r.Header.Get("Cache-Control"))
	}
	body := text(t, r)
	var jwks struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &jwks); err != nil {
		t.Fatal(err)
	}
	if len(jwks.Keys) != 2 {
		t.Fatalf("%d keys", len(jwks.Keys))
	}
	for _, k := range jwks.Keys {
		if k["kid"] == "" || k["use"] != "sig" || k["alg"] == "" || k["d"] != nil || k["p"] != nil || k["k"] != nil {
			t.Errorf("key %v", k)
		}
	}
	if keys, err := set.ParseJWKS([]byte(body)); err != nil || len(keys) != 2 {
		t.Errorf("ParseJWKS: %d keys, %v", len(keys), err)
	}
	req.Covers(t, "TX-28", "TX-29", "TX-31")
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*transmitter.Config){
		"http issuer":      func(c *transmitter.Config) { c.Issuer = "http://ssf.example" },
		"issuer query":     func(c *transmitter.Config) { c.Issuer = "https://ssf.example?x" },
		"issuer fragment":  func(c *transmitter.Config) { c.Issuer = "https://ssf.example#x" },
		"no signer":        func(c *transmitter.Config) { c.Signers = nil },
		"one kid twice":    func(c *transmitter.Config) { c.Signers = append(c.Signers, c.Signers[0]) },
		"no store":         func(c *transmitter.Config) { c.Store = nil },
		"nobody may call":  func(c *transmitter.Config) { c.Caller = nil },
		"no registry":      func(c *transmitter.Config) { c.Registry = nil },
		"receipts half":    func(c *transmitter.Config) { c.Receipts.Algorithms = nil },
		"receipts nothing": func(c *transmitter.Config) { c.Receipts.Actions = nil },
	} {
		cfg := newConfig(new(transmitter.Memory))
		spoil(&cfg)
		if _, err := transmitter.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	req.Covers(t, "TX-7", "TX-29")
}

func TestStreamLife(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.MinVerification = 10 * time.Second
	x := newTransmitter(t, cfg)
	const streams = "/t/blue/ssf/streams"

	if body := text(t, do(x, call{method: "GET", path: streams, token: "token-a"})); body != "[]" {
		t.Fatalf("no streams: %s", body)
	}
	req.Covers(t, "TX-74", "P-10")

	r := do(x, call{method: "POST", path: streams, token: "token-a", body: `{"events_requested":["` + sessionRevoked + `","urn:example:unknown"],
		"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in","authorization_header":"Bearer push-secret"},
		"description":"` + strings.Repeat("ä", 600) + `","stream_id":"mine","iss":"https://evil.example","future_member":{"x":1}}`})
	if r.StatusCode != 201 || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("create: %d, %q", r.StatusCode, r.Header.Get("Cache-Control"))
	}
	body := text(t, r)
	var c stream.Configuration
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(body, "push-secret") || strings.Contains(body, "null") {
		t.Errorf("the secret or null is echoed: %s", body)
	}
	req.Covers(t, "TX-71", "TX-42", "P-12", "P-18")
	if c.StreamID == "mine" || c.StreamID == "" || strings.Trim(c.StreamID, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "" {
		t.Errorf("stream_id %q", c.StreamID)
	}
	if c.Issuer != issuer || len(c.Audience) != 1 || !strings.Contains(c.Audience[0], c.StreamID) {
		t.Errorf("iss %q aud %q", c.Issuer, c.Audience)
	}
	req.Covers(t, "TX-44", "TX-45", "TX-46", "TX-58", "TX-69", "P-25")
	if !slices.Equal(c.EventsDelivered, []string{sessionRevoked}) || len(c.EventsRequested) != 2 || !slices.Contains(c.EventsSupported, credentialChange) {
		t.Errorf("events: %v of %v and %v", c.EventsDelivered, c.EventsRequested, c.EventsSupported)
	}
	req.Covers(t, "TX-47", "TX-48", "TX-49", "P-21")
	if c.Delivery == nil || c.Delivery.EndpointURL != "https://r.example/in" || c.MinVerificationInterval != 10 || len([]rune(c.Description)) != 512 {
		t.Errorf("configuration: %s", body)
	}
	req.Covers(t, "TX-50", "TX-51", "TX-52", "TX-63", "IOP-14")

	read := text(t, do(x, call{method: "GET", path: streams + "?stream_id=" + c.StreamID, token: "read-a"}))
	if read != body {
		t.Errorf("read differs:\n%s\n%s", read, body)
	}
	list := text(t, do(x, call{method: "GET", path: streams, token: "token-a"}))
	if list != "["+body+"]" {
		t.Errorf("list differs: %s", list)
	}
	req.Covers(t, "TX-72", "TX-73")

	second := create(t, x, "token-a", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in"}}`)
	if second == c.StreamID {
		t.Error("the second stream has the id of the first")
	}
	st, err := store.Stream(t.Context(), "a", second)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Delivered) < 20 || st.Requested != nil || st.Authorization != "" {
		t.Errorf("without events_requested: %d delivered", len(st.Delivered))
	}
	req.Covers(t, "TX-57", "TX-59", "TX-65", "P-22")

	create(t, x, "token-b", createBody("https://b.example/in"))
	r = do(x, call{method: "POST", path: streams, token: "token-b", body: createBody("https://b.example/in")})
	if r.StatusCode != 409 {
		t.Errorf("second stream where one is allowed: %d", r.StatusCode)
	}
	req.Covers(t, "TX-66", "TX-67", "TX-68", "P-11")

	r = do(x, call{method: "DELETE", path: streams + "?stream_id=" + c.StreamID, token: "token-a"})
	if r.StatusCode != 204 || text(t, r) != "" {
		t.Errorf("delete: %d", r.StatusCode)
	}
	for _, again := range []call{
		{method: "GET", path: streams + "?stream_id=" + c.StreamID, token: "token-a"},
		{method: "DELETE", path: streams + "?stream_id=" + c.StreamID, token: "token-a"},
		{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + c.StreamID + `"}`},
	} {
		if r := do(x, again); r.StatusCode != 404 {
			t.Errorf("%s %s after delete: %d", again.method, again.path, r.StatusCode)
		}
	}
	req.Covers(t, "TX-93", "TX-94", "TX-95", "IOP-19")
}

func TestUpdate(t *testing.T) {
	const streams = "/t/blue/ssf/streams"
	theirs := `"` + settingsName + `":{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/jwks","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}`
	fresh := func(t *testing.T) (*transmitter.Transmitter, *transmitter.Memory, string) {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		body := strings.TrimSuffix(createBody("https://r.example/in"), "}") + `,"description":"first",` + theirs + `}`
		return x, store, create(t, x, "token-a", body)
	}
	stored := func(t *testing.T, store *transmitter.Memory, id string) *transmitter.Stream {
		st, err := store.Stream(t.Context(), "a", id)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}

	t.Run("PATCH changes what is there and nothing else", func(t *testing.T) {
		x, store, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","events_requested":["` + credentialChange + `"]}`})
		if r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, text(t, r))
		}
		var c stream.Configuration
		decode(t, r, &c)
		st := stored(t, store, id)
		if !slices.Equal(c.EventsDelivered, []string{credentialChange}) || c.Description != "first" || c.Delivery == nil || c.Extra[settingsName] == nil {
			t.Errorf("answer: %+v", c)
		}
		if st.Authorization != "Bearer push-secret" || st.ReceiptIssuer != "https://r.example" || st.Endpoint != "https://r.example/in" {
			t.Errorf("kept: %+v", st)
		}
		req.Covers(t, "TX-76", "TX-77", "TX-78", "TX-81", "TX-82")
	})
	t.Run("PATCH of delivery replaces all of it", func(t *testing.T) {
		x, store, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/new"}}`})
		st := stored(t, store, id)
		if r.StatusCode != 200 || st.Endpoint != "https://r.example/new" || st.Authorization != "" {
			t.Errorf("%d %+v", r.StatusCode, st)
		}
		req.Covers(t, "TX-84", "P-15")
	})
	t.Run("PATCH of receipts replaces the object", func(t *testing.T) {
		x, store, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","` + settingsName + `":{"receipt_issuer":"https://other.example",
			"receipt_jwks_uri":"https://r.example/jwks","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"},{"action":"disable_account"},{"action":"sync_resource"}]}}`})
		body := text(t, r)
		if r.StatusCode != 200 || !strings.Contains(body, `"actions_supported":["revoke_sessions","disable_account"]`) {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		if st := stored(t, store, id); st.ReceiptIssuer != "https://other.example" || st.Authorization == "" {
			t.Errorf("%+v", st)
		}
		req.Covers(t, "AR-§3.2")
	})
	t.Run("PUT deletes what is missing", func(t *testing.T) {
		x, store, id := fresh(t)
		if r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"paused"}`}); r.StatusCode != 200 {
			t.Fatal(r.StatusCode)
		}
		r := do(x, call{method: "PUT", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in"}}`})
		body := text(t, r)
		st := stored(t, store, id)
		if r.StatusCode != 200 || st.Description != "" || st.Requested != nil || st.Receipts != nil || st.ReceiptIssuer != "" || st.Authorization != "" || strings.Contains(body, "receipt") {
			t.Errorf("%d %s %+v", r.StatusCode, body, st)
		}
		if st.Status != transmitter.Paused {
			t.Errorf("PUT changed the status to %s", st.Status)
		}
		req.Covers(t, "TX-87", "TX-88", "TX-90", "TX-92", "P-16", "P-30")
	})
	t.Run("what was read may be sent back", func(t *testing.T) {
		x, _, id := fresh(t)
		body := text(t, do(x, call{method: "GET", path: streams + "?stream_id=" + id, token: "token-a"}))
		for _, method := range []string{"PATCH", "PUT"} {
			if r := do(x, call{method: method, path: streams, token: "token-a", body: body}); r.StatusCode != 200 {
				t.Errorf("%s: %d %s", method, r.StatusCode, text(t, r))
			}
		}
		req.Covers(t, "TX-79", "TX-80", "TX-85", "TX-89", "P-17")
	})
	for name, member := range map[string]string{
		"iss":                       `"iss":"https://ssf.example/t/blue"`,
		"aud":                       `"aud":"https://evil.example"`,
		"events_supported":          `"events_supported":["urn:example:x"]`,
		"events_delivered":          `"events_delivered":["` + credentialChange + `"],"events_requested":["` + credentialChange + `"]`,
		"min_verification_interval": `"min_verification_interval":1`,
		"inactivity_timeout":        `"inactivity_timeout":1`,
		"null":                      `"description":null`,
		"wrong type":                `"description":1`,
		"poll":                      `"delivery":{"method":"urn:ietf:rfc:8936"}`,
		"bad receipts":              `"` + settingsName + `":{"receipt_issuer":"https://r.example"}`,
	} {
		t.Run("400 for "+name, func(t *testing.T) {
			x, store, id := fresh(t)
			before := stored(t, store, id)
			r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `",` + member + `}`})
			if r.StatusCode != 400 || r.Header.Get("Content-Language") == "" {
				t.Errorf("%d %s", r.StatusCode, text(t, r))
			}
			if after := stored(t, store, id); after.Generation != before.Generation {
				t.Error("something was changed")
			}
			req.Covers(t, "TX-79", "TX-84")
		})
	}
	t.Run("PUT without delivery", func(t *testing.T) {
		x, _, id := fresh(t)
		if r := do(x, call{method: "PUT", path: streams, token: "token-a", body: `{"stream_id":"` + id + `"}`}); r.StatusCode != 400 {
			t.Errorf("%d", r.StatusCode)
		}
		req.Covers(t, "TX-91")
	})
	t.Run("events_requested empty", func(t *testing.T) {
		x, _, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","events_requested":[]}`})
		if body := text(t, r); r.StatusCode != 200 || !strings.Contains(body, `"events_delivered":[]`) {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		req.Covers(t, "TX-83")
	})
}

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

func TestStatus(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", createBody("https://r.example/in"))
	set := func(body string) string {
		r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: body})
		if r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, text(t, r))
		}
		return text(t, r)
	}
	get := func() string {
		return text(t, do(x, call{method: "GET", path: "/t/blue/ssf/status?stream_id=" + id, token: "read-a"}))
	}
	if got := get(); got != `{"stream_id":"`+id+`","status":"enabled"}` {
		t.Errorf("%s", got)
	}
	if got := set(`{"stream_id":"` + id + `","status":"paused","reason":"upgrade"}`); got != `{"stream_id":"`+id+`","status":"paused","reason":"upgrade"}` || got != get() {
		t.Errorf("%s and %s", got, get())
	}
	req.Covers(t, "TX-97", "TX-98", "TX-100", "IOP-8", "IOP-9", "IOP-17", "P-35")

	st, _ := store.Stream(t.Context(), "a", id)
	mustSend(t, x, message("alice"))
	if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 1 {
		t.Errorf("paused: %d rows are held", len(items))
	}
	req.Covers(t, "TX-104", "P-33")
	set(`{"stream_id":"` + id + `","status":"disabled"}`)
	if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 0 {
		t.Errorf("disabled: %d rows are held", len(items))
	}
	if sent := mustSend(t, x, message("alice")); len(sent.Queued) != 0 {
		t.Error("something was queued on a disabled stream")
	}
	r := do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `"}`})
	if r.StatusCode != 400 {
		t.Errorf("verification of a disabled stream: %d", r.StatusCode)
	}
	req.Covers(t, "TX-106", "TX-133")
	set(`{"stream_id":"` + id + `","status":"enabled"}`)
	req.Covers(t, "P-31")
}

func TestVerificationInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.MinVerification = 30 * time.Second
		x := newTransmitter(t, cfg)
		id, other := create(t, x, "token-a", createBody("https://r.example/in")), create(t, x, "token-a", createBody("https://r.example/in"))
		verify := func(id string) *http.Response {
			return do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `","state":"VGhpcyBpcyBhbiBleGFtcGxl"}`})
		}
		if r := verify(id); r.StatusCode != 204 || text(t, r) != "" {
			t.Fatalf("first: %d", r.StatusCode)
		}
		time.Sleep(20 * time.Second)
		if r := verify(id); r.StatusCode != 429 || r.Header.Get("Retry-After") != "10" {
			t.Errorf("too soon: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
		}
		if r := verify(other); r.StatusCode != 204 {
			t.Errorf("another stream: %d", r.StatusCode)
		}
		time.Sleep(10 * time.Second)
		if r := verify(id); r.StatusCode != 204 {
			t.Errorf("after the interval: %d", r.StatusCode)
		}
		st, _ := store.Stream(t.Context(), "a", id)
		if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 2 {
			t.Errorf("%d verification events wait", len(items))
		}
		req.Covers(t, "TX-51", "TX-123", "TX-125", "TX-131", "P-72")
	})
}

func TestReceiptsAreNegotiated(t *testing.T) {
	for _, test := range []struct{ name, theirs, status string }{
		{"active", `{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/j","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions","evidence":"verified"},{"action":"sync_resource"}]}`, "active"},
		{"nothing in common", `{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/j","receipt_delivery":"push","capabilities":[{"action":"sync_resource"}]}`, "declined"},
		{"by stream", `{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/j","receipt_delivery":"stream","capabilities":[{"action":"revoke_sessions"}]}`, "declined"},
	} {
		store := new(transmitter.Memory)
		x := newTransmitter(t, newConfig(store))
		body := strings.TrimSuffix(createBody("https://r.example/in"), "}") + `,"` + settingsName + `":` + test.theirs + `}`
		id := create(t, x, "token-a", body)
		var c stream.Configuration
		decode(t, do(x, call{method: "GET", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a"}), &c)
		var answer map[string]any
		if err := json.Unmarshal(c.Extra[settingsName], &answer); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if answer["status"] != test.status || answer["receipt_issuer"] != "https://r.example" {
			t.Errorf("%s: %v", test.name, answer)
		}
		st, _ := store.Stream(t.Context(), "a", id)
		if active := test.status == "active"; active != (st.ReceiptIssuer != "") {
			t.Errorf("%s: receipt issuer %q", test.name, st.ReceiptIssuer)
		} else if active && (answer["receipt_audience"] != issuer || answer["action_receipt_endpoint"] != "https://ssf.example/t/blue/ssf/receipts") {
			t.Errorf("%s: %v", test.name, answer)
		}
	}
	// A receiver that says nothing hears nothing.
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: createBody("https://r.example/in")})
	if body := text(t, r); strings.Contains(body, "receipt") {
		t.Errorf("an echo nobody asked for: %s", body)
	}
	req.Covers(t, "AR-§3.1", "AR-§3.2", "AR-§3.3")
}

func TestStoreTroubleIs503(t *testing.T) {
	x := newTransmitter(t, newConfig(&brokenStore{Memory: new(transmitter.Memory)}))
	r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: createBody("https://r.example/in")})
	if body := text(t, r); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || strings.Contains(body, "secret of the store") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
}

func TestDefaultSignerIsByStream(t *testing.T) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Caller = transmitter.StaticBearer(map[string]transmitter.Caller{"ed": {Receiver: "ed", Algorithm: "EdDSA"}, "ps": {Receiver: "ps", Algorithm: "PS256"}})
	x := newTransmitter(t, cfg)
	id := create(t, x, "ed", createBody("https://r.example/in"))
	mustSend(t, x, message("alice"))
	st, _ := store.Stream(t.Context(), "ed", id)
	items, _ := store.Next(t.Context(), st.Key, 0, 1)
	if len(items) != 1 || items[0].KeyID != "ed-1" || items[0].Algorithm != "EdDSA" {
		t.Errorf("%+v", items)
	}
	if r := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "ps", body: createBody("https://r.example/in")}); r.StatusCode != 503 {
		t.Errorf("an algorithm without a key: %d", r.StatusCode)
	}
}
