package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"countersign/event"
	"countersign/internal/hub"
	"countersign/internal/store"
	"countersign/set"
	"countersign/subject"
)

// Config is what the door needs. All members are wanted unless their comment says otherwise.
type Config struct {
	Store    Store
	People   People
	Signals  Submitter
	Secrets  Secrets
	Keys     Keys
	Registry *event.Registry
	// Streams gives what a tenant transmits, or nil where there is no such tenant. Nil: this hub does not transmit.
	Streams func(tenant string) Streams
	// Outbox gives the same tenant's store of deliveries. It is there where Streams is.
	Outbox func(tenant string) Outbox
	// Access checks an access token that is none of Mint's: one that our own authorization server gave out. Its error is
	// hub.Unauthenticated where the token is not valid. It is asked each time, so that what is revoked opens nothing. Nil: there
	// are no such tokens.
	Access func(ctx context.Context, token string) (*Caller, error)
	// Accounts reads one page of an app's own list of accounts, from 1; next is what the page before gave, and empty after the
	// last. Its errors are hub.Errors. Nil: there are no lists.
	Accounts func(ctx context.Context, tenant, app, next string, number int) (accounts []AppAccount, after string, err error)
	// Sources does things at the other side of a source. Nil: this hub does not receive.
	Sources Sources
	// Refusals lists what sources sent and what was not taken. Nil: nothing is kept.
	Refusals Refusals
	// KeyRing changes signing keys. Nil: they cannot be changed over this door.
	KeyRing KeyRing
	// Tenants are told of by their resources; Issuer gives the iss of a tenant's tokens. Nil: not shown.
	Issuer func(tenant string) string
	// Probe fetches from our own public address as a receiver would, for the doctor. Nil: http.DefaultClient's transport
	// with a limit of 10 s.
	Probe *http.Client
	// Check validates every resource that the tenant would have after a change, against each other and
	// against packs and event types. Its error is of code invalid and names each fault.
	Check func(ctx context.Context, tenant string, all []hub.Resource) error
	// Changed is called after resources or secrets were committed: the hub reloads, enrolls at sources
	// whose stream is to be made, and runs what was unresolved. It returns when new requests see the
	// change, and does not wait for other systems.
	Changed func(ctx context.Context, tenant string)
	// Show adds what a running hub knows of a resource, as members of its JSON: a source's receive
	// endpoint and the state of its stream. Nil: nothing.
	Show func(ctx context.Context, r *hub.Resource) map[string]any
	// Ready says whether work can be taken: the store answers and the flow runs.
	Ready func(ctx context.Context) error
	// Metrics is served at /metrics. Nil: not there.
	Metrics http.Handler
	// MetricsOpen serves metrics without a token; set it where the admin listener is loopback.
	MetricsOpen bool
	// Hosts are the names, without port, that a Host header may have besides loopback ones.
	Hosts   []string
	Tenant  string // zero: default
	Version string
	Now     func() time.Time // zero: time.Now
	Log     *slog.Logger     // zero: slog.Default
}

// Store is what the door needs of *store.Store; the contracts are written there.
type Store interface {
	Signal(ctx context.Context, tenant, id string) (*hub.Signal, error)
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	ListSignals(ctx context.Context, tenant string, f store.SignalFilter, p hub.Page) (hub.Listed[*hub.Signal], error)
	DecisionOf(ctx context.Context, signalSeq int64) (*hub.Decision, error)
	Action(ctx context.Context, tenant, id string) (*hub.Action, error)
	ActionsOf(ctx context.Context, signalSeq int64) ([]*hub.Action, error)
	ListActions(ctx context.Context, tenant string, f store.ActionFilter, p hub.Page) (hub.Listed[*hub.Action], error)
	Receipt(ctx context.Context, tenant, id string) (*hub.Receipt, error)
	ReceiptsOf(ctx context.Context, signalSeq int64) ([]*hub.Receipt, error)
	ListReceipts(ctx context.Context, tenant string, f store.ReceiptFilter, p hub.Page) (hub.Listed[*hub.Receipt], error)

	Apply(ctx context.Context, tenant string, changes []store.Change) (int64, error)
	Resources(ctx context.Context, tenant string, kind hub.Kind) ([]hub.Resource, error)
	ListResources(ctx context.Context, tenant string, kind hub.Kind, p hub.Page) (hub.Listed[hub.Resource], error)
	Resource(ctx context.Context, tenant string, kind hub.Kind, name string) (*hub.Resource, error)
	RequeueUnresolved(ctx context.Context, tenant string) (int, error)
	Requeue(ctx context.Context, tenant, id string) error
	UnresolvedSummary(ctx context.Context, tenant string) (*store.Unresolved, error)

	ListSecrets(ctx context.Context, tenant string) ([]store.SecretInfo, error)
	PutToken(ctx context.Context, t store.Token) error
	TokenByHash(ctx context.Context, hash []byte) (*store.Token, error)
	ListTokens(ctx context.Context, tenant string) ([]store.Token, error)
	RevokeToken(ctx context.Context, tenant, id string) error
}

// Submitter takes a signal from an API client into the flow.
type Submitter interface {
	// Submit keeps one signal and returns once it is durable. With do "act" it is correlated, decided
	// and acted on like one that was received; with "transmit" it goes to every enabled stream that
	// asked for its type. Errors are hub.Errors.
	Submit(ctx context.Context, tenant string, s *Submission) (hub.Kept, error)
}

// Submission is a checked request to POST /api/v1/signals.
type Submission struct {
	Client    string // name of the client resource; empty for the operator token
	EventType string // URI, known to the registry
	SubID     json.RawMessage
	Subject   *subject.Identifier // SubID, parsed
	Event     json.RawMessage     // decoded with the registry, and found valid
	TXN       string
	Do        []string        // act, transmit, or both
	Order     json.RawMessage // directive; nil: none
	Streams   []string        // stream ids: only to these; nil: to every one that takes the type
	// Idempotency is handed on to the store's Keep; nil: the request had no key.
	Idempotency *store.Idempotency
}

// Secrets keeps values that are never read back through this door; *vault.Secrets does it.
type Secrets interface {
	Set(ctx context.Context, tenant, name string, value []byte) error
	Delete(ctx context.Context, tenant, name string) error
}

// Keys gives public keys: ours, and those of a source as last verified with.
type Keys interface {
	Ours(ctx context.Context, tenant string) ([]set.Key, error)
	Source(ctx context.Context, tenant, source string) ([]set.Key, error)
}
