package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"countersign/internal/hub"
	"countersign/internal/partner"
	"countersign/receiver"
	"countersign/set"
)

// Vault keeps the secrets of the tenant: the rotating refresh token of a source, and what a state must not hold in the clear.
type Vault interface {
	// Value gives a secret by its name; hub.NotFound: there is none.
	Value(ctx context.Context, tenant, name string) ([]byte, error)
	Set(ctx context.Context, tenant, name string, value []byte) error
	Delete(ctx context.Context, tenant, name string) error
	Seal(purpose, name string, plain []byte) []byte
	Open(purpose, name string, sealed []byte) ([]byte, error)
}

// credentials are those in use, one for each source, so that its token serves everybody who calls there.
type credentials struct {
	mu   sync.Mutex
	made map[string]made // by tenant/source
}

type made struct {
	of   string // digest of the auth and of the secrets' values
	cred receiver.Credential
}

// Credentials gives what shows us to the source's stream API, its poll address and its receipt endpoint; nil: it wants
// nothing. The same one is given until the source's auth or a secret of it changes, so a token is asked for once, whoever
// needs it. It is safe for concurrent use.
func (e *Enroller) Credentials(ctx context.Context, tenant string, src *hub.Source) (receiver.Credential, error) {
	a := src.Auth
	if p, ok := partner.Find(src.Profile); ok && a != nil && a.Scope == "" && p.Scope != "" {
		named := *a
		named.Scope, a = p.Scope, &named
	}
	return e.credential(ctx, tenant, src.Name, a)
}

func (e *Enroller) credential(ctx context.Context, tenant, source string, a *hub.Auth) (receiver.Credential, error) {
	if a == nil || a.Method == "" || a.Method == "none" {
		return nil, nil
	}
	var values [3]string
	for i, ref := range a.Secrets() {
		if ref == nil {
			continue
		}
		value, err := e.Secret(ctx, tenant, ref)
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		values[i] = value
	}
	raw, err := json.Marshal(struct {
		Auth   *hub.Auth
		Values [3]string
	}{a, values})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(raw)
	key, of := tenant+"/"+source, string(digest[:])
	e.creds.mu.Lock()
	defer e.creds.mu.Unlock()
	if m, ok := e.creds.made[key]; ok && m.of == of {
		return m.cred, nil
	}
	cred, err := e.newCredential(tenant, source, a, values)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	if e.creds.made == nil {
		e.creds.made = map[string]made{}
	}
	e.creds.made[key] = made{of, cred}
	return cred, nil
}

// newCredential makes the credential of an auth; values are those of its token, client secret and key.
func (e *Enroller) newCredential(tenant, source string, a *hub.Auth, values [3]string) (receiver.Credential, error) {
	token, secret, key := values[0], values[1], values[2]
	alg := set.Algorithm(a.Alg)
	if alg == "Ed25519" {
		alg = set.EdDSA
	}
	switch a.Method {
	case "bearer":
		return receiver.Bearer(token), nil
	case "signed_jwt":
		signer, kid, err := receiver.ParseKey([]byte(key))
		if err != nil {
			return nil, err
		}
		if a.KeyID != "" {
			kid = a.KeyID
		}
		return &receiver.SignedJWT{Key: signer, KeyID: kid, Algorithm: alg, Issuer: a.Issuer, Audience: a.Audience, Now: e.Now}, nil
	case "refresh_token":
		return e.refreshing(tenant, source, a, secret), nil
	case receiver.ClientSecretBasic, receiver.ClientSecretPost, receiver.ClientSecretJWT:
		t := &receiver.TokenSource{Method: a.Method, Secret: secret, Algorithm: alg}
		e.client(t, a)
		return t, nil
	case receiver.PrivateKeyJWT:
		signer, kid, err := receiver.ParseKey([]byte(key))
		if err != nil {
			return nil, err
		}
		if a.KeyID != "" {
			kid = a.KeyID
		}
		t := &receiver.TokenSource{Method: a.Method, Key: signer, KeyID: kid, Algorithm: alg}
		e.client(t, a)
		return t, nil
	}
	return nil, fmt.Errorf("there is no method %q", a.Method)
}

// client fills in which client we are, and where tokens are.
func (e *Enroller) client(t *receiver.TokenSource, a *hub.Auth) {
	t.ClientID, t.Endpoint, t.Issuer, t.Scope, t.HTTP, t.Now = a.ClientID, a.TokenEndpoint, a.Issuer, a.Scope, e.Client, e.Now
	switch a.Audience {
	case "":
	case a.TokenEndpoint:
		t.EndpointAudience = true
	default:
		if t.Endpoint != "" { // with an endpoint the issuer is looked at for the audience only
			t.Issuer = a.Audience
		}
	}
}

// refreshing is the credential of a person's consent. The token is kept like any other secret, under a name of its own and with
// a mark of where it is from: another authorization server, as of a source that came later under the same name, never sees it.
func (e *Enroller) refreshing(tenant, source string, a *hub.Auth, secret string) *receiver.RefreshSource {
	raw, _ := json.Marshal([]string{a.Issuer, a.TokenEndpoint, a.ClientID}) // text marshals
	sum := sha256.Sum256(raw)
	mark := base64.RawURLEncoding.EncodeToString(sum[:16]) + " "
	r := &receiver.RefreshSource{Authorization: a.AuthorizationEndpoint,
		Load: func(ctx context.Context) (string, error) {
			v, err := e.Vault.Value(ctx, tenant, RefreshName(source))
			if hub.CodeOf(err) == hub.NotFound && err != nil {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			token, ours := strings.CutPrefix(string(v), mark)
			if !ours {
				return "", nil // consent is given anew
			}
			return token, nil
		},
		Save: func(ctx context.Context, token string) error {
			return e.Vault.Set(ctx, tenant, RefreshName(source), []byte(mark+token))
		},
	}
	r.Method, r.Secret = receiver.ClientSecretBasic, secret
	if secret == "" {
		r.Method = receiver.NoSecret
	}
	e.client(&r.TokenSource, a)
	return r
}

// RefreshName is the name under which a source's refresh token is kept among the secrets.
func RefreshName(source string) string { return "source." + source + ".refresh" }

// PollCredential is what shows us at the poll address: what the transmitter gave us for it with the stream, or the usual one.
func (e *Enroller) PollCredential(ctx context.Context, tenant string, src *hub.Source, s *State) (receiver.Credential, error) {
	if len(s.PollAuth) == 0 {
		return e.Credentials(ctx, tenant, src)
	}
	plain, err := e.Vault.Open(pollPurpose, tenant+"/"+src.Name, s.PollAuth)
	if err != nil {
		return nil, err
	}
	return receiver.Fixed(string(plain)), nil
}

const pollPurpose = "source.poll"

// hide takes what we show there, and what we asked to be shown, out of a text that the other side may have written, and
// cuts it short.
func (e *Enroller) hide(ctx context.Context, tenant string, src *hub.Source, text string) string {
	if src != nil {
		for _, ref := range src.Secrets() {
			value, err := e.Secret(ctx, tenant, ref)
			if err != nil {
				continue
			}
			_, credential, found := strings.Cut(value, " ")
			if !found {
				credential = value
			}
			for _, shown := range []string{value, credential, url.QueryEscape(credential)} {
				if shown != "" {
					text = strings.ReplaceAll(text, shown, "***")
				}
			}
		}
	}
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return text
}
