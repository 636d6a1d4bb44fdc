package caep

import "countersign/event"

// The event type URIs (CAEP 1.0 §3).
const (
	SessionRevokedURI         = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	TokenClaimsChangeURI      = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change"
	CredentialChangeURI       = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	AssuranceLevelChangeURI   = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change"
	DeviceComplianceChangeURI = "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change"
	SessionEstablishedURI     = "https://schemas.openid.net/secevent/caep/event-type/session-established"
	SessionPresentedURI       = "https://schemas.openid.net/secevent/caep/event-type/session-presented"
	RiskLevelChangeURI        = "https://schemas.openid.net/secevent/caep/event-type/risk-level-change"
)

// Vocabulary lists the event types of CAEP 1.0.
func Vocabulary() []event.Type {
	return []event.Type{
		row(SessionRevokedURI, "session-revoked", "Session revoked", "3.1", func() event.Described { return new(SessionRevoked) }),
		row(TokenClaimsChangeURI, "token-claims-change", "Token claims change", "3.2", func() event.Described { return new(TokenClaimsChange) }),
		row(CredentialChangeURI, "credential-change", "Credential change", "3.3", func() event.Described { return new(CredentialChange) }),
		row(AssuranceLevelChangeURI, "assurance-level-change", "Assurance level change", "3.4", func() event.Described { return new(AssuranceLevelChange) }),
		row(DeviceComplianceChangeURI, "device-compliance-change", "Device compliance change", "3.5", func() event.Described { return new(DeviceComplianceChange) }),
		row(SessionEstablishedURI, "session-established", "Session established", "3.6", func() event.Described { return new(SessionEstablished) }),
		row(SessionPresentedURI, "session-presented", "Session presented", "3.7", func() event.Described { return new(SessionPresented) }),
		row(RiskLevelChangeURI, "risk-level-change", "Risk level change", "3.8", func() event.Described { return new(RiskLevelChange) }),
	}
}

// identifying are the members of CAEP that hold identifiers: the claims of a token, and the identifier of a wider session.
// The fingerprint of a user agent and the serial number of a certificate are the same wherever they are told.
var identifying = []event.Identifying{{Member: "claims"}, {Member: "ext_id"}}

func row(uri, name, title, section string, empty func() event.Described) event.Type {
	return event.Type{
		Identifying: event.Among(empty(), identifying...),
		URI:         uri, Name: "caep/" + name, Title: title, Clause: "CAEP 1.0 §" + section,
		New:     func() event.Payload { return empty() },
		Members: event.Names(empty()),
	}
}
