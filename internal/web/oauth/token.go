package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// Prefix begins every access token of ours, so that one that leaks is found by who looks for it, and so that none is
// ever shown to another server.
const Prefix = "csa_"

// token grants an access token (RFC 6749 §4.4).
func (s *Server) token(ctx context.Context, c *call) error {
	switch c.form.Get("grant_type") {
	case "client_credentials":
	case "":
		return refusal{code: invalidRequest, why: "grant_type is missing"}
	default:
		return refusal{code: unsupportedGrantType, why: "only client_credentials is granted"}
	}
	if want := c.form.Get("resource"); want != "" && want != s.cfg.Issuer(c.tenant) { // RFC 8707 §2
		return refusal{code: invalidTarget, why: "tokens of this server are for its own resource only"}
	}
	scopes, err := grantable(c.form.Get("scope"), c.client.Spec.Scopes)
	if err != nil {
		return err
	}
	name := c.client.Spec.Name
	key := c.tenant + " " + name
	if wait := s.grants.full(key, grantsOfClient); wait > 0 {
		return refusal{status: http.StatusTooManyRequests, code: unavailable, why: "tokens are asked for too often; use each until it expires", wait: wait}
	}
	s.grants.count(key, grantsOfClient)
	token, hash := mint()
	now := s.cfg.Now()
	if err := s.cfg.Store.PutAccess(ctx, store.Access{ID: hub.NewID("acc", now), Hash: hash, Tenant: c.tenant, Client: name, Scopes: scopes,
		Expires: hub.At(now.Add(s.cfg.Life))}); err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"`
		Scope   string `json:"scope"`
	}{token, "Bearer", int64(s.cfg.Life.Seconds()), strings.Join(scopes, " ")})
	return nil
}

// mint makes a token of 256 random bits, and its hash.
func mint() (token string, hash []byte) {
	var b [32]byte
	rand.Read(b[:])
	token = Prefix + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, sum[:]
}

// grantable gives the scopes of a token: those that were asked for, each of which the client must have, or where none
// was, all that it has (RFC 6749 §3.3).
func grantable(asked string, has []string) ([]string, error) {
	if asked == "" {
		if len(has) == 0 {
			return nil, refusal{code: invalidScope, why: "the client has no scope"}
		}
		return slices.Clone(has), nil
	}
	var out []string
	for name := range strings.SplitSeq(asked, " ") {
		if name == "" || strings.ContainsFunc(name, func(c rune) bool { return c < '!' || c == '"' || c == '\\' || c > '~' }) {
			return nil, refusal{code: invalidScope, why: "scope is not a list of names parted by single spaces"}
		}
		if !slices.Contains(has, name) {
			return nil, refusal{code: invalidScope, why: "a scope is not known, or the client does not have it"}
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// revoke ends an access token of the calling client (RFC 7009 §2). A token that there is not, and one of another
// client, which is left alone, get the same answer: it tells nothing that the caller could use.
func (s *Server) revoke(ctx context.Context, c *call) error {
	token := c.form.Get("token")
	if token == "" {
		return refusal{code: invalidRequest, why: "token is missing"}
	}
	if strings.HasPrefix(token, Prefix) { // token_type_hint is of no use where there is one type
		sum := sha256.Sum256([]byte(token))
		a, err := s.cfg.Store.AccessByHash(ctx, sum[:])
		if err != nil && hub.CodeOf(err) != hub.NotFound {
			return err
		}
		if err == nil && a.Tenant == c.tenant && a.Client == c.client.Spec.Name {
			if _, err := s.cfg.Store.RevokeAccess(ctx, c.tenant, a.ID); err != nil && hub.CodeOf(err) != hub.NotFound {
				return err
			}
			s.Forget()
		}
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusOK)
	return nil
}
