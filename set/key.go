package set

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strconv"

	"countersign/internal/strictjson"
)

// Key is a public key of an issuer, as its JWK Set tells of it (RFC 7517).
type Key struct {
	ID        string           // kid
	Algorithm string           // alg; empty: not said
	Use       string           // use; empty: not said. Only "sig" and empty serve
	Public    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey on P-256 or ed25519.PublicKey

	// Validity in NumericDate seconds, compared with the token's iat: nbf ≤ iat < exp. 0: open.
	NotBefore, Expires int64
	Revoked            *Revocation
}

// Revocation tells when and why a key fell (receipts A6).
type Revocation struct {
	At     int64  `json:"revoked_at"`
	Reason string `json:"reason,omitempty"` // "compromised": every signature of the key falls with it
}

// Compromised is the revocation reason after which no iat of a token can be believed.
const Compromised = "compromised"

// serves reports why the key cannot have signed a token of that algorithm and iat; nil if it can.
func (k Key) serves(alg Algorithm, issuedAt int64) error {
	if k.Use != "" && k.Use != "sig" {
		return fmt.Errorf("%w: its use is %.20q", ErrKeyUnfit, k.Use)
	}
	if k.Algorithm != "" && normal(k.Algorithm) != alg { // RFC 8725 §3.1
		return fmt.Errorf("%w: it is published for %.20q, the token says %s", ErrKeyUnfit, k.Algorithm, alg)
	}
	if err := fits(alg, k.Public); err != nil {
		return err
	}
	switch {
	case issuedAt < k.NotBefore:
		return fmt.Errorf("%w: iat is before its nbf", ErrKeyUnfit)
	case k.Expires != 0 && issuedAt >= k.Expires:
		return fmt.Errorf("%w: iat is not before its exp", ErrKeyUnfit)
	case k.Revoked != nil && (k.Revoked.Reason == Compromised || issuedAt >= k.Revoked.At):
		return fmt.Errorf("%w: it is revoked", ErrKeyUnfit)
	}
	return nil
}

// Thumbprint is the RFC 7638 thumbprint with SHA-256 in base64url; empty for a key of a kind this
// package does not know.
func (k Key) Thumbprint() string {
	members := appendPublic(nil, k.Public) // required members in lexical order (RFC 7638 §3.2)
	if members == nil {
		return ""
	}
	sum := sha256.Sum256(append(append([]byte{'{'}, members...), '}'))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// MarshalJSON writes the public JWK.
func (k Key) MarshalJSON() ([]byte, error) {
	members := appendPublic(nil, k.Public)
	if members == nil {
		return nil, fmt.Errorf("%w: %T", ErrKeyUnfit, k.Public)
	}
	out := append([]byte{'{'}, members...)
	for _, m := range [...]struct{ name, value string }{{"kid", k.ID}, {"use", k.Use}, {"alg", k.Algorithm}} {
		if m.value != "" {
			out = append(strictjson.AppendString(append(out, ','), m.name), ':')
			out = strictjson.AppendString(out, m.value)
		}
	}
	if k.NotBefore != 0 {
		out = strconv.AppendInt(append(out, `,"nbf":`...), k.NotBefore, 10)
	}
	if k.Expires != 0 {
		out = strconv.AppendInt(append(out, `,"exp":`...), k.Expires, 10)
	}
	if k.Revoked != nil {
		out = strconv.AppendInt(append(out, `,"revoked":{"revoked_at":`...), k.Revoked.At, 10)
		if k.Revoked.Reason != "" {
			out = strictjson.AppendString(append(out, `,"reason":`...), k.Revoked.Reason)
		}
		out = append(out, '}')
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads one public JWK; a key this package cannot use is an error.
func (k *Key) UnmarshalJSON(data []byte) error {
	if err := strictjson.Check(data, strictjson.Limits{}); err != nil {
		return err
	}
	parsed, err := parseJWK(data)
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}

// appendPublic appends the members that RFC 7638 hashes, without braces; nil for an unknown kind of key.
func appendPublic(out []byte, public crypto.PublicKey) []byte {
	text := func(octets []byte) []byte { return base64.RawURLEncoding.AppendEncode(nil, octets) }
	switch key := public.(type) {
	case *rsa.PublicKey:
		out = append(append(out, `"e":"`...), text(big.NewInt(int64(key.E)).Bytes())...)
		out = append(append(out, `","kty":"RSA","n":"`...), text(key.N.Bytes())...)
		return append(out, '"')
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 4, X, Y
		if err != nil || len(point) != 65 {
			return nil
		}
		out = append(append(out, `"crv":"P-256","kty":"EC","x":"`...), text(point[1:33])...)
		out = append(append(out, `","y":"`...), text(point[33:])...)
		return append(out, '"')
	case ed25519.PublicKey:
		out = append(append(out, `"crv":"Ed25519","kty":"OKP","x":"`...), text(key)...)
		return append(out, '"')
	}
	return nil
}

// KeySet finds the keys of one issuer.
type KeySet interface {
	// Find gives the keys with that kid, or all keys for an empty kid. No key is an empty answer and no
	// error; an error is ErrKeysUnavailable and means that the answer is not known now. Find may be
	// called by many goroutines at once; callers do not change what it returns.
	Find(ctx context.Context, kid string) ([]Key, error)
}

// StaticKeys are keys known beforehand: pinned, configured, or from a file.
type StaticKeys []Key

// Find implements KeySet; it never fails.
func (s StaticKeys) Find(_ context.Context, kid string) ([]Key, error) {
	if kid == "" {
		return s, nil
	}
	var found []Key
	for _, k := range s {
		if k.ID == kid {
			found = append(found, k)
		}
	}
	return found, nil
}
