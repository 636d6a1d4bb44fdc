package receiver

import (
	"errors"
	"net/http"
	"strings"
)

// Credential is what shows a transmitter who calls. TokenSource, RefreshSource, SignedJWT and what Bearer gives are
// credentials; they may be used by many goroutines and by several clients.
type Credential interface {
	// Authorize puts the credential on a request.
	Authorize(*http.Request) error
	// Renew is told of a request that was answered 401, and reports whether Authorize has another credential now.
	Renew(*http.Request) bool
}

// CredentialFunc is a Credential that cannot be renewed.
type CredentialFunc func(*http.Request) error

// Authorize calls f.
func (f CredentialFunc) Authorize(r *http.Request) error { return f(r) }

// Renew reports false.
func (f CredentialFunc) Renew(*http.Request) bool { return false }

// Bearer gives a fixed bearer token.
func Bearer(token string) CredentialFunc { return Fixed("Bearer " + token) }

// Fixed gives a fixed value of the Authorization field, scheme included, such as the one a stream's
// delivery.authorization_header tells a poll client to use.
func Fixed(value string) CredentialFunc {
	return func(r *http.Request) error {
		scheme, token, found := strings.Cut(value, " ")
		if !found {
			scheme, token = "", value
		}
		if token == "" || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) || scheme == "Bearer" && strings.Contains(token, " ") {
			return errors.New("receiver: credential is empty or has a space or line break in it")
		}
		r.Header.Set("Authorization", value)
		return nil
	}
}

// credential is what a Client shows: Credential, or its two functions.
func (c *Client) credential() Credential {
	if c.Credential != nil {
		return c.Credential
	}
	if c.Authorize == nil {
		return nil
	}
	return functions{c}
}

type functions struct{ *Client }

func (f functions) Authorize(r *http.Request) error { return f.Client.Authorize(r) }
func (f functions) Renew(r *http.Request) bool {
	return f.Client.Renew != nil && f.Client.Renew(r)
}
