package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/receipt"
	"countersign/set"
	"countersign/subject"
)

// Signal is one event on its way to the function that acts on it.
type Signal[P event.Payload] struct {
	// Issuer, ID and TXN are iss, jti and txn of the token; equal TXN does not make two signals one (RX-64).
	Issuer, ID, TXN string
	// Token is the token as it came. Its signature was verified when it was kept.
	Token string
	// Issued and Received are when it was made (iat) and when it was kept.
	Issued, Received time.Time
	// Type is its event type.
	Type event.Type
	// Subject is whom it is about, and for events about the stream the stream.
	Subject subject.Identifier
	// Event is the payload as its type has it. Its texts are the sender's words: show them as text only (RX-106).
	Event P

	// Order is the order that the token carries. Nil: it is a signal, and no receipt is owed.
	Order *receipt.Order
	// Action is what is asked for, one of the order's actions. Zero where there is no order.
	Action receipt.OrderedAction
	// Ref is the same at each try of this action at this signal: a key by which the application knows a repeat.
	Ref string
	// Try counts the calls with this Ref, from 1.
	Try int
}

// The signals of CAEP 1.0.
type (
	SessionRevoked         = Signal[*caep.SessionRevoked]
	TokenClaimsChange      = Signal[*caep.TokenClaimsChange]
	CredentialChange       = Signal[*caep.CredentialChange]
	AssuranceLevelChange   = Signal[*caep.AssuranceLevelChange]
	DeviceComplianceChange = Signal[*caep.DeviceComplianceChange]
	SessionEstablished     = Signal[*caep.SessionEstablished]
	SessionPresented       = Signal[*caep.SessionPresented]
	RiskLevelChange        = Signal[*caep.RiskLevelChange]
	// StreamUpdated says that the transmitter changed the status of the stream (SSF 1.0 §8.1.5).
	StreamUpdated = Signal[*ssf.StreamUpdated]
	// Other is a signal of any type.
	Other = Signal[event.Payload]
)

// Act acts on a signal and says what became of it. The line goes onto the receipt where the signal is an order; of a mere
// signal it is dropped. What a line leaves out is filled in: the zero Line says that the work is done. With the status
// receipt.Pending the function is called again later. An error says that it is to be called again, as after a crash: it may
// find its work done already (Signal.Ref).
type Act[P event.Payload] func(ctx context.Context, s *Signal[P]) (receipt.Line, error)

// MuxConfig is what a Mux is made from. Issuer, Audience and Inbox are required.
type MuxConfig struct {
	// Issuer is the transmitter, byte for byte as it calls itself.
	Issuer string
	// Audience lists what aud may be for us.
	Audience []string
	// MetadataURL is where the transmitter's metadata is, for Keys. Empty: by Issuer.
	MetadataURL string
	// Keys verify its tokens. Nil: those at the jwks_uri of its metadata.
	Keys set.KeySet
	// Algorithms may have signed tokens. Nil: RS256 alone.
	Algorithms []set.Algorithm
	// StreamID is the id of our stream, which events about the stream must name. Empty: any.
	StreamID string
	// Authorization is the whole value of the field that pushes must have; see Handler.
	Authorization string
	// Registry knows the event types. Nil: those of CAEP, RISC, SCIM and SSF.
	Registry *event.Registry
	// Interprets lists the members of complex subjects that the functions go by. A signal whose subject has another member that the
	// transmitter calls critical is discarded (RX-66). Nil: all of SSF 1.0 §3.3.
	Interprets []string
	// Critical lists the members that the transmitter calls critical. Nil: as in its metadata, where that is read for Keys.
	Critical []string

	// Quirks are those of the transmitter. The zero value is strict.
	Quirks Quirks

	// Inbox keeps what came until it is dealt with.
	Inbox Inbox
	// Receipts answers orders. Nil: there are no orders, and a directive means nothing.
	Receipts *Receipts

	// Workers is how many signals are acted on at a time. 0: one, in the order in which they came.
	Workers int
	// Timeout bounds one call of a function. 0: 30 seconds.
	Timeout time.Duration
	// Patience is for how long a function that gives errors is called again, where no order says otherwise. 0: 24 hours.
	Patience time.Duration

	// HTTP reads metadata and keys and delivers receipts. Nil: a client with DefaultTimeout.
	HTTP *http.Client
	// Log gets what happens, without tokens and subjects. Nil: slog.Default.
	Log *slog.Logger
	Now func() time.Time
}

// Mux is a Receiver with a function for each event type: it is the http.Handler at the push address, Take for a Poller, and
// Run calls the functions and sends receipts. Register all functions before the first signal comes.
type Mux struct {
	cfg     MuxConfig
	handler *Handler
	acts    map[string]func(context.Context, *Other) (receipt.Line, error)
	wake    chan struct{}
	client  *Client

	mu       sync.Mutex
	keys     set.KeySet
	critical []string
	states   []*expected
	verified time.Time
}

// NewMux makes a Mux.
func NewMux(cfg MuxConfig) (*Mux, error) {
	switch {
	case cfg.Issuer == "" || len(cfg.Audience) == 0:
		return nil, errors.New("receiver: a Mux needs issuer and audience")
	case cfg.Inbox == nil:
		return nil, errors.New("receiver: a Mux needs an Inbox")
	}
	if cfg.Receipts != nil {
		if err := cfg.Receipts.check(); err != nil {
			return nil, err
		}
	}
	if cfg.Registry == nil {
		cfg.Registry = event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), scim.Vocabulary(), ssf.Vocabulary())
	}
	if cfg.Interprets == nil {
		cfg.Interprets = []string{subject.PartUser, subject.PartDevice, subject.PartSession, subject.PartApplication, subject.PartTenant, subject.PartOrgUnit, subject.PartGroup}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Mux{cfg: cfg, acts: map[string]func(context.Context, *Other) (receipt.Line, error){}, wake: make(chan struct{}, 1),
		client: &Client{HTTP: cfg.HTTP, Quirks: cfg.Quirks}, keys: cfg.Keys, critical: cfg.Critical}
	m.handler = &Handler{
		Policy: m.policy, Keep: m.keep, Verification: m.verification, Authorization: cfg.Authorization,
		Registry: cfg.Registry, StreamID: cfg.StreamID, Quirks: cfg.Quirks, Report: m.report,
	}
	return m, nil
}

// ServeHTTP takes pushes.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// Take takes what a Poller fetched; it is its Take.
func (m *Mux) Take(ctx context.Context, compact string) error { return m.handler.Take(ctx, compact) }

// Handler is what judges tokens, for settings beyond those of MuxConfig. Its Policy, Keep and Verification are the Mux's.
func (m *Mux) Handler() *Handler { return m.handler }

// Events lists the event types that have a function, but those about the stream: what to ask for in events_requested.
func (m *Mux) Events() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.acts)), func(uri string) bool {
		t, _ := m.cfg.Registry.Lookup(uri)
		return t.StreamLevel
	})
}

// On registers a function for an event type whose payload is a P, such as *risc.AccountDisabled. Like http.ServeMux it
// panics where there is one already, or where the registry gives the type another payload.
func On[P event.Payload](m *Mux, uri string, f Act[P]) {
	t, known := m.cfg.Registry.Lookup(uri)
	var payload event.Payload = new(event.Raw)
	if known && t.New != nil {
		payload = t.New()
	}
	if _, ok := payload.(P); !ok {
		panic(fmt.Sprintf("receiver: events of type %q have a payload of %T", uri, payload))
	}
	if _, twice := m.acts[uri]; twice || uri == "" {
		panic(fmt.Sprintf("receiver: event type %q has a function already, or no name", uri))
	}
	m.acts[uri] = func(ctx context.Context, s *Other) (receipt.Line, error) {
		p, ok := s.Event.(P)
		if !ok {
			return receipt.Line{}, fmt.Errorf("receiver: payload is a %T", s.Event)
		}
		return f(ctx, &Signal[P]{Issuer: s.Issuer, ID: s.ID, TXN: s.TXN, Token: s.Token, Issued: s.Issued, Received: s.Received, Type: s.Type,
			Subject: s.Subject, Event: p, Order: s.Order, Action: s.Action, Ref: s.Ref, Try: s.Try})
	}
}

// On registers a function for any event type.
func (m *Mux) On(uri string, f Act[event.Payload]) { On(m, uri, f) }

// OnSessionRevoked registers the function for session-revoked.
func (m *Mux) OnSessionRevoked(f Act[*caep.SessionRevoked]) { On(m, caep.SessionRevokedURI, f) }

// OnTokenClaimsChange registers the function for token-claims-change.
func (m *Mux) OnTokenClaimsChange(f Act[*caep.TokenClaimsChange]) {
	On(m, caep.TokenClaimsChangeURI, f)
}

// OnCredentialChange registers the function for credential-change.
func (m *Mux) OnCredentialChange(f Act[*caep.CredentialChange]) { On(m, caep.CredentialChangeURI, f) }

// OnAssuranceLevelChange registers the function for assurance-level-change.
func (m *Mux) OnAssuranceLevelChange(f Act[*caep.AssuranceLevelChange]) {
	On(m, caep.AssuranceLevelChangeURI, f)
}

// OnDeviceComplianceChange registers the function for device-compliance-change.
func (m *Mux) OnDeviceComplianceChange(f Act[*caep.DeviceComplianceChange]) {
	On(m, caep.DeviceComplianceChangeURI, f)
}

// OnSessionEstablished registers the function for session-established.
func (m *Mux) OnSessionEstablished(f Act[*caep.SessionEstablished]) {
	On(m, caep.SessionEstablishedURI, f)
}

// OnSessionPresented registers the function for session-presented.
func (m *Mux) OnSessionPresented(f Act[*caep.SessionPresented]) { On(m, caep.SessionPresentedURI, f) }

// OnRiskLevelChange registers the function for risk-level-change.
func (m *Mux) OnRiskLevelChange(f Act[*caep.RiskLevelChange]) { On(m, caep.RiskLevelChangeURI, f) }

// OnStreamUpdated registers the function for stream-updated, which comes asked for or not (RX-99). Without one the new
// status is logged.
func (m *Mux) OnStreamUpdated(f Act[*ssf.StreamUpdated]) { On(m, ssf.StreamUpdatedURI, f) }
