package enroll

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/stream"
)

const metadataPath = "GET /.well-known/ssf-configuration"

// Metadata is taken as it was read for an hour, is read anew after it and when the stream is not found any more, and a reading
// that names another issuer changes nothing.
func TestMetadataIsReadAnew(t *testing.T) {
	r := newRig(t)
	r.run()
	r.look() // with the first look everything that is remembered has been read
	reads := func(calls string) int { return strings.Count(calls, metadataPath) }
	r.p.since()
	began := r.now
	for r.now.Sub(began) < 59*time.Minute-patience {
		r.now = r.now.Add(patience)
		r.look()
	}
	if calls := r.p.since(); reads(calls) != 0 || !strings.Contains(calls, "GET /status") {
		t.Errorf("within the hour: %s", calls)
	}
	r.now = began.Add(time.Hour + time.Second)
	r.look()
	if calls := r.p.since(); reads(calls) != 1 {
		t.Errorf("after the hour: %s", calls)
	}
	// The stream's endpoints know it no more.
	r.p.streams = nil
	r.look()
	r.p.since()
	r.run()
	if calls := r.p.since(); reads(calls) != 1 || r.p.count() != 1 {
		t.Errorf("after a 404: %s, %d streams", calls, r.p.count())
	}
	// Another issuer.
	was := r.state()
	handler := http.HandlerFunc(r.p.serve)
	foreign := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/.well-known/ssf-configuration" {
			handler.ServeHTTP(w, req)
			return
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(strings.Replace(rec.Body.String(), `"issuer":"`+r.p.URL, `"issuer":"https://other.example.test`, 1)))
	})
	r.p.mu.Lock()
	r.p.before = foreign
	r.p.mu.Unlock()
	r.now = r.now.Add(2 * time.Hour)
	r.p.since()
	r.look()
	s := r.state()
	if calls := r.p.since(); calls != metadataPath || !strings.Contains(s.Unable, receiver.ErrIssuer.Error()) {
		t.Errorf("another issuer: %s, %q", calls, s.Unable)
	}
	if s.Issuer != was.Issuer || s.JWKSURI != was.JWKSURI || s.KeysOf != was.KeysOf || s.StreamID != was.StreamID {
		t.Errorf("another issuer: %+v, before %+v", s, was)
	}
	req.Covers(t, "RX-13", "RX-4")
}

// A stream with an inactivity timeout hears from us before it ends, although there is nothing else to ask.
func TestStreamIsKeptAlive(t *testing.T) {
	const timeout = 10 * time.Minute
	r := newRig(t)
	r.p.inactivity = int64(timeout / time.Second)
	asked := 0
	r.p.verify = func(state string) int {
		asked++
		if err := r.e.Verified(t.Context(), "default", "idp", state, true); err != nil {
			t.Error(err)
		}
		return 204
	}
	r.run()
	r.now = r.look().Add(time.Second)
	began := r.now
	for r.now.Sub(began) < 5*time.Hour {
		r.p.since()
		next := r.look()
		if !strings.Contains(r.p.since(), "GET /status") {
			t.Fatal("a look without a call")
		}
		if gap := next.Sub(r.now); next.IsZero() || gap >= timeout {
			t.Fatalf("nothing is heard from us for %v", gap)
		}
		r.now = next
	}
	if s := r.state(); asked != 1 || s.There != stream.Enabled || s.Alarm != "" {
		t.Errorf("%d verification events, %+v", asked, s)
	}
	req.Covers(t, "RX-36")
}
