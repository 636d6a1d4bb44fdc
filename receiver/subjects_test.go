package receiver_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/stream"
	"countersign/subject"
)

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
	req.Covers(t, "RX-33", "Q-14", "Q-21")
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
