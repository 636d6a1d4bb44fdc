package oauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/internal/hub"
	"countersign/set"
)

// assertionType is the one client_assertion_type (RFC 7523 §2.2, AZ-17).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion is how far ahead the exp of an assertion may lie. It is used once and at once, so a minute would do
// (AZ-20); an hour is what widespread servers allow and old clients set. Each jti must be remembered until then:
// with a day, as one suite allows itself, a client that signs for each call would leave us a day of them.
const maxAssertion = time.Hour

// subjectOf reads who an assertion speaks for, before anything of it is verified.
func subjectOf(assertion string) (j *jwt, client string, err error) {
	j, err = readJWT(assertion)
	if err != nil {
		return nil, "", err
	}
	c := &j.claims
	if c.Issuer == nil || c.Subject == nil || *c.Issuer != *c.Subject || *c.Subject == "" { // AZ-18
		return nil, "", wrong("iss and sub are not one client")
	}
	return j, *c.Subject, nil
}

// assert verifies the assertion of a client and uses its jti up (RFC 7523 §3). Errors are errJWT where the assertion is
// not valid, hub.Conflict where it was used, and set.ErrKeysUnavailable where the client's keys cannot be had.
func (s *Server) assert(ctx context.Context, tenant string, c *Client, j *jwt) error {
	now := s.cfg.Now()
	switch j.typ {
	case "", "jwt", "client-authentication+jwt":
	default: // a SET or an access token that bears the same claims
		return wrong("typ %.40q is no assertion", j.typ)
	}
	keys, err := s.clientKeys(tenant, c.Spec)
	if err != nil {
		return err
	}
	if err := j.verify(ctx, keys, now); err != nil { // AZ-21
		return err
	}
	aud, err := j.claims.audience()
	if err != nil {
		return err
	}
	// AZ-19: the issuer, or the token endpoint as older clients have it, and nobody else beside it: an assertion that
	// another server may take as well could have been made for that one and carried here.
	issuer, base := s.cfg.Issuer(tenant), s.base(tenant)
	ours := []string{issuer, base + pathToken}
	if len(aud) == 0 || slices.ContainsFunc(aud, func(a string) bool { return !slices.Contains(ours, a) }) {
		return wrong("aud is not this server alone")
	}
	switch {
	case j.claims.Expires == nil: // AZ-20
		return wrong("exp is missing")
	case *j.claims.Expires > seconds(now.Add(maxAssertion+skew)):
		return wrong("exp is more than an hour ahead")
	}
	if err := j.claims.current(now); err != nil {
		return err
	}
	jti := text(j.claims.ID)
	if jti == "" || len(jti) > 256 || !clean(jti) { // OIDC Core §9: it must be there
		return wrong("jti is missing, or no plain text of at most 256 octets")
	}
	until := time.UnixMicro(int64(*j.claims.Expires * 1e6)).Add(2 * skew)
	return s.cfg.Store.UseAssertion(ctx, tenant, c.Spec.Name, jti, hub.At(until))
}

// remote is a client's jwks_uri and its keys, as last fetched.
type remote struct {
	uri  string
	keys *set.RemoteKeys
}

// clientKeys gives the registered keys of a client.
func (s *Server) clientKeys(tenant string, c *hub.Client) (set.KeySet, error) {
	switch {
	case c.Keys == nil:
		return nil, wrong("the client has no keys")
	case c.Keys.JWKSURI == "":
		keys, err := set.ParseJWKS(c.Keys.JWKS)
		if err != nil {
			return nil, wrong("the client's keys: %w", err)
		}
		return keys, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := tenant + "\x00" + c.Name
	r := s.keys[at]
	if r == nil || r.uri != c.Keys.JWKSURI {
		if len(s.keys) >= 10_000 {
			clear(s.keys)
		}
		r = &remote{c.Keys.JWKSURI, set.NewRemoteKeys(c.Keys.JWKSURI, s.cfg.HTTP, s.cfg.Now)}
		s.keys[at] = r
	}
	return r.keys, nil
}

// refusedAssertion tells an assertion that is not valid from one that cannot be judged now.
func refusedAssertion(err error) bool {
	return errors.Is(err, errJWT) || hub.CodeOf(err) == hub.Conflict
}
