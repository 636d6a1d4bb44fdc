package strictjson

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
)

// JCS gives the RFC 8785 form of a value made of objects, arrays and strings only. A number, a boolean
// or null anywhere is ErrFloat (receipts A20): hashes must not depend on how a number is spelled.
func JCS(data []byte) ([]byte, error) {
	if err := Check(data, Limits{}); err != nil {
		return nil, err
	}
	return appendCanonical(make([]byte, 0, len(data)), data, true)
}

// Canonical gives one spelling to equal values of any kind: JCS, with booleans and null as they are,
// whole numbers digit for digit and other numbers as the shortest decimal of their double, or as
// written where no double holds them. Two texts are equal as JSON values if their forms are equal.
func Canonical(data []byte) ([]byte, error) {
	if err := Check(data, Limits{}); err != nil {
		return nil, err
	}
	return appendCanonical(make([]byte, 0, len(data)), data, false)
}

func appendCanonical(out, data []byte, textOnly bool) ([]byte, error) {
	s := scanner{data: data}
	switch b := s.peek(); b {
	case '{':
		members, err := Members(data)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(members, func(a, b Member) int { return compareUTF16(a.Name, b.Name) })
		out = append(out, '{')
		for i, m := range members {
			if i > 0 {
				out = append(out, ',')
			}
			out = AppendString(out, m.Name)
			out = append(out, ':')
			if out, err = appendCanonical(out, m.Value, textOnly); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	case '[':
		elements, err := Elements(data)
		if err != nil {
			return nil, err
		}
		out = append(out, '[')
		for i, e := range elements {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = appendCanonical(out, e, textOnly); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case '"':
		return AppendString(out, unquote(s.next())), nil
	default:
		if textOnly {
			return nil, fmt.Errorf("%w: %s", ErrFloat, kindOf(data))
		}
		token := s.next()
		if b == '-' || isDigit(b) {
			return append(out, canonicalNumber(string(token))...), nil
		}
		return append(out, token...), nil
	}
}

func canonicalNumber(token string) string {
	whole := true
	for i := range len(token) {
		if !isDigit(token[i]) && token[i] != '-' {
			whole = false
			break
		}
	}
	if whole {
		if token == "-0" {
			return "0"
		}
		return token
	}
	f, err := strconv.ParseFloat(token, 64)
	if err != nil {
		return token
	}
	if f == 0 {
		return "0"
	}
	out, err := json.Marshal(f)
	if err != nil {
		return token
	}
	return string(out)
}

// compareUTF16 orders names by UTF-16 code units (RFC 8785 §3.2.3).
func compareUTF16(a, b string) int {
	if isASCII(a) && isASCII(b) {
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// AppendString appends s as a JSON string in the spelling of RFC 8785 §3.2.2.2: only the quote, the
// backslash and control characters are escaped. The caller answers for s being valid UTF-8.
func AppendString(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	start := 0
	for i := range len(s) {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		out = append(out, s[start:i]...)
		start = i + 1
		switch b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\b':
			out = append(out, '\\', 'b')
		case '\t':
			out = append(out, '\\', 't')
		case '\n':
			out = append(out, '\\', 'n')
		case '\f':
			out = append(out, '\\', 'f')
		case '\r':
			out = append(out, '\\', 'r')
		default:
			out = append(out, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
	}
	out = append(out, s[start:]...)
	return append(out, '"')
}
