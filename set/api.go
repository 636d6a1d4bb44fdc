package set

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// Algorithm is a JWS signature algorithm.
type Algorithm string

// The algorithms of this package; "Ed25519" is read as EdDSA.
const (
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA"
)

var (
	ErrMalformed       = errors.New("set: not a security event token")
	ErrTooLarge        = errors.New("set: token too large")
	ErrType            = errors.New("set: typ is not secevent+jwt")
	ErrAlgorithm       = errors.New("set: algorithm not allowed")
	ErrIssuer          = errors.New("set: issuer is not the expected one")
	ErrKeyUnknown      = errors.New("set: no such key at the issuer")
	ErrKeyUnfit        = errors.New("set: key does not fit the token")
	ErrKeysUnavailable = errors.New("set: keys of the issuer cannot be had now")
	ErrSignature       = errors.New("set: signature does not verify")
	ErrAudience        = errors.New("set: audience does not include us")
	ErrTime            = errors.New("set: time out of bounds")
	ErrClaims          = errors.New("set: claims break the rules of a SET")
)

type Claims struct {
	Issuer      string
	Audience    []string
	IssuedAt    int64
	ID          string
	TXN         string
	TimeOfEvent int64
	SubID       json.RawMessage
	Events      []Event
	Extra       []Member
}

type Event struct {
	Type    string
	Payload json.RawMessage
}

type Member struct {
	Name  string
	Value json.RawMessage
}

func (c *Claims) Marshal() ([]byte, error)            { panic("set") }
func (c *Claims) Member(name string) json.RawMessage { panic("set") }

type Header struct{ Algorithm, Type, KeyID string }

type Unverified struct{}

func Parse(compact string) (*Unverified, error) { panic("set") }
func (u *Unverified) Header() Header            { panic("set") }
func (u *Unverified) Claims() Claims            { panic("set") }
func (u *Unverified) Address() string           { panic("set") }
func (u *Unverified) Compact() string           { panic("set") }
func (u *Unverified) Payload() []byte           { panic("set") }

type Token struct{}

func (t *Token) Header() Header        { panic("set") }
func (t *Token) Claims() Claims        { panic("set") }
func (t *Token) Address() string       { panic("set") }
func (t *Token) Compact() string       { panic("set") }
func (t *Token) Payload() []byte       { panic("set") }
func (t *Token) Key() Key              { panic("set") }
func (t *Token) KeyThumbprint() string { panic("set") }

type Policy struct {
	Issuer         string
	Audience       []string
	SkipAudience   bool
	Algorithms     []Algorithm
	Keys           KeySet
	Now            func() time.Time
	Skew           time.Duration
	ExactType      bool
	AllowNoSubject bool
	AllowSubExp    bool
	RequireKeyID   bool
	MaxBytes       int
}

func Verify(ctx context.Context, compact string, p *Policy) (*Token, error) { panic("set") }

func Address(signingInput string) string { panic("set") }

type Revocation struct {
	At     int64  `json:"revoked_at"`
	Reason string `json:"reason,omitempty"`
}

type Key struct {
	ID, Algorithm, Use string
	Public             crypto.PublicKey
	NotBefore, Expires int64
	Revoked            *Revocation
}

func (k Key) Thumbprint() string           { panic("set") }
func (k Key) MarshalJSON() ([]byte, error) { panic("set") }

type KeySet interface {
	Find(ctx context.Context, kid string) ([]Key, error)
}

type StaticKeys []Key

func (s StaticKeys) Find(ctx context.Context, kid string) ([]Key, error) { panic("set") }

func ParseJWKS(data []byte) (StaticKeys, error) { panic("set") }
func MarshalJWKS(keys []Key) []byte             { panic("set") }

type RemoteKeys struct{}

func NewRemoteKeys(uri string, client *http.Client, now func() time.Time) *RemoteKeys { panic("set") }
func (r *RemoteKeys) Find(ctx context.Context, kid string) ([]Key, error)             { panic("set") }

type Signer struct{}

func NewSigner(alg Algorithm, kid string, key crypto.Signer) (*Signer, error) { panic("set") }
func (s *Signer) Algorithm() Algorithm                                        { panic("set") }
func (s *Signer) KeyID() string                                               { panic("set") }
func (s *Signer) Public() Key                                                 { panic("set") }
func (s *Signer) Input(payload []byte) string                                 { panic("set") }
func (s *Signer) Complete(input string) (string, error)                       { panic("set") }
func (s *Signer) Sign(payload []byte) (string, error)                         { panic("set") }

func GenerateKey(alg Algorithm) (crypto.Signer, error) { panic("set") }
func NewID() string                                    { panic("set") }
