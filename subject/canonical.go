package subject

import (
	"slices"
	"strings"

	"countersign/internal/strictjson"
)

// canonical writes the identifier in its one spelling. Where the identifier was read as today's form
// instead of literally (older names, phone numbers), today's form is what is written.
func canonical(id *Identifier, members []strictjson.Member) (string, error) {
	type entry struct{ name, value string }
	entries := make([]entry, 0, len(members)+1)
	add := func(name, value string) { entries = append(entries, entry{name, value}) }
	text := func(s string) string { return string(strictjson.AppendString(nil, s)) }

	add("format", text(id.format))
	phone := false
	for _, m := range members {
		switch {
		case m.Name == "format":
		case id.format == FormatComplex && id.has(m.Name):
			p, _ := id.Part(m.Name)
			add(m.Name, p.canonical)
		case id.format == FormatAliases && m.Name == "identifiers":
			forms := make([]string, 0, len(id.aliases))
			for _, a := range id.aliases {
				forms = append(forms, a.canonical)
			}
			slices.Sort(forms) // a set of names: their order says nothing
			add(m.Name, "["+strings.Join(forms, ",")+"]")
		case id.format == FormatPhone && (m.Name == "phone_number" || m.Name == "phone"):
			if !phone {
				add("phone_number", text(id.Get("phone_number")))
				phone = true
			}
		default:
			form, err := strictjson.Canonical(m.Value)
			if err != nil {
				return "", err
			}
			add(m.Name, string(form))
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var out strings.Builder
	for i, e := range entries {
		out.WriteByte("{,"[min(i, 1)])
		out.WriteString(text(e.name))
		out.WriteByte(':')
		out.WriteString(e.value)
	}
	out.WriteByte('}')
	return out.String(), nil
}

func (i *Identifier) has(part string) bool {
	_, ok := i.Part(part)
	return ok
}
