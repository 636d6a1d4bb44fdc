package transmitter_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/transmitter"
)

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
	if list := text(t, do(x, call{method: "GET", path: streams, token: "token-b"})); strings.Contains(list, second) || strings.Contains(list, "r.example") || strings.Count(list, `"stream_id"`) != 1 {
		t.Errorf("one address for all receivers, and this one sees %s", list)
	}
	req.Covers(t, "TX-34")
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
	req.Covers(t, "TX-93", "TX-94", "IOP-19")
}

func TestUpdate(t *testing.T) {
	const streams = "/t/blue/ssf/streams"
	theirs := `"` + settingsName + `":{"receipt_issuer":"https://r.example","receipt_jwks_uri":"https://r.example/jwks","receipt_delivery":"push","capabilities":[{"action":"revoke_sessions"}]}`
	fresh := func(t *testing.T) (*transmitter.Transmitter, *transmitter.Memory, string) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.AllowEndpoint, cfg.MinVerification = notEvil, 10*time.Second
		x := newTransmitter(t, cfg)
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
		"iss":                        `"iss":"https://ssf.example/t/blue"`,
		"aud":                        `"aud":"https://evil.example"`,
		"events_supported":           `"events_supported":["urn:example:x"]`,
		"events_delivered":           `"events_delivered":["` + credentialChange + `"],"events_requested":["` + credentialChange + `"]`,
		"min_verification_interval":  `"min_verification_interval":1`,
		"inactivity_timeout":         `"inactivity_timeout":1`,
		"null":                       `"description":null`,
		"wrong type":                 `"description":1`,
		"inactivity_timeout as text": `"inactivity_timeout":"1"`,
		"another poll address":       `"delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":"https://r.example/in"}`,
		"empty iss":                  `"iss":""`,
		"empty aud":                  `"aud":[]`,
		"push without address":       `"delivery":{"method":"urn:ietf:rfc:8935"}`,
		"delivery without method":    `"delivery":{"endpoint_url":"https://r.example/in"}`,
		"delivery null":              `"delivery":null`,
		"address null":               `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in","authorization_header":null}`,
		"an older method":            `"delivery":{"method":"https://schemas.openid.net/secevent/risc/delivery-method/push","endpoint_url":"https://r.example/in"}`,
		"a private address":          `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://evil.example/in"}`,
		"wide digits in the host":    `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://１27.0.0.1/in"}`,
		"a dot that is none":         `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://127。0。0。1/in"}`,
		"letters that look alike":    `"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.exаmple/in"}`,
		"a null that is not known":   `"future":null`,
		"bad receipts":               `"` + settingsName + `":{"receipt_issuer":"https://r.example"}`,
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
	t.Run("a polled stream is read, changed and written back", func(t *testing.T) {
		x, store, _ := fresh(t)
		id := create(t, x, "token-a", `{"description":"polled"}`)
		address := "https://ssf.example/t/blue/ssf/streams/" + id + "/poll"
		whole := text(t, do(x, call{method: "GET", path: streams + "?stream_id=" + id, token: "token-a"}))
		changed := strings.Replace(whole, `"description":"polled"`, `"description":"changed"`, 1)
		for _, c := range []call{
			{method: "PATCH", body: changed},
			{method: "PUT", body: changed},
			{method: "PATCH", body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8936"}}`},
			{method: "PATCH", body: `{"stream_id":"` + id + `","description":"changed"}`},
			{method: "PUT", body: `{"stream_id":"` + id + `","description":"changed","delivery":{"method":"urn:ietf:rfc:8936"}}`},
			{method: "PUT", body: `{"stream_id":"` + id + `","description":"changed"}`},
		} {
			c.path, c.token = streams, "token-a"
			r := do(x, c)
			var answer, again stream.Configuration
			decode(t, r, &answer)
			decode(t, do(x, call{method: "GET", path: streams + "?stream_id=" + id, token: "token-a"}), &again)
			for _, cfg := range []stream.Configuration{answer, again} {
				if r.StatusCode != 200 || cfg.Description != "changed" || cfg.Delivery == nil || cfg.Delivery.EndpointURL != address || cfg.Delivery.Method != stream.PollMethod {
					t.Errorf("%s %s: %d %+v", c.method, c.body, r.StatusCode, cfg.Delivery)
				}
			}
		}
		if st := stored(t, store, id); st.Method != stream.PollMethod {
			t.Errorf("%+v", st)
		}
		req.Covers(t, "TX-62", "TX-85", "TX-86", "TX-89", "IOP-14")
	})
	t.Run("the header is changed alone", func(t *testing.T) {
		x, store, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://r.example/in","authorization_header":"Bearer ` + strings.Repeat("x", 6000) + `"},"status":"paused"}`})
		body := text(t, r)
		if st := stored(t, store, id); r.StatusCode != 200 || len(st.Authorization) != 6007 || st.Status != transmitter.Enabled {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		if !strings.Contains(body, `"status":"enabled"`) || !strings.Contains(body, `"aud":`) || strings.Contains(body, "xxx") {
			t.Errorf("%s", body)
		}
		req.Covers(t, "TX-71")
	})
	t.Run("events_requested empty", func(t *testing.T) {
		x, _, id := fresh(t)
		r := do(x, call{method: "PATCH", path: streams, token: "token-a", body: `{"stream_id":"` + id + `","events_requested":[]}`})
		if body := text(t, r); r.StatusCode != 200 || !strings.Contains(body, `"events_delivered":[]`) {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		req.Covers(t, "TX-49", "TX-83")
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

// A credential and an address that were changed are used by the very next try, also of SETs that wait already.
func TestChangedDeliveryIsUsedAtOnce(t *testing.T) {
	old, next := ssftest.NewReceiver(t), ssftest.NewReceiver(t)
	old.Always(ssftest.Answer{Status: 401})
	next.Always(ssftest.Answer{Status: 202})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = byHost{old.URL: old.Transport(), next.URL: next.Transport()}
	x := newTransmitter(t, cfg)
	running(t, x)
	id := create(t, x, "token-a", createBody(old.URL))
	sendN(t, x, 3)
	old.Wait(t, 1)
	old.Always(ssftest.Answer{Status: 503})
	patch := func(to, header string) {
		if r := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a",
			body: `{"stream_id":"` + id + `","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"` + to + `","authorization_header":"` + header + `"}}`}); r.StatusCode != 200 {
			t.Fatal(r.StatusCode)
		}
	}
	patch(old.URL, "Bearer second")
	eventually(t, "the new credential", func() bool {
		pushes := old.Pushes()
		return pushes[len(pushes)-1].Header.Get("Authorization") == "Bearer second"
	})
	patch(next.URL, "Bearer third")
	for _, push := range next.Wait(t, 3) {
		if push.Header.Get("Authorization") != "Bearer third" {
			t.Errorf("%q", push.Header.Get("Authorization"))
		}
	}
	req.Covers(t, "TX-71", "TX-163")
}
