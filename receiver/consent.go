package receiver

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
)

// Consent is a consent that was begun: the authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636). It may be kept as
// JSON between Begin and Finish; Verifier is a secret, and State ties the answer to this one.
type Consent struct {
	URL      string `json:"url"` // where the person goes with a browser
	State    string `json:"state"`
	Verifier string `json:"verifier"`
	Redirect string `json:"redirect_uri"`
}

// ErrRefusedConsent says that the answer of the authorization server is no consent to what was begun.
var ErrRefusedConsent = errors.New("receiver: consent was not given")

// Begin prepares the first consent. redirectURI is where the authorization server sends the browser back to; it must be
// registered there. Ask for the scope that makes the server give a refresh token, where it wants one (offline_access).
func (s *RefreshSource) Begin(ctx context.Context, redirectURI string) (*Consent, error) {
	if s.ClientID == "" {
		return nil, fmt.Errorf("%w: no client id", ErrTokenConfig)
	}
	back, err := url.Parse(redirectURI)
	if err != nil || !back.IsAbs() || back.Fragment != "" { // RFC 6749 §3.1.2
		return nil, fmt.Errorf("%w: redirect address is no absolute URI without fragment", ErrTokenConfig)
	}
	at := s.Authorization
	if at == "" {
		if s.Issuer == "" {
			return nil, fmt.Errorf("%w: neither authorization endpoint nor issuer of the authorization server", ErrTokenConfig)
		}
		found, err := s.metadata(ctx)
		if err != nil {
			return nil, err
		}
		if at = found.authorize; at == "" {
			return nil, fmt.Errorf("%w: metadata names no authorization_endpoint", ErrTokenAnswer)
		}
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%w: authorization endpoint is no URL", ErrTokenConfig)
	}
	c := &Consent{State: random(), Verifier: random(), Redirect: redirectURI}
	digest := sha256.Sum256([]byte(c.Verifier))
	query := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": s.ClientID, "redirect_uri": redirectURI, "scope": cmp.Or(s.Scope, DefaultScope), "state": c.State,
		"code_challenge": base64.RawURLEncoding.EncodeToString(digest[:]), "code_challenge_method": "S256",
	} {
		query.Set(name, value)
	}
	u.RawQuery, u.Fragment = query.Encode(), ""
	c.URL = u.String()
	return c, nil
}

// Finish takes the parameters with which the browser came back, exchanges the code and saves the refresh token. A consent is
// good for one Finish.
func (s *RefreshSource) Finish(ctx context.Context, c *Consent, answer url.Values) error {
	if s.Save == nil {
		return fmt.Errorf("%w: a refresh token needs Load and Save", ErrTokenConfig)
	}
	one := func(name string) string { // RFC 6749 §3.1: none more than once
		if len(answer[name]) == 1 {
			return answer[name][0]
		}
		return ""
	}
	switch {
	case c.State == "" || subtle.ConstantTimeCompare([]byte(one("state")), []byte(c.State)) != 1:
		return fmt.Errorf("%w: state is not the one we sent", ErrRefusedConsent)
	case answer.Has("iss") && s.Issuer != "" && one("iss") != s.Issuer: // RFC 9207 §2.4
		return fmt.Errorf("%w: it comes from another authorization server", ErrRefusedConsent)
	case answer.Has("error"):
		return fmt.Errorf("%w: %q %q", ErrRefusedConsent, excerpt([]byte(one("error"))), excerpt([]byte(one("error_description"))))
	case one("code") == "":
		return fmt.Errorf("%w: code is missing", ErrRefusedConsent)
	}
	s.prepare()
	select {
	case s.flight <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.flight }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	body, err := s.grant(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {one("code")}, "redirect_uri": {c.Redirect}, "code_verifier": {c.Verifier},
	})
	if err != nil {
		return err
	}
	token, life, refresh, err := parseToken(body)
	if err != nil {
		return err
	}
	if refresh == "" {
		return fmt.Errorf("%w: no refresh_token in it; ask for offline_access, or have refresh tokens allowed for the client", ErrTokenAnswer)
	}
	if err := s.save(ctx, refresh); err != nil {
		return err
	}
	s.keep(token, life, nil)
	return nil
}

// random gives 256 bits in base64url, which is a code_verifier (RFC 7636 §4.1).
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
