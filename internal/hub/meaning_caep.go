package hub

import "encoding/json"

func caepMeanings() []Meaning {
	device := []Variable{{Name: "previous_status", Kind: kindText, Text: "compliant or not-compliant"}, {Name: "current_status", Kind: kindText, Text: "compliant or not-compliant"}}
	session := []Variable{{Name: "fp_ua", Kind: kindText, Text: "fingerprint of the user agent"}, {Name: "ext_id", Kind: kindText, Text: "the session's id elsewhere"}}
	signedIn := append([]Variable{{Name: "acr", Kind: kindText, Text: "how strong the sign-in was, as in an ID token"}, {Name: "amr", Kind: kindList, Text: "how the person signed in, as in an ID token"}}, session...)
	return []Meaning{
		{Type: caepType + "session-revoked", Label: "Sessions revoked", Means: "The session that the subject names, or every one that it fits, has ended at the sender; it shall end here as well.",
			Variables: common(),
			Example:   json.RawMessage(`{"initiating_entity":"policy","reason_admin":{"en":"Test event: landspeed policy violated"},"reason_user":{"en":"Test event: please sign in again"}}`)},
		{Type: caepType + "token-claims-change", Label: "Token claims changed", Means: "What tokens say of the person has changed; it is to be read anew.",
			Variables: common(Variable{Name: "claims", Kind: kindObject, Text: "the claims with their new values"}),
			Example:   json.RawMessage(`{"claims":{"role":"ro-admin"},"initiating_entity":"admin","reason_admin":{"en":"Test event: role changed"}}`)},
		{Type: caepType + "credential-change", Label: "Credential changed", Means: "A credential was added, changed, withdrawn or deleted. Withdrawn or deleted, it must not let anybody in any more; added or changed, it is to be learnt.",
			Depends: "change_type",
			Variables: common(
				Variable{Name: "credential_type", Kind: kindText, Text: "password, pin, x509, fido2-platform, fido2-roaming, fido-u2f, verifiable-credential, phone-voice, phone-sms, app, or another"},
				Variable{Name: "change_type", Kind: kindText, Text: "create, revoke, update or delete"},
				Variable{Name: "friendly_name", Kind: kindText, Text: "what the person calls it"},
				Variable{Name: "x509_issuer", Kind: kindText, Text: "issuer of the certificate"},
				Variable{Name: "x509_serial", Kind: kindText, Text: "serial number of the certificate"},
				Variable{Name: "fido2_aaguid", Kind: kindText, Text: "model of the authenticator"}),
			Example: json.RawMessage(`{"credential_type":"fido2-roaming","change_type":"create","friendly_name":"Test key","initiating_entity":"user","reason_admin":{"en":"Test event: a second key was added"}}`)},
		{Type: caepType + "assurance-level-change", Label: "Assurance level changed", Means: "How sure the sender is of the person has changed since the sign-in; access is to be judged again.",
			Variables: common(
				Variable{Name: "namespace", Kind: kindText, Text: "whose levels they are, such as NIST-AAL"},
				Variable{Name: "current_level", Kind: kindText, Text: "the level now"},
				Variable{Name: "previous_level", Kind: kindText, Text: "the level before; empty: not known"},
				Variable{Name: "change_direction", Kind: kindText, Text: "increase or decrease"}),
			Example: json.RawMessage(`{"namespace":"NIST-AAL","current_level":"nist-aal2","previous_level":"nist-aal1","change_direction":"increase","initiating_entity":"user","reason_admin":{"en":"Test event: a second factor was shown"}}`)},
		{Type: caepType + "device-compliance-change", Label: "Device compliance changed", Means: "A device of the person keeps the rules again, or keeps them no more; access is to be judged again.",
			Variables: common(device...),
			Example: json.RawMessage(`{"previous_status":"compliant","current_status":"not-compliant","initiating_entity":"policy",` +
				`"reason_admin":{"en":"Test event: disk encryption is off"},"reason_user":{"en":"Test event: turn on disk encryption"}}`)},
		{Type: caepType + "session-established", Label: "Session established", Means: "The person has signed in at the sender. It is written down.",
			Variables: common(signedIn...),
			Example:   json.RawMessage(`{"initiating_entity":"user","fp_ua":"abb0b6e7da81a42233f8f2b1a8ddb1b9a4c81611","acr":"AAL2","amr":["otp"],"reason_admin":{"en":"Test event: signed in"}}`)},
		{Type: caepType + "session-presented", Label: "Session presented", Means: "A session of the person was seen in use. It is written down.",
			Variables: common(session...),
			Example:   json.RawMessage(`{"initiating_entity":"user","fp_ua":"abb0b6e7da81a42233f8f2b1a8ddb1b9a4c81611","reason_admin":{"en":"Test event: the session was used"}}`)},
		{Type: caepType + "risk-level-change", Label: "Risk level changed", Means: "The sender holds the person, or what the subject names, to be of more or less risk than before; access is to be judged again.",
			Variables: common(
				Variable{Name: "principal", Kind: kindText, Text: "whose risk it is: USER, DEVICE, SESSION, TENANT, ORG_UNIT, GROUP, or another"},
				Variable{Name: "current_level", Kind: kindText, Text: "LOW, MEDIUM or HIGH"},
				Variable{Name: "previous_level", Kind: kindText, Text: "LOW, MEDIUM or HIGH; empty: not known"},
				Variable{Name: "risk_reason", Kind: kindText, Text: "why"}),
			Example: json.RawMessage(`{"principal":"USER","current_level":"LOW","previous_level":"HIGH","risk_reason":"Test event: the alarm was false","initiating_entity":"system","reason_admin":{"en":"Test event: the alarm was false"}}`)},
	}
}
