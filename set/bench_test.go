package set_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"testing"

	"countersign/set"
)

// bareSign is the floor of a signature: the standard library on bytes that are at hand.
func bareSign(alg set.Algorithm, key crypto.Signer, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	switch alg {
	case set.RS256:
		return rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, digest[:])
	case set.PS256:
		return rsa.SignPSS(rand.Reader, key.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
	case set.ES256:
		return ecdsa.SignASN1(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
	default:
		return ed25519.Sign(key.(ed25519.PrivateKey), input), nil
	}
}

func bareVerify(alg set.Algorithm, public crypto.PublicKey, input, signature []byte) bool {
	digest := sha256.Sum256(input)
	switch alg {
	case set.RS256:
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature) == nil
	case set.PS256:
		return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
	case set.ES256:
		return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature)
	default:
		return ed25519.Verify(public.(ed25519.PublicKey), input, signature)
	}
}

// BenchmarkSign makes a whole SET, from claims to compact token; BenchmarkSignBare is its floor.
func BenchmarkSign(b *testing.B) {
	for _, alg := range set.Algorithms() {
		b.Run(string(alg), func(b *testing.B) {
			s, c := signerFor(b, alg), claims()
			b.ReportAllocs()
			for b.Loop() {
				payload, err := c.Marshal()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Sign(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSignBare(b *testing.B) {
	for _, alg := range set.Algorithms() {
		b.Run(string(alg), func(b *testing.B) {
			input := []byte(signerFor(b, alg).Input(marshal(b, claims())))
			for b.Loop() {
				if _, err := bareSign(alg, keyFor[alg](), input); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify reads and verifies a compact token; BenchmarkVerifyBare is its floor.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range set.Algorithms() {
		b.Run(string(alg), func(b *testing.B) {
			compact, err := signerFor(b, alg).Sign(marshal(b, claims()))
			if err != nil {
				b.Fatal(err)
			}
			p := policy(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Verify(b.Context(), compact, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyBare(b *testing.B) {
	for _, alg := range set.Algorithms() {
		b.Run(string(alg), func(b *testing.B) {
			input := []byte(signerFor(b, alg).Input(marshal(b, claims())))
			signature, err := bareSign(alg, keyFor[alg](), input)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if !bareVerify(alg, keyFor[alg]().Public(), input, signature) {
					b.Fatal("does not verify")
				}
			}
		})
	}
}

func BenchmarkMarshalClaims(b *testing.B) {
	b.Run("claims", func(b *testing.B) {
		c := claims()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Marshal(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		c := claims()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(map[string]any{"iss": c.Issuer, "aud": c.Audience[0], "iat": c.IssuedAt, "jti": c.ID, "txn": c.TXN,
				"sub_id": c.SubID, "events": map[string]json.RawMessage{c.Events[0].Type: c.Events[0].Payload}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
