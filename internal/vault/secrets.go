package vault

import (
	"context"
	"regexp"

	"countersign/internal/hub"
)

// SecretRows is what Secrets needs of the store: named blobs, of which it sees the ciphertext only.
type SecretRows interface {
	PutSecret(ctx context.Context, tenant, name string, sealed []byte) error
	Secret(ctx context.Context, tenant, name string) ([]byte, error)
	DeleteSecret(ctx context.Context, tenant, name string) error
}

// Secrets are the values that resources refer to as {stored: NAME}. Safe for concurrent use.
type Secrets struct {
	vault *Vault
	rows  SecretRows
}

// NewSecrets puts the vault in front of the rows.
func NewSecrets(v *Vault, rows SecretRows) *Secrets { return &Secrets{vault: v, rows: rows} }

var secretName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// MaxSecret is the longest value in bytes.
const MaxSecret = 64 << 10

// Set seals and keeps a value, over an older one of that name.
func (s *Secrets) Set(ctx context.Context, tenant, name string, value []byte) error {
	if !secretName.MatchString(name) {
		return hub.Errorf(hub.Invalid, "a secret's name is 1 to 63 of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit")
	}
	if len(value) == 0 || len(value) > MaxSecret {
		return hub.Errorf(hub.Invalid, "a secret has 1 to %d bytes, this one has %d", MaxSecret, len(value))
	}
	return s.rows.PutSecret(ctx, tenant, name, s.vault.Seal("secret", tenant+"/"+name, value))
}

// Value gives the plain value; hub.NotFound where there is none of that name.
func (s *Secrets) Value(ctx context.Context, tenant, name string) ([]byte, error) {
	sealed, err := s.rows.Secret(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	plain, err := s.vault.Open("secret", tenant+"/"+name, sealed)
	if err != nil {
		return nil, hub.Errorf(hub.Internal, "secret %s: %w", name, err).WithHint("the database was made with another master key; start the hub with that one")
	}
	return plain, nil
}

// Delete removes a secret.
func (s *Secrets) Delete(ctx context.Context, tenant, name string) error {
	return s.rows.DeleteSecret(ctx, tenant, name)
}
