package receiver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

func TestCaller(t *testing.T) {
	const secret = "Bearer push-4c1f"
	tests := []struct {
		name   string
		fields []string
		ok     bool
		covers []string
	}{
		{"the one value", []string{secret}, true, []string{"RX-72"}},
		{"none", nil, false, []string{"RX-73"}},
		{"empty", []string{""}, false, []string{"RX-73"}},
		{"another", []string{"Bearer push-4c1e"}, false, []string{"RX-73"}},
		{"other case", []string{"bearer push-4c1f"}, false, []string{"RX-72"}},
		{"a prefix", []string{"Bearer push"}, false, []string{"RX-72"}},
		{"longer", []string{secret + "x"}, false, []string{"RX-72"}},
		{"twice", []string{secret, secret}, false, []string{"P-127"}},
		{"the right one second", []string{"x", secret}, false, []string{"P-127"}},
		{"the right one first", []string{secret, "x"}, false, []string{"P-127"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.handler.Authorization = secret
			c := claims()
			if !tt.ok { // a good reason to name the audience, were the caller known
				c.Audience = []string{"elsewhere"}
			}
			r := push(sign(t, c))
			r.Header["Authorization"] = tt.fields
			w := b.do(r)
			req.Covers(t, tt.covers...)
			if tt.ok {
				if w.Code != 202 || len(b.kept) != 1 {
					t.Errorf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
				}
				return
			}
			req.Covers(t, "P-76", "Q-52")
			refused(t, w, 400, stream.AuthenticationFailed)
			if w.Header().Get("WWW-Authenticate") != "" || strings.Contains(w.Body.String(), "elsewhere") || strings.Contains(w.Body.String(), "4c1f") || len(b.kept) != 0 {
				t.Errorf("answer %v %s, kept %d", w.Header(), w.Body, len(b.kept))
			}
		})
	}
	t.Run("in the query", func(t *testing.T) {
		b := newBench(t)
		b.handler.Authorization = secret
		r := push(sign(t, claims()))
		r.URL.RawQuery = "access_token=push-4c1f&authorization=Bearer+push-4c1f"
		refused(t, b.do(r), 400, stream.AuthenticationFailed)
	})
	t.Run("before the body is read", func(t *testing.T) {
		b := newBench(t)
		b.handler.Authorization = secret
		r := push("")
		r.Body = io.NopCloser(failing{errors.New("the body was read")})
		req.Covers(t, "RX-72")
		refused(t, b.do(r), 400, stream.AuthenticationFailed)
	})
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
		{"kept before", fmt.Errorf("row 7: %w", receiver.ErrRepeat), 202, "", "", []string{"RX-58", "RX-80", "P-77"}},
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

func TestVerification(t *testing.T) {
	verification := func(payload string) *set.Claims {
		c := claims()
		c.SubID = json.RawMessage(`{"format":"opaque","id":"` + streamID + `"}`)
		c.Events[0] = set.Event{Type: ssf.VerificationURI, Payload: json.RawMessage(payload)}
		return c
	}
	tests := []struct {
		name, payload string
		answer        error
		status        int
		code          string
		states        []string
		covers        []string
	}{
		{"our state", `{"state":"s1"}`, nil, 202, "", []string{`"s1" true`}, []string{"RX-40"}},
		{"not our state", `{"state":"s2"}`, fmt.Errorf("no: %w", receiver.ErrState), 400, stream.InvalidState, []string{`"s2" true`}, []string{"RX-40", "RX-41", "P-70"}},
		{"unasked", `{}`, receiver.ErrState, 202, "", []string{`"" false`}, []string{"RX-42", "P-69"}},
		{"null", `{"state":null}`, receiver.ErrState, 202, "", []string{`"" false`}, []string{"RX-42", "P-69"}},
		{"the store is down", `{"state":"s1"}`, errors.New("down"), 503, stream.Unavailable, []string{`"s1" true`}, nil},
		{"state is a number", `{"state":1}`, nil, 400, stream.InvalidRequest, nil, []string{"EV-4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.verify = tt.answer
			w := b.do(push(sign(t, verification(tt.payload))))
			req.Covers(t, tt.covers...)
			if tt.status == 202 {
				if w.Code != 202 || len(b.kept) != 1 || !b.kept[0].StreamEvent {
					t.Errorf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
				}
			} else {
				refused(t, w, tt.status, tt.code)
				if len(b.kept) != 0 {
					t.Errorf("kept %d", len(b.kept))
				}
			}
			if diff := cmp.Diff(tt.states, b.states); diff != "" {
				t.Errorf("states:\n%s", diff)
			}
		})
	}
	t.Run("about a person, at an address that does not know its stream id", func(t *testing.T) {
		b, c := newBench(t), verification(`{}`)
		b.handler.StreamID = ""
		c.SubID = json.RawMessage(`{"format":"email","email":"jane@example.com"}`)
		req.Covers(t, "EV-5")
		refused(t, b.do(push(sign(t, c))), 400, stream.InvalidRequest)
	})
	t.Run("without a function", func(t *testing.T) {
		b := newBench(t)
		b.handler.Verification = nil
		if w := b.do(push(sign(t, verification(`{"state":"any"}`)))); w.Code != 202 {
			t.Errorf("answer %d %s", w.Code, w.Body)
		}
	})
	t.Run("stream updated", func(t *testing.T) {
		b, c := newBench(t), verification(`{}`)
		c.Events[0] = set.Event{Type: ssf.StreamUpdatedURI, Payload: json.RawMessage(`{"status":"paused","reason":"r"}`)}
		w := b.do(push(sign(t, c)))
		req.Covers(t, "RX-99")
		if w.Code != 202 || len(b.kept) != 1 {
			t.Fatalf("answer %d %s", w.Code, w.Body)
		}
		if diff := cmp.Diff(&ssf.StreamUpdated{Status: "paused", Reason: "r"}, b.kept[0].Payload); diff != "" {
			t.Errorf("payload:\n%s", diff)
		}
	})
}

// What a real Keycloak sent, at its time, with its keys.
func TestKeycloak(t *testing.T) {
	const dir = "../set/testdata/keycloak-26/"
	jwks, err := os.ReadFile(dir + "jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := set.ParseJWKS(jwks)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(dir + "[0-9]*.json")
	if len(files) != 10 {
		t.Fatalf("%d captures, want 10", len(files))
	}
	sessions := map[string]string{"03": "tLwSfm76yugCYBAeJTEKtUkP", "04": "ALL", "07": "tLwSfm76yugCYBAeJTEKtUkP"}
	for _, file := range files {
		number := filepath.Base(file)[:2]
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var capture struct {
				Compact string
				Payload struct {
					Iss, Aud string
					Iat      int64
				}
			}
			if err := json.Unmarshal(data, &capture); err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			b.handler.StreamID = ""
			b.handler.Policy = func(context.Context) (*set.Policy, error) {
				return &set.Policy{Issuer: capture.Payload.Iss, Audience: []string{capture.Payload.Aud}, Keys: keys,
					Now: func() time.Time { return time.Unix(capture.Payload.Iat, 0) }}, nil
			}
			w := b.do(push(capture.Compact))
			switch number {
			case "08", "09", "10": // no sub_id; a status that is an object; a logout token
				refused(t, w, 400, stream.InvalidRequest)
				want := map[string]error{"08": set.ErrClaims, "09": event.ErrInvalid, "10": set.ErrType}[number]
				if !errors.Is(b.reason, want) || len(b.kept) != 0 {
					t.Errorf("reason %v, want %v; kept %d", b.reason, want, len(b.kept))
				}
				return
			}
			if w.Code != 202 || len(b.kept) != 1 {
				t.Fatalf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
			}
			d := b.kept[0]
			switch number {
			case "01", "02":
				if !d.StreamEvent {
					t.Error("not a stream event")
				}
			default:
				person := d.Subject
				if user, ok := d.Subject.Part("user"); ok {
					person = user
				}
				email, byEmail := person.Email()
				_, sub, byIssSub := person.IssSub()
				if !(byEmail && email == "alice@example.test") && !(byIssSub && sub == "3617b1d7-bb04-4893-86ce-6a9147b95550") {
					t.Errorf("person %s", person.Raw())
				}
				if session, ok := d.Subject.Session(); sessions[number] != "" && (!ok || session.Get("id") != sessions[number]) {
					t.Errorf("session %v %q", ok, session.Get("id"))
				}
			}
		})
	}
}

// FuzzPush: no body panics, none that we did not sign is kept, and every answer has the form of a refusal.
func FuzzPush(f *testing.F) {
	good := sign(f, claims())
	payload, _ := claims().Marshal()
	f.Add([]byte(good[:len(good)-5]), receiver.MediaType, "", "")
	f.Add([]byte(strings.Replace(good, ".", "..", 1)), receiver.MediaType, "gzip", "")
	f.Add(payload, "application/json", "", "Bearer x")
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."), "application/secevent+jwt;a=b;a=c", "", "")
	f.Fuzz(func(t *testing.T, body []byte, media, encoding, authorization string) {
		if bytes.Equal(body, []byte(good)) {
			return
		}
		b := newBench(t)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", media)
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := b.do(r)
		var wire stream.WireError
		if err := json.Unmarshal(w.Body.Bytes(), &wire); err != nil || wire.Err == "" || w.Header().Get("Content-Language") == "" {
			t.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
		}
		if len(b.kept) != 0 || w.Code < 400 || w.Code >= 500 {
			t.Fatalf("kept %d, answer %d %s", len(b.kept), w.Code, w.Body)
		}
	})
}
