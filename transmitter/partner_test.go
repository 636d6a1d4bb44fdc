package transmitter_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/transmitter"
)

// pushing makes a transmitter that pushes to a receiver on loopback.
func pushing(t *testing.T) (*transmitter.Transmitter, *ssftest.Receiver, *transmitter.Memory) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Status: 202})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	cfg.Signers = []*set.Signer{ssftest.Signer(set.RS256, "rs-1")}
	x := newTransmitter(t, cfg)
	running(t, x)
	return x, r, store
}

func claims(t testing.TB, token string) map[string]any {
	t.Helper()
	u, err := set.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(u.Payload(), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// SailPoint makes its stream here, reads status and aud out of every answer, and sends the whole configuration again
// with a new credential every two days. It never adds subjects.
func TestSailPointReceiver(t *testing.T) {
	x, r, _ := pushing(t)
	var md stream.Metadata
	decode(t, do(x, call{method: "GET", path: "/.well-known/ssf-configuration/t/blue"}), &md)
	for _, m := range md.DeliveryMethodsSupported {
		if !strings.HasPrefix(m, "urn:ietf:rfc:") { // it refuses metadata that lists others
			t.Errorf("delivery method %q", m)
		}
	}
	body := strings.TrimSuffix(createBody(r.URL), "}") + `,"description":"isc"}`
	made := do(x, call{method: "POST", path: "/t/blue/ssf/streams", token: "token-a", body: body})
	whole := text(t, made)
	var first map[string]any
	if err := json.Unmarshal([]byte(whole), &first); err != nil {
		t.Fatal(err)
	}
	if first["status"] != "enabled" || first["aud"] == nil || first["iss"] != md.Issuer || first["events_delivered"] == nil {
		t.Errorf("%s", whole)
	}
	id := first["stream_id"].(string)
	// Its refresh: everything as it was, without status, and the credential anew.
	delete(first, "status")
	first["delivery"].(map[string]any)["authorization_header"] = "Bearer renewed"
	refresh, _ := json.Marshal(first)
	answer := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams", token: "token-a", body: string(refresh)})
	if got := text(t, answer); answer.StatusCode != 200 || got != whole {
		t.Errorf("%d %s, want %s", answer.StatusCode, got, whole)
	}
	if r := do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `"}`}); r.StatusCode != 204 {
		t.Errorf("verify: %d", r.StatusCode)
	}
	mustSend(t, x, message("alice"))
	for _, push := range r.Wait(t, 2) {
		c := claims(t, push.Token)
		if push.Header.Get("Authorization") != "Bearer renewed" || c["sub_id"] == nil || c["aud"] != first["aud"] {
			t.Errorf("%s: %v", push.Header.Get("Authorization"), c)
		}
	}
	req.Covers(t, "Q-05", "Q-15", "Q-17", "Q-19", "Q-20", "TX-163")
}

// Okta has no stream API: an operator makes the stream, with the audience that Okta wants, and the subject stands in the
// event without a format of its own.
func TestOktaReceiver(t *testing.T) {
	x, r, _ := pushing(t)
	st, err := x.Establish(t.Context(), &transmitter.Stream{Name: "okta", Receiver: "okta", Shape: transmitter.ShapeOkta, Audience: []string{"https://org.okta.example"},
		Method: stream.PushMethod, Endpoint: r.URL, Requested: []string{sessionRevoked}, Algorithm: "RS256"})
	if err != nil {
		t.Fatal(err)
	}
	m := message("alice")
	m.SubID = json.RawMessage(`{"format":"complex","user":{"format":"email","email":"alice@example.com"},"device":{"format":"opaque","id":"d1"}}`)
	mustSend(t, x, m)
	push := r.Wait(t, 1)[0]
	c := claims(t, push.Token)
	e := c["events"].(map[string]any)[sessionRevoked].(map[string]any)
	subject := e["subject"].(map[string]any)
	if c["aud"] != "https://org.okta.example" || c["sub_id"] != nil || subject["format"] != nil || subject["user"].(map[string]any)["email"] != "alice@example.com" ||
		subject["device"].(map[string]any)["id"] != "d1" {
		t.Errorf("%v", c)
	}
	if reason, ok := e["reason_admin"].(map[string]any); !ok || reason["en"] == "" {
		t.Errorf("reason_admin: %v", e["reason_admin"])
	}
	if push.Header.Get("Authorization") != "" {
		t.Errorf("a credential that nobody configured: %q", push.Header.Get("Authorization"))
	}
	if header := push.Set.Header(); header.Algorithm != "RS256" || header.KeyID != "rs-1" {
		t.Errorf("%+v", header)
	}
	// The keys are served as JSON.
	if r := do(x, call{method: "GET", path: "/t/blue/jwks.json"}); r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s", r.Header.Get("Content-Type"))
	}
	// It knows no events about streams: none is sent when the stream stops and starts, and none can be.
	for _, status := range []string{transmitter.Paused, transmitter.Enabled} {
		if _, err := x.SetStatus(t.Context(), st.ID, status, "maintenance"); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Verification(t.Context(), st.ID); !errors.Is(err, transmitter.ErrInvalid) {
		t.Errorf("a verification event: %v", err)
	}
	m = message("bob")
	mustSend(t, x, m)
	c = claims(t, r.Wait(t, 2)[1].Token)
	e = c["events"].(map[string]any)[sessionRevoked].(map[string]any)
	if wrapped, _ := e["subject"].(map[string]any)["user"].(map[string]any); wrapped["email"] != "bob@example.com" || c["sub_id"] != nil {
		t.Errorf("a simple subject: %v", c)
	}
	if len(r.Pushes()) != 2 || st.Shape != transmitter.ShapeOkta {
		t.Errorf("%d pushes", len(r.Pushes()))
	}
	// Its audience never changes (TX-46): what waits is signed for it.
	again := *st
	again.Audience = []string{"https://new.okta.example"}
	if _, err := x.Establish(t.Context(), &again); !errors.Is(err, transmitter.ErrConflict) {
		t.Errorf("another audience: %v", err)
	}
	again.Audience = nil
	if now, err := x.Establish(t.Context(), &again); err != nil || now.ID != st.ID || now.Audience[0] != "https://org.okta.example" {
		t.Errorf("none said: %+v, %v", now, err)
	}
	req.Covers(t, "Q-06", "Q-31", "Q-36", "Q-42", "LEG-11", "TX-164")
}

// Google Workspace has no stream API either; its audience is a fixed one.
func TestGoogleWorkspaceReceiver(t *testing.T) {
	x, r, _ := pushing(t)
	if _, err := x.Establish(t.Context(), &transmitter.Stream{Name: "workspace", Receiver: "google", Shape: transmitter.ShapeWorkspace, Audience: []string{"https://sharedsignals.googleapis.com"},
		Method: stream.PushMethod, Endpoint: r.URL, Requested: []string{sessionRevoked}}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, x, message("alice"))
	c := claims(t, r.Wait(t, 1)[0].Token)
	inside := c["events"].(map[string]any)[sessionRevoked].(map[string]any)["subject"].(map[string]any)
	if c["aud"] != "https://sharedsignals.googleapis.com" || c["sub_id"].(map[string]any)["email"] != "alice@example.com" || inside["email"] != "alice@example.com" {
		t.Errorf("%v", c)
	}
	req.Covers(t, "Q-30", "Q-42")
}

// The client of caep.dev asks without maxEvents where it only acknowledges, throws away what such an answer holds, and
// spells members in its own way. It loses nothing.
func TestCaepDevReceiver(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	jtis := sendN(t, x, 4)
	own := `"stream_id":"` + id + `","max_events":2,` + at
	first := poll(t, x, "token-a", id, `{`+own+`}`)
	if len(first.Sets) != 4 {
		t.Fatalf("%s", first.Text)
	}
	var naive struct { // decoded as that client decodes it
		Sets map[string]string `json:"sets"`
	}
	if strings.Contains(first.Text, "moreAvailable") || json.Unmarshal([]byte(first.Text), &naive) != nil {
		t.Errorf("%s", first.Text)
	}
	thrownAway := poll(t, x, "token-a", id, `{`+own+`,`+ackOf(jtis[:2]...)+`}`)
	again := poll(t, x, "token-a", id, `{`+own+`}`)
	if len(thrownAway.Sets) != 2 || again.Text != thrownAway.Text {
		t.Errorf("%s, then %s", thrownAway.Text, again.Text)
	}
	req.Covers(t, "Q-54", "P-87", "P-88", "P-90", "TX-188")
}

// goSignals gives the id in the body and in the query, and sends an aud of its own, which is not taken over.
func TestGoSignalsReceiver(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", `{"aud":["mine"],"delivery":{"method":"urn:ietf:rfc:8936"}}`)
	for _, c := range []call{
		{method: "PATCH", path: "?stream_id=" + id, body: `{"stream_id":"` + id + `","description":"x"}`},
		{method: "PUT", path: "?stream_id=" + id, body: `{"stream_id":"` + id + `","description":"x"}`},
		{method: "GET", path: "?stream_id=" + id},
		{method: "GET"},
	} {
		c.path, c.token = "/t/blue/ssf/streams"+c.path, "token-a"
		if r := do(x, c); r.StatusCode != 200 || strings.Contains(text(t, r), "mine") {
			t.Errorf("%s %s: %d", c.method, c.path, r.StatusCode)
		}
	}
	// The query alone is not where SSF has it.
	if r := do(x, call{method: "PATCH", path: "/t/blue/ssf/streams?stream_id=" + id, token: "token-a", body: `{"description":"x"}`}); r.StatusCode != 400 {
		t.Errorf("%d", r.StatusCode)
	}
	req.Covers(t, "TX-40", "TX-46", "TX-69", "TX-76", "TX-87")
}
