package correlate

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"countersign/internal/hub"
	"countersign/subject"
)

// What a value is (hub.Correlate.As).
const (
	asAccount  = "account_id"
	asExternal = "external_id"
	asEmail    = "email"
	asPhone    = "phone"
	asDevice   = "device_id"
)

// key is one look-up: what is looked for, and how a miss calls it.
type key struct {
	as, place, value, way string
	exact                 string // of an address: in this case and no other; empty: in whatever case
}

func (k key) find(ctx context.Context, st Store, tenant string) ([]string, error) {
	switch k.as {
	case asEmail:
		return st.FindIdentityByEmail(ctx, tenant, k.value)
	case asPhone:
		return st.FindIdentityByPhone(ctx, tenant, k.value)
	case asDevice:
		return st.FindIdentityByDevice(ctx, tenant, k.place, k.value)
	}
	return st.FindIdentityByAccount(ctx, tenant, k.place, k.value)
}

// label is how a miss calls a way: its format, behind the member where that is not the user.
func label(w hub.Correlate) string {
	if p := partOf(w); p != subject.PartUser {
		return p + " " + w.Format
	}
	return w.Format
}

func otherFormat(format string) string {
	switch format {
	case subject.FormatEmail:
		return "the subject has no e-mail address"
	case subject.FormatIssSub:
		return "the subject has no issuer and subject"
	}
	return "the subject has another format"
}

// meaning is what a way takes the value for.
func meaning(w hub.Correlate) string {
	switch {
	case w.As != "":
		return w.As
	case w.Format == subject.FormatEmail:
		return asEmail
	case w.Format == subject.FormatPhone:
		return asPhone
	case w.Part == subject.PartDevice:
		return asDevice
	}
	return asAccount
}

// keys gives what one way looks for, in order, or why it looks for nothing. The identifier has the format of the way.
func (c *search) keys(w hub.Correlate, id subject.Identifier) (keys []key, why string) {
	as, part := meaning(w), partOf(w)
	value, why := c.value(w, id)
	if why != "" {
		return nil, why
	}
	switch as {
	case asEmail:
		return c.emails(w, value)
	case asPhone:
		return []key{{as: as, value: value, way: label(w)}}, ""
	}
	place := w.At
	switch session := w.Format == subject.FormatJWTID || w.Format == subject.FormatSAML; {
	case place != "":
	case session || part != subject.PartUser && part != subject.PartDevice:
		// Such an id means something only where somebody says where.
		return nil, "the way names no place at which it would be known"
	default:
		place = c.in.Source.Name
	}
	noun := map[string]string{asExternal: " as external id at ", asDevice: " as device at "}[as]
	if noun == "" {
		noun = " as account at "
	}
	return []key{{as: as, place: place, value: value, way: label(w) + noun + place}}, ""
}

// value takes out of the identifier what the way goes by.
func (c *search) value(w hub.Correlate, id subject.Identifier) (value, why string) {
	switch w.Format {
	case subject.FormatEmail:
		return id.Get("email"), ""
	case subject.FormatIssSub:
		return id.Get("sub"), c.speaksFor(w, id.Get("iss"))
	case subject.FormatJWTID:
		return id.Get("jti"), c.speaksFor(w, id.Get("iss"))
	case subject.FormatSAML:
		return id.Get("assertion_id"), c.speaksFor(w, id.Get("issuer"))
	case subject.FormatOpaque:
		return id.Get("id"), ""
	case subject.FormatPhone:
		return id.Get("phone_number"), ""
	case subject.FormatDID:
		return id.Get("url"), ""
	case subject.FormatURI:
		return id.Get("uri"), ""
	case subject.FormatAccount:
		return account(id.Get("uri"))
	case subject.FormatSCIM:
		return scim(w, id)
	}
	return "", "this way is not known"
}

// speaksFor gives the reason why the source has no say about an issuer's subjects; empty where it has.
func (c *search) speaksFor(w hub.Correlate, iss string) string {
	accepted := w.Iss
	if len(accepted) == 0 {
		accepted = []string{c.in.Source.Issuer}
	}
	if slices.Contains(accepted, iss) {
		return ""
	}
	c.foreign = true
	return "the subject's issuer is not one of those that this source may speak for"
}

// account is an acct URI without its scheme: the user part literal and decoded, the host in lower case (RFC 7565 §4, §7).
func account(uri string) (value, why string) {
	_, rest, _ := strings.Cut(uri, ":")
	at := strings.LastIndexByte(rest, '@')
	user, err := url.PathUnescape(rest[:at])
	if err != nil || user == "" {
		return "", "the account URI cannot be read"
	}
	return user + "@" + strings.ToLower(rest[at+1:]), ""
}

// scim is the id of a SCIM resource, the last segment of its path, or its externalId (RFC 9967 §2.1).
func scim(w hub.Correlate, id subject.Identifier) (value, why string) {
	path, _, _ := strings.Cut(id.Get("uri"), "#")
	path, _, _ = strings.Cut(path, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	if len(segments) > 1 && strings.EqualFold(segments[len(segments)-2], "Groups") && partOf(w) != subject.PartGroup {
		return "", "the path is that of a group"
	}
	if w.As == asExternal {
		if value = id.Get("externalId"); value == "" {
			return "", "the subject has no externalId"
		}
		return value, ""
	}
	value, err := url.PathUnescape(segments[len(segments)-1])
	if err != nil || value == "" || value == "." || value == ".." {
		return "", "the path ends in no id"
	}
	return value, ""
}

// emails are the spellings of an address that are looked for: as it was given, then in its normal form, then without its tag.
// An identity that has the address as it was given is the answer, whoever has the others. RFC 9493 §3.2.2.1
func (c *search) emails(w hub.Correlate, address string) (keys []key, why string) {
	if w.Format == subject.FormatAccount && !strings.Contains(address, "@") {
		return nil, "the account URI is no e-mail address"
	}
	way := label(w)
	if w.Format != subject.FormatEmail {
		way += " as e-mail"
	}
	one := func(address, way string) key {
		k := key{as: asEmail, value: subject.CanonicalEmail(address), way: way}
		if w.Case == "exact" {
			k.exact = spelling(address)
		}
		return k
	}
	given := subject.CanonicalEmail(address)
	switch {
	case partOf(w) != subject.PartUser || slices.Contains(c.addresses, given):
	case w.Case == "exact" && spelling(address) != given:
		if c.in.LooksUp {
			c.miss("%s: apps are not asked for it, since they do not tell its case apart", way)
		}
	default:
		c.addresses = append(c.addresses, given)
	}
	keys = []key{one(address, way)}
	last := address
	if w.Normalize == "nfkc" {
		last = norm.NFKC.String(address)
		// A form that has become another address, as from a letter that looks like @, is none.
		if subject.Email(last).IsZero() || strings.Count(last, "@") != strings.Count(address, "@") {
			c.miss("%s: its normal form is no e-mail address", way)
			last = address
		}
		if last != address {
			keys = append(keys, one(last, way+" in its normal form"))
		}
	}
	if at := strings.LastIndexByte(last, '@'); w.IgnoreTag && at > 0 && last[0] != '"' {
		if local, _, tagged := strings.Cut(last[:at], "+"); tagged && local != "" {
			keys = append(keys, one(local+last[at:], way+" without its tag"))
		}
	}
	return keys, ""
}

// spelling is an address whose case counts: its host never does. RFC 5321 §2.4
func spelling(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	return address[:at] + subject.CanonicalEmail(address[at:])
}
