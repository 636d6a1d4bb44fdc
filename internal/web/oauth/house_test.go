package oauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/pgtest"
	"countersign/internal/store"
	"countersign/set"
)

const hubIssuer = "https://hub.example.test"

func tenantIssuer(tenant string) string {
	if tenant == DefaultTenant {
		return hubIssuer
	}
	return hubIssuer + "/t/" + tenant
}

// house is a Server with clients, a clock, and a log that tests can read.
type house struct {
	*Server
	t       testing.TB
	store   Store
	mu      sync.Mutex
	clock   *clock
	clients map[string]*Client // by tenant and name
	outside map[string]*External
	away    error // of Config.Client
	log     bytes.Buffer
	fetched http.Handler // what outgoing calls reach
	calls   int          // outgoing calls
}

// Secrets of the house.
const (
	rxSecret   = "s3cret/with+odd %chars:and:colons"
	postSecret = "another-long-secret-of-the-post-client"
)

func newHouse(t testing.TB, st Store) *house {
	c := newClock()
	if st == nil {
		st = newFake(c.now)
	}
	return houseOf(t, st, c)
}

func houseOf(t testing.TB, st Store, c *clock) *house {
	h := &house{t: t, store: st, clock: c, outside: map[string]*External{}}
	all := []string{"ssf.read", "ssf.manage", "ssf.manage.receipts", "signals.write"}
	h.clients = map[string]*Client{
		"default/rx":      {Spec: &hub.Client{Name: "rx", Auth: methodBasic, Scopes: []string{"ssf.read", "ssf.manage"}}, Secret: rxSecret},
		"default/post":    {Spec: &hub.Client{Name: "post", Auth: methodPost, Scopes: all}, Secret: postSecret},
		"default/signed":  {Spec: &hub.Client{Name: "signed", Auth: methodPrivateKey, Scopes: all, Keys: &hub.ClientKeys{JWKS: jwks(t, "c-1", rsaKey())}}},
		"default/far":     {Spec: &hub.Client{Name: "far", Auth: methodPrivateKey, Scopes: all, Keys: &hub.ClientKeys{JWKSURI: "https://rx.example.test/jwks.json"}}},
		"default/told":    {Spec: &hub.Client{Name: "told", Auth: "bearer", Scopes: []string{"ssf.read"}}, Secret: postSecret},
		"default/nothing": {Spec: &hub.Client{Name: "nothing", Auth: methodPost}, Secret: postSecret},
		"default/empty":   {Spec: &hub.Client{Name: "empty", Auth: methodBasic, Scopes: all}},
		"blue/rx":         {Spec: &hub.Client{Name: "rx", Auth: methodBasic, Scopes: []string{"ssf.read"}}, Secret: "the secret of blue"},
		"blue/signed":     {Spec: &hub.Client{Name: "signed", Auth: methodPrivateKey, Scopes: all, Keys: &hub.ClientKeys{JWKS: jwks(t, "c-1", rsaKey())}}},
	}
	h.restart()
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, secret := range []string{rxSecret, postSecret, "csa_", "cs_", "eyJ", introspectionSecret} {
			if strings.Contains(h.log.String(), secret) {
				t.Errorf("the log tells %q:\n%s", secret, h.log.String())
			}
		}
	})
	return h
}

// restart makes the Server anew, over the same store.
func (h *house) restart() {
	h.Server = New(Config{
		Issuer: tenantIssuer,
		Tenant: func(name string) bool { return name == DefaultTenant || name == "blue" },
		Client: func(_ context.Context, tenant, name string) (*Client, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.away != nil {
				return nil, h.away
			}
			if c := h.clients[tenant+"/"+name]; c != nil {
				return c, nil
			}
			return nil, hub.Errorf(hub.NotFound, "there is no client")
		},
		External: func(tenant string) *External {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.outside[tenant]
		},
		Store: h.store, HTTP: &http.Client{Transport: h}, Now: h.now, Log: slog.New(slog.NewTextHandler(writer{h}, nil)),
	})
}

type writer struct{ h *house }

func (w writer) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.h.log.Write(p)
}

// RoundTrip carries the Server's own calls to fetched.
func (h *house) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	to := h.fetched
	h.calls++
	h.mu.Unlock()
	if to == nil {
		return nil, fmt.Errorf("nobody answers at %s", r.URL.Host)
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	to.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func (h *house) called() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

func (h *house) now() time.Time       { return h.clock.now() }
func (h *house) wait(d time.Duration) { h.clock.wait(d) }

// clock stands still until it is told to go on.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// change changes a client; nil removes it.
func (h *house) change(name string, f func(c *hub.Client)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f == nil {
		delete(h.clients, name)
		return
	}
	c := *h.clients[name]
	spec := *c.Spec
	f(&spec)
	c.Spec = &spec
	h.clients[name] = &c
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	body   struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
		Scope   string `json:"scope"`
		Error   string `json:"error"`
		Why     string `json:"error_description"`
	}
}

type request struct {
	method, path, body string
	header             http.Header
	remote             string
}

func (h *house) do(r request) answer {
	h.t.Helper()
	if r.method == "" {
		r.method = "POST"
	}
	q := httptest.NewRequest(r.method, "https://hub.example.test"+r.path, strings.NewReader(r.body))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	maps.Copy(q.Header, r.header)
	if r.remote != "" {
		q.RemoteAddr = r.remote
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, q)
	a := answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	if len(a.text) > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &a.body); err != nil {
			h.t.Errorf("%s %s: %v in %s", r.method, r.path, err, a.text)
		}
	}
	return a
}

// post asks the token endpoint of the default tenant with name=value pairs.
func (h *house) post(pairs ...string) answer {
	h.t.Helper()
	return h.do(request{path: "/oauth/token", body: form(pairs...)})
}

// basic is post with the client in the Authorization field.
func (h *house) basic(path, client, secret string, pairs ...string) answer {
	h.t.Helper()
	return h.do(request{path: path, body: form(pairs...), header: http.Header{"Authorization": {basicField(client, secret)}}})
}

func basicField(client, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(client)+":"+url.QueryEscape(secret)))
}

func form(pairs ...string) string {
	v := url.Values{}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		v.Add(name, value)
	}
	return v.Encode()
}

// token gets an access token or ends the test.
func (h *house) tokenOf(client, secret string, pairs ...string) string {
	h.t.Helper()
	a := h.post(append([]string{"grant_type=client_credentials", "client_id=" + client, "client_secret=" + secret}, pairs...)...)
	if a.status != 200 {
		h.t.Fatalf("%d %s", a.status, a.text)
	}
	return a.body.Token
}

var (
	rsaKey   = sync.OnceValue(func() crypto.Signer { return mustKey(set.RS256) })
	otherKey = sync.OnceValue(func() crypto.Signer { return mustKey(set.RS256) })
	ecKey    = sync.OnceValue(func() crypto.Signer { return mustKey(set.ES256) })
	edKey    = sync.OnceValue(func() crypto.Signer { return mustKey(set.EdDSA) })
)

func mustKey(alg set.Algorithm) crypto.Signer {
	k, err := set.GenerateKey(alg)
	if err != nil {
		panic(err)
	}
	return k
}

// jwks is a key set with one key.
func jwks(t testing.TB, kid string, keys ...crypto.Signer) json.RawMessage {
	var all []set.Key
	for _, k := range keys {
		all = append(all, set.Key{ID: kid, Use: "sig", Public: k.Public()})
	}
	return set.MarshalJWKS(all)
}

// object is a JOSE header or claims.
type object map[string]any

func (o object) with(name string, v any) object {
	out := maps.Clone(o)
	out[name] = v
	if v == nil {
		delete(out, name)
	}
	return out
}

// sign makes a JWS; the algorithm is the header's. HS256 signs with the text of key.
func sign(t testing.TB, header, claims object, key any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(header) + "." + part(claims)
	digest := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch alg := header["alg"]; alg {
	case "RS256":
		sig, err = key.(crypto.Signer).Sign(rand.Reader, digest[:], crypto.SHA256)
	case "PS256":
		sig, err = key.(crypto.Signer).Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})
	case "ES256":
		r, s, e := ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
		sig, err = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), e
	case "EdDSA":
		sig, err = key.(crypto.Signer).Sign(rand.Reader, []byte(input), crypto.Hash(0))
	case "HS256":
		mac := hmac.New(sha256.New, key.([]byte))
		io.WriteString(mac, input)
		sig = mac.Sum(nil)
	case "none":
	default:
		t.Fatalf("no way to sign with %v", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// fake is a Store in memory.
type fake struct {
	now func() time.Time

	mu     sync.Mutex
	access map[string]store.Access
	tokens map[string]store.Token
	used   map[string]hub.Micros
	away   error
	reads  int
}

func newFake(now func() time.Time) *fake {
	return &fake{now: now, access: map[string]store.Access{}, tokens: map[string]store.Token{}, used: map[string]hub.Micros{}}
}

func (f *fake) PutAccess(_ context.Context, a store.Access) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.access[string(a.Hash)] = a
	return f.away
}

func (f *fake) AccessByHash(_ context.Context, hash []byte) (*store.Access, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	a, ok := f.access[string(hash)]
	if f.away == nil && !ok {
		return nil, hub.Errorf(hub.NotFound, "there is no such token")
	}
	return &a, f.away
}

func (f *fake) RevokeAccess(_ context.Context, tenant, which string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.access)
	maps.DeleteFunc(f.access, func(_ string, a store.Access) bool { return a.Tenant == tenant && (a.ID == which || a.Client == which) })
	return n - len(f.access), f.away
}

func (f *fake) UseAssertion(_ context.Context, tenant, client, jti string, until hub.Micros) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := fmt.Sprintf("%s %s %q", tenant, client, jti)
	if f.away == nil && f.used[key] > hub.At(f.now()) {
		return hub.Errorf(hub.Conflict, "the assertion was used")
	}
	f.used[key] = until
	return f.away
}

func (f *fake) TokenByHash(_ context.Context, hash []byte) (*store.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	k, ok := f.tokens[string(hash)]
	if f.away == nil && !ok {
		return nil, hub.Errorf(hub.NotFound, "there is no such token")
	}
	return &k, f.away
}

func (f *fake) PutToken(_ context.Context, k store.Token) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[string(k.Hash)] = k
	return nil
}

func (f *fake) RevokeToken(_ context.Context, tenant, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h, k := range f.tokens {
		if k.ID == id && k.Tenant == tenant {
			k.Revoked = hub.At(f.now())
			f.tokens[h] = k
		}
	}
	return nil
}

// eachStore runs a test over the fake and both engines.
func eachStore(t *testing.T, f func(t *testing.T, h *house)) {
	t.Run("fake", func(t *testing.T) { f(t, newHouse(t, nil)) })
	real := func(t *testing.T, address, schema string) {
		c := newClock()
		st, err := store.Open(t.Context(), address, store.Config{Now: c.now, Schema: schema, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		f(t, houseOf(t, st, c))
	}
	t.Run("sqlite", func(t *testing.T) { real(t, "sqlite:"+filepath.Join(t.TempDir(), "hub.db"), "") })
	t.Run("postgres", func(t *testing.T) {
		address, schema := pgtest.URL(t)
		real(t, address, schema)
	})
}
