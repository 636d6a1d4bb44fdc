package receiver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"countersign/set"
)

// assertion makes a client assertion for one request (RFC 7523 §3): for a minute, with a fresh jti.
func (t *TokenSource) assertion(endpoint string) (string, error) {
	audience := t.Issuer
	if audience == "" || t.EndpointAudience {
		audience = endpoint
	}
	now := t.now()
	claims, err := json.Marshal(jwtClaims{t.ClientID, t.ClientID, audience, set.NewID(), now.Unix(), now.Add(assertionLife).Unix()})
	if err != nil {
		return "", err
	}
	if t.Method == ClientSecretJWT {
		return signJWT("HS256", t.KeyID, claims, func(input []byte) ([]byte, error) {
			mac := hmac.New(sha256.New, []byte(t.Secret))
			mac.Write(input)
			return mac.Sum(nil), nil
		})
	}
	alg, err := fit(t.Key, t.Algorithm)
	if err != nil {
		return "", err
	}
	return signJWT(alg, t.KeyID, claims, func(input []byte) ([]byte, error) { return signAssertion(t.Key, alg, input) })
}

// jwtClaims are those of a JWT that authenticates us.
type jwtClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// signJWT puts a compact JWT together.
func signJWT(alg set.Algorithm, kid string, claims []byte, sign func(input []byte) ([]byte, error)) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm set.Algorithm `json:"alg"`
		Type      string        `json:"typ"`
		KeyID     string        `json:"kid,omitempty"`
	}{alg, "JWT", kid})
	if err != nil {
		return "", err
	}
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := sign([]byte(input))
	if err != nil {
		return "", fmt.Errorf("receiver: signing a JWT: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// fit gives the algorithm of a key, and refuses one that is not of it.
func fit(key crypto.Signer, want set.Algorithm) (set.Algorithm, error) {
	var usual, other set.Algorithm
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if public.Size() < 256 {
			return "", fmt.Errorf("%w: RSA key has less than 2048 bits", ErrTokenConfig)
		}
		usual, other = set.RS256, set.PS256
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return "", fmt.Errorf("%w: elliptic curve of the key is not P-256", ErrTokenConfig)
		}
		usual = set.ES256
	case ed25519.PublicKey:
		usual = set.EdDSA
	default:
		return "", fmt.Errorf("%w: key is neither RSA, P-256 nor Ed25519", ErrTokenConfig)
	}
	if want == "" || want == usual || other != "" && want == other {
		if want == "" {
			return usual, nil
		}
		return want, nil
	}
	return "", fmt.Errorf("%w: key does not sign %.20q", ErrTokenConfig, want)
}

func signAssertion(key crypto.Signer, alg set.Algorithm, input []byte) ([]byte, error) {
	digest := sha256.Sum256(input)
	switch alg {
	case set.EdDSA:
		return key.Sign(rand.Reader, input, crypto.Hash(0))
	case set.PS256:
		return key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	case set.RS256:
		return key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return nil, err
	}
	raw := make([]byte, 64) // RFC 7518 §3.4
	point.R.FillBytes(raw[:32])
	point.S.FillBytes(raw[32:])
	return raw, nil
}

// errKey hides what a parser would quote of a key.
var errKey = errors.New("receiver: it is no private key, as PEM (PKCS #8, PKCS #1, SEC 1) or as JWK, of RSA with 2048 bits, P-256 or Ed25519")

// ParseKey reads a private key for PrivateKeyJWT: PEM, or a JWK, whose kid it returns.
func ParseKey(data []byte) (key crypto.Signer, kid string, err error) {
	var found any
	if block, _ := pem.Decode(data); block != nil {
		switch block.Type {
		case "PRIVATE KEY":
			found, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			found, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			found, err = x509.ParseECPrivateKey(block.Bytes)
		}
	} else {
		found, kid, err = parseJWK(data)
	}
	key, ok := found.(crypto.Signer)
	if err != nil || !ok {
		return nil, "", errKey
	}
	if _, err := fit(key, ""); err != nil {
		return nil, "", errKey
	}
	return key, kid, nil
}

// parseJWK reads a private JWK (RFC 7517, RFC 7518 §6, RFC 8037 §2).
func parseJWK(data []byte) (any, string, error) {
	var in struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
		KeyID string `json:"kid"`
		N     octets `json:"n"`
		E     octets `json:"e"`
		D     octets `json:"d"`
		P     octets `json:"p"`
		Q     octets `json:"q"`
		X     octets `json:"x"`
		Y     octets `json:"y"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, "", errKey
	}
	number := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	switch {
	case in.Type == "RSA" && len(in.N) <= 1024 && len(in.E) <= 4 && len(in.E) > 0 && len(in.P) <= 1024 && len(in.Q) <= 1024:
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number(in.N), E: int(number(in.E).Int64())}, D: number(in.D),
			Primes: []*big.Int{number(in.P), number(in.Q)}}
		if key.Size() < 256 || key.Validate() != nil {
			return nil, "", errKey
		}
		key.Precompute()
		return key, in.KeyID, nil
	case in.Type == "EC" && in.Curve == "P-256":
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), in.D)
		if err != nil || len(in.X) != 32 || len(in.Y) != 32 {
			return nil, "", errKey
		}
		public, err := key.PublicKey.Bytes()
		if err != nil || !bytes.Equal(public[1:], append(bytes.Clone(in.X), in.Y...)) { // of another key
			return nil, "", errKey
		}
		return key, in.KeyID, nil
	case in.Type == "OKP" && in.Curve == "Ed25519" && len(in.D) == ed25519.SeedSize:
		key := ed25519.NewKeyFromSeed(in.D)
		if !bytes.Equal(key.Public().(ed25519.PublicKey), in.X) {
			return nil, "", errKey
		}
		return key, in.KeyID, nil
	}
	return nil, "", errKey
}

// octets is a member in base64url.
type octets []byte

// UnmarshalText decodes it.
func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = base64.RawURLEncoding.DecodeString(string(text))
	return err
}
