//go:build interop

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/stage"
	"countersign/stream"
)

// TestKeycloak runs a hub against a real Keycloak, as its guide says: push first, then poll, then the older nested form.
// Each time the stream is made from our side, a person signs out, an administrator signs the person out, and a password is
// changed; what comes is correlated and acted on at the wiki. make interop runs it.
func TestKeycloak(t *testing.T) {
	s := newKeycloakStage(t)
	t.Run("push", func(t *testing.T) { s.play(t, "push") })
	t.Run("poll", func(t *testing.T) { s.play(t, "poll") })
	t.Run("nested", s.nested)
}

// keycloakStage is a Keycloak with two people, a wiki where both are signed in, and a hub between them.
type keycloakStage struct {
	kc     *keycloak
	wiki   *stage.Site
	hub    *stage.Hub
	dir    string
	public string // the hub's address for others
	alice  string // her id at Keycloak
	heard  int    // signals so far
}

func newKeycloakStage(t *testing.T) *keycloakStage {
	t.Helper()
	s := &keycloakStage{dir: t.TempDir()}
	ca, err := stage.NewCA("Countersign interop, for this run only")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf("wiki")
	if err != nil {
		t.Fatal(err)
	}
	person := func(name string) stage.Person {
		return stage.Person{ID: "u-" + name, Email: name + "@example.test", Password: "wiki-" + name}
	}
	s.wiki = stage.NewSite("wiki", stage.Wiki, person("alice"), person("bob"))
	if err := s.wiki.Start(&cert); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.wiki.Close)
	s.kc = startKeycloak(t, ca, s.dir)
	s.startHub(t, ca)

	s.kc.admin("POST", "", map[string]any{"realm": s.kc.realm, "enabled": true, "attributes": map[string]string{"ssf.transmitterEnabled": "true"}}, nil)
	s.alice = s.kc.person("alice")
	s.kc.person("bob")
	s.kc.admin("POST", "/"+s.kc.realm+"/clients", map[string]any{"clientId": "portal", "secret": "portal-secret", "publicClient": false, "directAccessGrantsEnabled": true}, nil)
	s.kc.receiver("countersign-push", map[string]string{"ssf.validPushUrls": s.public + "/receive/*"})
	s.kc.receiver("countersign-poll", map[string]string{"ssf.allowedDeliveryMethods": "poll"})
	s.kc.receiver("countersign-nested", map[string]string{"ssf.validPushUrls": s.public + "/receive/*", "ssf.profile": "SSE_CAEP", "ssf.userSubjectFormat": "email"})

	s.apply(t, "people.yaml", fmt.Sprintf(`apiVersion: countersign/v1
kind: identity
name: alice
emails: [alice@example.test]
accounts: [{at: keycloak, id: %q}]
---
kind: identity
name: bob
emails: [bob@example.test]
---
kind: app
name: wiki
pack: http-sessions
settings: {url: %q}
secrets: {token: {env: COUNTERSIGN_SECRET_WIKI}}
accounts: {match: email}
---
kind: policy
name: password
on: [caep/credential-change]
then: [{action: revoke_sessions, scope: app, at: all}]
`, s.alice, s.wiki.URL()))
	return s
}

func (s *keycloakStage) startHub(t *testing.T, ca *stage.CA) {
	t.Helper()
	port, admin := freePort(t), freePort(t)
	at := func(name string) string { return filepath.Join(s.dir, name) }
	if err := ca.WriteLeaf("hub", at("hub.crt"), at("hub.key")); err != nil {
		t.Fatal(err)
	}
	s.public = fmt.Sprintf("https://localhost:%d", port)
	config := fmt.Sprintf("public_url: %s\nlisten: 127.0.0.1:%d\nadmin_listen: 127.0.0.1:%d\ntls: {cert: %q, key: %q}\nca_file: %q\ndata: %q\negress: {allow: [127.0.0.0/8, \"::1/128\"]}\n",
		s.public, port, admin, at("hub.crt"), at("hub.key"), at("ca.crt"), at("data"))
	if err := os.WriteFile(at("hub.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.hub = &stage.Hub{Exe: program(t), Dir: at("data"), Admin: fmt.Sprintf("http://127.0.0.1:%d", admin), Roots: ca.Pool(), Args: []string{"--config", at("hub.yaml")},
		Env: []string{"COUNTERSIGN_SECRET_WIKI=" + s.wiki.AdminToken(), "COUNTERSIGN_SECRET_PUSH=Bearer of-this-hub-0123456789",
			"COUNTERSIGN_SECRET_KC_PUSH=rx-secret-countersign-push", "COUNTERSIGN_SECRET_KC_POLL=rx-secret-countersign-poll", "COUNTERSIGN_SECRET_KC_NESTED=rx-secret-countersign-nested"}}
	if err := s.hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.hub.Stop()
		if t.Failed() {
			t.Logf("the hub's log:\n%s", s.hub.Tail(6000))
		}
	})
}

// run is one command of the binary, as an operator types it.
func (s *keycloakStage) run(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := s.hub.Run(ctx, append(args, "--data", s.hub.Dir)...)
	if err != nil {
		t.Fatalf("countersign %v", err)
	}
	return out
}

func (s *keycloakStage) apply(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(t, "apply", "-f", file)
}

// source is what the guide says to apply.
func (s *keycloakStage) source(name, delivery string) string {
	push := "push_auth: {authorization_header: {env: COUNTERSIGN_SECRET_PUSH}}\n"
	if delivery == "poll" {
		push = ""
	}
	if name == "nested" {
		push += "relax: [Q-30, Q-31]\n"
	}
	return fmt.Sprintf(`apiVersion: countersign/v1
kind: source
name: keycloak
type: ssf
profile: keycloak
issuer: %s/realms/%s
delivery: %s
stream: create
events: [caep/session-revoked, caep/credential-change]
auth: {method: client_secret_basic, client_id: countersign-%s, client_secret: {env: COUNTERSIGN_SECRET_KC_%s}, token_endpoint: "%s/realms/%s/protocol/openid-connect/token"}
%s`, s.kc.base, s.kc.realm, delivery, name, strings.ToUpper(name), s.kc.base, s.kc.realm, push)
}

// sourceState is what source show says.
type sourceState struct {
	State struct {
		ReceiveURL string `json:"receive_url"`
		Receipts   string `json:"receipts"`
		Problem    string `json:"problem"`
		Stream     struct {
			Status   string          `json:"status"`
			StreamID string          `json:"stream_id"`
			Audience []string        `json:"audience"`
			Verified json.RawMessage `json:"verified_at"`
		} `json:"stream_state"`
	} `json:"state"`
}

func (s *keycloakStage) show(t *testing.T) (v sourceState) {
	t.Helper()
	if err := json.Unmarshal(s.run(t, "source", "show", "keycloak", "--json"), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// await waits for what happens at another process; the time limit is far above what was ever seen.
func await(t *testing.T, what string, done func() bool, seen func() any) {
	t.Helper()
	deadline, tick := time.Now().Add(40*time.Second), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not seen in %s: %s: %s", time.Since(begun).Round(time.Second), what, mustJSON(seen()))
		}
	}
}

func mustJSON(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	raw, _ := json.Marshal(v)
	return string(raw)
}

// ok is one named check that held.
func ok(name string, args ...any) { fmt.Printf("ok   "+name+"\n", args...) }

// heard is a signal with what was made of it.
type heard struct {
	hub.Signal
	Actions  []hub.Action      `json:"actions"`
	Receipts []json.RawMessage `json:"receipts"`
	raw      []byte
}

func (s *keycloakStage) signals(t *testing.T) (list []heard) {
	t.Helper()
	for line := range strings.Lines(string(s.run(t, "signal", "list", "--json", "--limit", "0", "--source", "keycloak"))) {
		var h heard
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		list = append(list, h)
	}
	return list
}

// next waits for one more signal, done with, and gives its story.
func (s *keycloakStage) next(t *testing.T) (h heard) {
	t.Helper()
	s.heard++
	var list []heard
	await(t, fmt.Sprintf("signal %d", s.heard), func() bool {
		list = s.signals(t)
		return len(list) == s.heard && list[0].State == hub.SignalDone
	}, func() any { return list })
	h.raw = s.run(t, "signal", "show", list[0].ID, "--json")
	if err := json.Unmarshal(h.raw, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

const (
	withFallback    = "apiVersion: countersign/v1\nkind: policy\nname: signed-out\non: [caep/session-revoked]\nthen: [{action: revoke_sessions, scope: session, fallback: app, at: all}]\n"
	withoutFallback = "apiVersion: countersign/v1\nkind: policy\nname: signed-out\non: [caep/session-revoked]\nthen: [{action: revoke_sessions, scope: session, at: all}]\n"
)

// signedIn gives alice two sessions at the wiki and bob one, and takes away what was there.
func (s *keycloakStage) signedIn() {
	for s.wiki.Live("u-alice") < 2 {
		s.wiki.SignInAs("u-alice")
	}
	if s.wiki.Live("u-bob") == 0 {
		s.wiki.SignInAs("u-bob")
	}
}

// ended fails unless alice is signed out at the wiki, and bob is not.
func (s *keycloakStage) ended(t *testing.T, h heard) {
	t.Helper()
	if a, b := s.wiki.Live("u-alice"), s.wiki.Live("u-bob"); a != 0 || b != 1 {
		t.Fatalf("alice has %d sessions at the wiki, bob has %d: %s", a, b, h.raw)
	}
	if h.IdentityName != "alice" || len(h.Actions) != 1 || h.Actions[0].State != hub.Succeeded {
		t.Fatalf("the story: %s", h.raw)
	}
}

// connect applies the source and waits for the stream and its verification.
func (s *keycloakStage) connect(t *testing.T, name, delivery string) sourceState {
	t.Helper()
	s.apply(t, "source-"+name+".yaml", s.source(name, delivery))
	var v sourceState
	await(t, "a stream for "+name, func() bool { v = s.show(t); return v.State.Stream.Status == "made" }, func() any { return v })
	var there struct {
		StreamID string                  `json:"streamId"`
		Delivery struct{ Method string } `json:"delivery"`
	}
	s.kc.admin("GET", "/"+s.kc.realm+"/ssf/clients/countersign-"+name+"/stream", nil, &there)
	if there.StreamID != v.State.Stream.StreamID || there.Delivery.Method != map[string]string{"push": stream.PushMethod, "poll": stream.PollMethod}[delivery] {
		t.Errorf("at Keycloak: %+v, here: %+v", there, v.State.Stream)
	}
	ok("%s: the stream was made from our side, with a token by client_secret_basic", name)
	return v
}

// disconnect deletes the source, and sees that its stream went with it.
func (s *keycloakStage) disconnect(t *testing.T, name string) {
	t.Helper()
	s.run(t, "source", "delete", "keycloak", "--yes")
	status := 0
	await(t, "the stream of "+name+" deleted", func() bool {
		status = s.kc.status("GET", "/"+s.kc.realm+"/ssf/clients/countersign-"+name+"/stream")
		return status == 404
	}, func() any { return status })
	ok("%s: the source was deleted, and its stream at Keycloak with it", name)
}

// play is the whole story on one delivery.
func (s *keycloakStage) play(t *testing.T, delivery string) {
	s.apply(t, "policy.yaml", withFallback)
	s.connect(t, delivery, delivery)
	var v sourceState
	await(t, "verification", func() bool { v = s.show(t); return v.State.Stream.Verified != nil }, func() any { return v })
	ok("%s: the verification event arrived with our state", delivery)

	s.signedIn()
	session := s.kc.signIn("alice")
	begun := time.Now()
	s.kc.signOut(session)
	h := s.next(t)
	s.ended(t, h)
	ok("%s: alice signs out; she is found by iss_sub, and the wiki's sessions end by the fallback (%s)", delivery, time.Since(begun).Round(100*time.Millisecond))

	s.signedIn()
	s.kc.admin("POST", "/"+s.kc.realm+"/users/"+s.alice+"/logout", nil, nil)
	h = s.next(t)
	if !strings.Contains(string(h.SubID), `"ALL"`) {
		t.Errorf("the administrator's logout names no session ALL: %s", h.SubID)
	}
	s.ended(t, h)
	ok("%s: an administrator signs her out (session ALL); the wiki's sessions end by the fallback", delivery)

	s.apply(t, "policy.yaml", withoutFallback)
	s.signedIn()
	s.kc.admin("POST", "/"+s.kc.realm+"/users/"+s.alice+"/logout", nil, nil)
	h = s.next(t)
	if s.wiki.Live("u-alice") != 2 || !slices.ContainsFunc(strings.Split(string(h.raw), "\n"), func(line string) bool { return strings.Contains(line, "no fallback is written") }) {
		t.Errorf("without a fallback: %d sessions left: %s", s.wiki.Live("u-alice"), h.raw)
	}
	ok("%s: the same without a written fallback does nothing, and the story says why", delivery)

	s.kc.admin("PUT", "/"+s.kc.realm+"/users/"+s.alice+"/reset-password", map[string]any{"type": "password", "value": "pw-alice", "temporary": false}, nil)
	h = s.next(t)
	if !strings.HasSuffix(h.EventType, "/credential-change") {
		t.Errorf("a password change came as %s", h.EventType)
	}
	s.ended(t, h)
	ok("%s: an administrator sets a password; the wiki's sessions end", delivery)

	if v = s.show(t); v.State.Receipts != "legacy" && v.State.Receipts != "off" {
		t.Errorf("receipts are %q", v.State.Receipts)
	}
	ok("%s: receipts are %q: Keycloak takes none", delivery, v.State.Receipts)
	s.disconnect(t, delivery)
}

// nested is the older profile of Keycloak: the subject inside the event, without a format, and no state in its verification.
func (s *keycloakStage) nested(t *testing.T) {
	s.apply(t, "policy.yaml", withoutFallback)
	s.connect(t, "nested", "push")
	s.signedIn()
	s.kc.admin("POST", "/"+s.kc.realm+"/users/"+s.alice+"/logout", nil, nil)
	h := s.next(t)
	if s.wiki.Live("u-alice") != 2 {
		t.Errorf("without a fallback alice has %d sessions: %s", s.wiki.Live("u-alice"), h.raw)
	}
	ok("nested: without a written fallback nothing is done")
	s.apply(t, "policy.yaml", withFallback)
	s.kc.admin("POST", "/"+s.kc.realm+"/users/"+s.alice+"/logout", nil, nil)
	h = s.next(t)
	s.ended(t, h)
	ok("nested: with one, the wiki's sessions end; she was found by email")
	s.disconnect(t, "nested")
}
