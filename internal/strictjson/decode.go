package strictjson

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// TypeError says which member holds a value of another type than the program wants. It is an ErrType.
type TypeError struct {
	Path string // member names joined by '.', indices in brackets; empty: the value itself
	Want string
	Got  string
}

func (e *TypeError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%v: want %s, got %s", ErrType, e.Want, e.Got)
	}
	return fmt.Sprintf("%v: %s: want %s, got %s", ErrType, e.Path, e.Want, e.Got)
}

// Unwrap makes errors.Is(err, ErrType) true.
func (e *TypeError) Unwrap() error { return ErrType }

// Unmarshal checks data with the default limits and decodes it into v, which must be a pointer that is
// not nil. It follows the struct tags and conversions of encoding/json with one difference: a member
// fills a field only if its name is exactly the field's. Members without a field are ignored
// (SSF 1.0 §4.2.3). The option ",string" is not supported.
func Unmarshal(data []byte, v any) error {
	if err := Check(data, Limits{}); err != nil {
		return err
	}
	return Decode(data, v)
}

// Decode is Unmarshal for bytes that Check has already passed.
func Decode(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%w: decode into %T", ErrType, v)
	}
	s := scanner{data: data}
	err := decode(s.next(), target.Elem())
	if te, ok := errors.AsType[*TypeError](err); ok {
		te.Path = strings.TrimPrefix(te.Path, ".")
	}
	return err
}

var (
	rawType    = reflect.TypeFor[json.RawMessage]()
	numberType = reflect.TypeFor[json.Number]()
	jsonType   = reflect.TypeFor[json.Unmarshaler]()
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decode fills v from the bytes of one value.
func decode(data json.RawMessage, v reflect.Value) error {
	t := v.Type()
	if t == rawType {
		v.SetBytes(append([]byte(nil), data...))
		return nil
	}
	isNull := data[0] == 'n'
	if t.Kind() == reflect.Pointer {
		if isNull {
			v.SetZero()
			return nil
		}
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		return decode(data, v.Elem())
	}
	if reflect.PointerTo(t).Implements(jsonType) {
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(data); err != nil {
			if errors.Is(err, ErrType) {
				return err
			}
			return fmt.Errorf("%w: %w", ErrType, err)
		}
		return nil
	}
	if isNull {
		switch t.Kind() {
		case reflect.Map, reflect.Slice, reflect.Interface:
			v.SetZero()
		}
		return nil
	}
	if data[0] == '"' && t != numberType && reflect.PointerTo(t).Implements(textType) {
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(unquote(data))); err != nil {
			return fmt.Errorf("%w: %w", ErrType, err)
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return decodeStruct(data, v)
	case reflect.Map:
		return decodeMap(data, v)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return decodeOther(data, v, "base64 text")
		}
		return decodeSlice(data, v)
	case reflect.String:
		if t == numberType && data[0] != '"' {
			return decodeOther(data, v, "a number")
		}
		if data[0] != '"' {
			return &TypeError{Want: "a string", Got: kindOf(data)}
		}
		v.SetString(unquote(data))
		return nil
	case reflect.Bool:
		if data[0] != 't' && data[0] != 'f' {
			return &TypeError{Want: "a boolean", Got: kindOf(data)}
		}
		v.SetBool(data[0] == 't')
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil || v.OverflowInt(n) {
			return &TypeError{Want: "a whole number", Got: numberKind(data)}
		}
		v.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(string(data), 10, 64)
		if err != nil || v.OverflowUint(n) {
			return &TypeError{Want: "a whole number, 0 or more", Got: numberKind(data)}
		}
		v.SetUint(n)
		return nil
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(string(data), t.Bits())
		if err != nil {
			return &TypeError{Want: "a number", Got: numberKind(data)}
		}
		v.SetFloat(f)
		return nil
	}
	return decodeOther(data, v, "another value")
}

// decodeOther leaves kinds without member names of their own to encoding/json.
func decodeOther(data []byte, v reflect.Value, want string) error {
	if err := json.Unmarshal(data, v.Addr().Interface()); err != nil {
		return &TypeError{Want: want, Got: numberKind(data)}
	}
	return nil
}

func numberKind(data []byte) string {
	if kind := kindOf(data); kind != "a number" || len(data) > 32 {
		return kind
	}
	return string(data)
}

func decodeStruct(data []byte, v reflect.Value) error {
	if data[0] != '{' {
		return &TypeError{Want: "an object", Got: kindOf(data)}
	}
	fields := fieldsOf(v.Type())
	s := scanner{data: data}
	return s.object(func(name []byte, value json.RawMessage) error {
		index, ok := fields[string(name)]
		if !ok {
			return nil
		}
		field := v
		for i, at := range index {
			if i > 0 && field.Kind() == reflect.Pointer {
				if field.IsNil() {
					field.Set(reflect.New(field.Type().Elem()))
				}
				field = field.Elem()
			}
			field = field.Field(at)
		}
		return under("."+string(name), decode(value, field))
	})
}

func decodeMap(data []byte, v reflect.Value) error {
	if data[0] != '{' {
		return &TypeError{Want: "an object", Got: kindOf(data)}
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		return decodeOther(data, v, "an object")
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	s := scanner{data: data}
	return s.object(func(name []byte, value json.RawMessage) error {
		element := reflect.New(t.Elem()).Elem()
		if err := decode(value, element); err != nil {
			return under("."+string(name), err)
		}
		v.SetMapIndex(reflect.ValueOf(string(name)).Convert(t.Key()), element)
		return nil
	})
}

func decodeSlice(data []byte, v reflect.Value) error {
	if data[0] != '[' {
		return &TypeError{Want: "an array", Got: kindOf(data)}
	}
	t := v.Type()
	out := reflect.MakeSlice(t, 0, 4)
	s := scanner{data: data}
	err := s.array(func(value json.RawMessage) error {
		element := reflect.New(t.Elem()).Elem()
		if err := decode(value, element); err != nil {
			return under("["+strconv.Itoa(out.Len())+"]", err)
		}
		out = reflect.Append(out, element)
		return nil
	})
	if err == nil {
		v.Set(out)
	}
	return err
}

// under puts a step in front of the path of a TypeError; other errors get the step as text.
func under(step string, err error) error {
	if err == nil {
		return nil
	}
	if te, ok := errors.AsType[*TypeError](err); ok {
		if te.Path != "" && te.Path[0] != '.' && te.Path[0] != '[' {
			te.Path = "." + te.Path // it comes from an UnmarshalJSON that used this package
		}
		te.Path = step + te.Path
		return err
	}
	return fmt.Errorf("%s: %w", strings.TrimPrefix(step, "."), err)
}

var fieldCache sync.Map // reflect.Type → map[string][]int

// fieldsOf maps member names to field indices; a field of an embedded struct gives way to one further out.
func fieldsOf(t reflect.Type) map[string][]int {
	if known, ok := fieldCache.Load(t); ok {
		return known.(map[string][]int)
	}
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		if tag == "-" || !reachable(t, f.Index) {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" {
			if e := f.Type; e.Kind() == reflect.Struct || e.Kind() == reflect.Pointer && e.Elem().Kind() == reflect.Struct {
				continue // its fields are visible themselves
			}
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if known, ok := fields[name]; !ok || len(f.Index) < len(known) {
			fields[name] = f.Index
		}
	}
	fieldCache.Store(t, fields)
	return fields
}

// reachable is false for fields inside an embedded struct that has a member name of its own or is hidden.
func reachable(t reflect.Type, index []int) bool {
	for i := 1; i < len(index); i++ {
		outer := t.FieldByIndex(index[:i])
		if name, _, _ := strings.Cut(outer.Tag.Get("json"), ","); name != "" {
			return false
		}
		if outer.Type.Kind() == reflect.Pointer && !outer.IsExported() {
			return false
		}
	}
	return true
}
