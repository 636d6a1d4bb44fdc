package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"countersign/internal/hub"
)

// shown is what a request shows of a client.
type shown struct {
	method  string
	client  string
	secrets []string // spellings of one secret
	jwt     *jwt
	err     error // what is wrong with the credential itself; it counts as a wrong one
}

// badClient is the one answer to every credential that is not right, so that it does not say which clients there are.
var badClient = refusal{status: http.StatusUnauthorized, code: invalidClient, why: "the client could not be authenticated"}

// credentials finds the one way in which a request shows its client (RFC 6749 §2.3).
func credentials(r *http.Request, form url.Values) (*shown, error) {
	fields := r.Header.Values("Authorization")
	post, assertion := form.Has("client_secret"), form.Has("client_assertion") || form.Has("client_assertion_type")
	ways := 0
	for _, way := range []bool{len(fields) > 0, post, assertion} {
		if way {
			ways++
		}
	}
	if ways > 1 || len(fields) > 1 {
		return nil, refusal{code: invalidRequest, why: "the client must show itself in one way only"}
	}
	named := form.Get("client_id")
	out := &shown{client: named}
	switch {
	case len(fields) == 1:
		out.method = methodBasic
		out.client, out.secrets, out.err = basic(fields[0])
		if out.err == nil && named != "" && named != out.client {
			return nil, refusal{code: invalidRequest, why: "client_id is another client than the one that shows itself"}
		}
	case post:
		out.method = methodPost
		out.secrets = []string{form.Get("client_secret")}
		if named == "" {
			return nil, refusal{code: invalidRequest, why: "client_id is missing"}
		}
	case assertion:
		out.method = methodPrivateKey
		if form.Get("client_assertion_type") != assertionType {
			return nil, refusal{code: invalidRequest, why: "client_assertion_type is not the one of RFC 7523"}
		}
		if !form.Has("client_assertion") {
			return nil, refusal{code: invalidRequest, why: "client_assertion is missing"}
		}
		var who string
		out.jwt, who, out.err = subjectOf(form.Get("client_assertion"))
		if out.err == nil {
			if named != "" && named != who { // AZ-22
				return nil, refusal{code: invalidRequest, why: "client_id is another client than the one that shows itself"}
			}
			out.client = who
		}
	default:
		return nil, badClient
	}
	return out, nil
}

// basic reads an Authorization field. Both parts are form-encoded before they are put together (RFC 6749 §2.3.1);
// many clients forget it, so the secret is also tried as it stands.
func basic(field string) (client string, secrets []string, err error) {
	scheme, value, ok := strings.Cut(field, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", nil, badClient
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(value, " "))
	if err != nil || !utf8.Valid(plain) {
		return "", nil, badClient
	}
	name, secret, ok := strings.Cut(string(plain), ":")
	if !ok {
		return "", nil, badClient
	}
	secrets = []string{secret}
	if d, err := url.QueryUnescape(secret); err == nil && d != secret {
		secrets = append(secrets, d)
	}
	if client, err = url.QueryUnescape(name); err != nil || !clean(client) {
		return "", nil, badClient
	}
	return client, secrets, nil
}

// authenticated finds the client of a request, within the bound on failures, and goes on.
func (s *Server) authenticated(ctx context.Context, c *call, do func(context.Context, *call) error) error {
	cred, err := credentials(c.r, c.form)
	if err != nil {
		return err
	}
	address := c.tenant + " " + s.cfg.Address(c.r)
	pair := address + " " + cred.client
	if len(cred.client) > 256 {
		pair = address + " a long name"
	}
	if wait := max(s.failures.full(address, failuresOfAddress), s.failures.full(pair, failuresOfClient)); wait > 0 {
		return refusal{status: http.StatusTooManyRequests, code: unavailable, why: "too many attempts failed; wait before the next", wait: wait}
	}
	c.client, err = s.authenticate(ctx, c.tenant, cred)
	if err == badClient {
		s.failures.count(address, failuresOfAddress)
		s.failures.count(pair, failuresOfClient)
	}
	if err != nil {
		return err
	}
	return do(ctx, c)
}

// authenticate gives badClient for a wrong credential, and another error where it cannot be judged now.
func (s *Server) authenticate(ctx context.Context, tenant string, cred *shown) (*Client, error) {
	// The log says what the answer does not. It names clients that there are; other names may be anything, also a secret
	// that was put into the wrong field.
	refused := func(name, why string) (*Client, error) {
		s.cfg.Log.WarnContext(ctx, "a client could not be authenticated", "tenant", tenant, "method", cred.method, "client", name, "why", why)
		return nil, badClient
	}
	if cred.err != nil || cred.client == "" || len(cred.client) > 256 {
		return refused("", "the credential cannot be read")
	}
	c, err := s.cfg.Client(ctx, tenant, cred.client)
	if hub.CodeOf(err) == hub.NotFound {
		c, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A client that there is not, that has another method or has no secret costs the same comparison.
	right := c != nil && c.Spec != nil && c.Spec.Auth == cred.method
	if cred.method != methodPrivateKey {
		want := ""
		if right {
			if want, err = c.secret(ctx); err != nil {
				return nil, err
			}
		} else if s.cfg.Decoy != nil {
			if err := s.cfg.Decoy(ctx, tenant); err != nil {
				return nil, err
			}
		}
		same := sameSecret(want, cred.secrets)
		switch {
		case c == nil || c.Spec == nil:
			return refused("", "there is no such client")
		case !right:
			return refused(c.Spec.Name, "it is registered for another method")
		case want == "":
			return refused(c.Spec.Name, "its secret is not there")
		case !same:
			return refused(c.Spec.Name, "the secret is wrong")
		}
		return c, nil
	}
	switch {
	case c == nil || c.Spec == nil:
		return refused("", "there is no such client")
	case !right:
		return refused(c.Spec.Name, "it is registered for another method")
	}
	if err := s.assert(ctx, tenant, c, cred.jwt); err != nil {
		if refusedAssertion(err) {
			return refused(c.Spec.Name, err.Error())
		}
		s.cfg.Log.WarnContext(ctx, "a client's assertion cannot be judged", "tenant", tenant, "client", c.Spec.Name, "error", err)
		return nil, hub.Errorf(hub.Unavailable, "an assertion cannot be judged: %w", err)
	}
	return c, nil
}

// sameSecret compares in a time that depends on no secret.
func sameSecret(want string, given []string) bool {
	hash := sha256.Sum256([]byte(want))
	same := 0
	for _, g := range given {
		sum := sha256.Sum256([]byte(g))
		same |= subtle.ConstantTimeCompare(hash[:], sum[:])
	}
	return same == 1
}

func (c *Client) secret(ctx context.Context) (string, error) {
	if c.Reveal == nil {
		return c.Secret, nil
	}
	return c.Reveal(ctx)
}
