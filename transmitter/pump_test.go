package transmitter_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/set"
	"countersign/ssftest"
	"countersign/transmitter"
)

// push makes a transmitter that delivers to r, with one stream.
func push(t *testing.T, r *ssftest.Receiver, adjust func(*transmitter.Config)) (*transmitter.Transmitter, *transmitter.Memory, *transmitter.Stream) {
	t.Helper()
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	if adjust != nil {
		adjust(&cfg)
	}
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", r.URL)
	running(t, x)
	return x, store, st
}

func count(t testing.TB, s transmitter.Store, st *transmitter.Stream) transmitter.Counts {
	t.Helper()
	c, err := s.Counts(t.Context(), st.Key)
	if err != nil {
		t.Fatal(err)
	}
	c.Oldest = 0 // compared as a whole
	return c
}

// wire is a network that is none, for tests in a bubble: it notes what is pushed and answers as it is told.
type wire struct {
	// tell gives the answer to the n-th push of a jti, from 1; nil: 202 at once.
	tell func(d delivery, n int) (*http.Response, error)

	mu   sync.Mutex
	got  []delivery
	seen map[string]int
}

// delivery is one push.
type delivery struct {
	host, path, authorization string
	jti, kid, typ, who        string // who: the name in the email of the subject
	token                     string
	at                        time.Time
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	u, err := set.Parse(string(body))
	if err != nil {
		return nil, err
	}
	c := u.Claims()
	d := delivery{host: r.URL.Host, path: r.URL.Path, authorization: r.Header.Get("Authorization"), jti: c.ID, kid: u.Header().KeyID,
		typ: c.Events[0].Type, token: string(body), at: time.Now()}
	if _, email, ok := strings.Cut(string(c.SubID), `"email":"`); ok {
		d.who, _, _ = strings.Cut(email, "@")
	}
	w.mu.Lock()
	if w.seen == nil {
		w.seen = map[string]int{}
	}
	w.got = append(w.got, d)
	w.seen[d.jti]++
	n := w.seen[d.jti]
	w.mu.Unlock()
	if w.tell == nil {
		return answer(202), nil
	}
	return w.tell(d, n)
}

// pushes gives what came so far.
func (w *wire) pushes() []delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

// names gives about whom the pushes were.
func (w *wire) names() (out []string) {
	for _, d := range w.pushes() {
		out = append(out, d.who)
	}
	return out
}

// jtis gives the pushes by jti.
func (w *wire) jtis() (out []string) {
	for _, d := range w.pushes() {
		out = append(out, d.jti)
	}
	return out
}

// onWire makes a configuration that delivers over w.
func onWire(store transmitter.Store, w *wire) transmitter.Config {
	cfg := newConfig(store)
	cfg.Transport = w
	return cfg
}

// begin starts Run in a bubble, and returns what stops it and waits for it.
func begin(t *testing.T, x *transmitter.Transmitter) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// send sends a message about somebody and gives its jti on the only stream.
func send(t testing.TB, x *transmitter.Transmitter, who string) string {
	t.Helper()
	sent := mustSend(t, x, message(who))
	if len(sent.Queued) != 1 {
		t.Fatalf("queued on %d streams", len(sent.Queued))
	}
	return sent.Queued[0].JTI
}
