package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/set"
	"countersign/stream"
	"countersign/transmitter"
)

// What receivers see first is looked at from outside: our metadata, our keys and the clock.
func TestDoctorAtThePublicAddress(t *testing.T) {
	b := newBench(t)
	b.delivered(transmitter.Delivered, 202, "")
	key := b.signer.Public()
	meta := stream.Metadata{}
	status, kind, date := 200, "application/json", start
	away := "" // where it redirects to
	jwks := set.MarshalJWKS([]set.Key{key})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Date", date.UTC().Format(http.TimeFormat))
		if away != "" {
			w.Header().Set("Location", away)
		}
		w.WriteHeader(status)
		if strings.HasSuffix(r.URL.Path, "/jwks.json") {
			w.Write(jwks)
			return
		}
		raw, _ := json.Marshal(meta)
		w.Write(raw)
	}))
	defer srv.Close()
	meta.Issuer, meta.JWKSURI = srv.URL, srv.URL+"/jwks.json"
	b.cfg.Issuer = func(string) string { return srv.URL }
	b.cfg.Probe = srv.Client()
	b.cfg.Probe.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // as the hub's
	b.door = New(b.cfg)
	look := func(name, check, result, words string) {
		t.Helper()
		if f := b.examined("crm")[check]; f.Result != result || !strings.Contains(f.Seen, words) || f.Side != us {
			t.Errorf("%s: %+v, wanted %s with %q", name, f, result, words)
		}
	}
	look("as it should be", "metadata", fine, stream.WellKnownPath)
	look("as it should be", "keys", fine, "1 key published")
	look("as it should be", "clock", fine, "2026-09-15")
	date = start.Add(-2 * time.Minute)
	look("a slow clock", "clock", warn, "2m0s")
	date = start
	b.here().used = map[string]int64{"k1": 1, "k0": 4}
	look("a key in use that is not published", "keys", fail, "k0")
	b.here().used = nil
	b.here().views[0].Stream.Algorithm = "ES256"
	look("no key of the stream's algorithm", "keys", fail, "ES256")
	b.here().views[0].Stream.Algorithm = "EdDSA"
	look("one of it", "keys", fine, "1 in force for EdDSA")
	old := key
	old.Expires = start.Unix() - 1
	jwks = set.MarshalJWKS([]set.Key{old})
	look("an expired key", "keys", fail, "none of the 1 key")
	jwks = []byte("{}")
	look("no key set", "keys", fail, "no key set")
	// Who took our address leads us nowhere else.
	lured := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the doctor was led to another server") }))
	defer lured.Close()
	meta.JWKSURI = lured.URL + "/jwks.json"
	look("keys elsewhere", "metadata", fail, "which is not where ours are")
	kind, status = "application/json", 307
	away = lured.URL
	look("a redirect", "metadata", fail, "it answers 307")
	status, away, meta.JWKSURI = 200, "", srv.URL+"/jwks.json"
	meta.Issuer = "https://other.example.test"
	look("another issuer", "metadata", fail, "other.example.test")
	kind = "text/html"
	look("a page", "metadata", fail, "another type")
	status = 503
	look("an error", "metadata", fail, "503")
	srv.Close()
	look("nobody", "metadata", fail, srv.URL)
}
