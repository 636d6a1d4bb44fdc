package transmitter_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"countersign/transmitter"
)

// notEvil is an AllowEndpoint that knows one bad host.
func notEvil(_ context.Context, _ transmitter.Caller, u *url.URL) error {
	if u.Hostname() == "evil.example" {
		return errors.New("the host is not on the list")
	}
	return nil
}

// brokenStore cannot create streams.
type brokenStore struct{ *transmitter.Memory }

func (*brokenStore) CreateStream(context.Context, *transmitter.Stream, int) error {
	return errors.New("secret of the store")
}

// forgetfulStore refuses the first outcomes.
type forgetfulStore struct {
	*transmitter.Memory
	refuse int
}

func (s *forgetfulStore) Done(ctx context.Context, o []transmitter.Outcome) error {
	if s.refuse > 0 {
		s.refuse--
		return transmitter.ErrBusy
	}
	return s.Memory.Done(ctx, o)
}

// trapStore hides a row, as a transaction that commits late does.
type trapStore struct {
	*transmitter.Memory
	mu     sync.Mutex
	hidden string
}

func (s *trapStore) hide(jti string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = jti
}

func (s *trapStore) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	items, err := s.Memory.Next(ctx, stream, after, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(items, func(it transmitter.Item) bool { return it.JTI == s.hidden }), err
}

// roundTripper is a transport that is no network.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int) *http.Response {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody, Header: http.Header{}}
}

// byHost picks a transport by the address it is for.
type byHost map[string]*http.Transport

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return b[r.URL.String()].RoundTrip(r)
}

func runtimeYield() { time.Sleep(50 * time.Microsecond) }
