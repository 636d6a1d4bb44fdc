package stream

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// WellKnownPath is inserted between the host and the path of an issuer (SSF 1.0 §7.2).
const WellKnownPath = "/.well-known/ssf-configuration"

// SpecVersion is the spec_version of the final SSF 1.0.
const SpecVersion = "1_0"

// FirstDraft is what Version gives for a transmitter that names no version.
const FirstDraft = "1_0-ID1"

// Metadata is the transmitter configuration metadata (SSF 1.0 §7.1). Empty members are not written; an
// endpoint that is empty is an operation the transmitter does not offer.
type Metadata struct {
	SpecVersion              string                     `json:"spec_version,omitempty"`
	Issuer                   string                     `json:"issuer,omitempty"`
	JWKSURI                  string                     `json:"jwks_uri,omitempty"`
	DeliveryMethodsSupported []string                   `json:"delivery_methods_supported,omitempty"`
	ConfigurationEndpoint    string                     `json:"configuration_endpoint,omitempty"`
	StatusEndpoint           string                     `json:"status_endpoint,omitempty"`
	AddSubjectEndpoint       string                     `json:"add_subject_endpoint,omitempty"`
	RemoveSubjectEndpoint    string                     `json:"remove_subject_endpoint,omitempty"`
	VerificationEndpoint     string                     `json:"verification_endpoint,omitempty"`
	CriticalSubjectMembers   []string                   `json:"critical_subject_members,omitempty"`
	AuthorizationSchemes     AuthorizationSchemes       `json:"authorization_schemes,omitempty"`
	DefaultSubjects          string                     `json:"default_subjects,omitempty"` // DefaultAll, DefaultNone; empty: not said
	Extra                    map[string]json.RawMessage `json:"-"`                          // all other members, such as the receipts settings under their URI
}

// The values of default_subjects (SSF 1.0 §7.1).
const (
	DefaultAll  = "ALL"
	DefaultNone = "NONE"
)

// AuthorizationScheme names one way to authorize calls of the management API (SSF 1.0 §7.1.1).
type AuthorizationScheme struct {
	SpecURN string `json:"spec_urn"` // such as OAuth2URN; REQUIRED
}

// OAuth2URN is the spec_urn of OAuth 2.0.
const OAuth2URN = "urn:ietf:rfc:6749"

// AuthorizationSchemes is the list of schemes; further members of a scheme are not kept.
type AuthorizationSchemes []AuthorizationScheme

// UnmarshalJSON reads the list, names compared exactly.
func (s *AuthorizationSchemes) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return fmt.Errorf("%w: authorization_schemes is not an array", ErrInvalid)
	}
	*s = nil
	for _, item := range items {
		var one AuthorizationScheme
		if _, err := readObject("authorization scheme", item, []field{{"spec_urn", &one.SpecURN}}); err != nil {
			return err
		}
		*s = append(*s, one)
	}
	return nil
}

// Version is the version of SSF that the transmitter follows: what it says, or FirstDraft when it says
// nothing (SSF 1.0 §7.1).
func (m *Metadata) Version() string {
	if m.SpecVersion == "" {
		return FirstDraft
	}
	return m.SpecVersion
}

func (m *Metadata) fields() []field {
	return []field{
		{"spec_version", &m.SpecVersion},
		{"issuer", &m.Issuer},
		{"jwks_uri", &m.JWKSURI},
		{"delivery_methods_supported", &m.DeliveryMethodsSupported},
		{"configuration_endpoint", &m.ConfigurationEndpoint},
		{"status_endpoint", &m.StatusEndpoint},
		{"add_subject_endpoint", &m.AddSubjectEndpoint},
		{"remove_subject_endpoint", &m.RemoveSubjectEndpoint},
		{"verification_endpoint", &m.VerificationEndpoint},
		{"critical_subject_members", &m.CriticalSubjectMembers},
		{"authorization_schemes", &m.AuthorizationSchemes},
		{"default_subjects", &m.DefaultSubjects},
	}
}

// MarshalJSON writes the members that are there; arrays without elements are omitted (SSF 1.0 §7.2.3).
func (m Metadata) MarshalJSON() ([]byte, error) {
	type plain Metadata
	return writeObject(plain(m), m.fields(), m.Extra)
}

// UnmarshalJSON reads the members and keeps all unknown ones in Extra.
func (m *Metadata) UnmarshalJSON(data []byte) error {
	*m = Metadata{}
	extra, err := readObject("metadata", data, m.fields())
	if err != nil {
		return err
	}
	m.Extra = extra
	return nil
}

// MetadataURL gives the address of an issuer's metadata: the well-known path is inserted between
// host and path, and a slash at the end of the path goes (SSF 1.0 §7.2.1). The issuer itself is never
// changed: compare it byte for byte. The issuer must have a scheme and a host and neither query,
// fragment nor user; that the scheme is https is for the caller to insist on.
func MetadataURL(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return "", fmt.Errorf("%w: issuer is not a URL", ErrInvalid)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Opaque != "":
		return "", fmt.Errorf("%w: issuer is not an http or https URL with a host", ErrInvalid)
	case strings.ContainsAny(issuer, "?#"):
		return "", fmt.Errorf("%w: issuer has a query or a fragment", ErrInvalid)
	case u.User != nil:
		return "", fmt.Errorf("%w: issuer has a user", ErrInvalid)
	}
	return u.Scheme + "://" + u.Host + WellKnownPath + strings.TrimSuffix(u.EscapedPath(), "/"), nil
}
