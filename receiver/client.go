package receiver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign/internal/strictjson"
	"countersign/stream"
)

// MaxAnswer is the longest answer of a transmitter that a Client reads.
const MaxAnswer = 1 << 20

// DefaultTimeout bounds each call of a Client without an HTTP client of its own.
const DefaultTimeout = 10 * time.Second

// What a Client finds wrong before or after the exchange itself.
var (
	// ErrIssuer says that the transmitter calls itself by another name than the one we know it by.
	// Nothing of the answer may be used (SSF 1.0 §7.2.4, §8.1.1.1).
	ErrIssuer = errors.New("receiver: issuer differs")
	// ErrUnsupported says that the transmitter's metadata has no endpoint for the operation.
	ErrUnsupported = errors.New("receiver: transmitter does not offer the operation")
	// ErrAnswer says that an answer is not what the operation is defined to give.
	ErrAnswer = errors.New("receiver: answer of the transmitter cannot be used")
	// ErrInsecure says that a transmitter with an https issuer names an address that is not https. Nothing of it may be used.
	ErrInsecure = errors.New("receiver: address is no https URL")
	// ErrTooLong says besides ErrAnswer that an answer is longer than we read.
	ErrTooLong = errors.New("longer than we read")
)

// Client manages streams at transmitters. The zero Client works; it may be used by many goroutines.
// Every status from 200 to 299 is success. Redirects are not followed. An error of the connection itself
// leaves open whether the transmitter acted: list the streams before creating again.
type Client struct {
	// HTTP does the calls. Nil: a client with DefaultTimeout. Its CheckRedirect is not used.
	HTTP *http.Client
	// Credential shows who we are to the management API and at a poll address; it is not used for metadata. A request
	// that was answered 401 is made once more, and only once, where Renew has another. Nil: Authorize and Renew.
	Credential Credential
	// Quirks are those of the transmitter. The zero value is strict.
	Quirks Quirks
	// Authorize is the function of a Credential, where there is no more to it. Nil: none.
	Authorize func(*http.Request) error
	// Renew is that of a Credential, beside Authorize. Nil: a 401 is final.
	Renew func(*http.Request) bool
}

// Discover reads the metadata of issuer and insists that it names issuer byte for byte. MetadataURL overrides
// where to look, for a transmitter that publishes elsewhere; empty: stream.MetadataURL(issuer).
func (c *Client) Discover(ctx context.Context, issuer, metadataURL string) (*stream.Metadata, error) {
	if metadataURL == "" {
		var err error
		if metadataURL, err = stream.MetadataURL(issuer); err != nil {
			return nil, err
		}
	}
	var md stream.Metadata
	err := c.call(ctx, call{operation: "read metadata", method: http.MethodGet, url: metadataURL, open: true, into: &md})
	if err != nil {
		return nil, err
	}
	// SSF 1.0 §7.2.4: identical, without any normalisation.
	if md.Issuer != issuer {
		return nil, fmt.Errorf("%w: metadata says %q, expected %q%s", ErrIssuer, md.Issuer, issuer, difference(md.Issuer, issuer))
	}
	if err := safe(&md); err != nil {
		return nil, err
	}
	return &md, nil
}

// safe insists that a transmitter with an https issuer names https addresses, at whatever host: what we show there and what we
// read from there would be anybody's (RX-10).
func safe(md *stream.Metadata) error {
	if !strings.HasPrefix(md.Issuer, "https:") {
		return nil
	}
	for _, at := range []struct{ member, value string }{
		{"jwks_uri", md.JWKSURI}, {"configuration_endpoint", md.ConfigurationEndpoint}, {"status_endpoint", md.StatusEndpoint},
		{"add_subject_endpoint", md.AddSubjectEndpoint}, {"remove_subject_endpoint", md.RemoveSubjectEndpoint}, {"verification_endpoint", md.VerificationEndpoint},
	} {
		if at.value == "" {
			continue
		}
		if u, err := url.Parse(at.value); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("%w: %s of the metadata", ErrInsecure, at.member)
		}
	}
	return nil
}

// difference points at the two differences that are easily overlooked.
func difference(got, want string) string {
	switch {
	case strings.TrimSuffix(got, "/") == strings.TrimSuffix(want, "/"):
		return "; they differ by the slash at the end, which counts"
	case strings.EqualFold(got, want):
		return "; they differ in upper and lower case, which counts"
	}
	return ""
}

// Create makes a stream (SSF 1.0 §8.1.1.1). Of cfg only what a receiver supplies is sent, with the
// members in Extra. A transmitter that answers 400 because of Extra gives an *APIError with that status;
// the caller may try once more without. The push endpoint must be working before the call: some
// transmitters verify at once.
//
// When the answer cannot be used the stream may exist all the same; List finds it.
func (c *Client) Create(ctx context.Context, md *stream.Metadata, cfg *stream.Configuration) (*stream.Configuration, error) {
	body := requested(md, cfg)
	body.StreamID = ""
	ask := call{operation: "create stream", method: http.MethodPost, body: body}
	if c.Quirks.AudienceInCreate && len(cfg.Audience) > 0 { // Q-18/create
		var err error
		if ask.body, err = withAudience(body, cfg.Audience); err != nil {
			return nil, err
		}
	}
	return c.configuration(ctx, md, ask)
}

// withAudience puts aud before the other members, always as an array: goSignals, which wants it, reads no text there.
func withAudience(body *stream.Configuration, audience []string) (json.RawMessage, error) {
	aud, err := json.Marshal(map[string][]string{"aud": audience})
	if err != nil {
		return nil, err
	}
	rest, err := json.Marshal(body)
	if err != nil || string(rest) == "{}" {
		return aud, err
	}
	return append(append(aud[:len(aud)-1], ','), rest[1:]...), nil
}

// Read gives the configuration of one stream (SSF 1.0 §8.1.1.2).
func (c *Client) Read(ctx context.Context, md *stream.Metadata, id string) (*stream.Configuration, error) {
	return c.configuration(ctx, md, call{operation: "read stream", method: http.MethodGet, id: id, needID: true})
}

// List gives all our streams (SSF 1.0 §8.1.1.2). A bare object, one under the name streams, and a 404, as some transmitters
// answer, are one stream, the list, and none (RX-25, Q-13). A transmitter may refuse to list (403): see Streams.
func (c *Client) List(ctx context.Context, md *stream.Metadata) ([]*stream.Configuration, error) {
	var raw json.RawMessage
	err := c.call(ctx, call{operation: "list streams", method: http.MethodGet, url: md.ConfigurationEndpoint, into: &raw})
	if apiErr, ok := errors.AsType[*APIError](err); ok && apiErr.Status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(raw, []byte("{")) {
		members, err := strictjson.Object(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: list streams: %w", ErrAnswer, err)
		}
		one := slices.Concat([]byte("["), raw, []byte("]"))
		for _, m := range members {
			switch m.Name {
			case "streams":
				raw = m.Value
			case "stream_id":
				raw = one
			}
		}
		if bytes.HasPrefix(raw, []byte("{")) { // neither: an error that says what is missing
			raw = one
		}
	}
	var list []*stream.Configuration
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%w: list streams: %w", ErrAnswer, err)
	}
	for _, cfg := range list {
		if cfg == nil || cfg.StreamID == "" {
			return nil, fmt.Errorf("%w: list streams: a stream without stream_id in the list", ErrAnswer)
		}
		if err := ours(md, cfg); err != nil {
			return nil, err
		}
		tidy(cfg)
	}
	return list, nil
}

// Streams gives the streams that we can know of: those listed, and where the transmitter does not list (400, 403, 405), the
// ones with the ids that we kept, as far as they are there.
func (c *Client) Streams(ctx context.Context, md *stream.Metadata, kept ...string) ([]*stream.Configuration, error) {
	list, err := c.List(ctx, md)
	apiErr, refused := errors.AsType[*APIError](err)
	if !refused || apiErr.Status != http.StatusBadRequest && apiErr.Status != http.StatusForbidden && apiErr.Status != http.StatusMethodNotAllowed {
		return list, err
	}
	for _, id := range kept {
		cfg, rerr := c.Read(ctx, md, id)
		if e, ok := errors.AsType[*APIError](rerr); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
			continue
		}
		if rerr != nil {
			return nil, rerr
		}
		list = append(list, cfg)
	}
	if len(kept) == 0 {
		return nil, err
	}
	return list, nil
}

// Remember completes what a transmitter answered about a stream by what it said before: the address and the credential of a
// poll are given at creation, and an answer without them means that they are unchanged. before may be nil.
func Remember(before, got *stream.Configuration) *stream.Configuration {
	out := *got
	if before == nil || before.StreamID != got.StreamID || before.Delivery == nil || Method(before.Delivery.Method) != stream.PollMethod {
		return &out
	}
	d := stream.Delivery{Method: stream.PollMethod}
	if got.Delivery != nil {
		d = *got.Delivery
	}
	if Method(d.Method) != stream.PollMethod && d.Method != "" {
		return &out // it is a push stream now
	}
	d.EndpointURL = cmp.Or(d.EndpointURL, before.Delivery.EndpointURL)
	d.AuthorizationHeader = cmp.Or(d.AuthorizationHeader, before.Delivery.AuthorizationHeader)
	out.Delivery = &d
	return &out
}

// Update changes what cfg says of its stream and leaves the rest (PATCH, SSF 1.0 §8.1.1.3). A delivery
// that is sent replaces the whole one. The result is nil when the transmitter took the request but has
// not decided yet (202).
func (c *Client) Update(ctx context.Context, md *stream.Metadata, cfg *stream.Configuration) (*stream.Configuration, error) {
	return c.configuration(ctx, md, call{operation: "update stream", method: http.MethodPatch, id: cfg.StreamID, needID: true, body: requested(md, cfg)})
}

// Replace replaces all that we supplied (PUT, SSF 1.0 §8.1.1.4): what cfg does not say is deleted,
// the secret in its delivery too. The result is nil after a 202, as with Update.
func (c *Client) Replace(ctx context.Context, md *stream.Metadata, cfg *stream.Configuration) (*stream.Configuration, error) {
	return c.configuration(ctx, md, call{operation: "replace stream", method: http.MethodPut, id: cfg.StreamID, needID: true, body: requested(md, cfg)})
}

// Delete ends a stream (SSF 1.0 §8.1.1.5). A stream that is not there any more is no error.
func (c *Client) Delete(ctx context.Context, md *stream.Metadata, id string) error {
	err := c.call(ctx, call{operation: "delete stream", method: http.MethodDelete, url: md.ConfigurationEndpoint, id: id, needID: true})
	if apiErr, ok := errors.AsType[*APIError](err); ok && apiErr.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// Status reads a stream's status (SSF 1.0 §8.1.2.1).
func (c *Client) Status(ctx context.Context, md *stream.Metadata, id string) (*stream.Status, error) {
	return c.status(ctx, call{operation: "read status", method: http.MethodGet, url: md.StatusEndpoint, id: id, needID: true})
}

// SetStatus asks for another status (SSF 1.0 §8.1.2.2). The result is what the transmitter says the
// status is, nil when it has not decided yet (202).
func (c *Client) SetStatus(ctx context.Context, md *stream.Metadata, want stream.Status) (*stream.Status, error) {
	if err := want.Validate(); err != nil {
		return nil, err
	}
	return c.status(ctx, call{operation: "set status", method: http.MethodPost, url: md.StatusEndpoint, bodyID: want.StreamID, body: want})
}

// Verify asks for a verification event with state, which may be empty (SSF 1.0 §8.1.4.2). The event
// comes over the stream, at any later time; ask no more often than the stream's
// min_verification_interval.
func (c *Client) Verify(ctx context.Context, md *stream.Metadata, id, state string) error {
	if id == "" {
		return fmt.Errorf("%w: stream_id is missing", stream.ErrInvalid)
	}
	return c.call(ctx, call{
		operation: "request verification", method: http.MethodPost, url: md.VerificationEndpoint,
		bodyID: id, body: stream.VerifyRequest{StreamID: id, State: state},
	})
}

func (c *Client) configuration(ctx context.Context, md *stream.Metadata, call call) (*stream.Configuration, error) {
	var cfg stream.Configuration
	call.url, call.into = md.ConfigurationEndpoint, &cfg
	switch err := c.call(ctx, call); {
	case errors.Is(err, errUndecided) && (call.method == http.MethodPatch || call.method == http.MethodPut):
		return nil, nil
	case err != nil:
		return nil, err
	case cfg.StreamID == "":
		return nil, fmt.Errorf("%w: %s: no stream_id", ErrAnswer, call.operation)
	case call.id != "" && cfg.StreamID != call.id:
		return nil, fmt.Errorf("%w: %s: it is about another stream", ErrAnswer, call.operation)
	}
	if err := ours(md, &cfg); err != nil {
		return nil, err
	}
	if d := cfg.Delivery; d != nil && d.EndpointURL != "" && Method(d.Method) == stream.PollMethod && strings.HasPrefix(md.Issuer, "https:") {
		// What shows us is shown at the address to poll, too.
		if u, err := url.Parse(d.EndpointURL); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("%w: the address to poll of stream %.100q", ErrInsecure, cfg.StreamID)
		}
	}
	tidy(&cfg)
	return &cfg, nil
}

// tidy gives a delivery method its name of SSF 1.0.
func tidy(cfg *stream.Configuration) {
	if cfg.Delivery != nil {
		cfg.Delivery.Method = Method(cfg.Delivery.Method)
	}
}

// requested is what we send of cfg: what a receiver supplies, and the delivery method under the name that the
// transmitter lists.
func requested(md *stream.Metadata, cfg *stream.Configuration) *stream.Configuration {
	body := cfg.Requested()
	old := map[string]string{stream.PushMethod: OldPushMethod, stream.PollMethod: OldPollMethod}
	if d := body.Delivery; d != nil && slices.Contains(md.DeliveryMethodsSupported, old[d.Method]) && !slices.Contains(md.DeliveryMethodsSupported, d.Method) {
		named := *d
		named.Method = old[d.Method]
		body.Delivery = &named
	}
	return body
}

// ours insists that a stream has the issuer of the metadata (SSF 1.0 §8.1.1.1 to §8.1.1.4).
func ours(md *stream.Metadata, cfg *stream.Configuration) error {
	if cfg.Issuer != md.Issuer {
		return fmt.Errorf("%w: stream %q says %q, metadata says %q%s", ErrIssuer, cfg.StreamID, cfg.Issuer, md.Issuer, difference(cfg.Issuer, md.Issuer))
	}
	return nil
}

func (c *Client) status(ctx context.Context, call call) (*stream.Status, error) {
	var st stream.Status
	call.into = &st
	switch err := c.call(ctx, call); {
	case errors.Is(err, errUndecided) && call.method == http.MethodPost:
		return nil, nil
	case err != nil:
		return nil, err
	case st.Status == "":
		return nil, fmt.Errorf("%w: %s: no status", ErrAnswer, call.operation)
	}
	return &st, nil
}

// errUndecided is a 202 without a usable body: taken, but not decided.
var errUndecided = fmt.Errorf("%w: accepted and not decided", ErrAnswer)

// call is one exchange.
type call struct {
	operation, method, url string
	id                     string // stream_id for the query
	bodyID                 string // stream_id of the body, for the query too with Q-14/query
	needID                 bool
	open                   bool // without our credential
	body                   any  // nil: none
	into                   any  // where the answer goes; nil: it is not looked at
	max                    int  // longest answer; 0: MaxAnswer
}

func (c *Client) call(ctx context.Context, call call) error {
	req, err := c.request(ctx, call)
	if err != nil {
		return err
	}
	res, err := c.client().Do(req)
	renewed := false
	if cred := c.credential(); err == nil && res.StatusCode == http.StatusUnauthorized && !call.open && cred != nil && cred.Renew(req) {
		renewed = true
		res.Body.Close()
		if req, err = c.request(ctx, call); err != nil {
			return err
		}
		res, err = c.client().Do(req)
	}
	if err != nil {
		return fmt.Errorf("receiver: %s: %w", call.operation, without(err, req))
	}
	defer res.Body.Close()
	most := call.max
	if most == 0 {
		most = MaxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return &APIError{Operation: call.operation, Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Excerpt: excerpt([]byte(unshown(string(body), req))), Renewed: renewed}
	}
	if call.into == nil {
		return nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("receiver: %s: reading the answer: %w", call.operation, without(err, req))
	case len(body) > most:
		return fmt.Errorf("%w: %s: %w, %d bytes", ErrAnswer, call.operation, ErrTooLong, most)
	}
	if err := decode(res.Header, body, call.into); err != nil {
		if res.StatusCode == http.StatusAccepted {
			return errUndecided
		}
		return fmt.Errorf("%w: %s: %w", ErrAnswer, call.operation, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	if call.url == "" {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, call.operation)
	}
	if call.needID && call.id == "" {
		return nil, fmt.Errorf("%w: %s: stream_id is missing", stream.ErrInvalid, call.operation)
	}
	u, err := url.Parse(call.url)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: endpoint is not a URL", ErrUnsupported, call.operation)
	}
	id := call.id
	if id == "" && c.Quirks.IDInQuery {
		id = call.bodyID
	}
	if id != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += "stream_id=" + url.QueryEscape(id)
	}
	var body io.Reader
	if call.body != nil {
		raw, err := json.Marshal(call.body)
		if err != nil {
			return nil, fmt.Errorf("receiver: %s: %w", call.operation, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, call.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("receiver: %s: %w", call.operation, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if p, ok := call.body.(*stream.PollRequest); ok && len(p.SetErrs) > 0 {
			req.Header.Set("Content-Language", "en") // RFC 8936 §2.6
		}
	}
	if cred := c.credential(); !call.open && cred != nil {
		if err := cred.Authorize(req); err != nil {
			return nil, fmt.Errorf("receiver: %s: %w", call.operation, err)
		}
	}
	return req, nil
}

// client is a copy of ours that does not follow redirects: they would take the credential elsewhere.
func (c *Client) client() *http.Client {
	client := http.Client{Timeout: DefaultTimeout}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

func decode(h http.Header, body []byte, into any) error {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return errors.New("it is empty")
	}
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && media == "text/html" {
		return errors.New("it is a web page; the address is not that of the interface")
	}
	return json.Unmarshal(body, into)
}
