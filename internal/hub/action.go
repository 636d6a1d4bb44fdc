package hub

// Action names are those of the receipts profile (action-receipts-design §5.5).
const (
	RevokeSessions          = "revoke_sessions"
	RevokeTokens            = "revoke_tokens"
	Reauthenticate          = "reauthenticate"
	DisableAccount          = "disable_account"
	EnableAccount           = "enable_account"
	DeleteAccount           = "delete_account"
	RequireCredentialChange = "require_credential_change"
	RevokeCredential        = "revoke_credential"
	SyncCredential          = "sync_credential"
	RefreshClaims           = "refresh_claims"
	ReevaluateAccess        = "reevaluate_access"
	RestrictDevice          = "restrict_device"
	UpdateIdentifier        = "update_identifier"
	UnlinkIdentifier        = "unlink_identifier"
	SyncResource            = "sync_resource"
	Record                  = "record"
)

// Reach says how far revoke_sessions goes. Policies write it as a scope.
type Reach string

// The reaches, narrowest first, and the policy scope that gives each.
const (
	ReachSession Reach = "session"        // scope session: the one that the signal names
	ReachTokens  Reach = "session_tokens" // scope app: all sessions of this person at an app, and tokens born of them
	ReachGlobal  Reach = "global"         // scope everywhere
)

// Operation is something a connector can do at an app (compat/app-actions §1.1).
type Operation string

// The operations a pack may offer.
const (
	OpEndSession            Operation = "end_session"
	OpEndAllSessions        Operation = "end_all_sessions"
	OpRevokeTokens          Operation = "revoke_tokens"
	OpDisableAccount        Operation = "disable_account"
	OpEnableAccount         Operation = "enable_account"
	OpForceReauthentication Operation = "force_reauthentication"
	OpForcePasswordReset    Operation = "force_password_reset"
	OpRemoveCredentials     Operation = "remove_credentials"
	OpLookupAccount         Operation = "lookup_account"
	OpListSessions          Operation = "list_sessions"
	OpListAccounts          Operation = "list_accounts"
	OpReadAccountState      Operation = "read_account_state"
	OpDeleteAccount         Operation = "delete_account"
)

// Step is one operation of an action's sequence.
type Step struct {
	Op Operation
	// OrElse is used where the pack lacks Op; with ForEach it runs once for each listed session.
	OrElse  Operation
	ForEach bool
	// Optional steps are run where the pack has them; without them access may be left over.
	Optional bool
}

// Steps is the one table from an action and its reach to operations, in order (design §3).
// Nil means that no operation does it: the action is local (record, reevaluate_access) or not supported.
func Steps(action string, reach Reach) []Step {
	switch action {
	case RevokeSessions:
		if reach == ReachSession {
			return []Step{{Op: OpEndSession}}
		}
		return []Step{{Op: OpEndAllSessions, OrElse: OpEndSession, ForEach: true}, {Op: OpRevokeTokens, Optional: true}}
	case RevokeTokens:
		return []Step{{Op: OpRevokeTokens}}
	case Reauthenticate:
		return []Step{{Op: OpForceReauthentication, OrElse: OpEndAllSessions}}
	case DisableAccount:
		return []Step{{Op: OpDisableAccount}, {Op: OpEndAllSessions, OrElse: OpEndSession, ForEach: true, Optional: true}, {Op: OpRevokeTokens, Optional: true}}
	case EnableAccount:
		return []Step{{Op: OpEnableAccount}}
	case DeleteAccount:
		return []Step{{Op: OpDeleteAccount}}
	case RequireCredentialChange:
		return []Step{{Op: OpForcePasswordReset}}
	case RevokeCredential:
		return []Step{{Op: OpRemoveCredentials}}
	}
	return nil
}

// Wider reports whether reach a covers at least what b covers.
func Wider(a, b Reach) bool { return rank(a) >= rank(b) }

func rank(r Reach) int {
	switch r {
	case ReachSession:
		return 1
	case ReachTokens:
		return 2
	case ReachGlobal:
		return 3
	}
	return 0
}
