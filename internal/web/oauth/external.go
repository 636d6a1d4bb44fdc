package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/internal/strictjson"
	"countersign/set"
)

// How an external issuer's server is treated.
const (
	maxAnswer    = 64 << 10
	askTimeout   = 10 * time.Second
	metadataLife = time.Hour
	metadataWait = 5 * time.Second // between tries that fail
	// maxLife bounds what a JWT of an external issuer may be good for: it cannot be revoked but by taking its client's
	// scopes away here (AZ-12). Issuers with longer ones are asked by introspection.
	maxLife = 24 * time.Hour
)

// issuer is one external issuer of a tenant, with what was learned of it.
type issuer struct {
	s      *Server
	tenant string
	spec   hub.ExternalOAuth
	secret string

	asked flights[finding]
	slots chan struct{} // introspections under way
	seen  *memo         // answers of introspection

	mu       sync.Mutex
	keys     *set.RemoteKeys // of keysURI
	keysURI  string
	found    *Metadata // of the issuer
	foundAt  time.Time
	failedAt time.Time
	failure  error
	finding  flights[*Metadata]
}

// external gives a tenant's further issuer; nil where it has none. What was learned goes when its settings change.
func (s *Server) external(tenant string) *issuer {
	e := s.cfg.External(tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.issuers[tenant]
	switch {
	case e == nil || e.Spec == nil:
		delete(s.issuers, tenant)
		return nil
	case i != nil && i.secret == e.Secret && reflect.DeepEqual(i.spec, *e.Spec):
		return i
	}
	i = &issuer{s: s, tenant: tenant, spec: *e.Spec, secret: e.Secret, slots: make(chan struct{}, 32), seen: newMemo(s.cfg.Now)}
	if e.Spec.Introspection != nil {
		in := *e.Spec.Introspection
		i.spec.Introspection = &in
	}
	s.issuers[tenant] = i
	return i
}

// foreign finds a token of the tenant's external issuer.
func (s *Server) foreign(ctx context.Context, tenant, token string) (finding, error) {
	i := s.external(tenant)
	if i == nil || !bearer(token) {
		return finding{}, invalid("it is not known")
	}
	j, err := readJWT(token)
	if err == nil && strings.HasSuffix(j.typ, "secevent+jwt") {
		// A SET is no access token, whatever it says, and no issuer is shown one.
		return finding{}, invalid("it is no access token")
	}
	if i.spec.Introspection != nil {
		return i.introspected(ctx, token)
	}
	if err != nil {
		return finding{}, invalid("it cannot be read")
	}
	return i.verified(ctx, j)
}

// bearer reports whether a text has the form of a token (RFC 6750 §2.1).
func bearer(token string) bool {
	body := strings.TrimRight(token, "=")
	return body != "" && !strings.ContainsFunc(body, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-._~+/", c))
	})
}

// audience is what the issuer's tokens must name.
func (i *issuer) audience() string {
	if i.spec.Audience != "" {
		return i.spec.Audience
	}
	return i.s.cfg.Issuer(i.tenant)
}

// verified holds a JWT against RFC 9068 §4.
func (i *issuer) verified(ctx context.Context, j *jwt) (finding, error) {
	now := i.s.cfg.Now()
	c := &j.claims
	switch {
	case j.typ != "at+jwt": // AZ-5
		return finding{}, invalid("typ is not at+jwt")
	case text(c.Issuer) != i.spec.Issuer: // AZ-6
		return finding{}, invalid("iss is not the tenant's issuer")
	case c.Expires == nil || c.Issued == nil || text(c.Subject) == "" || text(c.ClientID) == "" || text(c.ID) == "": // AZ-10
		return finding{}, invalid("a claim of RFC 9068 is missing")
	case *c.Expires-*c.Issued > maxLife.Seconds(): // AZ-12
		return finding{}, invalid("it lives longer than a day")
	}
	keys, err := i.keySet(ctx)
	if err != nil {
		return finding{}, err
	}
	if err := j.verify(ctx, keys, now); err != nil { // AZ-8
		if errors.Is(err, errJWT) {
			return finding{}, invalid(err.Error())
		}
		return finding{}, hub.Errorf(hub.Unavailable, "the keys of %s: %w", i.spec.Issuer, err)
	}
	return i.checked(c, now)
}

// checked holds to account what JWTs and answers of introspection share, and says what they give.
func (i *issuer) checked(c *claims, now time.Time) (finding, error) {
	aud, err := c.audience()
	switch {
	case err != nil || !slices.Contains(aud, i.audience()): // AZ-7: a token for another service of the issuer is not for us
		return finding{}, invalid("aud does not name us")
	case len(c.Confirm) > 0 && string(c.Confirm) != "null": // RFC 7800 §3: it is bound to a key that a bearer does not show
		return finding{}, invalid("it is bound to a key")
	}
	if err := c.current(now); err != nil {
		return finding{}, invalid(err.Error())
	}
	f := finding{tenant: i.tenant, client: text(c.ClientID), scopes: strings.Fields(text(c.Scope))} // AZ-11
	if c.Expires != nil {
		f.expires = hub.Micros((min(*c.Expires, 1e11) + skew.Seconds()) * 1e6)
	}
	return f, nil
}

// keySet gives the issuer's keys.
func (i *issuer) keySet(ctx context.Context) (set.KeySet, error) {
	uri := i.spec.JWKSURI
	if uri == "" {
		m, err := i.metadata(ctx)
		if err != nil {
			return nil, err
		}
		if uri = m.JWKSURI; uri == "" {
			return nil, hub.Errorf(hub.Unavailable, "the metadata of %s names no jwks_uri", i.spec.Issuer)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keysURI != uri {
		i.keys, i.keysURI = set.NewRemoteKeys(uri, i.s.cfg.HTTP, i.s.cfg.Now), uri
	}
	return i.keys, nil
}

// metadata gives the issuer's metadata, fetched when first needed and again after an hour. Old metadata serves while
// it cannot be fetched.
func (i *issuer) metadata(ctx context.Context) (*Metadata, error) {
	look := func() (*Metadata, error, bool) {
		i.mu.Lock()
		defer i.mu.Unlock()
		now := i.s.cfg.Now()
		switch {
		case i.found != nil && now.Sub(i.foundAt) < metadataLife:
			return i.found, nil, true
		case i.failure != nil && now.Sub(i.failedAt) < metadataWait:
			if i.found != nil {
				return i.found, nil, true
			}
			return nil, i.failure, true
		}
		return nil, nil, false
	}
	if m, err, ok := look(); ok {
		return m, err
	}
	return i.finding.do(ctx, "", func() (*Metadata, error) {
		if m, err, ok := look(); ok {
			return m, err
		}
		limited, stop := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer stop()
		m, err := discover(limited, i.s.cfg.HTTP, i.spec.Issuer)
		i.mu.Lock()
		defer i.mu.Unlock()
		if err != nil {
			i.failure, i.failedAt = hub.Errorf(hub.Unavailable, "the metadata of %s: %w", i.spec.Issuer, err), i.s.cfg.Now()
			i.s.cfg.Log.WarnContext(ctx, "an external issuer's metadata cannot be had", "tenant", i.tenant, "error", err)
			if i.found != nil {
				return i.found, nil
			}
			return nil, i.failure
		}
		i.found, i.foundAt, i.failure = m, i.s.cfg.Now(), nil
		return m, nil
	})
}

// discover fetches an issuer's metadata: where RFC 8414 §3 puts it, and where there is none, at the place of OpenID
// Connect Discovery (AZ-30).
func discover(ctx context.Context, client *http.Client, name string) (*Metadata, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(name, "?#") {
		return nil, errors.New("the issuer is not a plain URL")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	root := u.Scheme + "://" + u.Host
	m, status, err := fetchMetadata(ctx, client, root+pathMetadata+path, name) // AZ-26
	if err != nil && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		m, _, err = fetchMetadata(ctx, client, root+path+"/.well-known/openid-configuration", name)
	}
	return m, err
}

func fetchMetadata(ctx context.Context, client *http.Client, at, name string) (*Metadata, int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/json")
	body, status, err := exchange(client, r)
	if err != nil {
		return nil, status, err
	}
	m, err := readMetadata(body, name)
	return m, status, err
}

func readMetadata(body []byte, name string) (*Metadata, error) {
	if err := strictjson.Check(body, strictjson.Limits{Bytes: maxAnswer}); err != nil {
		return nil, err
	}
	m := new(Metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, err
	}
	if m.Issuer != name { // AZ-27
		return nil, fmt.Errorf("it is the metadata of another issuer, %.200q", m.Issuer)
	}
	return m, nil
}

// exchange makes a call and reads its answer of 200, bounded.
func exchange(client *http.Client, r *http.Request) ([]byte, int, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, resp.StatusCode, err
	case resp.StatusCode != http.StatusOK:
		return nil, resp.StatusCode, fmt.Errorf("it answered %d", resp.StatusCode)
	case len(body) > maxAnswer:
		return nil, resp.StatusCode, errors.New("its answer is too large")
	}
	return body, resp.StatusCode, nil
}
