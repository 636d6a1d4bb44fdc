package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// refreshTimeout bounds one exchange of a refresh token, which is not broken off when its caller goes.
const refreshTimeout = 30 * time.Second

// ErrConsent says that there is no refresh token: somebody must consent at the authorization server first.
var ErrConsent = errors.New("receiver: no consent has been given yet")

// RefreshSource is a Credential for a transmitter that wants a person's consent: it turns a refresh token into access tokens
// (RFC 6749 §6). Begin and Finish get the first refresh token. Authorization servers replace it at each use and take the old
// one for stolen when it comes again, so the new one is saved before it is used and before the old one is forgotten, one
// exchange is under way at a time, and an exchange that has begun ends even where its caller does not wait.
//
// The fields of the TokenSource say which client we are; its Token is not used. Where several processes share the refresh token,
// Load and Save must see the same place; the loser of a race finds the winner's token there.
type RefreshSource struct {
	TokenSource
	// Authorization is the authorization endpoint, for Begin. Empty: from the metadata of Issuer.
	Authorization string
	// Load gives the refresh token that was saved last, empty where there is none.
	Load func(ctx context.Context) (string, error)
	// Save makes a refresh token durable before it returns.
	Save func(ctx context.Context, token string) error

	unsaved string // a refresh token that Save did not take; of whoever holds the flight
}

// Authorize puts a valid access token on r.
func (s *RefreshSource) Authorize(r *http.Request) error {
	token, err := s.Token(r.Context())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// Token gives an access token that is valid now. ErrConsent: Begin and Finish come first.
func (s *RefreshSource) Token(ctx context.Context) (string, error) { return s.shared(ctx, s.exchange) }

// exchange turns the refresh token into an access token.
func (s *RefreshSource) exchange(ctx context.Context) (string, time.Duration, error) {
	if s.Load == nil || s.Save == nil {
		return "", 0, fmt.Errorf("%w: a refresh token needs Load and Save", ErrTokenConfig)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	if err := s.save(ctx, ""); err != nil {
		return "", 0, err
	}
	refresh, err := s.load(ctx)
	if err != nil {
		return "", 0, err
	}
	token, life, err := s.with(ctx, refresh)
	if e, ok := errors.AsType[*TokenError](err); ok && e.Code == "invalid_grant" {
		// Another process may have exchanged it meanwhile.
		if newer, lerr := s.load(ctx); lerr == nil && newer != refresh {
			return s.with(ctx, newer)
		}
	}
	return token, life, err
}

func (s *RefreshSource) load(ctx context.Context) (string, error) {
	token, err := s.Load(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("receiver: loading the refresh token: %w", err)
	case token == "":
		return "", ErrConsent
	}
	return token, nil
}

func (s *RefreshSource) with(ctx context.Context, refresh string) (string, time.Duration, error) {
	// RFC 6749 §6: without scope it is that of the consent.
	body, err := s.grant(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
	if err != nil {
		return "", 0, err
	}
	return s.take(ctx, body, refresh)
}

// take reads an answer and saves the refresh token in it, if it is another.
func (s *RefreshSource) take(ctx context.Context, body []byte, before string) (string, time.Duration, error) {
	token, life, refresh, err := parseToken(body)
	if refresh != "" && refresh != before { // saved even where the rest cannot be used
		if serr := s.save(ctx, refresh); serr != nil {
			return "", 0, serr
		}
	}
	return token, life, err
}

// save makes a refresh token durable: token, or one that could not be saved before. Until that is done no other is asked for.
func (s *RefreshSource) save(ctx context.Context, token string) error {
	if token != "" {
		s.unsaved = token
	}
	if s.unsaved == "" {
		return nil
	}
	if err := s.Save(ctx, s.unsaved); err != nil {
		return fmt.Errorf("receiver: saving the refresh token: %w", err)
	}
	s.unsaved = ""
	return nil
}
