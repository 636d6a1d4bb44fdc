package store

import (
	"encoding/json"
	"log/slog"
	"time"

	"countersign/internal/hub"
	"countersign/transmitter"
)

// Config tunes a Store. The zero value is the strict production one.
type Config struct {
	Now func() time.Time // nil: time.Now

	// Node is the stable id of this node. Jobs held by an earlier life of the same node are free at
	// Open, so two processes that run at once must not share one. Empty: "node".
	Node string

	// Fatal is called once when a COMMIT or an fsync failed on SQLite. Nothing is written afterwards.
	// Nil: log the error and leave the process with status 70.
	Fatal func(error)

	// Stop is called at the named stop points of the kill bench. Nil in production.
	Stop func(point string)

	Schema      string        // PostgreSQL: the schema all tables live in, made if missing; empty: the connection's own
	QueueLimit  int           // writes waiting or running at once; more are refused as hub.Unavailable. 0: 4096
	Pool        int           // PostgreSQL: connections at most. 0: 16
	CommitDelay time.Duration // bench only: added to each commit of SQLite, as if the disk were slower
	Log         *slog.Logger  // nil: slog.Default
}

// Kept is what Keep gave: the signal's place, and for a new signal that is due for processing the job,
// claimed by this store.
type Kept struct {
	hub.Kept
	Job *hub.Job
}

// Idempotency makes a write of an API client repeatable. BodyHash is any digest of the request.
type Idempotency struct {
	Client   string
	Key      string
	BodyHash string
}

// SignalFilter narrows a list. Empty members do not filter.
type SignalFilter struct {
	State    hub.SignalState
	Source   string
	Type     string
	Identity string
}

// ActionFilter narrows a list. Empty members do not filter.
type ActionFilter struct {
	State    hub.State
	App      string
	Identity string
	SignalID string
}

// ReceiptFilter narrows a list. Empty members do not filter.
type ReceiptFilter struct {
	State    string
	Source   string
	SignalID string
}

// Charge counts one person against a limit. Where Limit is set, Decide refuses the whole decision as
// hub.Limited if Limit other people were charged to the scope after Since: two decisions at one
// moment cannot pass one limit together.
type Charge struct {
	Scope    string // policy:NAME:SOURCE or source:NAME
	Identity string
	Limit    int // 0: only count
	Since    hub.Micros
}

// DecideOptions are the parts of a decision that not each has.
type DecideOptions struct {
	Charges []Charge
	CutAt   hub.Micros // with an order and open actions: when the first (interim) receipt is cut; 0: only when all is done

	// Out is what the decision transmits: kept in its transaction, and as Enqueue does it. Where one's Generation is not
	// the tenant's any more, Decide returns transmitter.ErrStale and nothing was written.
	Out []*transmitter.Outgoing
}

// UnresolvedOptions say what happens to a signal that waits for a mapping.
type UnresolvedOptions struct {
	RetryAt hub.Micros // process again then, mapping or not; 0: only when the mapping changes
	CutAt   hub.Micros // with an order: cut an interim receipt then; 0: none
}

// Op says what Apply does with a resource.
type Op string

// The operations of Apply.
const (
	OpPut    Op = "put"
	OpDelete Op = "delete"
)

// Change is one resource put or deleted.
type Change struct {
	Op       Op
	Resource hub.Resource
}

// SecretInfo describes a stored secret without its value.
type SecretInfo struct {
	Name    string     `json:"name"`
	Created hub.Micros `json:"created_at"`
	Updated hub.Micros `json:"updated_at"`
}

// Key is a signing key: its public JWK, and its private part sealed by the vault.
type Key struct {
	Tenant  string
	KID     string
	Alg     string
	State   string // KeyNext, KeyActive, KeyRetiring, KeyRetired or KeyCompromised
	Public  json.RawMessage
	Sealed  []byte
	Created hub.Micros
	Changed hub.Micros // when it came into its state
}

// The states of a signing key.
const (
	KeyNext        = "next"        // published, and not used yet
	KeyActive      = "active"      // signs
	KeyRetiring    = "retiring"    // published; signs only what was planned with it
	KeyRetired     = "retired"     // of the past
	KeyCompromised = "compromised" // of the past, and not to be trusted
)

// Token is a pre-shared access token. Only its SHA-256 is stored.
type Token struct {
	ID      string
	Tenant  string
	Name    string
	Client  string // name of the client resource; empty: the operator or a person
	Hash    []byte // SHA-256 of the token, 32 octets
	Scopes  []string
	Created hub.Micros
	Expires hub.Micros // 0: never
	Revoked hub.Micros // 0: in force
}

// Clash is the evidence of one refused token: known jti, other content.
type Clash struct {
	Tenant string
	Source string
	JTI    string
	Token  string // the refused compact token; empty at the API door
	Print  string // its fingerprint
	At     hub.Micros
}

// Sealer encrypts what must not lie readable in the store; *vault.Vault is one.
type Sealer interface {
	Seal(purpose, name string, plain []byte) []byte
	Open(purpose, name string, sealed []byte) ([]byte, error)
}

// Stats counts what the store did since Open.
type Stats struct {
	Ops        int64 // writes answered
	Statements int64 // statements of the write path (PostgreSQL: round trips)
	Commits    int64 // transactions committed
	Waiting    int64 // writes waiting or running now
	Signals    int64 // new signals kept
	KeepTrips  int64 // groups of Keep: on PostgreSQL each is one round trip
}
