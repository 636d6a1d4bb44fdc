package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// docPushing is a source whose stream somebody else made, and whose keys its metadata leads to.
func docPushing(p *peer) string {
	return fmt.Sprintf("---\nkind: source\nname: peer\ntype: ssf\nissuer: %q\ndelivery: push\nstream: none\naudience: [%q]\ncorrelate: [{format: email}]\n", p.URL, p.URL+"/ps1")
}

// A transmitter whose keys or metadata are not what they should be: nothing it signs is taken, nobody waits for ever, its
// server is not asked over and over, and when it is put right its tokens are taken again.
func TestHostileTransmitters(t *testing.T) {
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the trap was asked") }))
	defer trap.Close()
	good := func(p *peer) []byte { return set.MarshalJWKS([]set.Key{p.signer.Public()}) }
	keys := func(f func(p *peer, n int) []byte) func(*peer) {
		return func(p *peer) {
			var n atomic.Int64
			p.keys = func(w http.ResponseWriter, r *http.Request) { w.Write(f(p, int(n.Add(1)))) }
		}
	}
	meta := func(f func(p *peer, md map[string]any)) func(*peer) {
		return func(p *peer) { p.meta = func(md map[string]any) { f(p, md) } }
	}
	private := func(p *peer) []byte {
		return []byte(strings.Replace(string(good(p)), `{"`, `{"d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","`, 2))
	}
	for _, tc := range []struct {
		name   string
		set    func(p *peer)
		status int
		code   string
		asks   int // of the key set, at most
	}{
		{"keys that never end", func(p *peer) {
			p.keys = func(w http.ResponseWriter, r *http.Request) {
				w.Write([]byte(`{"keys":[`))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
		}, 503, stream.Unavailable, 2},
		{"keys without end", keys(func(p *peer, _ int) []byte { return []byte(strings.Repeat(" ", 4<<20) + string(good(p))) }), 503, stream.Unavailable, 2},
		{"no keys", keys(func(*peer, int) []byte { return []byte(`{"keys":[]}`) }), 400, stream.InvalidKey, 6},
		{"nothing at all", keys(func(*peer, int) []byte { return nil }), 503, stream.Unavailable, 2},
		{"a page in place of keys", keys(func(*peer, int) []byte { return []byte("<html>sign in</html>") }), 503, stream.Unavailable, 2},
		{"other keys each time", keys(func(p *peer, n int) []byte {
			key, _ := set.GenerateKey(set.ES256)
			s, _ := set.NewSigner(set.ES256, fmt.Sprint("k", n), key)
			return set.MarshalJWKS([]set.Key{s.Public()})
		}), 400, stream.InvalidKey, 6},
		{"another key under the same name", keys(func(p *peer, n int) []byte {
			key, _ := set.GenerateKey(set.ES256)
			s, _ := set.NewSigner(set.ES256, "peer-1", key)
			return set.MarshalJWKS([]set.Key{s.Public()})
		}), 400, stream.InvalidKey, 1},
		{"a private key", keys(func(p *peer, _ int) []byte { return private(p) }), 400, stream.InvalidKey, 6},
		{"a shared secret", keys(func(*peer, int) []byte {
			return []byte(`{"keys":[{"kty":"oct","kid":"peer-1","alg":"HS256","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}]}`)
		}), 400, stream.InvalidKey, 6},
		{"keys that are elsewhere now", func(p *peer) {
			p.keys = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, trap.URL, http.StatusFound) }
		}, 503, stream.Unavailable, 2},
		{"metadata of another issuer", meta(func(p *peer, md map[string]any) { md["issuer"] = "https://other.example.test" }), 503, stream.Unavailable, 0},
		{"an issuer with a slash more", meta(func(p *peer, md map[string]any) { md["issuer"] = p.URL + "/" }), 503, stream.Unavailable, 0},
		{"keys by http", meta(func(p *peer, md map[string]any) { md["jwks_uri"] = trap.URL + "/jwks" }), 503, stream.Unavailable, 0},
		{"keys by file", meta(func(p *peer, md map[string]any) { md["jwks_uri"] = "file:///etc/passwd" }), 503, stream.Unavailable, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newPeer(w)
			p.look(func() { tc.set(p) })
			w.apply(docWiki + docPushing(p))
			began := time.Now()
			var status int
			var body string
			for i := range 12 {
				status, body = w.push("peer", p.token(fmt.Sprint("h", i), "alice@example.test", nil))
				if status != tc.status && status != 503 || status == 503 && !strings.Contains(body, stream.Unavailable) {
					t.Fatalf("%d %s, want %d", status, body, tc.status)
				}
				if status == 400 && !strings.Contains(body, `"`+tc.code+`"`) {
					t.Fatalf("%s, want %s", body, tc.code)
				}
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("twelve answers took %s", took)
			}
			asks := 0
			p.look(func() {
				for _, a := range p.asked {
					if a == "GET /jwks" {
						asks++
					}
				}
			})
			if asks > tc.asks {
				t.Errorf("its keys were asked for %d times, at most %d will do", asks, tc.asks)
			}
			if w.kept("peer", "h0") || w.kept("peer", "h11") {
				t.Error("something was kept")
			}
			w.eventually("the operator sees it", func() bool {
				got, err := w.srv.store.Refusals(context.Background(), "default", "peer", hub.Page{})
				return err == nil && len(got.Items) > 0
			})
			// Put right: after the time for which a failure is remembered, it is good again.
			p.look(func() { p.keys, p.meta = nil, nil })
			w.shift.Add(int64(2 * time.Hour))
			w.eventually("it is taken", func() bool {
				status, _ := w.push("peer", p.token("good", "alice@example.test", func(c *set.Claims) { c.IssuedAt = time.Now().Add(2 * time.Hour).Unix() }))
				return status == 202
			})
		})
	}
	req.Covers(t, "RX-3", "RX-4", "RX-50", "RX-81", "IOP-22")
}

// Clocks that differ by five minutes, either way, are nobody's fault; a token from further ahead is.
func TestClocksApart(t *testing.T) {
	w := newWorld(t)
	w.apply(docApps + docRaw)
	for i, tc := range []struct {
		ours   time.Duration // how far our clock is ahead of the sender's
		status int
	}{{-5*time.Minute + 5*time.Second, 202}, {5 * time.Minute, 202}, {-6 * time.Minute, 400}, {48 * time.Hour, 202}} {
		w.shift.Store(int64(tc.ours))
		if status, body := w.push("raw", w.sign(fmt.Sprint("c", i), aliceMail, nil)); status != tc.status {
			t.Errorf("our clock %s ahead: %d %s", tc.ours, status, body)
		}
	}
	req.Covers(t, "RX-57")
}

// A token endpoint that says "too often" is asked again when it said, by one for all, and the polls go on then.
func TestTokenEndpointThatLimits(t *testing.T) {
	w := newWorld(t)
	p := newPeer(w)
	var asks, early atomic.Int64
	var last atomic.Int64
	p.issue = func(rw http.ResponseWriter, r *http.Request) {
		n, now := asks.Add(1), time.Now().UnixMilli()
		if was := last.Swap(now); n > 1 && now-was < 900 {
			early.Add(1)
		}
		if n <= 2 {
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(http.StatusTooManyRequests)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		json.NewEncoder(rw).Encode(map[string]any{"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600})
	}
	p.answer = func(rw http.ResponseWriter, r *http.Request, _ *stream.PollRequest) bool {
		if r.Header.Get("Authorization") != "Bearer at-1" {
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	p.offer(map[string]string{"j1": p.token("j1", "alice@example.test", nil)})
	w.apply(docWiki + w.docPeer(p, fmt.Sprintf("auth: {method: client_secret_basic, client_id: hub, client_secret: {stored: idp}, token_endpoint: %q}\n", p.URL+"/token")))
	w.eventually("it is kept and acknowledged", func() bool { return w.kept("peer", "j1") && p.waiting() == 0 })
	if asks.Load() != 3 || early.Load() != 0 {
		t.Errorf("%d requests for a token, %d before the time was over", asks.Load(), early.Load())
	}
	req.Covers(t, "RX-98", "IOP-23")
}
