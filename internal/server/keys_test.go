package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// pushed is a receiver that verifies what comes with keys that it keeps as long as the answer said.
type pushed struct {
	*httptest.Server
	mu     sync.Mutex
	keys   func() set.KeySet // as this receiver knows them now
	issuer string
	answer int
	got    []set.Claims
	kids   []string
	wrong  []string
}

func newPushed(w *world) *pushed {
	w.t.Helper()
	p := &pushed{issuer: w.srv.PublicURL(), answer: 202}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := readAll(r)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.answer >= 300 {
			rw.WriteHeader(p.answer)
			return
		}
		u, err := set.Parse(body)
		if err != nil {
			p.wrong = append(p.wrong, err.Error())
			rw.WriteHeader(400)
			return
		}
		if _, err := set.Verify(r.Context(), body, &set.Policy{Issuer: p.issuer, SkipAudience: true, Algorithms: []set.Algorithm{set.RS256, set.ES256}, Keys: p.keys(), Now: w.srv.now}); err != nil {
			p.wrong = append(p.wrong, u.Header().KeyID+": "+err.Error())
		} else {
			p.got, p.kids = append(p.got, u.Claims()), append(p.kids, u.Header().KeyID)
		}
		rw.WriteHeader(202)
	}))
	cert := w.leaf("receiver")
	p.Server.TLS = tlsOf(cert)
	p.Server.StartTLS()
	w.t.Cleanup(p.Close)
	return p
}

func (p *pushed) state() (events int, kids, wrong []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.got {
		if c.Events[0].Type == sessionRevoked {
			events++
		}
	}
	return events, slices.Clone(p.kids), slices.Clone(p.wrong)
}

// keySet is the hub's key set as it is published now.
func (w *world) keySet() set.KeySet {
	w.t.Helper()
	_, raw := w.ask("GET", w.srv.PublicURL()+"/jwks.json", "", "")
	keys, err := set.ParseJWKS(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}

func (w *world) published() []string {
	w.t.Helper()
	var kids []string
	_, raw := w.ask("GET", w.srv.PublicURL()+"/jwks.json", "", "")
	var doc struct {
		Keys []struct {
			KID string `json:"kid"`
			Alg string `json:"alg"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range doc.Keys {
		kids = append(kids, k.KID)
	}
	return kids
}

// transmit gives a signal to be transmitted.
func (w *world) transmit(email string) {
	w.t.Helper()
	if status, body := w.call("POST", "/signals", signalOf(email)); status >= 300 {
		w.t.Fatalf("signal: %d %s", status, body)
	}
}

// pushStream makes a stream for the client crm that is pushed.
func (w *world) pushStream(endpoint string) string {
	w.t.Helper()
	token := w.tokenOf("default", "crm")
	status, body := w.ask("POST", w.srv.PublicURL()+"/ssf/streams", token, `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"`+endpoint+`"},"events_requested":["`+sessionRevoked+`"]}`)
	var made stream.Configuration
	if err := json.Unmarshal(body, &made); err != nil || status != 201 {
		w.t.Fatalf("create: %d %s", status, body)
	}
	return made.StreamID
}

// A receiver that keeps our keys as long as it may never meets a signature that it cannot verify, however keys change.
func TestRotationUnderACache(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", clientMany)
	p := newPushed(w)
	// The receiver fetches the keys now and then, and never more often than max-age says.
	cache := w.keySet()
	p.keys = func() set.KeySet { return cache }
	w.pushStream(p.URL + "/events")
	sent := 0
	step := func(what string) {
		t.Helper()
		w.transmit(fmt.Sprintf("a%d@example.test", sent))
		sent++
		w.eventually("the event after "+what, func() bool { n, _, wrong := p.state(); return n == sent || len(wrong) > 0 })
		if _, _, wrong := p.state(); len(wrong) > 0 {
			t.Fatalf("after %s: %v", what, wrong)
		}
	}
	step("the start")
	old := w.srv.keys.Signer("default", set.RS256).KeyID()
	status, body := w.call("POST", "/keys/rotate", map[string]any{"alg": "RS256"})
	if status >= 300 {
		t.Fatalf("rotate: %d %s", status, body)
	}
	var next struct {
		KID   string `json:"kid"`
		State string `json:"state"`
	}
	if err := json.Unmarshal(body, &next); err != nil || next.State != "next" || !slices.Contains(w.published(), next.KID) {
		t.Fatalf("%s, published %v", body, w.published())
	}
	step("the next key was published: a receiver with old keys")
	if kid := w.srv.keys.Signer("default", set.RS256).KeyID(); kid != old {
		t.Fatal("the next key signs before receivers can know it")
	}
	// Ten minutes later every cache is older than max-age and was read again.
	w.shift.Store(int64(published + time.Second))
	cache = w.keySet()
	if err := w.srv.home().tendKeys(context.Background()); err != nil {
		t.Fatal(err)
	}
	step("the change")
	if _, kids, _ := p.state(); kids[len(kids)-1] != next.KID {
		t.Errorf("the last one was signed by %s", kids[len(kids)-1])
	}
	if !slices.Contains(w.published(), old) {
		t.Error("the old key is not published any more, though what it signed is on its way")
	}
	resp, err := w.admin.Get(w.srv.PublicURL() + "/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Cache-Control"); got != fmt.Sprintf("public, max-age=%d", published/2/time.Second) {
		t.Errorf("keys may be kept for %q, and are published for %v before they sign", got, published)
	}
	req.Covers(t, "TX-31")
	w.shift.Add(int64(8 * 24 * time.Hour))
	w.eventually("a week later the old key is published no more", func() bool { // once it is written down that all was delivered
		if err := w.srv.home().tendKeys(context.Background()); err != nil {
			t.Fatal(err)
		}
		return !slices.Contains(w.published(), old)
	})
	status, body = w.call("GET", "/keys", nil)
	if status != 200 || !strings.Contains(string(body), `"retired"`) {
		t.Errorf("keys: %d %s", status, body)
	}
}

// A compromised key is out of the key set at once, and what waited under it comes with another signature.
func TestCompromisedKey(t *testing.T) { onBoth(t, compromisedKey) }

func compromisedKey(t *testing.T, w *world) {
	w.applyAt("default", clientMany)
	p := newPushed(w)
	p.keys = w.keySet // this receiver asks each time
	id := w.pushStream(p.URL + "/events")
	if status, body := w.call("POST", "/streams/"+id+"/status", map[string]string{"status": "paused", "reason": "a test"}); status >= 300 {
		t.Fatalf("pause: %d %s", status, body)
	}
	w.transmit("alice@example.test")
	w.transmit("bob@example.test")
	kid := w.srv.keys.Signer("default", set.RS256).KeyID()
	w.eventually("two rows wait", func() bool {
		n, err := w.srv.home().streams.KeysInUse(context.Background())
		return err == nil && n[kid] == 2
	})
	if status, body := w.call("POST", "/keys/"+kid+"/retire", map[string]any{}); status != 409 {
		t.Errorf("a key that rows wait for: %d %s", status, body)
	}
	status, body := w.call("POST", "/keys/"+kid+"/retire", map[string]any{"compromised": true})
	var out struct {
		State    string `json:"state"`
		Reissued int    `json:"reissued"`
	}
	if err := json.Unmarshal(body, &out); err != nil || status != 200 || out.State != "compromised" || out.Reissued != 2 {
		t.Fatalf("%d %s", status, body)
	}
	if slices.Contains(w.published(), kid) {
		t.Error("it is still published")
	}
	if status, body := w.call("POST", "/streams/"+id+"/status", map[string]string{"status": "enabled"}); status >= 300 {
		t.Fatalf("enable: %d %s", status, body)
	}
	w.eventually("both came", func() bool { n, _, _ := p.state(); return n == 2 })
	_, kids, wrong := p.state()
	if len(wrong) > 0 || slices.Contains(kids[len(kids)-2:], kid) {
		t.Errorf("kids %v, wrong %v", kids, wrong)
	}
	w.transmit("carol@example.test")
	w.eventually("a new one comes", func() bool { n, _, _ := p.state(); return n == 3 })
}

// A client that may do less than before: its streams beyond that are paused and say why, and work again when it may.
func TestClientNarrowed(t *testing.T) {
	w := newWorld(t)
	w.applyAt("default", clientMany)
	p := newPushed(w)
	p.keys = w.keySet
	id := w.pushStream(p.URL + "/events")
	status := func() (word, reason string) {
		t.Helper()
		_, body := w.call("GET", "/streams/"+id, nil)
		var out struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(body, &out); err != nil {
			t.Fatalf("%s", body)
		}
		return out.Status, out.Reason
	}
	narrow := func(more string) {
		t.Helper()
		w.applyAt("default", strings.TrimSuffix(clientMany, "}")+more+"}")
	}
	narrow(`,"push_hosts":["crm.example.test"]`)
	if word, reason := status(); word != "paused" || reason != reasonHost {
		t.Errorf("another host: %s %q", word, reason)
	}
	// What happens meanwhile waits; nobody who is not allowed gets it, also when the receiver enables the stream itself.
	w.transmit("alice@example.test")
	token := w.tokenOf("default", "crm")
	if code, body := w.ask("POST", w.srv.PublicURL()+"/ssf/status", token, `{"stream_id":"`+id+`","status":"enabled"}`); code != 400 || !strings.Contains(string(body), "not allowed") {
		t.Errorf("enabled by the receiver: %d %s", code, body)
	}
	if n, _, _ := p.state(); n != 0 {
		t.Error("it came while it was not allowed")
	}
	narrow(`,"push_hosts":["127.0.0.1"]`)
	if code, body := w.call("POST", "/streams/"+id+"/status", map[string]string{"status": "enabled"}); code >= 300 {
		t.Fatalf("enable: %d %s", code, body)
	}
	w.eventually("what waited came", func() bool { n, _, _ := p.state(); return n == 1 })
	if word, _ := status(); word != "enabled" {
		t.Errorf("status %s", word)
	}
	w.applyAt("default", `{"kind":"client","name":"crm","auth":"bearer","scopes":["signals.write"]}`)
	if word, reason := status(); word != "paused" || reason != reasonScope {
		t.Errorf("without scopes: %s %q", word, reason)
	}
	if code, body := w.call("DELETE", "/clients/crm", nil); code >= 300 {
		t.Fatalf("delete: %d %s", code, body)
	}
	if code, _ := w.call("GET", "/streams/"+id, nil); code != 404 {
		t.Errorf("the stream of a client that is gone: %d", code)
	}
}

// A client signs in at our token endpoint and manages and polls with what it gets there.
func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	if status, body := w.call("POST", "/apply", map[string]any{"resources": []json.RawMessage{
		json.RawMessage(`{"kind":"client","name":"crm","auth":"client_secret_basic","client_secret":{"stored":"crm"},"scopes":["ssf.read","ssf.manage"]}`)}}); status != 200 || !strings.Contains(string(body), `"warnings":["client crm: client_secret: there is no secret crm yet`) {
		t.Fatalf("apply: %d %s", status, body)
	}
	// The secret is not there yet: nobody gets in, and the client says what is missing.
	if status, body := w.call("GET", "/clients/crm", nil); status != 200 || !strings.Contains(string(body), "there is no secret crm yet") {
		t.Errorf("%d %s", status, body)
	}
	home := w.srv.PublicURL()
	form := func(secret string) (int, []byte) {
		r, err := http.NewRequest("POST", home+"/oauth/token", strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("crm", secret)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := w.admin.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var raw json.RawMessage
		_ = json.NewDecoder(resp.Body).Decode(&raw)
		return resp.StatusCode, raw
	}
	for _, secret := range []string{"", "anything"} {
		if status, body := form(secret); status < 400 {
			t.Errorf("without a secret: %d %s", status, body)
		}
	}
	if status, body := w.call("POST", "/apply", map[string]any{"resources": []json.RawMessage{}, "secrets": map[string]string{"crm": "crm-secret-crm-secret"}}); status != 200 {
		t.Fatalf("secret: %d %s", status, body)
	}
	status, body := form("crm-secret-crm-secret")
	var got struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &got); err != nil || status != 200 || got.Expires > 3600 || got.Expires < 1 {
		t.Fatalf("token: %d %s", status, body)
	}
	_, poll := w.pollStream(home, got.Token)
	w.transmit("alice@example.test")
	if got := w.poll(poll, got.Token); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
	// Another tenant does not know it.
	w.applyAt("default", `{"kind":"tenant","name":"acme"}`)
	if status, _ := w.ask("GET", home+"/t/acme/ssf/streams", got.Token, ""); status != 401 {
		t.Errorf("at another tenant: %d", status)
	}
	if status, body := w.call("DELETE", "/clients/crm", nil); status >= 300 {
		t.Fatalf("%d %s", status, body)
	}
	if status, _ := w.ask("GET", home+"/ssf/streams", got.Token, ""); status != 401 {
		t.Errorf("after the client is gone: %d", status)
	}
}

// A receipt that waited under a compromised key is cut again under another one, and the order is answered.
func TestReceiptOfACompromisedKey(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docIDP)
	w.streamReady()
	refuse := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.hold.Store(&refuse)
	jti := w.order(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"final","evidence":"assertion"}}`)
	sig := w.signal("idp", jti, hub.SignalDone)
	var kid string
	w.eventually("a receipt waits", func() bool {
		all, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
		if err != nil || len(all) != 1 || all[0].Tries == 0 {
			return false
		}
		kid = all[0].KID
		return true
	})
	if _, err := (keyRing{w.srv}).Retire(context.Background(), "default", kid, false); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("a key that a receipt waits for: %v", err)
	}
	if _, err := (keyRing{w.srv}).Retire(context.Background(), "default", kid, true); err != nil {
		t.Fatal(err)
	}
	w.hold.Store(nil)
	if r := w.await(jti); r.Seq != 2 || r.Outcome == "" {
		t.Errorf("seq %d, outcome %q", r.Seq, r.Outcome)
	}
	all, err := w.srv.store.ReceiptsOf(context.Background(), sig.Seq)
	if err != nil || len(all) != 2 || all[0].State != "dead" || all[1].KID == kid {
		t.Errorf("%+v, %v", all, err)
	}
}
