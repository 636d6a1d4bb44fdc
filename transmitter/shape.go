package transmitter

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"countersign/event"
	"countersign/internal/strictjson"
	"countersign/subject"
)

// shapeBody is Body for a receiver of an older draft: the subject stands inside the event, and there is no sub_id
// (LEG-10, LEG-25). The empty shape is SSF 1.0.
func shapeBody(shape string, typ event.Type, m *Message, named subject.Identifier, payload json.RawMessage) []byte {
	if shape == "" {
		return Body(m.TXN, m.TimeOfEvent, named.Emit(), m.Type, payload)
	}
	b := make([]byte, 0, len(named.Raw())+len(payload)+len(m.Type)+128)
	if m.TXN != "" {
		b = strictjson.AppendString(append(b, `,"txn":`...), m.TXN)
	}
	if m.TimeOfEvent != 0 {
		b = strconv.AppendInt(append(b, `,"toe":`...), m.TimeOfEvent, 10)
	}
	if shape == ShapeWorkspace {
		b = appendJSON(append(b, `,"sub_id":`...), named.Emit())
	}
	b = strictjson.AppendString(append(b, `,"events":{`...), m.Type)
	b = append(b, `:{"subject":`...)
	b = append(b, olderSubject(shape, named)...)
	members, _ := strictjson.Object(payload)
	for _, member := range members {
		if member.Name == "subject" || shape == ShapeSSE && !olderMember(typ, member.Name) {
			continue
		}
		value := appendJSON(nil, member.Value)
		if shape == ShapeSSE && (member.Name == "reason_admin" || member.Name == "reason_user") {
			value = plainReason(value)
		}
		b = append(strictjson.AppendString(append(b, ','), member.Name), ':')
		b = append(b, value...)
	}
	return append(b, "}}}"...)
}

// olderMember reports whether a payload member may go to a receiver of SSE ID1: those that the type defines, and others
// with a URI for a name (LEG-14).
func olderMember(typ event.Type, name string) bool {
	return typ.Open || slices.Contains(typ.Members, name) || strings.Contains(name, ":")
}

// plainReason gives a reason as text, as the examples of SSE ID1 have it (LEG-13).
func plainReason(value []byte) []byte {
	var text event.Text
	if json.Unmarshal(value, &text) != nil || len(text) == 0 {
		return value
	}
	return strictjson.AppendString(nil, text.In("en"))
}

// olderSubject writes a subject as the older drafts do: a complex one without its format (LEG-11). Apple wants a simple one
// wrapped as the user (LEG-25); SSE ID1 knows other names of formats (LEG-12).
func olderSubject(shape string, id subject.Identifier) []byte {
	write := func(one subject.Identifier) []byte {
		if shape == ShapeSSE {
			return olderFormat(one)
		}
		return appendJSON(nil, one.Emit())
	}
	if id.Format() != subject.FormatComplex {
		if shape == ShapeApple || shape == ShapeOkta {
			return append(append([]byte(`{"user":`), write(id)...), '}')
		}
		return write(id)
	}
	b := []byte{'{'}
	for i, name := range id.Parts() {
		if i > 0 {
			b = append(b, ',')
		}
		part, _ := id.Part(name)
		b = append(strictjson.AppendString(b, name), ':')
		b = append(b, write(part)...)
	}
	return append(b, '}')
}

// olderFormat writes a simple subject with the format names of SSE ID1.
func olderFormat(id subject.Identifier) []byte {
	members, _ := strictjson.Members(id.Emit())
	b := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		value := appendJSON(nil, m.Value)
		switch {
		case m.Name == "format" && id.Format() == subject.FormatJWTID:
			value = []byte(`"jwt-id"`)
		case m.Name == "format" && id.Format() == subject.FormatSAML:
			value = []byte(`"saml-assertion-id"`)
		case m.Name == "identifiers" && len(id.Aliases()) > 0:
			value = []byte{'['}
			for i, a := range id.Aliases() {
				if i > 0 {
					value = append(value, ',')
				}
				value = append(value, olderFormat(a)...)
			}
			value = append(value, ']')
		}
		b = append(strictjson.AppendString(b, m.Name), ':')
		b = append(b, value...)
	}
	return append(b, '}')
}
