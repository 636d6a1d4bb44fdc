package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// The transmitter plan of the conformance suite, step by step, against shipped defaults: what is good, what is garbage, and
// what comes without a token that is worth anything.
func TestTransmitterPlan(t *testing.T) {
	for _, delivery := range []string{"push", "poll"} {
		t.Run(delivery, func(t *testing.T) {
			w := newWorld(t)
			w.applyAt("default", clientMany)
			token, home := w.tokenOf("default", "crm"), w.srv.PublicURL()
			var mu sync.Mutex
			var pushes []http.Header
			var pushed []string
			door := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				body := readAll(r)
				mu.Lock()
				defer mu.Unlock()
				pushes, pushed = append(pushes, r.Header.Clone()), append(pushed, body)
				rw.WriteHeader(202)
			}))
			door.TLS = tlsOf(w.leaf("receiver"))
			door.StartTLS()
			defer door.Close()

			md := w.document(home + "/.well-known/ssf-configuration")
			at := func(name string) string {
				address, _ := md[name].(string)
				if address == "" {
					t.Fatalf("the metadata has no %s", name)
				}
				return address
			}
			streams, status, verify := at("configuration_endpoint"), at("status_endpoint"), at("verification_endpoint")
			step := func(method, address, token, body string, want ...int) []byte {
				t.Helper()
				got, out := w.ask(method, address, token, body)
				if !slices.Contains(want, got) {
					t.Errorf("%s %s with %.60s: %d %s, want %v", method, strings.TrimPrefix(address, home), body, got, out, want)
				}
				return out
			}
			const bad, garbage = "a-token-that-nobody-gave", `{"delivery":`
			good := `{"delivery":{"method":"urn:ietf:rfc:8936"},"events_requested":["` + sessionRevoked + `"]}`
			if delivery == "push" {
				good = `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"` + door.URL + `/events"},"events_requested":["` + sessionRevoked + `"]}`
			}
			step("POST", streams, bad, good, 401)
			step("POST", streams, token, garbage, 400)
			var made stream.Configuration
			if err := json.Unmarshal(step("POST", streams, token, good, 201), &made); err != nil || made.StreamID == "" {
				t.Fatalf("%+v, %v", made, err)
			}
			one, none := streams+"?stream_id="+made.StreamID, streams+"?stream_id=of-nobody"
			if again := step("POST", streams, token, good, 201, 409); strings.Contains(string(again), `"stream_id"`) {
				var second stream.Configuration
				if err := json.Unmarshal(again, &second); err != nil || second.StreamID == made.StreamID {
					t.Errorf("a second stream %+v, %v", second, err)
				}
				step("DELETE", streams+"?stream_id="+second.StreamID, token, "", 204)
			}
			step("GET", one, token, "", 200)
			step("GET", one, bad, "", 401)
			step("GET", none, token, "", 404)

			change := func(id, text string) string { return fmt.Sprintf(`{"stream_id":%q,"description":%q}`, id, text) }
			if out := step("PATCH", streams, token, change(made.StreamID, "updated"), 200); !strings.Contains(string(out), `"updated"`) {
				t.Errorf("updated: %s", out)
			}
			step("PATCH", streams, token, garbage, 400)
			step("PATCH", streams, bad, change(made.StreamID, "x"), 401, 400)
			step("PATCH", streams, token, change("of-nobody", "x"), 404)
			whole := strings.Replace(good, "{", fmt.Sprintf(`{"stream_id":%q,"description":"replaced",`, made.StreamID), 1)
			if out := step("PUT", streams, token, whole, 200); !strings.Contains(string(out), `"replaced"`) {
				t.Errorf("replaced: %s", out)
			}
			step("PUT", streams, token, garbage, 400)
			step("PUT", streams, bad, whole, 401)
			step("PUT", streams, token, strings.Replace(whole, made.StreamID, "of-nobody", 1), 404)

			for _, word := range []string{"paused", "disabled", "enabled"} {
				step("POST", status, token, fmt.Sprintf(`{"stream_id":%q,"status":%q}`, made.StreamID, word), 200)
				if out := step("GET", status+"?stream_id="+made.StreamID, token, "", 200); !strings.Contains(string(out), `"`+word+`"`) {
					t.Errorf("%s: %s", word, out)
				}
			}
			step("GET", status+"?stream_id=of-nobody", token, "", 404)

			who := fmt.Sprintf(`{"stream_id":%q,"subject":{"format":"email","email":"alice@example.test"}}`, made.StreamID)
			step("POST", at("add_subject_endpoint"), token, who, 200)
			step("POST", at("remove_subject_endpoint"), token, who, 204)

			step("POST", verify, token, fmt.Sprintf(`{"stream_id":%q,"state":"state-of-the-plan"}`, made.StreamID), 204)
			isOurs := func(compact string) bool {
				u, err := set.Parse(compact)
				if err != nil {
					t.Errorf("%v", err)
					return false
				}
				e := u.Claims().Events[0]
				return e.Type == ssf.VerificationURI && strings.Contains(string(e.Payload), `"state-of-the-plan"`)
			}
			if delivery == "push" {
				w.eventually("the verification event is pushed", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return slices.ContainsFunc(pushed, isOurs)
				})
				mu.Lock()
				for _, h := range pushes {
					if _, there := h["Authorization"]; there {
						t.Error("a push with Authorization, though the stream has none")
					}
				}
				mu.Unlock()
			} else {
				ask := func(body string) (sets map[string]string) {
					t.Helper()
					var out struct{ Sets map[string]string }
					if err := json.Unmarshal(step("POST", made.Delivery.EndpointURL, token, body, 200), &out); err != nil || out.Sets == nil {
						t.Errorf("%s: %v", body, err)
					}
					return out.Sets
				}
				// Polled only, it comes again; acknowledged while something is asked for, or alone, it is gone.
				step("POST", made.Delivery.EndpointURL, bad, `{"returnImmediately":true}`, 401)
				first := map[string]string{}
				w.eventually("the verification event can be polled", func() bool {
					first = ask(`{"maxEvents":1,"returnImmediately":true}`)
					return len(first) == 1
				})
				for range 8 { // status events come before it
					jti := slices.Collect(maps.Keys(first))[0]
					ours := isOurs(first[jti])
					if again := ask(`{"maxEvents":1,"returnImmediately":true}`); again[jti] != first[jti] {
						t.Errorf("what was not acknowledged does not come again")
					}
					if ours {
						if left := ask(fmt.Sprintf(`{"ack":[%q],"maxEvents":0}`, jti)); len(left) != 0 {
							t.Errorf("an answer to acknowledgements alone: %d SETs", len(left))
						}
						first = nil
						break
					}
					first = ask(fmt.Sprintf(`{"ack":[%q],"maxEvents":1,"returnImmediately":true}`, jti))
					if len(first) == 0 {
						break
					}
				}
				if first != nil {
					t.Error("the verification event did not come")
				}
				if left := ask(`{"returnImmediately":true}`); len(left) != 0 {
					t.Errorf("%d SETs come again though they were acknowledged", len(left))
				}
			}
			step("DELETE", one, bad, "", 401)
			step("DELETE", none, token, "", 404)
			step("DELETE", one, token, "", 204)
			step("GET", one, token, "", 404)
			req.Covers(t, "IOP-54")
		})
	}
}
