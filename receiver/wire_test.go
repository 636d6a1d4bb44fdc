package receiver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/receiver"
	"countersign/stream"
)

// dial gives a raw connection to a server around the handler of b.
func dial(t *testing.T, b *bench, readTimeout time.Duration) net.Conn {
	t.Helper()
	server := httptest.NewUnstartedServer(b.handler)
	server.Config.ReadTimeout = readTimeout
	server.Start()
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func head(length int) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: rx\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", receiver.MediaType, length)
}

// A body that stalls ends with the server's ReadTimeout, and with an answer.
func TestStallingBody(t *testing.T) {
	b := newBench(t)
	conn := dial(t, b, 100*time.Millisecond)
	fmt.Fprint(conn, head(1000)+"eyJ")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	req.Covers(t, "P-128")
	if res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), stream.InvalidRequest) || !res.Close || len(b.kept) != 0 {
		t.Errorf("answer %d %s, close %v, kept %d", res.StatusCode, body, res.Close, len(b.kept))
	}
}

// Two requests in one packet get two answers, in order.
func TestPipelinedRequests(t *testing.T) {
	b := newBench(t)
	conn := dial(t, b, time.Minute)
	token := sign(t, claims())
	fmt.Fprint(conn, head(len(token))+token+head(3)+"abc"+head(len(token))+token)
	in := bufio.NewReader(conn)
	for i, want := range []int{202, 400, 202} {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("answer %d is %d %s, want %d", i, res.StatusCode, body, want)
		}
		if want == 202 && (res.ContentLength != 0 || len(body) != 0) {
			t.Errorf("answer %d has a body: %d %s", i, res.ContentLength, body)
		}
	}
}
