package receiver_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/receiver"
	"countersign/stream"
)

// What a transmitter or an authorization server sends back of our credential is in no error: errors are logged and shown.
func TestCredentialSentBack(t *testing.T) {
	const token = "opaque-access-token-1"
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"what is %s in %s?"}`, credential, r.Header.Get("Authorization"))
	}
	line := func(w http.ResponseWriter, r *http.Request) {
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			fmt.Fprintf(c, "%s\r\n\r\n", r.Header.Get("Authorization"))
			c.Close()
		}
	}
	for name, answer := range map[string]http.HandlerFunc{"in the body": echo, "as a status line": line} {
		srv := httptest.NewServer(answer)
		md := &stream.Metadata{Issuer: srv.URL, ConfigurationEndpoint: srv.URL, VerificationEndpoint: srv.URL, StatusEndpoint: srv.URL}
		c := &receiver.Client{Credential: receiver.Bearer(token)}
		_, err := c.Create(t.Context(), md, &stream.Configuration{})
		_, perr := c.Poll(t.Context(), srv.URL, &stream.PollRequest{})
		for what, err := range map[string]error{"create": err, "poll": perr, "verify": c.Verify(t.Context(), md, "s", "x")} {
			if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "***") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		source := &receiver.TokenSource{ClientID: "client", Secret: "the-secret-there", Endpoint: srv.URL}
		_, err = source.Token(t.Context())
		if err == nil || strings.Contains(err.Error(), "Y2xpZW50OnRoZS1zZWNyZXQtdGhlcmU") || !strings.Contains(err.Error(), "***") {
			t.Errorf("%s, token: %v", name, err)
		}
		srv.Close()
	}
}

// A transmitter with an https issuer whose stream is to be polled by http is not polled: our credential would be anybody's.
func TestPollAddressMustBeHTTPS(t *testing.T) {
	for at, good := range map[string]bool{"https://tx.example.test/poll": true, "http://tx.example.test/poll": false, "//tx.example.test/poll": false, "https:": false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"stream_id":"s","iss":"https://tx.example.test","aud":"a","delivery":{"method":"urn:ietf:rfc:8936","endpoint_url":%q}}`, at)
		}))
		md := &stream.Metadata{Issuer: "https://tx.example.test", ConfigurationEndpoint: srv.URL}
		_, err := new(receiver.Client).Create(t.Context(), md, &stream.Configuration{})
		if good != (err == nil) || !good && !errors.Is(err, receiver.ErrInsecure) {
			t.Errorf("%s: %v", at, err)
		}
		srv.Close()
	}
}
