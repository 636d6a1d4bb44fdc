package set

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"

	"countersign/internal/strictjson"
)

// ParseJWKS reads a JWK Set (RFC 7517 §5). Each key is read by itself: keys of unknown kinds, symmetric
// keys, keys that carry their private half, and broken ones are left out, so that one foreign key does
// not take the others with it. Weak keys and keys for encryption stay in; Verify refuses them by name.
// An error, which wraps ErrMalformed, means that the text is no JWK Set.
func ParseJWKS(data []byte) (StaticKeys, error) {
	members, err := strictjson.Object(data)
	if err != nil {
		return nil, fmt.Errorf("%w: JWK Set: %w", ErrMalformed, err)
	}
	for _, m := range members {
		if m.Name != "keys" {
			continue
		}
		elements, err := strictjson.Elements(m.Value)
		if err != nil {
			return nil, fmt.Errorf("%w: JWK Set: keys: %w", ErrMalformed, err)
		}
		keys := make(StaticKeys, 0, len(elements))
		for _, e := range elements {
			if k, err := parseJWK(e); err == nil {
				keys = append(keys, k)
			}
		}
		return keys, nil
	}
	return nil, fmt.Errorf("%w: JWK Set: no keys member", ErrMalformed)
}

// MarshalJWKS writes a JWK Set of public keys; keys of a kind this package does not know are left out.
func MarshalJWKS(keys []Key) []byte {
	out := []byte(`{"keys":[`)
	first := true
	for _, k := range keys {
		jwk, err := k.MarshalJSON()
		if err != nil {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(out, jwk...)
	}
	return append(out, "]}"...)
}

// jwk holds the members of a JWK that matter here.
type jwk struct {
	Type       string          `json:"kty"`
	ID         string          `json:"kid"`
	Use        string          `json:"use"`
	Operations []string        `json:"key_ops"`
	Algorithm  string          `json:"alg"`
	Curve      string          `json:"crv"`
	N          string          `json:"n"`
	E          string          `json:"e"`
	X          string          `json:"x"`
	Y          string          `json:"y"`
	Private    json.RawMessage `json:"d"`
	NotBefore  json.RawMessage `json:"nbf"`
	Expires    json.RawMessage `json:"exp"`
	Revoked    *struct {
		At     json.RawMessage `json:"revoked_at"`
		Reason string          `json:"reason"`
	} `json:"revoked"`
}

func parseJWK(data []byte) (k Key, err error) {
	var j jwk
	if err := strictjson.Decode(data, &j); err != nil {
		return k, err
	}
	bad := func(what string) (Key, error) { return Key{}, fmt.Errorf("%w: JWK: %s", ErrMalformed, what) }
	if j.Private != nil {
		return bad("it carries its private half") // whoever can read the set can sign with it
	}
	if j.Operations != nil && !verifies(j.Operations) {
		return bad("key_ops lacks verify") // RFC 7517 §4.3
	}
	k = Key{ID: j.ID, Algorithm: j.Algorithm, Use: j.Use}
	switch j.Type {
	case "RSA":
		n, e := octets(j.N), octets(j.E)
		exponent := new(big.Int).SetBytes(e)
		if len(n) == 0 || len(n) > 4096 || len(e) > 4 || exponent.Bit(0) == 0 || exponent.BitLen() < 2 || exponent.BitLen() > 31 {
			return bad("RSA members")
		}
		k.Public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	case "EC":
		x, y := octets(j.X), octets(j.Y)
		if j.Curve != "P-256" || len(x) != 32 || len(y) != 32 {
			return bad("EC members")
		}
		point := bytes.Join([][]byte{{4}, x, y}, nil)
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return bad("point not on P-256")
		}
		k.Public = public
	case "OKP":
		x := octets(j.X)
		if j.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return bad("OKP members")
		}
		k.Public = ed25519.PublicKey(x)
	default:
		return bad("kty")
	}
	for _, date := range []struct {
		raw    json.RawMessage
		target *int64
	}{{j.NotBefore, &k.NotBefore}, {j.Expires, &k.Expires}} {
		if date.raw != nil {
			if *date.target, err = numericDate(date.raw); err != nil {
				return bad("dates")
			}
		}
	}
	if j.Expires != nil && k.Expires == 0 {
		k.Expires = -1 // 1970 is past, not open
	}
	if j.Revoked != nil {
		at, err := numericDate(j.Revoked.At)
		if err != nil {
			return bad("revoked_at")
		}
		k.Revoked = &Revocation{At: at, Reason: j.Revoked.Reason}
	}
	return k, nil
}

func verifies(operations []string) bool {
	for _, op := range operations {
		if op == "verify" {
			return true
		}
	}
	return false
}

// octets decodes strict base64url; nil when it is none.
func octets(text string) []byte {
	for i := range len(text) {
		if !isBase64URL[text[i]] {
			return nil
		}
	}
	out, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil
	}
	return out
}
