package server

import (
	"countersign/internal/vault"
)

// sealed is the vault as enrolling needs it: secrets by name, and blobs for a state.
type sealed struct {
	*vault.Secrets
	v *vault.Vault
}

// Seal seals a blob.
func (s sealed) Seal(purpose, name string, plain []byte) []byte {
	return s.v.Seal(purpose, name, plain)
}

// Open opens one.
func (s sealed) Open(purpose, name string, sealed []byte) ([]byte, error) {
	return s.v.Open(purpose, name, sealed)
}
