package caep

import (
	"encoding/json"

	"countersign/event"
)

// TokenClaimsChange says that claims of the token named by the subject changed (CAEP 1.0 §3.2).
// EventTimestamp is when they changed.
type TokenClaimsChange struct {
	Claims json.RawMessage // the claims with their new values, an object of at least one; REQUIRED
	Common
}

// Describe lists the members.
func (e *TokenClaimsChange) Describe(m *event.Members) {
	m.Object("claims", &e.Claims)
	e.Common.describe(m)
}

// Validate wants one claim at least.
func (e *TokenClaimsChange) Validate() error {
	if len(e.Claims) == 0 {
		return event.Problem("claims", "is required")
	}
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(e.Claims, &claims); err != nil || len(claims) == 0 {
		return event.Problem("claims", "has no claim")
	}
	return e.Common.validate()
}

// MarshalJSON writes the members and all unknown ones.
func (e *TokenClaimsChange) MarshalJSON() ([]byte, error) { return event.Marshal(e) }

// UnmarshalJSON reads the members, strict about their types, and keeps unknown ones.
func (e *TokenClaimsChange) UnmarshalJSON(data []byte) error { return event.Unmarshal(data, e) }
