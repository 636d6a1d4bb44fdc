package resource

import (
	"fmt"
	"slices"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/internal/yaml"
	"countersign/receiver"
)

// checkProfile holds the name of the partner profile, and the quirks let pass beside it, to those that there are.
func checkProfile(doc yaml.Doc, s *hub.Source) error {
	p, ok := partner.Find(s.Profile)
	switch near := partner.Nearest(s.Profile); {
	case !ok && near != "":
		return doc.Errorf("profile", "there is no partner profile %q; did you mean %s? `countersign partners` lists them", s.Profile, near)
	case !ok:
		return doc.Errorf("profile", "there is no partner profile %q; `countersign partners` lists them", s.Profile)
	case !p.Transmits:
		return doc.Errorf("profile", "%s only receives: it is no source, and its guide shows the stream to make for it", p.Title)
	}
	for i, id := range s.Relax {
		at := fmt.Sprintf("relax[%d]", i)
		k, ok := receiver.LookupQuirk(id)
		row, known := partner.Lookup(id)
		switch {
		case ok && k.Always():
			return doc.Errorf(at, "%s (%s) is let pass everywhere and needs no switch", id, k.Title)
		case ok && slices.Contains(s.Relax[:i], id):
			return doc.Errorf(at, "%s is there twice", id)
		case ok:
		case known:
			return doc.Errorf(at, "%s (%s) has no switch: %s", id, row.Title, row.Done)
		default:
			return doc.Errorf(at, "there is no quirk %.40q; docs/partners/README.md lists them", id)
		}
	}
	return nil
}
