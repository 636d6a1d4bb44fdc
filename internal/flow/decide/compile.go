package decide

import (
	"cmp"
	"fmt"
	"slices"

	"countersign/event"
	"countersign/internal/expr"
	"countersign/internal/hub"
)

// Compiled is one policy, checked and ready. It is immutable and safe for concurrent use.
type Compiled struct {
	Policy  hub.Policy
	Version int64

	types map[string]bool // event type URIs
	when  *expr.Program   // nil: always
	rules []*expr.Program // when of each rule; nil: always
	// transmits is the event type URI of each rule that transmits; empty for the others.
	transmits []string
}

// Fault is what is wrong with a policy, and where: a path such as then[0].when, for yaml.Doc.Errorf.
type Fault struct{ Path, Msg string }

// Error gives the path and the message.
func (f *Fault) Error() string { return f.Path + ": " + f.Msg }

// Compile checks a policy against the event types and compiles its conditions. The words of the policy
// (actions, scopes, modes) were checked by internal/resource. Its errors are *Fault.
func Compile(p hub.Policy, version int64, types *event.Registry) (*Compiled, error) {
	c := &Compiled{Policy: p, Version: version, types: map[string]bool{}}
	fault := func(path, format string, args ...any) error { return &Fault{path, fmt.Sprintf(format, args...)} }
	if len(p.On) == 0 {
		return nil, fault("on", "a policy names the event types that it is about")
	}
	shape := expr.Shape{Members: map[string]expr.Kind{}}
	for i, name := range p.On {
		t, ok := types.Resolve(name)
		switch {
		case !ok:
			return nil, fault(fmt.Sprintf("on[%d]", i), "there is no event type %s; `countersign event types` lists them", name)
		case t.StreamLevel:
			return nil, fault(fmt.Sprintf("on[%d]", i), "%s is about the stream itself and about no person", name)
		}
		c.types[t.URI] = true
		shapeOf(t, &shape)
	}
	env, err := expr.ForPolicy(shape)
	if err != nil {
		return nil, err
	}
	if p.When != "" {
		if c.when, err = env.Condition(p.When); err != nil {
			return nil, fault("when", "%v", err)
		}
	}
	if len(p.Then) == 0 {
		return nil, fault("then", "a policy has rules")
	}
	for i, r := range p.Then {
		at := fmt.Sprintf("then[%d]", i)
		if dangerous(r.Action) && len(p.From) == 0 {
			return nil, fault(at, "a policy that uses %s names the sources it listens to: add from", r.Action)
		}
		if r.Action != "" && r.At.Empty() && r.Scope != "everywhere" && !local(r.Action) {
			return nil, fault(at, "%s says where: at: all, or a list of apps", r.Action)
		}
		uri := ""
		if r.Transmit != "" {
			var why string
			if uri, why = c.checkTransmit(r, types); why != "" {
				return nil, fault(at+".transmit", "%s", why)
			}
		}
		c.transmits = append(c.transmits, uri)
		var prog *expr.Program
		if r.When != "" {
			if prog, err = env.Condition(r.When); err != nil {
				return nil, fault(at+".when", "%v", err)
			}
		}
		c.rules = append(c.rules, prog)
	}
	return c, nil
}

// dangerous actions take an account away; a policy that uses them names its sources.
func dangerous(action string) bool {
	return action == hub.DisableAccount || action == hub.DeleteAccount || action == hub.RevokeCredential
}

// local actions are done by the hub itself.
func local(action string) bool { return action == hub.Record || action == hub.ReevaluateAccess }

// Set is all policies of a tenant in their order. It is immutable and safe for concurrent use.
type Set struct{ policies []*Compiled }

// NewSet orders compiled policies: by order, then by name.
func NewSet(policies ...*Compiled) *Set {
	s := &Set{policies: slices.Clone(policies)}
	slices.SortStableFunc(s.policies, func(a, b *Compiled) int {
		return cmp.Or(cmp.Compare(a.Policy.Order, b.Policy.Order), cmp.Compare(a.Policy.Name, b.Policy.Name))
	})
	return s
}

func (c *Compiled) enforces() bool { return c.Policy.Mode == "" || c.Policy.Mode == "enforce" }

func (c *Compiled) listens(source string) bool {
	return len(c.Policy.From) == 0 || slices.Contains(c.Policy.From, source)
}
