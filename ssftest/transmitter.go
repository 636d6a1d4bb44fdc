package ssftest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/ssf"
	"countersign/set"
	"countersign/transmitter"
)

// Transmitter is an SSF Transmitter on a TLS server, with a Memory store and one receiver, "receiver", whose bearer
// token is Token.
type Transmitter struct {
	*transmitter.Transmitter
	// Issuer is also where the server listens.
	Issuer string
	// Store is what it keeps.
	Store *transmitter.Memory
	// Server runs it.
	Server *httptest.Server
}

// Token is the bearer token of the receiver that a test Transmitter knows.
const Token = "test-token"

// NewTransmitter starts a Transmitter that signs with ES256. adjust may change its configuration; nil: as it is. It
// delivers and serves until the test ends.
func NewTransmitter(t testing.TB, adjust func(*transmitter.Config)) *Transmitter {
	t.Helper()
	x := &Transmitter{Store: new(transmitter.Memory)}
	x.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { x.ServeHTTP(w, r) }))
	t.Cleanup(x.Server.Close)
	x.Issuer = x.Server.URL
	cfg := transmitter.Config{
		Issuer:   x.Issuer,
		Signers:  []*set.Signer{Signer(set.ES256, "test-es256")},
		Registry: event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary()),
		Store:    x.Store,
		Caller:   transmitter.StaticBearer(map[string]transmitter.Caller{Token: {Receiver: "receiver"}}),
		Log:      slog.New(slog.DiscardHandler),
	}
	if adjust != nil {
		adjust(&cfg)
	}
	var err error
	if x.Transmitter, err = transmitter.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("transmitter: %v", err)
		}
	})
	return x
}
