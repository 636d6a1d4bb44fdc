package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"countersign/internal/strictjson"
)

// Extra is a member that the type does not define. Its value stays as it was written.
type Extra struct {
	Name  string
	Value json.RawMessage
}

func find(members []Extra, name string) json.RawMessage {
	for _, m := range members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Text is a message in several languages: BCP 47 language tag to text (CAEP 1.0 §2). Never show it
// unescaped: the sender's users may have written parts of it.
type Text map[string]string

// In gives the text in the wanted language, else in English, else in the first language by tag.
func (t Text) In(language string) string {
	for _, tag := range []string{language, "en"} {
		if s, ok := t[tag]; ok {
			return s
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(t)) {
		return t[tag]
	}
	return ""
}

// Described is a payload that lists its members once, for reading, writing and naming alike.
type Described interface {
	Payload
	// Describe calls one method of m per member the type defines, in the order of the specification,
	// and m.Rest last.
	Describe(m *Members)
}

// Members walks over the members of a payload on behalf of Marshal, Unmarshal and Names. Each method
// takes a member's name and where its value lives. On reading, an absent member and one that is null
// leave the value alone; on writing, a zero value is left out.
type Members struct {
	reading, writing bool
	in               []strictjson.Member
	taken            []bool
	out              bytes.Buffer
	names            []string
	err              error
}

// Unmarshal reads the object data into p. It does not call p.Validate.
func Unmarshal(data []byte, p Described) error {
	in, err := strictjson.Object(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	m := &Members{reading: true, in: in, taken: make([]bool, len(in))}
	p.Describe(m)
	return m.err
}

// Marshal writes p as an object: the members the type defines in the order of the specification, then all others
// as they came.
func Marshal(p Described) ([]byte, error) {
	m := &Members{writing: true}
	m.out.WriteByte('{')
	p.Describe(m)
	m.out.WriteByte('}')
	return m.out.Bytes(), m.err
}

// Names lists the members that the type of p defines.
func Names(p Described) []string {
	m := &Members{}
	p.Describe(m)
	return m.names
}

// value gives the written form of a member to read, nil when there is nothing to read.
func (m *Members) value(name string) json.RawMessage {
	if !m.reading && !m.writing {
		m.names = append(m.names, name)
		return nil
	}
	if !m.reading || m.err != nil {
		return nil
	}
	for i, member := range m.in {
		if member.Name == name {
			m.taken[i] = true
			if string(member.Value) == "null" {
				return nil
			}
			return member.Value
		}
	}
	return nil
}

func (m *Members) write(name string, v any) {
	if !m.writing || m.err != nil {
		return
	}
	if m.out.Len() > 1 {
		m.out.WriteByte(',')
	}
	m.encode(name)
	m.out.WriteByte(':')
	m.encode(v)
}

func (m *Members) encode(v any) {
	if raw, ok := v.(json.RawMessage); ok {
		m.out.Write(raw)
		return
	}
	enc := json.NewEncoder(&m.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil && m.err == nil {
		m.err = err
		return
	}
	m.out.Truncate(m.out.Len() - 1) // the encoder's line break
}

// String describes a string member. The empty string counts as absent on writing.
func (m *Members) String(name string, p *string) {
	if v := m.value(name); v != nil {
		s, err := strictjson.String(v)
		if err != nil {
			m.err = Problem(name, "is not a string")
			return
		}
		*p = s
	}
	if *p != "" {
		m.write(name, *p)
	}
}

// Loose describes a member for which the specification gives no type: a string is read into p, a
// value of any other type stays among the unknown members.
func (m *Members) Loose(name string, p *string) {
	if v := m.value(name); v != nil {
		if s, err := strictjson.String(v); err == nil {
			*p = s
		} else {
			for i := range m.in {
				if m.in[i].Name == name {
					m.taken[i] = false
				}
			}
		}
	}
	if *p != "" {
		m.write(name, *p)
	}
}

// Strings describes an array of strings. A nil slice counts as absent on writing.
func (m *Members) Strings(name string, p *[]string) {
	if v := m.value(name); v != nil {
		var items []*string
		if json.Unmarshal(v, &items) != nil || slices.Contains(items, nil) {
			m.err = Problem(name, "is not an array of strings")
			return
		}
		*p = make([]string, len(items))
		for i, s := range items {
			(*p)[i] = *s
		}
	}
	if *p != nil {
		m.write(name, *p)
	}
}

// Object describes a member whose value is an object that the type leaves open.
func (m *Members) Object(name string, p *json.RawMessage) {
	if v := m.value(name); v != nil {
		if v[0] != '{' {
			m.err = Problem(name, "is not an object")
			return
		}
		*p = slices.Clone(v)
	}
	if *p != nil {
		m.write(name, *p)
	}
}

// Text describes an object of language tag to text. A plain string, as older senders write, is read
// under the tag "und" and written as an object.
func (m *Members) Text(name string, p *Text) {
	if v := m.value(name); v != nil {
		if plain, err := strictjson.String(v); err == nil {
			*p = Text{"und": plain}
		} else {
			tags, err := strictjson.Members(v)
			t := make(Text, len(tags))
			for _, tag := range tags {
				if string(tag.Value) == "null" {
					m.err = Problem(name, "has a value that is not a string")
					return
				}
				if t[tag.Name], err = strictjson.String(tag.Value); err != nil {
					break
				}
			}
			if err != nil {
				m.err = Problem(name, "is not an object of language tag to text")
				return
			}
			*p = t
		}
	}
	if *p != nil {
		m.write(name, map[string]string(*p))
	}
}

// Bounds of a time in seconds. What lies above millisecondsFrom cannot be meant as seconds (it is
// past the year 5138) and is read as milliseconds.
const (
	millisecondsFrom = 100_000_000_000
	latestSecond     = 253_402_300_799 // the last second of the year 9999
)

// Time describes a number of seconds since 1970-01-01T00:00:00Z. Fractions are cut off. A number that
// can only be milliseconds is divided, and milliseconds set, so that the sender can be told.
func (m *Members) Time(name string, p *int64, milliseconds *bool) {
	if v := m.value(name); v != nil {
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
			m.err = Problem(name, "is not a number of seconds")
			return
		}
		if f > millisecondsFrom {
			f /= 1000
			*milliseconds = true
		}
		if f = math.Floor(f); math.Abs(f) > latestSecond {
			m.err = Problem(name, "is no date in this era")
			return
		}
		*p = int64(f)
	}
	if *p != 0 {
		m.write(name, *p)
	}
}

// Rest describes all members that were not described before; call it last.
func (m *Members) Rest(p *[]Extra) {
	if m.reading && m.err == nil {
		for i, member := range m.in {
			if !m.taken[i] {
				*p = append(*p, Extra{Name: member.Name, Value: slices.Clone(member.Value)})
			}
		}
	}
	for _, extra := range *p {
		m.write(extra.Name, extra.Value)
	}
}

// Problem makes an error about one member of a payload.
func Problem(member, text string) error {
	return fmt.Errorf("%w: %s %s", ErrInvalid, member, text)
}

// Need reports a required string that is empty.
func Need(member, value string) error {
	if value == "" {
		return Problem(member, "is required")
	}
	return nil
}

// OneOf reports a value outside a closed set, compared exactly. The empty value passes: see Need.
func OneOf(member, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return Problem(member, "is not one of "+strings.Join(allowed, ", "))
}

// NotEmpty reports a Text without a single language.
func NotEmpty(member string, t Text) error {
	if t != nil && len(t) == 0 {
		return Problem(member, "has no language")
	}
	return nil
}

// First gives the first error that is not nil.
func First(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
