package risc

import "countersign/event"

// The event type URIs (RISC 1.0 §2).
const (
	AccountCredentialChangeRequiredURI = "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required"
	AccountPurgedURI                   = "https://schemas.openid.net/secevent/risc/event-type/account-purged"
	AccountDisabledURI                 = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	AccountEnabledURI                  = "https://schemas.openid.net/secevent/risc/event-type/account-enabled"
	IdentifierChangedURI               = "https://schemas.openid.net/secevent/risc/event-type/identifier-changed"
	IdentifierRecycledURI              = "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled"
	CredentialCompromiseURI            = "https://schemas.openid.net/secevent/risc/event-type/credential-compromise"
	OptInURI                           = "https://schemas.openid.net/secevent/risc/event-type/opt-in"
	OptOutInitiatedURI                 = "https://schemas.openid.net/secevent/risc/event-type/opt-out-initiated"
	OptOutCancelledURI                 = "https://schemas.openid.net/secevent/risc/event-type/opt-out-cancelled"
	OptOutEffectiveURI                 = "https://schemas.openid.net/secevent/risc/event-type/opt-out-effective"
	RecoveryActivatedURI               = "https://schemas.openid.net/secevent/risc/event-type/recovery-activated"
	RecoveryInformationChangedURI      = "https://schemas.openid.net/secevent/risc/event-type/recovery-information-changed"
	SessionsRevokedURI                 = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked"
)

// Vocabulary lists the event types of RISC 1.0, the deprecated one too.
func Vocabulary() []event.Type {
	return []event.Type{
		row(AccountCredentialChangeRequiredURI, "account-credential-change-required", "Account credential change required", "2.1", nil),
		row(AccountPurgedURI, "account-purged", "Account purged", "2.2", nil),
		row(AccountDisabledURI, "account-disabled", "Account disabled", "2.3", func() event.Described { return new(AccountDisabled) }),
		row(AccountEnabledURI, "account-enabled", "Account enabled", "2.4", nil),
		ofIdentifier(row(IdentifierChangedURI, "identifier-changed", "Identifier changed", "2.5", func() event.Described { return new(IdentifierChanged) })),
		ofIdentifier(row(IdentifierRecycledURI, "identifier-recycled", "Identifier recycled", "2.6", nil)),
		row(CredentialCompromiseURI, "credential-compromise", "Credential compromise", "2.7", func() event.Described { return new(CredentialCompromise) }),
		row(OptInURI, "opt-in", "Opt in", "2.8.1", nil),
		row(OptOutInitiatedURI, "opt-out-initiated", "Opt out initiated", "2.8.2", nil),
		row(OptOutCancelledURI, "opt-out-cancelled", "Opt out cancelled", "2.8.3", nil),
		row(OptOutEffectiveURI, "opt-out-effective", "Opt out effective", "2.8.4", nil),
		row(RecoveryActivatedURI, "recovery-activated", "Recovery activated", "2.9", nil),
		row(RecoveryInformationChangedURI, "recovery-information-changed", "Recovery information changed", "2.10", nil),
		deprecated(row(SessionsRevokedURI, "sessions-revoked", "Sessions revoked", "2.11", nil)), // caep/session-revoked takes its place
	}
}

// row is Open throughout: RISC gives its types few members or none, and its senders add those of CAEP.
func row(uri, name, title, section string, empty func() event.Described) event.Type {
	t := event.Type{URI: uri, Name: "risc/" + name, Title: title, Clause: "RISC 1.0 §" + section, Open: true}
	if empty != nil {
		t.New = func() event.Payload { return empty() }
		t.Members = event.Names(empty())
		t.Identifying = event.Among(empty(), event.Identifying{Member: "new-value", Like: true})
	}
	return t
}

// ofIdentifier is for types whose subject is the identifier itself; RISC writes "phone" for what RFC 9493 calls phone_number.
func ofIdentifier(t event.Type) event.Type {
	t.Subjects = []string{"email", "phone_number"}
	return t
}

func deprecated(t event.Type) event.Type {
	t.Deprecated = true
	return t
}
