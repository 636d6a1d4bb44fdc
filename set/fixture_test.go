package set_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign/set"
)

const (
	issuer    = "https://idp.example.com/ssf"
	audience  = "https://hub.example.net/in/1"
	eventType = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	clock     = 1789462900
)

func now() time.Time { return time.Unix(clock, 0) }

func generate(alg set.Algorithm) func() crypto.Signer {
	return sync.OnceValue(func() crypto.Signer {
		key, err := set.GenerateKey(alg)
		if err != nil {
			panic(err)
		}
		return key
	})
}

// Keys are made once for all tests.
var keyFor = map[set.Algorithm]func() crypto.Signer{
	set.RS256: generate(set.RS256),
	set.PS256: generate(set.PS256),
	set.ES256: generate(set.ES256),
	set.EdDSA: generate(set.EdDSA),
}

// signerFor gives a signer whose kid is the algorithm's name.
func signerFor(t testing.TB, alg set.Algorithm) *set.Signer {
	t.Helper()
	s, err := set.NewSigner(alg, string(alg), keyFor[alg]())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func allKeys(t testing.TB) set.StaticKeys {
	var keys set.StaticKeys
	for _, alg := range set.Algorithms() {
		keys = append(keys, signerFor(t, alg).Public())
	}
	return keys
}

func claims() *set.Claims {
	return &set.Claims{
		Issuer: issuer, Audience: []string{audience}, IssuedAt: 1789462800, ID: "j-1", TXN: "txn-8675310",
		SubID:  []byte(`{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example.com/","sub":"99beb27c"},"session":{"format":"opaque","id":"sess-8842"}}`),
		Events: []set.Event{{Type: eventType, Payload: []byte(`{"initiating_entity":"policy","reason_admin":{"en":"Impossible travel: CASE-4411"},"event_timestamp":1789462795}`)}},
	}
}

func policy(t testing.TB) *set.Policy {
	return &set.Policy{Issuer: issuer, Audience: []string{audience}, Algorithms: set.Algorithms(), Keys: allKeys(t), Now: now}
}

func marshal(t testing.TB, c *set.Claims) []byte {
	t.Helper()
	payload, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// compact signs any header and payload, well formed or not.
func compact(t testing.TB, s *set.Signer, header, payload string) string {
	t.Helper()
	token, err := s.Complete(b64(header) + "." + b64(payload))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// rs384 signs with an algorithm we do not have.
func rs384(t testing.TB, key *rsa.PrivateKey, input string) string {
	t.Helper()
	digest := sha512.Sum384([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA384, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// sentinels are the errors of the package by name.
var sentinels = map[string]error{
	"ErrTooLarge": set.ErrTooLarge, "ErrMalformed": set.ErrMalformed, "ErrType": set.ErrType, "ErrAlgorithm": set.ErrAlgorithm,
	"ErrIssuer": set.ErrIssuer, "ErrKeysUnavailable": set.ErrKeysUnavailable, "ErrKeyUnknown": set.ErrKeyUnknown, "ErrKeyUnfit": set.ErrKeyUnfit,
	"ErrSignature": set.ErrSignature, "ErrAudience": set.ErrAudience, "ErrClaims": set.ErrClaims, "ErrTime": set.ErrTime,
}

// verdict names the one sentinel an error wraps, "ok" for none.
func verdict(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(sentinels)) {
		if errors.Is(err, sentinels[name]) {
			names = append(names, name)
		}
	}
	if len(names) != 1 {
		t.Fatalf("%v wraps %v, want exactly one sentinel", err, names)
	}
	return names[0]
}

// rfc8032 is the key of RFC 8032 §7.1 test 1, which the receipts design uses for its vector.
func rfc8032(t testing.TB) *set.Signer {
	t.Helper()
	seed := []byte{0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
		0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60}
	s, err := set.NewSigner(set.EdDSA, "t1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
