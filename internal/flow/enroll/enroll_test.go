package enroll

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receipt"
)

// rows is the little of a store that enrolling needs.
type rows struct {
	mu     sync.Mutex
	states map[string]json.RawMessage
	queued []hub.Job
	next   *hub.Micros
}

func (r *rows) SourceStream(_ context.Context, tenant, source string) (json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[tenant+"/"+source], nil
}
func (r *rows) SourceStreams(_ context.Context, tenant string) (map[string]json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]json.RawMessage{}
	for key, state := range r.states {
		if source, ok := strings.CutPrefix(key, tenant+"/"); ok {
			out[source] = state
		}
	}
	return out, nil
}
func (r *rows) SwapSourceStream(_ context.Context, tenant, source string, was, now json.RawMessage) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if string(r.states[tenant+"/"+source]) != string(was) {
		return false, nil
	}
	r.states[tenant+"/"+source] = now
	return true, nil
}
func (r *rows) Enqueue(_ context.Context, _ string, job hub.Job) error {
	r.queued = append(r.queued, job)
	return nil
}
func (r *rows) FinishJob(_ context.Context, _ *hub.Job, next *hub.Micros) error {
	r.next = next
	return nil
}

// peer is a transmitter as an HTTP server; how says what it makes of the receipts member.
type peer struct {
	*httptest.Server
	how      string // active | terse | half | odd | silent | declined | refuses | down | none
	creates  []string
	patches  int
	deletes  int
	existing bool
	calls    int
}

func newPeer(t *testing.T, how string) *peer {
	p := &peer{how: how}
	settings := receipt.Default().Settings
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		p.calls++
		if p.how == "down" {
			w.WriteHeader(503)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/.well-known") {
			md := map[string]any{"spec_version": "1_0", "issuer": p.URL, "jwks_uri": p.URL + "/jwks.json", "configuration_endpoint": p.URL + "/streams",
				"delivery_methods_supported": []string{"urn:ietf:rfc:8935"}}
			if p.how != "none" {
				md[settings] = map[string]any{"action_receipt_endpoint": "https://idp.example.test/receipts", "receipt_delivery_methods_supported": []string{"push"},
					"directive_events_supported": []string{"urn:e"}, "actions_supported": []string{"revoke_sessions"}, "receipt_signing_alg_values_supported": []string{"EdDSA"}}
			}
			json.NewEncoder(w).Encode(md)
			return
		}
		if r.Header.Get("Authorization") != "Bearer tok" {
			w.WriteHeader(401)
			return
		}
		if r.Method == http.MethodDelete {
			p.deletes++
			w.WriteHeader(204)
			return
		}
		if r.Method == http.MethodGet {
			list := []any{}
			if p.existing {
				list = append(list, map[string]any{"stream_id": "s0", "iss": p.URL, "aud": "hub", "delivery": map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": "https://hub.example.test/receive/" + p.creates[0]}})
			}
			json.NewEncoder(w).Encode(list)
			return
		}
		var in map[string]json.RawMessage
		json.NewDecoder(r.Body).Decode(&in)
		if r.Method == http.MethodPatch {
			p.patches++
		} else {
			p.creates = append(p.creates, string(in[settings]))
		}
		if p.how == "refuses" && in[settings] != nil {
			w.WriteHeader(400)
			w.Write([]byte(`{"err":"invalid_request","description":"what is that?"}`))
			return
		}
		out := map[string]any{"stream_id": "s1", "iss": p.URL, "aud": []string{"https://hub.example.test/aud"}, "events_delivered": []string{"urn:e"}, "delivery": in["delivery"]}
		if in[settings] != nil && (p.how == "active" || p.how == "half" || p.how == "odd" || p.how == "terse" || p.how == "declined") {
			var mine map[string]any
			json.Unmarshal(in[settings], &mine)
			mine["status"] = p.how
			mine["receipt_audience"], mine["action_receipt_endpoint"], mine["actions_supported"] = p.URL, "https://idp.example.test/receipts", []string{"revoke_sessions"}
			if p.how == "half" {
				delete(mine, "status")
			}
			if p.how == "terse" {
				mine["status"] = "active"
				delete(mine, "action_receipt_endpoint")
				delete(mine, "receipt_audience")
				delete(mine, "actions_supported")
			}
			out[settings] = mine
		}
		if r.Method == http.MethodPost {
			w.WriteHeader(201)
		}
		json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(p.Close)
	return p
}

func newEnroller(p *peer, src **hub.Source) (*Enroller, *rows) {
	st := &rows{states: map[string]json.RawMessage{}}
	return New(Config{Store: st, Client: p.Client(),
		Source: func(context.Context, string, string) (*hub.Source, error) { return *src, nil },
		Secret: func(_ context.Context, _ string, s *hub.Secret) (string, error) { return "tok", nil },
		Capabilities: func(context.Context, string, *hub.Source) ([]receipt.Capability, error) {
			return []receipt.Capability{{Action: "revoke_sessions"}}, nil
		},
		Issuer: func(string) string { return "https://hub.example.test" }, KeysURL: func(string) string { return "https://hub.example.test/jwks.json" },
		ReceiveURL: func(id string) string { return "https://hub.example.test/receive/" + id }, Events: func() []string { return []string{"urn:e"} }}), st
}

func (p *peer) source() *hub.Source {
	return &hub.Source{Name: "idp", Type: "ssf", Issuer: p.URL, Stream: "create", Auth: &hub.Auth{Method: "bearer", Token: &hub.Secret{Stored: "t"}},
		Orders: &hub.OrderRules{Accept: []string{"revoke_sessions"}}}
}

func TestWhatBecomesOfReceipts(t *testing.T) {
	for how, want := range map[string]struct {
		receipts string
		creates  int
		reason   string
	}{
		"active":   {ReceiptsActive, 1, ""},
		"half":     {ReceiptsDeclined, 1, "lacks status"},
		"odd":      {ReceiptsDeclined, 1, "status is none of its words"},
		"terse":    {ReceiptsActive, 1, ""},
		"silent":   {ReceiptsLegacy, 1, ""},
		"declined": {ReceiptsDeclined, 1, "answered declined"},
		"refuses":  {ReceiptsLegacy, 2, ""},
		"none":     {ReceiptsLegacy, 1, ""},
	} {
		t.Run(how, func(t *testing.T) {
			p := newPeer(t, how)
			src := p.source()
			e, st := newEnroller(p, &src)
			ctx := context.Background()
			states, err := e.Reconcile(ctx, "default", []*hub.Source{src})
			if err != nil || len(st.queued) != 1 || len(states["idp"].ReceiveID) < 22 {
				t.Fatalf("%v, %d jobs, %+v", err, len(st.queued), states["idp"])
			}
			if err := e.Do(ctx, &st.queued[0]); err != nil {
				t.Fatal(err)
			}
			s, err := Read(ctx, st, "default", "idp")
			if err != nil || s.Status != Made || s.Receipts != want.receipts || s.StreamID != "s1" || len(s.Audience) != 1 || s.Error != "" {
				t.Fatalf("%+v, %v", s, err)
			}
			if !strings.Contains(s.ReceiptsReason, want.reason) || (s.ReceiptsReason == "") != (want.reason == "") {
				t.Errorf("reason %q, want %q", s.ReceiptsReason, want.reason)
			}
			if len(p.creates) != want.creates {
				t.Errorf("%d creates, want %d", len(p.creates), want.creates)
			}
			if how == "refuses" && p.creates[1] != "" || how == "none" && p.creates[0] != "" {
				t.Errorf("the receipts member was sent: %q", p.creates)
			}
			active := want.receipts == ReceiptsActive
			if (s.Endpoint == "https://idp.example.test/receipts") != active || (s.ReceiptAudience == p.URL) != active || slices.Equal(s.Actions, []string{"revoke_sessions"}) != active {
				t.Errorf("endpoint %q, audience %q, actions %q", s.Endpoint, s.ReceiptAudience, s.Actions)
			}
			// Nothing changed: nothing to do. Deleted: our stream goes too.
			st.queued = nil
			if _, err := e.Reconcile(ctx, "default", []*hub.Source{src}); err != nil || len(st.queued) != 0 {
				t.Errorf("%d jobs without a change, %v", len(st.queued), err)
			}
			src = nil
			if _, err := e.Reconcile(ctx, "default", nil); err != nil || len(st.queued) != 1 {
				t.Fatalf("%d jobs after the source went, %v", len(st.queued), err)
			}
			if err := e.Do(ctx, &st.queued[0]); err != nil || p.deletes != 1 {
				t.Errorf("deleted %d times, %v", p.deletes, err)
			}
		})
	}
	req.Covers(t, "AR-§3.3", "AR-§3.2")
}

func TestAnUnreachablePeerIsTriedAgain(t *testing.T) {
	p := newPeer(t, "down")
	src := p.source()
	e, st := newEnroller(p, &src)
	ctx := context.Background()
	if _, err := e.Reconcile(ctx, "default", []*hub.Source{src}); err != nil {
		t.Fatal(err)
	}
	job := st.queued[0]
	for range 2 {
		if err := e.Do(ctx, &job); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(ctx, st, "default", "idp")
	if err != nil || s.Status != Failed || s.Error == "" || s.Tries != 2 || st.next == nil || time.Until(st.next.Time()) < 500*time.Millisecond {
		t.Fatalf("%+v, next %v, %v", s, st.next, err)
	}
	// The next try has its time: a change elsewhere does not hasten it.
	st.queued = nil
	if _, err := e.Reconcile(ctx, "default", []*hub.Source{src}); err != nil || len(st.queued) != 0 {
		t.Errorf("%d jobs, %v", len(st.queued), err)
	}
	p.how = "active"
	if err := e.Do(ctx, &job); err != nil {
		t.Fatal(err)
	}
	if s, _ := Read(ctx, st, "default", "idp"); s.Status != Made || s.Tries != 0 || s.Error != "" {
		t.Errorf("%+v", s)
	}
}

// A stream that somebody else makes: the audience is the source's, and nothing goes out.
func TestStreamNone(t *testing.T) {
	p := newPeer(t, "active")
	src := &hub.Source{Name: "idp", Issuer: p.URL, Stream: "none", Audience: []string{"me"}}
	e, st := newEnroller(p, &src)
	ctx := context.Background()
	states, err := e.Reconcile(ctx, "default", []*hub.Source{src})
	if err != nil || states["idp"].Status != None || states["idp"].Audience[0] != "me" || len(st.queued) != 0 {
		t.Fatalf("%+v, %d jobs, %v", states["idp"], len(st.queued), err)
	}
	if p.calls != 0 {
		t.Errorf("%d calls", p.calls)
	}
}

// What we show a transmitter, and what it shall show us, is not kept where it sends them back.
func TestCredentialSentBack(t *testing.T) {
	p := &peer{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(r.URL.Path, "/.well-known") {
			json.NewEncoder(w).Encode(map[string]any{"spec_version": "1_0", "issuer": p.URL, "jwks_uri": p.URL + "/jwks.json", "configuration_endpoint": p.URL + "/streams"})
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(400)
		w.Write([]byte(r.Header.Get("Authorization") + " " + string(body[max(0, strings.Index(string(body), "authorization_header")):])))
	}))
	t.Cleanup(p.Close)
	src := p.source()
	src.PushAuth = &hub.PushAuth{AuthorizationHeader: &hub.Secret{Stored: "push"}}
	e, st := newEnroller(p, &src)
	e.Secret = func(_ context.Context, _ string, s *hub.Secret) (string, error) {
		return map[string]string{"t": "shown-there", "push": "Bearer shown-here"}[s.Stored], nil
	}
	if err := e.Do(t.Context(), &hub.Job{Key: "default/idp"}); err != nil {
		t.Fatal(err)
	}
	s, err := Read(t.Context(), st, "default", "idp")
	if err != nil || s.Status != Failed || strings.Contains(s.Error, "shown-") || !strings.Contains(s.Error, "***") {
		t.Errorf("%+v, %v", s, err)
	}
}
