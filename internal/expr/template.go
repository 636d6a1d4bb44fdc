package expr

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrUnsafe is wrapped by the errors of values that do not fit the place they would stand in. Nothing may
// be sent then.
var ErrUnsafe = errors.New("the value does not fit its place")

// Place is where an interpolated value will stand.
type Place int

// The places. The zero value is the strictest.
const (
	Path   Place = iota // one segment: no /, no empty, ".", ".."; percent-encoded
	Header              // no CR, LF, NUL or other control character
	Query               // raw here; net/url encodes the pair
	Form                // raw here; net/url encodes the pair
	InJSON              // raw here; encoding/json quotes the string. A text that is one ${…} keeps its type
	Plain               // no place of its own, such as an auth value before it is encoded
)

// Template is a text with ${…} in it. $${ stands for a literal ${. It is immutable.
type Template struct {
	parts []part
	place Place
	slash bool
}

type part struct {
	text string
	prog *Program
}

// Template compiles a text for a place. encodedSlash lets a path value hold a slash, encoded as %2F.
func (e *Env) Template(src string, place Place, encodedSlash bool) (*Template, error) {
	if len(src) > 4*MaxSource {
		return nil, ErrTooLong
	}
	t := &Template{place: place, slash: encodedSlash}
	for src != "" {
		i := strings.Index(src, "${")
		if i < 0 {
			t.text(src)
			break
		}
		if i > 0 && src[i-1] == '$' {
			t.text(src[:i-1] + "${")
			src = src[i+2:]
			continue
		}
		t.text(src[:i])
		end, err := closing(src[i+2:])
		if err != nil {
			return nil, err
		}
		prog, err := e.Compile(src[i+2 : i+2+end])
		if err != nil {
			return nil, fmt.Errorf("in ${%s}: %w", src[i+2:i+2+end], err)
		}
		t.parts = append(t.parts, part{prog: prog})
		src = src[i+2+end+1:]
	}
	return t, nil
}

func (t *Template) text(s string) {
	if s == "" {
		return
	}
	if n := len(t.parts); n > 0 && t.parts[n-1].prog == nil {
		t.parts[n-1].text += s
		return
	}
	t.parts = append(t.parts, part{text: s})
}

// closing finds the } that ends an expression, past braces and quoted text.
func closing(s string) (int, error) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\'':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i, nil
			}
			depth--
		}
	}
	return 0, errors.New("${ without its }")
}

// Text renders the template, each value escaped and checked for the place.
func (t *Template) Text(vars map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.prog == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.prog.Value(vars)
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", p.prog.src, err)
		}
		s, err := asText(v)
		if err == nil {
			s, err = t.fit(s)
		}
		if err != nil {
			return "", fmt.Errorf("${%s}: %w", p.prog.src, err)
		}
		b.WriteString(s)
	}
	out := b.String()
	if t.place == Path {
		// A segment put together from parts that are each harmless.
		for seg := range strings.SplitSeq(out, "/") {
			if seg == "." || seg == ".." {
				return "", fmt.Errorf("%w: a path segment is %q", ErrUnsafe, seg)
			}
		}
	}
	return out, nil
}

// Value renders a text inside a JSON body: one ${…} alone keeps its type.
func (t *Template) Value(vars map[string]any) (any, error) {
	if len(t.parts) == 1 && t.parts[0].prog != nil {
		return t.parts[0].prog.Value(vars)
	}
	return t.Text(vars)
}

func asText(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case bool:
		return strconv.FormatBool(x), nil
	case int64:
		return strconv.FormatInt(x, 10), nil
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64), nil
	case nil:
		return "", fmt.Errorf("%w: there is no value", ErrUnsafe)
	}
	return "", fmt.Errorf("%w: a list or a mapping is no text", ErrUnsafe)
}

func (t *Template) fit(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%w: it is not UTF-8", ErrUnsafe)
	}
	switch t.place {
	case Path:
		switch {
		case s == "":
			return "", fmt.Errorf("%w: a path segment is empty", ErrUnsafe)
		case s == "." || s == "..":
			return "", fmt.Errorf("%w: a path segment is %q", ErrUnsafe, s)
		case strings.ContainsFunc(s, unicode.IsControl):
			return "", fmt.Errorf("%w: a path segment holds a control character", ErrUnsafe)
		case strings.Contains(s, `\`):
			return "", fmt.Errorf("%w: a path segment holds a backslash", ErrUnsafe)
		case strings.Contains(s, "/") && !t.slash:
			return "", fmt.Errorf("%w: a path segment holds a slash, and the pack does not say slash: encoded", ErrUnsafe)
		}
		return url.PathEscape(s), nil
	case Header:
		if strings.ContainsFunc(s, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }) {
			return "", fmt.Errorf("%w: a header value holds a control character", ErrUnsafe)
		}
	}
	return s, nil
}
