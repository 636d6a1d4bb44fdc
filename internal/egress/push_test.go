package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pusher is a client over Push that may call loopback over http.
func pusher(t *testing.T, cfg Config) *http.Client {
	t.Helper()
	cfg.Dev = true
	cfg.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c := &http.Client{Transport: Push(cfg)}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func post(c *http.Client, url, body string) (status int, text string, err error) {
	resp, err := c.Post(url, "application/secevent+jwt", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// raw serves each connection with one function, outside of net/http.
func raw(t *testing.T, serve func(conn net.Conn, n int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); serve(conn, n) }()
		}
	}()
	return "http://" + l.Addr().String()
}

func readRequest(t *testing.T, r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestPushKeepsItsConnection(t *testing.T) {
	var opened atomic.Int32
	for name, answer := range map[string]func(w http.ResponseWriter){
		"no body":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		"a body":    func(w http.ResponseWriter) { http.Error(w, `{"err":"invalid_request"}`, http.StatusBadRequest) },
		"in chunks": func(w http.ResponseWriter) { fmt.Fprint(w, "a"); w.(http.Flusher).Flush(); fmt.Fprint(w, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			opened.Store(0)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); string(b) != "a token" || r.ContentLength != 7 {
					t.Errorf("the body %q of length %d", b, r.ContentLength)
				}
				answer(w)
			}))
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					opened.Add(1)
				}
			}
			srv.Start()
			defer srv.Close()
			c := pusher(t, Config{})
			for range 5 {
				if status, _, err := post(c, srv.URL, "a token"); err != nil || status == 0 {
					t.Fatal(status, err)
				}
			}
			if n := opened.Load(); n != 1 {
				t.Errorf("%d connections for five requests, want 1", n)
			}
		})
	}
}

func TestPushOverTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if status, _, err := post(pusher(t, Config{RootCAs: roots}), srv.URL, "x"); err != nil || status != http.StatusAccepted {
		t.Errorf("%d, %v", status, err)
	}
	if _, _, err := post(pusher(t, Config{}), srv.URL, "x"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody we know: %v", err)
	}
}

// A connection that was closed while idle costs one more try, on a fresh one, and no error.
func TestPushAfterTheOtherSideClosed(t *testing.T) {
	var bodies atomic.Int32
	closed := make(chan struct{}, 1)
	url := raw(t, func(conn net.Conn, n int) {
		r := bufio.NewReader(conn)
		if readRequest(t, r) == "x" {
			bodies.Add(1)
		}
		fmt.Fprint(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
		conn.Close() // without having said so
		closed <- struct{}{}
	})
	c := pusher(t, Config{})
	for i := range 3 {
		if status, _, err := post(c, url, "x"); err != nil || status != http.StatusAccepted {
			t.Fatalf("request %d: %d, %v", i+1, status, err)
		}
		<-closed
	}
	if n := bodies.Load(); n != 3 {
		t.Errorf("%d bodies arrived for 3 requests", n)
	}
}

// Where a part of an answer was seen the request is not sent again, and on a fresh connection neither.
func TestPushDoesNotRepeat(t *testing.T) {
	for name, answer := range map[string]string{"half an answer": "HTTP/1.1 20", "none": ""} {
		t.Run(name, func(t *testing.T) {
			var got atomic.Int32
			url := raw(t, func(conn net.Conn, n int) {
				readRequest(t, bufio.NewReader(conn))
				got.Add(1)
				fmt.Fprint(conn, answer)
			})
			if status, _, err := post(pusher(t, Config{}), url, "x"); err == nil {
				t.Errorf("answered %d", status)
			}
			if n := got.Load(); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

func TestPushHostileAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		status int
		words  string
	}{
		"a header without end": {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("y", 1000)+"\r\n", 80), 0, "header of the answer is too large"},
		"no HTTP":              {"SSH-2.0-OpenSSH\r\n\r\n", 0, "malformed"},
		"nothing but 1xx":      {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9), 0, "does not come to an answer"},
		"1xx, then an answer":  {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202, ""},
		"another protocol":     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 0, "switch protocols"},
		"a redirect":           {"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 307, ""},
		"two answers":          {"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 202, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url := raw(t, func(conn net.Conn, _ int) {
				r := bufio.NewReader(conn)
				for readRequest(t, r) != "" {
					fmt.Fprint(conn, c.answer)
				}
			})
			l := Push(Config{Dev: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			client := &http.Client{Transport: l, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			for range 2 { // what stood behind the first answer must not be taken for the second
				status, _, err := post(client, url, "x")
				if status != c.status || (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
					t.Errorf("%d, %v; want %d, %q", status, err, c.status, c.words)
				}
			}
		})
	}
}

func TestPushEndsInTime(t *testing.T) {
	url := raw(t, func(conn net.Conn, _ int) { io.Copy(io.Discard, conn) })
	if _, _, err := post(pusher(t, Config{ResponseTimeout: 50 * time.Millisecond}), url, "x"); !errors.Is(err, context.DeadlineExceeded) && (err == nil || !strings.Contains(err.Error(), "timeout")) {
		t.Errorf("no answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := pusher(t, Config{}).Do(req)
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("a canceled push does not end")
	}
}

func TestPushIsGuarded(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if _, _, err := post(&http.Client{Transport: Push(Config{Dev: false})}, srv.URL, "x"); !errors.Is(err, ErrRefused) {
		t.Errorf("http: %v", err)
	}
	if _, _, err := post(&http.Client{Transport: Push(Config{})}, "https://127.0.0.1:9/", "x"); !errors.Is(err, ErrRefused) {
		t.Errorf("loopback: %v", err)
	}
}
