package receipt

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule is one schema of design §11 as code: it judges a decoded value (maps, slices, strings, json.Number,
// bool, nil) and names the member at fault, never its value.
type rule func(v any) error

// members are the properties of an object by exact name.
type members map[string]rule

// misfit is where and how a value breaks its schema. The path is put together on the way out, so that a
// value that fits costs none.
type misfit struct{ path, text string }

func (m *misfit) Error() string {
	if m.path == "" {
		return m.text
	}
	return strings.TrimPrefix(m.path, ".") + " " + m.text
}

func fault(format string, args ...any) error { return &misfit{text: fmt.Sprintf(format, args...)} }

// under puts a step in front of the path of a misfit.
func under(step string, err error) error {
	if m, ok := errors.AsType[*misfit](err); ok {
		m.path = step + m.path
	}
	return err
}

// obj is an object with required members; members it does not know are allowed (design §2).
func obj(required []string, props members, also ...func(o map[string]any) error) rule {
	names := sortedKeys(props)
	return func(v any) error {
		o, ok := v.(map[string]any)
		if !ok {
			return fault("is not an object")
		}
		for _, name := range required {
			if _, ok := o[name]; !ok {
				return fault("lacks %s", name)
			}
		}
		for _, name := range names {
			if m, ok := o[name]; ok {
				if err := props[name](m); err != nil {
					return under("."+name, err)
				}
			}
		}
		for _, f := range also {
			if err := f(o); err != nil {
				return err
			}
		}
		return nil
	}
}

// each is an object whose every member has one schema.
func each(lo, hi int, item rule) rule {
	return func(v any) error {
		o, ok := v.(map[string]any)
		if !ok {
			return fault("is not an object")
		}
		if len(o) < lo || hi > 0 && len(o) > hi {
			return fault("has %d members", len(o))
		}
		for _, m := range o {
			if err := item(m); err != nil {
				return under(".*", err)
			}
		}
		return nil
	}
}

// list is an array; hi 0 means no upper limit.
func list(lo, hi int, item rule) rule {
	return func(v any) error {
		a, ok := v.([]any)
		if !ok {
			return fault("is not an array")
		}
		if len(a) < lo || hi > 0 && len(a) > hi {
			return fault("has %d items", len(a))
		}
		for i, m := range a {
			if err := item(m); err != nil {
				return under(fmt.Sprintf("[%d]", i), err)
			}
		}
		return nil
	}
}

// str is a string of at most hi characters (0: no limit) that matches re (nil: any).
func str(hi int, re *regexp.Regexp) rule {
	return func(v any) error {
		s, ok := v.(string)
		switch {
		case !ok:
			return fault("is not a string")
		case hi > 0 && utf8.RuneCountInString(s) > hi:
			return fault("is longer than %d characters", hi)
		case re != nil && !re.MatchString(s):
			return fault("does not have the form of its member")
		}
		return nil
	}
}

// whole is an integer token within bounds; hi below lo means no upper bound. A number written with a point
// or an exponent is refused even where its value is whole (A8).
func whole(lo, hi int64) rule {
	return func(v any) error {
		n, ok := v.(json.Number)
		if !ok {
			return fault("is not an integer")
		}
		i, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil {
			return fault("is not an integer in range")
		}
		if i < lo || hi >= lo && i > hi {
			return fault("is out of range")
		}
		return nil
	}
}

func enum(words ...string) rule {
	return func(v any) error {
		if s, ok := v.(string); !ok || !slices.Contains(words, s) {
			return fault("is none of its words")
		}
		return nil
	}
}

func boolean(v any) error {
	if _, ok := v.(bool); !ok {
		return fault("is not true or false")
	}
	return nil
}

func isTrue(v any) error {
	if b, ok := v.(bool); !ok || !b {
		return fault("is not true")
	}
	return nil
}

func anyObject(v any) error {
	if _, ok := v.(map[string]any); !ok {
		return fault("is not an object")
	}
	return nil
}

// exactlyOne is oneOf.
func exactlyOne(rules ...rule) rule {
	return func(v any) error {
		n := 0
		for _, r := range rules {
			if r(v) == nil {
				n++
			}
		}
		if n != 1 {
			return fault("matches %d of its forms, not one", n)
		}
		return nil
	}
}
