package bench

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// receivers is a server that takes SETs for many streams, one path each. It opens the payload only as
// far as finding the number of the event, which the load puts into txn as "b-N.".
type receivers struct {
	url   string
	srv   *http.Server
	count atomic.Int64 // SETs taken, repeats included

	mu      sync.Mutex
	seen    map[string]map[int64]int // stream path → event number → how often
	arrived map[int64]time.Time      // event number → first arrival
	every   int64                    // only each such event is noted; the others are counted
}

// startReceivers starts them. Each every-th event is noted with its time of arrival.
func startReceivers(cert tls.Certificate, every int64) (*receivers, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	rc := &receivers{url: fmt.Sprintf("https://localhost:%d", l.Addr().(*net.TCPAddr).Port), seen: map[string]map[int64]int{}, arrived: map[int64]time.Time{}, every: every}
	rc.srv = &http.Server{Handler: rc, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	go rc.srv.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	return rc, nil
}

func (rc *receivers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/floor" {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<18))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	rc.note(r.URL.Path, body)
	w.WriteHeader(http.StatusAccepted)
}

// note counts a SET that came for a path.
func (rc *receivers) note(path string, set []byte) {
	at := time.Now()
	if n, ok := number(set); ok && n%rc.every == 0 {
		rc.mu.Lock()
		m := rc.seen[path]
		if m == nil {
			m = map[int64]int{}
			rc.seen[path] = m
		}
		m[n]++
		if _, ok := rc.arrived[n]; !ok {
			rc.arrived[n] = at
		}
		rc.mu.Unlock()
	}
	rc.count.Add(1)
}

// latencies fills r with the times from sent to the first arrival.
func (rc *receivers) latencies(sent map[int64]time.Time, r *Result) {
	var ends []float64
	rc.mu.Lock()
	for n, due := range sent {
		if at, ok := rc.arrived[n]; ok {
			ends = append(ends, float64(at.Sub(due).Microseconds())/1000)
		}
	}
	rc.mu.Unlock()
	slices.Sort(ends)
	r.P50, r.P99, r.Max = percentile(ends, .5), percentile(ends, .99), percentile(ends, 1)
}

// number reads N of "txn":"b-N." in the payload of a compact JWS.
func number(jws []byte) (int64, bool) {
	a := bytes.IndexByte(jws, '.')
	b := bytes.LastIndexByte(jws, '.')
	if a < 0 || b <= a {
		return 0, false
	}
	payload := make([]byte, base64.RawURLEncoding.DecodedLen(b-a-1))
	if _, err := base64.RawURLEncoding.Decode(payload, jws[a+1:b]); err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(payload), `"txn":"b-`)
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil
}

func (rc *receivers) close() { rc.srv.Close() }
