package strictjson

import (
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Member is one member of an object, its value untouched and aliasing the input.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Object checks data with the default limits and lists the members of the object in order.
// Anything but an object is ErrType.
func Object(data []byte) ([]Member, error) {
	if err := Check(data, Limits{}); err != nil {
		return nil, err
	}
	return Members(data)
}

// Members is Object for bytes that Check has already passed.
func Members(data []byte) ([]Member, error) {
	s := scanner{data: data}
	if s.peek() != '{' {
		return nil, fmt.Errorf("%w: want an object, got %s", ErrType, kindOf(data))
	}
	members := make([]Member, 0, 8)
	s.object(func(name []byte, value json.RawMessage) error {
		members = append(members, Member{string(name), value})
		return nil
	})
	return members, nil
}

// Elements lists the elements of an array that Check has already passed, as part of a larger text or
// by itself. Anything but an array is ErrType.
func Elements(data []byte) ([]json.RawMessage, error) {
	s := scanner{data: data}
	if s.peek() != '[' {
		return nil, fmt.Errorf("%w: want an array, got %s", ErrType, kindOf(data))
	}
	var elements []json.RawMessage
	s.array(func(value json.RawMessage) error {
		elements = append(elements, value)
		return nil
	})
	return elements, nil
}

// String decodes a string value that Check has already passed. Anything but a string is ErrType.
func String(data []byte) (string, error) {
	s := scanner{data: data}
	if s.peek() != '"' {
		return "", fmt.Errorf("%w: want a string, got %s", ErrType, kindOf(data))
	}
	return unquote(s.next()), nil
}

// scanner walks text that Check has passed. It therefore looks only at structure.
type scanner struct {
	data []byte
	pos  int
}

// peek skips space and gives the first byte of what follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch b := s.data[s.pos]; b {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return b
		}
	}
	return 0
}

// next gives the bytes of the next value and moves past it.
func (s *scanner) next() json.RawMessage {
	first := s.peek()
	start := s.pos
	switch first {
	case 0:
		return nil
	case '"':
		s.skipText()
	case '{', '[':
		for depth := 0; s.pos < len(s.data); {
			switch s.data[s.pos] {
			case '"':
				s.skipText()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.pos++
			if depth == 0 {
				break
			}
		}
	default:
		for s.pos < len(s.data) {
			switch s.data[s.pos] {
			case ',', '}', ']', ' ', '\t', '\n', '\r':
				return s.data[start:s.pos:s.pos]
			}
			s.pos++
		}
	}
	return s.data[start:s.pos:s.pos]
}

func (s *scanner) skipText() {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return
		}
	}
}

// object calls member for each member, names decoded; s stands at '{'.
func (s *scanner) object(member func(name []byte, value json.RawMessage) error) error {
	s.pos++
	for s.pos < len(s.data) {
		switch s.peek() {
		case '}', 0:
			s.pos++
			return nil
		case ',':
			s.pos++
			s.peek()
		}
		quoted := s.next()
		name := []byte(quoted[1 : len(quoted)-1])
		if hasEscape(name) {
			name = unescape(name)
		}
		s.peek()
		s.pos++ // the colon
		if err := member(name, s.next()); err != nil {
			return err
		}
	}
	return nil
}

// array calls element for each element; s stands at '['.
func (s *scanner) array(element func(value json.RawMessage) error) error {
	s.pos++
	for s.pos < len(s.data) {
		switch s.peek() {
		case ']', 0:
			s.pos++
			return nil
		case ',':
			s.pos++
		}
		if err := element(s.next()); err != nil {
			return err
		}
	}
	return nil
}

func hasEscape(text []byte) bool {
	for _, b := range text {
		if b == '\\' {
			return true
		}
	}
	return false
}

// unquote decodes a checked string, quotes included.
func unquote(quoted []byte) string {
	body := quoted[1 : len(quoted)-1]
	if !hasEscape(body) {
		return string(body)
	}
	return string(unescape(body))
}

// unescape decodes the escapes of a checked string, given without quotes.
func unescape(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			out = append(out, body[i])
			i++
			continue
		}
		switch b := body[i+1]; b {
		case 'u':
			r, _ := hex4(body, i+2)
			i += 6
			if utf16.IsSurrogate(r) {
				low, _ := hex4(body, i+2)
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
			continue
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default:
			out = append(out, b)
		}
		i += 2
	}
	return out
}

// kindOf names the type of a value for error texts.
func kindOf(data []byte) string {
	s := scanner{data: data}
	switch b := s.peek(); {
	case b == '{':
		return "an object"
	case b == '[':
		return "an array"
	case b == '"':
		return "a string"
	case b == 't' || b == 'f':
		return "a boolean"
	case b == 'n':
		return "null"
	case b == '-' || isDigit(b):
		return "a number"
	}
	return "nothing"
}
