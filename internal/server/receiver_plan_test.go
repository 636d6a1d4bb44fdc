package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/event/ssf"
	"countersign/internal/flow/decide"
	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/set"
	"countersign/stream"
)

// suite is the stream API of a peer that plays the receiver plans of the conformance suite: it wants each request as the plan
// has it, and answers 405 to what the plan of the interoperability profile leaves out.
type suite struct {
	*peer
	t       *testing.T
	interop bool
	stream  *stream.Configuration
	status  stream.Status
	state   string   // of the verification event that was asked for
	wrong   []string // what was asked and is no part of the plan
}

// plays answers in place of the peer.
func (s *suite) plays(w http.ResponseWriter, r *http.Request) bool {
	reply := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if v != nil {
			json.NewEncoder(w).Encode(v)
		}
	}
	read := func(v any) {
		if err := json.NewDecoder(r.Body).Decode(v); err != nil {
			s.wrong = append(s.wrong, fmt.Sprint(r.Method, " ", r.URL.Path, ": ", err))
		}
	}
	call := r.Method + " " + r.URL.Path
	if s.interop && slices.Contains([]string{"PATCH /streams", "PUT /streams", "POST /status", "POST /add", "POST /remove"}, call) {
		s.wrong = append(s.wrong, call)
		reply(http.StatusMethodNotAllowed, nil)
		return true
	}
	switch call {
	case "POST /streams":
		var in stream.Configuration
		read(&in)
		if s.stream != nil || len(in.EventsRequested) == 0 || in.Delivery == nil {
			s.wrong = append(s.wrong, call)
		}
		in.StreamID, in.Issuer, in.Audience, in.EventsDelivered = "ps1", s.URL, []string{s.URL + "/ps1"}, in.EventsRequested
		if in.Delivery.Method == stream.PollMethod {
			in.Delivery.EndpointURL = s.URL + "/poll?x=1&y=%2F"
		}
		s.stream, s.status = &in, stream.Status{StreamID: "ps1", Status: stream.Enabled}
		reply(201, s.stream)
	case "GET /streams", "DELETE /streams":
		if s.stream == nil || r.URL.Query().Get("stream_id") != "ps1" {
			s.wrong = append(s.wrong, call)
		}
		if r.Method == "GET" {
			reply(200, s.stream)
			return true
		}
		s.stream = nil
		reply(204, nil)
	case "PATCH /streams", "PUT /streams":
		var in stream.Configuration
		read(&in)
		s.stream.Description = in.Description
		if len(in.EventsRequested) > 0 {
			s.stream.EventsRequested = in.EventsRequested
		}
		reply(200, s.stream)
	case "GET /status":
		reply(200, s.status)
	case "POST /status":
		read(&s.status)
		reply(200, s.status)
	case "POST /verify":
		var in stream.VerifyRequest
		read(&in)
		s.state = in.State
		reply(204, nil)
	default:
		return false // the metadata, the keys, the poll
	}
	return true
}

// The receiver plans of the conformance suite, step by step: each step by hand, one request each, everything that comes is
// acknowledged, and nothing else is ever asked.
func TestReceiverPlans(t *testing.T) {
	for _, plan := range []struct {
		delivery string
		interop  bool
	}{{"push", false}, {"poll", false}, {"push", true}, {"poll", true}} {
		t.Run(fmt.Sprint(plan.delivery, " interop ", plan.interop), func(t *testing.T) {
			w := newWorld(t)
			s := &suite{peer: newPeer(w), t: t, interop: plan.interop}
			s.look(func() { s.other = s.plays })
			w.apply(docWiki + strings.Replace(docPushing(s.peer), "delivery: push", "delivery: "+plan.delivery, 1))
			step := func(verb string, in enroll.StepInput, want ...string) (out enroll.StepResult) {
				t.Helper()
				s.look(func() { s.asked = nil })
				status, body := w.call("POST", "/sources/peer/stream/"+verb, in)
				if err := json.Unmarshal(body, &out); status != 200 || err != nil {
					t.Fatalf("%s: %d %s", verb, status, body)
				}
				s.look(func() {
					asked := slices.DeleteFunc(s.asked, func(a string) bool { return a == "GET /jwks" }) // once, with the first token
					if !slices.Equal(asked, want) {
						t.Errorf("%s asked %q, want %q", verb, asked, want)
					}
				})
				return out
			}
			poll := enroll.StepInput{}
			// taken sends a token, or lays it ready, and wants it acknowledged.
			taken := func(jti, token string) {
				t.Helper()
				if plan.delivery == "push" {
					if status, body := w.push("peer", token); status != 202 || body != "" {
						t.Errorf("%s: %d %s", jti, status, body)
					}
					return
				}
				s.offer(map[string]string{jti: token})
				if out := step(enroll.StepPoll, poll, "POST /poll"); len(out.Sets) != 1 || out.Sets[0].Result != "kept" {
					t.Errorf("%s: %+v", jti, out.Sets)
				}
				step(enroll.StepPoll, enroll.StepInput{AckOnly: true}, "POST /poll")
				s.look(func() {
					if s.acked[jti] != 1 || len(s.errs) != 0 {
						t.Errorf("%s is acknowledged %d times, refused %v", jti, s.acked[jti], s.errs)
					}
				})
			}
			caepOnly := func(name string) bool { return strings.HasPrefix(name, "caep/") }
			var events []string
			for _, typ := range decide.Types().Types() {
				if !typ.StreamLevel && (!plan.interop || caepOnly(typ.Name)) {
					events = append(events, typ.URI)
				}
			}
			s.look(func() {
				if len(s.asked) != 0 {
					t.Errorf("it asked %q by itself", s.asked)
				}
			})
			step(enroll.StepCreate, enroll.StepInput{Events: events}, "GET /.well-known/ssf-configuration", "POST /streams")
			step(enroll.StepRead, enroll.StepInput{}, "GET /streams")
			step(enroll.StepStatus, enroll.StepInput{}, "GET /status")
			if !plan.interop {
				step(enroll.StepUpdate, enroll.StepInput{Description: "updated"}, "PATCH /streams")
				step(enroll.StepReplace, enroll.StepInput{Description: "replaced"}, "PUT /streams")
				for _, word := range []string{stream.Paused, stream.Disabled, stream.Enabled} {
					step(enroll.StepStatus, enroll.StepInput{Status: word}, "POST /status")
				}
			}
			step(enroll.StepVerify, enroll.StepInput{}, "POST /verify")
			var state string
			s.look(func() { state = s.state })
			taken("v1", s.verification("v1", fmt.Sprintf(`{"state":%q}`, state)))
			taken("v2", s.verification("v2", `{}`)) // unasked
			if !plan.interop {
				taken("u1", s.token("u1", "", func(c *set.Claims) {
					c.SubID, c.TXN = json.RawMessage(`{"format":"opaque","id":"ps1"}`), ""
					c.Events = []set.Event{{Type: ssf.StreamUpdatedURI, Payload: json.RawMessage(`{"status":"enabled"}`)}}
				}))
			}
			for i, uri := range events {
				m, _ := hub.MeaningOf(uri)
				jti := fmt.Sprint("e", i)
				taken(jti, s.token(jti, "alice@example.test", func(c *set.Claims) {
					if m.Resource {
						c.SubID = json.RawMessage(`{"format":"scim","uri":"/Users/1"}`)
					}
					c.Events = []set.Event{{Type: uri, Payload: m.Example}}
				}))
				if !w.kept("peer", jti) {
					t.Errorf("%s is acknowledged and not kept", uri)
				}
			}
			step(enroll.StepDelete, enroll.StepInput{}, "DELETE /streams")
			s.look(func() {
				if len(s.wrong) != 0 || s.stream != nil {
					t.Errorf("no part of the plan: %q", s.wrong)
				}
			})
			if plan.interop {
				req.Covers(t, "IOP-57")
			} else {
				req.Covers(t, "IOP-56")
			}
		})
	}
}
