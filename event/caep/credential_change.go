package caep

import "countersign/event"

// The kinds of change (CAEP 1.0 §3.3.1), a closed set.
const (
	ChangeCreate = "create"
	ChangeRevoke = "revoke"
	ChangeUpdate = "update"
	ChangeDelete = "delete"
)

// CredentialTypes lists the types that CAEP names (CAEP 1.0 §3.3.1). The set is open.
func CredentialTypes() []string {
	return []string{"password", "pin", "x509", "fido2-platform", "fido2-roaming", "fido-u2f",
		"verifiable-credential", "phone-voice", "phone-sms", "app"}
}

// CredentialChange says that a credential was created, changed, revoked or deleted (CAEP 1.0 §3.3).
// EventTimestamp is when that happened.
type CredentialChange struct {
	CredentialType string // a value of CredentialTypes or one the two sides agree on; REQUIRED
	ChangeType     string // create, revoke, update or delete; REQUIRED
	FriendlyName   string // name of the credential; written by its user, never show it unescaped
	X509Issuer     string // issuer of the certificate (RFC 5280)
	X509Serial     string // serial number of the certificate (RFC 5280)
	FIDO2AAGUID    string // authenticator attestation GUID
	Common
}

// Describe lists the members.
func (e *CredentialChange) Describe(m *event.Members) {
	m.String("credential_type", &e.CredentialType)
	m.String("change_type", &e.ChangeType)
	m.String("friendly_name", &e.FriendlyName)
	m.String("x509_issuer", &e.X509Issuer)
	m.String("x509_serial", &e.X509Serial)
	m.String("fido2_aaguid", &e.FIDO2AAGUID)
	e.Common.describe(m)
}

// Validate wants both types, and one of the four kinds of change. Credential types are open: the
// listed ones and any other that both sides support.
func (e *CredentialChange) Validate() error {
	return event.First(
		event.Need("credential_type", e.CredentialType),
		event.Need("change_type", e.ChangeType),
		event.OneOf("change_type", e.ChangeType, ChangeCreate, ChangeRevoke, ChangeUpdate, ChangeDelete),
		e.Common.validate(),
	)
}

// MarshalJSON writes the members and all unknown ones.
func (e *CredentialChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *CredentialChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
