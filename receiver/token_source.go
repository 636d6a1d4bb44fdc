package receiver

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"countersign/set"
)

// How a TokenSource authenticates at the token endpoint, in the words of the OAuth registry of methods.
const (
	ClientSecretBasic = "client_secret_basic" // RFC 6749 §2.3.1
	ClientSecretPost  = "client_secret_post"  // RFC 6749 §2.3.1
	ClientSecretJWT   = "client_secret_jwt"   // RFC 7523 §2.2, OIDC Core §9
	PrivateKeyJWT     = "private_key_jwt"     // RFC 7523 §2.2, OIDC Core §9
	NoSecret          = "none"                // RFC 7591 §2: a public client, for RefreshSource only
)

// DefaultScope is what a TokenSource asks for unless it says otherwise: the scopes of a stream API (CAEP
// interoperability profile §2.7.3).
const DefaultScope = "ssf.manage ssf.read"

const (
	maxTokenAnswer = 64 << 10
	assertionLife  = 60 * time.Second // AZ-20
	unsaidLife     = time.Minute      // of a token without expires_in
	failureLife    = time.Second      // how long a failure answers for further callers
	maxTokenPause  = 5 * time.Minute  // most that a Retry-After of the authorization server holds us
)

// What is wrong before an authorization server is asked, and with what it answers.
var (
	// ErrTokenConfig says that a TokenSource lacks what its method needs.
	ErrTokenConfig = errors.New("receiver: token source is not set up")
	// ErrTokenAnswer says that the answer of the authorization server holds no token that we can use.
	ErrTokenAnswer = errors.New("receiver: answer of the authorization server cannot be used")
)

// TokenError is a refusal by the authorization server.
type TokenError struct {
	Status      int
	Code        string // error of RFC 6749 §5.2; empty: the answer was no such object
	Description string // error_description, printable and cut short; the server wrote it
	RetryAfter  time.Duration
}

// Error says what was answered and what to do.
func (e *TokenError) Error() string {
	text := fmt.Sprintf("receiver: authorization server answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += fmt.Sprintf(" (%q)", e.Description)
	}
	switch {
	case e.Code == "invalid_client" || e.Status == http.StatusUnauthorized:
		return text + ": it does not know the client, or not by this method, secret or key; compare with what is registered there"
	case e.Code == "invalid_scope":
		return text + ": the client may not ask for this scope; have it added to the client there (ssf.read and ssf.manage, at Keycloak as " +
			"optional client scopes of the client), or ask for another"
	case e.Code == "unauthorized_client" || e.Code == "unsupported_grant_type":
		return text + ": have the grant (client_credentials, or authorization_code with refresh_token) allowed for the client there"
	case e.Code == "invalid_grant":
		return text + ": the consent was withdrawn, has expired, or its token was used elsewhere; give it anew"
	case e.Status >= 300 && e.Status < 400:
		return text + ": redirects are not followed; configure the address it points to"
	case e.Status == http.StatusTooManyRequests || e.Status >= 500:
		return text + ": try again later"
	}
	return text
}

// Temporary tells whether the same request may succeed later.
func (e *TokenError) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// TokenSource gets access tokens by the grant client_credentials (RFC 6749 §4.4) and keeps them. One request is under way
// at a time, whoever waits; a token is replaced before it ends. Its Authorize and Renew belong into a Client. It is safe for
// concurrent use and must not be copied or changed once used.
type TokenSource struct {
	Method   string // one of the above; empty: ClientSecretBasic
	ClientID string
	Secret   string        // of the three secret methods; at least 32 bytes for ClientSecretJWT
	Key      crypto.Signer // PrivateKeyJWT; ParseKey reads one
	KeyID    string        // kid of assertions; empty: none
	// Algorithm of assertions. Empty: by the key (RS256, ES256, EdDSA); PS256 must be said.
	Algorithm set.Algorithm

	// Endpoint is the token endpoint. Empty: from the metadata of Issuer (RFC 8414).
	Endpoint string
	// Issuer is the authorization server, and the audience of assertions (AZ-19).
	Issuer string
	// EndpointAudience makes the token endpoint the audience, for servers that want that. So it is where Issuer is empty.
	EndpointAudience bool

	Scope string       // empty: DefaultScope
	HTTP  *http.Client // nil: one with DefaultTimeout. Its CheckRedirect is not used
	Now   func() time.Time

	once   sync.Once
	flight chan struct{} // holds one while somebody asks

	mu      sync.Mutex
	token   string
	refresh time.Time // when a new one is got
	failed  error
	until   time.Time // failed answers until then
	found   server    // what metadata named
}

// Authorize puts a valid token on r.
func (t *TokenSource) Authorize(r *http.Request) error {
	token, err := t.Token(r.Context())
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// Renew forgets the token on r, which was answered 401, and reports that r may be tried with another. A token that was
// replaced meanwhile is left alone.
func (t *TokenSource) Renew(r *http.Request) bool {
	_, refused, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == refused {
		t.token = ""
	}
	return true
}

// Token gives a token that is valid now.
func (t *TokenSource) Token(ctx context.Context) (string, error) { return t.shared(ctx, t.fetch) }

// shared gives the token that is kept, or has one of those who wait for it fetch another.
func (t *TokenSource) shared(ctx context.Context, fetch func(context.Context) (string, time.Duration, error)) (string, error) {
	t.prepare()
	if token, err := t.kept(); token != "" || err != nil {
		return token, err
	}
	select {
	case t.flight <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-t.flight }()
	if token, err := t.kept(); token != "" || err != nil { // whoever was before us has it
		return token, err
	}
	token, life, err := fetch(ctx)
	if err == nil || ctx.Err() == nil {
		t.keep(token, life, err)
	}
	return token, err
}

func (t *TokenSource) prepare() { t.once.Do(func() { t.flight = make(chan struct{}, 1) }) }

// keep remembers what came of asking.
func (t *TokenSource) keep(token string, life time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.token, t.failed = token, nil
		t.refresh = t.now().Add(life - min(life/5, 30*time.Second))
		return
	}
	pause := failureLife
	if e, ok := errors.AsType[*TokenError](err); ok {
		pause = max(pause, min(e.RetryAfter, maxTokenPause))
	}
	t.failed, t.until, t.found = err, t.now().Add(pause), server{}
}

func (t *TokenSource) kept() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch now := t.now(); {
	case t.token != "" && now.Before(t.refresh):
		return t.token, nil
	case t.failed != nil && now.Before(t.until):
		return "", t.failed
	}
	return "", nil
}

func (t *TokenSource) now() time.Time {
	if t.Now != nil {
		return t.Now()
	}
	return time.Now()
}

// fetch asks once.
func (t *TokenSource) fetch(ctx context.Context) (string, time.Duration, error) {
	if t.Method == NoSecret { // RFC 6749 §4.4
		return "", 0, fmt.Errorf("%w: client credentials need a secret or a key", ErrTokenConfig)
	}
	body, err := t.grant(ctx, url.Values{"grant_type": {"client_credentials"}, "scope": {cmp.Or(t.Scope, DefaultScope)}}) // AZ-25
	if err != nil {
		return "", 0, err
	}
	token, life, _, err := parseToken(body)
	return token, life, err
}

// grant makes one request to the token endpoint, with the client's authentication, and gives the body of a 200.
func (t *TokenSource) grant(ctx context.Context, form url.Values) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	endpoint, err := t.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	method := cmp.Or(t.Method, ClientSecretBasic)
	switch method {
	case NoSecret:
		form.Set("client_id", t.ClientID)
	case ClientSecretPost:
		form.Set("client_id", t.ClientID)
		form.Set("client_secret", t.Secret)
	case ClientSecretJWT, PrivateKeyJWT:
		assertion, err := t.assertion(endpoint)
		if err != nil {
			return nil, err
		}
		form.Set("client_id", t.ClientID) // AZ-22
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%w: token endpoint: %w", ErrTokenConfig, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if method == ClientSecretBasic { // RFC 6749 §2.3.1: each part form-encoded first
		req.SetBasicAuth(url.QueryEscape(t.ClientID), url.QueryEscape(t.Secret))
	}
	res, body, err := t.do(req)
	if err != nil {
		return nil, fmt.Errorf("receiver: asking for a token: %w", without(err, req))
	}
	if res.StatusCode != http.StatusOK {
		return nil, t.refusal(res, body, form.Get("client_assertion"), form.Get("refresh_token"), form.Get("code"), form.Get("code_verifier"),
			strings.TrimPrefix(req.Header.Get("Authorization"), "Basic "))
	}
	return body, nil
}

// do sends a request without following redirects, which would take the credential elsewhere.
func (t *TokenSource) do(req *http.Request) (*http.Response, []byte, error) {
	req.Header.Set("Accept", "application/json")
	res, err := (&Client{HTTP: t.HTTP}).client().Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer+1))
	if err == nil && len(body) > maxTokenAnswer {
		err = fmt.Errorf("%w: longer than %d bytes", ErrTokenAnswer, maxTokenAnswer)
	}
	return res, body, err
}

func (t *TokenSource) check() error {
	method := cmp.Or(t.Method, ClientSecretBasic)
	switch {
	case t.ClientID == "":
		return fmt.Errorf("%w: no client id", ErrTokenConfig)
	case t.Endpoint == "" && t.Issuer == "":
		return fmt.Errorf("%w: neither token endpoint nor issuer of the authorization server", ErrTokenConfig)
	case method == PrivateKeyJWT:
		if t.Key == nil {
			return fmt.Errorf("%w: %s needs a key", ErrTokenConfig, method)
		}
	case method == NoSecret:
	case method != ClientSecretBasic && method != ClientSecretPost && method != ClientSecretJWT:
		return fmt.Errorf("%w: there is no method %q", ErrTokenConfig, method)
	case t.Secret == "":
		return fmt.Errorf("%w: %s needs a secret", ErrTokenConfig, method)
	case method == ClientSecretJWT && len(t.Secret) < 32: // RFC 7518 §3.2
		return fmt.Errorf("%w: %s needs a secret of at least 32 bytes", ErrTokenConfig, method)
	}
	return nil
}
