package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testCase is one file.
type testCase struct {
	name, clause, note string
	steps              []*step
	stopped            bool  // the clock stands still while the case runs
	bill               *bill // of the folder receipts
}

// step is one request of a case.
type step struct {
	method, path string
	admin        bool
	auth, host   string
	headers      [][2]string
	sign, jose   string
	replace      [][2]string
	seq          int
	times        int
	expect       []answer
	has          []string
	body         []string
	hides        []string
	sameAs       string
	effects      []effect
	memory       uint64
	hangup       string
	flood        string
	sections     map[string]string
}

// answer is what one request gets.
type answer struct {
	closed       bool
	status       int
	err          string
	receiptError string
}

// effect is one counted change.
type effect struct {
	name   string
	n      int
	atMost bool
}

// usual are the request and the token that a folder's files mean when they say nothing.
var usual = map[string]struct{ request, auth string }{
	"receive":  {"POST ${idp}", "none"},
	"receipts": {"POST /ssf/receipts", "desk"},
	"streams":  {"POST /ssf/streams", "maker"},
	"api":      {"POST admin:/api/v1/signals", "sender"},
	"slow":     {"POST ${idp}", "none"},
}

// readCases reads a folder of testdata.
func readCases(t testing.TB, folder string, atLeast int) []*testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < atLeast {
		t.Fatalf("%s has %d files, at least %d belong there", folder, len(files), atLeast)
	}
	var out []*testCase
	for _, f := range files {
		c, err := readCase(f, folder)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, c)
	}
	return out
}

func readCase(file, folder string) (*testCase, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c := &testCase{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
	section := ""
	fresh := func() *step {
		s := &step{times: 1, seq: 1, memory: 8 << 20, sections: map[string]string{}, auth: usual[folder].auth}
		s.request(usual[folder].request)
		c.steps = append(c.steps, s)
		return s
	}
	s := fresh()
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(bare, "-- "); ok && strings.HasSuffix(name, " --") {
			section = strings.TrimSuffix(name, " --")
			switch section {
			case "step":
				s, section = fresh(), ""
			case "claims", "body", "send":
				s.sections[section] = ""
			default:
				return nil, fmt.Errorf("there is no section %q", section)
			}
			continue
		}
		if section != "" {
			s.sections[section] += line
			continue
		}
		if bare == "" || strings.HasPrefix(bare, "#") {
			continue
		}
		name, value, ok := strings.Cut(bare, ":")
		if !ok {
			return nil, fmt.Errorf("%q is not name: value", bare)
		}
		if err := c.line(s, name, strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	if c.clause == "" || c.note == "" {
		return nil, fmt.Errorf("clause and note are missing")
	}
	for i, s := range c.steps {
		if len(s.expect) == 0 && s.hangup == "" {
			return nil, fmt.Errorf("step %d expects nothing", i+1)
		}
		for name, text := range s.sections {
			s.sections[name] = strings.TrimSuffix(text, "\n")
		}
	}
	return c, nil
}

func (s *step) request(text string) {
	s.method, s.path, _ = strings.Cut(text, " ")
	s.path, s.admin = strings.CutPrefix(s.path, "admin:")
}

func (c *testCase) line(s *step, name, value string) (err error) {
	switch name {
	case "clause":
		c.clause = value
	case "note":
		c.note = value
	case "clock":
		c.stopped = value == "stopped"
	case "request":
		s.request(value)
	case "auth":
		s.auth = value
	case "host":
		s.host = value
	case "header":
		n, v, _ := strings.Cut(value, ":")
		s.headers = append(s.headers, [2]string{n, strings.TrimSpace(v)})
	case "sign":
		s.sign = value
	case "jose":
		s.jose = value
	case "replace":
		from, to, ok := strings.Cut(value, " => ")
		if !ok {
			return fmt.Errorf("replace: %q has no =>", value)
		}
		s.replace = append(s.replace, [2]string{from, strings.TrimSuffix(to, "<nothing>")})
	case "seq":
		s.seq, err = strconv.Atoi(value)
	case "times":
		s.times, err = strconv.Atoi(value)
	case "expect":
		s.expect, err = readExpect(value)
	case "has":
		s.has = append(s.has, value)
	case "body":
		s.body = append(s.body, value)
	case "hides":
		s.hides = append(s.hides, value)
	case "same-as":
		s.sameAs = value
	case "effects":
		s.effects, err = readEffects(value)
	case "memory":
		n, unit, _ := strings.Cut(value, " ")
		s.memory, err = strconv.ParseUint(n, 10, 64)
		if unit != "MiB" {
			return fmt.Errorf("memory: %q is not in MiB", value)
		}
		s.memory <<= 20
	case "hangup":
		s.hangup = value
	case "flood":
		s.flood = value
	default:
		return fmt.Errorf("there is no line %q", name)
	}
	return err
}

func readExpect(text string) (out []answer, err error) {
	for part := range strings.SplitSeq(text, "|") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 3 {
			return nil, fmt.Errorf("expect: %q", part)
		}
		if words[0] == "closed" {
			out = append(out, answer{closed: true})
			continue
		}
		a := answer{}
		if a.status, err = strconv.Atoi(words[0]); err != nil {
			return nil, err
		}
		words = append(words, "", "")
		a.err, a.receiptError = words[1], words[2]
		out = append(out, a)
	}
	return out, nil
}

func readEffects(text string) (out []effect, err error) {
	for part := range strings.SplitSeq(text, ",") {
		name, amount, ok := strings.Cut(strings.TrimSpace(part), " ")
		e := effect{name: name}
		if most, is := strings.CutPrefix(amount, "<="); is {
			e.atMost, amount = true, "+"+most
		}
		if e.n, err = strconv.Atoi(strings.TrimPrefix(amount, "+")); err != nil || !ok || !strings.HasPrefix(amount, "+") && !strings.HasPrefix(amount, "-") {
			return nil, fmt.Errorf("effects: %q", part)
		}
		out = append(out, e)
	}
	return out, nil
}

// scope is what the names in ${…} stand for.
type scope map[string]string

var variable = regexp.MustCompile(`\$\{("(?:[^"\\]|\\.)*"|[a-z][a-z0-9.-]*(?:\+\d+|--\d+)?(?: [^}]*)?)\}`)

// expand replaces ${…} until nothing is left to replace, so that what stands for a name may hold others.
func (sc scope) expand(t testing.TB, text string) string {
	t.Helper()
	for range 4 {
		if !strings.Contains(text, "${") {
			break
		}
		text = variable.ReplaceAllStringFunc(text, func(m string) string { return sc.value(t, m[2:len(m)-1]) })
	}
	return text
}

func (sc scope) value(t testing.TB, name string) string {
	t.Helper()
	if strings.HasPrefix(name, `"`) {
		v, err := strconv.Unquote(name)
		if err != nil {
			t.Fatalf("${%s}: %v", name, err)
		}
		return v
	}
	if rest, ok := strings.CutPrefix(name, "repeat "); ok {
		n, what, _ := strings.Cut(rest, " ")
		times, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("${%s}: %v", name, err)
		}
		return strings.Repeat(what, times)
	}
	if v, ok := sc[name]; ok {
		return v
	}
	for sign, by := range map[string]int64{"+": 1, "--": -1} {
		base, n, ok := strings.Cut(name, sign)
		if v, known := sc[base]; ok && known {
			at, err1 := strconv.ParseInt(v, 10, 64)
			add, err2 := strconv.ParseInt(n, 10, 64)
			if err1 == nil && err2 == nil {
				return strconv.FormatInt(at+by*add, 10)
			}
		}
	}
	t.Fatalf("nothing is called ${%s}", name)
	return ""
}

// counts are the counted things at one moment.
type counts map[string]int

// judge says how what changed differs from what may have changed; "" where it does not.
func judge(before, after counts, effects []effect, times int) string {
	var wrong []string
	named := map[string]bool{}
	for _, e := range effects {
		named[e.name] = true
		got := after[e.name] - before[e.name]
		if e.atMost && (got < 0 || got > e.n) || !e.atMost && got != e.n*times {
			wrong = append(wrong, fmt.Sprintf("%s %+d, want %s%d", e.name, got, map[bool]string{true: "at most ", false: "+"}[e.atMost], e.n*times))
		}
	}
	for name := range union(before, after) {
		if got := after[name] - before[name]; got != 0 && !named[name] {
			wrong = append(wrong, fmt.Sprintf("%s %+d, which the file does not name", name, got))
		}
	}
	slices.Sort(wrong)
	return strings.Join(wrong, "; ")
}

func union(a, b counts) counts {
	out := counts{}
	for k := range a {
		out[k] = 0
	}
	for k := range b {
		out[k] = 0
	}
	return out
}
