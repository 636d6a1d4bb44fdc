package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	sdk "countersign/receiver"
	"countersign/subject"
)

// Sources does things at the other side of a source; *enroll.Enroller does it.
type Sources interface {
	Step(ctx context.Context, tenant, source, verb string, in enroll.StepInput) (*enroll.StepResult, error)
	Subjects(ctx context.Context, tenant, source string, remove bool, all iter.Seq[sdk.Subject], progress func(sdk.Progress)) (sdk.Progress, error)
	Begin(ctx context.Context, tenant, source, redirect string) (*enroll.Consenting, error)
	Finish(ctx context.Context, tenant, source, ticket string, answer url.Values) error
	Examine(ctx context.Context, tenant, source string) (*enroll.Examination, error)
}

// Refusals lists what was refused; *store.Store does it.
type Refusals interface {
	Refusals(ctx context.Context, tenant, source string, p hub.Page) (hub.Listed[hub.Refusal], error)
}

// oneSource is the source that a path names, which must be there.
func (d *Door) oneSource(r *request) (string, error) {
	name, err := ref(r, "name")
	if err != nil {
		return "", err
	}
	if d.c.Sources == nil {
		return "", hub.Errorf(hub.Unavailable, "this hub does not receive")
	}
	if _, err := d.resource(r, hub.KindSource); err != nil {
		return "", err
	}
	return name, nil
}

// sourceError gives what the other side of a source did wrong a status of its own.
func sourceError(err error) error {
	var he *hub.Error
	if errors.As(err, &he) && he.Code == hub.Unavailable && errors.Is(err, enroll.ErrOutside) {
		return withStatus(http.StatusBadGateway, err)
	}
	return err
}

// sourceStep does one step at the stream API of the other side.
func (d *Door) sourceStep(w http.ResponseWriter, r *request) error {
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	var in enroll.StepInput
	if err := givenBody(w, r, &in); err != nil {
		return err
	}
	return d.step(w, r, name, r.PathValue("verb"), in)
}

// givenBody reads a body where there is one.
func givenBody(w http.ResponseWriter, r *request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	return decodeBody(data, maxBody, v)
}

func (d *Door) step(w http.ResponseWriter, r *request, name, verb string, in enroll.StepInput) error {
	for i, e := range in.Events {
		if t, ok := d.c.Registry.Resolve(e); ok {
			in.Events[i] = t.URI
		}
	}
	out, err := d.c.Sources.Step(r.Context(), r.tenant, name, verb, in)
	if err != nil {
		return sourceError(err)
	}
	return writeJSON(w, http.StatusOK, out)
}

// SourceReason is a body with a reason.
type SourceReason struct {
	Reason string `json:"reason"`
}

// pauseSource and the two after it are the steps that an operator needs most.
func (d *Door) pauseSource(w http.ResponseWriter, r *request) error {
	return d.sourceStatus(w, r, "paused")
}

func (d *Door) resumeSource(w http.ResponseWriter, r *request) error {
	return d.sourceStatus(w, r, "enabled")
}

func (d *Door) sourceStatus(w http.ResponseWriter, r *request, status string) error {
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	var in SourceReason
	if err := givenBody(w, r, &in); err != nil {
		return err
	}
	return d.step(w, r, name, enroll.StepStatus, enroll.StepInput{Status: status, Reason: in.Reason})
}

func (d *Door) verifySource(w http.ResponseWriter, r *request) error {
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	return d.step(w, r, name, enroll.StepVerify, enroll.StepInput{})
}

// refusedBySource lists what a source sent and what was not taken.
func (d *Door) refusedBySource(w http.ResponseWriter, r *request) error {
	p, _, err := query(r.Request)
	if err != nil {
		return err
	}
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	if d.c.Refusals == nil {
		return writePage(w, hub.Listed[hub.Refusal]{})
	}
	l, err := d.c.Refusals.Refusals(r.Context(), r.tenant, name, p)
	if err != nil {
		return err
	}
	return writePage(w, l)
}

// ConsentRequest begins a person's consent with redirect_uri, and finishes it with ticket and answer.
type ConsentRequest struct {
	Redirect string `json:"redirect_uri"`
	Ticket   string `json:"ticket"`
	Answer   string `json:"answer"` // the query with which the browser came back
}

// ConsentAnswer is what came of it.
type ConsentAnswer struct {
	URL    string `json:"url,omitempty"`
	Ticket string `json:"ticket,omitempty"`
	Done   bool   `json:"done"`
}

func (d *Door) authorizeSource(w http.ResponseWriter, r *request) error {
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	data, err := readBody(w, r.Request, maxBody)
	if err != nil {
		return err
	}
	var in ConsentRequest
	if err := decodeBody(data, maxBody, &in); err != nil {
		return err
	}
	begin, finish := in.Redirect != "", in.Ticket != "" && in.Answer != ""
	if begin == finish || begin && (in.Ticket != "" || in.Answer != "") {
		return hub.Errorf(hub.Invalid, "a consent begins with redirect_uri, and is finished with ticket and answer").WithHint("countersign source authorize %s", short(name))
	}
	if begin {
		c, err := d.c.Sources.Begin(r.Context(), r.tenant, name, in.Redirect)
		if err != nil {
			return sourceError(err)
		}
		return writeJSON(w, http.StatusOK, ConsentAnswer{URL: c.URL, Ticket: c.Ticket})
	}
	answer, err := url.ParseQuery(strings.TrimPrefix(in.Answer, "?"))
	if err != nil {
		return hub.Errorf(hub.Invalid, "answer is no query of an address")
	}
	if err := d.c.Sources.Finish(r.Context(), r.tenant, name, in.Ticket, answer); err != nil {
		return sourceError(err)
	}
	return writeJSON(w, http.StatusOK, ConsentAnswer{Done: true})
}

// SubjectsProgress is how far a change of subjects has come.
type SubjectsProgress struct {
	Row     int `json:"row"`
	Done    int `json:"done"`
	Refused int `json:"refused"`
}

// SubjectFault is one subject that was not taken.
type SubjectFault struct {
	Row    int    `json:"row"`
	Reason string `json:"reason"`
}

// SubjectsLine is one line of the answer: one of its members.
type SubjectsLine struct {
	Progress *SubjectsProgress `json:"progress,omitempty"`
	Bad      *SubjectFault     `json:"bad,omitempty"`
	Done     *SubjectsProgress `json:"done,omitempty"`
	Error    *problem          `json:"error,omitempty"`
}

const (
	maxSubjectLine = 64 << 10
	subjectsEvery  = 100 // rows between two lines of progress
)

// sourceSubjects adds or removes the subjects of the body, one JSON object a line: an identifier, or one under subject with
// verified beside it.
func (d *Door) sourceSubjects(w http.ResponseWriter, r *request) error {
	yes, _, err := flags(r.Request, []string{"remove"})
	if err != nil {
		return err
	}
	name, err := d.oneSource(r)
	if err != nil {
		return err
	}
	file, err := d.spool(w, r)
	if err != nil {
		return err
	}
	defer file.Close()
	bad := 0
	if err := eachSubjectRow(file, func(row int, _ sdk.Subject, fault error) bool {
		if fault != nil && bad == 0 {
			bad, err = row, fault
		}
		return bad == 0
	}); err != nil {
		return err
	}
	if bad > 0 {
		return hub.Errorf(hub.Invalid, "row %d: %w", bad, err).WithHint(`a row is {"format":"email","email":"alice@example.test"}; nothing was sent`)
	}
	out := d.lines(w, r)
	all := func(yield func(sdk.Subject) bool) {
		_ = eachSubjectRow(file, func(_ int, s sdk.Subject, _ error) bool { return yield(s) })
	}
	told := 0
	p, err := d.c.Sources.Subjects(r.Context(), r.tenant, name, yes["remove"], all, func(p sdk.Progress) {
		if p.Err != nil && told < maxTold {
			told++
			out.write(SubjectsLine{Bad: &SubjectFault{p.Row, p.Err.Error()}})
		}
		if p.Row%subjectsEvery == 0 {
			out.write(SubjectsLine{Progress: &SubjectsProgress{p.Row, p.Done, p.Refused}})
		}
	})
	if err != nil {
		out.fail(sourceError(err))
		return nil
	}
	out.write(SubjectsLine{Done: &SubjectsProgress{p.Row, p.Done, p.Refused}})
	return nil
}

// eachSubjectRow reads the rows of a file from its beginning.
func eachSubjectRow(file io.ReadSeeker, do func(row int, s sdk.Subject, fault error) bool) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewScanner(file)
	in.Buffer(nil, maxSubjectLine)
	row := 0
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" {
			continue
		}
		row++
		s, err := readSubject([]byte(line))
		if !do(row, s, err) {
			return nil
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return hub.Errorf(hub.Invalid, "row %d is longer than %d bytes", row+1, maxSubjectLine)
	}
	return in.Err()
}

// readSubject reads one row.
func readSubject(line []byte) (s sdk.Subject, err error) {
	var wrapped struct {
		Subject  json.RawMessage `json:"subject"`
		Verified *bool           `json:"verified"`
	}
	if err := json.Unmarshal(line, &wrapped); err != nil {
		return s, errors.New("it is no JSON object")
	}
	raw := json.RawMessage(line)
	if wrapped.Subject != nil {
		raw, s.Verified = wrapped.Subject, wrapped.Verified
	}
	s.Identifier, err = subject.Parse(raw)
	return s, err
}
