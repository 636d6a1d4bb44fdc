// Package set makes and verifies Security Event Tokens (RFC 8417) as the Shared Signals Framework
// narrows them.
//
// Making: fill Claims, Marshal them, and let a Signer sign the bytes. The signing input can be fixed
// before it is signed (Signer.Input, Signer.Complete), so that every repeat of a SET has the same
// content address.
//
// Reading: Parse splits and checks a token and gives an Unverified, good for looking and for finding
// the right policy. Verify gives a Token; no other function makes one. Verify stops at the first fault,
// in this order:
//
//	too large                                    ErrTooLarge
//	not three strict base64url parts, JSON with
//	  repeated names, crit, b64 or zip           ErrMalformed
//	typ                                          ErrType
//	alg not allowed, none, HMAC                  ErrAlgorithm
//	iss                                          ErrIssuer
//	keys cannot be fetched now                   ErrKeysUnavailable  (trying again can help)
//	no key by that kid                           ErrKeyUnknown
//	key for another algorithm or use, too weak,
//	  outside its dates, revoked                 ErrKeyUnfit
//	signature                                    ErrSignature
//	aud                                          ErrAudience
//	iat, jti, events … missing or of another type ErrClaims
//	iat or nbf ahead of the clock                ErrTime
//	sub or exp present, sub_id absent            ErrClaims
//
// Each error wraps exactly one of these. The table to the codes of RFC 8935 is in package stream.
// ErrAlgorithm is meant to become invalid_key there: the token is readable, but nothing we hold could
// have made a signature we accept. It is found before any key is looked at.
//
// A Policy without Algorithms allows RS256 alone; Algorithms() allows all four.
//
// A key never comes from the token: jwk, jku, x5u and x5c in a header are ignored.
//
// What the events say is left to package event, whom the subject names to package subject, and which
// jti was seen before to the stores. Signing and verifying use the standard library.
package set
