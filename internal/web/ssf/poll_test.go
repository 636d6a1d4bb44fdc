package ssf

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Polls that wait take no place from anything else, and are bounded by themselves.
func TestPollsHaveTheirOwnPlaces(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	d := New(Config{InFlight: 1, Polls: 1, Streams: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			held <- struct{}{}
			<-release
		}
	})})
	ask := func(method, path string) int {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code
	}
	done := make(chan int)
	go func() { done <- ask("POST", "/ssf/streams/a/poll") }()
	<-held
	if code := ask("GET", "/ssf/streams"); code != 200 {
		t.Errorf("beside a poll that waits: %d", code)
	}
	if code := ask("POST", "/t/acme/ssf/streams/b/poll"); code != 503 {
		t.Errorf("a poll too many: %d", code)
	}
	close(release)
	if code := <-done; code != 200 {
		t.Errorf("the poll: %d", code)
	}
}
