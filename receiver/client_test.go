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
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/stream"
)

// peer is a transmitter that records what it is asked and answers what it is told.
type peer struct {
	*httptest.Server
	md      *stream.Metadata
	client  *receiver.Client
	asked   string // method, path and query of the last request
	body    string
	header  http.Header
	status  int
	answer  string
	answers http.Header
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p := &peer{status: 200, answers: http.Header{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.asked, p.body, p.header = r.Method+" "+r.URL.RequestURI(), string(body), r.Header
		for k, v := range p.answers {
			w.Header()[k] = v
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.answer)
	}))
	t.Cleanup(p.Close)
	p.md = &stream.Metadata{Issuer: issuer, ConfigurationEndpoint: p.URL + "/stream?tenant=blue", StatusEndpoint: p.URL + "/status", VerificationEndpoint: p.URL + "/verify"}
	p.client = &receiver.Client{HTTP: p.Client(), Authorize: receiver.Bearer("token-1")}
	return p
}

// same compares JSON by what it says.
func same(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil && want != "" {
		t.Fatalf("%q: %v", got, err)
	}
	if want != "" {
		if err := json.Unmarshal([]byte(want), &w); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

const answer = `{"stream_id":"s1","iss":"` + issuer + `","aud":"a","events_delivered":[],"description":null,"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rx/1"},"x":1}`

func TestClientAsks(t *testing.T) {
	cfg := &stream.Configuration{
		StreamID: "s1", Issuer: issuer, Audience: stream.Audience{"a"}, EventsSupported: []string{"e"}, EventsRequested: []string{"e"}, EventsDelivered: []string{"e"},
		Delivery:    &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1", AuthorizationHeader: "Bearer p"},
		Description: "d", MinVerificationInterval: 60, Extra: map[string]json.RawMessage{"urn:x": json.RawMessage(`{"y":1}`)},
	}
	const supplied = `"events_requested":["e"],"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://rx/1","authorization_header":"Bearer p"},"description":"d","urn:x":{"y":1}`
	ctx := context.Background()
	tests := []struct {
		name        string
		call        func(c *receiver.Client, md *stream.Metadata) (any, error)
		answer      string
		asked, body string
		covers      []string
	}{
		{"create", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.Create(ctx, md, cfg) }, answer,
			"POST /stream?tenant=blue", `{` + supplied + `}`, []string{"RX-20", "RX-21", "RX-23"}},
		{"read", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.Read(ctx, md, "s1") }, answer,
			"GET /stream?tenant=blue&stream_id=s1", ``, nil},
		{"list", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.List(ctx, md) }, `[` + answer + `]`,
			"GET /stream?tenant=blue", ``, []string{"RX-25"}},
		{"update", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.Update(ctx, md, cfg) }, answer,
			"PATCH /stream?tenant=blue&stream_id=s1", `{"stream_id":"s1",` + supplied + `}`, []string{"RX-26", "RX-28"}},
		{"update one property", func(c *receiver.Client, md *stream.Metadata) (any, error) {
			return c.Update(ctx, md, &stream.Configuration{StreamID: "s1", Description: "new"})
		}, answer, "PATCH /stream?tenant=blue&stream_id=s1", `{"stream_id":"s1","description":"new"}`, []string{"RX-26"}},
		{"replace", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.Replace(ctx, md, cfg) }, answer,
			"PUT /stream?tenant=blue&stream_id=s1", `{"stream_id":"s1",` + supplied + `}`, []string{"RX-27", "RX-28"}},
		{"delete", func(c *receiver.Client, md *stream.Metadata) (any, error) { return nil, c.Delete(ctx, md, "s1") }, ``,
			"DELETE /stream?tenant=blue&stream_id=s1", ``, []string{"RX-29"}},
		{"read status", func(c *receiver.Client, md *stream.Metadata) (any, error) { return c.Status(ctx, md, "s1") }, `{"stream_id":"s1","status":"enabled"}`,
			"GET /status?stream_id=s1", ``, []string{"RX-31"}},
		{"set status", func(c *receiver.Client, md *stream.Metadata) (any, error) {
			return c.SetStatus(ctx, md, stream.Status{StreamID: "s1", Status: stream.Paused, Reason: "r"})
		}, `{"stream_id":"s1","status":"paused"}`, "POST /status", `{"stream_id":"s1","status":"paused","reason":"r"}`, []string{"RX-31"}},
		{"verify", func(c *receiver.Client, md *stream.Metadata) (any, error) { return nil, c.Verify(ctx, md, "s1", "st") }, ``,
			"POST /verify", `{"stream_id":"s1","state":"st"}`, []string{"RX-40"}},
		{"verify without state", func(c *receiver.Client, md *stream.Metadata) (any, error) { return nil, c.Verify(ctx, md, "s1", "") }, ``,
			"POST /verify", `{"stream_id":"s1"}`, nil},
	}
	for _, tt := range tests {
		// P-28: any 2xx is success, whichever the specification names.
		for _, status := range []int{200, 201, 203, 204, 299} {
			if status == 204 && tt.answer != "" {
				continue // no body can come with it
			}
			t.Run(fmt.Sprint(tt.name, " ", status), func(t *testing.T) {
				p := newPeer(t)
				p.status, p.answer = status, tt.answer
				got, err := tt.call(p.client, p.md)
				if err != nil {
					t.Fatal(err)
				}
				req.Covers(t, "P-28")
				req.Covers(t, tt.covers...)
				if p.asked != tt.asked {
					t.Errorf("asked %s, want %s", p.asked, tt.asked)
				}
				same(t, p.body, tt.body)
				if p.header.Get("Authorization") != "Bearer token-1" || p.header.Get("Accept") != "application/json" || (tt.body != "" && p.header.Get("Content-Type") != "application/json") {
					t.Errorf("fields %v", p.header)
				}
				if list, ok := got.([]*stream.Configuration); ok {
					got = list[0]
				}
				if cfg, ok := got.(*stream.Configuration); ok {
					req.Covers(t, "RX-37")
					want := &stream.Configuration{StreamID: "s1", Issuer: issuer, Audience: stream.Audience{"a"}, EventsDelivered: []string{},
						Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1"}, Extra: map[string]json.RawMessage{"x": json.RawMessage("1")}}
					if diff := cmp.Diff(want, cfg); diff != "" {
						t.Errorf("result (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

func TestDiscover(t *testing.T) {
	ctx := context.Background()
	p := newPeer(t)
	p.answer = `{"issuer":"` + p.URL + `/t/blue","jwks_uri":"` + p.URL + `/jwks","unknown":[1]}`
	md, err := p.client.Discover(ctx, p.URL+"/t/blue", "")
	if err != nil {
		t.Fatal(err)
	}
	req.Covers(t, "RX-2", "RX-5", "RX-6")
	if p.asked != "GET /.well-known/ssf-configuration/t/blue" || md.JWKSURI != p.URL+"/jwks" || md.Version() != stream.FirstDraft || string(md.Extra["unknown"]) != "[1]" {
		t.Errorf("asked %s, read %+v", p.asked, md)
	}
	if got := p.header.Get("Authorization"); got != "" {
		t.Errorf("the credential went along: %q", got)
	}

	// Byte for byte (SSF 1.0 §7.2.4): nothing is forgiven, and the usual mistakes are named.
	req.Covers(t, "RX-3", "RX-4", "TX-8", "P-2")
	for other, hint := range map[string]string{
		p.URL + "/t/blue/":            "slash at the end",
		p.URL + "/T/blue":             "upper and lower case",
		"https://evil.example/t/blue": "",
		p.URL + "/t/blue?":            "",
	} {
		p.answer = `{"issuer":"` + other + `","jwks_uri":"https://evil.example/jwks"}`
		md, err := p.client.Discover(ctx, p.URL+"/t/blue", "")
		if !errors.Is(err, receiver.ErrIssuer) || md != nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("issuer %q: %v, %v; want ErrIssuer with %q", other, md, err, hint)
		}
	}

	// An address given by the operator changes where to look and not what to find.
	p.answer = `{"issuer":"https://idp.example"}`
	if _, err := p.client.Discover(ctx, "https://idp.example", p.URL+"/elsewhere"); err != nil || p.asked != "GET /elsewhere" {
		t.Errorf("asked %s, %v", p.asked, err)
	}
	if _, err := p.client.Discover(ctx, "not a url", ""); !errors.Is(err, stream.ErrInvalid) {
		t.Errorf("issuer that is no URL: %v", err)
	}
	p.answer = `{"jwks_uri":"x"}`
	if _, err := p.client.Discover(ctx, p.URL, ""); !errors.Is(err, receiver.ErrIssuer) {
		t.Errorf("metadata without issuer: %v", err)
	}
}

func TestClientInsistsOnTheIssuer(t *testing.T) {
	ctx := context.Background()
	p := newPeer(t)
	p.answer = strings.Replace(answer, issuer, issuer+"/", 1)
	cfg := &stream.Configuration{StreamID: "s1"}
	for name, call := range map[string]func() error{
		"create":  func() error { _, err := p.client.Create(ctx, p.md, cfg); return err },
		"read":    func() error { _, err := p.client.Read(ctx, p.md, "s1"); return err },
		"list":    func() error { _, err := p.client.List(ctx, p.md); return err },
		"update":  func() error { _, err := p.client.Update(ctx, p.md, cfg); return err },
		"replace": func() error { _, err := p.client.Replace(ctx, p.md, cfg); return err },
	} {
		req.Covers(t, "RX-16", "P-4")
		if err := call(); !errors.Is(err, receiver.ErrIssuer) {
			t.Errorf("%s: %v, want ErrIssuer", name, err)
		}
	}
}

func TestClientErrors(t *testing.T) {
	ctx := context.Background()
	cfg := &stream.Configuration{Extra: map[string]json.RawMessage{"urn:receipts": json.RawMessage(`{}`)}}
	for status, hint := range map[int]string{
		302: "redirects are not followed", 400: "does not take a part of the request", 401: "credential", 403: "lacks the right",
		404: "list the streams", 409: "list the streams", 429: "wait", 500: "try again later", 503: "try again later",
	} {
		p := newPeer(t)
		p.status, p.answer = status, "no such\x00 \x1b[31m thing "+strings.Repeat("x", 500)
		p.answers.Set("Retry-After", "7")
		p.answers.Set("Location", "/elsewhere")
		_, err := p.client.Create(ctx, p.md, cfg)
		apiErr, ok := errors.AsType[*receiver.APIError](err)
		if !ok {
			t.Errorf("%d: %v", status, err)
			continue
		}
		if apiErr.Status != status || apiErr.RetryAfter != 7*time.Second || len(apiErr.Excerpt) > 200 || strings.ContainsAny(apiErr.Excerpt, "\x00\x1b") {
			t.Errorf("%d: %+v", status, apiErr)
		}
		if !strings.Contains(err.Error(), hint) || !strings.Contains(err.Error(), "create stream") || strings.Contains(err.Error(), "token-1") {
			t.Errorf("%d: %v, want %q", status, err, hint)
		}
		if want := status == 429 || status >= 500; apiErr.Temporary() != want {
			t.Errorf("%d: Temporary() = %v", status, apiErr.Temporary())
		}
		if p.asked != "POST /stream?tenant=blue" {
			t.Errorf("%d: a redirect was followed to %s", status, p.asked)
		}
	}
}

func TestClientCopesWithOldTransmitters(t *testing.T) {
	ctx := context.Background()
	p := newPeer(t)
	req.Covers(t, "RX-25", "RX-29", "RX-30", "P-27")
	p.answer = answer
	if list, err := p.client.List(ctx, p.md); err != nil || len(list) != 1 || list[0].StreamID != "s1" {
		t.Errorf("bare object: %v, %v", list, err)
	}
	p.answer = `[]`
	if list, err := p.client.List(ctx, p.md); err != nil || len(list) != 0 {
		t.Errorf("empty list: %v, %v", list, err)
	}
	p.status, p.answer = 404, ""
	if list, err := p.client.List(ctx, p.md); err != nil || list != nil {
		t.Errorf("404 for none: %v, %v", list, err)
	}
	if err := p.client.Delete(ctx, p.md, "s1"); err != nil {
		t.Errorf("delete of a stream that is gone: %v", err)
	}
	p.status = 202
	cfg := &stream.Configuration{StreamID: "s1"}
	if got, err := p.client.Update(ctx, p.md, cfg); got != nil || err != nil {
		t.Errorf("undecided update: %v, %v", got, err)
	}
	if got, err := p.client.Replace(ctx, p.md, cfg); got != nil || err != nil {
		t.Errorf("undecided replace: %v, %v", got, err)
	}
	if got, err := p.client.SetStatus(ctx, p.md, stream.Status{StreamID: "s1", Status: stream.Paused}); got != nil || err != nil {
		t.Errorf("undecided status: %v, %v", got, err)
	}
	if _, err := p.client.Create(ctx, p.md, cfg); !errors.Is(err, receiver.ErrAnswer) {
		t.Errorf("create without an answer: %v", err)
	}
}

func TestClientRefusesAnswers(t *testing.T) {
	ctx := context.Background()
	for name, edit := range map[string]func(p *peer){
		"empty":             func(p *peer) { p.answer = "" },
		"not JSON":          func(p *peer) { p.answer = "ok" },
		"a web page":        func(p *peer) { p.answer = answer; p.answers.Set("Content-Type", "text/html; charset=utf-8") },
		"too long":          func(p *peer) { p.answer = answer + strings.Repeat(" ", receiver.MaxAnswer) },
		"wrong type":        func(p *peer) { p.answer = `{"stream_id":7}` },
		"repeated name":     func(p *peer) { p.answer = `{"stream_id":"s1","stream_id":"s2"}` },
		"text after it":     func(p *peer) { p.answer = answer + "x" },
		"no stream id":      func(p *peer) { p.answer = `{"iss":"` + issuer + `"}` },
		"another stream id": func(p *peer) { p.answer = strings.Replace(answer, "s1", "s2", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			edit(p)
			if cfg, err := p.client.Read(ctx, p.md, "s1"); !errors.Is(err, receiver.ErrAnswer) || cfg != nil {
				t.Errorf("%v, %v; want ErrAnswer", cfg, err)
			}
		})
	}
	p := newPeer(t)
	p.answer = `{"stream_id":"s1"}`
	if _, err := p.client.Status(ctx, p.md, "s1"); !errors.Is(err, receiver.ErrAnswer) {
		t.Errorf("status without status: %v", err)
	}
	p.answer = `[null]`
	if _, err := p.client.List(ctx, p.md); !errors.Is(err, receiver.ErrAnswer) {
		t.Errorf("list with null: %v", err)
	}
}

func TestClientDoesNotAsk(t *testing.T) {
	ctx := context.Background()
	p := newPeer(t)
	none := &stream.Metadata{Issuer: issuer}
	tests := map[string]struct {
		err  error
		want error
	}{
		"no configuration endpoint": {second(p.client.Create(ctx, none, &stream.Configuration{})), receiver.ErrUnsupported},
		"no status endpoint":        {second(p.client.Status(ctx, none, "s1")), receiver.ErrUnsupported},
		"no verification endpoint":  {p.client.Verify(ctx, none, "s1", ""), receiver.ErrUnsupported},
		"read without id":           {second(p.client.Read(ctx, p.md, "")), stream.ErrInvalid},
		"update without id":         {second(p.client.Update(ctx, p.md, &stream.Configuration{})), stream.ErrInvalid},
		"delete without id":         {p.client.Delete(ctx, p.md, ""), stream.ErrInvalid},
		"verify without id":         {p.client.Verify(ctx, p.md, "", ""), stream.ErrInvalid},
		"unknown status word":       {second(p.client.SetStatus(ctx, p.md, stream.Status{StreamID: "s1", Status: "stopped"})), stream.ErrInvalid},
	}
	for name, tt := range tests {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.err, tt.want)
		}
	}
	for _, token := range []string{"", "a b", "a\r\nX: y"} {
		bad := &receiver.Client{HTTP: p.Client(), Authorize: receiver.Bearer(token)}
		if _, err := bad.Read(ctx, p.md, "s1"); err == nil || (token != "" && strings.Contains(err.Error(), token)) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	if p.asked != "" {
		t.Errorf("it was asked all the same: %s", p.asked)
	}
	p.Close()
	if _, err := p.client.Read(ctx, p.md, "s1"); err == nil || errors.Is(err, receiver.ErrAnswer) {
		t.Errorf("closed transmitter: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
