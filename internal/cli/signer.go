package cli

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"

	"countersign/internal/hub"
	"countersign/set"
)

// signerFlags say with which key a command without a hub signs.
type signerFlags struct {
	file, alg, kid string
	fresh          bool
	jwksOut        string
}

// signer reads the key, or makes one, and writes the public key where that is wanted.
func (a *App) signer(f signerFlags) (*set.Signer, error) {
	var key crypto.Signer
	alg, kid := set.Algorithm(f.alg), f.kid
	switch {
	case f.fresh:
		if alg == "" {
			alg = set.RS256
		}
		var err error
		if key, err = set.GenerateKey(alg); err != nil {
			return nil, hub.Errorf(hub.Invalid, "--alg %s: %w", f.alg, err).WithHint("--alg is RS256, PS256, ES256 or EdDSA")
		}
		if f.file != "" {
			if err := writeKey(f.file, key); err != nil {
				return nil, err
			}
		}
	case f.file != "":
		data, err := os.ReadFile(f.file)
		if err != nil {
			return nil, hub.Errorf(hub.Invalid, "--key: %w", err).WithHint("--new-key makes a key and writes it there")
		}
		var named string
		if key, named, err = parsePrivateKey(data); err != nil {
			return nil, hub.Errorf(hub.Invalid, "--key %s: %w", f.file, err).WithHint("give a private key as PEM or as a JWK")
		}
		if kid == "" {
			kid = named
		}
		if alg == "" {
			alg = algorithmOf(key)
		}
	default:
		return nil, hub.Errorf(hub.Invalid, "with which key?").WithHint("give --key FILE, or --new-key for one that is thrown away")
	}
	s, err := set.NewSigner(alg, kid, key)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err).WithHint("--alg is RS256 or PS256 for an RSA key of 2048 bits or more, ES256 for P-256, EdDSA for Ed25519")
	}
	if f.jwksOut != "" {
		jwks := append(set.MarshalJWKS([]set.Key{s.Public()}), '\n')
		if f.jwksOut == "-" {
			_, err = a.Stdout.Write(jwks)
		} else {
			err = os.WriteFile(f.jwksOut, jwks, 0o644)
		}
		if err != nil {
			return nil, hub.Errorf(hub.Invalid, "--jwks-out: %w", err)
		}
	}
	return s, nil
}

// writeKey keeps a new key; one that is there is never written over.
func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hub.Errorf(hub.Conflict, "--new-key: %s is there already", file).WithHint("leave --new-key out to use it, or name another file")
	}
	if err != nil {
		return hub.Errorf(hub.Invalid, "--new-key: %w", err)
	}
	err = pem.Encode(out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return errors.Join(err, out.Close())
}

// algorithmOf is what a key signs with where nobody says.
func algorithmOf(key crypto.Signer) set.Algorithm {
	switch key.(type) {
	case ed25519.PrivateKey:
		return set.EdDSA
	case *ecdsa.PrivateKey:
		return set.ES256
	}
	return set.RS256
}

// parsePrivateKey reads a private key: PEM (PKCS #8, PKCS #1, SEC 1), a JWK, or the first private key of a JWK Set.
// kid is the one that a JWK names.
func parsePrivateKey(data []byte) (key crypto.Signer, kid string, err error) {
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		var k any
		switch b.Type {
		case "PRIVATE KEY":
			k, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case "RSA PRIVATE KEY":
			k, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case "EC PRIVATE KEY":
			k, err = x509.ParseECPrivateKey(b.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, "", errors.New("the key is encrypted; decrypt it first")
		default:
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if s, ok := k.(crypto.Signer); ok {
			return s, "", nil
		}
		return nil, "", fmt.Errorf("a key of this kind (%T) cannot sign", k)
	}
	var doc struct {
		jwk
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, "", errors.New("neither PEM nor JSON")
	}
	keys := doc.Keys
	if doc.Kty != "" {
		keys = append(keys, doc.jwk)
	}
	for _, k := range keys {
		if k.D == "" {
			continue
		}
		key, err := k.private()
		return key, k.KID, err
	}
	return nil, "", errors.New("there is no private key in it")
}

// jwk is a private key as JSON (RFC 7517, RFC 8037).
type jwk struct {
	Kty string `json:"kty"`
	KID string `json:"kid"`
	Crv string `json:"crv"`
	D   string `json:"d"`
	N   string `json:"n"`
	E   string `json:"e"`
	P   string `json:"p"`
	Q   string `json:"q"`
}

func (k jwk) private() (crypto.Signer, error) {
	var bad error
	bytes := func(name, text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 {
			bad = fmt.Errorf("jwk: the member %s cannot be read", name)
		}
		return b
	}
	d := bytes("d", k.D)
	switch {
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		if bad != nil || len(d) != ed25519.SeedSize {
			return nil, errors.New("jwk: d is not an Ed25519 key")
		}
		return ed25519.NewKeyFromSeed(d), nil
	case k.Kty == "EC" && k.Crv == "P-256":
		if bad != nil {
			return nil, bad
		}
		return ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	case k.Kty == "RSA":
		n, e, p, q := bytes("n", k.N), bytes("e", k.E), bytes("p", k.P), bytes("q", k.Q)
		if bad != nil || len(e) > 4 {
			return nil, errors.Join(bad, errors.New("jwk: an RSA key needs n, e, d, p and q"))
		}
		num := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: num(n), E: int(num(e).Int64())}, D: num(d), Primes: []*big.Int{num(p), num(q)}}
		if err := key.Validate(); err != nil {
			return nil, fmt.Errorf("jwk: %w", err)
		}
		key.Precompute()
		return key, nil
	}
	return nil, fmt.Errorf("jwk: a key of kind %q and curve %q cannot be used", k.Kty, k.Crv)
}
