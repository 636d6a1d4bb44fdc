package transmitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign/event"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
	"countersign/subject"
)

// Config is what a Transmitter needs. Issuer, Signers, Registry, Store and Caller are required; the zero value of
// everything else is the strict or the usual one.
type Config struct {
	// Issuer is the iss of every SET: an https URL without query or fragment (SSF 1.0 §7.1). Endpoints are
	// made from it: <issuer>/ssf/streams and so on, the trailing slash of the issuer left out.
	Issuer string
	// Signers sign. The first is the default, and the first of each algorithm is used for streams with that algorithm.
	// The others are kept for rows that wait since they were current. All are published (TX-28, TX-30).
	Signers []*set.Signer
	// Also are more public keys to publish: the next ones before their first use, and old ones. See Transmitter.SetKeys.
	Also []set.Key
	// Registry knows the event types.
	Registry *event.Registry
	// Events are the type URIs offered as events_supported. Empty: every type of the registry that is not stream-level.
	Events []string
	// Store keeps everything.
	Store Store
	// Caller tells who calls a management endpoint. It returns ErrNoCredentials or ErrBadCredentials, or
	// another error where it cannot tell now (503).
	Caller func(*http.Request) (Caller, error)

	// Schemes are the spec_urn values of authorization_schemes. Nil: urn:ietf:rfc:6749 and urn:ietf:rfc:6750, OAuth 2.0
	// and bearer tokens.
	Schemes []string

	// Receipts are the settings to offer; nil: none, and no receipt endpoint. The endpoint's address is filled in.
	Receipts *receipt.Settings
	// Vocabulary names the receipts members. The zero value is receipt.Default().
	Vocabulary receipt.Vocabulary
	// ReceiptKeys finds the keys at a receiver's receipt_jwks_uri. Nil: fetched with Client and cached.
	ReceiptKeys func(jwksURI string) set.KeySet
	// Client fetches receivers' keys. Nil: a client that follows no redirects, with a time limit of 10 s.
	Client *http.Client
	// OnReceipt is called after a receipt was kept, before the sender gets its 202. It should return soon.
	OnReceipt func(ctx context.Context, r AcceptedReceipt)

	// AllowEndpoint is asked about each push endpoint_url and receipt_jwks_uri of a receiver. Nil: every https URL that
	// passes the form checks. Addresses are the business of Transport, which sees them after DNS.
	AllowEndpoint func(ctx context.Context, c Caller, u *url.URL) error
	// InsecureHTTP admits http URLs: of the issuer, of receivers, of keys. For development only.
	InsecureHTTP bool
	// Audience makes the aud of a new stream. Nil: Caller.Audience, else <issuer>/streams/<stream id>.
	Audience func(c Caller, streamID string) []string
	// MinVerification is the least time between two verification requests on a stream. 0: none is demanded.
	MinVerification time.Duration
	// Name gives the identifier by which a stream's receiver knows the subject of a message, for streams with Naming. Where
	// it gives a reason instead, the stream is skipped with it. Nil: streams with Naming are skipped.
	Name func(ctx context.Context, s *Stream, sub subject.Identifier, typ string) (named subject.Identifier, skip string, err error)
	// DefaultSubjects of new streams: stream.DefaultAll or DefaultNone. Empty: ALL.
	DefaultSubjects string
	// MaxSubjects bounds the list of a stream. 0: 10 million.
	MaxSubjects int64
	// Critical are the members of complex subjects that receivers must understand where they stand (SSF 1.0 §3.6).
	Critical []string
	// RemovalGrace is how long events about a removed subject are still sent (TX-121, SSF 1.0 §9.3). 0: not at all.
	RemovalGrace time.Duration
	// MaxStreams bounds the streams of one receiver that may have many. 0: 100.
	MaxStreams int
	// Inactivity is the inactivity_timeout of new streams. 0: none. A stream whose receiver was silent for longer is paused.
	Inactivity time.Duration
	// PollWait is how long a poll without returnImmediately is held. 0: 30 s. PollMax bounds the SETs of one answer. 0: 100.
	PollWait time.Duration
	PollMax  int
	// PollParked bounds the polls held at one time, of one stream and in all. 0: 2 and 20,000.
	PollParkedStream, PollParked int
	// PollParkedReceiver bounds those of one receiver, on all its streams together. 0: half of PollParked.
	PollParkedReceiver int
	// Held is called when a poll is held, and what it gives once the poll goes on: for servers that limit how many requests
	// are worked on at one time. A held poll is no work. Nil: nobody is told.
	Held func(r *http.Request) (resumed func())
	// Retention is how long a SET waits for its receiver before it is set aside. 0: 7 days. History is how long finished
	// deliveries and dead letters are kept. 0: 30 days.
	Retention, History time.Duration
	// Legacy makes this transmitter serve older shapes in place of SSF 1.0: see the Shape constants. Where there are
	// several, Caller.Shape chooses, and the first is told in the metadata. Such receivers get an issuer of their own, so that
	// what one needs never changes what others see (LEG-26). Empty: SSF 1.0.
	Legacy []string
	// KeysMaxAge is the max-age of the JWKS. 0: 5 minutes.
	KeysMaxAge time.Duration
	// MaxBody bounds management bodies, in bytes. 0: 64 KiB.
	MaxBody int64

	// Transport carries deliveries. Nil: one with pooled connections and the limits of Pump.
	Transport http.RoundTripper
	// Window is how many SETs are in flight on one stream. 0: 8; 1 keeps strict order.
	Window int
	// InFlight is how many are in flight in all. 0: 512.
	InFlight int
	// Timeout is the time for one try. 0: 10 s.
	Timeout time.Duration
	// Sweep is how often the store is asked for rows that nobody announced: after a start, or from other processes. 0: 1 s.
	Sweep time.Duration
	// Delivered is told of each finished try; nil: nobody is. It must not block.
	Delivered func(Try)

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log gets what operators should see; never tokens, secrets or subjects. Nil: discarded.
	Log *slog.Logger
}

// Scopes of the stream API (interoperability profile §2.7, receipts design §6.2). ssf.manage implies the others.
const (
	ScopeRead           = "ssf.read"
	ScopeManage         = "ssf.manage"
	ScopeManageReceipts = "ssf.manage.receipts"
)

// Caller is the Receiver that a request speaks for, as its credential says it and nothing else does (TX-33, AZ-11).
type Caller struct {
	Receiver  string   // owner of streams; never empty
	Scopes    []string // of the credential
	Audience  []string // aud of its streams; empty: one is made per stream
	Algorithm string   // JOSE name; empty: the transmitter's default
	Events    []string // type URIs it may ask for; empty: all that are offered
	OneStream bool     // a second stream is refused with 409 (TX-66)
	// Naming is Stream.Naming of the streams it makes.
	Naming json.RawMessage
	// DefaultSubjects of the streams it makes; empty: Config.DefaultSubjects.
	DefaultSubjects string
	// Shape is the older shape that it speaks, one of Config.Legacy; empty: SSF 1.0.
	Shape string
}

func (c Caller) may(scope string) bool {
	for _, s := range c.Scopes {
		if s == scope || s == ScopeManage {
			return true
		}
	}
	return false
}

// Errors of Config.Caller.
var (
	ErrNoCredentials  = errors.New("transmitter: the request carries no credentials")
	ErrBadCredentials = errors.New("transmitter: the credentials are not valid")
)

// prepare checks the configuration and fills in what was left out.
func (c *Config) prepare() error {
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(c.Issuer, "?#"):
		return fmt.Errorf("transmitter: issuer %q is not a plain https URL", c.Issuer) // SSF 1.0 §7.1
	case u.Scheme != "https" && (u.Scheme != "http" || !c.InsecureHTTP):
		return fmt.Errorf("transmitter: issuer %q is not https", c.Issuer)
	case c.Registry == nil:
		return errors.New("transmitter: no event registry")
	case c.Store == nil:
		return errors.New("transmitter: no store")
	case c.Caller == nil:
		return errors.New("transmitter: nothing tells who calls (Config.Caller)")
	}
	if len(c.Events) == 0 {
		for _, t := range c.Registry.Types() {
			if !t.StreamLevel {
				c.Events = append(c.Events, t.URI)
			}
		}
	}
	if c.Vocabulary == (receipt.Vocabulary{}) {
		c.Vocabulary = receipt.Default()
	}
	if c.Schemes == nil {
		c.Schemes = []string{stream.OAuth2URN, "urn:ietf:rfc:6750"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Client == nil {
		c.Client = &http.Client{
			Timeout:       10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	if c.ReceiptKeys == nil {
		client, now := c.Client, c.Now
		c.ReceiptKeys = func(uri string) set.KeySet { return set.NewRemoteKeys(uri, client, now) }
	}
	c.MaxBody = or(c.MaxBody, 64<<10)
	c.KeysMaxAge = or(c.KeysMaxAge, 5*time.Minute)
	c.Window = or(c.Window, 8)
	c.InFlight = or(c.InFlight, 512)
	c.Timeout = or(c.Timeout, 10*time.Second)
	c.Sweep = or(c.Sweep, time.Second)
	c.Retention = or(c.Retention, 7*24*time.Hour)
	c.History = or(c.History, 30*24*time.Hour)
	c.PollParkedStream = or(c.PollParkedStream, 2)
	c.PollParked = or(c.PollParked, 20_000)
	c.PollParkedReceiver = or(c.PollParkedReceiver, max(1, c.PollParked/2))
	if c.Transport == nil {
		c.Transport = newTransport(c)
	}
	return nil
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// base is the issuer without its trailing slash: endpoints hang below it.
func (c *Config) base() string { return strings.TrimSuffix(c.Issuer, "/") }

// streamLimit is how many streams a caller may have.
func streamLimit(cfg *Config, c Caller) int {
	if c.OneStream {
		return 1
	}
	return or(cfg.MaxStreams, 100)
}
