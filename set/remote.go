package set

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How RemoteKeys treats the issuer's server.
const (
	remoteBytes    = 256 << 10        // longest JWK Set
	remoteTimeout  = 10 * time.Second // for one fetch
	minFresh       = time.Minute      // max-age is taken between these two
	maxFresh       = time.Hour
	defaultFresh   = 10 * time.Minute // when the answer names no max-age
	maxStale       = 24 * time.Hour   // how long old keys serve while fetches fail
	refetchEvery   = 5 * time.Second  // between fetches for unknown kids or after a failure
	refetchAtOnce  = 3                // fetches for unknown kids that may follow each other at once
	remoteAccepted = "application/jwk-set+json, application/json"
)

// RemoteKeys are the keys behind a jwks_uri. They are fetched when first needed and again when they are
// no longer fresh; callers that need them at the same time share one fetch. A kid that is not among
// them makes a fetch of its own, at most three at once and one in 5 seconds. While that allowance is
// used up the answer is ErrKeysUnavailable, not "unknown": the key may have been published a moment
// ago, and a token must not be lost for it. Keys fetched before serve up to 24 hours while fetches fail.
//
// A RemoteKeys is safe for concurrent use and starts no goroutines.
type RemoteKeys struct {
	uri    string
	client *http.Client
	now    func() time.Time

	mu        sync.Mutex
	keys      StaticKeys
	fetchedAt time.Time // of keys; zero: never
	freshTill time.Time
	failedAt  time.Time
	failure   error         // of the last fetch; nil after a good one
	running   chan struct{} // closed when the fetch under way ends; nil: none
	allowance float64       // fetches for unknown kids left
	countedAt time.Time     // when allowance was last reckoned
}

// NewRemoteKeys names the place of the keys; nothing is fetched yet. Redirects, proxies, TLS and the
// addresses that may be reached are the client's; a nil client follows no redirects. A nil now is time.Now.
func NewRemoteKeys(uri string, client *http.Client, now func() time.Time) *RemoteKeys {
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if now == nil {
		now = time.Now
	}
	return &RemoteKeys{uri: uri, client: client, now: now, allowance: refetchAtOnce}
}

// Find implements KeySet.
func (r *RemoteKeys) Find(ctx context.Context, kid string) ([]Key, error) {
	r.mu.Lock()
	now := r.now()
	fresh := !r.fetchedAt.IsZero() && now.Before(r.freshTill)
	found := r.lookup(now, kid)
	if fresh && (len(found) > 0 || kid == "") {
		r.mu.Unlock()
		return found, nil
	}
	wait, mine := r.running, false
	if wait == nil {
		if err := r.allow(now, fresh); err != nil {
			r.mu.Unlock()
			if len(found) > 0 {
				return found, nil
			}
			return nil, r.unavailable(err)
		}
		wait, mine = make(chan struct{}), true
		r.running = wait
	}
	r.mu.Unlock()
	if mine {
		r.refresh(ctx, wait)
	} else {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, r.unavailable(ctx.Err())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found = r.lookup(r.now(), kid)
	if len(found) == 0 && r.failure != nil {
		return nil, r.unavailable(r.failure)
	}
	return found, nil
}

// lookup finds a kid in the keys at hand, as long as they may still serve.
func (r *RemoteKeys) lookup(now time.Time, kid string) []Key {
	if r.fetchedAt.IsZero() || now.After(r.freshTill.Add(maxStale)) {
		return nil
	}
	found, _ := r.keys.Find(context.Background(), kid)
	return found
}

// allow says whether a fetch may start now and counts it. Keys that are not fresh are always fetched,
// except right after a failure.
func (r *RemoteKeys) allow(now time.Time, fresh bool) error {
	if !fresh {
		if r.failure != nil && now.Sub(r.failedAt) < refetchEvery {
			return r.failure
		}
		return nil
	}
	if gain := now.Sub(r.countedAt).Seconds() / refetchEvery.Seconds(); gain > 0 {
		r.allowance = min(refetchAtOnce, r.allowance+gain)
		r.countedAt = now
	}
	if r.allowance < 1 {
		return errTooSoon
	}
	r.allowance--
	return nil
}

var (
	errTooSoon    = errors.New("unknown kid, and the keys were fetched a moment ago")
	errUnfinished = errors.New("the fetch did not come to an end")
)

// refresh fetches once. It is not cut short when its caller goes away: others wait for it too.
func (r *RemoteKeys) refresh(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), remoteTimeout)
	defer cancel()
	var keys StaticKeys
	var fresh time.Duration
	err := errUnfinished // what stays if the client panics: those who wait are let go all the same
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		now := r.now()
		r.failure = err
		if err != nil {
			r.failedAt = now
		} else {
			r.keys, r.fetchedAt, r.freshTill = keys, now, now.Add(fresh)
		}
		r.running = nil
		close(done)
	}()
	keys, fresh, err = r.fetch(ctx)
}

func (r *RemoteKeys) fetch(ctx context.Context) (StaticKeys, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.uri, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", remoteAccepted)
	response, err := r.client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, remoteBytes+1))
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("status %d", response.StatusCode)
	}
	if len(body) > remoteBytes {
		return nil, 0, fmt.Errorf("JWK Set larger than %d bytes", remoteBytes)
	}
	keys, err := ParseJWKS(body)
	if err != nil {
		// Not wrapped: what is wrong with the key set is nothing that is wrong with a token.
		return nil, 0, fmt.Errorf("the answer is no JWK Set: %v", err)
	}
	return keys, freshness(response.Header.Values("Cache-Control")), nil
}

// freshness reads max-age (RFC 9111 §5.2.2.1) within its bounds.
func freshness(headers []string) time.Duration {
	fresh := defaultFresh
	for _, directive := range strings.Split(strings.Join(headers, ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}

// unavailable wraps what went wrong. The address of the keys is in the text, nothing else.
func (r *RemoteKeys) unavailable(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrKeysUnavailable, r.uri, err)
}
