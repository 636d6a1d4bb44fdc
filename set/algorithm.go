package set

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// Algorithm is a JWS signature algorithm (RFC 7518 §3.1, RFC 8037, RFC 9864).
type Algorithm string

// The algorithms of this package. In headers and keys "Ed25519" is read as EdDSA.
const (
	RS256 Algorithm = "RS256" // the one the CAEP interoperability profile demands (§2.6)
	PS256 Algorithm = "PS256" // salt of 32 octets
	ES256 Algorithm = "ES256" // P-256, signature of 64 octets
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// Algorithms lists all of them, for policies that allow all.
func Algorithms() []Algorithm { return []Algorithm{RS256, PS256, ES256, EdDSA} }

// Bounds of RSA moduli. Longer ones than the upper bound only serve to burn a verifier's time.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// normal gives the one spelling of an algorithm that has two.
func normal(alg string) Algorithm {
	if alg == "Ed25519" {
		return EdDSA
	}
	return Algorithm(alg)
}

// fits reports why a public key cannot serve an algorithm; nil if it can.
func fits(alg Algorithm, public crypto.PublicKey) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if alg != RS256 && alg != PS256 {
			return fmt.Errorf("%w: RSA key for %s", ErrKeyUnfit, alg)
		}
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("%w: RSA key of %d bits", ErrKeyUnfit, bits)
		}
		return nil
	case *ecdsa.PublicKey:
		if alg != ES256 || key.Curve != elliptic.P256() {
			return fmt.Errorf("%w: %s key for %s", ErrKeyUnfit, key.Params().Name, alg)
		}
		return nil
	case ed25519.PublicKey:
		if alg != EdDSA || len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: Ed25519 key for %s", ErrKeyUnfit, alg)
		}
		return nil
	}
	return fmt.Errorf("%w: %T", ErrKeyUnfit, public)
}

// GenerateKey makes a private key for an algorithm: RSA of 2048 bits, P-256 or Ed25519.
func GenerateKey(alg Algorithm) (crypto.Signer, error) {
	switch normal(string(alg)) {
	case RS256, PS256:
		return rsa.GenerateKey(rand.Reader, minRSABits)
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("%w: %q", ErrAlgorithm, alg)
}
