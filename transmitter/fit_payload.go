package transmitter

import (
	"encoding/json"
	"slices"
	"strings"

	"countersign/event"
	"countersign/internal/strictjson"
	"countersign/subject"
)

// What a naming rule may say of identifiers inside a payload, by its member "payload". Naming changes the subject alone;
// what stands in the payload is of the name space that the event came from.
const (
	PayloadSkip = "skip" // the receiver is not told of the event; also where nothing is said
	PayloadOmit = "omit" // it is told without them, where the event may be without
	PayloadSend = "send" // it is told everything
)

// payload gives the payload that a stream's receiver may be told, or the reason why it may be told none. left are the names
// of members that were left out.
func (f *fitting) payload(s *Stream, named subject.Identifier) (told json.RawMessage, left []string, reason string) {
	all := f.m.Payload
	if s.Naming == nil || len(all) == 0 {
		return all, nil, ""
	}
	if !f.looked {
		f.identifying, f.unreadable = f.typ.Identifies(all)
		f.looked = true
	}
	if f.unreadable != nil {
		return nil, nil, "the event's payload cannot be read"
	}
	for _, i := range f.identifying {
		if !f.own(i, named) {
			left = append(left, i.Member)
		}
	}
	if len(left) == 0 {
		return all, nil, ""
	}
	var rule struct {
		Payload string `json:"payload"`
	}
	if s.Naming[0] == '{' {
		_ = json.Unmarshal(s.Naming, &rule) // what cannot be read allows nothing
	}
	foreign := memberNames(left) + " of the event may name somebody in another name space than the receiver's"
	switch rule.Payload {
	case PayloadSend:
		return all, nil, ""
	case PayloadOmit:
		rest := omit(all, left)
		if _, err := f.t.cfg.Registry.Decode(f.typ.URI, rest); err != nil {
			return nil, nil, foreign + ", and the event is none without"
		}
		return rest, left, ""
	}
	return nil, nil, foreign
}

// own reports whether an identifier of the payload is of the receiver's own name space: that of an issuer which both the
// event and the receiver name the subject by, or for one like the subject, the subject's own.
func (f *fitting) own(i event.Identifying, named subject.Identifier) bool {
	return (i.Like || named.Format() == subject.FormatIssSub) && subject.Identical(named, f.sub)
}

// memberNames lists members for people. Names that a type does not define were written by others.
func memberNames(names []string) string {
	shown := make([]string, 0, 4)
	for _, n := range names {
		if len(shown) == 3 {
			shown = append(shown, "others")
			break
		}
		if len(n) > 64 {
			n = n[:64] + "…"
		}
		shown = append(shown, printable(n))
	}
	return strings.Join(shown, ", ")
}

// omit gives an object less some members.
func omit(object json.RawMessage, names []string) json.RawMessage {
	members, _ := strictjson.Object(object)
	b := []byte{'{'}
	for _, m := range members {
		if slices.Contains(names, m.Name) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(strictjson.AppendString(b, m.Name), ':')
		b = append(b, m.Value...)
	}
	return append(b, '}')
}
