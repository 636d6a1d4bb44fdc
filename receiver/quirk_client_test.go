package receiver_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// places answers at some addresses and records what it was asked.
type places struct {
	*httptest.Server
	at    map[string]string
	asked []string
}

func newPlaces(t *testing.T, at func(base string) map[string]string) *places {
	t.Helper()
	p := &places{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked = append(p.asked, r.URL.Path)
		text, ok := p.at[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(p.Close)
	p.at = at(p.URL)
	return p
}

// Where the metadata is: strict asks the one address of SSF 1.0, Q-01 the others in use, and an address that an operator gave is
// asked alone. The issuer in it is the one that we know, byte for byte, wherever it was.
func TestQuirksOfMetadata(t *testing.T) {
	ctx := t.Context()
	appended := newPlaces(t, func(base string) map[string]string {
		return map[string]string{"/realms/r/.well-known/ssf-configuration": `{"issuer":"` + base + `/realms/r"}`}
	})
	issuer := appended.URL + "/realms/r"
	strict, loose := &receiver.Client{}, &receiver.Client{Quirks: receiver.Quirks{OtherMetadataPlaces: true}}
	if _, _, err := strict.DiscoverAny(ctx, issuer, "", false); err == nil {
		t.Error("strict found what is at another place")
	}
	if len(appended.asked) != 1 {
		t.Errorf("strict asked %v", appended.asked)
	}
	if md, used, err := loose.DiscoverAny(ctx, issuer, "", false); err != nil || md.Issuer != issuer || used != issuer+"/.well-known/ssf-configuration" {
		t.Errorf("Q-01: %v %q, %v", md, used, err)
	}
	for _, name := range []string{"/.well-known/sse-configuration/realms/r", "/.well-known/risc-configuration/realms/r"} {
		old := newPlaces(t, func(base string) map[string]string {
			return map[string]string{name: `{"issuer":"` + base + `/realms/r"}`}
		})
		if _, used, err := loose.DiscoverAny(ctx, old.URL+"/realms/r", "", false); err != nil || !strings.HasSuffix(used, name) {
			t.Errorf("Q-01: %q, %v", used, err)
		}
	}
	foreign := newPlaces(t, func(string) map[string]string {
		return map[string]string{"/realms/r/.well-known/ssf-configuration": `{"issuer":"https://somebody.example"}`}
	})
	if _, _, err := loose.DiscoverAny(ctx, foreign.URL+"/realms/r", "", false); !errors.Is(err, receiver.ErrIssuer) {
		t.Errorf("another issuer at the appended address: %v", err)
	}

	// An address that shares nothing with the issuer; short, with an odd version and a key that is no number.
	given := newPlaces(t, func(string) map[string]string {
		return map[string]string{"/config": `{"issuer":"https://accounts.google.com/","jwks_uri":"https://keys.example/k","spec_version":"10"}`}
	})
	md, used, err := strict.DiscoverAny(ctx, "https://accounts.google.com/", given.URL+"/config", false)
	if err != nil || used != given.URL+"/config" || md.SpecVersion != "10" || len(given.asked) != 1 {
		t.Fatalf("%+v %q %v, %v", md, used, given.asked, err)
	}
	if _, _, err := strict.DiscoverAny(ctx, "https://accounts.google.com", given.URL+"/config", false); !errors.Is(err, receiver.ErrIssuer) || !strings.Contains(err.Error(), "slash at the end") {
		t.Errorf("without the slash: %v", err)
	}
	// What is absent is switched off and no error before it is asked for.
	if _, err := strict.Create(ctx, md, &stream.Configuration{}); !errors.Is(err, receiver.ErrUnsupported) {
		t.Errorf("create: %v", err)
	}
	if _, err := strict.Status(ctx, md, "s"); !errors.Is(err, receiver.ErrUnsupported) {
		t.Errorf("status: %v", err)
	}
	if err := strict.AddSubject(ctx, md, "s", subject.Email("a@b.test"), nil); !errors.Is(err, receiver.ErrUnsupported) {
		t.Errorf("subjects: %v", err)
	}
	req.Covers(t, "Q-01", "Q-02", "Q-03", "Q-04", "Q-19", "RX-3", "RX-7", "RX-8", "RX-9")
}

// What is sent: nothing but what a receiver supplies, with further members and places only by a switch.
func TestQuirksOfRequests(t *testing.T) {
	ctx := t.Context()
	p := newPeer(t)
	p.md.AddSubjectEndpoint = p.URL + "/add"
	p.answer = answer
	full := &stream.Configuration{StreamID: "s1", Issuer: issuer, Audience: []string{"https://rx.example"}, EventsSupported: []string{"e"}, EventsRequested: []string{"e"},
		EventsDelivered: []string{"e"}, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1"}, Description: "d"}
	members := func() string {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(p.body), &m); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, n := range []string{"stream_id", "iss", "aud", "events_supported", "events_requested", "events_delivered", "delivery", "description", "status", "min_verification_interval"} {
			if _, ok := m[n]; ok {
				names = append(names, n)
			}
			delete(m, n)
		}
		for n := range m {
			t.Errorf("sent besides: %s", n)
		}
		return strings.Join(names, " ")
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(p.client.Create(ctx, p.md, full))
	if got := members(); got != "events_requested delivery description" {
		t.Errorf("create sends %s", got)
	}
	must(p.client.Update(ctx, p.md, full))
	if got := members(); got != "stream_id events_requested delivery description" {
		t.Errorf("update sends %s", got)
	}
	must(p.client.Replace(ctx, p.md, full))
	if got := members(); got != "stream_id events_requested delivery description" {
		t.Errorf("replace sends %s", got)
	}

	odd := *p.client
	odd.Quirks = receiver.Quirks{AudienceInCreate: true, IDInQuery: true}
	must(odd.Create(ctx, p.md, full))
	if got := members(); got != "aud events_requested delivery description" {
		t.Errorf("Q-18/create: create sends %s", got)
	}
	p.answer = `{"stream_id":"s1","status":"enabled"}`
	for _, c := range []struct {
		do   func(c *receiver.Client) error
		path string
	}{
		{func(c *receiver.Client) error {
			_, err := c.SetStatus(ctx, p.md, stream.Status{StreamID: "s1", Status: stream.Paused})
			return err
		}, "POST /status"},
		{func(c *receiver.Client) error { return c.Verify(ctx, p.md, "s1", "x") }, "POST /verify"},
		{func(c *receiver.Client) error { return c.AddSubject(ctx, p.md, "s1", subject.Email("a@b.test"), nil) }, "POST /add"},
	} {
		if err := c.do(p.client); err != nil || p.asked != c.path {
			t.Errorf("strict asks %s, %v", p.asked, err)
		}
		if err := c.do(&odd); err != nil || p.asked != c.path+"?stream_id=s1" || !strings.Contains(p.body, `"stream_id":"s1"`) {
			t.Errorf("Q-14/query: %s with %s, %v", p.asked, p.body, err)
		}
	}
	req.Covers(t, "Q-11", "Q-14/query", "Q-18/create", "L-2", "L-4")
}

// What is answered: lists in every shape, members that are left out, every kind of success, and refusals as what they are.
func TestQuirksOfAnswers(t *testing.T) {
	ctx := t.Context()
	p := newPeer(t)
	p.md.AddSubjectEndpoint, p.md.RemoveSubjectEndpoint = p.URL+"/add", p.URL+"/remove"
	one := `{"stream_id":"s1","iss":"` + issuer + `","aud":["a"],"delivery":{"method":"https://schemas.openid.net/secevent/risc/delivery-method/push","endpoint_url":"https://rx/1"}}`
	for name, text := range map[string]string{"array": "[" + one + "]", "object": one, "streams": `{"streams":[` + one + `]}`} {
		p.answer = text
		list, err := p.client.List(ctx, p.md)
		if err != nil || len(list) != 1 || list[0].StreamID != "s1" || list[0].Delivery.Method != stream.PushMethod || len(list[0].EventsDelivered) != 0 {
			t.Errorf("Q-13, %s: %+v, %v", name, list, err)
		}
	}
	// Listing is refused: the stream is found by the id that was kept (goSignals).
	p.status, p.answer = 403, ""
	if _, err := p.client.Streams(ctx, p.md); err == nil {
		t.Error("a refused list is no list")
	}
	var asked []string
	both := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		if r.URL.Query().Get("stream_id") != "s1" {
			w.WriteHeader(403)
			return
		}
		_, _ = io.WriteString(w, one)
	}))
	defer both.Close()
	md := &stream.Metadata{Issuer: issuer, ConfigurationEndpoint: both.URL}
	if list, err := p.client.Streams(ctx, md, "s1"); err != nil || len(list) != 1 || len(asked) != 2 {
		t.Errorf("L-4: %+v %v, %v", list, asked, err)
	}
	// Any 2xx; a 200 with {} for a subject says as little as a 204.
	for _, status := range []int{200, 202, 204} {
		p.status, p.answer = status, map[bool]string{true: "{}"}[status == 200]
		for name, err := range map[string]error{
			"delete": p.client.Delete(ctx, p.md, "s1"), "verify": p.client.Verify(ctx, p.md, "s1", "x"),
			"add": p.client.AddSubject(ctx, p.md, "s1", subject.Email("a@b.test"), nil), "remove": p.client.RemoveSubject(ctx, p.md, "s1", subject.Email("a@b.test")),
		} {
			if err != nil {
				t.Errorf("Q-14, %s %d: %v", name, status, err)
			}
		}
	}
	p.status, p.answer = 201, one
	if _, err := p.client.Create(ctx, p.md, &stream.Configuration{}); err != nil {
		t.Errorf("Q-14, create 201: %v", err)
	}

	// There is one stream already: what is there is compared before it is taken.
	p.status, p.answer = 409, `{"error":"stream_error","error_description":"Only one stream per receiver is allowed"}`
	_, err := p.client.Create(ctx, p.md, &stream.Configuration{})
	if e, ok := errors.AsType[*receiver.APIError](err); !ok || e.Status != 409 || e.Temporary() || !strings.Contains(e.Error(), "Only one stream") {
		t.Errorf("Q-10: %v", err)
	}
	have := &stream.Configuration{StreamID: "s1", Audience: []string{"theirs"}, EventsDelivered: nil, Delivery: &stream.Delivery{Method: receiver.OldPushMethod, EndpointURL: "https://somebody.example/1"}}
	want := &stream.Configuration{EventsRequested: []string{"e"}, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1"}}
	foreign := false
	for _, d := range receiver.Adopt(have, want) {
		foreign = foreign || d.Foreign
		if d.Member == "delivery.method" {
			t.Error("Q-05: the older name of the same method is a difference")
		}
	}
	if !foreign {
		t.Error("Q-10: a stream that delivers elsewhere is taken")
	}
	have.Delivery.EndpointURL, have.EventsDelivered = "https://rx/1", []string{"e"}
	have.EventsRequested = []string{"e"}
	if d := receiver.Adopt(have, want); len(d) != 0 {
		t.Errorf("Q-10: what is as wanted differs: %+v", d)
	}

	// Too often, and without a word about when (Keycloak).
	p.status, p.answer = 429, `{"error":"Wait at least 60 seconds"}`
	err = p.client.Verify(ctx, p.md, "s1", "x")
	if e, ok := errors.AsType[*receiver.APIError](err); !ok || e.Status != 429 || !e.Temporary() {
		t.Errorf("Q-22: %v", err)
	}
	p.answers.Set("Retry-After", "60")
	err = p.client.Verify(ctx, p.md, "s1", "x")
	if e, ok := errors.AsType[*receiver.APIError](err); !ok || e.RetryAfter != time.Minute {
		t.Errorf("Q-22: %v", err)
	}
	req.Covers(t, "Q-05", "Q-10", "Q-13", "Q-14", "Q-21", "Q-26", "L-4")
}

// An answer that leaves the address of a poll out means that it is what it was, and its credential too.
func TestQuirkOfThePollAddress(t *testing.T) {
	created := &stream.Configuration{StreamID: "s1", Delivery: &stream.Delivery{Method: receiver.OldPollMethod, EndpointURL: "https://tx/poll", AuthorizationHeader: "Bearer poll"}}
	for name, answer := range map[string]*stream.Delivery{"no delivery": nil, "only a method": {Method: stream.PollMethod}, "an older name": {Method: receiver.OldPollMethod}} {
		d := receiver.Remember(created, &stream.Configuration{StreamID: "s1", Delivery: answer}).Delivery
		if d == nil || d.EndpointURL != "https://tx/poll" || d.AuthorizationHeader != "Bearer poll" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	moved := receiver.Remember(created, &stream.Configuration{StreamID: "s1", Delivery: &stream.Delivery{Method: stream.PollMethod, EndpointURL: "https://tx/other"}})
	if moved.Delivery.EndpointURL != "https://tx/other" {
		t.Errorf("a new address: %+v", moved.Delivery)
	}
	push := receiver.Remember(created, &stream.Configuration{StreamID: "s1", Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1"}})
	if push.Delivery.AuthorizationHeader != "" {
		t.Errorf("a push stream has the credential of the poll: %+v", push.Delivery)
	}
	other := receiver.Remember(created, &stream.Configuration{StreamID: "s2", Delivery: &stream.Delivery{Method: stream.PollMethod}})
	if other.Delivery.EndpointURL != "" {
		t.Errorf("another stream: %+v", other.Delivery)
	}
	req.Covers(t, "Q-63", "L-3", "L-5", "RX-22")
}

// A token without a signature is refused whatever is let pass, by push and by poll; and so is one under another algorithm.
func TestUnsignedIsNeverLetPass(t *testing.T) {
	all := receiver.Quirks{}
	for _, k := range receiver.QuirkTable {
		if err := all.Set(k.ID); err != nil {
			t.Fatal(err)
		}
	}
	for _, alg := range []string{"none", "None", "HS256", "RS256"} {
		b := newBench(t)
		b.handler.Quirks = all
		parts := strings.Split(sign(t, claims()), ".")
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"secevent+jwt","kid":"k1"}`))
		if strings.EqualFold(alg, "none") {
			parts[2] = ""
		}
		compact := strings.Join(parts, ".")
		refused(t, b.do(push(compact)), 400, stream.InvalidKey)
		if _, named := errors.AsType[*receiver.QuirkError](b.reason); named || !errors.Is(b.reason, set.ErrAlgorithm) {
			t.Errorf("%s: %v", alg, b.reason)
		}
		if err := b.handler.Take(t.Context(), compact); err == nil || len(b.kept) != 0 {
			t.Errorf("%s by poll: %v, kept %d", alg, err, len(b.kept))
		}
	}
	if err := all.Set("Q-43"); !errors.Is(err, receiver.ErrQuirk) {
		t.Errorf("there is a switch for unsigned tokens: %v", err)
	}
	req.Covers(t, "Q-43", "RX-49")
}

// The events about the stream under the names of the first draft are read as today's: their state is asked about, and they are no
// signal (LEG-8, LEG-17).
func TestQuirkOfStreamEvents(t *testing.T) {
	all := rows(t)
	for name, uri := range map[string]string{"q30-sse-verification": ssf.VerificationURI, "q30-sse-updated": ssf.StreamUpdatedURI} {
		b := newBench(t)
		b.handler.Quirks = receiver.Quirks{OldStreamEvents: true}
		if w := b.do(push(all[name].token(t))); w.Code != 202 || len(b.kept) != 1 {
			t.Fatalf("%s: %d %v", name, w.Code, b.reason)
		}
		if d := b.kept[0]; !d.StreamEvent || d.Event.Type != uri || d.Type.URI != uri || !d.Subject.IsZero() {
			t.Errorf("%s: %+v", name, d)
		}
		if asked := strings.Join(b.states, " "); (name == "q30-sse-verification") != (asked == `"6c1a" true`) {
			t.Errorf("%s: asked about %q", name, asked)
		}
	}
	// A person is no stream: such an event is of a type that nobody knows.
	b := newBench(t)
	b.handler.Quirks = receiver.Quirks{OldStreamEvents: true, NestedSubject: true}
	if w := b.do(push(all["q30-sse-subject"].token(t))); w.Code != 202 || b.kept[0].StreamEvent {
		t.Errorf("%d %v", w.Code, b.reason)
	}
	// The wrong state is refused as it is today.
	b = newBench(t)
	b.handler.Quirks, b.verify = receiver.Quirks{OldStreamEvents: true}, receiver.ErrState
	refused(t, b.do(push(all["q30-sse-verification"].token(t))), 400, stream.InvalidState)
	req.Covers(t, "Q-30/sse", "LEG-17")
}
