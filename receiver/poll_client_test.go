package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"countersign/event"
	"countersign/event/caep"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

func TestPoll(t *testing.T) {
	status, answer := http.StatusOK, `{"sets":{"j1":"x.y.z"},"moreAvailable":true}`
	var got, auth string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, auth = r.Method+" "+r.URL.Path+" "+string(body), r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	c := &receiver.Client{Authorize: receiver.Bearer("t")}
	ctx := t.Context()
	out, err := c.Poll(ctx, srv.URL+"/poll/s1", &stream.PollRequest{ReturnImmediately: true, Ack: []string{"j0"}})
	if err != nil || out.Sets["j1"] != "x.y.z" || !out.MoreAvailable {
		t.Fatalf("%+v %v", out, err)
	}
	if got != `POST /poll/s1 {"returnImmediately":true,"ack":["j0"]}` || auth != "Bearer t" {
		t.Errorf("sent %q with %q", got, auth)
	}
	// RFC 8936 §2.3: one answer may be much longer than an answer of the management API.
	answer = `{"sets":{"j1":"` + strings.Repeat("x", receiver.MaxAnswer+10) + `"}}`
	if out, err = c.Poll(ctx, srv.URL, &stream.PollRequest{}); err != nil || len(out.Sets["j1"]) < receiver.MaxAnswer {
		t.Errorf("a long answer: %v", err)
	}
	for name, c2 := range map[string]struct {
		status int
		answer string
		is     func(error) bool
	}{
		"refused":       {401, `{}`, func(err error) bool { var a *receiver.APIError; return errors.As(err, &a) && a.Status == 401 }},
		"too many":      {429, ``, func(err error) bool { var a *receiver.APIError; return errors.As(err, &a) && a.Temporary() }},
		"not an object": {200, `[]`, func(err error) bool { return errors.Is(err, receiver.ErrAnswer) }},
		"no JSON":       {200, `<html>`, func(err error) bool { return errors.Is(err, receiver.ErrAnswer) }},
		"empty":         {200, ``, func(err error) bool { return errors.Is(err, receiver.ErrAnswer) }},
	} {
		status, answer = c2.status, c2.answer
		if _, err := c.Poll(ctx, srv.URL, &stream.PollRequest{}); !c2.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Poll(ctx, "", &stream.PollRequest{}); !errors.Is(err, receiver.ErrUnsupported) {
		t.Errorf("no endpoint: %v", err)
	}
}

// What a pushed token gets as an answer, a polled one gets as an error.
func TestTake(t *testing.T) {
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := set.NewSigner(set.ES256, "k1", key)
	if err != nil {
		t.Fatal(err)
	}
	var keep error
	kept := 0
	h := &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			return &set.Policy{Issuer: "https://idp.example", Audience: []string{"me"}, Keys: set.StaticKeys{signer.Public()}, Algorithms: set.Algorithms()}, nil
		},
		Registry: event.NewRegistry(caep.Vocabulary()),
		Keep:     func(context.Context, *receiver.Delivery) error { kept++; return keep },
	}
	token := func(issuer string) string {
		c := set.Claims{Issuer: issuer, Audience: []string{"me"}, IssuedAt: 1700000000, ID: "j", SubID: json.RawMessage(`{"format":"email","email":"a@b.example"}`),
			Events: []set.Event{{Type: caep.SessionRevokedURI}}}
		payload, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	good := token("https://idp.example")
	if err := h.Take(t.Context(), good); err != nil || kept != 1 {
		t.Errorf("kept %d: %v", kept, err)
	}
	var we stream.WireError
	if err := h.Take(t.Context(), token("https://other.example")); !errors.As(err, &we) || we.Err != stream.InvalidIssuer {
		t.Errorf("another issuer: %v", err)
	}
	keep = &receiver.Refusal{Err: stream.AccessDenied, Description: "no"}
	if err := h.Take(t.Context(), good); !errors.As(err, &we) || we.Err != stream.AccessDenied {
		t.Errorf("refused by Keep: %v", err)
	}
	keep = receiver.ErrRepeat
	if err := h.Take(t.Context(), good); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	for _, keep = range []error{errors.New("disk full"), &receiver.Busy{Limited: true}} {
		if err := h.Take(t.Context(), good); err == nil || errors.As(err, &we) {
			t.Errorf("%v: %v is a verdict", keep, err)
		}
	}
}

// A polling receiver acknowledges what it kept with the next request.
func ExampleClient_Poll() {
	waiting := map[string]string{"j1": "not.a.token"}
	transmitter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req stream.PollRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		for jti, e := range req.SetErrs {
			fmt.Println("refused", jti, e.Err)
			delete(waiting, jti)
		}
		_ = json.NewEncoder(w).Encode(stream.PollResponse{Sets: waiting})
	}))
	defer transmitter.Close()

	client := &receiver.Client{Authorize: receiver.Bearer("from-the-operator")}
	handler := &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			return &set.Policy{Issuer: "https://idp.example.com", Audience: []string{"https://app.example.com"}, Keys: set.StaticKeys{}}, nil
		},
		Keep: func(context.Context, *receiver.Delivery) error { return nil }, // write it to a table
	}
	req := &stream.PollRequest{}
	for range 2 { // in a program: until it is told to stop
		answer, err := client.Poll(context.Background(), transmitter.URL, req)
		if err != nil {
			fmt.Println(err)
			return
		}
		req = &stream.PollRequest{SetErrs: map[string]stream.WireError{}}
		for jti, compact := range answer.Sets {
			var wrong stream.WireError
			switch err := handler.Take(context.Background(), compact); {
			case err == nil:
				req.Ack = append(req.Ack, jti)
			case errors.As(err, &wrong):
				req.SetErrs[jti] = wrong
			} // anything else: it comes again
		}
	}
	// Output: refused j1 invalid_request
}
