package set

import "errors"

// What can be wrong with a token, in the order in which Verify looks. Every error of Parse and Verify
// wraps exactly one of them.
var (
	ErrTooLarge  = errors.New("set: token too large")
	ErrMalformed = errors.New("set: not a security event token")
	ErrType      = errors.New("set: typ is not secevent+jwt")
	ErrAlgorithm = errors.New("set: algorithm not allowed")
	ErrIssuer    = errors.New("set: issuer is not the expected one")

	// ErrKeysUnavailable says nothing about the token: the issuer's keys cannot be had now, and trying
	// again can help. The other errors are final.
	ErrKeysUnavailable = errors.New("set: keys of the issuer cannot be had now")
	ErrKeyUnknown      = errors.New("set: no such key at the issuer")
	ErrKeyUnfit        = errors.New("set: key does not fit the token")
	ErrSignature       = errors.New("set: signature does not verify")

	ErrAudience = errors.New("set: audience does not include us")
	ErrClaims   = errors.New("set: claims break the rules of a SET")
	ErrTime     = errors.New("set: time out of bounds")
)
