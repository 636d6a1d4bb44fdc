package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/stream"
)

// What is refused is there for the operator, with what it needs to be found at the other side, and with nothing that a
// reader of it may not have.
func TestRefusalsAreKeptAndMasked(t *testing.T) {
	h := newHouse(t, func(s *ingest.Source) { s.Authorization, s.Profile = secret, "okta" }, func(c *ingest.Config) {
		c.Cure = func(profile, code string, reason error) (string, string) {
			return profile + " sends " + code, "theirs"
		}
	})
	foreign := h.about(person, "iss", `"https://evil.example.test"`, "jti", `"the-one"`)
	if w := h.push(foreign, "Authorization", secret); w.Code != 400 {
		t.Fatal(w.Code)
	}
	if w := h.push(h.about(person), "Authorization", "Bearer wrong-one"); w.Code != 400 {
		t.Fatal(w.Code)
	}
	h.Refusals.Flush(t.Context())
	all := h.ledger.list()
	if len(all) != 2 {
		t.Fatalf("%d rows: %+v", len(all), all)
	}
	for _, r := range all {
		if r.Source != "idp" || r.Door != "push" || r.Status != 400 || r.Count != 1 || r.At == 0 || r.Cure != "okta sends "+r.Err || r.Side != "theirs" {
			t.Errorf("%+v", r)
		}
		switch r.Err {
		case stream.InvalidIssuer:
			if r.JTI != "the-one" || r.Size != len(foreign) {
				t.Errorf("%+v", r)
			}
		case stream.AuthenticationFailed:
			if r.JTI != "" { // its body was not even read
				t.Errorf("%+v", r)
			}
		default:
			t.Errorf("err %q", r.Err)
		}
	}
	if text := fmt.Sprint(all) + h.logs.String(); strings.Contains(text, "battery") || strings.Contains(text, "wrong-one") || strings.Contains(text, "ann@") || strings.Contains(text, "eyJ") {
		t.Errorf("it says too much:\n%s", text)
	}
}

// A flood is a few rows with counts, written now and then, and does not grow.
func TestAFloodOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- h.Refusals.Run(ctx) }()
		const floods = 5000
		for i := range floods {
			h.push("rubbish")
			h.Refusals.Add("default", hub.Refusal{Source: "idp", Door: "push", Err: "invalid_request", Reason: fmt.Sprint("kind ", i)}, nil)
			if i%500 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(3 * time.Second)
		rows, total := h.ledger.list(), int64(0)
		for _, r := range rows {
			total += r.Count
		}
		if len(rows) > 25 || total != 2*floods || h.ledger.writes() > 10 {
			t.Errorf("%d rows in %d writes count %d", len(rows), h.ledger.writes(), total)
		}
		if n := strings.Count(h.logs.String(), "a token was refused"); n > 2 {
			t.Errorf("%d lines in the log", n)
		}
		// A new window has new rows; what cannot be written is told and not kept for ever.
		time.Sleep(2 * time.Minute)
		h.ledger.breaks(errors.New("the disk is full"))
		h.push("rubbish")
		time.Sleep(3 * time.Second)
		h.ledger.breaks(nil)
		h.push("rubbish")
		cancel() // what came last is written at the end
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if after := h.ledger.list(); len(after) != len(rows)+1 {
			t.Errorf("%d rows, then %d", len(rows), len(after))
		}
		if !strings.Contains(h.logs.String(), "could not be written down") {
			t.Error("nobody was told")
		}
	})
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"as it is": "as it is",
		"one\ntwo\tthree\r\x1b[31mred\u202e\u200bx":                   "one two three \uFFFD[31mred\uFFFD\uFFFDx",
		`iss "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln" is wrong`:    `iss "[token]" is wrong`,
		"got Bearer abc.def and basic eDp5":                           "got Bearer *** and basic ***",
		"sub ann.lee+x@mail.example.test is unknown":                  "sub ***@mail.example.test is unknown",
		"phone +4915112345678 is unknown":                             "phone +*** is unknown",
		strings.Repeat("ä", 500):                                      strings.Repeat("ä", 200) + "…",
		"\xff\xfe":                                                    "\uFFFD\uFFFD",
		`jti "../../etc/passwd' OR 1=1 --" <script>alert(1)</script>`: `jti "../../etc/passwd' OR 1=1 --" <script>alert(1)</script>`,
	} {
		if got := ingest.Plain(in); got != want {
			t.Errorf("%q:\n got %q\nwant %q", in, got, want)
		}
	}
}

// FuzzPlain: whatever comes, what is shown is short and of one line, and a terminal does nothing about it.
func FuzzPlain(f *testing.F) {
	f.Add("a\x1b]0;title\x07b")
	f.Add("ann@example.test Bearer x eyJhbGciOiJub25lIn0..")
	f.Add("\xf0\x9f\x92")
	f.Fuzz(func(t *testing.T, in string) {
		got := ingest.Plain(in)
		if len(got) > 410 || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q gives %q", in, got)
		}
	})
}

// FuzzReceive: no body makes the door panic or answer with anything but what RFC 8935 has.
func FuzzReceive(f *testing.F) {
	h := newHouse(f, nil, nil)
	f.Add(h.about(person))
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/receive/a1", io.NopCloser(strings.NewReader(body)))
		r.Header.Set("Content-Type", "application/secevent+jwt")
		w := httptest.NewRecorder()
		h.Receive(w, r, "a1")
		if w.Code != 202 && w.Code != 400 && w.Code != 413 {
			t.Errorf("%q: %d", body, w.Code)
		}
	})
}
