package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"testing"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/store"
	sdk "countersign/receiver"
	"countersign/subject"
)

// otherSide is the other side of every source of a bench.
type otherSide struct {
	steps  []string
	took   []subject.Identifier
	fails  error
	answer url.Values
}

func (o *otherSide) Step(_ context.Context, _, source, verb string, in enroll.StepInput) (*enroll.StepResult, error) {
	if o.fails != nil {
		return nil, o.fails
	}
	o.steps = append(o.steps, fmt.Sprintf("%s %s %s%s", source, verb, in.Status, strings.Join(in.Events, " ")))
	return &enroll.StepResult{Verb: verb, Answer: []byte(`{"stream_id":"s1"}`), Stream: &enroll.State{StreamID: "s1"}}, nil
}

func (o *otherSide) Subjects(_ context.Context, _, _ string, remove bool, all iter.Seq[sdk.Subject], progress func(sdk.Progress)) (p sdk.Progress, err error) {
	if o.fails != nil {
		return p, o.fails
	}
	for s := range all {
		p.Row++
		if strings.HasPrefix(s.Identifier.Get("email"), "odd") {
			p.Refused, p.Err = p.Refused+1, errors.New("it refuses")
		} else {
			p.Done, p.Err = p.Done+1, nil
			o.took = append(o.took, s.Identifier)
		}
		progress(p)
	}
	return p, nil
}

func (o *otherSide) Begin(_ context.Context, _, _, redirect string) (*enroll.Consenting, error) {
	return &enroll.Consenting{URL: "https://as.example.test/?to=" + url.QueryEscape(redirect), Ticket: "tick"}, o.fails
}

func (o *otherSide) Finish(_ context.Context, _, _, ticket string, answer url.Values) error {
	o.answer = answer
	return o.fails
}

func (o *otherSide) Examine(_ context.Context, _, source string) (*enroll.Examination, error) {
	return &enroll.Examination{Source: source, Profile: "generic", Findings: []enroll.Finding{{Check: "metadata", Result: enroll.Fail, Seen: "x", Fix: "y", Side: enroll.Theirs, Quirk: "Q-01"}}}, nil
}

func TestSourceSteps(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+sourceDoc+`]}`))
	b.want(200, b.post("/sources/idp/stream/create", b.operator, `{"events":["caep/session-revoked"]}`))
	b.want(200, b.post("/sources/idp/stream/status", b.operator, `{"status":"paused","reason":"r"}`))
	b.want(200, b.post("/sources/idp/pause", b.operator, ``))
	b.want(200, b.post("/sources/idp/resume", b.operator, `{"reason":"r"}`))
	b.want(200, b.post("/sources/idp/verify", b.operator, ``))
	want := "idp create https://schemas.openid.net/secevent/caep/event-type/session-revoked|idp status paused|idp status paused|idp status enabled|idp verify "
	if got := strings.Join(b.other.steps, "|"); got != want {
		t.Errorf("steps %s", got)
	}
	if w := b.want(404, b.post("/sources/nobody/stream/read", b.operator, ``)); !strings.Contains(w.Body.String(), `"hint":"countersign source list"`) {
		t.Errorf("a source that is not there: %s", w.Body)
	}
	if w := b.want(200, b.get("/sources", b.operator)); !strings.Contains(w.Body.String(), `"state":{"receive":"https://hub.example.test/receive/x"}`) {
		t.Errorf("the list does not say how sources do: %s", w.Body)
	}
	b.want(400, b.post("/sources/idp/stream/create", b.operator, `{"evnts":[]}`))
	b.other.fails = &hub.Error{Code: hub.Unavailable, Err: fmt.Errorf("it answers 500: %w", enroll.ErrOutside)}
	b.want(502, b.post("/sources/idp/stream/read", b.operator, ``))
}

func TestSourceSubjects(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+sourceDoc+`]}`))
	w := b.want(200, b.post("/sources/idp/subjects", b.operator,
		`{"format":"email","email":"a@example.test"}`+"\n\n"+`{"subject":{"format":"email","email":"odd@example.test"},"verified":true}`+"\n"))
	if got := w.Body.String(); !strings.Contains(got, `{"bad":{"row":2,"reason":"it refuses"}}`) || !strings.HasSuffix(strings.TrimSpace(got), `{"done":{"row":2,"done":1,"refused":1}}`) {
		t.Errorf("answer %s", got)
	}
	// Nothing is sent where a row is wrong.
	for _, bad := range []string{`{"format":"email"`, `{"format":"email"}`, `[]`, `{"format":"email","email":"` + strings.Repeat("a", maxSubjectLine) + `"}`} {
		b.other.took = nil
		b.want(400, b.post("/sources/idp/subjects", b.operator, `{"format":"email","email":"a@example.test"}`+"\n"+bad))
		if b.other.took != nil {
			t.Errorf("%.40s: %v was sent", bad, b.other.took)
		}
	}
}

func TestSourceConsent(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+sourceDoc+`]}`))
	var began ConsentAnswer
	b.decode(b.want(200, b.post("/sources/idp/authorize", b.operator, `{"redirect_uri":"http://127.0.0.1:9/"}`)), &began)
	if began.Ticket != "tick" || began.URL == "" {
		t.Errorf("%+v", began)
	}
	b.want(200, b.post("/sources/idp/authorize", b.operator, `{"ticket":"tick","answer":"?code=c&state=s"}`))
	if b.other.answer.Get("code") != "c" {
		t.Errorf("answer %v", b.other.answer)
	}
	b.want(400, b.post("/sources/idp/authorize", b.operator, `{"ticket":"tick"}`))
	b.want(400, b.post("/sources/idp/authorize", b.operator, `{"ticket":"tick","answer":"a","redirect_uri":"b"}`))
}

func FuzzReadSubject(f *testing.F) {
	f.Add([]byte(`{"format":"email","email":"a@example.test"}`))
	f.Add([]byte(`{"subject":{"format":"opaque","id":"x"},"verified":false}`))
	f.Add([]byte(`{"subject":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := readSubject(line)
		if err == nil && s.Identifier.Format() == "" {
			t.Errorf("%q names nobody and is taken", line)
		}
	})
}

// What was refused lately is what somebody looks for whose signals do not come.
func TestDoctorTellsOfRefusals(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+sourceDoc+`]}`))
	ask := func() string { return b.want(200, b.get("/sources/idp/doctor", b.operator)).Body.String() }
	if got := ask(); strings.Contains(got, `"check":"refused"`) {
		t.Errorf("nothing was refused: %s", got)
	}
	at := hub.At(start)
	if err := b.cfg.Refusals.(*store.Store).AddRefusals(t.Context(), DefaultTenant, []hub.Refusal{{ID: "ref_1", Source: "idp", Door: "push", Status: 400, Err: "invalid_audience", Reason: "aud is another", Cure: "write audience", Side: "ours", Count: 1, At: at, Last: at}}); err != nil {
		t.Fatal(err)
	}
	if got := ask(); !strings.Contains(got, `"check":"refused","result":"warn","seen":"what it sent at `) || !strings.Contains(got, `"fix":"write audience","side":"ours"`) {
		t.Errorf("what was refused is not told: %s", got)
	}
}
