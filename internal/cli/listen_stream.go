package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

// listener is one run of listen.
type listener struct {
	a        *App
	f        listenFlags
	enough   context.CancelFunc // called when what was asked for has come
	http     *http.Client
	endpoint string // of pushes
	pushAuth string
	keys     set.KeySet

	client *receiver.Client
	md     *stream.Metadata
	stream *stream.Configuration // ours at the transmitter; nil: none
	own    bool                  // we made it
	till   *till                 // answers orders; nil: does not
	work   sync.WaitGroup
	fail   *reply
	failed int

	mu       sync.Mutex
	audience []string // of our tokens; empty: not known yet
	count    int
	states   map[string]chan struct{} // of verification events that were asked for
}

// prepare finds the keys and the transmitter.
func (l *listener) prepare(ctx context.Context) (err error) {
	if l.http, err = l.a.outside(30*time.Second, l.f.insecure); err != nil {
		return err
	}
	l.audience, l.pushAuth = l.f.audience, l.f.pushAuth
	if l.f.jwks != "" {
		if strings.HasPrefix(l.f.jwks, "https://") || strings.HasPrefix(l.f.jwks, "http://") {
			l.keys = set.NewRemoteKeys(l.f.jwks, l.http, nil)
		} else {
			data, err := os.ReadFile(l.f.jwks)
			if err != nil {
				return hub.Errorf(hub.Invalid, "--jwks: %w", err)
			}
			if l.keys, err = set.ParseJWKS(data); err != nil {
				return hub.Errorf(hub.Invalid, "--jwks %s: %w", l.f.jwks, err)
			}
		}
	}
	if l.f.transmitter == "" {
		return nil
	}
	l.client = &receiver.Client{HTTP: l.http}
	if l.md, err = l.client.Discover(ctx, l.f.transmitter, l.f.metadataURL); err != nil {
		return asked("the metadata of "+l.f.transmitter, err)
	}
	if l.keys == nil {
		if l.md.JWKSURI == "" && !l.f.unverified {
			return hub.Errorf(hub.Invalid, "the transmitter publishes no keys").WithHint("give them with --jwks, or look without verifying: --unverified")
		}
		l.keys = set.NewRemoteKeys(l.md.JWKSURI, l.http, nil)
	}
	token, err := l.access(ctx)
	if err != nil {
		return err
	}
	if token != "" {
		l.client.Authorize = receiver.Bearer(token)
	}
	if l.pushAuth == "" && !l.f.poll && l.f.stream == "" {
		l.pushAuth = "Bearer " + rand.Text()
	}
	if l.f.receipts != "" {
		l.till, err = newTill(l, token)
	}
	return err
}

// access gives the token for the stream API; empty: none was named.
func (l *listener) access(ctx context.Context) (string, error) {
	read := func(flag, file string) (string, error) {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", hub.Errorf(hub.Invalid, "--%s: %w", flag, err)
		}
		return strings.TrimSpace(string(data)), nil
	}
	switch {
	case l.f.token != "":
		return l.f.token, nil
	case l.f.tokenFile != "":
		return read("token-file", l.f.tokenFile)
	case l.f.clientID == "":
		return "", nil
	}
	secret, err := read("client-secret-file", l.f.secretFile)
	if err != nil {
		return "", err
	}
	endpoint := l.f.tokenEndpoint
	if endpoint == "" {
		// RFC 8414 §3.1: the well-known path stands between host and path.
		at, err := stream.MetadataURL(l.f.transmitter)
		if err != nil {
			return "", hub.Errorf(hub.Invalid, "--transmitter: %w", err)
		}
		at = strings.Replace(at, stream.WellKnownPath, "/.well-known/oauth-authorization-server", 1)
		var md struct {
			TokenEndpoint string `json:"token_endpoint"`
		}
		cl := &client{http: l.http}
		if err := cl.fetch(ctx, at, &md); err != nil {
			return "", hub.Errorf(hub.CodeOf(err), "%w", err).WithHint("name where tokens are given with --token-endpoint")
		}
		if endpoint = md.TokenEndpoint; endpoint == "" {
			return "", hub.Errorf(hub.Invalid, "%s names no token_endpoint", at).WithHint("give --token-endpoint")
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if l.f.scope != "" {
		form.Set("scope", l.f.scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", hub.Errorf(hub.Invalid, "--token-endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(l.f.clientID), url.QueryEscape(secret)) // RFC 6749 §2.3.1
	resp, err := l.http.Do(req)
	if err != nil {
		return "", reached(endpoint, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", reached(endpoint, err)
	}
	var answer struct {
		Token       string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Token == "" {
		return "", hub.Errorf(hub.Unauthenticated, "%s answered %d %s", endpoint, resp.StatusCode, strings.TrimSpace(answer.Error+" "+answer.Description)).WithHint("see that client id, secret and --scope are what the transmitter knows")
	}
	return answer.Token, nil
}

// asked words an error of the stream API.
func asked(what string, err error) error {
	if he, ok := errors.AsType[*hub.Error](err); ok {
		return he
	}
	var ae *receiver.APIError
	if errors.As(err, &ae) {
		return answerCode(ae.Status, hub.Errorf(hub.Invalid, "%w", err))
	}
	if errors.Is(err, receiver.ErrIssuer) || errors.Is(err, receiver.ErrUnsupported) || errors.Is(err, receiver.ErrAnswer) || errors.Is(err, stream.ErrInvalid) {
		return hub.Errorf(hub.Invalid, "%w", err).WithHint("--transmitter is the issuer, letter for letter; where its metadata is says --metadata-url")
	}
	return reached(what, err)
}

// answerCode gives err the code that an HTTP status stands for.
func answerCode(status int, err *hub.Error) error {
	switch {
	case status == 401:
		err = hub.Errorf(hub.Unauthenticated, "%w", err).WithHint("give an access token with --token-file, or --client-id and --client-secret-file")
	case status == 403:
		err = hub.Errorf(hub.Forbidden, "%w", err).WithHint("the token needs the scope ssf.manage")
	case status == 404:
		err = hub.Errorf(hub.NotFound, "%w", err)
	case status == 409:
		err = hub.Errorf(hub.Conflict, "%w", err).WithHint("the client has a stream already: use it with --stream, or let the client have many")
	case status == 429 || status >= 500:
		err = hub.Errorf(hub.Unavailable, "%w", err)
	}
	return err
}

// join makes the stream, or finds the one that was named, and has it verified.
func (l *listener) join(ctx context.Context) error {
	if l.f.stream != "" {
		cfg, err := l.client.Read(ctx, l.md, l.f.stream)
		if err != nil {
			return asked("the stream API", err)
		}
		if poll := cfg.Delivery != nil && cfg.Delivery.Method == stream.PollMethod; poll != l.f.poll {
			return hub.Errorf(hub.Invalid, "stream %s is not one of that delivery method", l.f.stream).WithHint("leave --poll out for a stream that is pushed, and give it for one that is polled")
		}
		return l.joined(cfg)
	}
	events, err := uris(l.f.events)
	if err != nil {
		return err
	}
	want := &stream.Configuration{Description: l.f.description, EventsRequested: events, Delivery: &stream.Delivery{Method: stream.PollMethod}}
	if !l.f.poll {
		want.Delivery = &stream.Delivery{Method: stream.PushMethod, EndpointURL: l.endpoint, AuthorizationHeader: l.pushAuth}
	}
	if len(events) == 0 {
		want.EventsRequested = l.offered()
	}
	if l.till != nil {
		raw, err := l.till.offer.Marshal()
		if err != nil {
			return err
		}
		want.Extra = map[string]json.RawMessage{l.till.words.Settings: raw}
	}
	cfg, err := l.client.Create(ctx, l.md, want)
	if err != nil {
		return asked("the stream API", err)
	}
	l.own = true
	if err := l.joined(cfg); err != nil {
		return err
	}
	l.a.say("stream %s, aud %s, %d event types", cfg.StreamID, strings.Join(cfg.Audience, " "), len(cfg.EventsDelivered))
	if l.till != nil && l.till.agreed.Status != receipt.StatusActive {
		l.a.note("The transmitter does not take receipts on this stream, so there will be no orders on it.")
	}
	return l.verify(ctx)
}

// offered are the types to ask for where nobody named any: those that we know and the stream-level ones left out.
func (l *listener) offered() []string {
	var out []string
	for _, t := range registry().Types() {
		if !t.StreamLevel {
			out = append(out, t.URI)
		}
	}
	return out
}

func (l *listener) joined(cfg *stream.Configuration) error {
	if cfg.Delivery == nil || l.f.poll && cfg.Delivery.EndpointURL == "" {
		return hub.Errorf(hub.Invalid, "the transmitter says nothing of the stream's delivery")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stream, l.audience = cfg, cfg.Audience
	if l.till != nil {
		l.till.agreed, _ = receipt.Agreed(cfg.Extra, l.till.words)
	}
	return nil
}

// verifyTime is how long a verification event may take.
const verifyTime = 30 * time.Second

// verify asks for a verification event and waits for it. A poller asks and leaves the waiting to its loop.
func (l *listener) verify(ctx context.Context) error {
	if l.md.VerificationEndpoint == "" {
		return nil
	}
	state := rand.Text()
	came := make(chan struct{})
	l.mu.Lock()
	l.states[state] = came
	l.mu.Unlock()
	if err := l.client.Verify(ctx, l.md, l.stream.StreamID, state); err != nil {
		return asked("the verification endpoint", err)
	}
	if l.f.poll {
		return nil
	}
	limit := time.NewTimer(verifyTime)
	defer limit.Stop()
	select {
	case <-came:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return hub.Errorf(hub.Unavailable, "no verification event came within %s", verifyTime).WithHint("see that the transmitter can reach %s and trusts its certificate", l.endpoint)
	}
}

// leave deletes the stream that we made.
func (l *listener) leave(ctx context.Context) error {
	if !l.own || l.f.keep || l.stream == nil {
		return nil
	}
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if err := l.client.Delete(end, l.md, l.stream.StreamID); err != nil {
		return asked("the stream API", err)
	}
	l.a.say("deleted stream %s", l.stream.StreamID)
	return nil
}
