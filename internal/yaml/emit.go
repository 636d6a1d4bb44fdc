package yaml

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decodeNode compares the document with v's type, with places, and then decodes its JSON.
func decodeNode(n *yaml.Node, v any, skip map[string]bool) error {
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer {
		return &Error{Msg: "the target is not a pointer"}
	}
	var b bytes.Buffer
	e := emitter{out: &b}
	if err := e.value(n, t.Elem(), 1, skip); err != nil {
		return err
	}
	if err := json.Unmarshal(b.Bytes(), v); err != nil {
		return at(n, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// emitter writes JSON while it compares each node with the type that it goes into.
type emitter struct{ out *bytes.Buffer }

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	raw         = reflect.TypeFor[json.RawMessage]()
)

// value writes one node. A nil type is free of form; skip are keys of the outermost mapping to leave out.
func (e *emitter) value(n *yaml.Node, t reflect.Type, depth int, skip map[string]bool) error {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	if t != nil && (t == raw || t.Kind() == reflect.Interface) {
		t = nil
	}
	if t != nil && (t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)) {
		from := e.out.Len()
		if err := e.value(n, nil, depth, nil); err != nil {
			return err
		}
		if err := json.Unmarshal(e.out.Bytes()[from:], reflect.New(t).Interface()); err != nil {
			return at(n, "%s", strings.TrimPrefix(err.Error(), "json: "))
		}
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return e.mapping(n, t, depth, skip)
	case yaml.SequenceNode:
		return e.list(n, t, depth)
	case yaml.ScalarNode:
		return e.scalar(n, t)
	}
	return at(n, "this cannot be read")
}

func (e *emitter) mapping(n *yaml.Node, t reflect.Type, depth int, skip map[string]bool) error {
	var fields map[string]reflect.Type
	var elem reflect.Type
	if t != nil {
		switch t.Kind() {
		case reflect.Struct:
			fields = fieldsOf(t)
		case reflect.Map:
			elem = t.Elem()
		case reflect.String:
			return at(n, "text is wanted here and YAML reads a mapping: put it between single quotes")
		default:
			return at(n, "%s is wanted here, not a mapping", wanted(t))
		}
	}
	e.out.WriteByte('{')
	first := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if skip[k.Value] {
			continue
		}
		ft := elem
		if fields != nil {
			var ok bool
			if ft, ok = fields[k.Value]; !ok {
				return at(k, "the key %s is not known here%s", k.Value, didYouMean(k.Value, fields))
			}
		}
		if !first {
			e.out.WriteByte(',')
		}
		first = false
		e.text(k.Value)
		e.out.WriteByte(':')
		if t != nil && v.Kind == yaml.ScalarNode && kindOf(v) == null {
			return at(k, "nothing is written after %s: give a value or remove the key", k.Value)
		}
		if err := e.value(v, ft, depth+1, nil); err != nil {
			return err
		}
	}
	e.out.WriteByte('}')
	return nil
}

func (e *emitter) list(n *yaml.Node, t reflect.Type, depth int) error {
	var elem reflect.Type
	if t != nil {
		switch t.Kind() {
		case reflect.Slice, reflect.Array:
			elem = t.Elem()
		case reflect.String:
			return at(n, "text is wanted here and YAML reads a list: put it between single quotes")
		default:
			return at(n, "%s is wanted here, not a list", wanted(t))
		}
	}
	e.out.WriteByte('[')
	for i, c := range n.Content {
		if i > 0 {
			e.out.WriteByte(',')
		}
		if err := e.value(c, elem, depth+1, nil); err != nil {
			return err
		}
	}
	e.out.WriteByte(']')
	return nil
}

func (e *emitter) scalar(n *yaml.Node, t reflect.Type) error {
	kind := kindOf(n)
	if t != nil {
		want := t.Kind()
		switch {
		case want == reflect.String && kind == null:
			return at(n, "text is wanted here, and nothing is written")
		case want == reflect.String && kind != text:
			return at(n, "%s is %s to YAML and text is wanted here: quote it", n.Value, kind)
		case want == reflect.Bool && kind != boolean:
			return at(n, "true or false is wanted here, not %q", n.Value)
		case want >= reflect.Int && want <= reflect.Uint64 && kind != integer:
			return at(n, "a whole number is wanted here, not %q", n.Value)
		case (want == reflect.Float32 || want == reflect.Float64) && kind != integer && kind != decimal:
			return at(n, "a number is wanted here, not %q", n.Value)
		case want == reflect.Slice || want == reflect.Array || want == reflect.Map || want == reflect.Struct:
			return at(n, "%s is wanted here, not %q", wanted(t), n.Value)
		}
	}
	switch kind {
	case text:
		if strings.ContainsRune(n.Value, 0) {
			return at(n, "text holds no NUL character")
		}
		e.text(n.Value)
	case null:
		e.out.WriteString("null")
	case boolean:
		e.out.WriteString(strings.ToLower(n.Value))
	default:
		s, err := number(n)
		if err != nil {
			return err
		}
		e.out.WriteString(s)
	}
	return nil
}

func (e *emitter) text(s string) {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.Encode(s)                   // a string always encodes
	e.out.Truncate(e.out.Len() - 1) // its newline
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	}
	return "a number"
}

// fieldsOf gives the JSON members of a struct with their types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		ft := f.Type
		if f.Anonymous && name == "" {
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				for k, v := range fieldsOf(ft) {
					if _, has := out[k]; !has {
						out[k] = v
					}
				}
				continue
			}
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		out[name] = ft
	}
	return out
}
