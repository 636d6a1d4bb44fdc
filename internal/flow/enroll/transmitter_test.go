package enroll

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/stream"
)

// transmitter is the other side, with streams that stay.
type transmitter struct {
	*httptest.Server
	mu       sync.Mutex
	streams  []*stream.Configuration
	made     int
	one      bool // one stream for each client: 409 on the second
	noList   bool
	noPatch  bool
	mute     bool // does not say the description again
	verify   func(state string) int
	subjects []string
	status   string
	calls    []string
	bodies   map[string]string
	polls    []stream.PollRequest
	sets     map[string]string
	tokens   int
	patched  int
	refuse   int  // answers 401 this often
	suffix   bool // the metadata of an issuer with a path, at its end
	// pollToken is given with a poll stream.
	pollToken  string
	inactivity int64        // seconds
	before     http.Handler // answers in its place
}

func newTransmitter(t *testing.T) *transmitter {
	p := &transmitter{bodies: map[string]string{}, status: stream.Enabled, sets: map[string]string{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		before := p.before
		p.mu.Unlock()
		if before != nil {
			before.ServeHTTP(w, r)
			return
		}
		p.serve(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *transmitter) find(id string) int {
	for i, s := range p.streams {
		if s.StreamID == id {
			return i
		}
	}
	return -1
}

func (p *transmitter) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	call := r.Method + " " + r.URL.Path
	p.calls = append(p.calls, call)
	p.bodies[call] = string(body)
	w.Header().Set("Content-Type", "application/json")
	answer := func(status int, v any) {
		w.WriteHeader(status)
		if v != nil {
			json.NewEncoder(w).Encode(v)
		}
	}
	switch r.URL.Path {
	case "/.well-known/ssf-configuration":
		answer(200, map[string]any{"spec_version": "1_0", "issuer": p.URL, "jwks_uri": p.URL + "/jwks", "configuration_endpoint": p.URL + "/streams", "status_endpoint": p.URL + "/status",
			"verification_endpoint": p.URL + "/verify", "add_subject_endpoint": p.URL + "/add", "remove_subject_endpoint": p.URL + "/remove", "critical_subject_members": []string{"tenant"}})
		return
	case "/tenant/.well-known/ssf-configuration":
		if p.suffix {
			answer(200, map[string]any{"spec_version": "1_0", "issuer": p.URL + "/tenant", "jwks_uri": p.URL + "/jwks"})
			return
		}
	case "/jwks":
		w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
		return
	case "/unknown":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"invalid_client"}`)
		return
	case "/token":
		p.tokens++
		answer(200, map[string]any{"access_token": fmt.Sprint("t", p.tokens), "token_type": "Bearer", "expires_in": 3600})
		return
	}
	if r.Header.Get("Authorization") == "" {
		answer(401, nil)
		return
	}
	if p.refuse > 0 {
		p.refuse--
		answer(401, nil)
		return
	}
	id := r.URL.Query().Get("stream_id")
	var in stream.Configuration
	switch call {
	case "POST /streams":
		if p.one && len(p.streams) > 0 {
			answer(409, nil)
			return
		}
		json.Unmarshal(body, &in)
		p.made++
		in.StreamID, in.Issuer, in.Audience = fmt.Sprint("s", p.made), p.URL, []string{"hub"}
		in.EventsDelivered = in.EventsRequested
		in.MinVerificationInterval, in.InactivityTimeout = 60, p.inactivity
		if in.Delivery.Method == stream.PollMethod {
			in.Delivery.EndpointURL, in.Delivery.AuthorizationHeader = p.URL+"/poll?stream="+in.StreamID, p.pollToken
		}
		p.streams = append(p.streams, &in)
		answer(201, p.shown(&in))
	case "GET /streams":
		if id != "" {
			if i := p.find(id); i >= 0 {
				answer(200, p.shown(p.streams[i]))
				return
			}
			answer(404, nil)
			return
		}
		if p.noList {
			answer(403, nil)
			return
		}
		all := []any{}
		for _, s := range p.streams {
			all = append(all, p.shown(s))
		}
		answer(200, all)
	case "PATCH /streams", "PUT /streams":
		if p.noPatch {
			answer(405, nil)
			return
		}
		json.Unmarshal(body, &in)
		i := p.find(in.StreamID)
		if i < 0 {
			answer(404, nil)
			return
		}
		p.patched++
		s := p.streams[i]
		if in.EventsRequested != nil {
			s.EventsRequested, s.EventsDelivered = in.EventsRequested, in.EventsRequested
		}
		if in.Delivery != nil {
			s.Delivery = in.Delivery
		}
		if in.Description != "" {
			s.Description = in.Description
		}
		answer(200, p.shown(s))
	case "DELETE /streams":
		i := p.find(id)
		if i < 0 {
			answer(404, nil)
			return
		}
		p.streams = append(p.streams[:i], p.streams[i+1:]...)
		answer(204, nil)
	case "GET /status":
		if p.find(id) < 0 {
			answer(404, nil)
			return
		}
		answer(200, map[string]any{"stream_id": id, "status": p.status})
	case "POST /status":
		var st stream.Status
		json.Unmarshal(body, &st)
		p.status = st.Status
		answer(200, st)
	case "POST /verify":
		var v stream.VerifyRequest
		json.Unmarshal(body, &v)
		status := 204
		if p.verify != nil {
			status = p.verify(v.State)
		}
		answer(status, nil)
	case "POST /add", "POST /remove":
		p.subjects = append(p.subjects, string(body))
		answer(200, nil)
	case "POST /poll":
		var req stream.PollRequest
		json.Unmarshal(body, &req)
		p.polls = append(p.polls, req)
		for _, j := range req.Ack {
			delete(p.sets, j)
		}
		for j := range req.SetErrs {
			delete(p.sets, j)
		}
		sets := p.sets
		if req.MaxEvents != nil && *req.MaxEvents == 0 {
			sets = map[string]string{}
		}
		answer(200, map[string]any{"sets": sets})
	default:
		answer(404, nil)
	}
}

func (p *transmitter) shown(s *stream.Configuration) *stream.Configuration {
	c := *s
	if p.mute {
		c.Description = ""
	}
	return &c
}

// since gives the calls since the last time it was asked.
func (p *transmitter) since() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := strings.Join(p.calls, ", ")
	p.calls = nil
	return out
}

func (p *transmitter) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams)
}

// safe is a vault in memory.
type safe struct{ values map[string][]byte }

func (s safe) Value(_ context.Context, tenant, name string) ([]byte, error) {
	if v, ok := s.values[tenant+"/"+name]; ok {
		return v, nil
	}
	return nil, hub.Errorf(hub.NotFound, "there is no secret %s", name)
}
func (s safe) Set(_ context.Context, tenant, name string, v []byte) error {
	s.values[tenant+"/"+name] = v
	return nil
}
func (s safe) Delete(_ context.Context, tenant, name string) error {
	delete(s.values, tenant+"/"+name)
	return nil
}
func (safe) Seal(purpose, name string, plain []byte) []byte {
	return append([]byte(purpose+"|"+name+"|"), plain...)
}
func (safe) Open(purpose, name string, sealed []byte) ([]byte, error) {
	plain, ok := strings.CutPrefix(string(sealed), purpose+"|"+name+"|")
	if !ok {
		return nil, hub.Errorf(hub.Invalid, "it does not open")
	}
	return []byte(plain), nil
}

// rig is a hub's enrolling, with one source, over restarts.
type rig struct {
	t     *testing.T
	p     *transmitter
	st    *rows
	safe  safe
	src   *hub.Source // nil: deleted
	e     *Enroller
	now   time.Time
	stop  string // the point at which it ends
	heard hub.Micros
	taken map[string]error
	log   []string
}

type killed struct{}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, p: newTransmitter(t), st: &rows{states: map[string]json.RawMessage{}}, safe: safe{map[string][]byte{}}, now: time.Unix(1_800_000_000, 0), taken: map[string]error{}}
	r.src = &hub.Source{Name: "idp", Type: "ssf", Issuer: r.p.URL, Stream: "create", Auth: &hub.Auth{Method: "client_secret_post", ClientID: "c", ClientSecret: &hub.Secret{Stored: "s"}, TokenEndpoint: r.p.URL + "/token"}}
	r.start()
	return r
}

// start is a new process.
func (r *rig) start() {
	r.e = New(Config{Store: r.st, Client: r.p.Client(), Vault: r.safe,
		Source: func(context.Context, string, string) (*hub.Source, error) { return r.src, nil },
		Secret: func(context.Context, string, *hub.Secret) (string, error) { return "hush-hush-hush", nil },
		Capabilities: func(context.Context, string, *hub.Source) ([]receipt.Capability, error) {
			return nil, nil
		},
		Issuer: func(string) string { return "https://hub.example.test" }, KeysURL: func(string) string { return "https://hub.example.test/jwks.json" },
		ReceiveURL: func(id string) string { return "https://hub.example.test/receive/" + id }, Events: func() []string { return []string{"urn:e"} },
		LastSignal: func(context.Context, string, string) (hub.Micros, error) { return r.heard, nil },
		Take:       func(_ context.Context, _, _, compact string) error { return r.taken[compact] },
		Alarmed:    func(_, source string, silent bool) { r.log = append(r.log, fmt.Sprint(source, " ", silent)) },
		Stop: func(point string) {
			if point == r.stop {
				r.stop = ""
				panic(killed{})
			}
		},
		Now: func() time.Time { return r.now }, Log: slog.New(slog.DiscardHandler)})
}

// run works until nothing is due, as a hub does; it starts again where it was killed.
func (r *rig) run() *State {
	r.t.Helper()
	for range 20 {
		var sources []*hub.Source
		if r.src != nil {
			sources = []*hub.Source{r.src}
		}
		if _, err := r.e.Reconcile(r.t.Context(), "default", sources); err != nil {
			r.t.Fatal(err)
		}
		job, due := r.st.take("enroll")
		if !due {
			return r.state()
		}
		r.do(func() error { return r.e.Do(r.t.Context(), &job) })
		if r.st.next != nil {
			r.now = r.st.next.Time().Add(time.Millisecond)
			r.st.next = nil
		}
	}
	r.t.Fatalf("it does not come to an end: %+v", r.state())
	return nil
}

// do does something that a kill may end.
func (r *rig) do(f func() error) {
	r.t.Helper()
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(killed); !ok {
				panic(x)
			}
			r.start()
		}
	}()
	if err := f(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) state() *State {
	r.t.Helper()
	s, err := Read(r.t.Context(), r.st, "default", "idp")
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// take takes the job of a kind.
func (r *rows) take(kind string) (hub.Job, bool) {
	for i, j := range r.queued {
		if j.Kind == kind {
			r.queued = append(r.queued[:i], r.queued[i+1:]...)
			return j, true
		}
	}
	return hub.Job{}, false
}
