package hostile

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"countersign/set"
)

// keys of one issuer, and one of nobody. Making RSA keys is slow, so they serve every house.
type keys struct {
	byAlg    map[string]*set.Signer
	rsa      *rsa.PrivateKey // of RS256
	stranger *set.Signer
	desk     *set.Signer
}

var theKeys = sync.OnceValues(func() (*keys, error) {
	k := &keys{byAlg: map[string]*set.Signer{}}
	for alg, kid := range map[set.Algorithm]string{set.RS256: "rs1", set.PS256: "ps1", set.ES256: "es1", set.EdDSA: "ed1"} {
		key, err := set.GenerateKey(alg)
		if err != nil {
			return nil, err
		}
		if alg == set.RS256 {
			k.rsa = key.(*rsa.PrivateKey)
		}
		if k.byAlg[string(alg)], err = set.NewSigner(alg, kid, key); err != nil {
			return nil, err
		}
	}
	var err error
	for _, to := range []struct {
		s   **set.Signer
		alg set.Algorithm
		kid string
	}{{&k.stranger, set.RS256, "rs1"}, {&k.desk, set.ES256, "desk1"}} {
		var key crypto.Signer
		if key, err = set.GenerateKey(to.alg); err != nil {
			return nil, err
		}
		if *to.s, err = set.NewSigner(to.alg, to.kid, key); err != nil {
			return nil, err
		}
	}
	return k, nil
})

// published are the keys that the issuer shows, in a fixed order.
func (k *keys) published() []*set.Signer {
	return []*set.Signer{k.byAlg["RS256"], k.byAlg["PS256"], k.byAlg["ES256"], k.byAlg["EdDSA"]}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// sign makes a token of any header and payload, well formed or not. An empty jose is the usual header.
func (k *keys) sign(t testing.TB, how, jose, payload string) string {
	t.Helper()
	signer := k.byAlg[how]
	switch how {
	case "desk":
		signer = k.desk
	case "stranger":
		signer = k.stranger
	}
	if jose == "" {
		switch {
		case signer != nil:
			jose = `{"alg":"` + string(signer.Algorithm()) + `","typ":"secevent+jwt","kid":"` + signer.KeyID() + `"}`
		case how == "hs256":
			jose = `{"alg":"HS256","typ":"secevent+jwt","kid":"rs1"}`
		default:
			jose = `{"alg":"none","typ":"secevent+jwt"}`
		}
	}
	input := b64([]byte(jose)) + "." + b64([]byte(payload))
	switch how {
	case "none":
		return input + "."
	case "hs256": // RFC 8725 §2.1: the public key as a shared secret
		der, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write([]byte(input))
		return input + "." + b64(mac.Sum(nil))
	case "weak":
		digest := sha256.Sum256([]byte(input))
		sig, err := rsa.SignPKCS1v15(rand.Reader, theWeakKey(), crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + b64(sig)
	}
	if signer == nil {
		t.Fatalf("nobody signs by %q", how)
	}
	token, err := signer.Complete(input)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// theWeakKey has 1024 bits. Go makes no such key any more unless it is told to.
var theWeakKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return key
})

// theBomb is 64 MiB of zeros, packed.
var theBomb = sync.OnceValue(func() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 64 {
		if _, err := z.Write(zeros); err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.String()
})

// replaced applies the replace lines of a step to a text.
func (s *step) replaced(t testing.TB, sc scope, text string) string {
	t.Helper()
	for _, r := range s.replace {
		from, to := sc.expand(t, r[0]), sc.expand(t, r[1])
		if !strings.Contains(text, from) {
			t.Fatalf("there is no %q to replace in %s", from, text)
		}
		text = strings.Replace(text, from, to, 1)
	}
	return text
}
