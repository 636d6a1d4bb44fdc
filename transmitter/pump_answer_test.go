package transmitter_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"countersign/internal/req"
	"countersign/ssftest"
	"countersign/transmitter"
)

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer ssftest.Answer
		dead   string // reason of the dead letter; empty: no dead letter
		open   bool   // the breaker is open
		fails  bool   // back-off
		covers []string
	}{
		{name: "202", answer: ssftest.Answer{}, covers: []string{"TX-166"}},
		{name: "200", answer: ssftest.Answer{Status: 200, Body: strings.NewReader("ok")}, covers: []string{"TX-170", "P-75"}},
		{name: "204", answer: ssftest.Answer{Status: 204}, covers: []string{"TX-170"}},
		{name: "invalid_request", answer: ssftest.Answer{Status: 400, Err: "invalid_request", Text: "no\\u001b[31m sub"}, dead: "HTTP 400 invalid_request: no[31m sub", covers: []string{"TX-167"}},
		{name: "invalid_state", answer: ssftest.Answer{Status: 400, Err: "invalid_state"}, dead: "HTTP 400 invalid_state"},
		{name: "400 without err", answer: ssftest.Answer{Status: 400}, dead: "HTTP 400"},
		{name: "413", answer: ssftest.Answer{Status: 413}, dead: "HTTP 413"},
		{name: "invalid_key", answer: ssftest.Answer{Status: 400, Err: "invalid_key"}, open: true, covers: []string{"P-83"}},
		{name: "invalid_issuer", answer: ssftest.Answer{Status: 400, Err: "invalid_issuer"}, open: true},
		{name: "invalid_audience", answer: ssftest.Answer{Status: 400, Err: "invalid_audience"}, open: true},
		{name: "authentication_failed", answer: ssftest.Answer{Status: 400, Err: "authentication_failed"}, open: true},
		{name: "access_denied", answer: ssftest.Answer{Status: 400, Err: "access_denied"}, open: true},
		{name: "401", answer: ssftest.Answer{Status: 401}, open: true},
		{name: "403", answer: ssftest.Answer{Status: 403}, open: true},
		{name: "404", answer: ssftest.Answer{Status: 404}, open: true},
		{name: "redirect", answer: ssftest.Answer{Status: 307, Header: http.Header{"Location": {"/elsewhere"}}}, open: true, covers: []string{"TX-174"}},
		{name: "429", answer: ssftest.Answer{Status: 429, Header: http.Header{"Retry-After": {"3000"}}}, fails: true},
		{name: "500", answer: ssftest.Answer{Status: 500, Body: strings.NewReader(strings.Repeat("x", 1<<17))}, fails: true},
		{name: "503", answer: ssftest.Answer{Status: 503, Header: http.Header{"Retry-After": {"3000"}}}, fails: true},
		{name: "reset", answer: ssftest.Answer{Reset: true}, fails: true},
		{name: "silence", answer: ssftest.Answer{Hang: true}, fails: true, covers: []string{"TX-174"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := ssftest.NewReceiver(t)
			r.Always(test.answer)
			x, store, st := push(t, r, func(c *transmitter.Config) { c.Timeout = 300 * time.Millisecond })
			mustSend(t, x, message("alice"))
			switch {
			case test.dead != "":
				eventually(t, "set aside", func() bool { return count(t, store, st).Dead == 1 })
				dead, _ := store.Dead(t.Context(), st.Key, 1)
				if dead[0].Reason != test.dead || dead[0].Status != test.answer.Status {
					t.Errorf("reason %q, status %d", dead[0].Reason, dead[0].Status)
				}
				r.Always(ssftest.Answer{})
				mustSend(t, x, message("alice")) // the stream goes on
				eventually(t, "the next is delivered", func() bool { return count(t, store, st) == transmitter.Counts{Delivered: 1, Dead: 1} })
			case test.open, test.fails:
				eventually(t, "back-off is kept", func() bool {
					got, err := store.Stream(t.Context(), "a", "s1")
					return err == nil && got.Trouble.Fails > 0
				})
				got, _ := store.Stream(t.Context(), "a", "s1")
				if got.Trouble.Open != test.open || got.Trouble.Reason == "" || got.Trouble.Since == 0 {
					t.Errorf("trouble %+v", got.Trouble)
				}
				if wait := time.Until(got.Trouble.Next.Time()); test.open && (wait < 2*time.Minute || wait > 5*time.Minute) {
					t.Errorf("an open breaker probes in %v", wait)
				}
				if wait := time.Until(got.Trouble.Next.Time()); test.answer.Header.Get("Retry-After") != "" && (wait < 40*time.Minute || wait > time.Hour) {
					t.Errorf("Retry-After of 3000 s gives %v", wait)
				}
				if c := count(t, store, st); c != (transmitter.Counts{Waiting: 1}) {
					t.Errorf("something was dropped: %+v", c)
				}
				if trouble := x.Pump.Troubled()["s1"]; trouble.Fails == 0 {
					t.Error("Troubled does not name the stream")
				}
				for _, p := range r.Pushes() {
					if p.Path == "/elsewhere" {
						t.Error("the redirect was followed")
					}
				}
			default:
				eventually(t, "delivered", func() bool { return count(t, store, st) == transmitter.Counts{Delivered: 1} })
			}
			req.Covers(t, test.covers...)
		})
	}
}

// TestWhatToDo reads what an operator is told about faults of the set-up.
func TestWhatToDo(t *testing.T) {
	for _, test := range []struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		{401, nil, "", "the receiver answers 401: check the authorization_header of the stream"},
		{401, http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}, "", "the receiver answers 401 invalid_token: check the authorization_header of the stream"},
		{401, http.Header{"Www-Authenticate": {`Bearer error="x" y` + strings.Repeat("z", 100)}}, "", "the receiver answers 401 x: check the authorization_header of the stream"},
		{401, http.Header{"Www-Authenticate": {"Bearer error=\"<b>\""}}, "", "the receiver answers 401: check the authorization_header of the stream"},
		{403, nil, "", "the receiver answers 403: its credential may not push here; ask the receiver what the authorization_header of the stream may do"},
		{404, nil, "", "the receiver answers 404: check the endpoint_url of the stream"},
		{302, nil, "", "the receiver answers 302: redirects are not followed; the endpoint_url of the stream has to be the final address"},
		{415, nil, "", "the receiver answers 415: it does not take application/secevent+jwt there; check that the endpoint_url is that of push delivery (RFC 8935)"},
		{407, nil, "", "the receiver answers 407: a proxy on the way wants credentials"},
		{418, nil, "", "the receiver answers 418: check the endpoint_url and the authorization_header of the stream"},
		{400, nil, `{"err":"invalid_key","description":"what key"}`, "the receiver answers 400 invalid_key: it does not know our key yet; it has to read our jwks_uri again, and to take the algorithm of the stream"},
		{400, nil, `{"err":"invalid_issuer"}`, "the receiver answers 400 invalid_issuer: it does not take SETs of our issuer; compare the iss that it expects with ours"},
		{400, nil, `{"err":"invalid_audience"}`, "the receiver answers 400 invalid_audience: it is not the audience of these SETs; compare the aud that it expects with that of the stream"},
		{400, nil, `{"err":"access_denied"}`, "the receiver answers 400 access_denied: its credential may not push here; ask the receiver what the authorization_header of the stream may do"},
		{400, nil, `{"err":"authentication_failed","description":"` + strings.Repeat("x", 9000) + `"}`, "the receiver answers 400 authentication_failed: check the authorization_header of the stream"},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := new(transmitter.Memory)
			w := &wire{tell: func(delivery, int) (*http.Response, error) {
				r := answer(test.status)
				if test.header != nil {
					r.Header = test.header
				}
				r.Body = io.NopCloser(strings.NewReader(test.body))
				r.ContentLength = int64(len(test.body))
				return r, nil
			}}
			x := newTransmitter(t, onWire(store, w))
			st := putStream(t, store, "s1", "https://r.example/in")
			defer begin(t, x)()
			send(t, x, "alice")
			time.Sleep(time.Second)
			if v := view(t, x, "s1"); v.Stream.Trouble.Reason != test.want || !v.Stream.Trouble.Open || v.Last.Status != test.status {
				t.Errorf("reason %q, last %+v", v.Stream.Trouble.Reason, v.Last)
			} else if want := "delivers nothing since 2000-01-01T00:00:00Z: " + test.want; !slices.Contains(v.Warnings, want) {
				t.Errorf("warnings %q", v.Warnings)
			}
			if c := count(t, store, st); c.Waiting != 1 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestACredentialIsNotRepeated has a receiver that sends back what it was sent.
func TestACredentialIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		var log bytes.Buffer
		w := &wire{tell: func(d delivery, _ int) (*http.Response, error) {
			r := answer(400)
			r.Body = io.NopCloser(strings.NewReader(`{"err":"access_denied","description":"no ` + d.authorization + `"}`))
			return r, nil
		}}
		cfg := onWire(store, w)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		tries := make(chan transmitter.Try, 8)
		cfg.Delivered = func(d transmitter.Try) { tries <- d }
		x := newTransmitter(t, cfg)
		id := create(t, x, "token-a", createBody("https://r.example/in"))
		stop := begin(t, x)
		send(t, x, "alice")
		time.Sleep(time.Second)
		v := view(t, x, id)
		stop()
		for _, said := range []string{log.String(), v.Stream.Trouble.Reason, v.Last.Reason, v.Stream.Authorization, (<-tries).Reason, fmt.Sprint(v.Warnings)} {
			if strings.Contains(said, "push-secret") {
				t.Errorf("it says %q", said)
			}
		}
		if v.Last.Reason != "HTTP 400 access_denied: no Bearer ***" {
			t.Errorf("last answer %+v", v.Last)
		}
	})
}

// TestAnAnswerIsBounded has receivers that answer with much, and slowly.
func TestAnAnswerIsBounded(t *testing.T) {
	for _, status := range []int{202, 500} {
		synctest.Test(t, func(t *testing.T) {
			store := new(transmitter.Memory)
			var read atomic.Int64
			w := &wire{tell: func(_ delivery, n int) (*http.Response, error) {
				r := answer(status)
				r.ContentLength = -1
				r.Body = io.NopCloser(&endless{&read})
				if n > 1 {
					return answer(202), nil
				}
				return r, nil
			}}
			x := newTransmitter(t, onWire(store, w))
			st := putStream(t, store, "s1", "https://r.example/in")
			defer begin(t, x)()
			send(t, x, "alice")
			time.Sleep(time.Minute)
			if n := read.Load(); n > 100<<10 {
				t.Errorf("%d octets of an answer were read", n)
			}
			if c := count(t, store, st); c != (transmitter.Counts{Delivered: 1}) {
				t.Errorf("%+v", c)
			}
			req.Covers(t, "TX-174")
		})
	}
}

// endless is a body without an end.
type endless struct{ read *atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.read.Add(int64(len(b)))
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestADrippingAnswerEndsInTime takes a byte of an answer each moment, for ever.
func TestADrippingAnswerEndsInTime(t *testing.T) {
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for {
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
			}
		}
	}))
	defer srv.Close()
	defer close(stop)
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Timeout = 200 * time.Millisecond
	tries := make(chan transmitter.Try, 100)
	cfg.Delivered = func(d transmitter.Try) { tries <- d }
	x := newTransmitter(t, cfg)
	putStream(t, store, "s1", srv.URL)
	running(t, x)
	begun := time.Now()
	send(t, x, "alice")
	if d := <-tries; d.Status != 500 || time.Since(begun) > 5*time.Second {
		t.Errorf("%+v after %v", d, time.Since(begun))
	}
	req.Covers(t, "TX-174")
}

// TestAnother2xxIsSaid looks for the log line: one, not one for each SET.
func TestAnother2xxIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		var log bytes.Buffer
		w := &wire{tell: func(delivery, int) (*http.Response, error) { return answer(204), nil }}
		cfg := onWire(store, w)
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		x := newTransmitter(t, cfg)
		st := putStream(t, store, "s1", "https://r.example/in")
		stop := begin(t, x)
		for i := range 50 {
			send(t, x, fmt.Sprintf("u%d", i))
			time.Sleep(time.Second) // the lane is gone between two
		}
		v := view(t, x, "s1")
		stop()
		if n := strings.Count(log.String(), "another status than 202"); n != 1 {
			t.Errorf("said %d times", n)
		}
		if c := count(t, store, st); c.Delivered != 50 || v.Last.Status != 204 || v.Last.Reason != "" {
			t.Errorf("%+v, last %+v", c, v.Last)
		}
		history, err := store.Deliveries(t.Context(), transmitter.DeliveryFilter{Stream: st.Key, N: 1})
		if err != nil || len(history) != 1 || history[0].Status != 204 || history[0].Outcome != transmitter.Delivered || history[0].Tries != 1 || history[0].First == 0 || history[0].At == 0 {
			t.Errorf("history %+v, %v", history, err)
		}
		req.Covers(t, "TX-170")
	})
}

// TestTheCertificateIsChecked pushes to a receiver whose certificate nobody vouches for.
func TestTheCertificateIsChecked(t *testing.T) {
	r := ssftest.NewReceiver(t)
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store)) // with the usual transport
	putStream(t, store, "s1", r.URL)
	running(t, x)
	send(t, x, "alice")
	eventually(t, "trouble", func() bool { return x.Pump.Troubled()["s1"].Fails > 0 })
	if tr := x.Pump.Troubled()["s1"]; !strings.HasPrefix(tr.Reason, "its certificate is not good: ") || len(r.Pushes()) != 0 {
		t.Errorf("trouble %+v, %d pushes", tr, len(r.Pushes()))
	}
	req.Covers(t, "TX-165")
}

// FuzzAnswer takes apart whatever a receiver answers.
func FuzzAnswer(f *testing.F) {
	f.Add(202, "", "", []byte(nil))
	f.Add(400, "", "", []byte(`{"err":"invalid_key","description":"no key push-secret"}`))
	f.Add(401, `Bearer error="invalid_token"`, "", []byte(nil))
	f.Add(403, `Bearer error="push-secret"`, "", []byte("push\x00-secret"))
	f.Add(429, "", "120", []byte(nil))
	f.Add(503, "", "Wed, 21 Oct 2026 07:28:00 GMT", []byte(`{"err":"`+strings.Repeat("x", 1000)+`"}`))
	f.Add(503, "", "99999999999999999999", []byte("{"))
	f.Add(307, "", "-1", []byte(`[1]`))
	now := time.Unix(1_790_000_000, 0)
	ours := http.Header{"Authorization": {"Bearer push-secret"}}
	f.Fuzz(func(t *testing.T, status int, challenge, retry string, body []byte) {
		resp := &http.Response{StatusCode: status, ContentLength: -1, Body: io.NopCloser(bytes.NewReader(body)),
			Header: http.Header{"Www-Authenticate": {challenge}, "Retry-After": {retry}}}
		reason, advice, wait, taken := transmitter.ReadAnswer(resp, ours, now)
		if taken != (status/100 == 2) {
			t.Errorf("%d: taken %v", status, taken)
		}
		if taken != (reason == "") {
			t.Errorf("%d: reason %q", status, reason)
		}
		if wait < 0 || wait > time.Hour {
			t.Errorf("Retry-After %q is %v", retry, wait)
		}
		for _, text := range []string{reason, advice} {
			if len(text) > 600 || !utf8.ValidString(text) || strings.Contains(text, "push-secret") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("it says %q", text)
			}
		}
	})
}
