package set

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"countersign/internal/strictjson"
)

// Signer signs SETs with one key. It is safe for concurrent use if the key is, as those of the standard
// library are.
type Signer struct {
	alg    Algorithm
	public Key
	key    crypto.Signer
	header string // base64url of the header and the dot after it
}

var pssOptions = &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256} // RFC 7518 §3.5

// NewSigner makes a Signer. The key may live elsewhere: only Public and Sign are used. A key that does
// not fit the algorithm is ErrKeyUnfit, another algorithm than the four ErrAlgorithm. An empty kid
// becomes the thumbprint of the key.
func NewSigner(alg Algorithm, kid string, key crypto.Signer) (*Signer, error) {
	alg = normal(string(alg))
	switch alg {
	case RS256, PS256, ES256, EdDSA:
	default:
		return nil, fmt.Errorf("%w: %q", ErrAlgorithm, alg)
	}
	if key == nil {
		return nil, fmt.Errorf("%w: no key", ErrKeyUnfit)
	}
	if err := fits(alg, key.Public()); err != nil {
		return nil, err
	}
	public := Key{ID: kid, Algorithm: string(alg), Use: "sig", Public: key.Public()}
	if kid == "" {
		public.ID = public.Thumbprint()
	}
	if !cleanText(public.ID) {
		return nil, fmt.Errorf("%w: kid is not clean text", ErrKeyUnfit)
	}
	header := []byte(`{"alg":"` + string(alg) + `","typ":"secevent+jwt","kid":`) // SSF 1.0 §4.1.1
	header = append(strictjson.AppendString(header, public.ID), '}')
	return &Signer{alg: alg, public: public, key: key, header: base64.RawURLEncoding.EncodeToString(header) + "."}, nil
}

// Algorithm gives the algorithm.
func (s *Signer) Algorithm() Algorithm { return s.alg }

// KeyID gives the kid.
func (s *Signer) KeyID() string { return s.public.ID }

// Public gives the key to publish.
func (s *Signer) Public() Key { return s.public }

// Input gives the signing input for a payload, which is what the content address covers. The payload is
// taken as it is; Claims.Marshal makes one.
func (s *Signer) Input(payload []byte) string {
	out := make([]byte, len(s.header), len(s.header)+base64.RawURLEncoding.EncodedLen(len(payload)))
	copy(out, s.header)
	return string(base64.RawURLEncoding.AppendEncode(out, payload))
}

// Complete signs a signing input fixed earlier and gives the compact token. The input may have been made
// by another Signer of the same key; it is not looked at again.
func (s *Signer) Complete(input string) (string, error) {
	signature, err := s.sign([]byte(input))
	if err != nil {
		return "", fmt.Errorf("set: sign with key %s: %w", s.public.ID, err)
	}
	out := make([]byte, len(input)+1, len(input)+1+base64.RawURLEncoding.EncodedLen(len(signature)))
	copy(out, input)
	out[len(input)] = '.'
	return string(base64.RawURLEncoding.AppendEncode(out, signature)), nil
}

// Sign makes the compact token of a payload: Input and Complete.
func (s *Signer) Sign(payload []byte) (string, error) { return s.Complete(s.Input(payload)) }

func (s *Signer) sign(input []byte) ([]byte, error) {
	if s.alg == EdDSA {
		return s.key.Sign(rand.Reader, input, crypto.Hash(0))
	}
	digest := sha256.Sum256(input)
	switch s.alg {
	case PS256:
		return s.key.Sign(rand.Reader, digest[:], pssOptions)
	case ES256:
		var random io.Reader = rand.Reader
		if _, ok := s.key.(*ecdsa.PrivateKey); ok {
			random = nil // RFC 6979: the same input has the same signature. A key that lives elsewhere decides by itself.
		}
		der, err := s.key.Sign(random, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return fixedSignature(der)
	default:
		return s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
}

var errDER = errors.New("the key gave no ASN.1 signature")

// fixedSignature turns the ASN.1 form of an ECDSA signature, SEQUENCE of two INTEGERs, into R and S of
// 32 octets each (RFC 7518 §3.4).
func fixedSignature(der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errDER
	}
	rest := der[2:]
	out := make([]byte, 64)
	for _, half := range [][]byte{out[:32], out[32:]} {
		if len(rest) < 2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-2 {
			return nil, errDER
		}
		n := rest[2 : 2+rest[1]]
		rest = rest[2+len(n):]
		for len(n) > 0 && n[0] == 0 {
			n = n[1:]
		}
		if len(n) > 32 {
			return nil, errDER
		}
		copy(half[32-len(n):], n)
	}
	if len(rest) != 0 {
		return nil, errDER
	}
	return out, nil
}
