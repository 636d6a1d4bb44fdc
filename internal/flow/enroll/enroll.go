package enroll

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
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
	// LastSignal says when the source's last signal came; 0: none yet. Nil: it is not known.
	LastSignal func(ctx context.Context, tenant, source string) (hub.Micros, error)
	// Alarmed is told when a source goes silent, and when it is heard again. Nil: nobody.
	Alarmed func(tenant, source string, silent bool)
	// Fallbacks says whether a source's metadata is looked for at the older places too (a quirk of its profile). Nil: no.
	Fallbacks func(src *hub.Source) bool
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
	if c.Fallbacks == nil {
		c.Fallbacks = func(*hub.Source) bool { return false }
	}
	return &Enroller{Config: c}
}

// Reconcile gives each source its receive address, and queues the work where our stream is not what the
// source wants. It calls nobody. deleted are sources that were there before and are not any more.
func (e *Enroller) Reconcile(ctx context.Context, tenant string, sources []*hub.Source, deleted []string) (map[string]*State, error) {
	out := make(map[string]*State, len(sources))
	queued := false
	for _, src := range sources {
		s, err := Read(ctx, e.Store, tenant, src.Name)
		if err != nil {
			return nil, err
		}
		if s == nil {
			s = fresh(src)
			if err := e.keep(ctx, tenant, src.Name, s); err != nil {
				return nil, err
			}
		}
		if src.Stream != "create" && s.StreamID == "" && !slices.Equal(s.Audience, src.Audience) {
			s.Audience, s.Status = src.Audience, None
			if err := e.keep(ctx, tenant, src.Name, s); err != nil {
				return nil, err
			}
		}
		out[src.Name] = s
		due, err := e.due(ctx, tenant, src, s)
		if err != nil {
			return nil, err
		}
		if !due {
			continue
		}
		if err := e.enqueue(ctx, tenant, src.Name); err != nil {
			return nil, err
		}
		queued = true
	}
	for _, name := range deleted {
		s, err := Read(ctx, e.Store, tenant, name)
		if err != nil {
			return nil, err
		}
		if s == nil || s.StreamID == "" {
			continue
		}
		if err := e.enqueue(ctx, tenant, name); err != nil {
			return nil, err
		}
		queued = true
	}
	if queued {
		e.Poke()
	}
	return out, nil
}

func (e *Enroller) enqueue(ctx context.Context, tenant, source string) error {
	return e.Store.Enqueue(ctx, tenant, hub.Job{Kind: "enroll", Key: tenant + "/" + source, Due: hub.At(e.Now())})
}

// due reports whether there is something to do at the other side.
func (e *Enroller) due(ctx context.Context, tenant string, src *hub.Source, s *State) (bool, error) {
	want, err := e.want(ctx, tenant, src, s)
	if err != nil {
		return false, err
	}
	if s.Status == Failed && s.Tried == digest(want) && s.Next > hub.At(e.Now()) {
		return false, nil // the next try has its time
	}
	if src.Stream != "create" {
		return s.StreamID != "" || src.Keys == nil && s.JWKSURI == "", nil
	}
	return s.Status != Made || s.Want != digest(want), nil
}

// want is the configuration that the stream shall have, as far as it is ours to say.
func (e *Enroller) want(ctx context.Context, tenant string, src *hub.Source, s *State) (*wanted, error) {
	w := &wanted{Issuer: src.Issuer, Events: src.Events, Endpoint: e.ReceiveURL(s.ReceiveID), Auth: src.Auth}
	if len(w.Events) == 0 {
		w.Events = e.Events()
	}
	if src.PushAuth != nil && src.PushAuth.AuthorizationHeader != nil {
		h, err := e.Secret(ctx, tenant, src.PushAuth.AuthorizationHeader)
		if err != nil {
			return nil, err
		}
		w.Header = h
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
	Issuer   string
	Events   []string
	Endpoint string
	Header   string
	Auth     *hub.Auth
	Receipts *receipt.Settings
}

func digest(w *wanted) string {
	raw, _ := json.Marshal(w) // nothing in it can fail to marshal
	h := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// Do is the step "enroll": one try for one source.
func (e *Enroller) Do(ctx context.Context, job *hub.Job) error {
	tenant, name, _ := strings.Cut(job.Key, "/")
	src, err := e.Source(ctx, tenant, name)
	if err != nil {
		return err
	}
	s, err := Read(ctx, e.Store, tenant, name)
	if err != nil {
		return err
	}
	if s == nil {
		if src == nil {
			return e.Store.FinishJob(ctx, job, nil)
		}
		s = fresh(src)
	}
	err = e.try(ctx, tenant, name, src, s)
	s.Changed = hub.At(e.Now())
	var next *hub.Micros
	switch {
	case err == nil:
		s.Error, s.Tries, s.Next = "", 0, 0
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		s.Error = e.hide(ctx, tenant, src, reason(err))
		s.Tries++
		if src != nil {
			s.Status = Failed
		}
		if src == nil && s.Tries > 20 {
			s.Status = Gone // the other side will notice by itself that nobody listens
		} else {
			at := hub.At(e.Now().Add(pause(s.Tries, err)))
			s.Next, next = at, &at
		}
		e.Log.WarnContext(ctx, "the stream at a source could not be set up", "source", name, "try", s.Tries, "err", s.Error)
	}
	if err := e.keep(ctx, tenant, name, s); err != nil {
		return err
	}
	if err := e.Store.FinishJob(ctx, job, next); err != nil {
		return err
	}
	e.Changed(ctx, tenant) // after the job is free, so that a further change finds room for its own
	return nil
}

// try brings the stream to what is wanted.
func (e *Enroller) try(ctx context.Context, tenant, name string, src *hub.Source, s *State) error {
	var want *wanted
	if src != nil {
		var err error
		if want, err = e.want(ctx, tenant, src, s); err != nil {
			return err
		}
		s.Tried = digest(want)
	}
	if src == nil || src.Stream != "create" {
		if s.StreamID != "" {
			if err := e.remove(ctx, tenant, name, s); err != nil {
				return err
			}
		}
		if src == nil {
			s.Status = Gone
			return nil
		}
		s.Status, s.Audience, s.Want = None, src.Audience, ""
		if src.Keys == nil {
			c := &receiver.Client{HTTP: e.Client}
			md, err := c.Discover(ctx, src.Issuer, src.MetadataURL)
			if err != nil {
				return err
			}
			s.JWKSURI = md.JWKSURI
		}
		return nil
	}
	c, err := e.calls(ctx, tenant, src.Name, src.Auth)
	if err != nil {
		return err
	}
	if s.StreamID != "" && s.Issuer != src.Issuer {
		if err := e.remove(ctx, tenant, name, s); err != nil {
			return err
		}
	}
	md, err := c.Discover(ctx, src.Issuer, src.MetadataURL)
	if err != nil {
		return err
	}
	s.JWKSURI, s.Issuer, s.MetadataURL, s.Auth = md.JWKSURI, src.Issuer, src.MetadataURL, src.Auth

	cfg := &stream.Configuration{EventsRequested: want.Events, Description: "Countersign",
		Delivery: &stream.Delivery{Method: stream.PushMethod, EndpointURL: want.Endpoint, AuthorizationHeader: want.Header}}
	offered, vocabulary, offers := receipt.Offered(md.Extra, e.Vocabulary)
	asked := want.Receipts != nil && offers && slices.Contains(offered.DeliveryMethods, receipt.DeliveryPush)
	if asked {
		raw, err := want.Receipts.Marshal()
		if err != nil {
			return err
		}
		cfg.Extra = map[string]json.RawMessage{vocabulary.Settings: raw}
	}
	got, err := e.put(ctx, c, md, cfg, s)
	if err != nil {
		return err
	}
	s.StreamID, s.Audience, s.Events = got.StreamID, got.Audience, got.EventsDelivered
	s.Receipts, s.ReceiptIssuer, s.ReceiptAudience, s.Endpoint, s.Algorithms, s.Actions = ReceiptsOff, "", "", "", nil, nil
	s.ReceiptsReason = ""
	answer := got.Extra[vocabulary.Settings]
	agreed, problem := agreement(answer, offered, md.Issuer, want.Receipts)
	switch {
	case want.Receipts == nil:
	case !asked:
		s.Receipts = ReceiptsLegacy
	case answer == nil:
		s.Receipts = ReceiptsLegacy
	case problem != "":
		s.Receipts, s.ReceiptsReason = ReceiptsDeclined, problem
	default:
		s.Receipts, s.ReceiptIssuer, s.ReceiptAudience = ReceiptsActive, want.Receipts.ReceiptIssuer, agreed.ReceiptAudience
		s.Endpoint, s.Algorithms, s.Actions = agreed.Endpoint, offered.Algorithms, agreed.Actions
	}
	s.Status, s.Want = Made, digest(want)
	return nil
}

// agreement reads the transmitter's answer about receipts, and says why it is none. What an active answer leaves
// out has a default: the audience is the transmitter's issuer, the endpoint is the one of its metadata, and it
// may order what both sides named (receipts design §3.2).
func agreement(answer json.RawMessage, offered receipt.Settings, issuer string, asked *receipt.Settings) (receipt.Settings, string) {
	if answer == nil || asked == nil {
		return receipt.Settings{}, ""
	}
	s, err := receipt.ParseSettings(answer)
	if err == nil && s.Status == receipt.StatusDeclined {
		return s, "the transmitter answered declined"
	}
	if err == nil && s.Status == receipt.StatusActive {
		s.ReceiptAudience = cmp.Or(s.ReceiptAudience, issuer)
		s.Endpoint = cmp.Or(s.Endpoint, offered.Endpoint)
		if len(s.Actions) == 0 {
			for _, c := range asked.Capabilities {
				if slices.Contains(offered.Actions, c.Action) {
					s.Actions = append(s.Actions, c.Action)
				}
			}
		}
	}
	if err == nil {
		err = s.CheckAnswer()
	}
	if err != nil {
		return s, "the transmitter's answer is not complete: " + err.Error()
	}
	return s, ""
}

// put creates the stream, or updates the one that is there: also one whose creation was answered to nobody.
func (e *Enroller) put(ctx context.Context, c *receiver.Client, md *stream.Metadata, cfg *stream.Configuration, s *State) (*stream.Configuration, error) {
	if s.StreamID == "" && s.Tries > 0 {
		if all, err := c.List(ctx, md); err == nil {
			for _, have := range all {
				if have.Delivery != nil && have.Delivery.EndpointURL == cfg.Delivery.EndpointURL {
					s.StreamID = have.StreamID
				}
			}
		}
	}
	if s.StreamID != "" {
		cfg.StreamID = s.StreamID
		got, err := c.Update(ctx, md, cfg)
		if status(err) == http.StatusBadRequest && cfg.Extra != nil {
			cfg.Extra = nil
			got, err = c.Update(ctx, md, cfg)
		}
		if err == nil && got == nil {
			got, err = c.Read(ctx, md, s.StreamID)
		}
		if status(err) != http.StatusNotFound {
			return got, err
		}
		s.StreamID, cfg.StreamID = "", "" // somebody deleted it there: made anew
	}
	got, err := c.Create(ctx, md, cfg)
	if status(err) == http.StatusBadRequest && cfg.Extra != nil {
		// Receipts design §3.3: once without the member; success marks the peer legacy.
		cfg.Extra = nil
		got, err = c.Create(ctx, md, cfg)
	}
	return got, err
}

// remove deletes our stream.
func (e *Enroller) remove(ctx context.Context, tenant, name string, s *State) error {
	s.Status = Deleting
	c, err := e.calls(ctx, tenant, name, s.Auth)
	if err != nil {
		return err
	}
	md, err := c.Discover(ctx, s.Issuer, s.MetadataURL)
	if err != nil {
		return err
	}
	if err := c.Delete(ctx, md, s.StreamID); err != nil && status(err) != http.StatusNotFound {
		return err
	}
	s.StreamID, s.Audience, s.Want, s.Receipts = "", nil, "", ""
	return nil
}

func (e *Enroller) calls(ctx context.Context, tenant, name string, auth *hub.Auth) (*receiver.Client, error) {
	cred, err := e.credential(ctx, tenant, name, auth)
	if err != nil {
		return nil, err
	}
	return &receiver.Client{HTTP: e.Client, Credential: cred}, nil
}

// verifyAt has the liveness of a source looked at then.
func (e *Enroller) verifyAt(ctx context.Context, tenant, source string, at time.Time) error {
	return e.Store.Enqueue(ctx, tenant, hub.Job{Kind: "verify", Key: tenant + "/" + source, Due: hub.At(at)})
}

func status(err error) int {
	var a *receiver.APIError
	if errors.As(err, &a) {
		return a.Status
	}
	return 0
}

// pause is the back-off: one second doubling to five minutes, with jitter; a Retry-After above it is honoured.
func pause(n int, err error) time.Duration {
	d := min(time.Second<<min(max(n-1, 0), 10), 5*time.Minute)
	d = d/2 + time.Duration(mathrand.Int64N(int64(d/2)+1))
	var a *receiver.APIError
	if errors.As(err, &a) && a.RetryAfter > d {
		d = min(a.RetryAfter, time.Hour)
	}
	return d
}

// reason is an error for people: without the query of an address, which may hold a credential.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			return fmt.Sprintf("%s %s://%s%s: %v", u.Op, parsed.Scheme, parsed.Host, parsed.Path, u.Err)
		}
	}
	return err.Error()
}
