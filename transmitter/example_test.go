package transmitter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strings"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receipt"
	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// A Transmitter in ten lines: mount it, run it, send.
func Example() {
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		log.Fatal(err)
	}
	signer, err := set.NewSigner(set.ES256, "key-1", key)
	if err != nil {
		log.Fatal(err)
	}
	t, err := transmitter.New(transmitter.Config{
		Issuer:   "https://idp.example",
		Signers:  []*set.Signer{signer},
		Registry: event.NewRegistry(caep.Vocabulary()),
		Store:    new(transmitter.Memory),
		Caller:   transmitter.StaticBearer(map[string]transmitter.Caller{"secret": {Receiver: "crm"}}),
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/", t) // discovery, keys, stream API
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
