package enroll

import (
	"fmt"
	"strings"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/stream"
)

// Wherever the hub ends while it makes, takes over or deletes a stream, there is one in the end, and none after the source is
// deleted.
func TestOneStreamForEver(t *testing.T) {
	for _, delivery := range []string{"push", "poll"} {
		for _, point := range []string{"", "stream.before-create", "stream.after-create", "stream.before-adopt", "stream.after-adopt"} {
			for _, habit := range []string{"", "one", "mute"} {
				for _, end := range []string{"", "stream.before-delete", "stream.after-delete"} {
					t.Run(fmt.Sprint(delivery, point, habit, end), func(t *testing.T) {
						r := newRig(t)
						r.src.Delivery = delivery
						r.p.one, r.p.mute = habit == "one", habit == "mute"
						if strings.HasSuffix(point, "adopt") { // an adoption follows a creation that was answered to nobody
							r.stop = "stream.after-create"
							r.killedOnce()
						}
						r.stop = point
						s := r.run()
						if r.stop != "" {
							t.Fatalf("%s was not passed", r.stop)
						}
						if r.p.count() != 1 || s.Status != Made || s.StreamID != r.p.streams[0].StreamID || s.Making || (delivery == "poll") != (s.PollURL != "") {
							t.Fatalf("%d streams, state %+v", r.p.count(), s)
						}
						r.start()
						r.p.since()
						if r.run(); r.p.since() != "" {
							t.Error("something was asked though nothing changed")
						}
						r.src, r.stop = nil, end
						if s := r.run(); r.p.count() != 0 || s.Status != Gone {
							t.Errorf("%d streams after the source went, state %+v", r.p.count(), s)
						}
					})
				}
			}
		}
	}
	req.Covers(t, "RX-15", "RX-20", "RX-22", "RX-24", "RX-38", "Q-10")
}

// killedOnce runs until the hub is ended at r.stop.
func (r *rig) killedOnce() {
	r.t.Helper()
	if _, err := r.e.Reconcile(r.t.Context(), "default", []*hub.Source{r.src}); err != nil {
		r.t.Fatal(err)
	}
	job, _ := r.st.take("enroll")
	r.do(func() error { return r.e.Do(r.t.Context(), &job) })
	if r.stop != "" {
		r.t.Fatalf("%s was not passed", r.stop)
	}
}

// A source that is deleted while its stream is being made leaves none behind.
func TestDeletedWhileMade(t *testing.T) {
	r := newRig(t)
	r.stop = "stream.after-create"
	r.killedOnce()
	r.src = nil
	if s := r.run(); r.p.count() != 0 || s.Status != Gone {
		t.Errorf("%d streams, %+v", r.p.count(), s)
	}
}

// A stream that is somebody else's is neither taken nor deleted, and the reason says what to do.
func TestSomebodyElsesStream(t *testing.T) {
	for name, have := range map[string]*stream.Delivery{
		"push": {Method: stream.PushMethod, EndpointURL: "https://other.example.test/secret-path"}, "poll": {Method: stream.PollMethod},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.p.one = true
			r.p.streams = []*stream.Configuration{{StreamID: "theirs", Issuer: r.p.URL, Audience: []string{"other"}, Delivery: have, Description: "theirs"}}
			if _, err := r.e.Reconcile(t.Context(), "default", []*hub.Source{r.src}); err != nil {
				t.Fatal(err)
			}
			job, _ := r.st.take("enroll")
			r.do(func() error { return r.e.Do(t.Context(), &job) })
			s := r.state()
			if s.Status != Failed || !strings.Contains(s.Error, "stream: adopt and stream_id: theirs") || strings.Contains(s.Error, "secret-path") || s.StreamID != "" || s.Making {
				t.Errorf("%+v", s)
			}
			r.src = nil
			r.run()
			if calls := r.p.since(); strings.Contains(calls, "DELETE") || strings.Contains(calls, "PATCH") || r.p.count() != 1 {
				t.Errorf("%s", calls)
			}
		})
	}
	req.Covers(t, "Q-10", "RX-24")
}

func TestAdopt(t *testing.T) {
	ours := func(r *rig) *stream.Configuration {
		return &stream.Configuration{StreamID: "made-there", Issuer: r.p.URL, Audience: []string{"hub"}, EventsRequested: []string{"urn:e"}, EventsDelivered: []string{"urn:e"},
			Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://hub.example.test/receive/" + r.state().ReceiveID}, Description: "of an administrator"}
	}
	for name, c := range map[string]struct {
		id       string
		audience []string
		streams  func(r *rig) []*stream.Configuration
		want     string // in the error
		patched  int
	}{
		"by address":           {"", nil, func(r *rig) []*stream.Configuration { return []*stream.Configuration{ours(r)} }, "", 0},
		"by id":                {"made-there", nil, func(r *rig) []*stream.Configuration { return []*stream.Configuration{ours(r)} }, "", 0},
		"with another's":       {"", nil, func(r *rig) []*stream.Configuration { return []*stream.Configuration{elsewhere(r), ours(r)} }, "", 0},
		"audience as expected": {"made-there", []string{"hub"}, func(r *rig) []*stream.Configuration { return []*stream.Configuration{ours(r)} }, "", 0},
		"events mended": {"made-there", nil, func(r *rig) []*stream.Configuration {
			c := ours(r)
			c.EventsRequested = nil
			return []*stream.Configuration{c}
		}, "", 1},
		"another audience": {"made-there", []string{"other"}, func(r *rig) []*stream.Configuration { return []*stream.Configuration{ours(r)} }, "its aud is another", 0},
		"elsewhere by id":  {"elsewhere", nil, func(r *rig) []*stream.Configuration { return []*stream.Configuration{elsewhere(r)} }, "its delivery.endpoint_url is another", 0},
		"only another's":   {"", nil, func(r *rig) []*stream.Configuration { return []*stream.Configuration{elsewhere(r)} }, "there is no stream that fits", 0},
		"another source's": {"", nil, func(r *rig) []*stream.Configuration {
			s := ours(r)
			s.Delivery, s.Description = &stream.Delivery{Method: stream.PollMethod, EndpointURL: r.p.URL + "/poll"}, description("another", "x")
			return []*stream.Configuration{s}
		}, "there is no stream that fits", 0},
		"none":       {"", nil, func(r *rig) []*stream.Configuration { return nil }, "there is no stream to adopt", 0},
		"unknown id": {"x", nil, func(r *rig) []*stream.Configuration { return nil }, "there is no stream x", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.src.Stream, r.src.StreamID, r.src.Audience = "adopt", c.id, c.audience
			if _, err := r.e.Reconcile(t.Context(), "default", []*hub.Source{r.src}); err != nil {
				t.Fatal(err)
			}
			r.p.streams = c.streams(r)
			n := len(r.p.streams)
			job, _ := r.st.take("enroll")
			r.do(func() error { return r.e.Do(t.Context(), &job) })
			s := r.state()
			if c.want != "" {
				if s.Status != Failed || !strings.Contains(s.Error, c.want) || r.p.patched != 0 {
					t.Errorf("%+v", s)
				}
				return
			}
			if s.Status != Made || s.StreamID != "made-there" || s.Origin != Adopted || r.p.patched != c.patched || r.p.made != 0 {
				t.Fatalf("%d changes, %+v", r.p.patched, s)
			}
			if r.p.streams[len(r.p.streams)-1].Description != "of an administrator" {
				t.Error("the description was changed")
			}
			r.src = nil
			if r.run(); r.p.count() != n {
				t.Error("an adopted stream was deleted with the source")
			}
		})
	}
	req.Covers(t, "RX-17")
}

func elsewhere(r *rig) *stream.Configuration {
	return &stream.Configuration{StreamID: "elsewhere", Issuer: r.p.URL, Audience: []string{"hub"}, Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: "https://other.example.test/x"}}
}

// What changes at the source changes the stream, and what was deleted there is made anew.
func TestStreamFollows(t *testing.T) {
	r := newRig(t)
	r.run()
	r.src.Events = []string{"urn:f"}
	if s := r.run(); r.p.patched != 1 || s.Events[0] != "urn:f" || r.p.count() != 1 {
		t.Errorf("%d changes, %+v", r.p.patched, s)
	}
	// Somebody deleted it there.
	r.p.streams = nil
	r.src.Events = []string{"urn:g"}
	if s := r.run(); r.p.count() != 1 || s.StreamID != "s2" || s.Status != Made {
		t.Errorf("%d streams, %+v", r.p.count(), s)
	}
	// It cannot be changed there.
	r.p.noPatch = true
	r.src.Auth = &hub.Auth{Method: "bearer", Token: &hub.Secret{Stored: "t"}}
	if s := r.run(); s.Status != Made || r.p.count() != 1 {
		t.Errorf("what is as wanted: %+v", s)
	}
	r.p.noPatch = false
	// From push to poll, where the address to poll is given at creation only, and back.
	r.src.Delivery = "poll"
	if s := r.run(); r.p.count() != 1 || s.Status != Made || s.PollURL == "" {
		t.Errorf("polled: %d streams, %+v", r.p.count(), s)
	}
	r.src.Events = []string{"urn:h"}
	if s := r.run(); s.PollURL == "" || r.p.streams[0].Delivery.EndpointURL == "" {
		t.Errorf("an update lost the address to poll: %+v", s)
	}
	r.src.Delivery = "push"
	if s := r.run(); r.p.count() != 1 || s.Status != Made || s.PollURL != "" || r.p.streams[0].Delivery.Method != stream.PushMethod {
		t.Errorf("pushed: %d streams, %+v", r.p.count(), s)
	}
	// Nobody looks after it any more.
	r.src.Stream = "none"
	if s := r.run(); r.p.count() != 0 || s.Status != None {
		t.Errorf("none: %d streams, %+v", r.p.count(), s)
	}
	req.Covers(t, "Q-63", "RX-26")
}

// An issuer that a source had before, and that does not let its stream be deleted, keeps the source from the new one for a
// while and not for ever.
func TestIssuerBeforeIsNoObstacle(t *testing.T) {
	r := newRig(t)
	r.run()
	r.p.Close()
	next := newTransmitter(t)
	moved := *r.src
	moved.Issuer, moved.Auth = next.URL, &hub.Auth{Method: "bearer", Token: &hub.Secret{Stored: "t"}}
	r.src = &moved
	tries := 0
	for ; tries < 2*maxDeletes && (r.state().Status != Made || r.state().Issuer != next.URL); tries++ {
		r.do(func() error { return r.e.Do(t.Context(), &hub.Job{Key: "default/idp"}) })
	}
	if s := r.state(); s.Status != Made || !s.With(&moved) || next.count() != 1 || tries < maxDeletes {
		t.Errorf("after %d tries: %+v", tries, s)
	}
}
