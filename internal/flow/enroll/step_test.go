package enroll

import (
	"errors"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/stream"
)

// An operator takes each step by hand: one request each, with one token for all, and nothing by itself.
func TestStepsByHand(t *testing.T) {
	for _, delivery := range []string{"push", "poll"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t)
			r.src.Stream, r.src.Delivery = "none", delivery
			if s := r.run(); r.p.since() != "" || s.Status != None {
				t.Fatalf("something went out by itself: %+v", s)
			}
			step := func(verb string, in StepInput, want string) *StepResult {
				t.Helper()
				out, err := r.e.Step(t.Context(), "default", "idp", verb, in)
				if err != nil {
					t.Fatalf("%s: %v", verb, err)
				}
				if got := r.p.since(); got != want {
					t.Errorf("%s asked %s, want %s", verb, got, want)
				}
				r.run()
				if got := r.p.since(); got != "" {
					t.Errorf("after %s the hub asked %s by itself", verb, got)
				}
				if r.look().IsZero() == false {
					t.Errorf("after %s the hub looks by itself", verb)
				}
				return out
			}
			out := step(StepCreate, StepInput{Events: []string{"urn:a"}}, "GET /.well-known/ssf-configuration, POST /token, POST /streams")
			if s := r.state(); s.StreamID != "s1" || s.Audience[0] != "hub" || s.Origin != ByHand || (s.PollURL != "") != (delivery == "poll") || out.Stream.StreamID != "s1" {
				t.Fatalf("%+v", s)
			}
			for _, member := range []string{"events_requested", "delivery", "description"} {
				if !strings.Contains(r.p.bodies["POST /streams"], `"`+member+`"`) {
					t.Errorf("create lacks %s: %s", member, r.p.bodies["POST /streams"])
				}
			}
			step(StepRead, StepInput{}, "GET /streams")
			step(StepRead, StepInput{All: true}, "GET /streams")
			step(StepUpdate, StepInput{Description: "mine"}, "PATCH /streams")
			if got := r.p.bodies["PATCH /streams"]; got != `{"stream_id":"s1","description":"mine"}` {
				t.Errorf("update sent %s", got)
			}
			step(StepReplace, StepInput{}, "PUT /streams")
			step(StepStatus, StepInput{}, "GET /status")
			step(StepStatus, StepInput{Status: stream.Paused, Reason: "tea"}, "POST /status")
			if s := r.state(); s.There != stream.Paused || !s.Held {
				t.Errorf("%+v", s)
			}
			v := step(StepVerify, StepInput{State: "mine"}, "POST /verify")
			if v.State != "mine" || r.p.bodies["POST /verify"] != `{"stream_id":"s1","state":"mine"}` {
				t.Errorf("%+v, %s", v, r.p.bodies["POST /verify"])
			}
			if err := r.e.Verified(t.Context(), "default", "idp", "mine", true); err != nil {
				t.Errorf("the event with our state: %v", err)
			}
			r.p.refuse = 1 // the token is not taken any more: another one, once
			step(StepStatus, StepInput{}, "GET /status, POST /token, GET /status")
			step(StepDelete, StepInput{}, "DELETE /streams")
			if s := r.state(); s.StreamID != "" || s.PollURL != "" || r.p.count() != 0 {
				t.Errorf("%+v", s)
			}
			if r.p.tokens != 2 {
				t.Errorf("%d tokens", r.p.tokens)
			}
		})
	}
	req.Covers(t, "RX-16", "RX-18", "RX-27", "RX-29", "RX-31")
}

// A step `poll` keeps what comes, and says so in the next.
func TestPollByHand(t *testing.T) {
	r := newRig(t)
	r.src.Stream, r.src.Delivery = "none", "poll"
	r.run()
	if _, err := r.e.Step(t.Context(), "default", "idp", StepCreate, StepInput{}); err != nil {
		t.Fatal(err)
	}
	r.p.sets = map[string]string{"a": "good", "b": "bad", "c": "not now"}
	r.taken = map[string]error{"bad": stream.WireError{Err: "invalid_key", Description: "no"}, "not now": errors.New("busy")}
	out, err := r.e.Step(t.Context(), "default", "idp", StepPoll, StepInput{})
	if err != nil || len(out.Sets) != 3 || out.Sets[0].Result != "kept" || out.Sets[1].Result != "refused" || out.Sets[2].Result != "later" {
		t.Fatalf("%+v, %v", out, err)
	}
	r.start() // what is to be said is durable
	ten := 10
	if out, err = r.e.Step(t.Context(), "default", "idp", StepPoll, StepInput{Max: &ten, Long: true}); err != nil || len(out.Sets) != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	if q := r.p.polls[1]; len(q.Ack) != 1 || q.Ack[0] != "a" || q.SetErrs["b"].Err != "invalid_key" || *q.MaxEvents != 10 || q.ReturnImmediately {
		t.Errorf("second poll %+v", q)
	}
	delete(r.taken, "not now")
	for _, in := range []StepInput{{}, {AckOnly: true}} {
		if _, err := r.e.Step(t.Context(), "default", "idp", StepPoll, in); err != nil {
			t.Fatal(err)
		}
	}
	if q := r.p.polls[3]; len(q.Ack) != 1 || q.Ack[0] != "c" || *q.MaxEvents != 0 || !q.ReturnImmediately || len(q.SetErrs) != 0 {
		t.Errorf("last poll %+v", q)
	}
	if s := r.state(); len(s.Acks) != 0 || len(r.p.sets) != 0 {
		t.Errorf("%d left there, %+v", len(r.p.sets), s)
	}
	req.Covers(t, "RX-86", "RX-88", "RX-94")
}

func TestStepsThatAreNot(t *testing.T) {
	r := newRig(t)
	r.src.Stream = "none"
	r.run()
	none := 0
	for name, c := range map[string]struct {
		verb string
		in   StepInput
		code hub.Code
		want string
	}{
		"no such step":         {"creat", StepInput{}, hub.Invalid, "there is no step"},
		"no stream":            {StepStatus, StepInput{}, hub.Conflict, "no stream at idp is known"},
		"no address":           {StepPoll, StepInput{}, hub.Conflict, "no address to poll"},
		"state of another":     {StepRead, StepInput{State: "x"}, hub.Invalid, "state does not belong to the step read"},
		"unknown status":       {StepStatus, StepInput{StreamID: "s", Status: "off"}, hub.Invalid, "status is enabled"},
		"reason alone":         {StepStatus, StepInput{StreamID: "s", Reason: "r"}, hub.Invalid, "reason belongs"},
		"both states":          {StepVerify, StepInput{StreamID: "s", State: "a", NoState: true}, hub.Invalid, "exclude each other"},
		"nothing asked for":    {StepPoll, StepInput{Max: &none}, hub.Invalid, "max is 1"},
		"waits for an ack":     {StepPoll, StepInput{AckOnly: true, Long: true}, hub.Invalid, "only acknowledges"},
		"stream that is not":   {StepRead, StepInput{StreamID: "s9"}, hub.Conflict, "404"},
		"stream of the status": {StepUpdate, StepInput{StreamID: "s9"}, hub.Conflict, "404"},
	} {
		_, err := r.e.Step(t.Context(), "default", "idp", c.verb, c.in)
		if hub.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.src = nil
	if _, err := r.e.Step(t.Context(), "default", "idp", StepRead, StepInput{}); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("%v", err)
	}
}
