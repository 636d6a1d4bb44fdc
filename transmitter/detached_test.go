package transmitter_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

// askHeld sends a poll over a connection of its own, and gives the connection.
func askHeld(t *testing.T, addr, id string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST /t/blue/ssf/streams/%s/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-a\r\nContent-Length: 2\r\n\r\n{}", id); err != nil {
		t.Fatal(err)
	}
	return c
}

// A held poll on a plain connection is off its server: it is answered whole and its connection ends; it is not held for a client
// that left or that sends more; and the end of the transmitter answers it.
func TestHeldPollOffItsServer(t *testing.T) {
	cfg := newConfig(new(transmitter.Memory))
	x, srv := serve(t, cfg, nil)
	id, addr := create(t, x, "token-a", pollBody), srv.Listener.Addr().String()
	answered := func(c net.Conn) string {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("the connection goes on: %v", err)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s %q, want %q", name, got, want)
			}
		}
		if !resp.Close || resp.Header.Get("Date") == "" || resp.ContentLength != int64(len(body)) {
			t.Errorf("close %v, date %q, length %d of %d", resp.Close, resp.Header.Get("Date"), resp.ContentLength, len(body))
		}
		return resp.Status + " " + string(body)
	}
	parked := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " held"), func() bool { return transmitter.Parked(x) == n })
	}

	c := askHeld(t, addr, id)
	parked(1)
	jti := mustSend(t, x, message("alice")).Queued[0].JTI
	if got := answered(c); !strings.HasPrefix(got, `200 OK {"sets":{"`+jti+`":"`) {
		t.Errorf("%s", got)
	}
	if got := poll(t, x, "token-a", id, `{`+ackOf(jti)+`,"returnImmediately":true}`); got.Text != `{"sets":{}}` {
		t.Fatal(got.Text)
	}

	c = askHeld(t, addr, id)
	parked(1)
	c.Close()
	parked(0)

	c = askHeld(t, addr, id)
	parked(1)
	if _, err := c.Write([]byte("POST / HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	parked(0)

	if err := x.RemoveStream(t.Context(), create(t, x, "token-b", pollBody)); err != nil { // somebody else's stream wakes nobody
		t.Fatal(err)
	}
	c = askHeld(t, addr, id)
	parked(1)
	if err := x.RemoveStream(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := answered(c); !strings.HasPrefix(got, "404 ") {
		t.Errorf("after the stream was removed: %s", got)
	}
	req.Covers(t, "TX-179", "TX-190")
}
