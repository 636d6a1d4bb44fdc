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

// endpoint gives the token endpoint, from the metadata of the authorization server where it was not configured.
func (t *TokenSource) endpoint(ctx context.Context) (string, error) {
	if t.Endpoint != "" {
		return t.Endpoint, nil
	}
	t.mu.Lock()
	found := t.found
	t.mu.Unlock()
	if found != "" {
		return found, nil
	}
	issuer, err := url.Parse(t.Issuer)
	if err != nil || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.User != nil {
		return "", fmt.Errorf("%w: issuer of the authorization server is no plain URL", ErrTokenConfig)
	}
	at := *issuer // RFC 8414 §3.1, AZ-26: inserted between host and path
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(issuer.Path, "/"), ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", fmt.Errorf("%w: issuer of the authorization server: %w", ErrTokenConfig, err)
	}
	res, body, err := t.do(req)
	if err != nil {
		return "", fmt.Errorf("receiver: reading metadata of the authorization server: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", &APIError{Operation: "read metadata of the authorization server", Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Excerpt: excerpt(body)}
	}
	var md struct {
		Issuer   string `json:"issuer"`
		Endpoint string `json:"token_endpoint"`
	}
	if err := json.Unmarshal(body, &md); err != nil {
		return "", fmt.Errorf("%w: metadata is no JSON object", ErrTokenAnswer)
	}
	if md.Issuer != t.Issuer { // RFC 8414 §3.3, AZ-27
		return "", fmt.Errorf("%w: authorization server says %q, expected %q%s", ErrIssuer, md.Issuer, t.Issuer, difference(md.Issuer, t.Issuer))
	}
	u, err := url.Parse(md.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != issuer.Scheme {
		return "", fmt.Errorf("%w: token_endpoint is missing or not https", ErrTokenAnswer)
	}
	t.mu.Lock()
	t.found = md.Endpoint
	t.mu.Unlock()
	return md.Endpoint, nil
}

// parseToken reads a successful answer (RFC 6749 §5.1).
func parseToken(body []byte) (string, time.Duration, error) {
	var in struct {
		Token   string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
	}
	switch err := json.Unmarshal(body, &in); {
	case err != nil:
		return "", 0, fmt.Errorf("%w: it is no token answer in JSON", ErrTokenAnswer)
	case !strings.EqualFold(in.Type, "Bearer"):
		return "", 0, fmt.Errorf("%w: token_type is %.40q, not Bearer", ErrTokenAnswer, in.Type)
	case in.Token == "" || strings.ContainsFunc(in.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", 0, fmt.Errorf("%w: access_token is missing or no bearer token", ErrTokenAnswer)
	}
	if len(in.Expires) == 0 || string(in.Expires) == "null" {
		return in.Token, unsaidLife, nil
	}
	// Some servers quote the number.
	seconds, err := strconv.ParseFloat(strings.Trim(string(in.Expires), `"`), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return "", 0, fmt.Errorf("%w: expires_in is no number of seconds above 0", ErrTokenAnswer)
	}
	return in.Token, time.Duration(min(seconds, 86400) * float64(time.Second)), nil
}

// refusal reads an answer other than 200 (RFC 6749 §5.2). What we sent as a secret is taken out of it.
func (t *TokenSource) refusal(res *http.Response, body []byte, assertion string) *TokenError {
	var in struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(body, &in) // no such object: the status says it all
	clean := func(s string) string {
		for _, secret := range []string{t.Secret, url.QueryEscape(t.Secret), assertion} {
			if secret != "" {
				s = strings.ReplaceAll(s, secret, "***")
			}
		}
		return excerpt([]byte(s))
	}
	return &TokenError{Status: res.StatusCode, Code: clean(in.Code), Description: clean(in.Description), RetryAfter: retryAfter(res.Header)}
}
