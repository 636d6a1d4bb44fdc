package receiver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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
	req.Covers(t, "IOP-22", "IOP-24", "IOP-25", "IOP-26", "IOP-27", "IOP-28", "IOP-29", "RX-14", "RX-15", "RX-17", "RX-18", "RX-19", "RX-22", "RX-33")
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
	if diff := cmp.Diff([]string{`{"aud":"a","events_requested":[]}`, "POST /status?stream_id=s1", "POST /verify?stream_id=s1", "POST /add?stream_id=s1"}, ask()); diff != "" {
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

func TestAdopt(t *testing.T) {
	req.Covers(t, "RX-24", "Q-10")
	push := func(url string) *stream.Delivery {
		return &stream.Delivery{Method: stream.PushMethod, EndpointURL: url}
	}
	want := &stream.Configuration{Issuer: "i", Audience: stream.Audience{"a"}, EventsRequested: []string{"x", "y"}, Delivery: push("https://rx/1"), Description: "ours"}
	have := func(edit func(c *stream.Configuration)) *stream.Configuration {
		c := &stream.Configuration{StreamID: "s", Issuer: "i", Audience: stream.Audience{"b", "a"}, EventsRequested: []string{"y", "x"}, EventsDelivered: []string{"x"}, Delivery: push("https://rx/1"), Description: "ours"}
		edit(c)
		return c
	}
	for name, c := range map[string]struct {
		have    *stream.Configuration
		want    []string
		foreign bool
	}{
		"the same":         {have(func(*stream.Configuration) {}), nil, false},
		"elsewhere":        {have(func(c *stream.Configuration) { c.Delivery = push("https://rx/2") }), []string{"delivery.endpoint_url"}, true},
		"old name":         {have(func(c *stream.Configuration) { c.Delivery.Method = receiver.OldPushMethod }), nil, false},
		"poll":             {have(func(c *stream.Configuration) { c.Delivery = nil }), []string{"delivery.method"}, false},
		"another audience": {have(func(c *stream.Configuration) { c.Audience = stream.Audience{"b"} }), []string{"aud"}, true},
		"another issuer":   {have(func(c *stream.Configuration) { c.Issuer = "j" }), []string{"iss"}, true},
		"fewer events":     {have(func(c *stream.Configuration) { c.EventsRequested = []string{"x"} }), []string{"events_requested"}, false},
		"other words":      {have(func(c *stream.Configuration) { c.Description = "" }), []string{"description"}, false},
	} {
		var got []string
		all := receiver.Adopt(c.have, want)
		for _, d := range all {
			got = append(got, d.Member)
		}
		if !slices.Equal(got, c.want) || receiver.Foreign(all) != c.foreign {
			t.Errorf("%s: %+v", name, all)
		}
	}
	// A push stream of somebody is not turned into a poll stream of ours.
	if all := receiver.Adopt(have(func(*stream.Configuration) {}), &stream.Configuration{Delivery: &stream.Delivery{Method: stream.PollMethod}}); !receiver.Foreign(all) {
		t.Errorf("push for poll: %+v", all)
	}
	if all := receiver.Adopt(have(func(*stream.Configuration) {}), &stream.Configuration{StreamID: "other"}); !receiver.Foreign(all) {
		t.Errorf("another id: %+v", all)
	}
}

func TestSubjectsInBulk(t *testing.T) {
	req.Covers(t, "RX-33", "RX-34", "Q-14", "Q-21")
	people := func(n int) iter.Seq[receiver.Subject] {
		return func(yield func(receiver.Subject) bool) {
			for i := range n {
				if !yield(receiver.Subject{Identifier: subject.Email(fmt.Sprintf("p%d@example.com", i))}) {
					return
				}
			}
		}
	}
	md := &stream.Metadata{AddSubjectEndpoint: "https://idp.example.test/add", RemoveSubjectEndpoint: "https://idp.example.test/remove"}
	for name, c := range map[string]struct {
		answer  func(n int) *http.Response
		subject iter.Seq[receiver.Subject]
		want    receiver.Progress
		calls   int
		err     func(error) bool
	}{
		"taken":      {func(n int) *http.Response { return say([]int{200, 204, 201}[n%3], "") }, people(50), receiver.Progress{Done: 50, Row: 50}, 50, nil},
		"one is bad": {func(n int) *http.Response { return say(map[bool]int{true: 400, false: 200}[n == 7], "") }, people(50), receiver.Progress{Done: 49, Refused: 1, Row: 50}, 50, nil},
		"limited":    {func(n int) *http.Response { return say(map[bool]int{true: 429, false: 200}[n%5 == 4], "") }, people(50), receiver.Progress{Done: 50, Row: 50}, 62, nil},
		"nobody": {func(int) *http.Response { return say(200, "") }, slices.Values([]receiver.Subject{{}, {Identifier: subject.Email("a@b.example")}}),
			receiver.Progress{Done: 1, Refused: 1, Row: 2}, 1, nil},
		"no right":  {func(n int) *http.Response { return say(403, "") }, people(50), receiver.Progress{}, 1, func(err error) bool { return is(err, 403) }},
		"no stream": {func(n int) *http.Response { return say(map[bool]int{true: 404, false: 200}[n == 3], "") }, people(50), receiver.Progress{Done: 3, Row: 3}, 4, func(err error) bool { return is(err, 404) }},
		"all bad":   {func(n int) *http.Response { return say(400, "") }, people(500), receiver.Progress{Refused: 100, Row: 100}, 100, func(err error) bool { return errors.Is(err, receiver.ErrBulk) }},
		"down":      {func(n int) *http.Response { return nil }, people(50), receiver.Progress{}, 8, func(err error) bool { return err != nil }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				client := &receiver.Client{HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					calls++
					if res := c.answer(calls - 1); res != nil {
						return res, nil
					}
					return nil, errors.New("connection refused")
				})}}
				var told []receiver.Progress
				got, err := client.AddSubjects(t.Context(), md, "s1", c.subject, receiver.Bulk{Progress: func(p receiver.Progress) { told = append(told, p) }})
				got.Err = nil
				if got != c.want || calls != c.calls || (c.err == nil) != (err == nil) || c.err != nil && !c.err(err) {
					t.Errorf("%+v after %d calls, %v", got, calls, err)
				}
				if len(told) != c.want.Row {
					t.Errorf("told %d times", len(told))
				}
				for i, p := range told {
					if p.Row != i+1 || p.Done+p.Refused != p.Row {
						t.Errorf("progress %d is %+v", i, p)
					}
				}
			})
		})
	}
	t.Run("what is sent", func(t *testing.T) {
		p := newPeer(t)
		md := &stream.Metadata{AddSubjectEndpoint: p.URL + "/add", RemoveSubjectEndpoint: p.URL + "/remove"}
		no := false
		if err := p.client.AddSubject(t.Context(), md, "s1", subject.Email("a@b.example"), &no); err != nil || p.asked != "POST /add" {
			t.Errorf("%s: %v", p.asked, err)
		}
		same(t, p.body, `{"stream_id":"s1","subject":{"format":"email","email":"a@b.example"},"verified":false}`)
		if err := p.client.RemoveSubject(t.Context(), md, "s1", subject.IssSub("https://i.example", "7")); err != nil || p.asked != "POST /remove" {
			t.Errorf("%s: %v", p.asked, err)
		}
		same(t, p.body, `{"stream_id":"s1","subject":{"format":"iss_sub","iss":"https://i.example","sub":"7"}}`)
		if err := p.client.AddSubject(t.Context(), &stream.Metadata{}, "s1", subject.Email("a@b.example"), nil); !errors.Is(err, receiver.ErrUnsupported) {
			t.Errorf("no endpoint: %v", err)
		}
		if err := p.client.AddSubject(t.Context(), md, "", subject.Email("a@b.example"), nil); !errors.Is(err, stream.ErrInvalid) {
			t.Errorf("no stream: %v", err)
		}
		if _, err := p.client.RemoveSubjects(t.Context(), md, "s1", people(3), receiver.Bulk{}); err != nil || p.asked != "POST /remove" {
			t.Errorf("%s: %v", p.asked, err)
		}
	})
	t.Run("ended", func(t *testing.T) {
		p := newPeer(t)
		ctx, cancel := context.WithCancel(t.Context())
		got, err := p.client.AddSubjects(ctx, &stream.Metadata{AddSubjectEndpoint: p.URL}, "s1", people(100), receiver.Bulk{Progress: func(p receiver.Progress) {
			if p.Row == 5 {
				cancel()
			}
		}})
		if got.Row != 5 || !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", got, err)
		}
	})
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
	req.Covers(t, "RX-1", "RX-10", "RX-12", "RX-4")
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
