package transmitter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/transmitter"
)

// A Transmitter in somebody's mux, on somebody's Store, in ten lines.
func Example() {
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := set.NewSigner(set.ES256, "key-1", key)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/shop/", func(http.ResponseWriter, *http.Request) {}) // what was there before

	t, err := transmitter.New(transmitter.Config{
		Issuer: "https://idp.example", Signers: []*set.Signer{signer}, Registry: event.NewRegistry(caep.Vocabulary()),
		Store:  new(transmitter.Memory), // or your own; ssftest.StoreSuite tests it
		Caller: transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "crm"}}),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/.well-known/", t) // discovery
	mux.Handle("/jwks.json", t)    // keys
	mux.Handle("/ssf/", t)         // streams and what belongs to them
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go t.Run(ctx) // delivery

	sent, err := t.Send(ctx, transmitter.Message{
		Type:    "caep/session-revoked",
		SubID:   json.RawMessage(`{"format":"email","email":"alice@example.com"}`),
		Payload: json.RawMessage(`{"event_timestamp":1700000000,"reason_admin":{"en":"laptop stolen"}}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(sent.Queued), "streams took it")
	// Output: 0 streams took it
}

// exampleTransmitter is a transmitter whose receiver "crm" has the token "secret".
func exampleTransmitter() *transmitter.Transmitter {
	t, err := transmitter.New(transmitter.Config{
		Issuer: "http://idp.example", InsecureHTTP: true, // examples do without certificates
		Signers:  []*set.Signer{ssftest.Signer(set.ES256, "key-1")},
		Registry: event.NewRegistry(caep.Vocabulary()),
		Store:    new(transmitter.Memory),
		Caller:   transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "crm"}}),
	})
	if err != nil {
		log.Fatal(err)
	}
	return t
}

func sessionRevokedFor(who string) transmitter.Message {
	return transmitter.Message{Type: "caep/session-revoked", SubID: json.RawMessage(`{"format":"email","email":"` + who + `@example.com"}`)}
}

// A receiver asks for its events by push: the transmitter POSTs each to the receiver's address.
func Example_push() {
	t := exampleTransmitter()
	came := make(chan string)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted) // RFC 8935 §2.2: it is kept; a real receiver verifies it first
		u, err := set.Parse(string(token))
		if err != nil {
			log.Fatal(err)
		}
		came <- fmt.Sprint(r.Header.Get("Content-Type"), " ", r.Header.Get("Authorization"), " ", string(u.Claims().SubID))
	}))
	defer receiver.Close()
	ask(t, "/ssf/streams", "application/json", `{"events_requested":["`+caep.SessionRevokedURI+`"],
		"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"`+receiver.URL+`","authorization_header":"Bearer theirs"}}`)

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- t.Run(ctx) }()
	if _, err := t.Send(ctx, sessionRevokedFor("alice")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-came)
	stop()
	fmt.Println(<-done)
	// Output:
	// application/secevent+jwt Bearer theirs {"format":"email","email":"alice@example.com"}
	// <nil>
}

// A receiver without an address fetches its events: the transmitter gives each stream a poll address, and keeps what was
// not acknowledged.
func Example_poll() {
	t := exampleTransmitter()
	made := asked(t, "POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8936"}}`)
	address, err := url.Parse(made["delivery"].(map[string]any)["endpoint_url"].(string))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := t.Send(context.Background(), sessionRevokedFor("alice")); err != nil {
		log.Fatal(err)
	}
	first := asked(t, "POST", address.Path, `{"maxEvents":10,"returnImmediately":true}`)
	sets := first["sets"].(map[string]any)
	for jti := range sets {
		fmt.Println(len(sets), "event; acknowledging it")
		second := asked(t, "POST", address.Path, `{"ack":["`+jti+`"],"returnImmediately":true}`)
		fmt.Println(second["sets"])
	}
	// Output:
	// 1 event; acknowledging it
	// map[]
}

// A stream that begins with nobody gets events about the subjects that its receiver adds.
func Example_subjects() {
	t, err := transmitter.New(transmitter.Config{
		Issuer: "https://idp.example", Signers: []*set.Signer{ssftest.Signer(set.ES256, "key-1")},
		Registry: event.NewRegistry(caep.Vocabulary()), Store: new(transmitter.Memory),
		Caller:          transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "crm"}}),
		DefaultSubjects: stream.DefaultNone,
	})
	if err != nil {
		log.Fatal(err)
	}
	id := asked(t, "POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8936"}}`)["stream_id"].(string)
	send := func(who string) {
		sent, err := t.Send(context.Background(), sessionRevokedFor(who))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(who, len(sent.Queued))
	}
	send("alice")
	fmt.Println(ask(t, "/ssf/subjects/add", "application/json", `{"stream_id":"`+id+`","subject":{"format":"email","email":"alice@example.com"}}`))
	send("alice")
	send("bob")

	why, err := t.Explain(context.Background(), sessionRevokedFor("bob"), id)
	if err != nil {
		log.Fatal(err)
	}
	for _, step := range why.Steps {
		if !step.OK {
			fmt.Println(step.What + ": " + step.Why)
		}
	}
	// Output:
	// alice 0
	// 200
	// alice 1
	// bob 0
	// subject list: the subject is not on the stream's list
}

// A receiver asks whether its stream works: the state that it gives comes back as an event.
func Example_verification() {
	t := exampleTransmitter()
	made := asked(t, "POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8936"}}`)
	id := made["stream_id"].(string)
	address, err := url.Parse(made["delivery"].(map[string]any)["endpoint_url"].(string))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask(t, "/ssf/verify", "application/json", `{"stream_id":"`+id+`","state":"9b1f6c62"}`))
	for _, token := range asked(t, "POST", address.Path, `{"returnImmediately":true}`)["sets"].(map[string]any) {
		u, err := set.Parse(token.(string))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(u.Claims().Events[0].Payload))
	}
	// Output:
	// 204
	// {"state":"9b1f6c62"}
}

// An order goes to streams that negotiated receipts, and its receipt comes back to OnReceipt.
func ExampleTransmitter_Send_order() {
	signer := ssftest.Signer(set.EdDSA, "key-1")
	merchant := ssftest.Signer(set.EdDSA, "merchant-1")
	t, err := transmitter.New(transmitter.Config{
		Issuer:   "https://idp.example",
		Signers:  []*set.Signer{signer},
		Registry: event.NewRegistry(caep.Vocabulary()),
		Store:    new(transmitter.Memory),
		Caller:   transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "hub"}}),
		Receipts: &receipt.Settings{
			DirectiveEvents: []string{"https://schemas.openid.net/secevent/caep/event-type/session-revoked"},
			Actions:         []string{"revoke_sessions"},
			Algorithms:      []string{"EdDSA"},
		},
		OnReceipt: func(_ context.Context, r transmitter.AcceptedReceipt) {
			fmt.Println("receipt", r.Receipt.Number, r.Receipt.Stage, r.Receipt.Outcome)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// The receiver makes its stream, offering receipts.
	ask(t, "/ssf/streams", "application/json", `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://hub.example/in"},
		"https://ns.countersign.example/ar/1/action-receipts":{"receipt_issuer":"https://hub.example","receipt_delivery":"push",
		"receipt_jwks":`+string(set.MarshalJWKS([]set.Key{merchant.Public()}))+`,"capabilities":[{"action":"revoke_sessions"}]}}`)

	sent, err := t.Send(context.Background(), transmitter.Message{
		Type:  "caep/session-revoked",
		SubID: json.RawMessage(`{"format":"email","email":"alice@example.com"}`),
		Order: json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}]}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(sent.Queued), "order sent")

	// On the other side: read the order, act, and answer.
	token, err := t.Complete(sent.Queued[0].Input)
	if err != nil {
		log.Fatal(err)
	}
	u, err := set.Parse(token)
	if err != nil {
		log.Fatal(err)
	}
	order, err := receipt.OrderOf(u, receipt.Default())
	if err != nil {
		log.Fatal(err)
	}
	order.ReceiptIssuer, order.ReceiptAudience = "https://hub.example", "https://idp.example"
	claims, err := receipt.Issue(order, &receipt.Receipt{
		Number: "CS-EXAMPLE1", Seq: 1, Stage: receipt.StageFinal,
		Order: receipt.OrderLink{ReceivedAt: order.IssuedAt},
		Lines: []receipt.Line{{ID: "a1", Action: "revoke_sessions", Status: receipt.Succeeded, Reason: "done"}},
	}, set.NewID(), order.IssuedAt)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := merchant.Sign(claims)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ask(t, "/ssf/receipts", "application/secevent+jwt", answer))
	// Output:
	// 1 order sent
	// receipt CS-EXAMPLE1 final fulfilled
	// 202
}

// ask posts to the transmitter as its receiver does over the network.
func ask(t *transmitter.Transmitter, path, mediaType, body string) int {
	return do(t, call{method: "POST", path: path, token: "secret", body: body, header: http.Header{"Content-Type": {mediaType}}}).StatusCode
}

// asked is ask for requests whose answer is looked at.
func asked(t *transmitter.Transmitter, method, path, body string) map[string]any {
	r := do(t, call{method: method, path: path, token: "secret", body: body, header: http.Header{"Content-Type": {"application/json"}}})
	var v map[string]any
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
		log.Fatal(r.Status, err)
	}
	return v
}

// StaticBearer knows each receiver by one token.
func ExampleStaticBearer() {
	caller := transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "crm", Scopes: []string{transmitter.ScopeRead}}})
	r, err := http.NewRequest(http.MethodGet, "https://idp.example/ssf/streams", strings.NewReader(""))
	if err != nil {
		log.Fatal(err)
	}
	_, err = caller(r)
	fmt.Println(err)
	r.Header.Set("Authorization", "Bearer secret")
	c, err := caller(r)
	fmt.Println(c.Receiver, err)
	// Output:
	// transmitter: the request carries no credentials
	// crm <nil>
}
