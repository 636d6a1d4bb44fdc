package transmitter_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

// serve mounts a transmitter on a plain HTTP server on loopback.
func serve(t testing.TB, cfg transmitter.Config, adjust func(*http.Server)) (*transmitter.Transmitter, *httptest.Server) {
	t.Helper()
	var x *transmitter.Transmitter
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { x.ServeHTTP(w, r) }))
	if adjust != nil {
		adjust(srv.Config)
	}
	cfg.Issuer, cfg.InsecureHTTP = "http://"+srv.Listener.Addr().String()+"/t/blue", true
	x = newTransmitter(t, cfg)
	running(t, x)
	srv.Start()
	t.Cleanup(srv.Close)
	return x, srv
}

// A held poll outlasts the time limits that a server has for other requests, and they hold again for what comes after.
func TestHeldPollOutlastsTheServer(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	cfg.PollWait = 1200 * time.Millisecond
	x, srv := serve(t, cfg, func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = 300*time.Millisecond, 400*time.Millisecond })
	id := create(t, x, "token-a", pollBody)
	ask := func(body string) string {
		r, err := http.NewRequest("POST", srv.URL+"/t/blue/ssf/streams/"+id+"/poll", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer token-a")
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Status + " " + string(text)
	}
	for range 2 {
		begun := time.Now()
		if got := ask(`{}`); got != `200 OK {"sets":{}}` || time.Since(begun) < time.Second {
			t.Errorf("%s after %v", got, time.Since(begun))
		}
	}
	if got := ask(`{"returnImmediately":true}`); got != `200 OK {"sets":{}}` {
		t.Errorf("%s", got)
	}
	req.Covers(t, "TX-179", "P-98", "P-128")
}

// A thousand held polls cost little memory, and one event wakes them all.
func TestThousandHeldPolls(t *testing.T) {
	const polls = 1000
	store := new(transmitter.Memory)
	x, srv := serve(t, newConfig(store), nil)
	ids := make([]string, polls)
	for i := range ids {
		st := &transmitter.Stream{ID: fmt.Sprint("str_", i), Receiver: "a", Audience: []string{fmt.Sprint("urn:", i)}, Delivered: []string{sessionRevoked},
			Method: "urn:ietf:rfc:8936", Status: transmitter.Enabled}
		if err := store.CreateStream(t.Context(), st, 0); err != nil {
			t.Fatal(err)
		}
		ids[i] = st.ID
	}
	if err := x.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	memory := func() (heap, stacks uint64) {
		var m runtime.MemStats
		for range 3 { // stacks shrink by half each time
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapInuse, m.StackInuse
	}
	heap, stacks := memory()
	conns := make([]net.Conn, polls)
	for i := range conns {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /t/blue/ssf/streams/%s/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 2\r\n\r\n{}", ids[i]); err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	eventually(t, "all polls are held", func() bool { return transmitter.Parked(x) == polls })
	heapNow, stacksNow := memory()
	heapEach, stackEach := (heapNow-heap)/polls, (stacksNow-stacks)/polls
	t.Logf("%d + %d octets for each held poll, the client's side included", heapEach, stackEach)
	if heapEach+stackEach > heldPollBytes {
		t.Errorf("%d + %d octets for each held poll", heapEach, stackEach)
	}
	begun := time.Now()
	if n := len(mustSend(t, x, message("alice")).Queued); n != polls {
		t.Fatalf("%d queued", n)
	}
	for i, c := range conns {
		_ = c.SetReadDeadline(begun.Add(10 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(string(body), `{"sets":{"`) {
			t.Fatalf("poll %d: %d %s %v", i, resp.StatusCode, body, err)
		}
	}
	t.Logf("all answered after %v", time.Since(begun))
}

// stalled is a body whose rest does not come until it is let go.
type stalled struct {
	io.Reader
	stalls, rest chan struct{}
}

func (s *stalled) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err == io.EOF {
		s.stalls <- struct{}{}
		<-s.rest
	}
	return n, err
}

// Large bodies that stall keep other large ones out, which are told to come again, and no small ones.
func TestLargePollsThatStall(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	large := `{"maxEvents":0,"ack":["` + strings.Repeat("a", 100_000) + `"]}`
	send := func(body io.Reader, length int64) *http.Response {
		r := httptest.NewRequest("POST", "https://ssf.example/t/blue/ssf/streams/"+id+"/poll", body)
		r.ContentLength = length
		r.Header.Set("Authorization", "Bearer token-a")
		w := httptest.NewRecorder()
		x.ServeHTTP(w, r)
		return w.Result()
	}
	stalls, rest := make(chan struct{}), make(chan struct{})
	var ended sync.WaitGroup
	for range 4 {
		ended.Go(func() {
			if r := send(&stalled{strings.NewReader(large), stalls, rest}, -1); r.StatusCode != 200 {
				t.Errorf("a large poll: %d", r.StatusCode)
			}
		})
		<-stalls
	}
	if r := send(strings.NewReader(large), int64(len(large))); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("a large poll: %d", r.StatusCode)
	}
	if r := send(strings.NewReader(`{"maxEvents":0}`), -1); r.StatusCode != 200 {
		t.Errorf("a small poll: %d", r.StatusCode)
	}
	close(rest)
	ended.Wait()
	if r := send(strings.NewReader(large), -1); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
	req.Covers(t, "P-128")
}
