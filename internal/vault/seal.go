package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

// ErrSealed means that a blob was not sealed here, not for this purpose and name, or not with this
// master key. Nothing more can be said about it.
var ErrSealed = errors.New("vault: the value does not open with this master key")

// KeySize is the length of a master key in bytes.
const KeySize = 32

// sealedVersion is the first byte of every blob, so that a later form can be told apart.
const sealedVersion = 1

// Vault seals and opens blobs with one master key. It is safe for concurrent use.
type Vault struct {
	aead   cipher.AEAD
	derive []byte // the secret that pseudonyms are derived from
}

// Open makes a Vault from a master key of KeySize bytes. The key itself is not kept: sealing and
// deriving each use their own key made from it.
func Open(master []byte) (*Vault, error) {
	if len(master) != KeySize {
		return nil, fmt.Errorf("vault: a master key has %d bytes, this one has %d", KeySize, len(master))
	}
	sealing, err := hkdf.Key(sha256.New, master, nil, "countersign seal 1", 32)
	if err != nil {
		return nil, fmt.Errorf("vault: derive: %w", err)
	}
	derive, err := hkdf.Key(sha256.New, master, nil, "countersign derive 1", 32)
	if err != nil {
		return nil, fmt.Errorf("vault: derive: %w", err)
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return &Vault{aead: aead, derive: derive}, nil
}

// Seal encrypts plain for one purpose and name: version byte, 12 random bytes, ciphertext and tag.
func (v *Vault) Seal(purpose, name string, plain []byte) []byte {
	out := make([]byte, 1+v.aead.NonceSize(), 1+v.aead.NonceSize()+len(plain)+v.aead.Overhead())
	out[0] = sealedVersion
	rand.Read(out[1:])
	return v.aead.Seal(out, out[1:], plain, associated(purpose, name))
}

// Open decrypts what Seal made for the same purpose and name; anything else is ErrSealed.
func (v *Vault) Open(purpose, name string, sealed []byte) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < 1+n || sealed[0] != sealedVersion {
		return nil, ErrSealed
	}
	plain, err := v.aead.Open(nil, sealed[1:1+n], sealed[1+n:], associated(purpose, name))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// associated binds a blob to its place. The length of the purpose keeps ("ab","c") and ("a","bc") apart.
func associated(purpose, name string) []byte {
	return fmt.Appendf(nil, "%d:%s:%s", len(purpose), purpose, name)
}

// Pseudonym gives the tenant's secret for pseudonyms in receipts (receipts design §8). It is derived
// from the master key: the same at every start and on every node, and stored nowhere.
func (v *Vault) Pseudonym(tenant string) []byte {
	m := hmac.New(sha256.New, v.derive)
	m.Write([]byte("pseudonym:" + tenant))
	return m.Sum(nil)
}
