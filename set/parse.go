package set

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"countersign/internal/strictjson"
)

// MaxBytes is the longest compact token Parse takes, and Verify unless its policy says otherwise.
const MaxBytes = 256 << 10

// Header holds the members of the JOSE header that matter here.
type Header struct {
	Algorithm string // alg as written
	Type      string // typ as written; empty: absent
	KeyID     string // kid; empty: absent
}

// parts is a split token; Unverified and Token share it.
type parts struct {
	compact   string
	signed    int // length of the signing input
	header    Header
	payload   []byte
	signature []byte
	claims    Claims
	fault     error // a claim of the wrong type or missing; an ErrClaims
}

// Unverified is a token that was read but not verified. Nothing it says may be acted upon, except to
// find the policy that Verify needs.
type Unverified struct{ p parts }

// Header gives the JOSE header.
func (u *Unverified) Header() Header { return u.p.header }

// Claims gives the claims as far as they could be read; see Fault.
func (u *Unverified) Claims() Claims { return u.p.claims }

// Fault tells what is wrong with the claims: an ErrClaims if one is missing or of another type.
func (u *Unverified) Fault() error { return u.p.fault }

// Address is the content address of the token: the hash of its signing input as received.
func (u *Unverified) Address() string { return u.p.address() }

// Compact is the token as received.
func (u *Unverified) Compact() string { return u.p.compact }

// Payload is the decoded payload; do not change it.
func (u *Unverified) Payload() []byte { return u.p.payload }

// Token is a verified token. Only Verify makes one. It is safe for concurrent reading.
type Token struct {
	p   parts
	key Key
}

// Header gives the JOSE header.
func (t *Token) Header() Header { return t.p.header }

// Claims gives the claims.
func (t *Token) Claims() Claims { return t.p.claims }

// Address is the content address of the token: the hash of its signing input as received.
func (t *Token) Address() string { return t.p.address() }

// Compact is the token as received.
func (t *Token) Compact() string { return t.p.compact }

// Payload is the decoded payload; do not change it.
func (t *Token) Payload() []byte { return t.p.payload }

// Key is the key that verified the token, worth keeping with it as evidence.
func (t *Token) Key() Key { return t.key }

// KeyThumbprint names that key (RFC 7638, SHA-256).
func (t *Token) KeyThumbprint() string { return t.key.Thumbprint() }

func (p *parts) address() string { return Address(p.compact[:p.signed]) }

// Address gives the content address of a signing input (the octets "header.payload"):
// "sha-256:" and the base64url of its SHA-256 (receipts §5.4). The signature is not covered.
func Address(signingInput string) string {
	sum := sha256.Sum256([]byte(signingInput))
	return "sha-256:" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Parse reads a compact token without verifying it. Its errors are ErrTooLarge and ErrMalformed; claims
// that are missing or of the wrong type are no error here, see Fault.
func Parse(compact string) (*Unverified, error) {
	p, err := parse(compact, MaxBytes)
	if err != nil {
		return nil, err
	}
	return &Unverified{*p}, nil
}

func parse(compact string, limit int) (*parts, error) {
	if len(compact) > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(compact), limit)
	}
	head, rest, ok := strings.Cut(compact, ".")
	if !ok {
		return nil, fmt.Errorf("%w: one part, want three", ErrMalformed)
	}
	body, tail, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(tail, ".") {
		return nil, fmt.Errorf("%w: %d parts, want three", ErrMalformed, strings.Count(compact, ".")+1)
	}
	p := &parts{compact: compact, signed: len(head) + 1 + len(body)}
	headerJSON, err := decodePart("header", head)
	if err != nil {
		return nil, err
	}
	if p.payload, err = decodePart("payload", body); err != nil {
		return nil, err
	}
	if p.signature, err = decodePart("signature", tail); err != nil {
		return nil, err
	}
	if p.header, err = parseHeader(headerJSON); err != nil {
		return nil, err
	}
	members, err := object("payload", p.payload)
	if err != nil {
		return nil, err
	}
	p.claims, p.fault = parseClaims(members)
	return p, nil
}

// decodePart decodes base64url strictly: only its alphabet, no padding, no line breaks, no spare bits.
func decodePart(name, part string) ([]byte, error) {
	for i := range len(part) {
		if !isBase64URL[part[i]] {
			return nil, fmt.Errorf("%w: %s is not base64url", ErrMalformed, name)
		}
	}
	out, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not base64url", ErrMalformed, name)
	}
	return out, nil
}

var isBase64URL = func() (table [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		table[b] = true
	}
	return table
}()

// object lists the members of a part; the size of the whole token was looked at before.
func object(name string, data []byte) ([]strictjson.Member, error) {
	err := strictjson.Check(data, strictjson.Limits{Bytes: -1})
	if err == nil {
		var members []strictjson.Member
		if members, err = strictjson.Members(data); err == nil {
			return members, nil
		}
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
}

func parseHeader(data []byte) (h Header, err error) {
	members, err := object("header", data)
	if err != nil {
		return h, err
	}
	hasAlg := false
	for _, m := range members {
		var target *string
		switch m.Name {
		case "alg":
			target, hasAlg = &h.Algorithm, true
		case "typ":
			target = &h.Type
		case "kid":
			target = &h.KeyID
		case "crit", "b64", "zip": // RFC 7515 §4.1.11, RFC 7797 §7: they would change what is verified
			return h, fmt.Errorf("%w: header has %s", ErrMalformed, m.Name)
		default: // jwk, jku, x5u, x5c and the like are never looked at
			continue
		}
		if *target, err = strictjson.String(m.Value); err != nil {
			return h, fmt.Errorf("%w: header: %s is not a string", ErrMalformed, m.Name)
		}
	}
	if !hasAlg {
		return h, fmt.Errorf("%w: header has no alg", ErrMalformed)
	}
	return h, nil
}
