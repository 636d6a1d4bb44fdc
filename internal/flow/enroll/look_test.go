package enroll

import (
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/stream"
)

// look runs the job "verify" once, and gives when it is due again.
func (r *rig) look() time.Time {
	r.t.Helper()
	for {
		if _, more := r.st.take("verify"); !more {
			break
		}
	}
	r.st.next = nil
	r.do(func() error { return r.e.DoVerify(r.t.Context(), &hub.Job{Kind: "verify", Key: "default/idp"}) })
	if r.st.next == nil {
		return time.Time{}
	}
	return r.st.next.Time()
}

// The state is durable before the request, and nothing is held: the event may come before the answer to the request.
func TestVerifiedBeforeTheAnswer(t *testing.T) {
	r := newRig(t)
	r.run()
	if _, asked := r.st.take("verify"); !asked {
		t.Fatal("no verification event is asked for after the stream was made")
	}
	came := ""
	r.p.verify = func(state string) int {
		came = state
		if err := r.e.Verified(t.Context(), "default", "idp", state, true); err != nil {
			t.Errorf("the event with our state: %v", err)
		}
		return 204
	}
	next := r.look()
	s := r.state()
	if came == "" || s.Verified == 0 || s.Asked == 0 || s.Alarm != "" || next.Sub(r.now) > patience {
		t.Fatalf("state %q, next look %v, %+v", came, next, s)
	}
	// The same event again is no error, another state is.
	if err := r.e.Verified(t.Context(), "default", "idp", came, true); err != nil {
		t.Errorf("again: %v", err)
	}
	for _, wrong := range []string{"", "x", came + "x"} {
		if err := r.e.Verified(t.Context(), "default", "idp", wrong, true); !errors.Is(err, receiver.ErrState) {
			t.Errorf("state %q: %v", wrong, err)
		}
	}
	// One of its own accord is taken at any time.
	if err := r.e.Verified(t.Context(), "default", "idp", "", false); err != nil || r.state().ByItself == 0 {
		t.Errorf("%v", err)
	}
	// An old one is not.
	r.now = r.now.Add(stateLife + time.Second)
	if err := r.e.Verified(t.Context(), "default", "idp", came, true); !errors.Is(err, receiver.ErrState) {
		t.Errorf("after a day: %v", err)
	}
	req.Covers(t, "RX-39", "RX-40", "RX-41", "RX-42", "RX-43", "Q-27")
}

// A source that does not send what it was asked for is silent, and is asked again until it is heard.
func TestSilence(t *testing.T) {
	r := newRig(t)
	r.src.Verify = &hub.Verify{Every: "1h"}
	r.run()
	r.now = r.look().Add(time.Second) // asked; nothing came
	if s := r.state(); s.Asked == 0 || s.Alarm != "" {
		t.Fatalf("%+v", s)
	}
	next := r.look()
	s := r.state()
	if s.Alarm == "" || len(r.log) != 1 || r.log[0] != "idp true" || next.Sub(r.now) > silentEvery {
		t.Fatalf("no alarm: next look %v, log %v, %+v", next.Sub(r.now), r.log, s)
	}
	r.now = next.Add(time.Second)
	asks := 0
	r.p.verify = func(state string) int {
		asks++
		if err := r.e.Verified(t.Context(), "default", "idp", state, true); err != nil {
			t.Error(err)
		}
		return 204
	}
	r.now = r.look().Add(time.Second)
	if s := r.state(); asks != 1 || s.Alarm != "" || len(r.log) != 2 || r.log[1] != "idp false" {
		t.Errorf("%d requests, log %v, %+v", asks, r.log, s)
	}
	// Then it has its time, and is not asked all the time.
	for range 3 {
		next := r.look()
		if next.Sub(r.now) > time.Hour {
			t.Errorf("next look after %v", next.Sub(r.now))
		}
		r.now = next.Add(time.Second)
	}
	if asks < 2 || asks > 4 {
		t.Errorf("%d requests", asks)
	}
	req.Covers(t, "RX-101", "RX-45")
}

// Signals that come prove more than a verification event that does not.
func TestSignalsAreNoSilence(t *testing.T) {
	r := newRig(t)
	r.run()
	r.now = r.look().Add(time.Second)
	r.heard = hub.At(r.now)
	r.look()
	if s := r.state(); s.Alarm != "" || !strings.Contains(s.Unable, "signals come") {
		t.Errorf("%+v", s)
	}
}

// The hub ends around the request: the event that comes is known, and there is no false alarm.
func TestVerifyOverAKill(t *testing.T) {
	for _, point := range []string{"verify.before-ask", "verify.after-ask"} {
		t.Run(point, func(t *testing.T) {
			r := newRig(t)
			r.run()
			r.stop = point
			r.look()
			pending := r.state().Pending
			if len(pending) != 1 {
				t.Fatalf("%+v", r.state())
			}
			if point == "verify.after-ask" {
				if err := r.e.Verified(t.Context(), "default", "idp", pending[0].State, true); err != nil {
					t.Fatal(err)
				}
			}
			r.p.verify = func(state string) int {
				if err := r.e.Verified(t.Context(), "default", "idp", state, true); err != nil {
					t.Error(err)
				}
				return 204
			}
			for range 3 {
				r.now = r.look().Add(time.Second)
			}
			if s := r.state(); s.Alarm != "" || s.Verified == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A transmitter that offers no verification, that asks us to wait, or that cannot be reached for long.
func TestVerificationThatIsNot(t *testing.T) {
	r := newRig(t)
	r.run()
	r.p.verify = func(string) int { return 429 }
	if next := r.look(); next.Sub(r.now) < time.Minute || len(r.state().Pending) != 0 {
		t.Errorf("429: next look after %v, %+v", next.Sub(r.now), r.state())
	}
	r.p.verify = func(string) int { return 405 }
	if next := r.look(); next.Sub(r.now) < 5*time.Hour || r.state().Alarm != "" || !strings.Contains(r.state().Unable, "no verification events on request") {
		t.Errorf("405: next look after %v, %+v", next.Sub(r.now), r.state())
	}
	r.p.verify = func(string) int { return 503 }
	for range 12 {
		r.now = r.look().Add(time.Second)
	}
	if s := r.state(); s.Alarm == "" || !strings.Contains(s.Alarm, "503") {
		t.Errorf("503: %+v", s)
	}
}

// What a transmitter does with our stream is seen, and looked after.
func TestStreamUpdated(t *testing.T) {
	r := newRig(t)
	r.run()
	r.look()
	if err := r.e.Updated(t.Context(), "default", "idp", stream.Paused, "licence"); err != nil {
		t.Fatal(err)
	}
	if _, due := r.st.take("verify"); !due {
		t.Error("the stream's status is not read")
	}
	if s := r.state(); s.There != stream.Paused || s.ThereReason != "licence" || s.ThereAt == 0 {
		t.Errorf("%+v", s)
	}
	r.look() // its own word says that it goes on
	if s := r.state(); s.There != stream.Enabled {
		t.Errorf("%+v", s)
	}
	// The stream itself is gone: it is made anew.
	r.p.streams = nil
	r.p.status = ""
	r.look()
	if s := r.run(); r.p.count() != 1 || s.Status != Made {
		t.Errorf("%d streams, %+v", r.p.count(), s)
	}
	req.Covers(t, "RX-99", "RX-100")
}

// A transmitter that says the same of our stream over and over has one line written in a minute, and one look taken.
func TestStreamUpdatedOverAndOver(t *testing.T) {
	r := newRig(t)
	r.run()
	r.look()
	for range 50 {
		if err := r.e.Updated(t.Context(), "default", "idp", stream.Paused, "licence"); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.log) != 1 {
		t.Errorf("%d alarms: %q", len(r.log), r.log)
	}
	r.now = r.now.Add(2 * time.Minute)
	for _, status := range []string{stream.Paused, stream.Disabled, stream.Enabled} {
		if err := r.e.Updated(t.Context(), "default", "idp", status, "licence"); err != nil {
			t.Fatal(err)
		}
		if s := r.state(); s.There != status {
			t.Errorf("%s: it is said to be %s", status, s.There)
		}
	}
	if len(r.log) != 4 {
		t.Errorf("%d alarms: %q", len(r.log), r.log)
	}
}
