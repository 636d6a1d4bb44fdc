package transmitter_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"countersign/internal/req"
	"countersign/transmitter"
)

// counted is a receiver that counts connections and notes what it is asked.
func counted(t *testing.T, handle http.HandlerFunc) (srv *httptest.Server, opened *atomic.Int64) {
	opened = new(atomic.Int64)
	srv = httptest.NewUnstartedServer(handle)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, opened
}

// TestConnectionsAreKept sends with the usual transport: SETs in a row over one connection, a window over as many as it has.
func TestConnectionsAreKept(t *testing.T) {
	srv, opened := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Window = 4
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", srv.URL+"/in")
	running(t, x)
	for i := range 10 {
		send(t, x, fmt.Sprintf("u%d", i))
		eventually(t, "delivered", func() bool { return count(t, store, st).Delivered == int64(i+1) })
	}
	if n := opened.Load(); n > 3 {
		t.Errorf("ten SETs in a row took %d connections", n)
	}
	for i := range 500 {
		send(t, x, fmt.Sprintf("u%d", i))
	}
	eventually(t, "delivered", func() bool { return count(t, store, st).Delivered == 510 })
	if n := opened.Load(); n > 8 {
		t.Errorf("a window of 4 took %d connections", n)
	}
}

// TestNothingButThePushAddressIsAsked looks at every request that a receiver gets in the life of a stream.
func TestNothingButThePushAddressIsAsked(t *testing.T) {
	var wrong atomic.Int64
	var asked atomic.Int64
	srv, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.String() != "/in?tenant=7&x=%2F" || r.Header.Get("Accept") != "application/json" || r.Header["Authorization"] != nil {
			wrong.Add(1)
		}
		if asked.Add(1)%3 == 0 {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader([]int{500, 429, 503}[asked.Load()/3%3])
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", srv.URL+"/in?tenant=7&x=%2F")
	running(t, x)
	for i := range 8 {
		send(t, x, fmt.Sprintf("u%d", i))
	}
	eventually(t, "delivered", func() bool { return count(t, store, st).Delivered == 8 })
	if wrong.Load() != 0 {
		t.Errorf("%d of %d requests were something else", wrong.Load(), asked.Load())
	}
	req.Covers(t, "TX-161", "TX-164")
}
