package receiver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// A receiver: say who is accepted, keep what comes, end the person's sessions later.
func ExampleHandler() {
	key, _ := set.GenerateKey(set.RS256)
	signer, _ := set.NewSigner(set.RS256, "k1", key) // the identity provider's, here for the example

	endpoint := httptest.NewServer(&receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			return &set.Policy{
				Issuer:   "https://idp.example.com",
				Audience: []string{"https://app.example.com"},
				Keys:     set.StaticKeys{signer.Public()}, // set.NewRemoteKeys for those at the issuer's jwks_uri
			}, nil
		},
		Registry: event.NewRegistry(caep.Vocabulary()),
		Keep: func(_ context.Context, d *receiver.Delivery) error {
			email, _ := d.Subject.Email()
			fmt.Println("keep", d.Type.Name, "about", email) // write it to a table and return nil once it is there
			return nil
		},
	})
	defer endpoint.Close()

	// The identity provider sends.
	claims := set.Claims{
		Issuer: "https://idp.example.com", Audience: []string{"https://app.example.com"}, IssuedAt: 1795314735, ID: set.NewID(),
		SubID:  json.RawMessage(`{"format":"email","email":"jane@example.com"}`),
		Events: []set.Event{{Type: caep.SessionRevokedURI, Payload: json.RawMessage(`{}`)}},
	}
	payload, _ := claims.Marshal()
	compact, _ := signer.Sign(payload)
	answer, err := http.Post(endpoint.URL, receiver.MediaType, strings.NewReader(compact))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	// Output:
	// keep caep/session-revoked about jane@example.com
	// 202 Accepted
}

// A client finds a transmitter and makes a stream there.
func ExampleClient() {
	var issuer string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(stream.Metadata{Issuer: issuer, SpecVersion: stream.SpecVersion, ConfigurationEndpoint: issuer + "/streams"})
	})
	mux.HandleFunc("POST /streams", func(w http.ResponseWriter, r *http.Request) {
		var asked stream.Configuration
		_ = json.NewDecoder(r.Body).Decode(&asked)
		asked.StreamID, asked.Issuer, asked.Audience, asked.EventsDelivered = "st_1", issuer, stream.Audience{"https://app.example.com"}, asked.EventsRequested
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(asked)
	})
	transmitter := httptest.NewServer(mux)
	defer transmitter.Close()
	issuer = transmitter.URL

	ctx := context.Background()
	client := &receiver.Client{Authorize: receiver.Bearer("from-the-operator")}
	metadata, err := client.Discover(ctx, issuer, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	made, err := client.Create(ctx, metadata, &stream.Configuration{
		EventsRequested: []string{caep.SessionRevokedURI},
		Delivery:        &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://app.example.com/events", AuthorizationHeader: "Bearer push-secret"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(made.StreamID, made.Audience, len(made.EventsDelivered))
	// Output: st_1 [https://app.example.com] 1
}
