package receiver

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// server is what the metadata of an authorization server names.
type server struct{ token, authorize string }

// endpoint gives the token endpoint, from the metadata of the authorization server where it was not configured.
func (t *TokenSource) endpoint(ctx context.Context) (string, error) {
	if t.Endpoint != "" {
		return t.Endpoint, nil
	}
	found, err := t.metadata(ctx)
	return found.token, err
}

// metadata reads that of the authorization server, once.
func (t *TokenSource) metadata(ctx context.Context) (server, error) {
	t.mu.Lock()
	found := t.found
	t.mu.Unlock()
	if found.token != "" {
		return found, nil
	}
	issuer, err := url.Parse(t.Issuer)
	if err != nil || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.User != nil {
		return server{}, fmt.Errorf("%w: issuer of the authorization server is no plain URL", ErrTokenConfig)
	}
	at := *issuer // RFC 8414 §3.1, AZ-26: inserted between host and path
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(issuer.Path, "/"), ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return server{}, fmt.Errorf("%w: issuer of the authorization server: %w", ErrTokenConfig, err)
	}
	res, body, err := t.do(req)
	if err != nil {
		return server{}, fmt.Errorf("receiver: reading metadata of the authorization server: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return server{}, &APIError{Operation: "read metadata of the authorization server", Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Excerpt: excerpt(body)}
	}
	var md struct {
		Issuer   string `json:"issuer"`
		Endpoint string `json:"token_endpoint"`
		Consent  string `json:"authorization_endpoint"`
	}
	if err := json.Unmarshal(body, &md); err != nil {
		return server{}, fmt.Errorf("%w: metadata is no JSON object", ErrTokenAnswer)
	}
	if md.Issuer != t.Issuer { // RFC 8414 §3.3, AZ-27
		return server{}, fmt.Errorf("%w: authorization server says %q, expected %q%s", ErrIssuer, md.Issuer, t.Issuer, difference(md.Issuer, t.Issuer))
	}
	for _, at := range []struct {
		name, value string
		missing     bool // may be
	}{{"token_endpoint", md.Endpoint, false}, {"authorization_endpoint", md.Consent, true}} {
		if at.value == "" && at.missing {
			continue
		}
		u, err := url.Parse(at.value)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != issuer.Scheme {
			return server{}, fmt.Errorf("%w: %s is missing or not https", ErrTokenAnswer, at.name)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found = server{token: md.Endpoint, authorize: md.Consent}
	return t.found, nil
}

// parseToken reads a successful answer (RFC 6749 §5.1).
func parseToken(body []byte) (token string, life time.Duration, refresh string, err error) {
	var in struct {
		Token   string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
		Refresh string          `json:"refresh_token"`
	}
	switch err := json.Unmarshal(body, &in); {
	case err != nil:
		return "", 0, "", fmt.Errorf("%w: it is no token answer in JSON", ErrTokenAnswer)
	case !strings.EqualFold(in.Type, "Bearer"):
		return "", 0, "", fmt.Errorf("%w: token_type is %.40q, not Bearer", ErrTokenAnswer, in.Type)
	case in.Token == "" || strings.ContainsFunc(in.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", 0, "", fmt.Errorf("%w: access_token is missing or no bearer token", ErrTokenAnswer)
	}
	if len(in.Expires) == 0 || string(in.Expires) == "null" {
		return in.Token, unsaidLife, in.Refresh, nil
	}
	// Some servers quote the number.
	seconds, err := strconv.ParseFloat(strings.Trim(string(in.Expires), `"`), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return "", 0, "", fmt.Errorf("%w: expires_in is no number of seconds above 0", ErrTokenAnswer)
	}
	return in.Token, time.Duration(min(seconds, 86400) * float64(time.Second)), in.Refresh, nil
}

// refusal reads an answer other than 200 (RFC 6749 §5.2). What we sent as a secret is taken out of it.
func (t *TokenSource) refusal(res *http.Response, body []byte, secrets ...string) *TokenError {
	var in struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &in) // no such object: the status says it all
	clean := func(s string) string {
		for _, secret := range append(secrets, t.Secret, url.QueryEscape(t.Secret)) {
			if len(secret) >= 4 { // of a shorter one nothing is left to hide, and every word would lose a letter
				s = strings.ReplaceAll(s, secret, "***")
			}
		}
		return excerpt([]byte(s))
	}
	return &TokenError{Status: res.StatusCode, Code: clean(in.Code), Description: clean(in.Description), RetryAfter: retryAfter(res.Header)}
}
