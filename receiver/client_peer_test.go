package receiver_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/event/caep"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/ssftest"
	"countersign/stream"
	"countersign/subject"
	"countersign/transmitter"
)

// The stream API of our own transmitter, from end to end.
func TestClientAgainstTransmitter(t *testing.T) {
	req.Covers(t, "IOP-24", "IOP-25", "IOP-26", "IOP-27", "IOP-28", "IOP-29", "RX-14", "RX-15", "RX-22", "RX-33")
	ctx := t.Context()
	x := ssftest.NewTransmitter(t, nil)
	c := &receiver.Client{HTTP: x.Server.Client(), Credential: receiver.Bearer(ssftest.Token)}
	md, err := c.Discover(ctx, x.Issuer, "")
	if err != nil {
		t.Fatal(err)
	}
	if md.JWKSURI == "" || md.DefaultSubjects != stream.DefaultAll || !slices.ContainsFunc(md.AuthorizationSchemes, func(s stream.AuthorizationScheme) bool { return s.SpecURN == stream.OAuth2URN }) {
		t.Errorf("metadata %+v", md)
	}
	want := &stream.Configuration{EventsRequested: []string{caep.SessionRevokedURI}, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	made, err := c.Create(ctx, md, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Audience) == 0 || !slices.Equal(made.EventsDelivered, want.EventsRequested) || made.Delivery.EndpointURL == "" {
		t.Errorf("made %+v", made)
	}
	// Everybody is included without being added.
	if _, err := x.Send(ctx, message("first@example.com")); err != nil {
		t.Fatal(err)
	}
	if sets := polled(t, c, made); len(sets) != 1 {
		t.Errorf("%d SETs about somebody who was never added", len(sets))
	}
	read, err := c.Read(ctx, md, made.StreamID)
	if err != nil || len(receiver.Adopt(read, want)) != 0 {
		t.Errorf("read %+v, %v", receiver.Adopt(read, want), err)
	}
	list, err := c.List(ctx, md)
	if err != nil || len(list) != 1 {
		t.Errorf("list %v, %v", list, err)
	}
	// Each simple format, and a complex one, is added and removed; both are answered with success.
	for _, sub := range []subject.Identifier{
		subject.Email("jane@example.com"), subject.IssSub("https://i.example", "1"), subject.Opaque("o-1"),
		subject.Complex(map[string]subject.Identifier{subject.PartUser: subject.Email("jane@example.com"), subject.PartDevice: subject.Opaque("d")}),
	} {
		if err := c.RemoveSubject(ctx, md, made.StreamID, sub); err != nil {
			t.Errorf("remove %s: %v", sub.Format(), err)
		}
		if err := c.AddSubject(ctx, md, made.StreamID, sub, nil); err != nil {
			t.Errorf("add %s: %v", sub.Format(), err)
		}
	}
	if err := c.Verify(ctx, md, made.StreamID, "state-1"); err != nil {
		t.Error(err)
	}
	if sets := polled(t, c, made); len(sets) != 1 {
		t.Errorf("%d SETs after a request for one verification", len(sets))
	}
	for _, status := range []string{stream.Paused, stream.Enabled} {
		if got, err := c.SetStatus(ctx, md, stream.Status{StreamID: made.StreamID, Status: status}); err != nil || got.Status != status {
			t.Errorf("%v, %v", got, err)
		}
	}
	if st, err := c.Status(ctx, md, made.StreamID); err != nil || st.Status != stream.Enabled {
		t.Errorf("%v, %v", st, err)
	}
	made.Description = "ours"
	changed, err := c.Update(ctx, md, made)
	if err != nil || changed.Description != "ours" || changed.Delivery.EndpointURL != made.Delivery.EndpointURL {
		t.Errorf("update: %+v, %v", changed, err)
	}
	if _, err := c.Replace(ctx, md, want0(want, made.StreamID)); err != nil {
		t.Errorf("replace: %v", err)
	}
	if err := c.Delete(ctx, md, made.StreamID); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, md, made.StreamID); err != nil {
		t.Errorf("delete once more: %v", err)
	}
}

func want0(cfg *stream.Configuration, id string) *stream.Configuration {
	out := *cfg
	out.StreamID = id
	return &out
}

func polled(t *testing.T, c *receiver.Client, cfg *stream.Configuration) map[string]string {
	t.Helper()
	got, err := c.Poll(t.Context(), cfg.Delivery.EndpointURL, &stream.PollRequest{ReturnImmediately: true})
	if err != nil {
		t.Fatal(err)
	}
	ack := &stream.PollRequest{ReturnImmediately: true}
	for jti := range got.Sets {
		ack.Ack = append(ack.Ack, jti)
	}
	if _, err := c.Poll(t.Context(), cfg.Delivery.EndpointURL, ack); err != nil {
		t.Fatal(err)
	}
	return got.Sets
}

func TestClientListsOddly(t *testing.T) {
	req.Covers(t, "Q-13", "RX-25")
	ctx := t.Context()
	p := newPeer(t)
	for name, c := range map[string]struct {
		answer string
		want   int
		err    error
	}{
		"array":              {`[` + answer + `]`, 1, nil},
		"empty array":        {`[]`, 0, nil},
		"one object":         {answer, 1, nil},
		"under streams":      {`{"streams":[` + answer + `]}`, 1, nil},
		"none under streams": {`{"streams":[],"count":0}`, 0, nil},
		"another object":     {`{"error":"no"}`, 0, receiver.ErrAnswer},
		"empty object":       {`{}`, 0, receiver.ErrAnswer},
		"text":               {`"none"`, 0, receiver.ErrAnswer},
		"without id":         {`[{"iss":"` + issuer + `"}]`, 0, receiver.ErrAnswer},
		"of somebody else":   {`{"streams":[{"stream_id":"s","iss":"https://x.example"}]}`, 0, receiver.ErrIssuer},
	} {
		p.answer = c.answer
		if list, err := p.client.List(ctx, p.md); !errors.Is(err, c.err) || len(list) != c.want {
			t.Errorf("%s: %d, %v", name, len(list), err)
		}
	}
}

// A transmitter that does not list its streams has them all the same: the ids that we kept find them.
func TestClientFindsStreamsByTheirIDs(t *testing.T) {
	req.Covers(t, "RX-24", "RX-38", "Q-10")
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("stream_id"))
		switch r.URL.Query().Get("stream_id") {
		case "":
			w.WriteHeader(403)
		case "s1":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, answer)
		default:
			w.WriteHeader(404)
		}
	}))
	defer srv.Close()
	c, md := &receiver.Client{}, &stream.Metadata{Issuer: issuer, ConfigurationEndpoint: srv.URL}
	list, err := c.Streams(t.Context(), md, "s1", "gone")
	if err != nil || len(list) != 1 || list[0].StreamID != "s1" || !slices.Equal(asked, []string{"", "s1", "gone"}) {
		t.Errorf("%v, %v, asked %q", list, err, asked)
	}
	asked = nil
	if _, err := c.Streams(t.Context(), md); !is(err, 403) || len(asked) != 1 {
		t.Errorf("%v, asked %q", err, asked)
	}
}

func is(err error, status int) bool {
	e, ok := errors.AsType[*receiver.APIError](err)
	return ok && e.Status == status
}

func TestRemember(t *testing.T) {
	req.Covers(t, "Q-63", "Q-54/token")
	poll := func(url, auth string) *stream.Configuration {
		return &stream.Configuration{StreamID: "s", Delivery: &stream.Delivery{Method: stream.PollMethod, EndpointURL: url, AuthorizationHeader: auth}}
	}
	push := &stream.Configuration{StreamID: "s", Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx"}}
	bare := &stream.Configuration{StreamID: "s"}
	for name, c := range map[string]struct{ before, got, want *stream.Configuration }{
		"without address":  {poll("https://p", "Bearer x"), poll("", ""), poll("https://p", "Bearer x")},
		"without delivery": {poll("https://p", ""), bare, poll("https://p", "")},
		"a new address":    {poll("https://p", "Bearer x"), poll("https://q", ""), poll("https://q", "Bearer x")},
		"push from now on": {poll("https://p", ""), push, push},
		"poll from now on": {push, poll("", ""), poll("", "")},
		"the first":        {nil, poll("https://p", ""), poll("https://p", "")},
		"another stream":   {&stream.Configuration{StreamID: "t", Delivery: &stream.Delivery{Method: stream.PollMethod, EndpointURL: "https://t"}}, bare, bare},
	} {
		got := receiver.Remember(c.before, c.got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestBothNamesOfADelivery(t *testing.T) {
	req.Covers(t, "Q-05")
	ctx := t.Context()
	p := newPeer(t)
	p.answer = strings.Replace(answer, stream.PushMethod, receiver.OldPushMethod, 1)
	cfg, err := p.client.Read(ctx, p.md, "s1")
	if err != nil || cfg.Delivery.Method != stream.PushMethod {
		t.Errorf("%+v, %v", cfg, err)
	}
	// Sent is the one that the metadata lists, today's where it lists both or none.
	for _, c := range map[string]struct {
		lists []string
		want  string
	}{
		"old":  {[]string{receiver.OldPollMethod, receiver.OldPushMethod}, receiver.OldPushMethod},
		"both": {[]string{receiver.OldPushMethod, stream.PushMethod}, stream.PushMethod},
		"none": {nil, stream.PushMethod},
	} {
		p.md.DeliveryMethodsSupported = c.lists
		if _, err := p.client.Create(ctx, p.md, &stream.Configuration{Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://rx/1"}}); err != nil {
			t.Fatal(err)
		}
		same(t, p.body, `{"delivery":{"method":"`+c.want+`","endpoint_url":"https://rx/1"}}`)
	}
}

func TestClientQuirks(t *testing.T) {
	ctx := t.Context()
	p := newPeer(t)
	cfg := &stream.Configuration{Audience: stream.Audience{"a"}, EventsSupported: []string{"e"}, EventsRequested: []string{}}
	ask := func() (asked []string) {
		p.answer = answer
		if _, err := p.client.Create(ctx, p.md, cfg); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, p.body)
		p.answer = `{"stream_id":"s1","status":"paused"}`
		if _, err := p.client.SetStatus(ctx, p.md, stream.Status{StreamID: "s1", Status: stream.Paused}); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, p.asked)
		if err := p.client.Verify(ctx, p.md, "s1", ""); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, p.asked)
		p.md.AddSubjectEndpoint = p.URL + "/add"
		if err := p.client.AddSubject(ctx, p.md, "s1", subject.Email("a@b.example"), nil); err != nil {
			t.Fatal(err)
		}
		return append(asked, p.asked)
	}
	req.Covers(t, "Q-11")
	if diff := cmp.Diff([]string{`{"events_requested":[]}`, "POST /status", "POST /verify", "POST /add"}, ask()); diff != "" {
		t.Errorf("strict (-want +got):\n%s", diff)
	}
	req.Covers(t, "Q-14/query", "Q-18/create")
	p.client.Quirks = receiver.Quirks{IDInQuery: true, AudienceInCreate: true}
	if diff := cmp.Diff([]string{`{"aud":["a"],"events_requested":[]}`, "POST /status?stream_id=s1", "POST /verify?stream_id=s1", "POST /add?stream_id=s1"}, ask()); diff != "" {
		t.Errorf("quirks (-want +got):\n%s", diff)
	}
}

func TestDiscoverAny(t *testing.T) {
	req.Covers(t, "RX-7", "RX-8", "RX-4", "Q-01")
	var at string // where the metadata is
	var asked []string
	missing := 404
	foreign := false
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "":
			t.Error("the credential went along")
		case r.URL.Path != at:
			w.WriteHeader(missing)
		case foreign:
			fmt.Fprintf(w, `{"issuer":"https://evil.example"}`)
		default:
			fmt.Fprintf(w, `{"issuer":%q}`, srv.URL+"/t/blue")
		}
	}))
	defer srv.Close()
	c := &receiver.Client{Credential: receiver.Bearer("x")}
	places := []string{
		"/.well-known/ssf-configuration/t/blue", "/t/blue/.well-known/ssf-configuration",
		"/.well-known/sse-configuration/t/blue", "/t/blue/.well-known/sse-configuration",
		"/.well-known/risc-configuration/t/blue", "/t/blue/.well-known/risc-configuration",
	}
	for i, place := range places {
		at, asked = place, nil
		md, used, err := c.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", true)
		if err != nil || md == nil || used != srv.URL+place || !slices.Equal(asked, places[:i+1]) {
			t.Errorf("%s: used %s, asked %q, %v", place, used, asked, err)
		}
		asked = nil
		_, _, err = c.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", false)
		if (err == nil) != (i == 0) || len(asked) != 1 {
			t.Errorf("%s without fallbacks: asked %q, %v", place, asked, err)
		}
		asked = nil
		quirky := &receiver.Client{Quirks: receiver.Quirks{OtherMetadataPlaces: true}}
		if _, _, err := quirky.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", false); err != nil {
			t.Errorf("%s by quirk: %v", place, err)
		}
	}
	// An address that is given is the only one.
	at, asked = places[1], nil
	if _, used, err := c.DiscoverAny(t.Context(), srv.URL+"/t/blue", srv.URL+"/given", true); !is(err, 404) || used != srv.URL+"/given" || len(asked) != 1 {
		t.Errorf("given: used %s, asked %q, %v", used, asked, err)
	}
	// A foreign issuer ends the search; so does trouble, which says nothing about the place.
	foreign, asked, at = true, nil, places[1]
	if _, _, err := c.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", true); !errors.Is(err, receiver.ErrIssuer) || len(asked) != 2 {
		t.Errorf("foreign: asked %q, %v", asked, err)
	}
	missing, asked = 503, nil
	if _, _, err := c.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", true); !is(err, 503) || len(asked) != 1 {
		t.Errorf("trouble: asked %q, %v", asked, err)
	}
	missing, asked, at = 404, nil, "nowhere"
	if _, _, err := c.DiscoverAny(t.Context(), srv.URL+"/t/blue", "", true); !is(err, 404) || len(asked) != len(places) {
		t.Errorf("nowhere: asked %q, %v", asked, err)
	}
	missing = 302
	if _, _, err := c.DiscoverAny(t.Context(), srv.URL, "", true); !is(err, 302) || !strings.Contains(err.Error(), "redirects are not followed") {
		t.Errorf("redirect: %v", err)
	}
}

// One request to verify, and no second one to find out.
func TestClientAsksForVerificationOnce(t *testing.T) {
	req.Covers(t, "RX-45", "Q-22", "Q-23")
	calls := 0
	c := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		calls++
		return say(429, "Wait at least 60 seconds", "Retry-After", "60"), nil
	})}}
	err := c.Verify(t.Context(), &stream.Metadata{VerificationEndpoint: "https://idp.example.test/verify"}, "s1", "x")
	e, ok := errors.AsType[*receiver.APIError](err)
	if calls != 1 || !ok || e.RetryAfter != time.Minute || !e.Temporary() {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// Who is refused twice is told what may be the cause.
func TestClientExplains401(t *testing.T) {
	req.Covers(t, "Q-25", "RX-96")
	a := newAuthority(t, nil)
	calls := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls++; w.WriteHeader(401) }))
	defer api.Close()
	md := &stream.Metadata{StatusEndpoint: api.URL}
	src := &receiver.TokenSource{ClientID: "hub", Secret: "s", Endpoint: a.URL + "/token"}
	_, err := (&receiver.Client{Credential: src}).Status(t.Context(), md, "s")
	if !is(err, 401) || calls != 2 || len(a.forms) != 2 {
		t.Errorf("%d calls, %d tokens, %v", calls, len(a.forms), err)
	}
	for _, cause := range []string{"fresh token", "scope", "switched off", "realm", "logout of everybody"} {
		if !strings.Contains(err.Error(), cause) {
			t.Errorf("%v does not name %q", err, cause)
		}
	}
	calls = 0
	if _, err := (&receiver.Client{Credential: receiver.Bearer("x")}).Status(t.Context(), md, "s"); calls != 1 || strings.Contains(err.Error(), "fresh") {
		t.Errorf("a fixed token: %d calls, %v", calls, err)
	}
}

func message(email string) transmitter.Message {
	return transmitter.Message{Type: "caep/session-revoked", SubID: subject.Email(email).Raw()}
}

// A transmitter whose issuer is https names no address without (RX-10); other hosts are common.
func TestDiscoverWantsHTTPS(t *testing.T) {
	req.Covers(t, "RX-10", "RX-12", "RX-4")
	for name, c := range map[string]struct {
		issuer, member, value string
		want                  error
	}{
		"keys":         {"https://idp.example.test", "jwks_uri", "http://idp.example.test/jwks", receiver.ErrInsecure},
		"streams":      {"https://idp.example.test", "configuration_endpoint", "http://idp.example.test/s", receiver.ErrInsecure},
		"verification": {"https://idp.example.test", "verification_endpoint", "/verify", receiver.ErrInsecure},
		"subjects":     {"https://idp.example.test", "add_subject_endpoint", "ftp://x/y", receiver.ErrInsecure},
		"another host": {"https://idp.example.test", "jwks_uri", "https://keys.example.net/jwks", nil},
		"loopback":     {"http://127.0.0.1:8080", "jwks_uri", "http://127.0.0.1:8080/jwks", nil},
	} {
		client := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return say(200, fmt.Sprintf(`{"issuer":%q,%q:%q}`, c.issuer, c.member, c.value)), nil
		})}}
		md, err := client.Discover(t.Context(), c.issuer, "")
		if !errors.Is(err, c.want) || (md == nil) != (c.want != nil) {
			t.Errorf("%s: %+v, %v", name, md, err)
		}
		if md != nil && md.DefaultSubjects != "" {
			t.Errorf("%s: default_subjects is %q where nothing is said", name, md.DefaultSubjects)
		}
	}
}

// No answer of a stream API panics, and none gives a stream without id or of another issuer.
func FuzzStreamAnswer(f *testing.F) {
	for _, s := range []string{answer, `[` + answer + `]`, `{"streams":[` + answer + `]}`, `{"streams":7}`, `{"streams":null,"stream_id":"s"}`, `[null]`, `{}`, ``, `{"stream_id":"s","stream_id":"t"}`, `[[]]`, `"x"`} {
		f.Add([]byte(s), 200)
		f.Add([]byte(s), 202)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if status < 200 || status > 599 {
			status = 200
		}
		c := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return say(status, string(body)), nil })}}
		md := &stream.Metadata{Issuer: issuer, ConfigurationEndpoint: "https://idp.example.test/s"}
		list, err := c.List(t.Context(), md)
		for _, cfg := range list {
			if err != nil || cfg.StreamID == "" || cfg.Issuer != issuer {
				t.Errorf("%+v, %v", cfg, err)
			}
		}
		if cfg, err := c.Create(t.Context(), md, &stream.Configuration{}); err == nil && (cfg.StreamID == "" || cfg.Issuer != issuer) {
			t.Errorf("%+v", cfg)
		}
		if md, err := c.Discover(t.Context(), issuer, ""); err == nil && md.Issuer != issuer {
			t.Errorf("%+v", md)
		}
	})
}
