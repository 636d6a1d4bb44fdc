package receiver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/event/caep"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// recorded is a file under testdata/peers: what a transmitter that nobody here wrote was asked by this package, and what it answered.
// The values of credentials are not kept.
type recorded struct {
	Partner   string     `json:"partner"`
	Seen      string     `json:"seen"` // version, and when
	Issuer    string     `json:"issuer"`
	Quirks    []string   `json:"quirks"` // without which it could not be used
	Exchanges []exchange `json:"exchanges"`
}

// exchange is one request and its answer. Do says what was wanted of the client, and Want what it made of the answer.
type exchange struct {
	Do     string          `json:"do"`
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Auth   string          `json:"auth,omitempty"` // which credential was shown: management, or poll
	Body   json.RawMessage `json:"body,omitempty"`
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Want   json.RawMessage `json:"want,omitempty"`
}

// play is a receiver in the middle of what it does at one transmitter.
type play struct {
	client *receiver.Client
	issuer string
	quirks receiver.Quirks
	md     *stream.Metadata
	cfg    *stream.Configuration // of our stream now
	poll   string                // its address, of the answer to create
	token  string                // its own credential for polls
	keys   set.KeySet
	sets   map[string]string
}

const (
	peerPush   = "https://localhost:19999/receive/of-a-test"
	peerHeader = "Bearer of-the-receiver"
)

// do is one step; each is one request. The result is what a caller of the package gets, as far as a test needs it.
func (p *play) do(ctx context.Context, step string) (any, error) {
	c := p.client
	events := []string{caep.SessionRevokedURI, caep.CredentialChangeURI}
	var person subject.Identifier
	if err := json.Unmarshal([]byte(`{"format":"email","email":"alice@example.test"}`), &person); err != nil {
		return nil, err
	}
	yes := true
	word, what, _ := strings.Cut(step, " ")
	switch word {
	case "discover":
		md, err := c.Discover(ctx, p.issuer, "")
		p.md = md
		return err == nil && md.ConfigurationEndpoint != "" && md.JWKSURI != "", err
	case "discover-appended":
		md, used, err := c.DiscoverAny(ctx, p.issuer, strings.TrimSuffix(p.issuer, "/")+"/.well-known/ssf-configuration", false)
		p.md = md
		return used, err
	case "create":
		d := &stream.Delivery{Method: stream.PollMethod}
		if what == "push" {
			d = &stream.Delivery{Method: stream.PushMethod, EndpointURL: peerPush, AuthorizationHeader: peerHeader}
		}
		got, err := c.Create(ctx, p.md, &stream.Configuration{EventsRequested: events, Delivery: d, Description: "a test"})
		if err != nil {
			return nil, err
		}
		p.cfg = got
		p.poll, p.token = got.Delivery.EndpointURL, got.Delivery.AuthorizationHeader
		return map[string]any{"aud": len(got.Audience), "events": len(got.EventsDelivered), "method": got.Delivery.Method, "address": p.poll != "", "token": what != "push" && p.token != ""}, nil
	case "list":
		all, err := c.List(ctx, p.md)
		return len(all), err
	case "read":
		got, err := c.Read(ctx, p.md, p.cfg.StreamID)
		if err != nil {
			return nil, err
		}
		return got.StreamID == p.cfg.StreamID, nil
	case "update":
		got, err := c.Update(ctx, p.md, &stream.Configuration{StreamID: p.cfg.StreamID, Description: "changed"})
		if err != nil {
			return nil, err
		}
		return got.Description, nil
	case "replace":
		d := &stream.Delivery{Method: stream.PollMethod}
		if what == "push" {
			d = &stream.Delivery{Method: stream.PushMethod, EndpointURL: peerPush, AuthorizationHeader: peerHeader}
		}
		got, err := c.Replace(ctx, p.md, &stream.Configuration{StreamID: p.cfg.StreamID, EventsRequested: events, Delivery: d, Description: "replaced"})
		if err != nil {
			return nil, err
		}
		return map[string]any{"description": got.Description, "address": got.Delivery != nil && got.Delivery.EndpointURL != ""}, nil
	case "status":
		if what == "" {
			got, err := c.Status(ctx, p.md, p.cfg.StreamID)
			if err != nil {
				return nil, err
			}
			return got.Status, nil
		}
		got, err := c.SetStatus(ctx, p.md, stream.Status{StreamID: p.cfg.StreamID, Status: what})
		if err != nil {
			return nil, err
		}
		return got.Status, nil
	case "verify":
		return nil, c.Verify(ctx, p.md, p.cfg.StreamID, what)
	case "add":
		return nil, c.AddSubject(ctx, p.md, p.cfg.StreamID, person, &yes)
	case "remove":
		return nil, c.RemoveSubject(ctx, p.md, p.cfg.StreamID, person)
	case "delete":
		return nil, c.Delete(ctx, p.md, p.cfg.StreamID)
	case "keys":
		raw, err := p.fetch(ctx, p.md.JWKSURI)
		if err != nil {
			return nil, err
		}
		keys, err := set.ParseJWKS(raw)
		p.keys = keys
		return err == nil, err
	case "poll", "ack":
		r := &stream.PollRequest{ReturnImmediately: true}
		if word == "ack" {
			zero := 0
			r.MaxEvents = &zero
			r.Ack = slices.Sorted(maps.Keys(p.sets))
		}
		cl := *c
		if p.token != "" {
			cl.Credential = receiver.Fixed(p.token)
		}
		got, err := cl.Poll(ctx, p.poll, r)
		if err != nil {
			return nil, err
		}
		p.sets = got.Sets
		return p.judge(ctx, got.Sets)
	}
	return nil, fmt.Errorf("there is no step %q", step)
}

// judge gives what the receiver's handler makes of each SET, at the time at which it was made.
func (p *play) judge(ctx context.Context, sets map[string]string) (any, error) {
	kinds := map[string]int{}
	for jti, compact := range sets {
		u, err := set.Parse(compact)
		if err != nil {
			return nil, err
		}
		var c struct{ Iat int64 }
		if err := json.Unmarshal(u.Payload(), &c); err != nil {
			return nil, err
		}
		kind := "refused"
		h := &receiver.Handler{
			Policy: func(context.Context) (*set.Policy, error) {
				return &set.Policy{Issuer: p.issuer, Audience: p.cfg.Audience, Keys: p.keys, Now: func() time.Time { return time.Unix(c.Iat, 0) }}, nil
			},
			Keep: func(_ context.Context, d *receiver.Delivery) error {
				if kind = d.Event.Type; d.Token.Claims().ID != jti {
					kind = "another jti"
				}
				return nil
			},
			Registry: registry(), StreamID: p.cfg.StreamID, Quirks: p.quirks,
		}
		if err := h.Take(ctx, compact); err != nil {
			kind += ": " + err.Error()
		}
		kinds[kind[strings.LastIndex(kind, "/")+1:]]++
	}
	return kinds, nil
}

// fetch reads an open document.
func (p *play) fetch(ctx context.Context, address string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// theirs answers as the peer did, and fails where it is asked something else than it was.
type theirs struct {
	t    *testing.T
	next *exchange
	ask  bool // next was asked
}

func (a *theirs) RoundTrip(r *http.Request) (*http.Response, error) {
	e := a.next
	if a.ask {
		a.t.Errorf("%s: a second request: %s %s", e.Do, r.Method, r.URL)
		return nil, errors.New("a second request")
	}
	a.ask = true
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	if r.Method != e.Method || r.URL.String() != e.URL {
		a.t.Errorf("%s: %s %s, want %s %s", e.Do, r.Method, r.URL, e.Method, e.URL)
	}
	if auth := map[string]string{"": "", "Bearer of-management": "management", "Bearer of-polls": "poll"}[r.Header.Get("Authorization")]; auth != e.Auth {
		a.t.Errorf("%s: shown was the credential %q, want %q", e.Do, auth, e.Auth)
	}
	if diff := cmp.Diff(string(e.Body), string(body)); diff != "" {
		a.t.Errorf("%s: the request (-recorded +now):\n%s", e.Do, diff)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: e.Status, Header: h, Body: io.NopCloser(bytes.NewReader(e.Answer)), Request: r}, nil
}

// What Keycloak, go-oidc, goSignals and ProtocolSoup were asked and answered, as plain data: the requests of today are those that
// they took, and their answers are understood.
func TestPeers(t *testing.T) {
	files, err := filepath.Glob("testdata/peers/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d peers, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var them recorded
			if err := json.Unmarshal(raw, &them); err != nil {
				t.Fatal(err)
			}
			at := &theirs{t: t}
			p := &play{client: &receiver.Client{HTTP: &http.Client{Transport: at}}, issuer: them.Issuer}
			if slices.ContainsFunc(them.Exchanges, func(e exchange) bool { return e.Auth != "" }) {
				p.client.Credential = receiver.Bearer("of-management")
			}
			for _, id := range them.Quirks {
				if err := p.quirks.Set(id); err != nil {
					t.Fatal(err)
				}
			}
			p.client.Quirks = p.quirks
			for i := range them.Exchanges {
				e := &them.Exchanges[i]
				at.next, at.ask = e, false
				got, err := p.do(t.Context(), e.Do)
				if at.ask != (e.Method != "") {
					t.Errorf("%s: asked %v, want %v", e.Do, at.ask, !at.ask)
				}
				if text := outcome(got, err); text != string(e.Want) {
					t.Errorf("%s gives %s, want %s", e.Do, text, e.Want)
				}
			}
		})
	}
	req.Covers(t, "Q-14", "Q-54", "Q-63") // any 2xx of delete is success; a poll token of its own; a poll address that an answer leaves out
}

// outcome is what a step gave, as it stands in a file: a value, or the status of a refusal.
func outcome(got any, err error) string {
	var refused *receiver.APIError
	switch {
	case errors.As(err, &refused):
		got = map[string]any{"refused": refused.Status}
	case err != nil:
		got = map[string]any{"error": err.Error()}
	}
	raw, err := json.Marshal(got)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
