package transmitter_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/req"
	"countersign/set"
	"countersign/transmitter"
)

const (
	olderPush = "https://schemas.openid.net/secevent/risc/delivery-method/push"
	olderPoll = "https://schemas.openid.net/secevent/risc/delivery-method/poll"
)

func legacy(t testing.TB, shape string) (*transmitter.Transmitter, *transmitter.Memory) {
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Legacy = []string{shape}
	cfg.Receipts = nil
	return newTransmitter(t, cfg), store
}

// asks sends a request to a legacy issuer and gives the answer as JSON.
func asks(t testing.TB, h http.Handler, method, path, body string, want int) map[string]any {
	t.Helper()
	r := do(h, call{method: method, path: "/t/blue/" + path, token: "token-a", body: body})
	got := text(t, r)
	if r.StatusCode != want {
		t.Fatalf("%s %s %s: %d %s", method, path, body, r.StatusCode, got)
	}
	var out map[string]any
	if got != "" {
		if err := json.Unmarshal([]byte(got), &out); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
	}
	return out
}

// olderEvent takes the one event out of a polled or pushed token, whose claims must have no sub_id.
func olderEvent(t testing.TB, token, typ string) map[string]any {
	t.Helper()
	u, err := set.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(u.Payload(), &c); err != nil {
		t.Fatal(err)
	}
	events, _ := c["events"].(map[string]any)
	e, ok := events[typ].(map[string]any)
	if !ok || c["sub_id"] != nil || c["sub"] != nil || c["exp"] != nil {
		t.Errorf("%s", u.Payload())
	}
	return e
}

func TestSSE(t *testing.T) {
	x, store := legacy(t, transmitter.ShapeSSE)
	for _, path := range []string{"/.well-known/sse-configuration/t/blue", "/t/blue/.well-known/sse-configuration"} {
		r := do(x, call{method: "GET", path: path})
		body := text(t, r)
		if r.StatusCode != 200 || strings.Contains(body, "spec_version") || strings.Contains(body, "default_subjects") || strings.Contains(body, "authorization_schemes") ||
			!strings.Contains(body, `"jwks_uri"`) || !strings.Contains(body, `"delivery_methods_supported":["`+olderPush+`","`+olderPoll+`"]`) {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
	if r := do(x, call{method: "GET", path: "/.well-known/ssf-configuration/t/blue"}); r.StatusCode != 404 {
		t.Errorf("SSF 1.0 is served beside it: %d", r.StatusCode)
	}
	req.Covers(t, "LEG-1", "LEG-2", "LEG-26")

	// One stream, which POST makes and replaces.
	asks(t, x, "GET", "ssf/streams", "", 404)
	asks(t, x, "GET", "ssf/status", "", 404)
	asks(t, x, "POST", "ssf/verify", `{"state":"x"}`, 404)
	asks(t, x, "DELETE", "ssf/streams", "", 404)
	asks(t, x, "PATCH", "ssf/streams", `{}`, 405)
	asks(t, x, "PUT", "ssf/streams", `{}`, 405)
	made := asks(t, x, "POST", "ssf/streams", `{"events_requested":["`+sessionRevoked+`"],"delivery":{"method":"`+olderPoll+`"}}`, 200)
	delivery, _ := made["delivery"].(map[string]any)
	id, _ := made["stream_id"].(string)
	if delivery["method"] != olderPoll || delivery["endpoint_url"] != "https://ssf.example/t/blue/ssf/streams/"+id+"/poll" || made["aud"] != "a" {
		t.Errorf("%v", made)
	}
	req.Covers(t, "LEG-16")
	asks(t, x, "POST", "ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8936"}}`, 400) // its names are the older ones
	read := asks(t, x, "GET", "ssf/streams", "", 200)
	if read["stream_id"] != id {
		t.Errorf("%v", read)
	}
	req.Covers(t, "LEG-3")
	replaced := asks(t, x, "POST", "ssf/streams", `{"delivery":{"delivery_method":"`+olderPush+`","url":"https://r.example/in"}}`, 200)
	delivery, _ = replaced["delivery"].(map[string]any)
	if replaced["stream_id"] != id || delivery["method"] != olderPush || delivery["endpoint_url"] != "https://r.example/in" || replaced["events_requested"] != nil {
		t.Errorf("%v", replaced)
	}
	if all, _ := store.Streams(t.Context(), "a"); len(all) != 1 || all[0].Shape != transmitter.ShapeSSE || all[0].Method != "urn:ietf:rfc:8935" {
		t.Errorf("%+v", all)
	}
	req.Covers(t, "LEG-4")
	asks(t, x, "POST", "ssf/streams", `{"delivery":{"method":"`+olderPoll+`"}}`, 200)

	if got := asks(t, x, "POST", "ssf/status", `{"status":"paused"}`, 200); got["status"] != "paused" {
		t.Errorf("%v", got)
	}
	asks(t, x, "POST", "ssf/status", `{"status":"off"}`, 400)
	if got := asks(t, x, "GET", "ssf/status", "", 200); got["status"] != "paused" {
		t.Errorf("%v", got)
	}
	asks(t, x, "POST", "ssf/status", `{"status":"enabled"}`, 200)
	asks(t, x, "POST", "ssf/status", `{"status":"disabled","subject":`+mail("alice")+`}`, 200)
	if sent := mustSend(t, x, message("alice")); len(sent.Queued) != 0 {
		t.Error("a disabled subject is sent")
	}
	asks(t, x, "POST", "ssf/status", `{"status":"paused","subject":`+mail("alice")+`}`, 400)
	asks(t, x, "POST", "ssf/status", `{"status":"enabled","subject":{}}`, 400)
	asks(t, x, "POST", "ssf/status", `{"status":"enabled","subject":`+mail("alice")+`}`, 200)
	mustSend(t, x, message("alice"))
	req.Covers(t, "LEG-6")

	asks(t, x, "POST", "ssf/verify", `{"state":"x-1"}`, 204)
	if _, err := x.SetStatus(t.Context(), id, "paused", "why"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.SetStatus(t.Context(), id, "enabled", ""); err != nil {
		t.Fatal(err)
	}
	p := poll(t, x, "token-a", id, `{`+at+`}`)
	if len(p.Sets) != 4 {
		t.Fatalf("%s", p.Text)
	}
	jtis := p.order()
	if e := olderEvent(t, p.Sets[jtis[0]], sessionRevoked); e["subject"] == nil {
		t.Errorf("%v", e)
	}
	if e := olderEvent(t, p.Sets[jtis[1]], "https://schemas.openid.net/secevent/sse/event-type/verification"); len(e) != 1 || e["state"] != "x-1" {
		t.Errorf("%v", e)
	}
	if e := olderEvent(t, p.Sets[jtis[2]], "https://schemas.openid.net/secevent/sse/event-type/stream-updated"); e["status"] != "paused" {
		t.Errorf("%v", e)
	}
	req.Covers(t, "LEG-7", "LEG-8", "LEG-10", "LEG-15")
	// A state that the receiver did not ask for is refused in the words of that draft.
	poll(t, x, "token-a", id, `{"maxEvents":0,"setErrs":{"`+jtis[1]+`":{"err":"setData","description":"unknown state"}}}`)
	st, _ := store.Stream(t.Context(), "a", id)
	if dead, _ := store.Dead(t.Context(), st.Key, 9); len(dead) != 1 || !strings.HasPrefix(dead[0].Reason, "setData") {
		t.Errorf("%+v", dead)
	}
	req.Covers(t, "LEG-9")

	if r := do(x, call{method: "DELETE", path: "/t/blue/ssf/streams", token: "token-a"}); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	asks(t, x, "GET", "ssf/streams", "", 404)
	req.Covers(t, "LEG-5")
	asks(t, x, "POST", "ssf/subjects/add", `{"subject":`+mail("alice")+`}`, 404)
	asks(t, x, "POST", "ssf/streams", `{"delivery":{"method":"`+olderPoll+`"}}`, 200)
	asks(t, x, "POST", "ssf/subjects/add", `{"subject":`+mail("alice")+`}`, 200)
}

// appleCreate is a create request as Apple sends it.
const appleCreate = `{"iss":"https://ssf.example/t/blue/","aud":["https://federation.apple.example/feeds/business/caep/1/2"],"format":"iss_sub",
	"delivery":{"method":"` + olderPush + `","endpoint_url":"https://federation.apple.example/feeds/1","authorization_header":"Bearer z"},
	"events_requested":["` + sessionRevoked + `","` + credentialChange + `"]}`

func TestApple(t *testing.T) {
	x, store := legacy(t, transmitter.ShapeApple)
	for _, path := range []string{"/.well-known/ssf-configuration/t/blue", "/t/blue/.well-known/ssf-configuration", "/.well-known/sse-configuration/t/blue"} {
		body := text(t, do(x, call{method: "GET", path: path}))
		if strings.Contains(body, "spec_version") || !strings.Contains(body, `"urn:ietf:rfc:8935"`) || !strings.Contains(body, olderPush) {
			t.Errorf("%s: %s", path, body)
		}
	}
	req.Covers(t, "LEG-20", "LEG-26", "P-106", "P-107")
	made := asks(t, x, "POST", "ssf/streams", appleCreate, 201)
	id, _ := made["stream_id"].(string)
	delivery, _ := made["delivery"].(map[string]any)
	if made["aud"] != "https://federation.apple.example/feeds/business/caep/1/2" || made["format"] != "iss_sub" || delivery["method"] != olderPush ||
		delivery["endpoint_url"] != "https://federation.apple.example/feeds/1" || len(made["events_delivered"].([]any)) != 2 {
		t.Errorf("%v", made)
	}
	if st, _ := store.Stream(t.Context(), "a", id); st.Authorization != "Bearer z" || st.Format != "iss_sub" || !slices.Equal(st.Audience, []string{"https://federation.apple.example/feeds/business/caep/1/2"}) {
		t.Errorf("%+v", st)
	}
	req.Covers(t, "LEG-20", "LEG-21", "LEG-22")
	// No stream_id is needed, but one that is given must be right.
	if got := asks(t, x, "GET", "ssf/status", "", 200); got["status"] != "enabled" || got["stream_id"] != id {
		t.Errorf("%v", got)
	}
	asks(t, x, "POST", "ssf/verify", `{}`, 204)
	asks(t, x, "GET", "ssf/status?stream_id=other", "", 404)
	asks(t, x, "DELETE", "ssf/streams", `{"stream_id":"other"}`, 404)
	// The same once more replaces, another aud makes another stream.
	if again := asks(t, x, "POST", "ssf/streams", appleCreate, 200); again["stream_id"] != id {
		t.Errorf("%v", again)
	}
	moved := asks(t, x, "POST", "ssf/streams", strings.Replace(appleCreate, "caep/1/2", "caep/1/3", 1), 201)
	if moved["stream_id"] == id || moved["aud"] != "https://federation.apple.example/feeds/business/caep/1/3" {
		t.Errorf("%v", moved)
	}
	if all, _ := store.Streams(t.Context(), "a"); len(all) != 1 {
		t.Errorf("%d streams", len(all))
	}
	for name, body := range map[string]string{
		"format number": strings.Replace(appleCreate, `"iss_sub"`, `1`, 1),
		"empty aud":     strings.Replace(appleCreate, `https://federation.apple.example/feeds/business/caep/1/2`, ``, 1),
		"long aud":      strings.Replace(appleCreate, `caep/1/2`, strings.Repeat("x", 1100), 1),
	} {
		asks(t, x, "POST", "ssf/streams", body, 400)
		if all, _ := store.Streams(t.Context(), "a"); len(all) != 1 || all[0].Audience[0] != "https://federation.apple.example/feeds/business/caep/1/3" {
			t.Errorf("%s: %+v", name, all)
		}
	}
	asks(t, x, "DELETE", "ssf/streams", `{"stream_id":"`+moved["stream_id"].(string)+`"}`, 204)
	asks(t, x, "DELETE", "ssf/streams", "", 404)
	req.Covers(t, "LEG-23", "P-107")
}

// The receiver waits for a verification event that nobody asked for, a few seconds after the 201.
func TestAppleIsGreeted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(transmitter.Memory)
		cfg := newConfig(store)
		cfg.Legacy, cfg.Receipts = []string{transmitter.ShapeApple}, nil
		var mu sync.Mutex
		var all []string
		pushed := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, string(body))
			return answer(202), nil
		})
		x := newTransmitter(t, cfg)
		defer running(t, x)()
		asks(t, x, "POST", "ssf/streams", appleCreate, 201)
		time.Sleep(time.Second)
		if n := len(pushed()); n != 0 {
			t.Errorf("sent at once: %d", n)
		}
		time.Sleep(4 * time.Second)
		if n := len(pushed()); n != 1 {
			t.Fatalf("%d were pushed", n)
		}
		if e := olderEvent(t, pushed()[0], verificationURI); e["state"] != nil || e["subject"] == nil {
			t.Errorf("%v", e)
		}
		req.Covers(t, "LEG-24")
		mustSend(t, x, message("alice"))
		e := olderEvent(t, pushed()[1], sessionRevoked)
		if user, _ := e["subject"].(map[string]any)["user"].(map[string]any); user["email"] != "alice@example.com" {
			t.Errorf("%v", e)
		}
		req.Covers(t, "LEG-25")
	})
}

func TestLegacyIsKnown(t *testing.T) {
	for _, name := range []string{"", "morse"} {
		cfg := newConfig(new(transmitter.Memory))
		cfg.Legacy = []string{name}
		if _, err := transmitter.New(cfg); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// What an older receiver may do, one of SSF 1.0 may not: its metadata, aud and ids are as the final text has them.
func TestFinalIsNotLegacy(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	if r := do(x, call{method: "GET", path: "/.well-known/sse-configuration/t/blue"}); r.StatusCode != 404 {
		t.Errorf("%d", r.StatusCode)
	}
	asks(t, x, "POST", "ssf/streams", appleCreate, 400)
	made := asks(t, x, "POST", "ssf/streams", `{"aud":"https://mine.example","iss":"https://mine.example","format":"iss_sub","stream_id":"mine"}`, 201)
	if made["aud"] == "https://mine.example" || made["iss"] != issuer || made["format"] != nil || made["stream_id"] == "mine" {
		t.Errorf("%v", made)
	}
	asks(t, x, "DELETE", "ssf/streams", `{"stream_id":"`+made["stream_id"].(string)+`"}`, 400)
	asks(t, x, "GET", "ssf/status", "", 400)
	asks(t, x, "POST", "ssf/verify", `{}`, 400)
	asks(t, x, "POST", "ssf/subjects/add", `{"subject":`+mail("alice")+`}`, 400)
	req.Covers(t, "TX-44", "TX-45", "TX-46", "TX-69", "TX-96", "LEG-26", "P-107")
}
