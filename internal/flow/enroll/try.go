package enroll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/stream"
)

// maxDeletes is how often the deletion of a stream is tried whose source is gone.
const maxDeletes = 20

// turns lets one at a time change the stream at a source.
type turns struct {
	mu  sync.Mutex
	all map[string]*sync.Mutex
}

func (t *turns) take(key string) (done func()) {
	t.mu.Lock()
	if t.all == nil {
		t.all = map[string]*sync.Mutex{}
	}
	m := t.all[key]
	if m == nil {
		m = new(sync.Mutex)
		t.all[key] = m
	}
	t.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// Do is the step "enroll": one try for one source.
func (e *Enroller) Do(ctx context.Context, job *hub.Job) error {
	tenant, name, _ := strings.Cut(job.Key, "/")
	defer e.turns.take(job.Key)()
	e.queued.Delete(job.Key) // whoever wants another try from here on has it
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
	was := s.StreamID
	err = e.try(ctx, tenant, name, src, s)
	var next *hub.Micros
	switch {
	case err == nil:
		s.Error, s.Tries, s.Next = "", 0, 0
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		e.forget(job.Key)
		s.Error = e.hide(ctx, tenant, src, reason(err))
		s.Tries++
		if src != nil {
			s.Status = Failed
		}
		if src == nil && s.Tries > maxDeletes {
			s.Status = Gone // the other side will notice by itself that nobody listens
		} else {
			at := hub.At(e.Now().Add(pause(s.Tries, err)))
			s.Next, next = at, &at
		}
		e.Log.WarnContext(ctx, "the stream at a source could not be set up", "tenant", tenant, "source", name, "try", s.Tries, "err", s.Error)
	}
	at := e.Now().Add(firstLook)
	first := s.Status == Made && s.StreamID != was
	if first {
		s.look = hub.At(at)
	}
	if err := e.keep(ctx, tenant, name, s); err != nil {
		return err
	}
	if first && every(src, s) > 0 {
		if err := e.verifyAt(ctx, tenant, name, at); err != nil {
			return err
		}
	}
	if err := e.Store.FinishJob(ctx, job, next); err != nil {
		return err
	}
	e.Changed(ctx, tenant) // after the job is free, so that a further change finds room for its own
	e.Poke()
	return nil
}

// try brings the stream to what is wanted.
func (e *Enroller) try(ctx context.Context, tenant, name string, src *hub.Source, s *State) error {
	if src == nil || src.Stream == None {
		if s.ours() {
			if err := e.remove(ctx, tenant, name, s); err != nil {
				return err
			}
		}
		if src == nil {
			s.Status = Gone
			return nil
		}
		s.Status, s.Audience, s.Want = None, src.Audience, ""
		return nil
	}
	want, err := e.want(ctx, tenant, src, s)
	if err != nil {
		return err
	}
	s.Tried = digest(want)
	if s.Status == Made && s.Want == s.Tried && s.Issuer == src.Issuer {
		return nil // it was queued once more while it was made
	}
	if s.StreamID != "" && (s.Issuer != src.Issuer || src.Stream == "adopt" && src.StreamID != "" && s.StreamID != src.StreamID) {
		if s.ours() {
			switch err := e.remove(ctx, tenant, name, s); {
			case err != nil && s.Tries < maxDeletes:
				return err
			case err != nil: // the issuer before does not keep us from the new one for ever
				e.Log.WarnContext(ctx, "the stream at the issuer that a source had before could not be deleted", "tenant", tenant, "source", name, "stream", s.StreamID)
			}
		}
		s.lose()
	}
	c, err := e.calls(ctx, tenant, src)
	if err != nil {
		return err
	}
	at := e.placeOf(src)
	md, used, err := e.metadata(ctx, c, tenant+"/"+name, at, s.Tries > 0)
	if err != nil {
		return err
	}
	s.JWKSURI, s.KeysOf, s.MetadataFrom, s.Critical = md.JWKSURI, md.Issuer, used, md.CriticalSubjectMembers
	s.Issuer, s.MetadataURL, s.Auth, s.Profile, s.Relax = src.Issuer, src.MetadataURL, src.Auth, src.Profile, src.Relax

	cfg := want.configuration()
	offered, vocabulary, offers := receipt.Offered(md.Extra, e.Vocabulary)
	asked := want.Receipts != nil && offers && slices.Contains(offered.DeliveryMethods, receipt.DeliveryPush)
	if asked {
		raw, err := want.Receipts.Marshal()
		if err != nil {
			return err
		}
		cfg.Extra = map[string]json.RawMessage{vocabulary.Settings: raw}
	}
	set := &setting{e: e, c: c, md: md, cfg: cfg, src: src, s: s, tenant: tenant, name: name, endpoint: want.Endpoint}
	got, err := set.put(ctx)
	if err != nil {
		return err
	}
	if err := e.record(ctx, c, md, tenant, src, s, got); err != nil {
		return err
	}
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
	s.Status, s.Want, s.Making, s.Before = Made, digest(want), false, nil
	return nil
}

// placeOf says where a source's metadata is.
func (e *Enroller) placeOf(src *hub.Source) place {
	return place{src.Issuer, src.MetadataURL, quirksOf(src.Profile, src.Relax).OtherMetadataPlaces}
}

// quirksOf are the departures from the specifications that are let pass at a source. What a newer version wrote is strict.
func quirksOf(profile string, relax []string) receiver.Quirks {
	p, ok := partner.Find(profile)
	if !ok {
		return receiver.Quirks{}
	}
	q, err := p.QuirksWith(relax)
	if err != nil {
		return receiver.Quirks{}
	}
	return q
}

// lose forgets a stream.
func (s *State) lose() {
	s.StreamID, s.Origin, s.Audience, s.Want, s.Receipts = "", "", nil, "", ""
	s.PollURL, s.PollAuth, s.Events, s.Requested, s.Making, s.Before = "", nil, nil, nil, false, nil
	s.Acks, s.Refused = nil, nil
}

// record takes from a stream's configuration what we have to know of it.
func (e *Enroller) record(ctx context.Context, c *receiver.Client, md *stream.Metadata, tenant string, src *hub.Source, s *State, got *stream.Configuration) error {
	audience := []string(got.Audience)
	if len(audience) == 0 {
		audience = src.Audience
	}
	if len(audience) == 0 {
		return fmt.Errorf("the stream %s names no audience (aud), so nothing that comes on it can be taken; it has to be set there", got.StreamID)
	}
	if src.Delivery == "poll" {
		if err := e.recordPoll(ctx, c, md, tenant, src.Name, s, got); err != nil {
			return err
		}
	} else {
		s.PollURL, s.PollAuth = "", nil
	}
	s.StreamID, s.Audience = got.StreamID, audience
	s.Events, s.MinVerification, s.Inactivity = got.EventsDelivered, got.MinVerificationInterval, got.InactivityTimeout
	if got.EventsRequested != nil {
		s.Requested = got.EventsRequested
	}
	return nil
}

// recordPoll takes the address to poll. One that an answer leaves out is still good, unless there is none yet.
func (e *Enroller) recordPoll(ctx context.Context, c *receiver.Client, md *stream.Metadata, tenant, name string, s *State, got *stream.Configuration) error {
	d := got.Delivery
	if (d == nil || d.EndpointURL == "") && s.PollURL == "" && c != nil {
		again, err := c.Read(ctx, md, got.StreamID)
		if err != nil {
			return err
		}
		d = again.Delivery
	}
	if d == nil || d.EndpointURL == "" {
		if s.PollURL == "" {
			return fmt.Errorf("the stream %s names no address to poll (delivery.endpoint_url)", got.StreamID)
		}
		return nil
	}
	u, err := url.Parse(d.EndpointURL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || strings.HasPrefix(md.Issuer, "https:")) {
		return fmt.Errorf("the address to poll of the stream %s is no https address", got.StreamID)
	}
	s.PollURL = d.EndpointURL
	if d.AuthorizationHeader != "" && quirksOf(s.Profile, s.Relax).PollToken { // Q-54/token
		s.PollAuth = e.Vault.Seal(pollPurpose, tenant+"/"+name, []byte(d.AuthorizationHeader))
	}
	return nil
}

// remove deletes our stream.
func (e *Enroller) remove(ctx context.Context, tenant, name string, s *State) error {
	s.Status = Deleting
	src := s.former(name)
	c, err := e.calls(ctx, tenant, src)
	if err != nil {
		return err
	}
	md, _, err := e.metadata(ctx, c, tenant+"/"+name, e.placeOf(src), false)
	if err != nil {
		return err
	}
	if s.StreamID == "" { // it was asked for, and the answer came to nobody
		all, err := c.List(ctx, md)
		if err != nil {
			return err
		}
		if have := s.among(all, e.ReceiveURL(s.ReceiveID), description(name, s.ReceiveID)); have != nil {
			s.StreamID = have.StreamID
		}
	}
	if s.StreamID != "" {
		e.Stop("stream.before-delete")
		if err := c.Delete(ctx, md, s.StreamID); err != nil {
			return err
		}
		e.Stop("stream.after-delete")
	}
	s.lose()
	return nil
}

// calls makes the client for a source's stream API.
func (e *Enroller) calls(ctx context.Context, tenant string, src *hub.Source) (*receiver.Client, error) {
	cred, err := e.Credentials(ctx, tenant, src)
	if err != nil {
		return nil, err
	}
	return &receiver.Client{HTTP: e.Client, Credential: cred, Quirks: quirksOf(src.Profile, src.Relax)}, nil
}

// former is the source as its stream was made, for who deletes the stream after the source.
func (s *State) former(name string) *hub.Source {
	return &hub.Source{Name: name, Issuer: s.Issuer, MetadataURL: s.MetadataURL, Auth: s.Auth, Profile: s.Profile, Relax: s.Relax}
}

func status(err error) int {
	if a, ok := errors.AsType[*receiver.APIError](err); ok {
		return a.Status
	}
	return 0
}

// refused reports whether the other side answered that it does not do it: then nothing was done.
func refused(err error) bool {
	n := status(err)
	return n >= 400 && n < 500 && n != http.StatusRequestTimeout
}

// missing reports whether the other side does not offer the operation at all.
func missing(err error) bool {
	n := status(err)
	return errors.Is(err, receiver.ErrUnsupported) || n == http.StatusMethodNotAllowed || n == http.StatusNotImplemented
}

// pause is the back-off: one second doubling to five minutes, with jitter; a Retry-After above it is honoured.
func pause(n int, err error) time.Duration {
	d := min(time.Second<<min(max(n-1, 0), 10), 5*time.Minute)
	d = d/2 + time.Duration(mathrand.Int64N(int64(d/2)+1))
	var asked time.Duration
	if a, ok := errors.AsType[*receiver.APIError](err); ok {
		asked = a.RetryAfter
	}
	if t, ok := errors.AsType[*receiver.TokenError](err); ok {
		asked = t.RetryAfter
	}
	return max(d, min(asked, time.Hour))
}

// reason is an error for people: without the query of an address, which may hold a credential.
func reason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		if parsed, perr := url.Parse(u.URL); perr == nil {
			return fmt.Sprintf("%s %s://%s%s: %v", u.Op, parsed.Scheme, parsed.Host, parsed.Path, u.Err)
		}
	}
	return err.Error()
}
