package receipt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"countersign/internal/strictjson"
	"countersign/set"
)

// ErrBundle is wrapped by every error of ParseBundle: the file breaks the form of A1 and is invalid.
var ErrBundle = errors.New("receipt: not an evidence file")

// maxBundleBytes bounds an evidence file; the tokens inside have limits of their own.
const maxBundleBytes = 64 << 20

// Bundle is an evidence file (design §9.1, A1). The order of its arrays has no meaning, and entries may
// repeat. The keys inside are claims of its maker (A3).
type Bundle struct {
	Version     int                        `json:"version"` // 1
	Orders      []Entry                    `json:"orders"`
	Receipts    []Entry                    `json:"receipts"`
	JWKS        map[string]json.RawMessage `json:"jwks"` // issuer to JWK Set; see AddKeys
	Streams     []StreamRule               `json:"streams,omitempty"`
	Withdrawals []Entry                    `json:"withdrawals,omitempty"`
	Proofs      []Proof                    `json:"proofs,omitempty"`
	Evidence    []Document                 `json:"evidence,omitempty"`
}

// Entry is one token of a bundle. AcceptedAt, in seconds, is unsigned testimony of the bundle's maker; 0
// means absent (A10).
type Entry struct {
	JWS        string
	AcceptedAt int64
}

// MarshalJSON writes the short form where there is no AcceptedAt.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.AcceptedAt == 0 {
		return marshal(e.JWS)
	}
	return marshal(struct {
		JWS        string `json:"jws"`
		AcceptedAt int64  `json:"accepted_at"`
	}{e.JWS, e.AcceptedAt})
}

// UnmarshalJSON reads both forms.
func (e *Entry) UnmarshalJSON(data []byte) error {
	*e = Entry{}
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &e.JWS)
	}
	ms, err := object(data)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(ms["jws"], &e.JWS); err != nil {
		return err
	}
	if raw := ms["accepted_at"]; raw != nil {
		return json.Unmarshal(raw, &e.AcceptedAt)
	}
	return nil
}

// StreamRule says which issuer may answer orders of Issuer to Audience, and to which audience (A4).
type StreamRule struct {
	Issuer          string `json:"iss"`
	Audience        string `json:"aud"`
	ReceiptIssuer   string `json:"receipt_issuer"`
	ReceiptAudience string `json:"receipt_audience"`
}

// Proof is a log proof; this version reports it as not checked (A27, B6).
type Proof struct {
	Issuer  string `json:"iss"`
	Kind    string `json:"kind"`
	Address string `json:"address"`
	Proof   string `json:"proof"`
}

// Document is a retained evidence document (A26). Content is base64url of its exact octets.
type Document struct {
	Hash      string `json:"hash"`
	Content   string `json:"content"`
	MediaType string `json:"media_type,omitempty"`
}

// NewDocument wraps the exact octets of a retained document.
func NewDocument(content []byte, mediaType string) Document {
	return Document{Hash: DocumentHash(content), Content: base64.RawURLEncoding.EncodeToString(content), MediaType: mediaType}
}

// NewBundle gives an empty bundle of version 1.
func NewBundle() *Bundle {
	return &Bundle{Version: 1, Orders: []Entry{}, Receipts: []Entry{}, JWKS: map[string]json.RawMessage{}}
}

// AddKeys sets the keys of an issuer, with their validity intervals and revocations (A6).
func (b *Bundle) AddKeys(issuer string, keys ...set.Key) {
	if b.JWKS == nil {
		b.JWKS = map[string]json.RawMessage{}
	}
	b.JWKS[issuer] = set.MarshalJWKS(keys)
}

// Marshal writes the file.
func (b *Bundle) Marshal() ([]byte, error) {
	w := *b
	if w.Orders == nil {
		w.Orders = []Entry{}
	}
	if w.Receipts == nil {
		w.Receipts = []Entry{}
	}
	if w.JWKS == nil {
		w.JWKS = map[string]json.RawMessage{}
	}
	flat, err := marshal(&w)
	if err != nil {
		return nil, err
	}
	return indent(flat)
}

var (
	entryRule = func(v any) error {
		if _, ok := v.(string); ok {
			return nil
		}
		return obj([]string{"jws"}, members{"jws": str(0, nil), "accepted_at": timeRule})(v)
	}
	streamRule = obj([]string{"iss", "aud", "receipt_issuer", "receipt_audience"}, members{"iss": str(0, nil), "aud": str(0, nil),
		"receipt_issuer": str(0, nil), "receipt_audience": str(0, nil)})
	bundleSchema = obj([]string{"version", "orders", "receipts", "jwks"}, members{
		"version": whole(1, 1), "orders": list(0, 0, entryRule), "receipts": list(0, 0, entryRule),
		"jwks":    each(0, 0, obj([]string{"keys"}, members{"keys": list(0, 0, anyObject)})),
		"streams": list(0, 0, streamRule), "withdrawals": list(0, 0, entryRule),
		"proofs": list(0, 0, obj([]string{"iss", "kind", "address", "proof"}, members{"iss": str(0, nil), "kind": str(0, nil),
			"address": str(0, nil), "proof": str(0, nil)})),
		"evidence": list(0, 0, obj([]string{"hash", "content"}, members{"hash": hashRule, "content": str(0, nil), "media_type": str(0, nil)})),
	})
)

// ParseBundle reads an evidence file with the strict parser of check 1 and holds it to A1. The tokens
// inside are not looked at; see Verify.
func ParseBundle(data []byte) (*Bundle, error) {
	if err := strictjson.Check(data, strictjson.Limits{Bytes: maxBundleBytes}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	t, err := tree(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := bundleSchema(t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	var b Bundle
	if err := decode(data, &b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return &b, nil
}
