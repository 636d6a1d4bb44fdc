package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/ssf"
	"countersign/internal/config"
	"countersign/internal/server"
	"countersign/internal/stage"
	"countersign/receipt"
	"countersign/set"
	"countersign/transmitter"
)

// The clock of the house begins where the token files of package set were signed.
const clock = 1789462900

const (
	idpToken    = "the-hub-at-the-identity-provider"
	guardedAuth = "Bearer what-the-guarded-source-shows"
	junkToken   = "cs_nobody-was-ever-given-this-token-0000000"
)

// fresh is how many sources there are whose keys are fetched by the case that needs them.
const fresh = 8

// house is a hub with everything around it.
type house struct {
	began time.Time
	keys  *keys
	ca    *stage.CA
	dir   string

	site    *stage.Site
	idp     *transmitter.Transmitter
	idpDone *transmitter.Memory
	trap    net.Listener
	desk    *desk
	hub     *server.Server
	db      *sql.DB
	client  *http.Client
	log     lockedBuffer

	issuer  string
	tokens  map[string]string
	vars    scope
	bodies  map[string]string // last answer of each case, for same-as
	last    counts            // of the last step; nil: something happened since
	stopped atomic.Int64      // where the clock stands, as a time.Duration; 0: it runs
	fetches atomic.Int64
	trapped atomic.Int64
	answers atomic.Int64
}

// now is the clock of everything in the house but certificates and timeouts.
func (h *house) now() time.Time {
	since := time.Since(h.began)
	if at := h.stopped.Load(); at != 0 {
		since = time.Duration(at)
	}
	return time.Unix(clock, 0).Add(since)
}

// lockedBuffer takes the log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to it.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// build starts a house. database is empty for SQLite. extra are more resources.
func build(t *testing.T, database string, http2 bool, extra func(h *house) []any) *house {
	t.Helper()
	k, err := theKeys()
	must(t, err)
	h := &house{began: time.Now(), keys: k, dir: t.TempDir(), tokens: map[string]string{"junk": junkToken}, bodies: map[string]string{}}
	h.ca, err = stage.NewCA("hostile tests, for this run only")
	must(t, err)
	cert, err := h.ca.Leaf("hostile")
	must(t, err)
	h.site = stage.NewSite("wiki", stage.Wiki, stage.Person{ID: "u-alice", Email: "alice@example.test"})
	must(t, h.site.Start(&cert))
	t.Cleanup(h.site.Close)
	h.startTrap(t)
	h.startIssuer(t, cert)
	h.desk = startDesk(t, cert)
	h.startHub(t, database)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.ca.Pool()}, ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: 4}
	h.client = &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(transport.CloseIdleConnections)
	h.furnish(t, extra)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startTrap listens where tokens point at. Whoever connects is counted.
func (h *house) startTrap(t *testing.T) {
	var err error
	h.trap, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var end sync.WaitGroup
	end.Go(func() {
		for {
			c, err := h.trap.Accept()
			if err != nil {
				return
			}
			h.trapped.Add(1)
			c.Close()
		}
	})
	t.Cleanup(func() { h.trap.Close(); end.Wait() })
}

// startIssuer starts the transmitter whose tokens come in.
func (h *house) startIssuer(t *testing.T, cert tls.Certificate) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.issuer = fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.ca.Pool()}}
	h.idpDone = &transmitter.Memory{}
	h.idp, err = transmitter.New(transmitter.Config{
		Issuer: h.issuer, Signers: h.keys.published(), Store: h.idpDone, Now: h.now,
		Registry: event.NewRegistry(caep.Vocabulary(), ssf.Vocabulary()),
		Caller: transmitter.StaticBearer(map[string]transmitter.Caller{idpToken: {Receiver: "hub", OneStream: true,
			Scopes: []string{transmitter.ScopeRead, transmitter.ScopeManage}}}),
		Receipts:  &receipt.Settings{DirectiveEvents: []string{caep.SessionRevokedURI}, Actions: []string{"revoke_sessions"}, Algorithms: []string{"EdDSA", "RS256"}},
		OnReceipt: func(context.Context, transmitter.AcceptedReceipt) { h.answers.Add(1) },
		Client:    &http.Client{Transport: transport, Timeout: 10 * time.Second}, Transport: transport,
	})
	must(t, err)
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/jwks.json" {
				h.fetches.Add(1)
			}
			h.idp.ServeHTTP(w, r)
		})}
	ctx, cancel := context.WithCancel(context.Background())
	var end sync.WaitGroup
	end.Go(func() { srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})) })
	end.Go(func() { h.idp.Run(ctx) })
	t.Cleanup(func() { cancel(); srv.Close(); end.Wait(); transport.CloseIdleConnections() })
}

// startHub builds the hub from a configuration, as serve does, and serves.
func (h *house) startHub(t *testing.T, database string) {
	file := func(name string) string { return filepath.Join(h.dir, name) }
	must(t, h.ca.WriteLeaf("hub", file("hub.crt"), file("hub.key")))
	must(t, os.WriteFile(file("ca.crt"), h.ca.PEM(), 0o600))
	cfg := config.Default()
	cfg.Listen, cfg.AdminListen, cfg.Data, cfg.Database = "127.0.0.1:0", "127.0.0.1:0", file("data"), database
	cfg.TLS, cfg.CAFile, cfg.Egress.Allow = config.TLS{Cert: file("hub.crt"), Key: file("hub.key")}, file("ca.crt"), []string{"127.0.0.0/8", "::1/128"}
	must(t, cfg.Check())
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	h.hub, err = server.New(ctx, server.Options{Config: cfg, Version: "test", Node: "node-1", Now: h.now,
		Log: slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- h.hub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the hub ended with %v", err)
		}
	})
	driver, address := "sqlite", "file:"+filepath.Join(cfg.Data, config.DatabaseFile)+"?mode=ro&_pragma=busy_timeout(5000)"
	if database != "" {
		driver, address = "pgx", database
	}
	h.db, err = sql.Open(driver, address)
	must(t, err)
	t.Cleanup(func() { h.db.Close() })
	token, err := os.ReadFile(filepath.Join(cfg.Data, config.TokenFile))
	must(t, err)
	h.tokens["operator"] = strings.TrimSpace(string(token))
}

// furnish applies the resources, and waits until the stream at the issuer and the one of the desk are made.
func (h *house) furnish(t *testing.T, extra func(h *house) []any) {
	type m = map[string]any
	jwks := json.RawMessage(set.MarshalJWKS([]set.Key{h.keys.byAlg["RS256"].Public()}))
	resources := []any{
		m{"kind": "client", "name": "desk", "auth": "bearer", "scopes": []string{"ssf.read", "ssf.manage", "ssf.manage.receipts"}},
		m{"kind": "client", "name": "other", "auth": "bearer", "scopes": []string{"ssf.read", "ssf.manage", "ssf.manage.receipts"}},
		m{"kind": "client", "name": "maker", "auth": "bearer", "scopes": []string{"ssf.read", "ssf.manage"}, "streams": "many"},
		m{"kind": "client", "name": "bound", "auth": "bearer", "scopes": []string{"ssf.read", "ssf.manage"}, "push_hosts": []string{"events.example.test"}},
		m{"kind": "client", "name": "reader", "auth": "bearer", "scopes": []string{"ssf.read"}},
		m{"kind": "client", "name": "teller", "auth": "bearer", "scopes": []string{"signals.read"}},
		m{"kind": "client", "name": "sender", "auth": "bearer", "scopes": []string{"signals.write", "signals.read"}},
		m{"kind": "client", "name": "clerk", "auth": "bearer", "scopes": []string{"signals.write"}, "events": []string{"caep/session-revoked"}, "domains": []string{"example.test"}},
		m{"kind": "identity", "name": "alice", "emails": []string{"alice@example.test"}},
		m{"kind": "app", "name": "wiki", "pack": "http-sessions", "settings": m{"url": h.site.URL()}, "secrets": m{"token": m{"stored": "wiki"}}, "accounts": m{"match": "email"}},
		m{"kind": "source", "name": "idp", "type": "ssf", "issuer": h.issuer, "delivery": "push", "stream": "create",
			"verify": m{"every": "0"}, // nothing of its own accord: what is counted is what a file causes
			"auth":   m{"method": "bearer", "token": m{"stored": "idp"}}, "correlate": []any{m{"format": "email"}},
			"orders": m{"accept": []string{"revoke_sessions"}, "at": "all"}, "receipts": m{"send": "auto", "alg": "EdDSA"}},
		m{"kind": "source", "name": "guarded", "type": "ssf", "issuer": "https://guarded.example.test", "delivery": "push", "stream": "none",
			"audience": []string{"https://hub.example.test/guarded"}, "keys": m{"jwks": jwks},
			"push_auth": m{"authorization_header": m{"stored": "guarded"}}, "correlate": []any{m{"format": "iss_sub", "as": "account_id"}}},
		m{"kind": "policy", "name": "sessions", "on": []string{"caep/session-revoked"}, "then": []any{m{"action": "revoke_sessions", "scope": "everywhere", "at": "all"}}},
	}
	for i := range fresh { // sources whose keys nobody has asked for yet
		resources = append(resources, m{"kind": "source", "name": fmt.Sprintf("fresh-%d", i+1), "type": "ssf", "issuer": h.issuer, "delivery": "push", "stream": "none",
			"audience": []string{"https://hub.example.test/fresh"}, "keys": m{"jwks_uri": fmt.Sprintf("%s/jwks.json?for=%d", h.issuer, i+1)},
			"correlate": []any{m{"format": "iss_sub", "as": "account_id"}}})
	}
	if extra != nil {
		resources = append(resources, extra(h)...)
	}
	body, err := json.Marshal(m{"resources": resources, "secrets": m{"wiki": h.site.AdminToken(), "idp": idpToken, "guarded": guardedAuth}})
	must(t, err)
	h.call(t, "POST", "/api/v1/apply", body, nil)
	for _, name := range []string{"desk", "other", "maker", "bound", "reader", "teller", "sender", "clerk"} {
		var made struct {
			Token string `json:"token"`
		}
		h.call(t, "POST", "/api/v1/tokens", []byte(`{"client":"`+name+`"}`), &made)
		if made.Token == "" {
			t.Fatalf("no token for %s", name)
		}
		h.tokens[name] = made.Token
	}
	h.vars = scope{"iss": h.issuer, "hub": h.hub.PublicURL(), "trap": "https://" + h.trap.Addr().String(), "directive": receipt.Default().Directive,
		"settings": receipt.Default().Settings, "receipt-event": receipt.Default().Event, "desk": h.desk.url, "guarded-auth": guardedAuth}
	jwk, err := json.Marshal(h.keys.stranger.Public())
	must(t, err)
	h.vars["stranger-jwk"], h.vars["bomb"] = string(jwk), theBomb()
	var stream transmitter.Stream
	eventually(t, "the stream at the issuer", func() bool {
		all, err := h.idpDone.Streams(t.Context(), "hub")
		must(t, err)
		if len(all) == 1 && all[0].ReceiptIssuer != "" {
			stream = all[0]
		}
		return stream.ID != ""
	})
	h.vars["idp"], h.vars["aud"], h.vars["stream"] = strings.TrimPrefix(stream.Endpoint, h.hub.PublicURL()), stream.Audience[0], stream.ID
	h.vars["guarded"] = h.receivePath(t, "guarded")
	for i := range fresh {
		name := fmt.Sprintf("fresh-%d", i+1)
		h.vars[name] = h.receivePath(t, name)
	}
	eventually(t, "the source to know its audience", func() bool {
		var shown struct {
			State struct {
				Receipts string `json:"receipts"`
			} `json:"state"`
		}
		h.call(t, "GET", "/api/v1/sources/idp", nil, &shown)
		return shown.State.Receipts == "active"
	})
	eventually(t, "the work that setting up made", func() bool { return h.count(t)["jobs"] == 0 })
	h.vars["desk-token"] = h.tokens["desk"]
	h.openDesk(t)
}

func (h *house) receivePath(t *testing.T, source string) string {
	t.Helper()
	var shown struct {
		State struct {
			URL string `json:"receive_url"`
		} `json:"state"`
	}
	h.call(t, "GET", "/api/v1/sources/"+source, nil, &shown)
	u, err := url.Parse(shown.State.URL)
	must(t, err)
	if u.Path == "" {
		t.Fatalf("source %s has no receive address", source)
	}
	return u.Path
}

// call asks the admin API as the operator, and wants a 2xx.
func (h *house) call(t testing.TB, method, path string, body []byte, out any) {
	t.Helper()
	req, err := http.NewRequest(method, h.hub.AdminURL()+path, bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+h.tokens["operator"])
	req.Header.Set("Content-Type", "application/json")
	resp, err := h.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if out != nil {
		must(t, json.Unmarshal(text, out))
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
