package enroll

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/stream"
)

// metadataLife is how long metadata is taken as it was read (RX-13).
const metadataLife = time.Hour

// known is the metadata that was read, one for each source.
type known struct {
	mu     sync.Mutex
	all    map[string]found // by tenant/source
	failed map[string]failure
}

// failure answers for a while in place of a transmitter that could not be asked.
type failure struct {
	err   error
	until time.Time
}

// failureLife is how long it does.
const failureLife = 10 * time.Second

type found struct {
	place
	md   *stream.Metadata
	used string // where it was
	at   time.Time
}

// place says where a source's metadata is looked for.
type place struct {
	issuer, url string
	fallbacks   bool
}

// metadata gives a transmitter's metadata, read at most once an hour; again asks anew in any case.
func (e *Enroller) metadata(ctx context.Context, c *receiver.Client, key string, p place, again bool) (*stream.Metadata, string, error) {
	e.known.mu.Lock()
	f, ok := e.known.all[key]
	e.known.mu.Unlock()
	if ok && !again && f.place == p && e.Now().Sub(f.at) < metadataLife {
		return f.md, f.used, nil
	}
	md, used, err := c.DiscoverAny(ctx, p.issuer, p.url, p.fallbacks)
	if err != nil {
		return nil, "", err
	}
	if err := secure(md); err != nil {
		return nil, "", err
	}
	e.known.mu.Lock()
	defer e.known.mu.Unlock()
	if e.known.all == nil {
		e.known.all = map[string]found{}
	}
	e.known.all[key] = found{p, md, used, e.Now()}
	return md, used, nil
}

// KeysURI gives the address of a source's keys, from its metadata where that has not been read. It is for sources with
// stream: none, whose metadata nothing else reads. Those who ask at the same time share one request.
func (e *Enroller) KeysURI(ctx context.Context, tenant string, src *hub.Source) (string, error) {
	key := tenant + "/" + src.Name
	defer e.turns.take("keys/" + key)()
	e.known.mu.Lock()
	f, failed := e.known.failed[key]
	e.known.mu.Unlock()
	if failed && e.Now().Before(f.until) {
		return "", f.err
	}
	md, used, err := e.metadata(ctx, &receiver.Client{HTTP: e.Client}, key, e.placeOf(src), false)
	if err == nil && md.JWKSURI == "" {
		err = fmt.Errorf("the metadata of %s names no keys (jwks_uri)", md.Issuer)
	}
	if err != nil {
		err = errors.New(reason(err))
		e.known.mu.Lock()
		if e.known.failed == nil {
			e.known.failed = map[string]failure{}
		}
		e.known.failed[key] = failure{err, e.Now().Add(failureLife)}
		e.known.mu.Unlock()
		return "", err
	}
	_, err = e.change(ctx, tenant, src.Name, func(s *State) *State {
		if s != nil {
			s.JWKSURI, s.KeysOf, s.MetadataFrom, s.Critical = md.JWKSURI, md.Issuer, used, md.CriticalSubjectMembers
		}
		return s
	})
	return md.JWKSURI, err
}

// forget drops what is known of a source, so that it is read again.
func (e *Enroller) forget(key string) {
	e.known.mu.Lock()
	defer e.known.mu.Unlock()
	delete(e.known.all, key)
}

// secure insists that a transmitter with an https issuer is called by https only (RX-10): our credential goes there.
func secure(md *stream.Metadata) error {
	issuer, err := url.Parse(md.Issuer)
	if err != nil || issuer.Scheme != "https" {
		return nil
	}
	for _, at := range []struct{ name, value string }{{"jwks_uri", md.JWKSURI}, {"configuration_endpoint", md.ConfigurationEndpoint},
		{"status_endpoint", md.StatusEndpoint}, {"verification_endpoint", md.VerificationEndpoint},
		{"add_subject_endpoint", md.AddSubjectEndpoint}, {"remove_subject_endpoint", md.RemoveSubjectEndpoint}} {
		if at.value == "" {
			continue
		}
		if u, err := url.Parse(at.value); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("the metadata's %s is %.200q, which is no https address; it has to be put right there", at.name, at.value)
		}
	}
	return nil
}
