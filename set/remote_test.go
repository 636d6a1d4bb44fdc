package set_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
)

// issuerServer stands for the server behind a jwks_uri.
type issuerServer struct {
	mu      sync.Mutex
	body    string
	control string
	status  int
	err     error
	delay   time.Duration
	fetches atomic.Int32
}

func (s *issuerServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.fetches.Add(1)
	s.mu.Lock()
	body, control, status, err, delay := s.body, s.control, s.status, s.err, s.delay
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if control != "" {
		header.Set("Cache-Control", control)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (s *issuerServer) publish(keys ...set.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.status, s.err = string(set.MarshalJWKS(keys)), http.StatusOK, nil
}

func (s *issuerServer) fail(err error, status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.status, s.body = err, status, body
}

func remote(s *issuerServer) *set.RemoteKeys {
	return set.NewRemoteKeys("https://idp.example.com/jwks", &http.Client{Transport: s}, time.Now)
}

func (s *issuerServer) want(t *testing.T, fetches int32, when string) {
	t.Helper()
	if got := s.fetches.Load(); got != fetches {
		t.Errorf("%s: %d fetches, want %d", when, got, fetches)
	}
}

func find(t *testing.T, keys *set.RemoteKeys, kid string, want int, wantErr error) {
	t.Helper()
	found, err := keys.Find(t.Context(), kid)
	if len(found) != want || !errors.Is(err, wantErr) || (err != nil) != (wantErr != nil) {
		t.Errorf("Find(%q) = %d keys, %v; want %d, %v", kid, len(found), err, want, wantErr)
	}
}

func TestRemoteKeysFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &issuerServer{control: "public, max-age=300"}
		server.publish(signerFor(t, set.ES256).Public(), signerFor(t, set.EdDSA).Public())
		keys := remote(server)
		server.want(t, 0, "before anybody asks")
		find(t, keys, "ES256", 1, nil)
		find(t, keys, "EdDSA", 1, nil)
		find(t, keys, "", 2, nil)
		time.Sleep(299 * time.Second)
		find(t, keys, "ES256", 1, nil)
		server.want(t, 1, "within max-age")
		time.Sleep(2 * time.Second)
		find(t, keys, "ES256", 1, nil)
		server.want(t, 2, "after max-age")

		// A key taken out of the set is gone when the keys are fetched again.
		server.publish(signerFor(t, set.EdDSA).Public())
		time.Sleep(301 * time.Second)
		find(t, keys, "ES256", 0, nil)
		server.want(t, 3, "after the rotation")
	})
	for control, want := range map[string]time.Duration{
		"": 10 * time.Minute, "max-age=5": time.Minute, "max-age=90": 90 * time.Second, "max-age=999999": time.Hour, "no-store": time.Minute,
		"no-cache, max-age=600": time.Minute, "private, Max-Age=\"120\"": 2 * time.Minute, "max-age=-5": 10 * time.Minute, "max-age=99999999999999999999": 10 * time.Minute,
	} {
		if got := set.Freshness([]string{control}); got != want {
			t.Errorf("%q: %v, want %v", control, got, want)
		}
	}
}

func TestRemoteKeysUnknownKid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &issuerServer{}
		server.publish(signerFor(t, set.ES256).Public())
		keys := remote(server)
		find(t, keys, "ES256", 1, nil)
		server.want(t, 1, "first use")

		// A key published a moment ago is found at once.
		server.publish(signerFor(t, set.ES256).Public(), signerFor(t, set.EdDSA).Public())
		find(t, keys, "EdDSA", 1, nil)
		server.want(t, 2, "new key")

		// Sixty made-up kids are not sixty fetches, and known keys are still served.
		unknown, later := 0, 0
		for i := range 60 {
			found, err := keys.Find(t.Context(), fmt.Sprintf("made-up-%d", i))
			switch {
			case err == nil && len(found) == 0:
				unknown++
			case errors.Is(err, set.ErrKeysUnavailable):
				later++
			default:
				t.Fatalf("%d keys, %v", len(found), err)
			}
		}
		server.want(t, 4, "after sixty unknown kids")
		if unknown != 2 || later != 58 {
			t.Errorf("%d unknown, %d to try later", unknown, later)
		}
		find(t, keys, "ES256", 1, nil)

		time.Sleep(5 * time.Second)
		find(t, keys, "made-up", 0, nil)
		find(t, keys, "made-up", 0, set.ErrKeysUnavailable)
		server.want(t, 5, "one more in five seconds")
		time.Sleep(time.Minute)
		for range 3 {
			find(t, keys, "made-up", 0, nil)
		}
		find(t, keys, "made-up", 0, set.ErrKeysUnavailable)
		server.want(t, 8, "the burst is back")
	})
	req.Covers(t, "RX-50")
}

func TestRemoteKeysShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &issuerServer{delay: 2 * time.Second}
		server.publish(signerFor(t, set.ES256).Public())
		keys := remote(server)
		var wg sync.WaitGroup
		// Who goes away while the fetch is under way spoils it for nobody, be it the one who began it or one
		// who joined.
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wg.Go(func() { keys.Find(impatient, "ES256") })
		synctest.Wait()
		wg.Go(func() {
			if _, err := keys.Find(impatient, "ES256"); !errors.Is(err, set.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient: %v", err)
			}
		})
		for range 50 {
			wg.Go(func() { find(t, keys, "ES256", 1, nil) })
		}
		wg.Wait()
		server.want(t, 1, "fifty at once")
	})
}

func TestRemoteKeysFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &issuerServer{}
		server.fail(errors.New("connection refused"), 0, "")
		keys := remote(server)
		find(t, keys, "ES256", 0, set.ErrKeysUnavailable)
		find(t, keys, "ES256", 0, set.ErrKeysUnavailable)
		server.want(t, 1, "right after a failure")
		time.Sleep(5 * time.Second)
		server.publish(signerFor(t, set.ES256).Public())
		find(t, keys, "ES256", 1, nil)
		server.want(t, 2, "five seconds later")

		// Old keys serve while the issuer is away, for a day.
		for _, down := range []func(){
			func() { server.fail(errors.New("no route"), 0, "") },
			func() { server.fail(nil, http.StatusInternalServerError, "oops") },
			func() { server.fail(nil, http.StatusOK, "<html>") },
			func() { server.fail(nil, http.StatusFound, "") },
			func() { server.fail(nil, http.StatusOK, `{"keys":[],"pad":"`+strings.Repeat("x", 300<<10)+`"}`) },
		} {
			down()
			time.Sleep(11 * time.Minute)
			find(t, keys, "ES256", 1, nil)
			find(t, keys, "EdDSA", 0, set.ErrKeysUnavailable)
		}
		time.Sleep(23 * time.Hour)
		find(t, keys, "ES256", 1, nil)
		time.Sleep(2 * time.Hour)
		find(t, keys, "ES256", 0, set.ErrKeysUnavailable)

		// The token is not refused for it.
		compact, err := signerFor(t, set.ES256).Sign(marshal(t, claims()))
		if err != nil {
			t.Fatal(err)
		}
		p := policy(t)
		p.Keys = keys
		_, err = set.Verify(t.Context(), compact, p)
		if got := verdict(t, err); got != "ErrKeysUnavailable" {
			t.Errorf("Verify gives %s", got)
		}
		server.publish(signerFor(t, set.ES256).Public())
		time.Sleep(5 * time.Second)
		if _, err := set.Verify(t.Context(), compact, p); err != nil {
			t.Error(err)
		}
	})
	req.Covers(t, "RX-50")
}

// TestRemoteKeysPanic: a client that panics leaves nobody waiting for ever.
func TestRemoteKeysPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := set.NewRemoteKeys("https://idp.example.com/jwks", &http.Client{Transport: panicking{}}, time.Now)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			keys.Find(t.Context(), "k")
		}()
		find(t, keys, "k", 0, set.ErrKeysUnavailable)
	})
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("transport") }

func TestRemoteKeysTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &issuerServer{delay: time.Hour}
		server.publish(signerFor(t, set.ES256).Public())
		start := time.Now()
		find(t, remote(server), "ES256", 0, set.ErrKeysUnavailable)
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}
