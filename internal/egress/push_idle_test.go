package egress

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Hosts that nobody comes back to do not keep their connections for ever.
func TestIdleConnectionsEnd(t *testing.T) {
	l := newLean(Config{})
	now := time.Now()
	var ends []net.Conn
	put := func(key string, used time.Time) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		ends = append(ends, theirs)
		l.idle[key] = append(l.idle[key], &leanConn{Conn: ours, key: key, used: used})
	}
	put("https left.example", now.Add(-2*leanIdle))
	put("https kept.example", now.Add(-2*leanIdle))
	put("https kept.example", now.Add(-time.Second))
	l.sweep(now)
	if len(l.idle) != 1 || len(l.idle["https kept.example"]) != 1 {
		t.Errorf("%d hosts, %d connections of the one in use", len(l.idle), len(l.idle["https kept.example"]))
	}
	for i, want := range []bool{true, true, false} {
		ends[i].SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := ends[i].Read(make([]byte, 1))
		if closed := errors.Is(err, io.EOF); closed != want {
			t.Errorf("connection %d: closed %v, want %v", i, closed, want)
		}
	}
	put("https late.example", now.Add(-2*leanIdle))
	if l.sweep(now.Add(time.Second)); len(l.idle) != 2 {
		t.Error("it looks at every request")
	}
}
