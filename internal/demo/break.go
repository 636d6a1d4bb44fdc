package demo

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Breaks are what can go wrong on purpose. Each is noticed, shown, and makes the result not ok.
var Breaks = map[string]string{
	"app-down":       "the wiki's administrator API answers 500",
	"forged-receipt": "a proxy before the receipt endpoint alters the receipt",
	"wrong-person":   "the wiki ends Bob's session too",
}

// forger is a proxy in front of the identity provider that makes each receipt say something else.
type forger struct {
	mu      sync.Mutex
	answers []string
}

func (f *forger) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !receiptPath(r) {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			http.Error(w, "the proxy could not read the receipt", http.StatusBadGateway)
			return
		}
		altered := alter(body)
		r = r.Clone(r.Context())
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(altered)), int64(len(altered))
		r.Header.Set("Content-Length", strconv.Itoa(len(altered)))
		rec := &recorder{header: http.Header{}, code: http.StatusOK}
		next.ServeHTTP(rec, r)
		f.mu.Lock()
		f.answers = append(f.answers, strconv.Itoa(rec.code)+" "+strings.TrimSpace(rec.body.String()))
		f.mu.Unlock()
		for k, v := range rec.header {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.code)
		w.Write(rec.body.Bytes())
	})
}

// alter makes a receipt admit one attempt more than there was, and leaves the signature as it is.
func alter(jws []byte) []byte {
	parts := bytes.Split(jws, []byte("."))
	if len(parts) != 3 {
		return jws
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return jws
	}
	payload = bytes.Replace(payload, []byte(`"attempts":1`), []byte(`"attempts":2`), 1)
	parts[1] = []byte(base64.RawURLEncoding.EncodeToString(payload))
	return bytes.Join(parts, []byte("."))
}

// refusal gives the first answer to a forged receipt, and whether there was one.
func (f *forger) refusal() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.answers) == 0 {
		return "", false
	}
	return f.answers[0], true
}

// recorder holds an answer back until the proxy has read it.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(code int)        { r.code = code }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
