package subject

import (
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"countersign/internal/strictjson"
)

// maxParts bounds the subjects inside one: nobody has more names, and comparing takes their product.
const maxParts = 2048

// Parse reads a Subject Identifier, simple or complex. Members it does not know are kept and ignored
// (SSF 1.0 §4.2.3), formats it does not know are taken if they have a name (RFC 9493 §3: proprietary
// ones). Its error wraps ErrInvalid and names the member at fault, never its value.
func Parse(raw json.RawMessage) (Identifier, error) {
	if err := strictjson.Check(raw, strictjson.Limits{}); err != nil {
		return Identifier{}, invalid("%w", err)
	}
	return parse(raw, true)
}

// parse reads checked bytes; complexAllowed is false inside complex subjects and aliases (SUB-30).
func parse(raw json.RawMessage, complexAllowed bool) (Identifier, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return Identifier{}, invalid("not an object")
	}
	id := Identifier{raw: raw}
	hasFormat := false
	for _, m := range members {
		value, err := strictjson.String(m.Value)
		switch {
		case m.Name == "format":
			hasFormat = true
			if err != nil || value == "" {
				return Identifier{}, invalid("format is not a name") // RFC 9493 §3.2
			}
			id.format = today(value)
			id.older = id.format != value
		case err == nil:
			id.text = append(id.text, field{m.Name, value})
		}
	}
	if !hasFormat && complexAllowed && allHaveFormat(members) { // the shape of the first SSE drafts
		id.format, id.older = FormatComplex, true
	}
	switch {
	case id.format == "":
		return Identifier{}, invalid("no format")
	case id.format == FormatComplex && !complexAllowed:
		return Identifier{}, invalid("complex subject inside another")
	case id.format == FormatComplex:
		err = id.readParts(members)
	default:
		err = id.readSimple(members)
	}
	if err != nil {
		return Identifier{}, err
	}
	if names := described[id.format]; names != nil {
		id.loose = id.loose || slices.ContainsFunc(members, func(m strictjson.Member) bool {
			return m.Name != "format" && !slices.Contains(names, m.Name) && (id.format != FormatPhone || m.Name != "phone")
		})
	}
	if id.canonical, err = canonical(&id, members); err != nil {
		return Identifier{}, invalid("%w", err)
	}
	return id, nil
}

// today translates the format names of older drafts (SUB-26).
func today(format string) string {
	switch format {
	case "phone":
		return FormatPhone
	case "jwt-id":
		return FormatJWTID
	case "saml-assertion-id":
		return FormatSAML
	}
	return format
}

// allHaveFormat recognises a complex subject without format: every member an object that has one.
func allHaveFormat(members []strictjson.Member) bool {
	for _, m := range members {
		inner, err := strictjson.Members(m.Value)
		if err != nil || !slices.ContainsFunc(inner, func(i strictjson.Member) bool { return i.Name == "format" }) {
			return false
		}
	}
	return len(members) > 0
}

// readParts reads the members of a complex subject. One with a name of SSF must be a valid simple
// subject; of other names those that are count, and the rest are unknown members.
func (i *Identifier) readParts(members []strictjson.Member) error {
	for _, m := range members {
		if m.Name == "format" {
			continue
		}
		id, err := parse(m.Value, false)
		if err != nil {
			if slices.Contains(partNames, m.Name) && !isComplex(m.Value) {
				return invalid("%s: %s", m.Name, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
			}
			i.loose = true
			continue
		}
		if len(i.parts) == maxParts {
			return invalid("complex subject with more than %d members", maxParts)
		}
		i.parts = append(i.parts, part{m.Name, id})
		i.older, i.loose = i.older || id.older, i.loose || id.loose
	}
	if len(i.parts) == 0 { // SSF 1.0 §3.3
		return invalid("complex subject without a member")
	}
	return nil
}

func isComplex(raw json.RawMessage) bool {
	members, err := strictjson.Members(raw)
	return err == nil && slices.ContainsFunc(members, func(m strictjson.Member) bool {
		return m.Name == "format" && string(m.Value) == `"complex"`
	})
}

// readSimple holds the required members against their format (RFC 9493 §3.2, SSF 1.0 §3.5, RFC 9967 §2.1).
func (i *Identifier) readSimple(members []strictjson.Member) error {
	switch i.format {
	case FormatAccount:
		return i.want("uri", isAcct)
	case FormatEmail:
		return i.want("email", isEmail)
	case FormatIssSub:
		return i.wantAll("iss", "sub")
	case FormatOpaque:
		return i.wantAll("id")
	case FormatPhone:
		return i.readPhone()
	case FormatDID:
		return i.want("url", isDID)
	case FormatURI:
		return i.want("uri", isURI)
	case FormatJWTID:
		return i.wantAll("iss", "jti")
	case FormatSAML:
		return i.wantAll("issuer", "assertion_id")
	case FormatSCIM:
		if err := i.wantStringOrNone(members, "externalId"); err != nil {
			return err
		}
		return i.want("uri", isRelative)
	case FormatAliases:
		return i.readAliases(members)
	case FormatIPAddresses:
		return i.readAddresses(members)
	}
	return nil // a format agreed between the parties: its members are theirs
}

func (i *Identifier) wantAll(names ...string) error {
	for _, name := range names {
		if err := i.want(name, nil); err != nil {
			return err
		}
	}
	return nil
}

// want requires a string member that is not empty and, with a test, passes it.
func (i *Identifier) want(name string, test func(string) bool) error {
	value := i.Get(name)
	if value == "" {
		return invalid("%s: %s is missing, empty or not text", i.format, name)
	}
	if test != nil && !test(value) {
		return invalid("%s: %s is not well formed", i.format, name)
	}
	return nil
}

func (i *Identifier) wantStringOrNone(members []strictjson.Member, name string) error {
	for _, m := range members {
		if m.Name == name && i.Get(name) == "" {
			return invalid("%s: %s is empty or not text", i.format, name)
		}
	}
	return nil
}

// readPhone reads an E.164 number, spaces and the like taken out (SUB-16). The drafts named the member
// "phone" as well.
func (i *Identifier) readPhone() error {
	for at, f := range i.text {
		if f.name != "phone_number" && (f.name != "phone" || i.Get("phone_number") != "") {
			continue
		}
		number := strings.Map(func(r rune) rune {
			if strings.ContainsRune(" .-()[]/\u00a0", r) {
				return -1
			}
			return r
		}, f.value)
		if len(number) < 4 || len(number) > 16 || number[0] != '+' || number[1] == '0' || strings.Trim(number[1:], "0123456789") != "" {
			return invalid("%s: phone_number is not well formed", i.format)
		}
		i.older = i.older || number != f.value || f.name != "phone_number"
		i.text[at] = field{"phone_number", number}
		return nil
	}
	return invalid("%s: phone_number is missing, empty or not text", i.format)
}

func (i *Identifier) readAliases(members []strictjson.Member) error {
	elements, err := elementsOf(members, "identifiers")
	if err != nil {
		return invalid("%s: identifiers is missing, empty or not an array", i.format)
	}
	if len(elements) > maxParts {
		return invalid("%s: more than %d identifiers", i.format, maxParts)
	}
	for _, e := range elements {
		id, err := parse(e, false)
		if err != nil {
			return invalid("%s: %s", i.format, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": "))
		}
		if id.format == FormatAliases { // RFC 9493 §3.2.8
			return invalid("%s: aliases inside aliases", i.format)
		}
		i.aliases = append(i.aliases, id)
		i.older, i.loose = i.older || id.older, i.loose || id.loose
	}
	return nil
}

func (i *Identifier) readAddresses(members []strictjson.Member) error {
	elements, err := elementsOf(members, "ip-addresses")
	if err != nil {
		return invalid("%s: ip-addresses is missing, empty or not an array", i.format)
	}
	for _, e := range elements {
		text, err := strictjson.String(e)
		if err != nil {
			return invalid("%s: an address is not text", i.format)
		}
		if address, err := netip.ParseAddr(text); err != nil || address.Zone() != "" {
			return invalid("%s: an address is not well formed", i.format)
		}
		i.addresses = append(i.addresses, text)
	}
	return nil
}

func elementsOf(members []strictjson.Member, name string) ([]json.RawMessage, error) {
	for _, m := range members {
		if m.Name == name {
			elements, err := strictjson.Elements(m.Value)
			if err == nil && len(elements) == 0 {
				err = ErrInvalid
			}
			return elements, err
		}
	}
	return nil, ErrInvalid
}

// isAcct tests for an acct URI (RFC 7565 §7).
func isAcct(s string) bool {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(scheme, "acct") || !printable(rest) {
		return false
	}
	at := strings.LastIndexByte(rest, '@')
	return at > 0 && at < len(rest)-1
}

// isEmail tests for the outline of an addr-spec (RFC 5322 §3.4.1): whether it delivers, only sending tells.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || len(s) > 320 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if quoted := len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"'; !quoted && (!printable(local) || strings.ContainsAny(local, `@<>,;:"()[]\`)) {
		return false
	}
	return printable(domain) && !strings.ContainsAny(domain, `@<>,;"()\`) && !control(local)
}

// isDID tests for a DID or DID URL: did:method:id (DID Core §3.1).
func isDID(s string) bool {
	fields := strings.SplitN(s, ":", 3)
	return len(fields) == 3 && fields[0] == "did" && fields[1] != "" && fields[2] != "" && printable(s)
}

// isURI tests for a URI with a scheme (RFC 3986 §3).
func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && len(s) > len(u.Scheme)+1 && printable(s)
}

// isRelative tests for a path below the SCIM base URI (RFC 9967 §2.1).
func isRelative(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "" && u.Host == "" && printable(s)
}

// printable is true for text without spaces and control characters.
func printable(s string) bool { return !control(s) && !strings.ContainsAny(s, " \u00a0\u2028\u2029") }

func control(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 })
}
