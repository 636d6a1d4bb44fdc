package hub

import "encoding/json"

func riscMeanings() []Meaning {
	row := func(name, label, means string, more ...Variable) Meaning {
		return Meaning{Type: riscType + name, Label: label, Means: means, Variables: common(more...)}
	}
	example := func(m Meaning, payload string) Meaning {
		m.Example = json.RawMessage(payload)
		return m
	}
	return []Meaning{
		row("account-credential-change-required", "Credential change required", "The person was made to change a credential at the sender; the same is wanted here."),
		row("account-purged", "Account purged", "The account was deleted for good."),
		example(row("account-disabled", "Account disabled", "The account was closed, and may be opened again later.",
			Variable{Name: "reason", Kind: kindText, Text: "why: hijacking, bulk-account, or another"}), `{"reason":"hijacking"}`),
		row("account-enabled", "Account enabled", "The account was opened again."),
		example(row("identifier-changed", "Identifier changed", "The address or number of the subject is not the person's any more; the event may give the new one.",
			Variable{Name: "new_value", Member: "new-value", Kind: kindText, Text: "the new address or number; empty: not said"}), `{"new-value":"countersign-each-event-new@example.com"}`),
		row("identifier-recycled", "Identifier recycled", "The address or number of the subject now belongs to somebody else: what was tied to it is to be untied."),
		example(row("credential-compromise", "Credential compromised", "A credential of the person was found in the wrong hands: the sessions end, and it is to be changed.",
			Variable{Name: "credential_type", Kind: kindText, Text: "as in caep/credential-change"}), `{"credential_type":"password","reason_admin":{"en":"Test event: found in a published list"}}`),
		row("opt-in", "Opted in", "The person takes part in the exchange of signals. It is written down."),
		row("opt-out-initiated", "Opt-out initiated", "The person wants to leave the exchange of signals; until then events still flow. It is written down."),
		row("opt-out-cancelled", "Opt-out cancelled", "The person stays in the exchange of signals after all. It is written down."),
		row("opt-out-effective", "Opt-out effective", "The person has left the exchange of signals. It is written down."),
		row("recovery-activated", "Recovery activated", "Somebody began to recover the account; access is to be judged again."),
		row("recovery-information-changed", "Recovery information changed", "Where the person can be reached to recover the account has changed. It is written down."),
		row("sessions-revoked", "Sessions revoked (older form)", "All sessions of the account have ended at the sender; they shall end here as well. caep/session-revoked takes its place."),
	}
}
