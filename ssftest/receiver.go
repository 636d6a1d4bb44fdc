package ssftest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"countersign/set"
)

// Receiver is an SSF Receiver for tests: it takes pushes over TLS, records them in order, and answers as it was told.
// It verifies nothing; the tokens are there to be looked at.
type Receiver struct {
	// URL is where to push to.
	URL string

	server *httptest.Server
	mu     sync.Mutex
	got    []Push
	script []Answer
	always *Answer
	more   chan struct{} // closed and replaced with each push
	busy   int
	most   int
	stop   chan struct{}
}

// Push is one request as it came.
type Push struct {
	Header http.Header
	Method string
	Path   string
	Token  string
	At     time.Time
	// Set is the token taken apart, and nil where it is none.
	Set *set.Unverified
}

// Answer says how the receiver answers a push. The zero value is 202 with an empty body.
type Answer struct {
	Status int           // 0: 202
	Err    string        // RFC 8935 err; with it goes a JSON body
	Text   string        // description
	Header http.Header   // added to the answer
	Delay  time.Duration // before the answer
	Hang   bool          // no answer until the caller gives up
	Reset  bool          // the connection is closed without an answer
	Body   io.Reader     // sent instead of the JSON body
}

// NewReceiver starts a Receiver. It ends with the test.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{more: make(chan struct{}), stop: make(chan struct{})}
	r.server = httptest.NewTLSServer(r)
	r.URL = r.server.URL + "/events"
	t.Cleanup(func() {
		close(r.stop)
		r.server.CloseClientConnections()
		r.server.Close()
	})
	return r
}

// Transport reaches this receiver and trusts its certificate.
func (r *Receiver) Transport() *http.Transport {
	tr := r.server.Client().Transport.(*http.Transport).Clone()
	tr.MaxIdleConnsPerHost = 64
	return tr
}

// Answer sets the answers to the next pushes, one each; then the answer of Always, or 202.
func (r *Receiver) Answer(a ...Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = append(r.script, a...)
}

// Always sets the answer to all pushes without one of their own.
func (r *Receiver) Always(a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.always = &a
}

// Pushes gives what came so far.
func (r *Receiver) Pushes() []Push {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Push(nil), r.got...)
}

// Wait waits until n pushes came and gives them. After ten seconds the test fails.
func (r *Receiver) Wait(t testing.TB, n int) []Push {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		got, more := append([]Push(nil), r.got...), r.more
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("%d pushes came, wanted %d", len(got), n)
		}
	}
}

// MostAtOnce says how many pushes were in flight at the same time at most.
func (r *Receiver) MostAtOnce() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// ServeHTTP takes one push.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	p := Push{Header: req.Header.Clone(), Method: req.Method, Path: req.URL.Path, Token: string(body), At: time.Now()}
	if u, err := set.Parse(p.Token); err == nil {
		p.Set = u
	}
	r.mu.Lock()
	r.got = append(r.got, p)
	r.busy++
	r.most = max(r.most, r.busy)
	var a Answer
	switch {
	case len(r.script) > 0:
		a, r.script = r.script[0], r.script[1:]
	case r.always != nil:
		a = *r.always
	}
	close(r.more)
	r.more = make(chan struct{})
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.busy--
		r.mu.Unlock()
	}()
	r.answer(w, req, a)
}

func (r *Receiver) answer(w http.ResponseWriter, req *http.Request, a Answer) {
	if a.Hang {
		select {
		case <-req.Context().Done():
		case <-r.stop:
		}
		return
	}
	if a.Delay > 0 {
		wait := time.NewTimer(a.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-req.Context().Done():
			return
		case <-r.stop:
			return
		}
	}
	if a.Reset {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	status := a.Status
	if status == 0 {
		status = http.StatusAccepted
	}
	switch {
	case a.Body != nil:
		w.WriteHeader(status)
		_, _ = io.Copy(w, a.Body)
	case a.Err != "":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Language", "en")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"err":"`+a.Err+`","description":"`+a.Text+`"}`)
	default:
		w.WriteHeader(status)
	}
}
