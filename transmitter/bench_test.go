package transmitter_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// BenchmarkPump is the cost of one SET from Send to the outcome, without a network: match, queue, sign, book. An
// operation is one SET on one stream.
func BenchmarkPump(b *testing.B) {
	for _, alg := range []set.Algorithm{set.ES256, set.EdDSA} {
		for _, fanOut := range []int{1, 10} {
			b.Run(fmt.Sprintf("%s/fan-out=%d", alg, fanOut), func(b *testing.B) {
				var n atomic.Int64
				benchmarkPump(b, alg, fanOut, "https://r.example/in", roundTripper(func(r *http.Request) (*http.Response, error) {
					_, _ = io.Copy(io.Discard, r.Body)
					n.Add(1)
					return answer(202), nil
				}), &n)
			})
		}
	}
}

// BenchmarkPumpHTTP adds the push over loopback, whose server side runs in the same process.
func BenchmarkPumpHTTP(b *testing.B) {
	for _, fanOut := range []int{1, 10} {
		b.Run(fmt.Sprintf("ES256/fan-out=%d", fanOut), func(b *testing.B) {
			var n atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				n.Add(1)
				w.WriteHeader(http.StatusAccepted)
			}))
			defer srv.Close()
			benchmarkPump(b, set.ES256, fanOut, srv.URL+"/in", nil, &n)
		})
	}
}

func benchmarkPump(b *testing.B, alg set.Algorithm, fanOut int, endpoint string, tr http.RoundTripper, n *atomic.Int64) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Signers = []*set.Signer{ssftest.Signer(alg, "bench")}
	cfg.Transport = tr
	x := newTransmitter(b, cfg)
	for i := range fanOut {
		putStream(b, store, "s"+strconv.Itoa(i), endpoint)
	}
	stop := running(b, x)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range (b.N + fanOut - 1) / fanOut {
		mustSend(b, x, message("u"+strconv.Itoa(i)))
		for int64(i+1)*int64(fanOut)-n.Load() > 2000 { // as an admission queue does
			runtimeYield()
		}
	}
	eventually(b, "all delivered", func() bool { return n.Load() >= int64(b.N) })
	b.StopTimer()
	stop()
}

// BenchmarkPayload is the claims object of one SET of an event that was laid out before.
func BenchmarkPayload(b *testing.B) {
	m := message("alice")
	body := transmitter.Body("txn-1", 1_700_000_000, m.SubID, m.Type, m.Payload)
	start := transmitter.ClaimsStart(issuer, []string{"https://r.example"})
	var buf [1024]byte
	b.ReportAllocs()
	for b.Loop() {
		transmitter.AppendClaims(buf[:0], start, 1_700_000_000, "dGhpcyBpcyBhIGp0aSBvZiBzaXh0ZWVu", body)
	}
}
