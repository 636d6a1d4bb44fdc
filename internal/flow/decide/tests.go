package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/resource"
	"countersign/internal/yaml"
)

// testFile is a tests.yaml.
type testFile struct {
	Apps  map[string]testApp `json:"apps"`
	Tests []testCase         `json:"tests"`
}

type testApp struct {
	Match  string          `json:"match,omitempty"` // declared by default
	Offers []hub.Operation `json:"offers"`
}

type testCase struct {
	Name     string          `json:"name"`
	Source   string          `json:"source,omitempty"` // idp by default
	Event    string          `json:"event"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Identity hub.Identity    `json:"identity"`
	Session  *hub.Account    `json:"session,omitempty"` // {at: PLACE, id: ID}
	Order    *testOrder      `json:"order,omitempty"`
	Accept   []string        `json:"accept,omitempty"`
	Used     int             `json:"used,omitempty"` // people counted already, for every limit
	Want     []string        `json:"want"`           // "ACTION [REACH] [at APP] [as LINE] [STATE/REASON]" in the order of the plan, then "transmit TYPE to STREAMS[, as an order]"
	Why      []string        `json:"why,omitempty"`  // texts that some finding holds
}

type testOrder struct {
	Obligation string       `json:"obligation"`
	Actions    []testAction `json:"actions"`
}

type testAction struct {
	ID     string    `json:"id"`
	Action string    `json:"action"`
	Reach  hub.Reach `json:"reach,omitempty"`
}

// TestResult is one test of a tests.yaml.
type TestResult struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Diff string `json:"diff,omitempty"` // what was wanted and what came
}

// Types are the event types that policies may name.
func Types() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}

// RunTests runs the tests of one file against one policy file, as `countersign policy test` does.
func RunTests(policyFile, testsFile string) ([]TestResult, error) {
	policy, err := os.ReadFile(policyFile)
	if err != nil {
		return nil, err
	}
	tests, err := os.ReadFile(testsFile)
	if err != nil {
		return nil, err
	}
	set, err := Load(policy, Types())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", policyFile, err)
	}
	results, err := Run(set, tests)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", testsFile, err)
	}
	return results, nil
}

// Load reads a file of policies. Errors carry line and column.
func Load(data []byte, types *event.Registry) (*Set, error) {
	docs, err := yaml.Documents(data)
	if err != nil {
		return nil, err
	}
	var compiled []*Compiled
	for _, doc := range docs {
		if doc.Kind != string(hub.KindPolicy) {
			return nil, doc.Errorf("kind", "a file of policies holds policies, not a %s", doc.Kind)
		}
		r, err := resource.Decode(doc)
		if err != nil {
			return nil, err
		}
		var p hub.Policy
		if err := json.Unmarshal(r.Spec, &p); err != nil {
			return nil, err
		}
		c, err := Compile(p, 1, types)
		var f *Fault
		if errors.As(err, &f) {
			return nil, doc.Errorf(f.Path, "%s", f.Msg)
		}
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, c)
	}
	return NewSet(compiled...), nil
}

// Run runs the tests of a tests.yaml against a set of policies.
func Run(set *Set, tests []byte) ([]TestResult, error) {
	doc, err := yaml.One(tests)
	if err != nil {
		return nil, err
	}
	var f testFile
	if err := doc.Decode(&f); err != nil {
		return nil, err
	}
	if len(f.Tests) == 0 {
		return nil, doc.Errorf("tests", "there is no test")
	}
	types := Types()
	var out []TestResult
	for i, c := range f.Tests {
		at := fmt.Sprintf("tests[%d]", i)
		t, ok := types.Resolve(c.Event)
		if !ok {
			return nil, doc.Errorf(at+".event", "there is no event type %s", c.Event)
		}
		if c.Name == "" || c.Identity.Name == "" {
			return nil, doc.Errorf(at, "a test has a name and an identity with a name")
		}
		if len(c.Payload) > 0 {
			if p, err := types.Decode(t.URI, c.Payload); err != nil {
				return nil, doc.Errorf(at+".payload", "%v", err)
			} else if err := p.Validate(); err != nil {
				return nil, doc.Errorf(at+".payload", "%v", err)
			}
		}
		res, err := set.Decide(c.input(t.URI, f.Apps))
		if err != nil {
			return nil, err
		}
		out = append(out, c.compare(res))
	}
	return out, nil
}

func (c *testCase) input(uri string, apps map[string]testApp) Input {
	source := c.Source
	if source == "" {
		source = "idp"
	}
	payload := c.Payload
	if len(payload) == 0 {
		payload = json.RawMessage(`{}`)
	}
	in := Input{
		Signal: &hub.Signal{ID: "sig_test", Tenant: "default", Source: source, EventType: uri, SubID: json.RawMessage(`{}`), Event: payload},
		Source: &hub.Source{Name: source, Orders: &hub.OrderRules{Accept: c.Accept, At: hub.Places{All: true}}},
		Person: Person{Identity: &c.Identity},
		Now:    time.Unix(1789462800, 0).UTC(),
		Used:   func(string, string, time.Time) (int, bool, error) { return c.Used, false, nil },
	}
	if c.Session != nil {
		in.Person.Session, in.Person.SessionAt = c.Session.ID, c.Session.At
	}
	if c.Order != nil {
		in.Order = &Order{Obligation: c.Order.Obligation}
		for _, a := range c.Order.Actions {
			in.Order.Actions = append(in.Order.Actions, Ordered{ID: a.ID, Action: a.Action, Reach: a.Reach})
		}
	}
	for name, a := range apps {
		in.Apps = append(in.Apps, App{Name: name, Match: a.Match, Offers: func(op hub.Operation) bool { return slices.Contains(a.Offers, op) }})
	}
	return in
}

// Describe words an action as tests write it.
func Describe(a *hub.Action) string {
	s := a.Name
	if a.Reach != "" {
		s += " " + string(a.Reach)
	}
	if a.App != "" {
		s += " at " + a.App
	}
	if a.Ordered {
		s += " as " + a.Line
	}
	if a.State != hub.Planned {
		s += " " + string(a.State) + "/" + a.Reason
	}
	return s
}

func (c *testCase) compare(res *Result) TestResult {
	got := []string{}
	for _, a := range res.Actions {
		got = append(got, Describe(a))
	}
	for _, t := range res.Transmits {
		got = append(got, t.String())
	}
	r := TestResult{Name: c.Name, OK: slices.Equal(got, c.Want)}
	if !r.OK {
		r.Diff = "wanted:\n  " + strings.Join(c.Want, "\n  ") + "\ngot:\n  " + strings.Join(got, "\n  ") + "\nbecause:\n" + reasons(res)
	}
	for _, why := range c.Why {
		if !slices.ContainsFunc(res.Decision.Findings, func(f hub.Finding) bool { return strings.Contains(f.Result+" "+f.Reason, why) }) {
			r.OK = false
			r.Diff += fmt.Sprintf("no finding says %q:\n%s", why, reasons(res))
		}
	}
	return r
}

func reasons(res *Result) string {
	var b strings.Builder
	for _, f := range res.Decision.Findings {
		who := f.Policy
		if f.Line != "" {
			who = "line " + f.Line
		}
		if f.Rule > 0 {
			who += fmt.Sprintf(" rule %d", f.Rule)
		}
		fmt.Fprintf(&b, "  %s: %s: %s\n", who, f.Result, f.Reason)
	}
	return b.String()
}
