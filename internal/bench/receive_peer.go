package bench

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"countersign/set"
	"countersign/stream"
)

// peer is a transmitter with one poll stream, as small as it can be: it gives what waits until it is acknowledged.
type peer struct {
	url    string
	signer *set.Signer
	srv    *http.Server

	mu    sync.Mutex
	made  bool
	queue map[string]string
	acked map[string]bool
	errs  map[string]string
	news  chan struct{}
}

const peerHold = 5 * time.Second

func startPeer(cert tls.Certificate, signer *set.Signer) (*peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &peer{url: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port), signer: signer,
		queue: map[string]string{}, acked: map[string]bool{}, errs: map[string]string{}, news: make(chan struct{})}
	p.srv = &http.Server{Handler: p, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	go p.srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	return p, nil
}

func (p *peer) close() { p.srv.Close() }

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	cfg := map[string]any{"stream_id": "bench", "iss": p.url, "aud": p.url + "/bench", "events_delivered": []string{sessionRevoked},
		"delivery": map[string]string{"method": stream.PollMethod, "endpoint_url": p.url + "/poll"}}
	switch r.URL.Path {
	case "/.well-known/ssf-configuration":
		reply(map[string]any{"issuer": p.url, "jwks_uri": p.url + "/jwks", "configuration_endpoint": p.url + "/streams", "status_endpoint": p.url + "/status",
			"delivery_methods_supported": []string{stream.PollMethod}, "spec_version": "1_0"})
	case "/jwks":
		w.Write(set.MarshalJWKS([]set.Key{p.signer.Public()}))
	case "/status":
		reply(map[string]string{"stream_id": "bench", "status": "enabled"})
	case "/streams":
		p.mu.Lock()
		made := p.made
		p.made = p.made || r.Method == http.MethodPost
		p.mu.Unlock()
		switch {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusCreated)
			reply(cfg)
		case r.Method == http.MethodGet && r.URL.RawQuery == "" && made:
			reply([]any{cfg})
		case r.Method == http.MethodGet && r.URL.RawQuery == "":
			reply([]any{})
		default:
			reply(cfg)
		}
	case "/poll":
		p.poll(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (p *peer) poll(w http.ResponseWriter, r *http.Request) {
	var req stream.PollRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&req); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	for _, jti := range req.Ack {
		delete(p.queue, jti)
		p.acked[jti] = true
	}
	for jti, e := range req.SetErrs {
		delete(p.queue, jti)
		p.errs[jti] = e.Err
	}
	p.mu.Unlock()
	end := time.Now().Add(peerHold)
	for {
		p.mu.Lock()
		most := len(p.queue)
		if req.MaxEvents != nil {
			most = min(most, *req.MaxEvents)
		}
		if most > 0 || req.ReturnImmediately || time.Now().After(end) {
			out := make(map[string]string, most)
			for jti, token := range p.queue {
				if len(out) == most {
					break
				}
				out[jti] = token
			}
			more := len(p.queue) > most
			p.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"sets": out, "moreAvailable": more})
			return
		}
		news := p.news
		p.mu.Unlock()
		select {
		case <-r.Context().Done():
			return
		case <-news:
		case <-time.After(time.Until(end)):
		}
	}
}

// offer has a token wait for the receiver.
func (p *peer) offer(jti, token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue[jti] = token
	close(p.news)
	p.news = make(chan struct{})
}

// waiting is how many tokens are not answered for.
func (p *peer) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}
