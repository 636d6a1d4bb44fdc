// Package vault keeps what must not be read: the master key, secrets at rest, and signing keys.
//
// It owns three things. The master key comes from a file, from the environment, or is made once in
// the data folder with mode 0600 ([Master]). [Vault] seals and opens small blobs with it (AES-256-GCM;
// purpose and name are associated data, so a blob moved to another place does not open). On top of
// that stand [Secrets], which operators name in resources as {stored: NAME}, and [Keys], the signing
// keys of each tenant: RS256 (2048 bit), ES256 and EdDSA, made at first start or taken from a file.
//
// The life of a signing key:
//
//	Rotate, Import ─► next ──(published for a while)──► active ──(another one signs)──► retiring ──(nothing waits)──► retired
//	                    └───────────────────────── Withdraw, from any state ─────────────────────────► compromised
//
// It is in the published key set from next to retiring. A retired one is kept for the evidence of what it signed; a
// compromised one is in no set and signs nothing. The states are in the store, and every node follows them with Reload.
//
// It leaves the rows to internal/store, which sees ciphertext only, and signing to package set.
// Nothing here is ever logged, and no method but [Secrets.Value] gives a plain secret away.
package vault
