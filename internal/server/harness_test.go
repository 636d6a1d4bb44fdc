package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/config"
	"countersign/internal/hub"
	"countersign/internal/stage"
	"countersign/internal/stage/idp"
	"countersign/internal/yaml"
	"countersign/receipt"
	"countersign/set"
)

// world is a hub in this process with everything around it real: sites, an identity provider on the SDK, and a
// sender with a key of its own whose SETs the test writes by hand.
type world struct {
	t     testing.TB
	ca    *stage.CA
	srv   *Server
	admin *http.Client
	token string
	sites map[string]*stage.Site
	idp   *idp.Provider
	// posts counts what reached the identity provider's receipt endpoint.
	posts atomic.Int64
	// hold, where set, answers the receipt endpoint instead.
	hold   atomic.Pointer[http.HandlerFunc]
	signer *set.Signer // of the source "raw"
	jwks   []byte
	shift  atomic.Int64 // added to the hub's clock
	stop   func()
	dir    string
	count  atomic.Int64
}

const rawIssuer = "https://raw.example.test"

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, "")
}

// newWorldOn is newWorld with the store on a PostgreSQL; an empty database is SQLite.
func newWorldOn(t testing.TB, database string) *world {
	t.Helper()
	w := &world{t: t, sites: map[string]*stage.Site{}, dir: t.TempDir()}
	var err error
	if w.ca, err = stage.NewCA("test"); err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(w.dir, "ca.crt")
	if err := os.WriteFile(caFile, w.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name  string
		habit stage.Habit
	}{{"wiki", stage.Wiki}, {"forum", stage.Forum}} {
		site := stage.NewSite(s.name, s.habit, stage.Person{ID: "1", Email: "alice@example.test"}, stage.Person{ID: "2", Email: "bob@example.test"})
		cert := w.leaf(s.name)
		if err := site.Start(&cert); err != nil {
			t.Fatal(err)
		}
		site.Moment = 50 * time.Millisecond
		t.Cleanup(site.Close)
		w.sites[s.name] = site
	}
	w.idp, err = idp.Start(idp.Config{Token: "idp-token-idp-token-idp", Cert: w.leaf("idp"), Roots: w.ca.Pool(), Algorithm: set.ES256,
		Before: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/receipts") {
					w.posts.Add(1)
					if h := w.hold.Load(); h != nil {
						(*h)(rw, r)
						return
					}
				}
				next.ServeHTTP(rw, r)
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.idp.Close)
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if w.signer, err = set.NewSigner(set.ES256, "raw-1", key); err != nil {
		t.Fatal(err)
	}
	w.jwks = set.MarshalJWKS([]set.Key{w.signer.Public()})

	cert, keyFile := filepath.Join(w.dir, "hub.crt"), filepath.Join(w.dir, "hub.key")
	if err := w.ca.WriteLeaf("hub", cert, keyFile); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Listen, cfg.AdminListen, cfg.Data, cfg.CAFile = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(w.dir, "data"), caFile
	cfg.TLS, cfg.Database = config.TLS{Cert: cert, Key: keyFile}, database
	cfg.Egress.Allow = []string{"127.0.0.0/8", "::1/128"}
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelWarn
	}
	w.srv, err = New(context.Background(), Options{Config: cfg, Version: "test", Node: "n1", Log: slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: level})),
		Now: func() time.Time { return time.Now().Add(time.Duration(w.shift.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.srv.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { w.stop() })
	raw, err := os.ReadFile(filepath.Join(cfg.Data, config.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	w.token = strings.TrimSpace(string(raw))
	w.admin = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool()}}}
	w.eventually("the hub is ready", func() bool { return w.srv.running.Load() })
	return w
}

// testLog keeps the hub's log with the test, and falls silent when it is over.
type testLog struct {
	t  testing.TB
	mu sync.Mutex
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (w *world) leaf(name string) tls.Certificate {
	w.t.Helper()
	c, err := w.ca.Leaf(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("%s: not within 20 s", what)
}

// call asks the admin API.
func (w *world) call(method, path string, body any, header ...string) (int, []byte) {
	w.t.Helper()
	var rd io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		rd = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, w.srv.AdminURL()+"/api/v1"+path, rd)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.admin.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, out
}

// apply applies YAML documents; $… names are replaced.
func (w *world) apply(docs string) {
	w.t.Helper()
	if status, body := w.tryApply(docs); status != 200 {
		w.t.Fatalf("apply: %d %s", status, body)
	}
}

func (w *world) tryApply(docs string) (int, []byte) {
	w.t.Helper()
	docs = strings.NewReplacer("$wiki", w.sites["wiki"].URL(), "$forum", w.sites["forum"].URL(), "$idp", w.idp.Issuer, "$raw", rawIssuer, "$jwks", string(w.jwks)).Replace(docs)
	parsed, err := yaml.Documents([]byte("apiVersion: countersign/v1\n" + docs))
	if err != nil {
		w.t.Fatal(err)
	}
	var resources []json.RawMessage
	for _, d := range parsed {
		body := bytes.TrimPrefix(bytes.TrimSpace(d.Raw), []byte("{"))
		resources = append(resources, json.RawMessage(fmt.Sprintf(`{"kind":%q,%s`, d.Kind, body)))
	}
	return w.call("POST", "/apply", map[string]any{"resources": resources, "secrets": map[string]string{
		"wiki": w.sites["wiki"].AdminToken(), "forum": w.sites["forum"].AdminToken(), "idp": "idp-token-idp-token-idp"}})
}

const (
	docWiki = `
kind: app
name: wiki
pack: http-sessions
settings: {url: "$wiki"}
secrets: {token: {stored: wiki}}
accounts: {match: email}
`
	docApps = docWiki + `---
kind: app
name: forum
pack: demo-forum
settings: {url: "$forum"}
secrets: {token: {stored: forum}}
accounts: {match: email}
`
	docIDP = `---
kind: source
name: idp
type: ssf
issuer: "$idp"
delivery: push
stream: create
auth: {method: bearer, token: {stored: idp}}
orders: {accept: [revoke_sessions, reauthenticate], at: all}
receipts: {send: auto, alg: EdDSA}
`
	docRaw = `---
kind: source
name: raw
type: ssf
issuer: "$raw"
delivery: push
stream: none
audience: ["https://hub.example.test"]
keys: {jwks: $jwks}
`
	docPolicy = `---
kind: policy
name: ends
on: [caep/session-revoked]
then:
  - {action: revoke_sessions, scope: app, at: [wiki]}
`
)

// sign writes a SET of the source "raw".
func (w *world) sign(jti, sub string, change func(*set.Claims)) string {
	w.t.Helper()
	c := set.Claims{Issuer: rawIssuer, Audience: []string{"https://hub.example.test"}, IssuedAt: time.Now().Unix(), ID: jti, TXN: "t-" + jti,
		SubID: json.RawMessage(sub), Events: []set.Event{{Type: sessionRevoked, Payload: json.RawMessage(`{"event_timestamp":1700000000}`)}}}
	if change != nil {
		change(&c)
	}
	payload, err := c.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := w.signer.Sign(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

const sessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

// push sends a token to a source's receive address.
func (w *world) push(source, token string) (int, string) {
	w.t.Helper()
	src := w.srv.home().view.Load().sources[source]
	if src == nil {
		w.t.Fatalf("no source %s", source)
	}
	return w.send(w.srv.receiveURL(src.state.ReceiveID), token)
}

// send sends a token to an address.
func (w *world) send(address, token string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest("POST", address, strings.NewReader(token))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	resp, err := w.admin.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(out)
}

// signal waits until a signal with the jti is in one of the states.
func (w *world) signal(source, jti string, states ...hub.SignalState) *hub.Signal {
	w.t.Helper()
	var sig *hub.Signal
	w.eventually("signal "+jti+" in "+fmt.Sprint(states), func() bool {
		s, err := w.srv.store.SignalByJTI(context.Background(), "default", source, jti)
		if err != nil || s == nil {
			return false
		}
		sig = s
		for _, st := range states {
			if s.State == st {
				return true
			}
		}
		return false
	})
	return sig
}

func (w *world) actions(sig *hub.Signal) []*hub.Action {
	w.t.Helper()
	all, err := w.srv.store.ActionsOf(context.Background(), sig.Seq)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) await(jti string) *receipt.Receipt {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	r, err := w.idp.Await(ctx, jti)
	if err != nil {
		w.t.Fatalf("no receipt for %s: %v", jti, err)
	}
	return r.Event
}

func (w *world) streamReady() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.idp.WaitStream(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the receive door knows the agreement", func() bool { return w.srv.home().view.Load().sources["idp"].in.Receipts != nil })
}

func readAll(r *http.Request) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func tlsOf(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}
}
