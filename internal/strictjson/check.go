package strictjson

import (
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// Limits bound what Check accepts. The zero value is 256 KiB, depth 16, floats allowed.
type Limits struct {
	Bytes    int  // longest text in bytes; 0: DefaultBytes, negative: no limit
	Depth    int  // deepest nesting, the outermost array or object counting 1; 0: DefaultDepth
	NoFloats bool // refuse number tokens with '.', 'e' or 'E', even whole ones (receipts A8)
}

// Limits used where a Limits field is 0.
const (
	DefaultBytes = 256 << 10
	DefaultDepth = 16 // receipts A7
)

// The faults this package finds. Every error it returns wraps exactly one of them.
var (
	ErrSyntax    = errors.New("strictjson: not JSON")
	ErrDuplicate = errors.New("strictjson: repeated member name")
	ErrDepth     = errors.New("strictjson: nested too deeply")
	ErrSize      = errors.New("strictjson: too large")
	ErrText      = errors.New("strictjson: text is not clean Unicode") // bad UTF-8, lone surrogate, NUL
	ErrTrailing  = errors.New("strictjson: text after the value")
	ErrFloat     = errors.New("strictjson: value not allowed here")
	ErrType      = errors.New("strictjson: value of another type")
)

// rooms are for the names of the objects that a check has open.
var rooms = sync.Pool{New: func() any { return new([32][]byte) }}

// Check reports the first fault of one JSON text: size, UTF-8, grammar, repeated names at any depth
// (also when the repeat is spelled with escapes), depth, lone surrogates, NUL in strings, and anything
// after the value. It allocates only for names with escapes and for objects of many members.
func Check(data []byte, lim Limits) error {
	if lim.Bytes == 0 {
		lim.Bytes = DefaultBytes
	}
	if lim.Depth == 0 {
		lim.Depth = DefaultDepth
	}
	if lim.Bytes > 0 && len(data) > lim.Bytes {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrSize, len(data), lim.Bytes)
	}
	if !utf8.Valid(data) { // RFC 7519 §7.2: the message is UTF-8
		return fmt.Errorf("%w: invalid UTF-8", ErrText)
	}
	room := rooms.Get().(*[32][]byte)
	defer func() {
		clear(room[:]) // the names are the caller's
		rooms.Put(room)
	}()
	c := checker{data: data, depth: lim.Depth, noFloats: lim.NoFloats, names: room[:0]}
	c.space()
	if err := c.value(0); err != nil {
		return err
	}
	c.space()
	if c.pos != len(data) {
		return fmt.Errorf("%w at byte %d", ErrTrailing, c.pos)
	}
	return nil
}

// manyMembers is where an object's names move from a list to a map, so that checking stays linear.
const manyMembers = 24

type checker struct {
	data     []byte
	pos      int
	depth    int
	noFloats bool
	names    [][]byte // a stack: the names of the open objects, innermost last
}

func (c *checker) space() {
	for c.pos < len(c.data) {
		switch c.data[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

func (c *checker) syntax() error {
	if c.pos >= len(c.data) {
		return fmt.Errorf("%w: it ends early", ErrSyntax)
	}
	return fmt.Errorf("%w at byte %d", ErrSyntax, c.pos)
}

// value reads one value; depth is the number of containers open around it.
func (c *checker) value(depth int) error {
	if c.pos >= len(c.data) {
		return c.syntax()
	}
	switch b := c.data[c.pos]; {
	case b == '{':
		return c.object(depth + 1)
	case b == '[':
		return c.array(depth + 1)
	case b == '"':
		_, err := c.text()
		return err
	case b == '-' || isDigit(b):
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return c.syntax()
}

func (c *checker) word(w string) error {
	if len(c.data)-c.pos < len(w) || string(c.data[c.pos:c.pos+len(w)]) != w {
		return c.syntax()
	}
	c.pos += len(w)
	return nil
}

func (c *checker) object(depth int) error {
	if depth > c.depth {
		return fmt.Errorf("%w: more than %d levels", ErrDepth, c.depth)
	}
	c.pos++
	base := len(c.names)
	defer func() { c.names = c.names[:base] }()
	var many map[string]struct{}
	c.space()
	if c.pos < len(c.data) && c.data[c.pos] == '}' {
		c.pos++
		return nil
	}
	for {
		if c.pos >= len(c.data) || c.data[c.pos] != '"' {
			return c.syntax()
		}
		start := c.pos
		escaped, err := c.text()
		if err != nil {
			return err
		}
		name := c.data[start+1 : c.pos-1]
		if escaped {
			name = unescape(name)
		}
		if many == nil && len(c.names)-base >= manyMembers {
			many = make(map[string]struct{}, 2*manyMembers)
			for _, n := range c.names[base:] {
				many[string(n)] = struct{}{}
			}
		}
		if many != nil {
			if _, seen := many[string(name)]; seen {
				return duplicate(name)
			}
			many[string(name)] = struct{}{}
		} else {
			for _, n := range c.names[base:] {
				if string(n) == string(name) {
					return duplicate(name)
				}
			}
			c.names = append(c.names, name)
		}
		c.space()
		if c.pos >= len(c.data) || c.data[c.pos] != ':' {
			return c.syntax()
		}
		c.pos++
		c.space()
		if err := c.value(depth); err != nil {
			return err
		}
		if done, err := c.next('}'); done || err != nil {
			return err
		}
		c.space()
	}
}

func (c *checker) array(depth int) error {
	if depth > c.depth {
		return fmt.Errorf("%w: more than %d levels", ErrDepth, c.depth)
	}
	c.pos++
	c.space()
	if c.pos < len(c.data) && c.data[c.pos] == ']' {
		c.pos++
		return nil
	}
	for {
		if err := c.value(depth); err != nil {
			return err
		}
		if done, err := c.next(']'); done || err != nil {
			return err
		}
		c.space()
	}
}

// next reads a comma, or the end of the container.
func (c *checker) next(end byte) (done bool, err error) {
	c.space()
	if c.pos >= len(c.data) {
		return false, c.syntax()
	}
	switch c.data[c.pos] {
	case ',':
		c.pos++
		return false, nil
	case end:
		c.pos++
		return true, nil
	}
	return false, c.syntax()
}

// text reads a string with its quotes and says whether it holds escapes.
func (c *checker) text() (escaped bool, err error) {
	c.pos++
	for c.pos < len(c.data) {
		switch b := c.data[c.pos]; {
		case b == '"':
			c.pos++
			return escaped, nil
		case b == '\\':
			escaped = true
			if err := c.escape(); err != nil {
				return true, err
			}
		case b < 0x20:
			return escaped, c.syntax()
		default:
			c.pos++
		}
	}
	return escaped, c.syntax()
}

func (c *checker) escape() error {
	if c.pos+1 >= len(c.data) {
		c.pos = len(c.data)
		return c.syntax()
	}
	switch c.data[c.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.pos += 2
		return nil
	case 'u':
	default:
		return c.syntax()
	}
	u, ok := hex4(c.data, c.pos+2)
	if !ok {
		return c.syntax()
	}
	switch {
	case u == 0:
		return fmt.Errorf("%w: NUL at byte %d", ErrText, c.pos)
	case u >= 0xDC00 && u <= 0xDFFF:
		return fmt.Errorf("%w: lone surrogate at byte %d", ErrText, c.pos)
	case u >= 0xD800 && u <= 0xDBFF:
		if c.pos+7 >= len(c.data) || c.data[c.pos+6] != '\\' || c.data[c.pos+7] != 'u' {
			return fmt.Errorf("%w: lone surrogate at byte %d", ErrText, c.pos)
		}
		low, ok := hex4(c.data, c.pos+8)
		if !ok {
			return c.syntax()
		}
		if low < 0xDC00 || low > 0xDFFF {
			return fmt.Errorf("%w: lone surrogate at byte %d", ErrText, c.pos)
		}
		c.pos += 12
		return nil
	}
	c.pos += 6
	return nil
}

func (c *checker) number() error {
	start := c.pos
	if c.data[c.pos] == '-' {
		c.pos++
	}
	if c.pos >= len(c.data) || !isDigit(c.data[c.pos]) {
		return c.syntax()
	}
	if c.data[c.pos] == '0' {
		c.pos++
	} else {
		c.digits()
	}
	float := false
	if c.pos < len(c.data) && c.data[c.pos] == '.' {
		float = true
		c.pos++
		if !c.digits() {
			return c.syntax()
		}
	}
	if c.pos < len(c.data) && (c.data[c.pos] == 'e' || c.data[c.pos] == 'E') {
		float = true
		c.pos++
		if c.pos < len(c.data) && (c.data[c.pos] == '+' || c.data[c.pos] == '-') {
			c.pos++
		}
		if !c.digits() {
			return c.syntax()
		}
	}
	if float && c.noFloats {
		return fmt.Errorf("%w: number with a fraction or exponent at byte %d", ErrFloat, start)
	}
	return nil
}

// digits reads a run of digits and says whether there was one.
func (c *checker) digits() bool {
	start := c.pos
	for c.pos < len(c.data) && isDigit(c.data[c.pos]) {
		c.pos++
	}
	return c.pos > start
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func hex4(data []byte, at int) (rune, bool) {
	if at+4 > len(data) {
		return 0, false
	}
	var r rune
	for _, b := range data[at : at+4] {
		switch {
		case '0' <= b && b <= '9':
			r = r<<4 | rune(b-'0')
		case 'a' <= b && b <= 'f':
			r = r<<4 | rune(b-'a'+10)
		case 'A' <= b && b <= 'F':
			r = r<<4 | rune(b-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func duplicate(name []byte) error {
	const most = 64
	if len(name) > most {
		return fmt.Errorf("%w: %q…", ErrDuplicate, name[:most])
	}
	return fmt.Errorf("%w: %q", ErrDuplicate, name)
}
