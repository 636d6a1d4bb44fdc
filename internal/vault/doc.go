// Package vault keeps what must not be read: secrets at rest, and signing keys.
//
// [Vault] seals and opens small blobs with the master key (AES-256-GCM; purpose and name are
// associated data, so a blob moved to another place does not open). On top of that stand [Secrets],
// which operators name in resources as {stored: NAME}, and [Keys], the signing keys of each tenant:
// RS256 (2048 bit), ES256 and EdDSA, made at first start.
//
// It leaves finding the master key to internal/config, the rows to internal/store, which sees
// ciphertext only, and signing to package set. Nothing here is ever logged, and no method but
// [Secrets.Value] gives a plain secret away.
package vault
