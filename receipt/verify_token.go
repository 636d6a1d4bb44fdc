package receipt

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/set"
)

// issuerKeys are the keys a file holds for one issuer, after pinning.
type issuerKeys struct {
	keys    set.StaticKeys
	present []string // every kid in the file, of keys this program can use or not
	pinning bool
}

// readKeys reads jwks, each issuer by itself (A3, A6).
func (v *verifier) readKeys() {
	for _, issuer := range sortedKeys(v.bundle.JWKS) {
		raw := v.bundle.JWKS[issuer]
		where := "jwks[" + issuer + "]"
		all, err := set.ParseJWKS(raw)
		if err != nil {
			v.add(LevelInvalid, where, CodeMalformed, "no JWK Set: %v", err)
			continue
		}
		k := &issuerKeys{pinning: v.policy.Pins != nil}
		for _, kid := range kids(raw) {
			if slices.Contains(k.present, kid) {
				v.add(LevelInvalid, where, CodeMalformed, "two keys have one kid") // A6
			}
			k.present = append(k.present, kid)
		}
		for _, key := range all {
			if k.pinning && !slices.Contains(v.policy.Pins[issuer], key.Thumbprint()) {
				k.present = slices.DeleteFunc(k.present, func(kid string) bool { return kid == key.ID }) // counts as missing
				continue
			}
			k.keys = append(k.keys, key)
		}
		v.keys[issuer] = k
	}
	if v.policy.Pins == nil && len(v.bundle.JWKS) > 0 {
		v.add(LevelNote, "jwks", "keys_from_bundle", "no keys are pinned: the keys were taken from the file itself")
	}
}

// kids lists the kid of every key of a JWK Set, whatever its kind.
func kids(jwks []byte) []string {
	var raw struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := decode(jwks, &raw); err != nil {
		return nil
	}
	var out []string
	for _, k := range raw.Keys {
		if k.ID != "" {
			out = append(out, k.ID)
		}
	}
	return out
}

// tokenKind says what a token stands for in the file.
type tokenKind int

const (
	kindOrder tokenKind = iota
	kindReceipt
	kindWithdrawal
)

// readable parses one token and writes down what keeps it from being read.
func (v *verifier) readable(where, compact string) *set.Unverified {
	u, err := set.Parse(compact)
	switch {
	case errors.Is(err, set.ErrTooLarge):
		v.add(LevelUndecided, where, "too_large", "the token is larger than this verifier reads")
		return nil
	case err != nil:
		v.add(LevelInvalid, where, CodeMalformed, "check 1: %v", err)
		return nil
	}
	return u
}

// authentic verifies the signature of a token with the keys of its issuer (check 3). A key that is missing
// leaves the token undecided, everything else that is wrong makes it invalid (A6).
func (v *verifier) authentic(where string, u *set.Unverified, kind tokenKind) *set.Token {
	c, kid := u.Claims(), u.Header().KeyID
	k := v.keys[c.Issuer]
	if k == nil {
		v.add(LevelUndecided, where, "key_missing", "the file has no keys for the issuer %q", c.Issuer)
		return nil
	}
	t, err := set.Verify(context.Background(), u.Compact(), &set.Policy{
		Issuer: c.Issuer, SkipAudience: true, Algorithms: set.Algorithms(), Keys: k.keys,
		Now:       func() time.Time { return time.Unix(c.IssuedAt, 0) }, // iat is bounded by check 4
		ExactType: true, RequireKeyID: kind == kindReceipt,
	})
	switch {
	case err == nil:
		return t
	case errors.Is(err, set.ErrKeyUnknown) && kid != "" && !slices.Contains(k.present, kid):
		v.add(LevelUndecided, where, "key_missing", "the key %q of %q is not in the file, or not pinned", kid, c.Issuer)
	case errors.Is(err, set.ErrKeyUnknown) && kid == "" && len(k.keys) == 0:
		v.add(LevelUndecided, where, "key_missing", "the file has no usable key of %q", c.Issuer)
	case errors.Is(err, set.ErrKeyUnknown), errors.Is(err, set.ErrKeyUnfit), errors.Is(err, set.ErrSignature):
		v.add(LevelInvalid, where, CodeBadSignature, "check 3: %v", err)
	case errors.Is(err, set.ErrTime):
		v.add(LevelInvalid, where, CodeBadTime, "check 4: %v", err)
	default:
		v.add(LevelInvalid, where, CodeMalformed, "check 2: %v", err)
	}
	return nil
}
