package transmitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"countersign/internal/strictjson"
	"countersign/receipt"
	"countersign/set"
	"countersign/stream"
)

// Paths below the issuer. They are told in the metadata and promised nowhere else.
const (
	pathKeys     = "/jwks.json"
	pathStreams  = "/ssf/streams"
	pathPoll     = "/poll" // below a stream: <issuer>/ssf/streams/<stream_id>/poll
	pathStatus   = "/ssf/status"
	pathVerify   = "/ssf/verify"
	pathAdd      = "/ssf/subjects/add"
	pathRemove   = "/ssf/subjects/remove"
	pathReceipts = "/ssf/receipts"
)

// Server is the stream API as http.Handler: discovery (SSF 1.0 §7), keys, configuration, status, subjects and
// verification (§8.1), polls (RFC 8936), and the receipt endpoint (receipts design §6.2).
type Server struct {
	t         *Transmitter
	cfg       *Config
	shapes    []*shape // what is served; the first is what a caller of no known shape speaks
	routes    map[string]route
	polls     string // the path before the stream_id of a poll
	metadata  []byte
	ours      receipt.Settings // as in the metadata, with our audience
	activity  activity
	greetings greetings
	offers    offers
	tokens    tokenCache
	large     chan struct{} // large poll bodies being read

	mu       sync.Mutex
	verified map[int64]time.Time   // last accepted verification request, by stream key
	remote   map[string]set.KeySet // by receipt_jwks_uri
}

type route map[string]http.HandlerFunc // by method

func newServer(t *Transmitter) (*Server, error) {
	s := &Server{t: t, cfg: t.cfg, verified: map[int64]time.Time{}, remote: map[string]set.KeySet{}, large: make(chan struct{}, largeBodies)}
	for _, name := range s.cfg.Legacy {
		sh := shapeNamed(name)
		if sh == nil || sh == final || sh.direct {
			return nil, fmt.Errorf("transmitter: there is no older shape %q", name)
		}
		s.shapes = append(s.shapes, sh)
	}
	if len(s.shapes) == 0 {
		s.shapes = []*shape{final}
	}
	if err := s.describe(); err != nil {
		return nil, err
	}
	known, err := stream.MetadataURL(s.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("transmitter: %w", err)
	}
	inserted, _ := url.Parse(known)
	issuer, _ := url.Parse(s.cfg.base())
	at := func(p string) string { return issuer.Path + p }
	s.polls = at(pathStreams) + "/"
	s.routes = map[string]route{
		at(pathKeys):   {http.MethodGet: s.serve(func() []byte { return s.t.keys().jwks }, s.cfg.KeysMaxAge)},
		at(pathStatus): {http.MethodGet: s.readStatus, http.MethodPost: s.setStatus},
		at(pathVerify): {http.MethodPost: s.verify},
		at(pathAdd):    {http.MethodPost: s.addSubject},
		at(pathRemove): {http.MethodPost: s.removeSubject},
	}
	discovery := route{http.MethodGet: s.serve(func() []byte { return s.metadata }, 5*time.Minute)}
	for _, path := range s.shapes[0].wellKnown {
		s.routes[path+strings.TrimPrefix(inserted.Path, stream.WellKnownPath)] = discovery // TX-1
		s.routes[at(path)] = discovery                                                     // TX-26: also where it is appended
	}
	streams := route{http.MethodPost: s.create, http.MethodGet: s.readStreams, http.MethodDelete: s.remove}
	if s.shapes[0].updates {
		streams[http.MethodPatch], streams[http.MethodPut] = s.patch, s.put
	}
	s.routes[at(pathStreams)] = streams
	if s.cfg.Receipts != nil {
		s.routes[at(pathReceipts)] = route{http.MethodPost: s.takeReceipt}
	}
	return s, nil
}

// ServeHTTP answers by path and method.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, polled := s.polled(r.URL.Path)
	if polled && r.Method == http.MethodPost {
		s.poll(w, r, id)
		return
	}
	h := w.Header()
	secure(h)
	rt, ok := s.routes[r.URL.Path]
	if polled {
		rt, ok = route{http.MethodPost: http.NotFound}, true // for Allow
	}
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "there is nothing at this address")
		return
	}
	method := r.Method
	if method == http.MethodOptions {
		h.Set("Allow", allow(rt))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle, ok := rt[method]
	if !ok {
		h.Set("Allow", allow(rt))
		refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "this address takes "+allow(rt))
		return
	}
	handle(w, r)
}

// secure keeps answers out of caches (TX-42) and from being taken for something else.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

func allow(rt route) string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		if rt[m] != nil {
			out = append(out, m)
		}
	}
	return strings.Join(out, ", ")
}

// caller finds out who calls, and answers 401 where nobody can be made out (TX-35, RFC 6750 §3).
func (s *Server) caller(w http.ResponseWriter, r *http.Request) (Caller, bool) {
	c, err := s.cfg.Caller(r)
	switch {
	case err == nil && c.Receiver != "":
		return c, true
	case err == nil, errors.Is(err, ErrNoCredentials):
		w.Header().Set("WWW-Authenticate", `Bearer realm="ssf"`) // no error code without credentials (AZ-3)
		refuse(w, http.StatusUnauthorized, "unauthorized", "this address wants a bearer token")
	case errors.Is(err, ErrBadCredentials):
		w.Header().Set("WWW-Authenticate", `Bearer realm="ssf", error="invalid_token"`) // AZ-4
		refuse(w, http.StatusUnauthorized, "unauthorized", "the bearer token is not valid here")
	default:
		s.cfg.Log.ErrorContext(r.Context(), "callers cannot be told", "error", err)
		unavailable(w)
	}
	return Caller{}, false
}

// allowed answers 403 where the credential has none of the scopes.
func allowed(w http.ResponseWriter, c Caller, scopes ...string) bool {
	for _, scope := range scopes {
		if c.may(scope) {
			return true
		}
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="ssf", error="insufficient_scope", scope="`+scopes[0]+`"`) // AZ-4
	refuse(w, http.StatusForbidden, "access_denied", "the token lacks the scope "+scopes[0])
	return false
}

// shape is what a caller speaks.
func (s *Server) shape(c Caller) *shape {
	for _, sh := range s.shapes {
		if sh.name == c.Shape {
			return sh
		}
	}
	return s.shapes[0]
}

// owned is the one way from a stream_id to a stream: it must be the caller's, and one that is not answers as one that
// never was (TX-33, TX-37). An empty id means the only stream of a receiver, for shapes where it has one (LEG-3, LEG-23).
// What comes this far is activity of the receiver (TX-54).
func (s *Server) owned(ctx context.Context, c Caller, id string) (*Stream, error) {
	if id == "" {
		if !s.shape(c).single {
			return nil, bad("stream_id is missing") // TX-40
		}
		all, err := s.cfg.Store.Streams(ctx, c.Receiver)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, ErrNotFound
		}
		s.t.active(&all[0])
		return &all[0], nil
	}
	if !utf8.ValidString(id) || strings.ContainsRune(id, 0) { // no store keeps such text (P-123)
		return nil, ErrNotFound
	}
	st, err := s.cfg.Store.Stream(ctx, c.Receiver, id)
	if err == nil {
		s.t.active(st)
	}
	return st, err
}

// body reads a management body into v, and answers 400, 413 or 415 where it cannot be. The media type is not looked
// at: the specification's own examples leave it out (TX-41).
func (s *Server) body(w http.ResponseWriter, r *http.Request, v any) ([]byte, bool) {
	data, ok := s.bytes(w, r, s.cfg.MaxBody)
	if !ok {
		return nil, false
	}
	err := strictjson.Check(data, strictjson.Limits{Bytes: int(s.cfg.MaxBody)})
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		invalid(w, err) // TX-38
		return nil, false
	}
	return data, true
}

func (s *Server) bytes(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		refuse(w, http.StatusUnsupportedMediaType, stream.InvalidRequest, "the body must not be encoded")
		return nil, false
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, stream.InvalidRequest, fmt.Sprintf("the body is larger than %d octets", limit))
		return nil, false
	case errors.Is(err, errNoRoom):
		w.Header().Set("Connection", "close")
		unavailable(w)
		return nil, false
	case errors.Is(err, os.ErrDeadlineExceeded): // of the http.Server
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestTimeout, stream.InvalidRequest, "the body did not arrive in time")
		return nil, false
	case err != nil:
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "the body could not be read")
		return nil, false
	}
	return data, true
}

// streamID takes the query parameter; present says whether there is one.
func streamID(w http.ResponseWriter, r *http.Request) (id string, present, ok bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	v := q["stream_id"]
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "the query cannot be read")
	case len(v) > 1:
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "stream_id is given more than once")
	case len(v) == 1 && v[0] == "":
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "stream_id is empty")
	case len(v) == 0:
		return "", false, true
	default:
		return v[0], true, true
	}
	return "", false, false
}

// failed answers for an error of the store or of a check.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	var bad *badRequest
	switch {
	case errors.As(err, &bad):
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, bad.text)
	case errors.Is(err, ErrNotFound):
		// The same answer for a stream of another receiver (TX-37).
		refuse(w, http.StatusNotFound, "not_found", "there is no such stream")
	case errors.Is(err, ErrConflict):
		refuse(w, http.StatusConflict, "conflict", "there is a stream already, and only one is allowed; read it with GET") // TX-66
	case errors.Is(err, ErrTooMany):
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "the stream has as many subjects on its list as it may have")
	case errors.Is(err, ErrDisabled):
		refuse(w, http.StatusBadRequest, stream.InvalidRequest, "the stream is disabled: nothing is sent on it")
	case errors.Is(err, ErrBusy):
		unavailable(w)
	default:
		s.cfg.Log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
		unavailable(w)
	}
}

// badRequest is a fault of the request, worded for its sender.
type badRequest struct{ text string }

func (b *badRequest) Error() string { return b.text }

// Is makes it ErrInvalid for callers of the methods.
func (b *badRequest) Is(target error) bool { return target == ErrInvalid }

func bad(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

func refuse(w http.ResponseWriter, status int, code, text string) {
	stream.WriteError(w, status, stream.WireError{Err: code, Description: text})
}

func invalid(w http.ResponseWriter, err error) {
	refuse(w, http.StatusBadRequest, stream.InvalidRequest, "the body cannot be used: "+printable(err.Error()))
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, stream.Unavailable, "try again shortly")
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		unavailable(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
