package expr

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// Limits of one expression.
const (
	MaxSource = 4096   // bytes of source
	MaxCost   = 200000 // units of CEL's cost model in one evaluation
)

// Kind is what a member or a variable holds.
type Kind int

// The kinds. Any is whatever came; absent it reads as "".
const (
	Any Kind = iota
	Text
	Int
	Float
	Bool
	List  // of anything
	Texts // list of text
	Map   // text to anything
	TextMap
	Time
)

func (k Kind) celType() *types.Type {
	switch k {
	case Text:
		return types.StringType
	case Int:
		return types.IntType
	case Float:
		return types.DoubleType
	case Bool:
		return types.BoolType
	case List:
		return types.NewListType(types.DynType)
	case Texts:
		return types.NewListType(types.StringType)
	case Map:
		return types.NewMapType(types.StringType, types.DynType)
	case TextMap:
		return types.NewMapType(types.StringType, types.StringType)
	case Time:
		return types.TimestampType
	}
	return types.DynType
}

func (k Kind) empty() any {
	switch k {
	case Int:
		return int64(0)
	case Float:
		return float64(0)
	case Bool:
		return false
	case List:
		return []any{}
	case Texts:
		return []string{}
	case Map:
		return map[string]any{}
	case TextMap:
		return map[string]string{}
	}
	return ""
}

// Shape names the members of an object. An Open shape takes any other name as well, as Any.
// Values of the object are map[string]any.
type Shape struct {
	Members map[string]Kind
	Open    bool
}

// Env is a set of names. It is immutable and safe for concurrent use.
type Env struct{ env *cel.Env }

const (
	objSignal   = "countersign.Signal"
	objEvent    = "countersign.Event"
	objIdentity = "countersign.Identity"
	objAction   = "countersign.Action"
	objID       = "countersign.ID"
	objWanted   = "countersign.Wanted"
	objPage     = "countersign.Page"
	objSettings = "countersign.Settings"
	objSecrets  = "countersign.Secrets"
)

func object(name string) *types.Type { return types.NewObjectType(name) }

// ForPolicy makes the names of policy conditions: signal with its typed event, identity, actions (those
// ordered and accepted), source and now.
func ForPolicy(event Shape) (*Env, error) {
	p := newProvider(map[string]Shape{
		objSignal: {Members: map[string]Kind{"type": Text, "name": Text, "issuer": Text, "txn": Text, "jti": Text, "subject": Map, "payload": Map}},
		objEvent:  event,
		objIdentity: {Members: map[string]Kind{"name": Text, "emails": Texts, "labels": Texts, "groups": Texts,
			"protect": Text, "known": Bool}},
		objAction: {Members: map[string]Kind{"action": Text, "reach": Text, "id": Text, "optional": Bool}},
	})
	p.nested[objSignal] = map[string]*types.Type{"event": object(objEvent)}
	return newEnv(p,
		cel.Variable("signal", object(objSignal)), cel.Variable("identity", object(objIdentity)),
		cel.Variable("actions", types.NewListType(object(objAction))), cel.Variable("source", types.StringType),
		cel.Variable("now", types.TimestampType))
}

// ForRules makes the names of a pack's outcome rules, guards, and found, sessions and proven expressions.
func ForRules(settings []string) (*Env, error) {
	p := newProvider(map[string]Shape{objID: {Members: map[string]Kind{"id": Text}}, objWanted: {Members: map[string]Kind{"email": Text}}, objSettings: texts(settings), objPage: page})
	return newEnv(p,
		cel.Variable("status", types.IntType), cel.Variable("headers", types.NewMapType(types.StringType, types.StringType)),
		cel.Variable("body", types.DynType), cel.Variable("account", object(objID)), cel.Variable("session", object(objID)),
		cel.Variable("sessions", types.NewListType(object(objID))), cel.Variable("settings", object(objSettings)),
		cel.Variable("wanted", object(objWanted)), cel.Variable("looked_up", types.BoolType), cel.Variable("page", object(objPage)))
}

// ForRequests makes the names of a pack's request templates. Secrets are known here and nowhere else.
func ForRequests(settings, secrets []string) (*Env, error) {
	p := newProvider(map[string]Shape{objID: {Members: map[string]Kind{"id": Text}}, objWanted: {Members: map[string]Kind{"email": Text}},
		objSettings: texts(settings), objSecrets: texts(secrets), objPage: page})
	return newEnv(p, cel.Variable("account", object(objID)), cel.Variable("session", object(objID)), cel.Variable("wanted", object(objWanted)),
		cel.Variable("settings", object(objSettings)), cel.Variable("secrets", object(objSecrets)),
		cel.Variable("page", object(objPage)))
}

// page is where a list goes on: what the page before said, and how many came before this one, from 1.
var page = Shape{Members: map[string]Kind{"next": Text, "number": Int}}

func texts(names []string) Shape {
	m := map[string]Kind{}
	for _, n := range names {
		m[n] = Text
	}
	return Shape{Members: m}
}

// base is the environment with the libraries; making it is the slow part.
var base = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(), cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxSource), cel.ParserRecursionLimit(64), cel.ExpressionNestingDepthLimit(64), cel.RegexProgramSizeLimit(1000),
		ext.Strings(ext.StringsVersion(4)), ext.Lists(ext.ListsMaxRangeSize(1000)))
})

func newEnv(p *provider, vars ...cel.EnvOption) (*Env, error) {
	b, err := base()
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	p.Provider = b.CELTypeProvider()
	e, err := b.Extend(append([]cel.EnvOption{cel.CustomTypeProvider(p)}, vars...)...)
	if err != nil {
		return nil, fmt.Errorf("expr: %w", err)
	}
	return &Env{env: e}, nil
}

// provider adds our objects to CEL's own types. An absent member reads as its kind's empty value.
type provider struct {
	types.Provider
	shapes map[string]Shape
	nested map[string]map[string]*types.Type
}

func newProvider(shapes map[string]Shape) *provider {
	return &provider{shapes: shapes, nested: map[string]map[string]*types.Type{}}
}

// FindStructType implements types.Provider.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.shapes[name]; ok {
		return types.NewTypeTypeWithParam(object(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if s, ok := p.shapes[name]; ok {
		return slices.Sorted(maps.Keys(s.Members)), true
	}
	return p.Provider.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	s, ok := p.shapes[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	if t, ok := p.nested[name][field]; ok {
		return fieldType(field, t, map[string]any{}), true
	}
	k, ok := s.Members[field]
	if !ok && !s.Open {
		return nil, false
	}
	return fieldType(field, k.celType(), k.empty()), true
}

// NewValue implements types.Provider: our objects are read and never made.
func (p *provider) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := p.shapes[name]; ok {
		return types.NewErr("an object of this kind cannot be made")
	}
	return p.Provider.NewValue(name, fields)
}

func fieldType(field string, t *types.Type, empty any) *types.FieldType {
	get := func(obj any) (any, bool) {
		switch m := obj.(type) {
		case map[string]any:
			v, ok := m[field]
			return v, ok && v != nil
		case map[string]string:
			v, ok := m[field]
			return v, ok
		}
		return nil, false
	}
	return &types.FieldType{
		Type:  t,
		IsSet: func(obj any) bool { _, ok := get(obj); return ok },
		GetFrom: func(obj any) (any, error) {
			if v, ok := get(obj); ok {
				return v, nil
			}
			return empty, nil
		},
	}
}

var undefinedField = regexp.MustCompile(`undefined field '([^']+)'`)

// explain gives the first of CEL's complaints with its column, and the names there are for a wrong one.
func (e *Env) explain(iss *cel.Issues) error {
	first := iss.Errors()[0]
	msg, _, _ := strings.Cut(first.Message, "\n")
	if m := undefinedField.FindStringSubmatch(msg); m != nil {
		if p, ok := e.env.CELTypeProvider().(*provider); ok {
			msg = "there is no member " + m[1] + " here"
			if names, _ := p.FindStructFieldNames(objEvent); p.shapes[objEvent].Members != nil {
				msg += "; the event has " + strings.Join(names, ", ")
			}
		}
	}
	return fmt.Errorf("column %d: %s", first.Location.Column()+1, msg)
}
