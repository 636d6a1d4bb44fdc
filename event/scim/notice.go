package scim

import (
	"regexp"

	"countersign/event"
)

// path is the PATH of RFC 7644 §3.5.2: an attribute, with its schema before it, a filter and a sub-attribute after it.
var path = regexp.MustCompile(`^(urn:[^\s\[\]"]+:)?[A-Za-z][\w-]*(\.[A-Za-z$][\w-]*)?(\[[^\[\]]+\](\.[A-Za-z$][\w-]*)?)?$`)

// Notice names what was created or changed and leaves the values to be fetched (RFC 9967 §2.4).
type Notice struct {
	Attributes []string // the attributes, by SCIM path; REQUIRED
	Version    string   // ETag of the resource after the event
	Extra      []event.Extra
}

// Describe lists the members.
func (e *Notice) Describe(m *event.Members) {
	m.Strings("attributes", &e.Attributes)
	m.String("version", &e.Version)
	m.Rest(&e.Extra)
}

// Validate wants attributes, and no data beside them.
func (e *Notice) Validate() error {
	if len(e.Attributes) == 0 {
		return event.Problem("attributes", "is required")
	}
	return absent(e.Extra, "data")
}

// ValidateSent wants paths in the form of SCIM.
func (e *Notice) ValidateSent() error {
	for _, a := range e.Attributes {
		if !path.MatchString(a) {
			return event.Problem("attributes", "has a name that is no SCIM path")
		}
	}
	return nil
}

// MarshalJSON writes the members and all unknown ones.
func (e *Notice) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *Notice) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
