package ingest

import (
	"slices"
	"strings"

	"countersign/subject"
)

// critical gives the members of a subject which the source calls critical (critical_subject_members of its metadata) and
// which nothing here interprets. SSF 1.0 §3.6: an event with such a member is discarded. A subject of one part has no
// members.
func (s *Source) critical(id subject.Identifier) []string {
	var out []string
	for _, name := range s.Critical {
		if _, has := id.Part(name); has && !slices.Contains(s.Interprets, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// discarded is why a signal with such members leads to nothing.
func discarded(members []string) string {
	return "discarded: its source says that " + strings.Join(members, " and ") + " of a subject is critical, and nothing here interprets it"
}
