package subject

import (
	"encoding/json"
	"errors"
)

// ErrInvalid is wrapped by every error of Parse.
var ErrInvalid = errors.New("subject: not a subject identifier")

type Identifier struct{}

func Parse(raw json.RawMessage) (Identifier, error)      { panic("subject") }
func (i Identifier) IsZero() bool                        { panic("subject") }
func (i Identifier) Format() string                      { panic("subject") }
func (i Identifier) Raw() json.RawMessage                { panic("subject") }
func (i Identifier) Get(member string) string            { panic("subject") }
func (i Identifier) Part(name string) (Identifier, bool) { panic("subject") }
func (i Identifier) Parts() []string                     { panic("subject") }
func (i Identifier) Aliases() []Identifier               { panic("subject") }
func (i Identifier) Canonical() string                   { panic("subject") }
func (i Identifier) Key() [16]byte                       { panic("subject") }
func (i Identifier) Email() (string, bool)               { panic("subject") }
func (i Identifier) IssSub() (iss, sub string, ok bool)  { panic("subject") }
func (i Identifier) Session() (Identifier, bool)         { panic("subject") }

func Match(a, b Identifier) bool     { panic("subject") }
func Identical(a, b Identifier) bool { panic("subject") }

func Email(address string) Identifier                { panic("subject") }
func IssSub(iss, sub string) Identifier              { panic("subject") }
func Opaque(id string) Identifier                    { panic("subject") }
func JWTID(iss, jti string) Identifier               { panic("subject") }
func Complex(parts map[string]Identifier) Identifier { panic("subject") }
