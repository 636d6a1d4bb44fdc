package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign/set"
	"countersign/stream"
)

// peer is a transmitter with one poll stream, which the test can make do what no good one does. It counts what it is asked.
type peer struct {
	t      testing.TB
	URL    string
	signer *set.Signer

	mu       sync.Mutex
	queue    map[string]string // jti to token
	acked    map[string]int    // how often each was acknowledged
	errs     map[string]stream.WireError
	asked    []string // method and path of each request
	polls    []stream.PollRequest
	language []string // Content-Language of the polls that had setErrs
	open     int      // polls under way
	most     int      // at once
	created  int
	news     chan struct{}
	hold     time.Duration
	answer   func(w http.ResponseWriter, r *http.Request, req *stream.PollRequest) bool // true: it answered in place of the peer
	meta     func(md map[string]any)
	keys     http.HandlerFunc // in place of the key set
	issue    http.HandlerFunc // of its authorization server
	create   func([]byte)     // is called with each request for a stream, before it is answered
	other    func(w http.ResponseWriter, r *http.Request) bool
}

func newPeer(w *world) *peer {
	w.t.Helper()
	p := &peer{t: w.t, queue: map[string]string{}, acked: map[string]int{}, errs: map[string]stream.WireError{}, news: make(chan struct{}), hold: 5 * time.Second}
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		w.t.Fatal(err)
	}
	if p.signer, err = set.NewSigner(set.ES256, "peer-1", key); err != nil {
		w.t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(p)
	cert := w.leaf("peer")
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	w.t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	p.URL = fmt.Sprintf("https://localhost:%s", srv.URL[len("https://127.0.0.1:"):])
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.URL.Path)
	meta, keys, token, other := p.meta, p.keys, p.issue, p.other
	p.mu.Unlock()
	if other != nil && other(w, r) {
		return
	}
	reply := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	cfg := map[string]any{"stream_id": "ps1", "iss": p.URL, "aud": p.URL + "/ps1", "events_delivered": []string{sessionRevoked}, "events_requested": []string{sessionRevoked},
		"delivery": map[string]string{"method": stream.PollMethod, "endpoint_url": p.URL + "/poll?x=1&y=%2F"}}
	switch r.URL.Path {
	case "/.well-known/ssf-configuration":
		md := map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/jwks", "delivery_methods_supported": []string{stream.PollMethod, stream.PushMethod},
			"configuration_endpoint": p.URL + "/streams", "status_endpoint": p.URL + "/status", "verification_endpoint": p.URL + "/verify", "spec_version": "1_0"}
		if meta != nil {
			meta(md)
		}
		reply(200, md)
	case "/jwks":
		if keys != nil {
			keys(w, r)
			return
		}
		w.Write(set.MarshalJWKS([]set.Key{p.signer.Public()}))
	case "/streams":
		switch r.Method {
		case http.MethodPost:
			p.mu.Lock()
			p.created++
			create := p.create
			p.mu.Unlock()
			if body, _ := io.ReadAll(r.Body); create != nil {
				create(body)
			}
			reply(201, cfg)
		case http.MethodDelete:
			w.WriteHeader(204)
		case http.MethodGet:
			p.mu.Lock()
			made := p.created > 0
			p.mu.Unlock()
			switch {
			case r.URL.Query().Get("stream_id") != "":
				reply(200, cfg)
			case made:
				reply(200, []any{cfg})
			default:
				reply(200, []any{})
			}
		default:
			reply(200, cfg)
		}
	case "/status":
		reply(200, map[string]string{"stream_id": "ps1", "status": "enabled"})
	case "/verify":
		w.WriteHeader(204)
	case "/poll":
		p.poll(w, r)
	case "/token":
		token(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *peer) poll(w http.ResponseWriter, r *http.Request) {
	var req stream.PollRequest
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &req); err != nil || r.URL.RawQuery != "x=1&y=%2F" {
		p.t.Errorf("a poll that cannot be read: %v %q %s", err, r.URL.RawQuery, body)
	}
	p.mu.Lock()
	p.open++
	p.most = max(p.most, p.open)
	p.polls = append(p.polls, req)
	if len(req.SetErrs) > 0 {
		p.language = append(p.language, r.Header.Get("Content-Language"))
	}
	answer := p.answer
	p.mu.Unlock()
	defer func() { p.mu.Lock(); p.open--; p.mu.Unlock() }()
	if answer != nil && answer(w, r, &req) {
		return
	}
	p.mu.Lock()
	for _, jti := range req.Ack {
		p.acked[jti]++
		delete(p.queue, jti)
	}
	for jti, e := range req.SetErrs {
		p.errs[jti] = e
		delete(p.queue, jti)
	}
	p.mu.Unlock()
	end := time.Now().Add(p.hold)
	for {
		p.mu.Lock()
		names := slices.Sorted(maps.Keys(p.queue))
		news := p.news
		most := len(names)
		if req.MaxEvents != nil {
			most = min(most, *req.MaxEvents)
		}
		if most > 0 || req.ReturnImmediately || time.Now().After(end) {
			out := map[string]string{}
			for _, n := range names[:most] {
				out[n] = p.queue[n]
			}
			p.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"sets": out, "moreAvailable": len(names) > most})
			return
		}
		p.mu.Unlock()
		select {
		case <-r.Context().Done():
			return
		case <-news:
		case <-time.After(time.Until(end)):
		}
	}
}

// offer puts tokens into the queue.
func (p *peer) offer(tokens map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.queue, tokens)
	close(p.news)
	p.news = make(chan struct{})
}

// token signs a SET about a person.
func (p *peer) token(jti, mail string, change func(*set.Claims)) string {
	p.t.Helper()
	c := set.Claims{Issuer: p.URL, Audience: []string{p.URL + "/ps1"}, IssuedAt: time.Now().Unix(), ID: jti, TXN: "one-txn",
		SubID: json.RawMessage(fmt.Sprintf(`{"format":"email","email":%q}`, mail)), Events: []set.Event{{Type: sessionRevoked, Payload: json.RawMessage(`{"event_timestamp":1700000000}`)}}}
	if change != nil {
		change(&c)
	}
	payload, err := c.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := p.signer.Sign(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

func (p *peer) look(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// waiting is how much is neither acknowledged nor refused.
func (p *peer) waiting() (n int) {
	p.look(func() { n = len(p.queue) })
	return n
}

func (w *world) docPeer(p *peer, more string) string {
	return fmt.Sprintf("---\nkind: source\nname: peer\ntype: ssf\nissuer: %q\ndelivery: poll\nstream: create\ncorrelate: [{format: email}]\n%s", p.URL, more)
}

func (w *world) kept(source, jti string) bool {
	s, err := w.srv.store.SignalByJTI(context.Background(), "default", source, jti)
	return err == nil && s != nil
}
