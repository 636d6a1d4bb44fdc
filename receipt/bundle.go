package receipt

import (
	"encoding/json"

	"countersign/set"
)

// Bundle is an evidence file (A1).
type Bundle struct {
	Version     int                        `json:"version"`
	Orders      []Entry                    `json:"orders"`
	Receipts    []Entry                    `json:"receipts"`
	JWKS        map[string]json.RawMessage `json:"jwks"` // issuer to JWK Set
	Streams     []StreamRule               `json:"streams,omitempty"`
	Withdrawals []Entry                    `json:"withdrawals,omitempty"`
	Proofs      []Proof                    `json:"proofs,omitempty"`
	Evidence    []Document                 `json:"evidence,omitempty"`
}

// Entry is one token of a bundle. AcceptedAt is unsigned testimony of the bundle's maker; 0 means absent (A10).
type Entry struct {
	JWS        string `json:"jws"`
	AcceptedAt int64  `json:"accepted_at,omitempty"`
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

func NewBundle() *Bundle { return &Bundle{Version: 1} }

func (b *Bundle) AddKeys(issuer string, keys ...set.Key) { panic("receipt") }

func NewDocument(content []byte, mediaType string) Document { panic("receipt") }

func ParseBundle(data []byte) (*Bundle, error) { panic("receipt") }

func (b *Bundle) Marshal() ([]byte, error) { panic("receipt") }
