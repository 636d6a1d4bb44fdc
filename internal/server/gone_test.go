package server

import (
	"net/http"
	"strings"
	"testing"
)

// While the store takes nothing, each door says 503 and when to come again, and the health says so; nothing is answered
// as if it had been kept.
func TestStoreGone(t *testing.T) {
	w := newWorld(t)
	w.apply(docWiki + docRaw)
	w.applyAt("default", clientMany)
	token := w.tokenOf("default", "crm")
	src := w.srv.home().view.Load().sources["raw"]
	home := w.srv.PublicURL()
	if err := w.srv.store.Close(); err != nil {
		t.Fatal(err)
	}
	ask := func(method, address, token, media, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.Header.Set("Content-Type", media)
		resp, err := w.admin.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	set := w.sign("j1", `{"format":"email","email":"alice@example.test"}`, nil)
	for name, c := range map[string]struct{ method, address, token, media, body string }{
		"push":          {"POST", w.srv.receiveURL(src.state.ReceiveID), "", "application/secevent+jwt", set},
		"signal":        {"POST", w.srv.AdminURL() + "/api/v1/signals", w.token, "application/json", `{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"a@example.test"},"event":{"event_timestamp":1}}`},
		"make a stream": {"POST", home + "/ssf/streams", token, "application/json", `{"delivery":{"method":"urn:ietf:rfc:8936"}}`},
		"list":          {"GET", home + "/ssf/streams", token, "application/json", ""},
		"ready":         {"GET", w.srv.AdminURL() + "/readyz", "", "", ""},
	} {
		resp := ask(c.method, c.address, c.token, c.media, c.body)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, Retry-After %q", name, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	if resp := ask("GET", w.srv.AdminURL()+"/healthz", "", "", ""); resp.StatusCode != 200 {
		t.Errorf("the process lives: %d", resp.StatusCode)
	}
}
