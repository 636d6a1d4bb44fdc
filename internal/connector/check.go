package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/yaml"
)

// Check reads one pack folder as `pack check` does: the pack itself, its README and its paired tests.
// Errors carry file, line and column; there may be several, joined.
func Check(dir string) error { return CheckFS(os.DirFS(dir)) }

// CheckFS is Check over any file system whose root is the pack's folder.
//
// A pair is testdata/NAME.txtar with the files
//
//	case      the input: operation, settings, secrets, account, session, email, key, looked_up, proves
//	request   the exact request: method and address, headers, an empty line, the body; or "stopped: WORDS"
//	answer.X  an answer: the status, headers, an empty line, the body; or "lost" for none
//	judged.X  how that answer is judged: class, reason, ids, proven, retry_after
//
// Every operation of the pack has at least one pair, and every answer its judgement.
func CheckFS(dir fs.FS) error {
	data, err := fs.ReadFile(dir, "pack.yaml")
	if err != nil {
		return err
	}
	pack, err := ParsePack(data)
	if err != nil {
		return fmt.Errorf("pack.yaml: %w", err)
	}
	var errs []error
	if readme, err := fs.ReadFile(dir, "README.md"); err != nil || len(strings.TrimSpace(string(readme))) == 0 {
		errs = append(errs, errors.New("README.md: a pack says what has to be set up at the product"))
	}
	names, err := fs.Glob(dir, "testdata/*.txtar")
	if err != nil {
		return err
	}
	covered := map[hub.Operation]bool{}
	for _, name := range names {
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		op, err := checkPair(pack, string(data))
		covered[op] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%w", name, err))
		}
	}
	for _, op := range pack.Operations() {
		if !covered[op] {
			errs = append(errs, fmt.Errorf("testdata: the operation %s has no pair", op))
		}
	}
	return errors.Join(errs...)
}

type pairCase struct {
	Operation string            `json:"operation"`
	Proves    string            `json:"proves,omitempty"` // the operation whose read-back this is
	Settings  map[string]string `json:"settings"`
	Secrets   map[string]string `json:"secrets,omitempty"`
	Account   string            `json:"account,omitempty"`
	Session   string            `json:"session,omitempty"`
	Email     string            `json:"email,omitempty"`
	Key       string            `json:"key,omitempty"`
	LookedUp  bool              `json:"looked_up,omitempty"`
	Page      string            `json:"page,omitempty"`
	Number    int               `json:"number,omitempty"` // of the page
}

type judged struct {
	Class      string   `json:"class"`
	Reason     string   `json:"reason,omitempty"`
	IDs        []string `json:"ids,omitempty"`  // of list_accounts each with its addresses behind it
	Next       string   `json:"next,omitempty"` // of list_accounts
	Proven     *bool    `json:"proven,omitempty"`
	RetryAfter string   `json:"retry_after,omitempty"`
}

// checkPair runs one pair file and names the operation that it covers. Errors begin with the line.
func checkPair(pack *Pack, text string) (hub.Operation, error) {
	files, lines := sections(text)
	fail := func(section, format string, args ...any) error {
		return fmt.Errorf("%d: %s: %s", max(1, lines[section]), section, fmt.Sprintf(format, args...))
	}
	var c pairCase
	if err := yaml.Decode([]byte(files["case"]), &c); err != nil {
		return "", fail("case", "%v", err)
	}
	op := hub.Operation(c.Operation)
	app := &App{Name: "pair", Pack: pack, Settings: c.Settings, Secrets: c.Secrets}
	in := Input{Account: c.Account, Session: c.Session, Email: c.Email, Key: c.Key, LookedUp: c.LookedUp, Page: c.Page, PageNumber: c.Number}
	// The request, as the wire would have it.
	wire := &recorder{status: 204}
	r := NewRunner(Config{Client: &http.Client{Transport: wire}})
	a, _ := r.exchange(context.Background(), app, op, in)
	want := strings.TrimSpace(files["request"])
	got := strings.TrimSpace(wire.seen)
	if wire.seen == "" {
		got = "stopped: " + a.Note
	}
	if want == "" {
		return op, fail("case", "the pair has no request; it is:\n%s", got)
	}
	if want != got && !(wire.seen == "" && strings.HasPrefix(want, "stopped: ") && strings.Contains(got, want[len("stopped: "):])) {
		return op, fail("request", "is\n%s\nand not\n%s", got, want)
	}
	answers := 0
	for name := range files {
		suffix, ok := strings.CutPrefix(name, "answer.")
		if !ok {
			continue
		}
		answers++
		if _, ok := files["judged."+suffix]; !ok {
			return op, fail(name, "has no judged.%s", suffix)
		}
		if err := checkAnswer(app, c, in, files[name], files["judged."+suffix]); err != nil {
			return op, fail("judged."+suffix, "%v", err)
		}
	}
	if answers == 0 && wire.seen != "" {
		return op, fail("case", "the pair has no answer")
	}
	return op, nil
}

func checkAnswer(app *App, c pairCase, in Input, answer, want string) error {
	var w judged
	if err := yaml.Decode([]byte(want), &w); err != nil {
		return err
	}
	wire, err := parseAnswer(answer)
	if err != nil {
		return err
	}
	r := NewRunner(Config{Client: &http.Client{Transport: wire}})
	var got judged
	var a Answer
	switch op := hub.Operation(c.Operation); {
	case c.Proves != "":
		p := r.ReadBack(context.Background(), app, hub.Operation(c.Proves), in)
		if b, ok := app.Pack.ReadBack(hub.Operation(c.Proves)); !ok || b.Use != op {
			return fmt.Errorf("the read-back of %s does not use %s", c.Proves, op)
		}
		a, got.IDs = p.Answer, p.Listed
		got.Proven = &p.Proven
	case op == hub.OpLookupAccount:
		got.IDs, a = r.Lookup(context.Background(), app, in.Email)
	case op == hub.OpListSessions:
		got.IDs, a = r.Sessions(context.Background(), app, in.Account)
	case op == hub.OpListAccounts:
		var listed []Listed
		listed, got.Next, a = r.Accounts(context.Background(), app, in.Page, in.PageNumber)
		for _, l := range listed {
			got.IDs = append(got.IDs, strings.Join(append([]string{l.ID}, l.Emails...), " "))
		}
	default:
		a = r.Do(context.Background(), app, op, in)
	}
	got.Class, got.Reason = string(a.Class), a.Reason
	if a.RetryAfter > 0 {
		got.RetryAfter = a.RetryAfter.String()
	}
	proven := func(p *bool) string {
		if p == nil {
			return "unsaid"
		}
		return strconv.FormatBool(*p)
	}
	switch {
	case got.Class != w.Class:
		return fmt.Errorf("the class is %s and not %s (%s)", got.Class, w.Class, a.Note)
	case w.Reason != "" && got.Reason != w.Reason:
		return fmt.Errorf("the reason is %s and not %s", got.Reason, w.Reason)
	case !slices.Equal(got.IDs, w.IDs):
		return fmt.Errorf("the ids are %q and not %q", got.IDs, w.IDs)
	case proven(got.Proven) != proven(w.Proven):
		return fmt.Errorf("proven is %s and not %s", proven(got.Proven), proven(w.Proven))
	case got.Next != w.Next:
		return fmt.Errorf("next is %q and not %q", got.Next, w.Next)
	case got.RetryAfter != w.RetryAfter:
		return fmt.Errorf("retry_after is %q and not %q", got.RetryAfter, w.RetryAfter)
	}
	return nil
}

// recorder stands for the wire in pairs: it writes down the request and gives one answer.
type recorder struct {
	seen   string
	status int
	header http.Header
	body   string
	lost   bool
}

func (w *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL)
	var names []string
	for k := range r.Header {
		if c := http.CanonicalHeaderKey(k); c != "User-Agent" && c != "Accept" {
			names = append(names, c+": "+r.Header[k][0])
		}
	}
	slices.Sort(names)
	for _, n := range names {
		b.WriteString(n + "\n")
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		b.WriteString("\n" + string(body) + "\n")
	}
	w.seen = b.String()
	if w.lost {
		// As a real transport does once it has a connection.
		if t := httptrace.ContextClientTrace(r.Context()); t != nil && t.GotConn != nil {
			t.GotConn(httptrace.GotConnInfo{})
		}
		return nil, errors.New("connection reset")
	}
	h := w.header
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: w.status, Header: h, Body: io.NopCloser(strings.NewReader(w.body)), Request: r}, nil
}

func parseAnswer(text string) (*recorder, error) {
	head, body, _ := strings.Cut(text, "\n\n")
	first, rest, _ := strings.Cut(strings.TrimSpace(head), "\n")
	if first == "lost" {
		return &recorder{lost: true}, nil
	}
	status, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || status < 100 || status > 599 {
		return nil, fmt.Errorf("an answer begins with its status, not %q", first)
	}
	w := &recorder{status: status, header: http.Header{}, body: body}
	for line := range strings.SplitSeq(rest, "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			w.header.Add(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	return w, nil
}

// sections splits a txtar text into its files, with the line at which each begins.
func sections(text string) (map[string]string, map[string]int) {
	files, lines := map[string]string{}, map[string]int{}
	name := ""
	for i, line := range strings.SplitAfter(text, "\n") {
		t := strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(t, "-- ") && strings.HasSuffix(t, " --") && len(t) > 6 {
			name = path.Clean(strings.TrimSpace(t[3 : len(t)-3]))
			files[name], lines[name] = "", i+2
			continue
		}
		if name != "" {
			files[name] += line
		}
	}
	return files, lines
}
