package server

import (
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// What the CAEP interoperability profile asks of a transmitter, from outside, on shipped defaults.
func TestInteroperabilityProfile(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", clientMany)
	token := w.tokenOf("default", "crm")
	home := w.srv.PublicURL()
	doc := w.document(home + "/.well-known/ssf-configuration")
	for name, v := range doc {
		if address, ok := v.(string); ok && (strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_uri") || name == "issuer") && !strings.HasPrefix(address, "https://") {
			t.Errorf("%s is %s", name, address)
		}
	}
	req.Covers(t, "TX-193")

	// TLS 1.2 with forward secrecy and authenticated encryption, or 1.3 (RFC 9325).
	host := strings.TrimPrefix(home, "https://")
	dial := func(lowest, highest uint16) (tls.ConnectionState, error) {
		c, err := tls.Dial("tcp", host, &tls.Config{RootCAs: w.ca.Pool(), MinVersion: lowest, MaxVersion: highest})
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer c.Close()
		return c.ConnectionState(), nil
	}
	if _, err := dial(tls.VersionTLS10, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if s, err := dial(tls.VersionTLS12, tls.VersionTLS12); err != nil || !strings.HasPrefix(tls.CipherSuiteName(s.CipherSuite), "TLS_ECDHE_") || strings.Contains(tls.CipherSuiteName(s.CipherSuite), "_CBC_") {
		t.Errorf("TLS 1.2: %s, %v", tls.CipherSuiteName(s.CipherSuite), err)
	}
	if s, err := dial(tls.VersionTLS12, 0); err != nil || s.Version != tls.VersionTLS13 {
		t.Errorf("version %x, %v", s.Version, err)
	}
	req.Covers(t, "TX-194", "TX-195", "IOP-1", "IOP-2")

	status, body := w.ask("POST", home+"/ssf/streams", token, `{"delivery":{"method":"urn:ietf:rfc:8936"}}`)
	var made stream.Configuration
	if err := json.Unmarshal(body, &made); err != nil || status != 201 {
		t.Fatalf("create: %d %s", status, body)
	}
	if status, body := w.call("POST", "/streams/"+made.StreamID+"/each-event", nil); status != 202 {
		t.Fatalf("each-event: %d %s", status, body)
	}
	var answer struct {
		Sets map[string]string `json:"sets"`
	}
	tokens := map[string]string{}
	for ack := []string{}; ; {
		ask, _ := json.Marshal(map[string]any{"returnImmediately": true, "ack": ack})
		if status, body = w.ask("POST", made.Delivery.EndpointURL, token, string(ask)); status != 200 {
			t.Fatalf("poll: %d %s", status, body)
		}
		answer.Sets, ack = nil, []string{}
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.Sets) == 0 {
			break
		}
		for jti, compact := range answer.Sets {
			ack = append(ack, jti)
			u, err := set.Parse(compact)
			if err != nil {
				t.Fatal(err)
			}
			tokens[u.Claims().Events[0].Type] = compact
		}
	}
	_, raw := w.ask("GET", home+"/jwks.json", "", "")
	keys, err := set.ParseJWKS(raw)
	if err != nil {
		t.Fatal(err)
	}
	const caep = "https://schemas.openid.net/secevent/caep/event-type/"
	names := []string{"session-revoked", "credential-change", "device-compliance-change", "risk-level-change", "assurance-level-change",
		"token-claims-change", "session-established", "session-presented"}
	for _, name := range names {
		if !slices.Contains(made.EventsDelivered, caep+name) {
			t.Errorf("%s is not delivered", name)
		}
		got, err := set.Verify(t.Context(), tokens[caep+name], &set.Policy{Issuer: home, Audience: made.Audience, Algorithms: []set.Algorithm{set.RS256}, Keys: keys})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, k := range keys {
			if pub, ok := k.Public.(*rsa.PublicKey); k.ID == got.Header().KeyID && (!ok || pub.N.BitLen() < 2048) {
				t.Errorf("%s: key %s", name, k.ID)
			}
		}
		var payload struct {
			Subject     json.RawMessage   `json:"subject"`
			ReasonAdmin map[string]string `json:"reason_admin"`
		}
		if err := json.Unmarshal(got.Claims().Events[0].Payload, &payload); err != nil || len(payload.ReasonAdmin) == 0 {
			t.Errorf("%s: %s, %v", name, got.Claims().Events[0].Payload, err)
		}
		for _, text := range payload.ReasonAdmin {
			if text == "" {
				t.Errorf("%s: an empty reason_admin", name)
			}
		}
		if payload.Subject != nil || !strings.Contains(string(got.Claims().SubID), `"email"`) {
			t.Errorf("%s: sub_id %s, subject %s", name, got.Claims().SubID, payload.Subject)
		}
	}
	req.Covers(t, "IOP-27", "IOP-28", "IOP-30", "IOP-47", "IOP-48", "IOP-50", "IOP-51", "IOP-52", "IOP-53", "IOP-55", "IOP-58", "TX-147")
}
