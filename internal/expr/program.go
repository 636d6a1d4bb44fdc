package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// ErrTooLong is the compile error of a source longer than MaxSource.
var ErrTooLong = errors.New("the expression is too long")

// Program is one compiled expression. It is immutable and safe for concurrent use.
type Program struct {
	prog cel.Program
	kind *types.Type
	src  string
}

// Compile checks and compiles an expression.
func (e *Env) Compile(src string) (*Program, error) {
	if len(src) > MaxSource {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLong, len(src), MaxSource)
	}
	ast, iss := e.env.Compile(src)
	if iss.Err() != nil {
		return nil, e.explain(iss)
	}
	prog, err := e.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost))
	if err != nil {
		return nil, err
	}
	return &Program{prog: prog, kind: ast.OutputType(), src: src}, nil
}

// Condition compiles an expression that gives true or false.
func (e *Env) Condition(src string) (*Program, error) {
	p, err := e.Compile(src)
	if err != nil {
		return nil, err
	}
	if k := p.kind.Kind(); k != types.BoolKind && k != types.DynKind {
		return nil, fmt.Errorf("the expression gives %s; true or false is wanted", p.kind)
	}
	return p, nil
}

// Source is the expression as written.
func (p *Program) Source() string { return p.src }

// Bool evaluates a condition.
func (p *Program) Bool(vars map[string]any) (bool, error) {
	v, err := p.eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression gives %s; true or false is wanted", v.Type().TypeName())
	}
	return bool(b), nil
}

// Value evaluates an expression to nil, bool, int64, float64, string, []any or map[string]any.
func (p *Program) Value(vars map[string]any) (any, error) {
	v, err := p.eval(vars)
	if err != nil {
		return nil, err
	}
	return plain(v, 0)
}

func (p *Program) eval(vars map[string]any) (ref.Val, error) {
	v, _, err := p.prog.Eval(vars)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func plain(v ref.Val, depth int) (any, error) {
	if depth > 32 {
		return nil, errors.New("the value is nested too deep")
	}
	switch x := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(x), nil
	case types.Int:
		return int64(x), nil
	case types.Uint:
		return float64(x), nil
	case types.Double:
		return float64(x), nil
	case types.String:
		return string(x), nil
	case types.Timestamp:
		return x.Time.UTC().Format(time.RFC3339), nil
	case *types.Optional:
		if !x.HasValue() {
			return nil, nil
		}
		return plain(x.GetValue(), depth+1)
	case traits.Mapper:
		out := map[string]any{}
		for it := x.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			name, ok := k.(types.String)
			if !ok {
				return nil, errors.New("a key is not text")
			}
			val, err := plain(x.Get(k), depth+1)
			if err != nil {
				return nil, err
			}
			out[string(name)] = val
		}
		return out, nil
	case traits.Lister:
		out := []any{}
		for it := x.Iterator(); it.HasNext() == types.True; {
			val, err := plain(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, val)
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %s has no plain value", v.Type().TypeName())
}

// JSON decodes a document for use as a variable: whole numbers are int64, others float64.
// The document has passed internal/strictjson before.
func JSON(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch x := v.(type) {
	case json.Number:
		if i, err := x.Int64(); err == nil {
			return i
		}
		f, _ := x.Float64()
		return f
	case []any:
		for i := range x {
			x[i] = numbers(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = numbers(x[k])
		}
	}
	return v
}
