package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// floors collects slices of the machine's own rates, taken between slices of load.
type floors struct {
	sign    []float64
	signCPU []float64 // CPU microseconds of one signature
	http    []float64
	fsync   float64
	key     crypto.Signer
	push    func() error
}

func newFloors(alg, dir, pushURL string, roots *x509.CertPool) (*floors, error) {
	f := new(floors)
	var err error
	switch alg {
	case "RS256", "":
		f.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, f.key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("bench signs with RS256, ES256 or EdDSA, not %q", alg)
	}
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: false, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, Timeout: 10 * time.Second}
	body := strings.Repeat("e", 1200)
	f.push = func() error {
		req, err := http.NewRequest(http.MethodPost, pushURL, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/secevent+jwt")
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	f.fsync, err = fsyncP50(dir)
	return f, err
}

// slice takes one slice of both floors.
func (f *floors) slice(d time.Duration) error {
	digest := sha256.Sum256([]byte(strings.Repeat("x", 1100)))
	before := cpuSelf()
	n := spin(d, runtime.GOMAXPROCS(0), func() error {
		if k, ok := f.key.(ed25519.PrivateKey); ok {
			ed25519.Sign(k, digest[:])
			return nil
		}
		_, err := f.key.Sign(rand.Reader, digest[:], crypto.SHA256)
		return err
	})
	f.signCPU = append(f.signCPU, float64((cpuSelf()-before).Microseconds())/float64(max(n, 1)))
	f.sign = append(f.sign, float64(n)/d.Seconds())
	n = spin(d, 64, f.push)
	if n == 0 {
		return fmt.Errorf("not one bare push succeeded")
	}
	f.http = append(f.http, float64(n)/d.Seconds())
	return nil
}

func (f *floors) fill(r *Result) {
	r.SignFloor, r.HTTPFloor, r.FsyncP50 = round(median(f.sign), 0), round(median(f.http), 0), round(f.fsync, 3)
}

// spin runs fn in n goroutines for d and gives how often it succeeded.
func spin(d time.Duration, n int, fn func() error) int64 {
	var count atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range n {
		wg.Go(func() {
			for time.Now().Before(end) {
				if fn() == nil {
					count.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return count.Load()
}

func cpuSelf() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fsyncP50 writes and syncs 4 KiB a hundred times in dir; milliseconds.
func fsyncP50(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "fsync.probe"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	var times []float64
	for i := range 100 {
		start := time.Now()
		if _, err := f.WriteAt(block, int64(i)*4096); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(start).Microseconds())/1000)
	}
	return median(times), nil
}
