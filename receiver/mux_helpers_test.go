package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign/event/ssf"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/ssftest"
)

// till is a transmitter's receipt endpoint without a network: it judges what comes as design §6.2 says, and keeps it.
type till struct {
	t       *testing.T
	mu      sync.Mutex
	orders  map[string]*receipt.Order // by jti
	known   map[string][]receipt.Known
	taken   []*receipt.Receipt
	answers []int // in place of the next ones
	asked   int
	shown   []string
}

func (x *till) RoundTrip(r *http.Request) (*http.Response, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked++
	x.shown = append(x.shown, r.Header.Get("Authorization"))
	body, _ := io.ReadAll(r.Body)
	if len(x.answers) > 0 {
		status := x.answers[0]
		x.answers = x.answers[1:]
		if status == 0 {
			return nil, errors.New("connection reset")
		}
		if status != 202 {
			return say(status, `{"err":"invalid_request","receipt_error":"schema","description":"no"}`), nil
		}
	}
	token, err := set.Verify(r.Context(), string(body), &set.Policy{Issuer: "https://app.example.com", Audience: []string{issuer}, Algorithms: set.Algorithms(),
		Keys: set.StaticKeys{ssftest.Signer(set.EdDSA, "till-1").Public()}, ExactType: true, RequireKeyID: true})
	if err != nil || r.URL.String() != "https://idp.example.test/receipts" || r.Header.Get("Content-Type") != receiver.MediaType {
		x.t.Errorf("at %s: %v", r.URL, err)
		return say(400, ""), nil
	}
	claims := token.Claims()
	_, jti, err := receipt.Named(&claims)
	if err != nil {
		x.t.Error(err)
	}
	got, how, problem := receipt.Check(x.orders[jti], token, x.known[jti], time.Now().Unix(), receipt.Default())
	if problem != nil {
		x.t.Errorf("receipt refused: %v", problem)
		return say(400, ""), nil
	}
	if how != receipt.Identical {
		x.taken = append(x.taken, got)
		x.known[jti] = append(x.known[jti], receipt.KnownOf(token, got))
	}
	return say(202, ""), nil
}

func (x *till) receipts() []*receipt.Receipt {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.taken)
}

// shop is an application with a Mux, in a bubble.
type shop struct {
	t     *testing.T
	mux   *receiver.Mux
	inbox receiver.Inbox
	till  *till
	sent  []error
	stop  func()
}

func newShop(t *testing.T, inbox receiver.Inbox, adjust func(*receiver.MuxConfig), register func(*receiver.Mux)) *shop {
	t.Helper()
	s := &shop{t: t, inbox: inbox, till: &till{t: t, orders: map[string]*receipt.Order{}, known: map[string][]receipt.Known{}}}
	s.start(adjust, register)
	return s
}

// start makes a Mux on the inbox and runs it, as a process does that begins.
func (s *shop) start(adjust func(*receiver.MuxConfig), register func(*receiver.Mux)) {
	s.t.Helper()
	cfg := receiver.MuxConfig{
		Issuer: issuer, Audience: []string{audience}, Keys: set.StaticKeys{newSigner().Public()}, Algorithms: set.Algorithms(), StreamID: streamID,
		Inbox: s.inbox, HTTP: &http.Client{Transport: s.till}, Log: slog.New(slog.DiscardHandler),
		Receipts: &receiver.Receipts{
			Signer: ssftest.Signer(set.EdDSA, "till-1"), Issuer: "https://app.example.com", Endpoint: "https://idp.example.test/receipts",
			Credential: receiver.Bearer("token-1"), Sent: func(_ *receipt.Receipt, err error) { s.sent = append(s.sent, err) },
		},
	}
	if adjust != nil {
		adjust(&cfg)
	}
	var err error
	if s.mux, err = receiver.NewMux(cfg); err != nil {
		s.t.Fatal(err)
	}
	if register != nil {
		register(s.mux)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.mux.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// token signs an event about jane; a directive makes it an order, which the till knows.
func (s *shop) token(jti, typ, payload, directive string) string {
	s.t.Helper()
	c := claims()
	c.ID, c.IssuedAt = jti, time.Now().Unix()
	c.Events = []set.Event{{Type: typ, Payload: json.RawMessage(payload)}}
	if typ == ssf.VerificationURI || typ == ssf.StreamUpdatedURI {
		c.SubID = json.RawMessage(`{"format":"opaque","id":"` + streamID + `"}`)
	}
	if directive != "" {
		c.Extra = []set.Member{{Name: receipt.Default().Directive, Value: json.RawMessage(directive)}}
	}
	return s.signed(c)
}

func (s *shop) signed(c *set.Claims) string {
	compact := sign(s.t, c)
	u, err := set.Parse(compact)
	if err != nil {
		s.t.Fatal(err)
	}
	if o, err := receipt.OrderOf(u, receipt.Default()); err == nil {
		o.ReceiptIssuer, o.ReceiptAudience = "https://app.example.com", issuer
		s.till.orders[c.ID] = o
	}
	return compact
}

// take pushes a token and wants this status.
func (s *shop) take(compact string, want int) *httptest.ResponseRecorder {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, push(compact))
	if w.Code != want {
		s.t.Errorf("answer %d %s, want %d", w.Code, w.Body, want)
	}
	return w
}

// only gives the one receipt that was taken.
func (s *shop) only() *receipt.Receipt {
	s.t.Helper()
	all := s.till.receipts()
	if len(all) != 1 {
		s.t.Fatalf("%d receipts", len(all))
	}
	return all[0]
}

const (
	revoke   = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`
	watching = `{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"when":"all"}}`
)
