package transmitter_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/transmitter"
)

// What a receiver writes about a person is kept with the dead letter and is in no log.
func TestLogsNameNobody(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		logged string
	}{
		"refused":                    {400, `{"err":"invalid_request","description":"no user alice@example.com"}`, "HTTP 400 invalid_request"},
		"refused with a sentence":    {400, `{"err":"alice@example.com is not here"}`, `"HTTP 400"`},
		"a fault of the set-up":      {401, `{"err":"alice@example.com is not here","description":"alice@example.com"}`, "the receiver answers 401: check"},
		"a fault that is tried anew": {503, `{"err":"busy","description":"busy with alice@example.com"}`, "HTTP 503 busy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				store := new(transmitter.Memory)
				cfg := onWire(store, &wire{tell: func(delivery, int) (*http.Response, error) {
					r := answer(c.status)
					r.Body = io.NopCloser(strings.NewReader(c.body))
					return r, nil
				}})
				cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
				x := newTransmitter(t, cfg)
				id := create(t, x, "token-a", createBody("https://r.example/in"))
				stop := begin(t, x)
				send(t, x, "alice")
				time.Sleep(time.Second)
				v := view(t, x, id)
				stop()
				if strings.Contains(log.String(), "alice") || !strings.Contains(log.String(), c.logged) {
					t.Errorf("logged:\n%s", log.String())
				}
				if !strings.Contains(v.Last.Reason, "alice") {
					t.Errorf("an operator who asks is told %+v", v.Last)
				}
			})
		})
	}
}
