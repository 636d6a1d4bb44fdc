package receipt

import (
	"encoding/json"
	"strings"
)

const (
	caepPrefix = "https://schemas.openid.net/secevent/caep/event-type/"
	riscPrefix = "https://schemas.openid.net/secevent/risc/event-type/"
	ssfPrefix  = "https://schemas.openid.net/secevent/ssf/event-type/"
	ssePrefix  = "https://schemas.openid.net/secevent/sse/event-type/"
	scimPrefix = "urn:ietf:params:scim:event:"
)

// DefaultActions are the actions of an order that names none (design §5.5), nil where the event type has no
// default (A12). The payload is read for CAEP credential-change only.
func DefaultActions(eventType string, payload json.RawMessage) []string {
	if name, ok := strings.CutPrefix(eventType, caepPrefix); ok {
		return caepDefaults(name, payload)
	}
	if name, ok := strings.CutPrefix(eventType, riscPrefix); ok {
		return riscDefaults(name)
	}
	if name, ok := strings.CutPrefix(eventType, scimPrefix); ok {
		return scimDefaults(name)
	}
	return nil
}

func caepDefaults(name string, payload json.RawMessage) []string {
	switch name {
	case "session-revoked":
		return []string{"revoke_sessions"}
	case "credential-change":
		var change string
		_ = json.Unmarshal(member(payload, "change_type"), &change) // absent or of another type: no default
		switch change {
		case "revoke", "delete":
			return []string{"revoke_credential", "revoke_sessions"}
		case "create", "update":
			return []string{"sync_credential"}
		}
	case "token-claims-change":
		return []string{"refresh_claims"}
	case "assurance-level-change", "risk-level-change", "device-compliance-change":
		return []string{"reevaluate_access"}
	case "session-established", "session-presented":
		return []string{"record"}
	}
	return nil
}

func riscDefaults(name string) []string {
	switch name {
	case "account-purged":
		return []string{"delete_account"}
	case "account-disabled":
		return []string{"disable_account", "revoke_sessions"}
	case "account-enabled":
		return []string{"enable_account"}
	case "credential-compromise":
		return []string{"require_credential_change", "revoke_sessions"}
	case "account-credential-change-required":
		return []string{"require_credential_change"}
	case "identifier-changed":
		return []string{"update_identifier"}
	case "identifier-recycled":
		return []string{"unlink_identifier"}
	case "sessions-revoked":
		return []string{"revoke_sessions"}
	case "recovery-activated":
		return []string{"reevaluate_access"}
	case "", "verification":
		return nil
	}
	return []string{"record"}
}

func scimDefaults(name string) []string {
	switch name {
	case "prov:delete":
		return []string{"delete_account"}
	case "prov:deactivate":
		return []string{"disable_account", "revoke_sessions"}
	case "prov:activate":
		return []string{"enable_account"}
	}
	for _, base := range []string{"prov:create", "prov:put", "prov:patch"} {
		if name == base || strings.HasPrefix(name, base+":") {
			return []string{"sync_resource"}
		}
	}
	if rest, ok := strings.CutPrefix(name, "feed:"); ok && rest != "" {
		return []string{"sync_resource"}
	}
	return nil
}
