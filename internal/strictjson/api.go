package strictjson

import (
	"encoding/json"
	"errors"
)

// Limits bound what Check accepts. The zero value is 256 KiB, depth 16, floats allowed.
type Limits struct {
	Bytes    int  // longest text; 0: DefaultBytes, negative: no limit
	Depth    int  // deepest nesting, the outermost array or object counting 1; 0: DefaultDepth
	NoFloats bool // refuse number tokens with '.', 'e' or 'E' (receipts A8)
}

// Defaults of Limits.
const (
	DefaultBytes = 256 << 10
	DefaultDepth = 16
)

// What Check finds. Every error of this package wraps exactly one of them.
var (
	ErrSyntax    = errors.New("strictjson: not JSON")
	ErrDuplicate = errors.New("strictjson: repeated member name")
	ErrDepth     = errors.New("strictjson: nested too deeply")
	ErrSize      = errors.New("strictjson: too large")
	ErrText      = errors.New("strictjson: text is not clean Unicode")
	ErrTrailing  = errors.New("strictjson: text after the value")
	ErrFloat     = errors.New("strictjson: number not allowed here")
	ErrType      = errors.New("strictjson: value of another type")
)

// Member is one member of an object, its value untouched.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Check refuses what encoding/json lets pass.
func Check(data []byte, lim Limits) error { panic("strictjson") }

// Unmarshal checks and decodes, names compared exactly.
func Unmarshal(data []byte, v any) error { panic("strictjson") }

// Object lists the members of an object in order.
func Object(data []byte) ([]Member, error) { panic("strictjson") }

// JCS gives the RFC 8785 form.
func JCS(data []byte) ([]byte, error) { panic("strictjson") }
