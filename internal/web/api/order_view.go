package api

import (
	"encoding/json"

	"countersign/internal/hub"
)

// WithdrawRequest takes an order back.
type WithdrawRequest struct {
	ReasonAdmin string `json:"reason_admin"`
}

// KeyInfo is a signing key of ours.
type KeyInfo struct {
	KID        string          `json:"kid"`
	Alg        string          `json:"alg"`
	State      string          `json:"state"` // next | active | retiring | retired | compromised
	Thumbprint string          `json:"thumbprint"`
	JWK        json.RawMessage `json:"jwk"`
	Created    hub.Micros      `json:"created_at,omitempty"`
	ActiveAt   hub.Micros      `json:"active_at,omitempty"` // of a next one: when it begins to sign
	Waiting    int64           `json:"waiting"`             // rows that will be signed with it
	Reissued   int             `json:"reissued,omitempty"`  // in the answer to a retirement: rows that another key signs now
}

// RotateRequest asks for a new signing key.
type RotateRequest struct {
	Alg string `json:"alg"` // absent: RS256
	Now bool   `json:"now"` // sign with it at once, without the time in which receivers' caches learn it
}

// RetireRequest ends a key.
type RetireRequest struct {
	Compromised bool `json:"compromised"` // nothing more is signed with it, and it is no longer published
}
