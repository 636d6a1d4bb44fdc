package receipt

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// rule is one schema of design §11 as code: it judges a decoded value (maps, slices, strings, json.Number,
// bool, nil) and names the member at fault, never its value.
type rule func(path string, v any) error

// members are the properties of an object by exact name.
type members map[string]rule

func fault(path, format string, args ...any) error {
	return fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))
}

// obj is an object with required members; members it does not know are allowed (design §2).
func obj(required []string, props members, also ...func(path string, o map[string]any) error) rule {
	return func(path string, v any) error {
		o, ok := v.(map[string]any)
		if !ok {
			return fault(path, "is not an object")
		}
		for _, name := range required {
			if _, ok := o[name]; !ok {
				return fault(path, "lacks %s", name)
			}
		}
		for _, name := range sortedKeys(props) {
			if m, ok := o[name]; ok {
				if err := props[name](path+"."+name, m); err != nil {
					return err
				}
			}
		}
		for _, f := range also {
			if err := f(path, o); err != nil {
				return err
			}
		}
		return nil
	}
}

// each is an object whose every member has one schema.
func each(lo, hi int, item rule) rule {
	return func(path string, v any) error {
		o, ok := v.(map[string]any)
		if !ok {
			return fault(path, "is not an object")
		}
		if len(o) < lo || hi > 0 && len(o) > hi {
			return fault(path, "has %d members", len(o))
		}
		for _, m := range o {
			if err := item(path+".*", m); err != nil {
				return err
			}
		}
		return nil
	}
}

// list is an array; hi 0 means no upper limit.
func list(lo, hi int, item rule) rule {
	return func(path string, v any) error {
		a, ok := v.([]any)
		if !ok {
			return fault(path, "is not an array")
		}
		if len(a) < lo || hi > 0 && len(a) > hi {
			return fault(path, "has %d items", len(a))
		}
		for i, m := range a {
			if err := item(fmt.Sprintf("%s[%d]", path, i), m); err != nil {
				return err
			}
		}
		return nil
	}
}

// str is a string of at most hi characters (0: no limit) that matches re (nil: any).
func str(hi int, re *regexp.Regexp) rule {
	return func(path string, v any) error {
		s, ok := v.(string)
		switch {
		case !ok:
			return fault(path, "is not a string")
		case hi > 0 && utf8.RuneCountInString(s) > hi:
			return fault(path, "is longer than %d characters", hi)
		case re != nil && !re.MatchString(s):
			return fault(path, "does not have the form of its member")
		}
		return nil
	}
}

// whole is an integer token within bounds; hi below lo means no upper bound. A number written with a point
// or an exponent is refused even where its value is whole (A8).
func whole(lo, hi int64) rule {
	return func(path string, v any) error {
		n, ok := v.(json.Number)
		if !ok {
			return fault(path, "is not an integer")
		}
		i, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil {
			return fault(path, "is not an integer in range")
		}
		if i < lo || hi >= lo && i > hi {
			return fault(path, "is out of range")
		}
		return nil
	}
}

func enum(words ...string) rule {
	return func(path string, v any) error {
		if s, ok := v.(string); !ok || !slices.Contains(words, s) {
			return fault(path, "is none of its words")
		}
		return nil
	}
}

func boolean(path string, v any) error {
	if _, ok := v.(bool); !ok {
		return fault(path, "is not true or false")
	}
	return nil
}

func isTrue(path string, v any) error {
	if b, ok := v.(bool); !ok || !b {
		return fault(path, "is not true")
	}
	return nil
}

func anyObject(path string, v any) error {
	if _, ok := v.(map[string]any); !ok {
		return fault(path, "is not an object")
	}
	return nil
}

// exactlyOne is oneOf.
func exactlyOne(rules ...rule) rule {
	return func(path string, v any) error {
		n := 0
		for _, r := range rules {
			if r(path, v) == nil {
				n++
			}
		}
		if n != 1 {
			return fault(path, "matches %d of its forms, not one", n)
		}
		return nil
	}
}
