package transmitter_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/transmitter"
)

func TestStatus(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", createBody("https://r.example/in"))
	set := func(body string) string {
		r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: body})
		if r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, text(t, r))
		}
		return text(t, r)
	}
	get := func() string {
		return text(t, do(x, call{method: "GET", path: "/t/blue/ssf/status?stream_id=" + id, token: "read-a"}))
	}
	if got := get(); got != `{"stream_id":"`+id+`","status":"enabled"}` {
		t.Errorf("%s", got)
	}
	if got := set(`{"stream_id":"` + id + `","status":"paused","reason":"upgrade"}`); got != `{"stream_id":"`+id+`","status":"paused","reason":"upgrade"}` || got != get() {
		t.Errorf("%s and %s", got, get())
	}
	req.Covers(t, "TX-97", "TX-98", "TX-100", "TX-101", "IOP-8", "IOP-9", "IOP-17", "P-35")

	st, _ := store.Stream(t.Context(), "a", id)
	mustSend(t, x, message("alice"))
	if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 1 {
		t.Errorf("paused: %d rows are held", len(items))
	}
	req.Covers(t, "TX-104", "P-33")
	set(`{"stream_id":"` + id + `","status":"disabled"}`)
	if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 0 {
		t.Errorf("disabled: %d rows are held", len(items))
	}
	if sent := mustSend(t, x, message("alice")); len(sent.Queued) != 0 {
		t.Error("something was queued on a disabled stream")
	}
	r := do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `"}`})
	if r.StatusCode != 400 {
		t.Errorf("verification of a disabled stream: %d", r.StatusCode)
	}
	req.Covers(t, "TX-106", "TX-133")
	set(`{"stream_id":"` + id + `","status":"enabled"}`)
	req.Covers(t, "P-31")
}

func TestVerificationInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.MinVerification = 30 * time.Second
		x := newTransmitter(t, cfg)
		id, other := create(t, x, "token-a", createBody("https://r.example/in")), create(t, x, "token-a", createBody("https://r.example/in"))
		verify := func(id string) *http.Response {
			return do(x, call{method: "POST", path: "/t/blue/ssf/verify", token: "token-a", body: `{"stream_id":"` + id + `","state":"VGhpcyBpcyBhbiBleGFtcGxl"}`})
		}
		if r := verify(id); r.StatusCode != 204 || text(t, r) != "" {
			t.Fatalf("first: %d", r.StatusCode)
		}
		time.Sleep(20 * time.Second)
		if r := verify(id); r.StatusCode != 429 || r.Header.Get("Retry-After") != "10" {
			t.Errorf("too soon: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
		}
		if r := verify(other); r.StatusCode != 204 {
			t.Errorf("another stream: %d", r.StatusCode)
		}
		time.Sleep(10 * time.Second)
		if r := verify(id); r.StatusCode != 204 {
			t.Errorf("after the interval: %d", r.StatusCode)
		}
		st, _ := store.Stream(t.Context(), "a", id)
		if items, _ := store.Next(t.Context(), st.Key, 0, 10); len(items) != 2 {
			t.Errorf("%d verification events wait", len(items))
		}
		req.Covers(t, "TX-51", "TX-123", "TX-125", "TX-131", "P-72")
	})
}
