package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/internal/store"
)

// Scopes of this door. The operator token has them all; the ones of the doors for other systems
// (ssf.read, ssf.manage, ssf.manage.receipts) say nothing here.
const (
	ScopeSignalsRead    = "signals.read"    // signals, decisions, actions, receipts; deliveries, orders, explain
	ScopeSignalsWrite   = "signals.write"   // POST /api/v1/signals and each-event, within the client's event types and domains
	ScopeSignalsToken   = "signals.token"   // the token as received, beside signals.read
	ScopeResourcesRead  = "resources.read"  // sources, apps, identities, policies, clients, streams, keys; export
	ScopeResourcesWrite = "resources.write" // apply, delete; status, subjects and verification of streams, redrive, withdraw
	scopeOperator       = "operator"        // secrets, tokens, tenants, changes of keys: the operator token only
	scopeAny            = ""                // any valid token
)

// TokenPrefix begins every access token, so that one that leaks is found by who looks for it.
const TokenPrefix = "cs_"

// Caller is who a request comes from, after its token was checked.
type Caller struct {
	Name     string      // of the token
	TokenID  string      // may be logged
	Tenant   string      // of the token
	Operator bool        // the operator token
	Client   string      // name of the client; empty for the operator
	Spec     *hub.Client // the client's resource as it is now; nil for the operator
	Scopes   []string
	Expires  hub.Micros // of the token; 0: never
}

// May reports whether the caller has the scope.
func (c *Caller) May(scope string) bool {
	switch {
	case scope == scopeAny, c.Operator:
		return true
	case scope == scopeOperator:
		return false
	}
	return slices.Contains(c.Scopes, scope)
}

// Tokens is what checking and making tokens needs of the store.
type Tokens interface {
	PutToken(ctx context.Context, t store.Token) error
	TokenByHash(ctx context.Context, hash []byte) (*store.Token, error)
	Resource(ctx context.Context, tenant string, kind hub.Kind, name string) (*hub.Resource, error)
}

// Authenticate checks an access token: known, in force, and its client still there. A client's scopes
// of now bound those of its tokens. The error is hub.Unauthenticated and does not say which of them
// failed, except that the token has expired. An empty tenant takes tokens of every tenant that is there.
func Authenticate(ctx context.Context, st Tokens, tenant, token string, now time.Time) (*Caller, error) {
	refused := hub.Errorf(hub.Unauthenticated, "the token is not valid").WithHint("make one with: countersign token create --client NAME")
	if len(token) < 20 || len(token) > 200 {
		return nil, refused
	}
	sum := sha256.Sum256([]byte(token))
	t, err := st.TokenByHash(ctx, sum[:])
	if hub.CodeOf(err) == hub.NotFound || err == nil && (t == nil || tenant != "" && t.Tenant != tenant || t.Revoked != 0) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if t.Expires != 0 && hub.At(now) >= t.Expires {
		return nil, hub.Errorf(hub.Unauthenticated, "the token has expired").WithHint("make a new one with: countersign token create --client NAME")
	}
	if there, err := tenantThere(ctx, st, t.Tenant); err != nil || !there {
		return nil, orElse(err, refused)
	}
	c := &Caller{Name: t.Name, TokenID: t.ID, Tenant: t.Tenant, Client: t.Client, Expires: t.Expires}
	if t.Client == "" {
		c.Operator = true
		return c, nil
	}
	r, err := st.Resource(ctx, t.Tenant, hub.KindClient, t.Client)
	if hub.CodeOf(err) == hub.NotFound || err == nil && r == nil {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	c.Spec = new(hub.Client)
	if err := json.Unmarshal(r.Spec, c.Spec); err != nil {
		return nil, err
	}
	for _, s := range c.Spec.Scopes {
		if len(t.Scopes) == 0 || slices.Contains(t.Scopes, s) {
			c.Scopes = append(c.Scopes, s)
		}
	}
	return c, nil
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Mint makes a token, keeps its hash, and gives the token: nobody can read it again. A client of ""
// makes an operator token; a zero expires one that does not end.
func Mint(ctx context.Context, st Tokens, tenant, client, name string, scopes []string, now, expires time.Time) (string, store.Token, error) {
	var b [32]byte
	rand.Read(b[:])
	token := TokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	t := store.Token{ID: hub.NewID(hub.PrefixToken, now), Tenant: tenant, Name: name, Client: client, Hash: sum[:], Scopes: scopes, Created: hub.At(now), Expires: hub.At(expires)}
	return token, t, st.PutToken(ctx, t)
}

var errNoToken = errors.New("no token")

// bearer gives the token of an Authorization header (RFC 6750 §2.1); exactly one header is taken.
func bearer(r *http.Request) (string, error) {
	h := r.Header.Values("Authorization")
	if len(h) == 0 {
		return "", errNoToken
	}
	scheme, token, ok := strings.Cut(h[0], " ")
	if len(h) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", hub.Errorf(hub.Unauthenticated, "the Authorization header must be one Bearer token")
	}
	return strings.TrimLeft(token, " "), nil
}
