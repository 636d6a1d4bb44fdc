package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/stream"
)

// Store is what enroll needs of the store.
type Store interface {
	Rows
	Enqueue(ctx context.Context, tenant string, job hub.Job) error
	FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error
}

// Config is what an Enroller is built from. All of it is required but Changed, Poke, Now and Log.
type Config struct {
	Store Store
	// Source gives a source as it is set up now; nil and no error: it was deleted.
	Source func(ctx context.Context, tenant, name string) (*hub.Source, error)
	// Secret gives the value that a resource refers to.
	Secret func(ctx context.Context, tenant string, s *hub.Secret) (string, error)
	// Capabilities are the actions that the source may order as far as the apps' packs can do them now.
	Capabilities func(ctx context.Context, tenant string, src *hub.Source) ([]receipt.Capability, error)
	// Issuer is our own name as the tenant's issuer: receipt_issuer, and the root of our addresses.
	Issuer func(tenant string) string
	// KeysURL is where that issuer's keys are.
	KeysURL func(tenant string) string
	// ReceiveURL is the address of a receive id.
	ReceiveURL func(id string) string
	// Events are all event types we know, for sources that name none.
	Events func() []string
	// Client carries the calls.
	Client *http.Client
	// Changed is called when a state was kept, so that the receive door sees it.
	Changed func(ctx context.Context, tenant string)
	// Poke asks the belt to look for due jobs at once.
	Poke       func()
	Vocabulary receipt.Vocabulary
	// Vault keeps what a state must not hold in the clear.
	Vault Vault
	// Take gives a polled token to the receive door, for the step `poll`; see receiver.Handler.Take.
	Take func(ctx context.Context, tenant, source, compact string) error
	// Polls carries polls, which a transmitter may hold for a while. Nil: Client, with a longer time-out.
	Polls *http.Client
	// LastSignal says when the source's last signal came; 0: none yet. Nil: it is not known.
	LastSignal func(ctx context.Context, tenant, source string) (hub.Micros, error)
	// Alarmed is told when a source goes silent, and when it is heard again. Nil: nobody.
	Alarmed func(tenant, source string, silent bool)
	// Stop is the kill bench's hook; nil: none.
	Stop func(point string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Enroller is the step "enroll". It is safe for concurrent use.
type Enroller struct {
	Config
	creds credentials
	known known
	turns turns
	// queued are the sources for which this node queued a try that has not begun: many are changed at the same time.
	queued sync.Map
	wait   time.Duration // of the doctor, for a verification event
}

// New makes an Enroller.
func New(c Config) *Enroller {
	if c.Changed == nil {
		c.Changed = func(context.Context, string) {}
	}
	if c.Poke == nil {
		c.Poke = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Vocabulary.Settings == "" {
		c.Vocabulary = receipt.Default()
	}
	if c.Stop == nil {
		c.Stop = func(string) {}
	}
	if c.Alarmed == nil {
		c.Alarmed = func(string, string, bool) {}
	}
	return &Enroller{Config: c, wait: examineWait}
}

// Reconcile gives each source its receive address, and queues the work where our stream is not what the
// source wants. It calls nobody. Streams of sources that are not there any more are queued to be deleted, also where the hub
// ended between the two.
func (e *Enroller) Reconcile(ctx context.Context, tenant string, sources []*hub.Source) (map[string]*State, error) {
	rows, err := e.Store.SourceStreams(ctx, tenant)
	if err != nil {
		return nil, err
	}
	states := make([]*State, len(sources))
	err = together(len(sources), func(i int) (err error) {
		src := sources[i]
		if raw := rows[src.Name]; len(raw) > 0 {
			if states[i], err = parse(raw); err != nil {
				return err
			}
		}
		if states[i] == nil || stale(states[i], src) {
			if states[i], err = e.change(ctx, tenant, src.Name, func(s *State) *State { return renewed(s, src) }); err != nil {
				return err
			}
		}
		s := states[i]
		due, err := e.due(ctx, tenant, src, s)
		if err != nil {
			e.Log.ErrorContext(ctx, "the stream at a source cannot be compared with what is wanted", "tenant", tenant, "source", src.Name, "err", err)
			return nil // its secret is not there, say; the source shows it
		}
		if due {
			if err := e.enqueue(ctx, tenant, src.Name); err != nil {
				return err
			}
		}
		if at, due := e.lookDue(src, s); due {
			return e.verifyAt(ctx, tenant, src.Name, at)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]*State, len(sources))
	for i, src := range sources {
		out[src.Name] = states[i]
		delete(rows, src.Name)
	}
	for name, raw := range rows { // sources that are gone
		s, err := parse(raw)
		if err != nil {
			return nil, err
		}
		if s.Status != Gone && s.ours() && !(s.Status == Deleting && s.Next > hub.At(e.Now())) {
			if err := e.enqueue(ctx, tenant, name); err != nil {
				return nil, err
			}
		}
		if s.Consent && (s.Status == Gone || !s.ours()) { // nothing is left to do with it
			if err := e.Vault.Delete(ctx, tenant, RefreshName(name)); err != nil && hub.CodeOf(err) != hub.NotFound {
				return nil, err
			}
			if _, err := e.change(ctx, tenant, name, func(s *State) *State {
				if s != nil {
					s.Consent = false
				}
				return s
			}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// together does n things, some at a time: their writes share commits.
func together(n int, do func(i int) error) error {
	const most = 32
	errs := make([]error, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(most, n) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = do(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// ours reports whether there is a stream, or may be one, that is ours to delete.
func (s *State) ours() bool {
	return (s.StreamID != "" || s.Making) && (s.Origin == "" || s.Origin == Created)
}

// stale reports whether the state does not know yet what the source says of itself.
func stale(s *State, src *hub.Source) bool {
	switch {
	case src.Stream == None:
		return s.StreamID == "" && len(src.Audience) > 0 && !slices.Equal(s.Audience, src.Audience) || !s.ours() && s.Status != None
	default:
		return s.Status == Gone || s.Status == None && s.StreamID == ""
	}
}

// renewed is the state with what the source says of itself.
func renewed(s *State, src *hub.Source) *State {
	if s == nil {
		return fresh(src)
	}
	switch {
	case src.Stream == None:
		if s.StreamID == "" && len(src.Audience) > 0 {
			s.Audience = src.Audience
		}
		if !s.ours() { // else it is deleted first
			s.Status, s.Error, s.Tries, s.Next, s.Want = None, "", 0, 0, ""
		}
	case s.Status == Gone || s.Status == None:
		s.Status = Pending
	}
	return s
}

// queuedFor is how long a try that this node queued is taken to be waiting.
const queuedFor = 30 * time.Second

// enqueue queues a try, unless this node did so and the try has not begun.
func (e *Enroller) enqueue(ctx context.Context, tenant, source string) error {
	key := tenant + "/" + source
	now := e.Now()
	if at, queued := e.queued.Swap(key, now); queued && now.Sub(at.(time.Time)) < queuedFor { // another node may have begun it
		e.queued.Store(key, at)
		return nil
	}
	if err := e.Store.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: key, Due: hub.At(e.Now())}); err != nil {
		e.queued.Delete(key)
		return err
	}
	e.Poke()
	return nil
}

// due reports whether there is something to do at the other side.
func (e *Enroller) due(ctx context.Context, tenant string, src *hub.Source, s *State) (bool, error) {
	if src.Stream == None {
		return s.ours() && s.Next <= hub.At(e.Now()), nil
	}
	want, err := e.want(ctx, tenant, src, s)
	if err != nil {
		return false, err
	}
	if s.Status == Failed && s.Tried == digest(want) && s.Next > hub.At(e.Now()) {
		return false, nil // the next try has its time
	}
	return s.Status != Made || s.Want != digest(want), nil
}

// want is the configuration that the stream shall have, as far as it is ours to say.
func (e *Enroller) want(ctx context.Context, tenant string, src *hub.Source, s *State) (*wanted, error) {
	w := &wanted{Issuer: src.Issuer, Events: src.Events, Auth: src.Auth, Poll: src.Delivery == "poll", Stream: src.Stream, StreamID: src.StreamID, Audience: src.Audience,
		Description: description(src.Name, s.ReceiveID)}
	if len(w.Events) == 0 {
		w.Events = e.Events()
	}
	if len(w.Audience) == 0 && quirksOf(src.Profile, src.Relax).AudienceInCreate {
		w.Audience = []string{e.Issuer(tenant)} // a transmitter that gives a stream no aud unless it is asked to
	}
	if !w.Poll {
		w.Endpoint = e.ReceiveURL(s.ReceiveID)
		if src.PushAuth != nil && src.PushAuth.AuthorizationHeader != nil {
			h, err := e.Secret(ctx, tenant, src.PushAuth.AuthorizationHeader)
			if err != nil {
				return nil, err
			}
			w.Header = h
		}
	}
	if src.Receipts != nil && src.Receipts.Send == "off" || src.Orders == nil || len(src.Orders.Accept) == 0 {
		return w, nil
	}
	caps, err := e.Capabilities(ctx, tenant, src)
	if err != nil {
		return nil, err
	}
	if len(caps) > 0 {
		w.Receipts = &receipt.Settings{ReceiptIssuer: e.Issuer(tenant), JWKSURI: e.KeysURL(tenant), Delivery: receipt.DeliveryPush, Capabilities: caps}
	}
	return w, nil
}

type wanted struct {
	Issuer      string
	Events      []string
	Endpoint    string // of a push stream
	Header      string
	Poll        bool
	Stream      string
	StreamID    string
	Audience    []string
	Description string
	Auth        *hub.Auth
	Receipts    *receipt.Settings
}

// descriptionOf begins the description of every stream that a source of a hub makes.
const descriptionOf = "Countersign, source "

// description is what our streams are called there. Its mark finds one again that has no address of ours, and tells nobody
// the address of one that has.
func description(source, receiveID string) string {
	h := sha256.Sum256([]byte("description/" + receiveID))
	return descriptionOf + source + " (" + base64.RawURLEncoding.EncodeToString(h[:6]) + ")"
}

// configuration is what we ask for, without receipts.
func (w *wanted) configuration() *stream.Configuration {
	cfg := &stream.Configuration{Audience: w.Audience, EventsRequested: w.Events, Description: w.Description, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	if !w.Poll {
		cfg.Delivery = &stream.Delivery{Method: stream.PushMethod, EndpointURL: w.Endpoint, AuthorizationHeader: w.Header}
	}
	return cfg
}

func digest(w *wanted) string {
	raw, _ := json.Marshal(w) // nothing in it can fail to marshal
	h := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(h[:])
}
