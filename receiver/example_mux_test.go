package receiver_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// sessions is the application's own.
type sessions map[string]int

func (s sessions) end(email string) int { n := s[email]; delete(s, email); return n }

// A Receiver in somebody's mux: a signal ends the sessions of a person.
func ExampleMux() {
	idp := exampleIdentityProvider() // yours has its keys at its jwks_uri; then Keys stays empty
	app := sessions{"jane@example.com": 3}

	mux := http.NewServeMux()
	mux.HandleFunc("/shop/", func(http.ResponseWriter, *http.Request) {}) // what was there before
	signals, err := receiver.NewMux(receiver.MuxConfig{
		Issuer: "https://idp.example.com", Audience: []string{"https://app.example.com"}, Authorization: "Bearer push-secret",
		Keys: set.StaticKeys{idp.Public()}, Inbox: receiver.Memory(), // SQLInbox, where a signal must outlive the process
	})
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan string, 1)
	signals.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
		email, _ := s.Subject.Email()
		ended <- fmt.Sprint("ended ", app.end(email), " sessions of ", email)
		return receipt.Line{}, nil
	})
	mux.Handle("/events", signals)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go signals.Run(ctx)

	// The identity provider sends.
	server := httptest.NewServer(mux)
	defer server.Close()
	claims := set.Claims{
		Issuer: "https://idp.example.com", Audience: []string{"https://app.example.com"}, IssuedAt: 1795314735, ID: set.NewID(),
		SubID:  json.RawMessage(`{"format":"email","email":"jane@example.com"}`),
		Events: []set.Event{{Type: caep.SessionRevokedURI, Payload: json.RawMessage(`{}`)}},
	}
	fmt.Println(pushTo(server.URL+"/events", idp, claims))
	fmt.Println(<-ended)
	// Output:
	// 202 Accepted
	// ended 3 sessions of jane@example.com
}

// The whole of an order: a stream whose transmitter takes receipts, the order by poll, the function, and the receipt that
// comes back signed.
func ExampleReceipts() {
	taken := make(chan string, 1)
	idp, close := exampleTransmitter(func(r *receipt.Receipt) {
		l := r.Lines[0]
		taken <- fmt.Sprint(r.Stage, " receipt: ", r.Outcome, ", ", l.Action, " ", l.Status, ", ", *l.Counts.Acted, " ", l.Counts.Unit)
	})
	defer close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	// Set up: a stream with poll delivery, and the offer to answer orders.
	client := &receiver.Client{HTTP: idp.client, Credential: receiver.Bearer("secret")}
	metadata, err := client.Discover(ctx, idp.issuer, "")
	if err != nil {
		log.Fatal(err)
	}
	receipts := &receiver.Receipts{
		Signer: ssftest.Signer(set.EdDSA, "till-1"), // from your key store
		Issuer: "https://app.example.com", Credential: client.Credential, Merchant: receipt.Merchant{Name: "Example Shop"},
	}
	want := &stream.Configuration{EventsRequested: []string{caep.SessionRevokedURI}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	if _, err := receipts.Ask(metadata, want, receipt.Capability{Action: "revoke_sessions"}); err != nil {
		log.Fatal(err)
	}
	made, err := client.Create(ctx, metadata, want)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("receipts agreed:", receipts.Agree(metadata, made))

	// The function: what it returns becomes a line of the receipt.
	app := sessions{"jane@example.com": 3}
	signals, err := receiver.NewMux(receiver.MuxConfig{
		Issuer: idp.issuer, Audience: made.Audience, Algorithms: set.Algorithms(), Inbox: receiver.Memory(), Receipts: receipts,
		HTTP: idp.client, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	signals.OnSessionRevoked(func(_ context.Context, s *receiver.SessionRevoked) (receipt.Line, error) {
		email, _ := s.Subject.Email()
		n := app.end(email)
		return receipt.Line{Status: receipt.Succeeded, Reason: "done", Counts: receipt.CountsOf("session", n, n, 0)}, nil
	})
	poller, err := receiver.NewPoller(client, made, signals.Handler())
	if err != nil {
		log.Fatal(err)
	}
	poller.Log = slog.New(slog.DiscardHandler)
	go signals.Run(ctx)
	go poller.Run(ctx)

	// The identity provider orders.
	_, err = idp.Send(ctx, transmitter.Message{
		Type: "caep/session-revoked", SubID: json.RawMessage(`{"format":"email","email":"jane@example.com"}`),
		Order: json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"evidence":"counted"}}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-taken)
	// Output:
	// receipts agreed: true
	// final receipt: fulfilled, revoke_sessions succeeded, 3 session
}

// identityProvider is a transmitter on a test server.
type identityProvider struct {
	*transmitter.Transmitter
	issuer string
	client *http.Client // trusts its certificate
}

// exampleTransmitter starts a transmitter that takes receipts from its one receiver, whose token is "secret".
func exampleTransmitter(receipts func(*receipt.Receipt)) (*identityProvider, func()) {
	idp := new(identityProvider)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { idp.ServeHTTP(w, r) }))
	idp.issuer, idp.client = server.URL, server.Client()
	var err error
	idp.Transmitter, err = transmitter.New(transmitter.Config{
		Issuer:   server.URL,
		Signers:  []*set.Signer{ssftest.Signer(set.ES256, "idp-1")},
		Registry: event.NewRegistry(caep.Vocabulary()), Store: new(transmitter.Memory),
		Caller: transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "app"}}),
		Receipts: &receipt.Settings{
			DeliveryMethods: []string{receipt.DeliveryPush}, DirectiveEvents: []string{caep.SessionRevokedURI},
			Actions: []string{"revoke_sessions"}, Algorithms: []string{"EdDSA"},
		},
		OnReceipt: func(_ context.Context, r transmitter.AcceptedReceipt) { receipts(readReceipt(r.Receipt.Compact)) },
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- idp.Run(ctx) }()
	return idp, func() {
		stop()
		<-done
		server.CloseClientConnections()
		server.Close()
	}
}

func readReceipt(compact string) *receipt.Receipt {
	u, err := set.Parse(compact)
	if err != nil {
		log.Fatal(err)
	}
	r, err := receipt.ReceiptOf(u, receipt.Default())
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func exampleIdentityProvider() *set.Signer {
	key, err := set.GenerateKey(set.RS256)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := set.NewSigner(set.RS256, "k1", key)
	if err != nil {
		log.Fatal(err)
	}
	return signer
}

func pushTo(url string, signer *set.Signer, claims set.Claims) string {
	payload, err := claims.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	compact, err := signer.Sign(payload)
	if err != nil {
		log.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(compact))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Content-Type", receiver.MediaType)
	r.Header.Set("Authorization", "Bearer push-secret")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
	return answer.Status
}

// An inbox in the application's own database.
func ExampleSQLInbox() {
	db, err := sql.Open("sqlite", ":memory:") // any driver will do
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // a database in memory belongs to its connection
	inbox := &receiver.SQLInbox{DB: db, Dialect: receiver.SQLite}
	schema, err := inbox.Schema()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(schema); err != nil { // among your migrations
		log.Fatal(err)
	}
	_, err = receiver.NewMux(receiver.MuxConfig{Issuer: "https://idp.example.com", Audience: []string{"https://app.example.com"}, Inbox: inbox})
	fmt.Println(err)
	// Output: <nil>
}

// Subjects are added from wherever they come, with progress.
func ExampleClient_AddSubjects() {
	idp, close := exampleTransmitter(func(*receipt.Receipt) {})
	defer close()
	ctx := context.Background()
	client := &receiver.Client{HTTP: idp.client, Credential: receiver.Bearer("secret")}
	metadata, used, err := client.DiscoverAny(ctx, idp.issuer, "", true)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.TrimPrefix(used, idp.issuer))
	want := &stream.Configuration{EventsRequested: []string{caep.SessionRevokedURI}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	made, err := client.Create(ctx, metadata, want)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("differences:", len(receiver.Adopt(made, want)))
	people := func(yield func(receiver.Subject) bool) {
		for _, email := range []string{"jane@example.com", "joe@example.com"} {
			if !yield(receiver.Subject{Identifier: subject.Email(email)}) {
				return
			}
		}
	}
	progress, err := client.AddSubjects(ctx, metadata, made.StreamID, people, receiver.Bulk{Progress: func(p receiver.Progress) { fmt.Println("row", p.Row) }})
	fmt.Println(progress.Done, progress.Refused, err)
	// Output:
	// /.well-known/ssf-configuration
	// differences: 0
	// row 1
	// row 2
	// 2 0 <nil>
}
