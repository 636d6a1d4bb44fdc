package idp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
	"countersign/transmitter"
)

// Config is what an identity provider is made from.
type Config struct {
	// Token is the bearer token that the one receiver shows.
	Token string
	// Cert is the server certificate; Roots are trusted for what it calls.
	Cert  tls.Certificate
	Roots *x509.CertPool
	// Before, where not nil, stands before the whole server: a proxy that may alter what comes in.
	Before func(http.Handler) http.Handler
	// Algorithm of the SETs; empty: RS256.
	Algorithm set.Algorithm
	// Took is told of each accepted receipt; nil: nobody is.
	Took func(transmitter.AcceptedReceipt)
}

// Provider is a running identity provider. It is safe for concurrent use.
type Provider struct {
	// Issuer is its address and the iss of its SETs.
	Issuer string

	tell   func(transmitter.AcceptedReceipt)
	t      *transmitter.Transmitter
	store  *transmitter.Memory
	signer *set.Signer
	srv    *http.Server
	client *http.Client
	cancel context.CancelFunc
	end    sync.WaitGroup

	mu       sync.Mutex
	sent     map[string]set.Claims // jti → claims of the order
	tokens   map[string]string     // jti → compact order
	accepted map[string][]entry    // order jti → receipts
	news     chan struct{}         // closed and made anew with each receipt
}

type entry struct {
	JWS        string `json:"jws"`
	AcceptedAt int64  `json:"accepted_at,omitempty"`
}

// Actions are what this provider may order, and the algorithms in which it takes receipts.
var (
	Actions    = []string{"revoke_sessions", "reauthenticate", "disable_account", "enable_account"}
	Algorithms = []string{"EdDSA", "ES256", "RS256"}
)

// receiver is the name of the one receiver.
const receiver = "hub"

// Start listens on a free loopback port and delivers until Close.
func Start(cfg Config) (*Provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = set.RS256
	}
	key, err := set.GenerateKey(cfg.Algorithm)
	if err != nil {
		return nil, err
	}
	signer, err := set.NewSigner(cfg.Algorithm, "idp-1", key)
	if err != nil {
		return nil, err
	}
	p := &Provider{
		tell:   cfg.Took,
		Issuer: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port),
		store:  &transmitter.Memory{}, signer: signer,
		sent: map[string]set.Claims{}, tokens: map[string]string{}, accepted: map[string][]entry{}, news: make(chan struct{}),
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cfg.Roots}, MaxIdleConnsPerHost: 16}
	p.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	p.t, err = transmitter.New(transmitter.Config{
		Issuer: p.Issuer, Signers: []*set.Signer{signer}, Store: p.store,
		Registry: event.NewRegistry(caep.Vocabulary(), ssf.Vocabulary()),
		Caller:   transmitter.StaticBearer(map[string]transmitter.Caller{cfg.Token: {Receiver: receiver, Scopes: []string{transmitter.ScopeRead, transmitter.ScopeManage}, OneStream: true}}),
		Receipts: &receipt.Settings{
			DeliveryMethods: []string{"push"},
			DirectiveEvents: []string{caep.SessionRevokedURI, caep.CredentialChangeURI},
			Actions:         Actions,
			Algorithms:      Algorithms,
		},
		OnReceipt: p.took, Client: p.client, Transport: transport,
	})
	if err != nil {
		return nil, err
	}
	var h http.Handler = p.t
	if cfg.Before != nil {
		h = cfg.Before(h)
	}
	p.srv = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, ErrorLog: log.New(quiet{}, "", 0)}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.end.Go(func() { p.srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cfg.Cert}})) })
	p.end.Go(func() { p.t.Run(ctx) })
	return p, nil
}

// Close stops delivering and listening.
func (p *Provider) Close() {
	p.cancel()
	p.srv.Close()
	p.end.Wait()
	p.client.CloseIdleConnections()
}

// WaitStream waits until the receiver has made its stream and receipts are active on it.
func (p *Provider) WaitStream(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		streams, err := p.store.Streams(ctx, receiver)
		if err != nil {
			return err
		}
		for _, s := range streams {
			if s.ReceiptIssuer != "" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the hub made no stream with receipts at the identity provider in time")
		case <-tick.C:
		}
	}
}

// Sent is one order on its way.
type Sent struct {
	JTI     string
	SetHash string
	Type    string
}

// Revoke orders that every session of a person ends, everywhere, proven, by a deadline.
func (p *Provider) Revoke(ctx context.Context, email string, within time.Duration, why string) (*Sent, error) {
	now := time.Now()
	order, err := json.Marshal(map[string]any{
		"obligation":  "must",
		"actions":     []any{map[string]any{"id": "a1", "action": "revoke_sessions", "params": map[string]string{"reach": "global"}}},
		"complete_by": now.Add(within).Unix(),
		"priority":    "emergency",
		"receipt":     map[string]string{"when": "final", "evidence": "verified"},
	})
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(map[string]any{
		"initiating_entity": "policy",
		"event_timestamp":   now.Unix(),
		"reason_admin":      map[string]string{"en": why},
	})
	if err != nil {
		return nil, err
	}
	return p.Send(ctx, transmitter.Message{Type: caep.SessionRevokedURI, SubID: subject.Email(email).Raw(), Payload: payload, Order: order})
}

// Send transmits a message to the receiver's stream.
func (p *Provider) Send(ctx context.Context, m transmitter.Message) (*Sent, error) {
	sent, err := p.t.Send(ctx, m)
	if err != nil {
		return nil, err
	}
	if len(sent.Queued) != 1 {
		return nil, fmt.Errorf("the event went to %d streams, not to one", len(sent.Queued))
	}
	q := sent.Queued[0]
	if q.Input != "" {
		compact, err := p.signer.Complete(q.Input)
		if err != nil {
			return nil, err
		}
		u, err := set.Parse(compact)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.sent[q.JTI], p.tokens[q.JTI] = u.Claims(), compact
		p.mu.Unlock()
	}
	return &Sent{JTI: q.JTI, SetHash: q.SetHash, Type: m.Type}, nil
}

func (p *Provider) took(_ context.Context, r transmitter.AcceptedReceipt) {
	if p.tell != nil {
		p.tell(r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted[r.Order.JTI] = append(p.accepted[r.Order.JTI], entry{r.Receipt.Compact, r.Receipt.Accepted.Time().Unix()})
	close(p.news)
	p.news = make(chan struct{})
}

// Receipt is what came back for an order.
type Receipt struct {
	Number, Outcome, Stage, Compact string
	Event                           *receipt.Receipt
}

// Await waits for a final receipt of an order.
func (p *Provider) Await(ctx context.Context, jti string) (*Receipt, error) {
	for {
		p.mu.Lock()
		list, news := p.accepted[jti], p.news
		p.mu.Unlock()
		if n := len(list); n > 0 {
			r, err := read(list[n-1].JWS)
			if err != nil {
				return nil, err
			}
			if r.Stage != "interim" {
				return r, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no accepted receipt for the order in time: %w", ctx.Err())
		case <-news:
		}
	}
}

// read opens a receipt that the transmitter has accepted, and so verified, already.
func read(compact string) (*Receipt, error) {
	u, err := set.Parse(compact)
	if err != nil {
		return nil, err
	}
	var body receipt.Receipt
	if err := json.Unmarshal(u.Claims().Events[0].Payload, &body); err != nil {
		return nil, err
	}
	return &Receipt{Number: body.Number, Outcome: body.Outcome, Stage: body.Stage, Compact: compact, Event: &body}, nil
}

// OrderToken is the compact form of an order as it was sent.
func (p *Provider) OrderToken(jti string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tokens[jti]
}

// Evidence writes the evidence file (receipts design §9.1) of what was sent and accepted: both tokens,
// both parties' keys, who may answer on which stream, and when each receipt was accepted.
func (p *Provider) Evidence(ctx context.Context) ([]byte, error) {
	p.mu.Lock()
	orders, receipts := []entry{}, []entry{}
	for _, c := range p.tokens {
		orders = append(orders, entry{JWS: c})
	}
	for _, list := range p.accepted {
		receipts = append(receipts, list...)
	}
	p.mu.Unlock()
	jwks := map[string]json.RawMessage{p.Issuer: set.MarshalJWKS([]set.Key{p.signer.Public()})}
	streams, err := p.store.Streams(ctx, receiver)
	if err != nil {
		return nil, err
	}
	type pair struct {
		Iss             string `json:"iss"`
		Aud             string `json:"aud"`
		ReceiptIssuer   string `json:"receipt_issuer"`
		ReceiptAudience string `json:"receipt_audience"`
	}
	var pairs []pair
	for _, s := range streams {
		var settings receipt.Settings
		if err := json.Unmarshal(s.Receipts, &settings); err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{p.Issuer, s.Audience[0], settings.ReceiptIssuer, settings.ReceiptAudience})
		if settings.JWKSURI == "" {
			jwks[settings.ReceiptIssuer] = settings.JWKS
			continue
		}
		keys, err := p.fetch(ctx, settings.JWKSURI)
		if err != nil {
			return nil, err
		}
		jwks[settings.ReceiptIssuer] = keys
	}
	return json.MarshalIndent(map[string]any{"version": 1, "orders": orders, "receipts": receipts, "jwks": jwks, "streams": pairs}, "", " ")
}

func (p *Provider) fetch(ctx context.Context, uri string) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var keys json.RawMessage
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<18)).Decode(&keys)
	return keys, err
}

type quiet struct{}

func (quiet) Write(b []byte) (int, error) { return len(b), nil }
