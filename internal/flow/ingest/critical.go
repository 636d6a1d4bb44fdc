package ingest

import (
	"encoding/json"
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

// Discards says why an event about a subject leads to nothing; empty: it may lead to something.
func (s *Source) Discards(subID json.RawMessage) string {
	if len(s.Critical) == 0 {
		return ""
	}
	id, err := subject.Parse(subID)
	if err != nil {
		return ""
	}
	if members := s.critical(id); len(members) > 0 {
		return discarded(members)
	}
	return ""
}

// discarded is why a signal with such members leads to nothing.
func discarded(members []string) string {
	return "discarded: its source says that " + strings.Join(members, " and ") + " of a subject is critical, and nothing here interprets it"
}
