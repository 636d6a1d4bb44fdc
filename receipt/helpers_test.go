package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"countersign/set"
)

// The seed of RFC 8032 §7.1 test 1, which design §13 uses.
const seedHex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"

func testSigner(t testing.TB, kid string) *set.Signer {
	t.Helper()
	seed, err := hex.DecodeString(seedHex)
	if err != nil {
		t.Fatal(err)
	}
	s, err := set.NewSigner(set.EdDSA, kid, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// otherSigner is another party's key.
func otherSigner(t testing.TB, kid string) *set.Signer {
	t.Helper()
	s, err := set.NewSigner(set.EdDSA, kid, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// example gives the claims of a worked example of design §12, without insignificant whitespace.
func example(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "examples", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sign(t testing.TB, s *set.Signer, payload []byte) string {
	t.Helper()
	compact, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func parse(t testing.TB, compact string) *set.Unverified {
	t.Helper()
	u, err := set.Parse(compact)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// exampleOrder is a worked example as both sides see it.
func exampleOrder(t testing.TB, name string) *Order {
	t.Helper()
	o, err := OrderOf(parse(t, sign(t, testSigner(t, "t1"), example(t, name))), Default())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return o
}

func exampleReceipt(t testing.TB, name string) *set.Unverified {
	t.Helper()
	return parse(t, sign(t, testSigner(t, "r1"), example(t, name)))
}

func body(t testing.TB, u *set.Unverified) *Receipt {
	t.Helper()
	r, err := parseReceipt(u.Claims().Events[0].Payload)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withoutKid signs with the key of testSigner under a header that names no key.
func withoutKid(t testing.TB, payload []byte) string {
	t.Helper()
	return underHeader(t, `{"alg":"EdDSA","typ":"secevent+jwt"}`, payload)
}

// underHeader signs with that key under any header.
func underHeader(t testing.TB, header string, payload []byte) string {
	t.Helper()
	seed, err := hex.DecodeString(seedHex)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64(payload)
	return input + "." + b64(ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(input)))
}
