package ssf

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/transmitter"
)

// Everything that the stream API needs to know of a caller comes from its client's spec and its token.
func TestCallerOfSpec(t *testing.T) {
	spec := &hub.Client{Name: "crm", Alg: "ES256", Streams: "many", Subjects: "NONE", Subject: &hub.SubjectRule{Format: "iss_sub", AccountAt: "keycloak"}}
	caller := Caller(func(context.Context, string) (*Client, error) {
		return &Client{Spec: spec, Scopes: []string{"ssf.read"}, Events: []string{"urn:a"}, Shape: "sse-id1"}, nil
	})
	r := httptest.NewRequest("GET", "/ssf/streams?client_id=other", nil) // AZ-11: never from the request
	r.Header.Set("Authorization", "Bearer  good")
	got, err := caller(r)
	want := transmitter.Caller{Receiver: "crm", Scopes: []string{"ssf.read"}, Algorithm: "ES256", Events: []string{"urn:a"}, DefaultSubjects: "NONE", Shape: "sse-id1",
		Naming: []byte(`{"format":"iss_sub","account_at":"keycloak"}`)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	spec.Subject = nil
	if got, err := caller(r); err != nil || got.Naming != nil {
		t.Errorf("%+v, %v", got, err)
	}
	req.Covers(t, "AZ-1", "AZ-11", "IOP-41")
}

func TestFieldsThatCannotBeRead(t *testing.T) {
	caller := Caller(func(_ context.Context, token string) (*Client, error) {
		t.Errorf("%q was checked", token)
		return nil, nil
	})
	for _, field := range []string{"", "Bearer", "Bearer ", "Bearer   ", "good", "Bearer a b", "Bearer a,b", "Bearer a\tb", "Bearer a, Bearer b", "DPoP a"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{field}
		if _, err := caller(r); err != transmitter.ErrBadCredentials {
			t.Errorf("%q: %v", field, err)
		}
	}
	r := httptest.NewRequest("GET", "/?access_token=good", nil)
	if _, err := caller(r); err != transmitter.ErrNoCredentials {
		t.Errorf("in the address: %v", err)
	}
	req.Covers(t, "IOP-42")
}

func TestAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tc := range []struct {
		remote string
		hops   []string
		want   string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"}, // not a proxy: what it says of itself counts for nothing
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7, 10.2.3.4"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"198.51.100.7, junk"}, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:5", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"[2001:db8::1%eth0]:5", nil, "2001:db8::/64"},
		{"@", nil, "@"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tc.remote
		r.Header["X-Forwarded-For"] = tc.hops
		if got := Address(proxies)(r); got != tc.want {
			t.Errorf("%s %v: %s, want %s", tc.remote, tc.hops, got, tc.want)
		}
	}
}

type owner struct{ http.HandlerFunc }

func (owner) Owns(path string) bool { return path == "/oauth/token" }

func TestOAuthHasItsPaths(t *testing.T) {
	say := func(who string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", who) }
	}
	d := New(Config{Streams: say("streams"), OAuth: owner{say("oauth")}})
	for path, want := range map[string]string{"/oauth/token": "oauth", "/oauth/token?access_token=x": "oauth", "/oauth/tokens": "streams", "/ssf/streams": "streams", "/ssf/streams?access_token=x": ""} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer x")
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, r)
		if got := rec.Header().Get("X"); got != want || want == "" && (rec.Code != 400 || rec.Header().Get("WWW-Authenticate") == "") {
			t.Errorf("%s: %q %d", path, got, rec.Code)
		}
	}
	req.Covers(t, "AZ-4")
}
