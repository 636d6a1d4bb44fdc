package receiver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

const (
	issuer   = "https://idp.example.com/t/blue"
	audience = "https://rx.example.com/feeds/blue"
	streamID = "st_9Zk2vQ7mT1"
)

var start = time.Unix(1795314740, 0)

var newSigner = sync.OnceValue(func() *set.Signer {
	key, err := set.GenerateKey(set.ES256)
	if err != nil {
		panic(err)
	}
	s, err := set.NewSigner(set.ES256, "k1", key)
	if err != nil {
		panic(err)
	}
	return s
})

func registry() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}

// bench is one receiver with all its functions recorded.
type bench struct {
	handler *receiver.Handler
	kept    []*receiver.Delivery
	states  []string
	reports []string
	reason  error // of the last report
	keep    error // what Keep answers
	verify  error // what Verification answers
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{}
	b.handler = &receiver.Handler{
		Policy: func(context.Context) (*set.Policy, error) {
			return &set.Policy{Issuer: issuer, Audience: []string{audience}, Algorithms: []set.Algorithm{set.ES256},
				Keys: set.StaticKeys{newSigner().Public()}, Now: func() time.Time { return start }}, nil
		},
		Keep: func(_ context.Context, d *receiver.Delivery) error {
			b.kept = append(b.kept, d)
			return b.keep
		},
		Registry: registry(),
		StreamID: streamID,
		Verification: func(_ context.Context, state string, hasState bool) error {
			b.states = append(b.states, fmt.Sprintf("%q %v", state, hasState))
			return b.verify
		},
		Report: func(_ context.Context, status int, code string, reason error) {
			if reason == nil {
				t.Error("a refusal was reported without a reason")
			}
			b.reason = reason
			b.reports = append(b.reports, fmt.Sprint(status, " ", code))
		},
	}
	return b
}

// claims is a good token about a person; edit it.
func claims() *set.Claims {
	return &set.Claims{
		Issuer: issuer, Audience: []string{audience}, IssuedAt: start.Unix(), ID: "j1", TXN: "t1",
		SubID:  json.RawMessage(`{"format":"email","email":"jane@example.com"}`),
		Events: []set.Event{{Type: caep.SessionRevokedURI, Payload: json.RawMessage(`{"event_timestamp":1795314739}`)}},
	}
}

func sign(t testing.TB, c *set.Claims) string {
	t.Helper()
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	compact, err := newSigner().Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func push(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/receive/abc", strings.NewReader(body))
	r.Header.Set("Content-Type", receiver.MediaType)
	return r
}

func (b *bench) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// refused holds an answer to the form every refusal has, and gives its code.
func refused(t testing.TB, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if w.Code != status || body["err"] != code || body["description"] == "" {
		t.Errorf("answer %d %s, want %d with err %s and a description", w.Code, w.Body, status, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if got := w.Header().Get("Content-Language"); got != "en" {
		t.Errorf("Content-Language %q", got)
	}
	if w.Code == http.StatusUnauthorized {
		t.Error("a push endpoint never answers 401")
	}
	if strings.Contains(w.Body.String(), issuer) || strings.Contains(w.Body.String(), audience) {
		t.Errorf("the answer tells what was expected: %s", w.Body)
	}
}

func TestAccepts(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(c *set.Claims)
		change func(r *http.Request)
		covers []string
	}{
		{"a session was revoked", nil, nil, []string{"RX-70", "RX-71", "RX-74", "P-75"}},
		{"media type in other case and with a parameter", nil, func(r *http.Request) { r.Header.Set("Content-Type", "Application/SecEvent+JWT; charset=utf-8") }, []string{"RX-70"}},
		{"no Accept field", nil, func(r *http.Request) { r.Header.Del("Accept") }, []string{"RX-82"}},
		{"Accept of anything", nil, func(r *http.Request) { r.Header.Set("Accept", "*/*") }, []string{"RX-82"}},
		{"an unknown event type", func(c *set.Claims) { c.Events[0].Type = "urn:example:later" }, nil, []string{"RX-61"}},
		{"unknown claims and members", func(c *set.Claims) {
			c.Extra = []set.Member{{Name: "x", Value: json.RawMessage(`{"n":1e400}`)}}
			c.Events[0].Payload = json.RawMessage(`{"later":12345678901234567890123}`)
		}, nil, []string{"RX-60"}},
		{"event time in milliseconds", func(c *set.Claims) { c.Events[0].Payload = json.RawMessage(`{"event_timestamp":1795314739123}`) }, nil, []string{"RX-68", "P-40"}},
		{"an event long ago", func(c *set.Claims) { c.IssuedAt = 1000 }, nil, []string{"RX-57"}},
		{"the deprecated sessions-revoked of RISC", func(c *set.Claims) {
			c.Events[0] = set.Event{Type: risc.SessionsRevokedURI, Payload: json.RawMessage(`{}`)}
		}, nil, []string{"EV-78"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, c := newBench(t), claims()
			if tt.edit != nil {
				tt.edit(c)
			}
			r := push(sign(t, c))
			if tt.change != nil {
				tt.change(r)
			}
			w := b.do(r)
			req.Covers(t, tt.covers...)
			if w.Code != http.StatusAccepted || w.Body.Len() != 0 {
				t.Fatalf("answer %d %s, want 202 and nothing", w.Code, w.Body)
			}
			if len(b.kept) != 1 || len(b.reports) != 0 {
				t.Fatalf("kept %d, reports %v", len(b.kept), b.reports)
			}
			d := b.kept[0]
			if d.Token.Claims().ID != "j1" || d.Type.URI != c.Events[0].Type || d.Payload == nil || d.StreamEvent {
				t.Errorf("delivery %+v", d)
			}
			if email, ok := d.Subject.Email(); !ok || email != "jane@example.com" {
				t.Errorf("subject %q %v", email, ok)
			}
		})
	}
}

func TestRefusesRequests(t *testing.T) {
	good := func(t *testing.T) string { return sign(t, claims()) }
	tests := []struct {
		name   string
		make   func(t *testing.T) *http.Request
		status int
		code   string
		header map[string]string
		covers []string
	}{
		{"GET", func(t *testing.T) *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }, 405, stream.InvalidRequest,
			map[string]string{"Allow": "POST"}, []string{"P-129"}},
		{"PUT", func(t *testing.T) *http.Request {
			return httptest.NewRequest(http.MethodPut, "/", strings.NewReader("x"))
		}, 405, stream.InvalidRequest,
			map[string]string{"Allow": "POST"}, nil},
		{"no media type", func(t *testing.T) *http.Request { r := push(good(t)); r.Header.Del("Content-Type"); return r }, 415, stream.InvalidRequest, nil, []string{"RX-70"}},
		{"another media type", func(t *testing.T) *http.Request {
			r := push(good(t))
			r.Header.Set("Content-Type", "application/jwt")
			return r
		}, 415, stream.InvalidRequest, nil, []string{"RX-70"}},
		{"two media types", func(t *testing.T) *http.Request {
			r := push(good(t))
			r.Header.Add("Content-Type", receiver.MediaType)
			return r
		}, 415, stream.InvalidRequest, nil, nil},
		{"gzip", func(t *testing.T) *http.Request {
			r := push(good(t))
			r.Header.Set("Content-Encoding", "gzip")
			return r
		}, 415, stream.InvalidRequest, nil, []string{"P-128"}},
		{"identity", func(t *testing.T) *http.Request {
			r := push(good(t))
			r.Header.Set("Content-Encoding", "identity")
			return r
		}, 415, stream.InvalidRequest, nil, []string{"P-128"}},
		{"length above the limit", func(t *testing.T) *http.Request { return push(strings.Repeat("a", receiver.DefaultMaxBytes+1)) }, 413, stream.InvalidRequest, nil, []string{"RX-81", "P-128"}},
		{"unknown length above the limit", func(t *testing.T) *http.Request {
			r := push("")
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("a", receiver.DefaultMaxBytes)), strings.NewReader("b"))), -1
			return r
		}, 413, stream.InvalidRequest, nil, []string{"P-128"}},
		{"body that breaks off", func(t *testing.T) *http.Request {
			r := push("")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("eyJ"), failing{io.ErrUnexpectedEOF}))
			return r
		}, 400, stream.InvalidRequest, nil, nil},
		{"body that stalls", func(t *testing.T) *http.Request {
			r := push("")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("eyJ"), failing{os.ErrDeadlineExceeded}))
			return r
		}, 408, stream.InvalidRequest, nil, nil},
		{"empty body", func(t *testing.T) *http.Request { return push("") }, 400, stream.InvalidRequest, nil, []string{"RX-47"}},
		{"no token", func(t *testing.T) *http.Request { return push(`{"iss":"x"}`) }, 400, stream.InvalidRequest, nil, []string{"RX-47"}},
		{"line break after the token", func(t *testing.T) *http.Request { return push(good(t) + "\n") }, 400, stream.InvalidRequest, nil, []string{"P-119"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			w := b.do(tt.make(t))
			req.Covers(t, "RX-75")
			req.Covers(t, tt.covers...)
			refused(t, w, tt.status, tt.code)
			for field, want := range tt.header {
				if got := w.Header().Get(field); got != want {
					t.Errorf("%s: %q, want %q", field, got, want)
				}
			}
			if len(b.kept) != 0 || len(b.reports) != 1 {
				t.Errorf("kept %d, reports %v", len(b.kept), b.reports)
			}
		})
	}
}

// A body is bounded while it is read, and one that announces too much is not read at all.
func TestBodyIsBounded(t *testing.T) {
	b := newBench(t)
	b.handler.MaxBytes = 1000
	req.Covers(t, "P-128", "RX-81")
	body := &counting{Reader: strings.NewReader(strings.Repeat("a", 1<<20))}
	r := push("")
	r.Body, r.ContentLength = io.NopCloser(body), -1
	refused(t, b.do(r), 413, stream.InvalidRequest)
	if body.n > 1001 {
		t.Errorf("%d bytes were read", body.n)
	}
	r = push("")
	r.Body, r.ContentLength = io.NopCloser(failing{errors.New("the body was read")}), 1001
	refused(t, b.do(r), 413, stream.InvalidRequest)
	r = push(sign(t, claims()))
	b.handler.MaxBytes = r.ContentLength
	if w := b.do(r); w.Code != 202 {
		t.Errorf("a body of exactly the limit: %d %s", w.Code, w.Body)
	}
}

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRefusesTokens(t *testing.T) {
	streamEvent := func(c *set.Claims, uri, payload, sub string) {
		c.Events[0] = set.Event{Type: uri, Payload: json.RawMessage(payload)}
		c.SubID = json.RawMessage(sub)
	}
	tests := []struct {
		name   string
		edit   func(c *set.Claims)
		code   string
		covers []string
	}{
		{"another issuer", func(c *set.Claims) { c.Issuer += "/" }, stream.InvalidIssuer, []string{"RX-52"}},
		{"another audience", func(c *set.Claims) { c.Audience = []string{"x"} }, stream.InvalidAudience, []string{"RX-53"}},
		{"issued in the future", func(c *set.Claims) { c.IssuedAt += 301 }, stream.InvalidRequest, []string{"RX-57"}},
		{"two events", func(c *set.Claims) {
			c.Events = append(c.Events, set.Event{Type: risc.AccountDisabledURI, Payload: json.RawMessage(`{}`)})
		}, stream.InvalidRequest, []string{"RX-63", "EV-102"}},
		{"two names of one event", func(c *set.Claims) {
			c.Events = append(c.Events, set.Event{Type: risc.SessionsRevokedURI, Payload: json.RawMessage(`{}`)})
		}, stream.InvalidRequest, []string{"RX-63"}},
		{"no known subject format", func(c *set.Claims) { c.SubID = json.RawMessage(`{"format":"email"}`) }, stream.InvalidRequest, nil},
		{"required member is missing", func(c *set.Claims) {
			c.Events[0] = set.Event{Type: caep.CredentialChangeURI, Payload: json.RawMessage(`{"credential_type":"pin"}`)}
		}, stream.InvalidRequest, []string{"RX-62"}},
		{"value outside its set", func(c *set.Claims) { c.Events[0].Payload = json.RawMessage(`{"initiating_entity":"root"}`) }, stream.InvalidRequest, []string{"RX-62"}},
		{"verification about another stream", func(c *set.Claims) { streamEvent(c, ssf.VerificationURI, `{}`, `{"format":"opaque","id":"other"}`) },
			stream.InvalidRequest, []string{"RX-44", "EV-5"}},
		{"verification about a person", func(c *set.Claims) { streamEvent(c, ssf.VerificationURI, `{}`, `{"format":"email","email":"a@b.c"}`) },
			stream.InvalidRequest, []string{"RX-44", "EV-5"}},
		{"stream updated about another stream", func(c *set.Claims) {
			streamEvent(c, ssf.StreamUpdatedURI, `{"status":"paused"}`, `{"format":"opaque","id":"other"}`)
		}, stream.InvalidRequest, []string{"EV-9"}},
		{"stream updated with an object", func(c *set.Claims) {
			streamEvent(c, ssf.StreamUpdatedURI, `{"status":{"status":"paused"}}`, `{"format":"opaque","id":"`+streamID+`"}`)
		}, stream.InvalidRequest, []string{"EV-7", "Q-45"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, c := newBench(t), claims()
			tt.edit(c)
			w := b.do(push(sign(t, c)))
			req.Covers(t, tt.covers...)
			refused(t, w, 400, tt.code)
			if len(b.kept) != 0 || len(b.states) != 0 {
				t.Errorf("kept %d, states %v", len(b.kept), b.states)
			}
			if diff := cmp.Diff([]string{"400 " + tt.code}, b.reports); diff != "" {
				t.Errorf("reports:\n%s", diff)
			}
		})
	}
}

func TestKeepDecidesTheAnswer(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		code   string
		retry  string
		covers []string
	}{
		{"kept before", fmt.Errorf("row 7: %w", receiver.ErrRepeat), 202, "", "", []string{"RX-80", "P-77"}},
		{"another token under the same jti", receiver.ErrClash, 400, stream.InvalidRequest, "", nil},
		{"refused", &receiver.Refusal{Err: stream.AccessDenied, Description: "not for this address"}, 400, stream.AccessDenied, "", nil},
		{"refused without a code", &receiver.Refusal{Description: "malformed directive"}, 400, stream.InvalidRequest, "", nil},
		{"busy", &receiver.Busy{RetryAfter: 1500 * time.Millisecond, Err: errors.New("queue of https://secret.example")}, 503, stream.Unavailable, "2", []string{"RX-81", "P-81"}},
		{"sender too fast", fmt.Errorf("x: %w", &receiver.Busy{Limited: true}), 429, stream.Unavailable, "1", []string{"RX-81"}},
		{"disk full", errors.New("disk full at /var/secret"), 503, stream.Unavailable, "1", []string{"RX-81", "P-81"}},
		{"context ended", context.Canceled, 503, stream.Unavailable, "1", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.keep = tt.err
			w := b.do(push(sign(t, claims())))
			req.Covers(t, tt.covers...)
			if tt.status == 202 {
				if w.Code != 202 || w.Body.Len() != 0 {
					t.Errorf("answer %d %s", w.Code, w.Body)
				}
				return
			}
			refused(t, w, tt.status, tt.code)
			if got := w.Header().Get("Retry-After"); got != tt.retry {
				t.Errorf("Retry-After %q, want %q", got, tt.retry)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
		})
	}
}

// spy notices when an answer begins.
type spy struct {
	*httptest.ResponseRecorder
	began bool
}

func (s *spy) WriteHeader(status int) { s.began = true; s.ResponseRecorder.WriteHeader(status) }

func (s *spy) Write(p []byte) (int, error) { s.began = true; return s.ResponseRecorder.Write(p) }

// The 202 leaves only after Keep has returned.
func TestNothingIsAcknowledgedBeforeKeepReturned(t *testing.T) {
	b := newBench(t)
	w := &spy{ResponseRecorder: httptest.NewRecorder()}
	b.handler.Keep = func(context.Context, *receiver.Delivery) error {
		if w.began {
			t.Error("an answer began before Keep returned")
		}
		return nil
	}
	b.handler.ServeHTTP(w, push(sign(t, claims())))
	req.Covers(t, "RX-78", "P-80")
	if w.Code != 202 {
		t.Errorf("answer %d", w.Code)
	}
	b.handler.Keep = func(context.Context, *receiver.Delivery) error { panic(http.ErrAbortHandler) }
	w = &spy{ResponseRecorder: httptest.NewRecorder()}
	func() {
		defer func() { _ = recover() }()
		b.handler.ServeHTTP(w, push(sign(t, claims())))
	}()
	if w.began {
		t.Errorf("answer %d although Keep never returned", w.Code)
	}
}

func TestPolicyTrouble(t *testing.T) {
	for name, edit := range map[string]func(h *receiver.Handler){
		"policy fails": func(h *receiver.Handler) {
			h.Policy = func(context.Context) (*set.Policy, error) { return nil, errors.New("x") }
		},
		"policy is nil":  func(h *receiver.Handler) { h.Policy = func(context.Context) (*set.Policy, error) { return nil, nil } },
		"nothing is set": func(h *receiver.Handler) { *h = receiver.Handler{} },
		"keys cannot be had": func(h *receiver.Handler) {
			h.Policy = func(context.Context) (*set.Policy, error) {
				return &set.Policy{Issuer: issuer, Audience: []string{audience}, Algorithms: []set.Algorithm{set.ES256}, Keys: noKeys{}}, nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			edit(b.handler)
			w := b.do(push(sign(t, claims())))
			req.Covers(t, "P-81")
			refused(t, w, 503, stream.Unavailable)
			if w.Header().Get("Retry-After") == "" || len(b.kept) != 0 {
				t.Errorf("Retry-After %q, kept %d", w.Header().Get("Retry-After"), len(b.kept))
			}
		})
	}
}

type noKeys struct{}

func (noKeys) Find(context.Context, string) ([]set.Key, error) { return nil, set.ErrKeysUnavailable }
