package ssf

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"testing"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/transmitter"
)

func TestPathsAndBounds(t *testing.T) {
	ready := true
	block, entered := make(chan struct{}), make(chan struct{})
	d := New(Config{InFlight: 1, Ready: func() bool { return ready },
		Streams: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", "streams") }),
		Receive: func(w http.ResponseWriter, r *http.Request, id string) {
			if id == "slow" {
				close(entered)
				<-block
			}
			w.Header().Set("X", "receive "+id)
			w.WriteHeader(http.StatusAccepted)
		}})
	ask := func(method, path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, httptest.NewRequest(method, path, nil))
		return rec
	}
	for _, tc := range []struct {
		method, path, x string
		status          int
	}{
		{"POST", "/receive/abc", "receive abc", 202},
		{"GET", "/receive/abc/status", "", 404},
		{"GET", "/receive/abc/", "", 404},
		{"GET", "/.well-known/ssf-configuration", "streams", 200},
		{"POST", "/ssf/receipts", "streams", 200},
		{"GET", "/jwks.json", "streams", 200},
	} {
		if rec := ask(tc.method, tc.path); rec.Code != tc.status || rec.Header().Get("X") != tc.x {
			t.Errorf("%s %s: %d %q", tc.method, tc.path, rec.Code, rec.Header().Get("X"))
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); ask("POST", "/receive/slow") }()
	<-entered
	if rec := ask("POST", "/receive/abc"); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("over the bound: %d, Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
	}
	close(block)
	<-done
	ready = false
	if rec := ask("POST", "/receive/abc"); rec.Code != 503 {
		t.Errorf("not ready: %d", rec.Code)
	}
	p := New(Config{Streams: d.Streams, Receive: d.Receive, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for addr, want := range map[string]int{"10.1.2.3:99": 200, "192.0.2.1:99": 403, "[::ffff:10.1.1.1]:5": 200} {
		r := httptest.NewRequest("GET", "/jwks.json", nil)
		r.RemoteAddr = addr
		rec := httptest.NewRecorder()
		p.ServeHTTP(rec, r)
		if rec.Code != want {
			t.Errorf("from %s: %d, want %d", addr, rec.Code, want)
		}
	}
}

// A sender whose requests stall has half of the door, and the others keep theirs.
func TestOneAddressDoesNotShutOutTheOthers(t *testing.T) {
	block, entered := make(chan struct{}), make(chan struct{})
	d := New(Config{InFlight: 4, Streams: http.NotFoundHandler(), Receive: func(w http.ResponseWriter, _ *http.Request, id string) {
		if id == "slow" {
			entered <- struct{}{}
			<-block
		}
		w.WriteHeader(http.StatusAccepted)
	}})
	ask := func(id string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, httptest.NewRequest("POST", "/receive/"+id, nil))
		return rec
	}
	var end sync.WaitGroup
	for range 2 {
		end.Go(func() { ask("slow") })
		<-entered
	}
	if rec := ask("slow"); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("beyond its half: %d", rec.Code)
	}
	if rec := ask("other"); rec.Code != 202 {
		t.Errorf("another sender: %d", rec.Code)
	}
	close(block)
	end.Wait()
	if len(d.at) != 0 {
		t.Errorf("still counted: %v", d.at)
	}
}

func TestCaller(t *testing.T) {
	away := errors.New("the store is away")
	caller := Caller(func(_ context.Context, token string) (*Client, error) {
		switch token {
		case "good":
			return &Client{Spec: &hub.Client{Name: "crm", Alg: "ES256"}, Scopes: []string{"ssf.read"}}, nil
		case "many":
			return &Client{Spec: &hub.Client{Name: "crm", Streams: "many"}}, nil
		case "operator":
			return nil, nil
		case "away":
			return nil, away
		}
		return nil, hub.Errorf(hub.Unauthenticated, "no")
	})
	ask := func(values ...string) (transmitter.Caller, error) {
		r := httptest.NewRequest("GET", "/ssf/streams", nil)
		r.Header["Authorization"] = values
		return caller(r)
	}
	c, err := ask("bearer good")
	if err != nil || c.Receiver != "crm" || !c.OneStream || c.Algorithm != "ES256" || len(c.Scopes) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := ask("Bearer many"); err != nil || c.OneStream {
		t.Errorf("%+v, %v", c, err)
	}
	for name, tc := range map[string]struct {
		values []string
		want   error
	}{
		"none":        {nil, transmitter.ErrNoCredentials},
		"unknown":     {[]string{"Bearer nobody"}, transmitter.ErrBadCredentials},
		"two fields":  {[]string{"Bearer good", "Bearer good"}, transmitter.ErrBadCredentials},
		"basic":       {[]string{"Basic good"}, transmitter.ErrBadCredentials},
		"operator":    {[]string{"Bearer operator"}, transmitter.ErrBadCredentials},
		"no time now": {[]string{"Bearer away"}, away},
	} {
		if _, err := ask(tc.values...); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	req.Covers(t, "AZ-11")
}

func TestAllowEndpoint(t *testing.T) {
	allow := AllowEndpoint(func(_ context.Context, client string) ([]string, error) {
		return map[string][]string{"crm": {"crm.example.test"}}[client], nil
	})
	for _, tc := range []struct {
		client, url string
		ok          bool
	}{
		{"crm", "https://crm.example.test/events", true},
		{"crm", "https://CRM.example.test:8443/events", true},
		{"crm", "https://evil.example.test/crm.example.test", false},
		{"crm", "https://crm.example.test.evil.test/", false},
		{"any", "https://anywhere.example.test/", true},
	} {
		u, err := url.Parse(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := allow(context.Background(), transmitter.Caller{Receiver: tc.client}, u); (err == nil) != tc.ok {
			t.Errorf("%s to %s: %v", tc.client, tc.url, err)
		}
	}
}
