"""What CAEP 1.0, RISC 1.0 and SSF 1.0 ask of each event, in JSON Schema. Written from the specifications, not from the program."""

CAEP, RISC = "https://schemas.openid.net/secevent/caep/event-type/", "https://schemas.openid.net/secevent/risc/event-type/"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"

text = {"type": "string", "minLength": 1}
by_language = {"type": "object", "minProperties": 1, "additionalProperties": text}


def one_of(*words):
    return {"enum": list(words)}


def members(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def caep(required=(), **properties):
    """With the members that CAEP 1.0 §2 has for every event."""
    return members(required, event_timestamp={"type": "integer", "minimum": 0}, initiating_entity=one_of("admin", "user", "policy", "system"),
                   reason_admin=by_language, reason_user=by_language, **properties)


COMPLIANCE, LEVEL = one_of("compliant", "not-compliant"), one_of("LOW", "MEDIUM", "HIGH")
EVENTS = {
    CAEP + "session-revoked": caep(),
    CAEP + "token-claims-change": caep(["claims"], claims={"type": "object", "minProperties": 1}),
    CAEP + "credential-change": caep(["credential_type", "change_type"], credential_type=text, change_type=one_of("create", "revoke", "update", "delete"),
                                     friendly_name=text, x509_issuer=text, x509_serial=text, fido2_aaguid=text),
    CAEP + "assurance-level-change": caep(["namespace", "current_level"], namespace=text, current_level=text, previous_level=text,
                                          change_direction=one_of("increase", "decrease")),
    CAEP + "device-compliance-change": caep(["previous_status", "current_status"], previous_status=COMPLIANCE, current_status=COMPLIANCE),
    CAEP + "session-established": caep(fp_ua=text, acr=text, amr={"type": "array", "items": text}, ext_id=text),
    CAEP + "session-presented": caep(fp_ua=text, ext_id=text),
    CAEP + "risk-level-change": caep(["principal", "current_level"], principal=text, current_level=LEVEL, previous_level=LEVEL, risk_reason=text),
    RISC + "account-credential-change-required": members(),
    RISC + "account-purged": members(),
    RISC + "account-disabled": members(reason=one_of("hijacking", "bulk-account")),
    RISC + "account-enabled": members(),
    RISC + "identifier-changed": members(**{"new-value": text}),
    RISC + "identifier-recycled": members(),
    RISC + "credential-compromise": members(["credential_type"], credential_type=text, event_timestamp={"type": "integer"},
                                            reason_admin={"anyOf": [text, by_language]}, reason_user={"anyOf": [text, by_language]}),
    RISC + "opt-in": members(),
    RISC + "opt-out-initiated": members(),
    RISC + "opt-out-cancelled": members(),
    RISC + "opt-out-effective": members(),
    RISC + "recovery-activated": members(),
    RISC + "recovery-information-changed": members(),
}

# RFC 9493 §3.2, SSF 1.0 §3.
FORMATS = {"email": ["email"], "phone_number": ["phone_number"], "iss_sub": ["iss", "sub"], "opaque": ["id"], "account": ["uri"], "uri": ["uri"], "did": ["url"],
           "jwt_id": ["iss", "jti"], "saml_assertion_id": ["issuer", "assertion_id"], "ip-addresses": ["ip-addresses"], "aliases": ["identifiers"], "complex": []}
SUBJECT = {"type": "object", "required": ["format"], "properties": {"format": {"enum": list(FORMATS)}},
           "allOf": [{"if": {"properties": {"format": {"const": f}}}, "then": {"required": need}} for f, need in FORMATS.items()]}

# RFC 8417 §2, SSF 1.0 §4 and §11: one event, sub_id in place of sub, no exp.
SET = {
    "type": "object", "required": ["iss", "iat", "jti", "aud", "sub_id", "events"], "not": {"anyOf": [{"required": ["sub"]}, {"required": ["exp"]}]},
    "properties": {"iss": {"type": "string", "pattern": "^https://"}, "iat": {"type": "integer"}, "jti": text, "txn": text, "sub_id": SUBJECT,
                   "aud": {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]},
                   "events": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "object"}}},
}
