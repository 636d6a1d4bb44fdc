package resource

import (
	"strings"

	"countersign/internal/hub"
	"countersign/internal/yaml"
	"countersign/subject"
)

// correlated are the formats that a way may have, with what each value can be taken for; the first is the usual one.
var correlated = map[string][]string{
	subject.FormatEmail:   {"email"},
	subject.FormatIssSub:  {"account_id", "device_id"},
	subject.FormatOpaque:  {"account_id", "device_id"},
	subject.FormatSCIM:    {"account_id", "external_id", "device_id"},
	subject.FormatPhone:   {"phone", "account_id"},
	subject.FormatDID:     {"account_id", "device_id"},
	subject.FormatURI:     {"account_id", "device_id"},
	subject.FormatAccount: {"account_id", "email"},
	subject.FormatJWTID:   {"account_id"},
	subject.FormatSAML:    {"account_id"},
}

var correlatedNames = []string{subject.FormatEmail, subject.FormatIssSub, subject.FormatOpaque, subject.FormatSCIM, subject.FormatPhone,
	subject.FormatDID, subject.FormatURI, subject.FormatAccount, subject.FormatJWTID, subject.FormatSAML}

var correlatedParts = []string{subject.PartUser, subject.PartDevice, subject.PartSession, subject.PartTenant, subject.PartGroup, subject.PartApplication,
	subject.PartOrgUnit}

func checkCorrelate(doc yaml.Doc, at string, c hub.Correlate) error {
	meanings := correlated[c.Format]
	switch {
	case c.Format == "":
		return doc.Errorf(at, "a way to correlate has a format: %s", strings.Join(correlatedNames, ", "))
	case c.Format == subject.FormatAliases:
		return doc.Errorf(at+".format", "aliases needs no way of its own: each of its identifiers goes the ways of its format")
	case c.Format == subject.FormatComplex:
		return doc.Errorf(at+".format", "complex needs no way of its own: write the format of a member, and part: %s", strings.Join(correlatedParts, ", "))
	case meanings == nil:
		near := yaml.Nearest(c.Format, correlatedNames)
		if near == "" {
			near = strings.Join(correlatedNames, ", ")
		}
		return doc.Errorf(at+".format", "there is no way for the format %.80q: did you mean %s?", c.Format, near)
	}
	if err := first(word(doc, at+".as", c.As, meanings...), word(doc, at+".part", c.Part, correlatedParts...), word(doc, at+".normalize", c.Normalize, "nfkc"),
		word(doc, at+".case", c.Case, "exact", "any")); err != nil {
		return err
	}
	byIssuer := oneOf(c.Format, subject.FormatIssSub, subject.FormatJWTID, subject.FormatSAML)
	as := c.As
	if as == "" {
		as = meanings[0]
	}
	if c.Part == subject.PartDevice && c.As == "" && as == "account_id" {
		as = "device_id"
	}
	placed := oneOf(as, "account_id", "external_id", "device_id")
	if len(c.Is) > 0 {
		return checkBound(doc, at, c)
	}
	switch {
	case len(c.Iss) > 0 && !byIssuer:
		return doc.Errorf(at+".iss", "a subject of format %s has no issuer", c.Format)
	case (c.IgnoreTag || c.Normalize != "" || c.Case != "") && as != "email":
		return doc.Errorf(at, "ignore_tag, normalize and case are about e-mail addresses")
	case c.At != "" && !placed:
		return doc.Errorf(at+".at", "what is looked for as %s stands at no place", as)
	case c.At != "" && !nameForm.MatchString(c.At):
		return doc.Errorf(at+".at", "%.80q is no name of a place", c.At)
	case c.At == "" && placed && !oneOf(c.Part, "", subject.PartUser, subject.PartDevice):
		return doc.Errorf(at, "with part: %s the way says at which place that id is known: at: PLACE", c.Part)
	}
	return nil
}

// checkBound checks a way that finds nobody and only says which subjects are ours.
func checkBound(doc yaml.Doc, at string, c hub.Correlate) error {
	switch {
	case oneOf(c.Part, "", subject.PartUser, subject.PartDevice, subject.PartSession):
		return doc.Errorf(at+".is", "is says which tenant, org_unit, group or application is ours: write part: tenant")
	case c.As != "" || c.At != "" || c.IgnoreTag || c.Normalize != "" || c.Case != "":
		return doc.Errorf(at, "a way with is finds nobody: as, at, ignore_tag, normalize and case have no meaning beside it")
	case !oneOf(c.Format, subject.FormatOpaque, subject.FormatURI, subject.FormatDID, subject.FormatIssSub, subject.FormatSCIM):
		return doc.Errorf(at+".format", "a way with is has the format opaque, uri, did, iss_sub or scim")
	case len(c.Iss) > 0 && c.Format != subject.FormatIssSub:
		return doc.Errorf(at+".iss", "a subject of format %s has no issuer", c.Format)
	case len(c.Is) > 100:
		return doc.Errorf(at+".is", "at most 100 values")
	}
	for i, v := range c.Is {
		if v == "" || len(v) > 512 {
			return doc.Errorf(at+".is", "value %d is empty or too long", i+1)
		}
	}
	return nil
}
