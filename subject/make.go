package subject

import (
	"slices"
	"strings"

	"countersign/internal/strictjson"
)

// Email makes an email subject. The address is taken literally. Like all constructors it gives the zero
// Identifier for a value that makes no valid subject.
func Email(address string) Identifier { return simple(FormatEmail, field{"email", address}) }

// IssSub makes an iss_sub subject.
func IssSub(iss, sub string) Identifier {
	return simple(FormatIssSub, field{"iss", iss}, field{"sub", sub})
}

// Opaque makes an opaque subject; streams name themselves so (SSF 1.0 §8.1.4.1).
func Opaque(id string) Identifier { return simple(FormatOpaque, field{"id", id}) }

// JWTID makes a jwt_id subject: it names a token, as receipts name their order (receipts §5.1).
func JWTID(iss, jti string) Identifier {
	return simple(FormatJWTID, field{"iss", iss}, field{"jti", jti})
}

// Account makes an account subject from an acct URI.
func Account(uri string) Identifier { return simple(FormatAccount, field{"uri", uri}) }

// Phone makes a phone_number subject: '+' and digits, whatever else stood between them (SUB-16).
func Phone(number string) Identifier {
	return made(simple(FormatPhone, field{"phone_number", number}).Emit())
}

// SCIM makes a scim subject from a path below the SCIM base URI and an externalId, which may be empty.
func SCIM(uri, externalID string) Identifier {
	if externalID == "" {
		return simple(FormatSCIM, field{"uri", uri})
	}
	return simple(FormatSCIM, field{"uri", uri}, field{"externalId", externalID})
}

// Aliases makes an aliases subject of simple subjects that all name the same one. Exact repeats are left
// out (RFC 9493 §3.2.8).
func Aliases(ids ...Identifier) Identifier {
	out := []byte(`{"format":"aliases","identifiers":[`)
	for i, id := range ids {
		if slices.ContainsFunc(ids[:i], func(other Identifier) bool { return Identical(id, other) }) {
			continue
		}
		if i > 0 {
			out = append(out, ',')
		}
		if id.IsZero() {
			return Identifier{}
		}
		out = append(out, id.Emit()...)
	}
	return made(append(out, "]}"...))
}

// Complex makes a complex subject of simple ones: the names of SSF first, then others by name. A part that
// is complex itself, or zero, makes no valid subject (SUB-30).
func Complex(parts map[string]Identifier) Identifier {
	names := make([]string, 0, len(parts))
	for name, id := range parts {
		if name == "format" || name == "" || id.IsZero() || id.format == FormatComplex {
			return Identifier{}
		}
		names = append(names, name)
	}
	rank := func(name string) int {
		if at := slices.Index(partNames, name); at >= 0 {
			return at
		}
		return len(partNames)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	out := []byte(`{"format":"complex"`)
	for _, name := range names {
		out = append(strictjson.AppendString(append(out, ','), name), ':')
		out = append(out, parts[name].Emit()...)
	}
	return made(append(out, '}'))
}
