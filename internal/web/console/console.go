package console

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"countersign/event"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/internal/store"
)

// Config is what the console needs. All members are wanted unless their comment says otherwise.
type Config struct {
	Store    Store
	Registry *event.Registry
	// Streams is what the tenant transmits, and Outbox its store of deliveries; nil while the tenant is not open. Nil: the hub
	// does not transmit.
	Streams func() (sight.Streams, sight.Outbox)
	// Show adds what a running hub knows of a resource: of a source its state, of a stream of which none could be made the
	// problem. Nil: nothing.
	Show func(ctx context.Context, r *hub.Resource) map[string]any
	// SignIn checks an access token and says who it is. Its error is hub.Unauthenticated for a token
	// that is not valid; internal/web/api's Authenticate does it.
	SignIn func(ctx context.Context, token string) (User, error)
	// Hosts are the names, without port, that a Host header may have besides loopback ones.
	Hosts  []string
	Secure bool   // the listener speaks https: the session cookie is sent over nothing else
	Tenant string // zero: default
	Name   string // the merchant's name, as receipts print it
	Dev    bool   // shows the banner of --dev
	Now    func() time.Time
	Log    *slog.Logger // zero: slog.Default
}

// User is who signed in. What it may see is asked again at each request, so that a revoked token ends
// the session too.
type User struct {
	Name       string // shown in the corner
	Read       bool   // signals, actions, receipts, orders (scope signals.read)
	ReadTokens bool   // tokens as received (scope signals.token)
	// ReadStreams: sources and streams with their configuration (scope resources.read).
	ReadStreams bool
}

// Store is what the console reads; *store.Store gives it.
type Store interface {
	Signal(ctx context.Context, tenant, id string) (*hub.Signal, error)
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	ListSignals(ctx context.Context, tenant string, f store.SignalFilter, p hub.Page) (hub.Listed[*hub.Signal], error)
	DecisionOf(ctx context.Context, signalSeq int64) (*hub.Decision, error)
	Action(ctx context.Context, tenant, id string) (*hub.Action, error)
	ActionsOf(ctx context.Context, signalSeq int64) ([]*hub.Action, error)
	Receipt(ctx context.Context, tenant, id string) (*hub.Receipt, error)
	ReceiptsOf(ctx context.Context, signalSeq int64) ([]*hub.Receipt, error)
	Resource(ctx context.Context, tenant string, kind hub.Kind, name string) (*hub.Resource, error)
	Resources(ctx context.Context, tenant string, kind hub.Kind) ([]hub.Resource, error)
	Refusals(ctx context.Context, tenant, source string, p hub.Page) (hub.Listed[hub.Refusal], error)
}

// Console is the pages as an http.Handler for everything that the API does not answer. It is safe
// for concurrent use.
type Console struct {
	c        Config
	mux      http.Handler
	sessions *sessions
}

// New parses the templates and builds the console. Nothing is started.
func New(c Config) *Console { return build(c) }

// ServeHTTP answers one page.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// office is what the tenant transmits.
func (c *Console) office() (sight.Streams, sight.Outbox, error) {
	if c.c.Streams != nil {
		if streams, box := c.c.Streams(); streams != nil && box != nil {
			return streams, box, nil
		}
	}
	return nil, nil, hub.Errorf(hub.Unavailable, "nothing is transmitted here now")
}
