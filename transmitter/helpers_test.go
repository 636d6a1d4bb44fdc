package transmitter_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

const (
	sessionRevoked   = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	credentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	settingsName     = "https://ns.countersign.example/ar/1/action-receipts"
	issuer           = "https://ssf.example/t/blue/"
)

func registry() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary())
}

// receiptsOffer is what a transmitter of the tests offers.
func receiptsOffer() *receipt.Settings {
	return &receipt.Settings{
		DirectiveEvents: []string{sessionRevoked, credentialChange},
		Actions:         []string{"revoke_sessions", "disable_account"},
		Algorithms:      []string{"RS256", "ES256", "EdDSA"},
	}
}

func callers() func(*http.Request) (transmitter.Caller, error) {
	return transmitter.StaticBearer(map[string]transmitter.Caller{
		"token-a": {Receiver: "a"},
		"token-b": {Receiver: "b", OneStream: true, Events: []string{sessionRevoked}, Audience: []string{"https://b.example"}},
		"read-a":  {Receiver: "a", Scopes: []string{transmitter.ScopeRead}},
		"rcpt-a":  {Receiver: "a", Scopes: []string{transmitter.ScopeManageReceipts}},
	})
}

func newConfig(store transmitter.Store) transmitter.Config {
	return transmitter.Config{
		Issuer: issuer, Signers: []*set.Signer{ssftest.Signer(set.ES256, "es-1"), ssftest.Signer(set.EdDSA, "ed-1")},
		Registry: registry(), Store: store, Caller: callers(), Receipts: receiptsOffer(),
	}
}

func newTransmitter(t testing.TB, cfg transmitter.Config) *transmitter.Transmitter {
	t.Helper()
	x, err := transmitter.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// running starts Run and returns what stops it and waits for it.
func running(t testing.TB, x *transmitter.Transmitter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

type call struct {
	method, path, token, body string
	header                    http.Header
}

func do(h http.Handler, c call) *http.Response {
	r := httptest.NewRequest(c.method, "https://ssf.example"+c.path, strings.NewReader(c.body))
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, v := range c.header {
		r.Header[name] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(b.String(), "\r\n\r\n")
	return body
}

func decode(t testing.TB, r *http.Response, v any) {
	t.Helper()
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// createBody asks for a push stream to an endpoint.
func createBody(endpoint string) string {
	return `{"events_requested":["` + sessionRevoked + `"],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"` + endpoint + `","authorization_header":"Bearer push-secret"}}`
}

// create makes a stream over the API and gives its id.
func create(t testing.TB, h http.Handler, token, body string) string {
	t.Helper()
	r := do(h, call{method: "POST", path: "/t/blue/ssf/streams", token: token, body: body})
	if r.StatusCode != 201 {
		t.Fatalf("create: %d %s", r.StatusCode, text(t, r))
	}
	var cfg struct {
		ID string `json:"stream_id"`
	}
	decode(t, r, &cfg)
	return cfg.ID
}

// putStream keeps a stream without the API.
func putStream(t testing.TB, s transmitter.Store, id, endpoint string) *transmitter.Stream {
	t.Helper()
	st := &transmitter.Stream{ID: id, Receiver: "a", Audience: []string{"https://" + id + ".example"}, Delivered: []string{sessionRevoked, credentialChange},
		Method: "urn:ietf:rfc:8935", Endpoint: endpoint, Status: transmitter.Enabled}
	if err := s.CreateStream(t.Context(), st, 0); err != nil {
		t.Fatal(err)
	}
	return st
}

func message(subject string) transmitter.Message {
	return transmitter.Message{Type: sessionRevoked, SubID: json.RawMessage(`{"format":"email","email":"` + subject + `@example.com"}`),
		Payload: json.RawMessage(`{"event_timestamp": 1700000000, "reason_admin": {"en": "test"}}`)}
}

func mustSend(t testing.TB, x *transmitter.Transmitter, m transmitter.Message) *transmitter.Sent {
	t.Helper()
	sent, err := x.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
