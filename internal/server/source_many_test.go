package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/config"
	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/stage"
	"countersign/internal/store"
	"countersign/set"
)

// crowd is many transmitters on one address, each with an issuer, a key and a stream of its own.
type crowd struct {
	*httptest.Server
	at    string
	calls atomic.Int64
	now   atomic.Int64
	most  atomic.Int64
	mu    sync.Mutex
	made  map[string]string // stream by transmitter
	push  map[string]string // address by transmitter
	keys  *set.Signer
}

func newCrowd(t *testing.T, ca *stage.CA) *crowd {
	c := &crowd{made: map[string]string{}, push: map[string]string{}}
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		t.Fatal(err)
	}
	if c.keys, err = set.NewSigner(set.ES256, "k", key); err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf("crowd")
	if err != nil {
		t.Fatal(err)
	}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	c.StartTLS()
	t.Cleanup(c.Close)
	c.at = "https://localhost" + c.URL[strings.LastIndex(c.URL, ":"):]
	return c
}

func (c *crowd) serve(w http.ResponseWriter, r *http.Request) {
	c.calls.Add(1)
	for n := c.now.Add(1); ; {
		if most := c.most.Load(); n <= most || c.most.CompareAndSwap(most, n) {
			break
		}
	}
	defer c.now.Add(-1)
	w.Header().Set("Content-Type", "application/json")
	if name, ok := strings.CutPrefix(r.URL.Path, "/.well-known/ssf-configuration/"); ok {
		base := c.at + "/" + name
		json.NewEncoder(w).Encode(map[string]any{"issuer": base, "jwks_uri": base + "/jwks", "configuration_endpoint": base + "/streams", "verification_endpoint": base + "/verify"})
		return
	}
	name, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Method + " " + what {
	case "GET jwks":
		w.Write(set.MarshalJWKS([]set.Key{c.keys.Public()}))
	case "GET streams":
		io.WriteString(w, "[]")
	case "POST streams":
		var in struct {
			Delivery struct {
				URL string `json:"endpoint_url"`
			} `json:"delivery"`
			Events []string `json:"events_requested"`
		}
		json.NewDecoder(r.Body).Decode(&in)
		if c.made[name] != "" {
			w.WriteHeader(http.StatusConflict)
			return
		}
		c.made[name], c.push[name] = "s-"+name, in.Delivery.URL
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]any{"stream_id": "s-" + name, "iss": c.at + "/" + name, "aud": "hub-" + name, "events_delivered": in.Events,
			"delivery": map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": in.Delivery.URL}})
	case "POST verify":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// 500 sources, each with its own issuer, keys and stream: a hub with them starts within 5 seconds and takes no more than 64 MB
// above an idle one, asks nobody anything at the start, and makes their streams a few at a time.
func TestManySources(t *testing.T) {
	const n = 500
	ca, err := stage.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	caFile, cert, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "hub.crt"), filepath.Join(dir, "hub.key")
	if err := os.WriteFile(caFile, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteLeaf("hub", cert, key); err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, ca)
	cfg := config.Default()
	cfg.Listen, cfg.AdminListen, cfg.Data, cfg.CAFile, cfg.TLS = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "data"), caFile, config.TLS{Cert: cert, Key: key}
	cfg.Egress.Allow = []string{"127.0.0.0/8", "::1/128"}
	start := func() (*Server, time.Duration, func()) {
		began := time.Now()
		s, err := New(t.Context(), Options{Config: cfg, Version: "test", Node: "n1", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		for !s.running.Load() {
			if time.Since(began) > 20*time.Second {
				t.Fatal("the hub does not start")
			}
			time.Sleep(time.Millisecond)
		}
		took := time.Since(began)
		return s, took, sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}

	s, _, stop := start()
	cfg.Listen = s.outside.Addr().String() // our receive addresses stay
	t.Cleanup(func() { stop() })
	var changes []store.Change
	for i := range n {
		spec, err := json.Marshal(hub.Source{Name: fmt.Sprintf("s%03d", i), Type: "ssf", Issuer: fmt.Sprintf("%s/t%03d", c.at, i), Stream: "create", Verify: &hub.Verify{Every: "6h"}})
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, store.Change{Op: store.OpPut, Resource: hub.Resource{Tenant: "default", Kind: hub.KindSource, Name: fmt.Sprintf("s%03d", i), Spec: spec}})
	}
	if _, err := s.store.Apply(t.Context(), "default", changes); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.changed(t.Context(), "default")
	made := func() int {
		rows, err := s.store.SourceStreams(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, raw := range rows {
			var st enroll.State
			if json.Unmarshal(raw, &st) == nil && st.Status == enroll.Made {
				done++
			}
		}
		return done
	}
	for made() < n {
		if time.Since(began) > 4*time.Minute {
			t.Fatalf("%d of %d streams were made in time", made(), n)
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("%d streams made in %v, %d calls at once at most", n, time.Since(began).Round(time.Millisecond), c.most.Load())
	if c.most.Load() > 32 {
		t.Errorf("%d calls at once", c.most.Load())
	}
	stop()

	idleCfg := cfg
	idleCfg.Listen, idleCfg.Data = "127.0.0.1:0", filepath.Join(dir, "idle")
	full := cfg
	cfg = idleCfg
	_, _, stop = start()
	idle := heap()
	stop()
	cfg = full

	calls := c.calls.Load()
	s, took, stop := start()
	if took > 5*time.Second {
		t.Errorf("the hub started in %v", took)
	}
	// Each source's keys are read when its first token comes, and not before.
	if got := c.calls.Load() - calls; got > n/10 {
		t.Errorf("%d calls at the start", got)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
	for i := range n {
		name := fmt.Sprintf("t%03d", i)
		claims := set.Claims{Issuer: c.at + "/" + name, Audience: []string{"hub-" + name}, IssuedAt: time.Now().Unix(), ID: "j-" + name,
			SubID: json.RawMessage(`{"format":"email","email":"a@example.test"}`), Events: []set.Event{{Type: sessionRevoked, Payload: json.RawMessage(`{"event_timestamp":1700000000}`)}}}
		payload, err := claims.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		token, err := c.keys.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		src := s.home().view.Load().sources[fmt.Sprintf("s%03d", i)]
		status, said := 0, ""
		for end := time.Now().Add(20 * time.Second); status != http.StatusAccepted && time.Now().Before(end); {
			resp, err := client.Post(s.receiveURL(src.state.ReceiveID), "application/secevent+jwt", strings.NewReader(token))
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			said = string(answer)
			if status = resp.StatusCode; status == http.StatusServiceUnavailable { // its keys could not be read just now
				time.Sleep(time.Second)
			} else if status != http.StatusAccepted {
				break
			}
		}
		if status != http.StatusAccepted {
			t.Fatalf("%s: %d %s; %+v", name, status, said, src.state)
		}
	}
	above := heap() - idle
	t.Logf("started in %v; %.1f MB above an idle hub with the keys of %d sources", took.Round(time.Millisecond), float64(above)/1e6, n)
	if above > 64<<20 {
		t.Errorf("%d MB above an idle hub", above>>20)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.made) != n {
		t.Errorf("%d streams", len(c.made))
	}
}
