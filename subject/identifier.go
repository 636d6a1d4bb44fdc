package subject

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"countersign/internal/strictjson"
)

// ErrInvalid is wrapped by every error of Parse.
var ErrInvalid = errors.New("subject: not a subject identifier")

// Names of formats.
const (
	FormatAccount     = "account"
	FormatEmail       = "email"
	FormatIssSub      = "iss_sub"
	FormatOpaque      = "opaque"
	FormatPhone       = "phone_number"
	FormatDID         = "did"
	FormatURI         = "uri"
	FormatAliases     = "aliases"
	FormatJWTID       = "jwt_id"            // SSF 1.0 §3.5.1
	FormatSAML        = "saml_assertion_id" // SSF 1.0 §3.5.2
	FormatIPAddresses = "ip-addresses"      // SSF 1.0 §3.5.3
	FormatSCIM        = "scim"              // RFC 9967 §2.1
	FormatComplex     = "complex"           // SSF 1.0 §3.3
)

// Names of the members of a complex subject (SSF 1.0 §3.3). Others are allowed.
const (
	PartUser        = "user"
	PartDevice      = "device"
	PartSession     = "session"
	PartApplication = "application"
	PartTenant      = "tenant"
	PartOrgUnit     = "org_unit"
	PartGroup       = "group"
)

var partNames = []string{PartUser, PartDevice, PartSession, PartApplication, PartTenant, PartOrgUnit, PartGroup}

// Identifier is a valid Subject Identifier. The zero Identifier names nobody, matches nothing, and is
// what constructors give for values that make no valid one. It is not changed after it is made and safe
// for concurrent use.
type Identifier struct {
	format    string
	raw       json.RawMessage
	canonical string
	text      []field // string members
	parts     []part  // complex
	aliases   []Identifier
	addresses []string // ip-addresses
	older     bool     // given in the form of an older draft
	loose     bool     // has members that its format does not describe
}

type field struct{ name, value string }

type part struct {
	name string
	id   Identifier
}

// IsZero reports whether i names nobody.
func (i Identifier) IsZero() bool { return i.format == "" }

// Format is the name of the format, "complex" for complex subjects; in today's spelling.
func (i Identifier) Format() string { return i.format }

// Raw is the identifier as it was given to Parse; do not change it.
func (i Identifier) Raw() json.RawMessage { return i.raw }

// Emit is the identifier as it may be sent to an SSF 1.0 receiver: Raw, or Canonical where Raw has the form
// of an older draft (SUB-26); in both without members that the format does not describe (SUB-3).
func (i Identifier) Emit() json.RawMessage {
	switch {
	case i.loose:
		return i.strict()
	case i.older:
		return json.RawMessage(i.canonical)
	}
	return i.raw
}

// described lists the members of the formats that describe all they have. A SCIM subject may carry more attributes, and the
// members of a format agreed between parties are theirs.
var described = map[string][]string{
	FormatAccount: {"uri"}, FormatEmail: {"email"}, FormatIssSub: {"iss", "sub"}, FormatOpaque: {"id"}, FormatPhone: {"phone_number"},
	FormatDID: {"url"}, FormatURI: {"uri"}, FormatJWTID: {"iss", "jti"}, FormatSAML: {"issuer", "assertion_id"},
	FormatIPAddresses: {"ip-addresses"}, FormatAliases: {"identifiers"},
}

// strict writes the identifier with the members that its format describes, in the order in which it has them.
func (i Identifier) strict() json.RawMessage {
	out := strictjson.AppendString([]byte(`{"format":`), i.format)
	put := func(name string, value []byte) {
		out = append(strictjson.AppendString(append(out, ','), name), ':')
		out = append(out, value...)
	}
	switch i.format {
	case FormatComplex:
		for _, p := range i.parts {
			put(p.name, p.id.Emit())
		}
	case FormatAliases:
		list := []byte{'['}
		for n, a := range i.aliases {
			if n > 0 {
				list = append(list, ',')
			}
			list = append(list, a.Emit()...)
		}
		put("identifiers", append(list, ']'))
	case FormatIPAddresses:
		list := []byte{'['}
		for n, a := range i.addresses {
			if n > 0 {
				list = append(list, ',')
			}
			list = strictjson.AppendString(list, a)
		}
		put("ip-addresses", append(list, ']'))
	default:
		for _, name := range described[i.format] {
			put(name, strictjson.AppendString(nil, i.Get(name)))
		}
	}
	return append(out, '}')
}

// Equal is Identical, with two zero Identifiers equal as well; go-cmp uses it.
func (i Identifier) Equal(other Identifier) bool { return i.canonical == other.canonical }

// Get gives a member that is a string, such as "email", "sub" or "externalId"; empty when there is none.
// A phone number comes as '+' and digits.
func (i Identifier) Get(member string) string {
	for _, f := range i.text {
		if f.name == member {
			return f.value
		}
	}
	return ""
}

// Part gives a member of a complex subject, such as "user" or "session".
func (i Identifier) Part(name string) (Identifier, bool) {
	for _, p := range i.parts {
		if p.name == name {
			return p.id, true
		}
	}
	return Identifier{}, false
}

// Parts lists the names of the members of a complex subject in the order they were given.
func (i Identifier) Parts() []string {
	names := make([]string, 0, len(i.parts))
	for _, p := range i.parts {
		names = append(names, p.name)
	}
	return names
}

// Aliases lists the identifiers of format "aliases"; nil for other formats.
func (i Identifier) Aliases() []Identifier { return i.aliases }

// Addresses lists the addresses of format "ip-addresses" as given; nil for other formats.
func (i Identifier) Addresses() []string { return i.addresses }

// Canonical is the one spelling of the identifier: JSON with sorted members, today's format name, and
// phone numbers as '+' and digits, aliases in sorted order; all else, undeclared members included, is
// literal (SUB-37). Equal subjects have equal forms, whatever the order and spacing of their JSON.
func (i Identifier) Canonical() string { return i.canonical }

// Key is a short name for the subject: the first half of the SHA-256 of Canonical. It is no secret and no
// pseudonym: whoever knows the subject can compute it.
func (i Identifier) Key() (key [16]byte) {
	sum := sha256.Sum256([]byte(i.canonical))
	copy(key[:], sum[:])
	return key
}

// User is the identifier of the person or account: the user member of a complex subject, else i itself.
// ok is false for a complex subject without a user.
func (i Identifier) User() (user Identifier, ok bool) {
	if i.format == FormatComplex {
		return i.Part(PartUser)
	}
	return i, !i.IsZero()
}

// Email is the canonical e-mail address of the user, for correlation, if one is given; see CanonicalEmail.
// Of aliases it is the first one.
func (i Identifier) Email() (address string, ok bool) {
	user, ok := i.User()
	if !ok {
		return "", false
	}
	for _, id := range append([]Identifier{user}, user.aliases...) {
		if id.format == FormatEmail {
			return CanonicalEmail(id.Get("email")), true
		}
	}
	return "", false
}

// IssSub is the issuer and subject of the user, if they are given. Of aliases it is the first pair. The
// issuer may be another than the one of the SET (RFC 9493 §4.2).
func (i Identifier) IssSub() (iss, sub string, ok bool) {
	user, ok := i.User()
	if !ok {
		return "", "", false
	}
	for _, id := range append([]Identifier{user}, user.aliases...) {
		if id.format == FormatIssSub {
			return id.Get("iss"), id.Get("sub"), true
		}
	}
	return "", "", false
}

// Session is the session member of a complex subject.
func (i Identifier) Session() (Identifier, bool) { return i.Part(PartSession) }

// CanonicalEmail is the spelling in which e-mail addresses are compared for correlation: ASCII letters in
// lower case, local part included, as every mail system in practice treats them. Other letters stay: their
// case mappings make different addresses equal.
func CanonicalEmail(address string) string {
	lower := []byte(address)
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	return string(lower)
}

// String tells the format and nothing of the person.
func (i Identifier) String() string {
	if i.IsZero() {
		return "no subject"
	}
	return i.format + " subject"
}

// GoString is String: the %#v of a struct that holds a subject shall not show it either.
func (i Identifier) GoString() string { return i.String() }

// LogValue keeps subjects out of logs.
func (i Identifier) LogValue() slog.Value { return slog.StringValue(i.String()) }

// MarshalJSON writes Raw, null for the zero Identifier.
func (i Identifier) MarshalJSON() ([]byte, error) {
	if i.IsZero() {
		return []byte("null"), nil
	}
	return i.raw, nil
}

// UnmarshalJSON is Parse; null gives the zero Identifier.
func (i *Identifier) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*i = Identifier{}
		return nil
	}
	parsed, err := Parse(append(json.RawMessage(nil), data...))
	if err != nil {
		return err
	}
	*i = parsed
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// made is what constructors return: the parsed form, or the zero Identifier.
func made(raw []byte) Identifier {
	id, err := Parse(raw)
	if err != nil {
		return Identifier{}
	}
	return id
}

func simple(format string, members ...field) Identifier {
	out := strictjson.AppendString([]byte(`{"format":`), format)
	for _, m := range members {
		out = append(strictjson.AppendString(append(out, ','), m.name), ':')
		out = strictjson.AppendString(out, m.value)
	}
	return made(append(out, '}'))
}
