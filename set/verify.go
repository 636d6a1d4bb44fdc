package set

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// DefaultSkew is how far iat may lie ahead of the clock when a policy does not say (RX-57).
const DefaultSkew = 5 * time.Minute

// Policy says which tokens are accepted. Its zero value accepts none; Issuer, Audience and Keys are
// needed. A Policy is not changed by Verify and may be shared.
type Policy struct {
	Issuer     string      // iss must be this, byte for byte (SSF 1.0 §4.1.6)
	Audience   []string    // aud must contain one of these
	Algorithms []Algorithm // allowed algorithms; empty: RS256 alone (CAEP interop §2.6). See also Algorithms()
	Keys       KeySet      // the issuer's keys; never anyone else's
	Now        func() time.Time
	Skew       time.Duration // how far iat may lie ahead; 0: DefaultSkew. There is no lower bound
	MaxBytes   int           // longest token in bytes; 0: MaxBytes

	ExactType    bool // typ must be exactly "secevent+jwt" (receipts A9), without the prefix and other case
	RequireKeyID bool // refuse a token without kid even if the issuer has one key only (receipts A51)

	SkipAudience   bool // take any aud: for evidence whose audience is checked elsewhere
	AllowNoSubject bool // sub_id may be absent: legacy transmitters, tokens outside streams
	AllowSubExp    bool // sub and exp may be present, against SSF 1.0 §4.1.2 and §4.1.7; exp is then enforced
	AllowNoType    bool // typ may be missing; another typ than a SET's is still refused
	AllowNoAud     bool // aud may be missing; one that is there must fit
}

// Verify reads a compact token and holds it against the policy. The order of the checks and the error of
// each is in the package documentation; stop at the first fault is the rule, and a jti may be remembered
// only after Verify returned a token.
func Verify(ctx context.Context, compact string, p *Policy) (*Token, error) {
	limit := p.MaxBytes
	if limit == 0 {
		limit = MaxBytes
	}
	t, err := parse(compact, limit)
	if err != nil {
		return nil, err
	}
	if t.header.Type != "" || !p.AllowNoType {
		if err := checkType(t.header.Type, p.ExactType); err != nil {
			return nil, err
		}
	}
	alg, err := p.algorithm(t.header.Algorithm)
	if err != nil {
		return nil, err
	}
	if p.Issuer == "" || t.claims.Issuer != p.Issuer {
		return nil, fmt.Errorf("%w: %.200q", ErrIssuer, t.claims.Issuer)
	}
	key, err := p.key(ctx, t, alg)
	if err != nil {
		return nil, err
	}
	if err := p.checkClaims(t); err != nil {
		return nil, err
	}
	return &Token{*t, key}, nil
}

// checkType holds typ against RFC 8417 §2.3. Only ASCII letters have two cases here.
func checkType(typ string, exact bool) error {
	const want = "secevent+jwt"
	if typ == want {
		return nil
	}
	if !exact {
		lower := []byte(typ)
		for i, b := range lower {
			if 'A' <= b && b <= 'Z' {
				lower[i] = b + 'a' - 'A'
			}
		}
		if string(lower) == want || string(lower) == "application/"+want {
			return nil
		}
	}
	return fmt.Errorf("%w: %.60q", ErrType, typ)
}

func (p *Policy) algorithm(name string) (Algorithm, error) {
	alg := normal(name)
	if !slices.Contains(Algorithms(), alg) { // none, HMAC, and what we do not know
		return "", fmt.Errorf("%w: %.60q", ErrAlgorithm, name)
	}
	if len(p.Algorithms) == 0 {
		if alg == RS256 {
			return alg, nil
		}
	} else {
		for _, allowed := range p.Algorithms {
			if normal(string(allowed)) == alg {
				return alg, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %s is not on this issuer's list", ErrAlgorithm, alg)
}

// key finds the key that verifies the token.
func (p *Policy) key(ctx context.Context, t *parts, alg Algorithm) (Key, error) {
	kid := t.header.KeyID
	if kid == "" && p.RequireKeyID {
		return Key{}, fmt.Errorf("%w: no kid", ErrKeyUnknown)
	}
	if p.Keys == nil {
		return Key{}, fmt.Errorf("%w: no keys are configured", ErrKeyUnknown)
	}
	keys, err := p.Keys.Find(ctx, kid)
	if err != nil {
		if errors.Is(err, ErrKeysUnavailable) {
			return Key{}, err
		}
		return Key{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	if kid == "" { // receipts A51: only where there is nothing to choose
		signing := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Use != "" && k.Use != "sig" })
		if len(signing) > 1 {
			return Key{}, fmt.Errorf("%w: no kid, and the issuer has %d keys", ErrKeyUnknown, len(signing))
		}
		keys = signing
	}
	if len(keys) == 0 {
		return Key{}, fmt.Errorf("%w: kid %.60q", ErrKeyUnknown, kid)
	}
	var unfit error
	tried := false
	for _, k := range keys {
		if err := k.serves(alg, t.claims.IssuedAt); err != nil {
			unfit = err
			continue
		}
		tried = true
		if verifySignature(alg, k.Public, t.compact[:t.signed], t.signature) {
			return k, nil
		}
	}
	if !tried {
		return Key{}, unfit
	}
	return Key{}, ErrSignature
}

func verifySignature(alg Algorithm, public crypto.PublicKey, input string, signature []byte) bool {
	if alg == EdDSA {
		return ed25519.Verify(public.(ed25519.PublicKey), []byte(input), signature)
	}
	digest := sha256.Sum256([]byte(input))
	switch alg {
	case RS256:
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature) == nil
	case PS256:
		return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature, pssOptions) == nil
	case ES256:
		if len(signature) != 64 { // RFC 7518 §3.4: R and S of 32 octets each
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(public.(*ecdsa.PublicKey), digest[:], r, s)
	}
	return false
}

// checkClaims looks at what an authentic token says.
func (p *Policy) checkClaims(t *parts) error {
	c := &t.claims
	if !p.SkipAudience && (c.Audience != nil || !p.AllowNoAud) && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(p.Audience, a) }) {
		return ErrAudience
	}
	if t.fault != nil {
		return t.fault
	}
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	skew := p.Skew
	if skew == 0 {
		skew = DefaultSkew
	}
	clock := now()
	latest := clock.Add(skew).Unix()
	if c.IssuedAt > latest {
		return fmt.Errorf("%w: iat lies %d s ahead", ErrTime, c.IssuedAt-clock.Unix())
	}
	if raw := c.Member("nbf"); raw != nil {
		switch nbf, err := numericDate(raw); {
		case err != nil:
			return fmt.Errorf("%w: nbf: %s", ErrClaims, reason(err))
		case nbf > latest:
			return fmt.Errorf("%w: nbf lies %d s ahead", ErrTime, nbf-clock.Unix())
		}
	}
	exp := c.Member("exp")
	switch {
	case p.AllowSubExp && exp != nil:
		switch until, err := numericDate(exp); {
		case err != nil:
			return fmt.Errorf("%w: exp: %s", ErrClaims, reason(err))
		case clock.Add(-skew).Unix() >= until:
			return fmt.Errorf("%w: exp is past", ErrTime)
		}
	case exp != nil: // SSF 1.0 §4.1.7
		return fmt.Errorf("%w: exp in a SET", ErrClaims)
	}
	if c.Member("sub") != nil && !p.AllowSubExp { // SSF 1.0 §4.1.2
		return fmt.Errorf("%w: sub in a SET", ErrClaims)
	}
	if c.SubID == nil && !p.AllowNoSubject { // SSF 1.0 §3.1
		return fmt.Errorf("%w: no sub_id", ErrClaims)
	}
	return nil
}
