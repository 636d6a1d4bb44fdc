package api

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/subject"
	"countersign/transmitter"
)

const streamDoc = `{"kind":"stream","name":"crm","client":"receiver","deliver":{"to":"https://crm.example.test/events","authorization_header":{"stored":"crm-push"}}}`
const brokenStream = `{"kind":"stream","name":"forum","client":"receiver","deliver":{"to":"https://forum.example.test/events?key=` + hushed + `"}}`

func (b *bench) here() *wire { return b.wires[DefaultTenant] }

// Nothing that this door says about streams holds what a receiver keeps secret.
func TestSecretsOfStreamsAreNotShown(t *testing.T) {
	b := newBench(t)
	b.door.patience = 60 * time.Millisecond
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+brokenStream+`]}`))
	for _, path := range []string{"/streams", "/streams/crm", "/streams/" + pushID, "/streams/forum", "/streams/crm/doctor", "/deliveries", "/orders", "/orders/ord-9"} {
		w := b.want(200, b.get(path, b.operator))
		if s := w.Body.String(); strings.Contains(s, secret) || strings.Contains(s, hushed) {
			t.Errorf("%s shows a secret: %s", path, s)
		}
	}
	var s StreamStory
	b.decode(b.get("/streams/crm", b.operator), &s)
	if s.Delivery.Method != "push" || s.Delivery.Endpoint != "https://crm.example.test/events?…" || !s.Delivery.Authorization {
		t.Errorf("%+v", s.Delivery)
	}
	for in, out := range map[string]string{"": "", "https://u:p@h.example/x#f": "https://h.example/x?…", "https://h.example/x": "https://h.example/x", "::": "(an address that cannot be read)", "https://h.example?": "https://h.example?…"} {
		if got := sight.Mask(in); got != out {
			t.Errorf("%q is shown as %q, not %q", in, got, out)
		}
	}
}

func TestStreamList(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+brokenStream+`]}`))
	ids := func(w *httptest.ResponseRecorder) (out []string, next string) {
		var l page[StreamInfo]
		b.decode(b.want(200, w), &l)
		for _, s := range l.Items {
			out = append(out, s.ID+s.Name)
		}
		return out, l.Next
	}
	all, next := ids(b.get("/streams", b.operator))
	if !slices.Equal(all, []string{"forum", pollID, pushID + "crm"}) || next != "" {
		t.Errorf("%v %q", all, next)
	}
	var seen []string
	for path, n := "/streams?limit=1", 0; ; n++ {
		some, next := ids(b.get(path, b.operator))
		seen = append(seen, some...)
		if next == "" || n > 5 {
			break
		}
		path = "/streams?limit=1&after=" + next
	}
	if !slices.Equal(seen, all) {
		t.Errorf("by pages: %v", seen)
	}
	for query, want := range map[string][]string{"client=receiver": {"forum", pushID + "crm"}, "status=paused": {pollID}, "health=failing": {pushID + "crm"}, "status=missing": {"forum"}, "client=nobody": nil} {
		if got, _ := ids(b.get("/streams?"+query, b.operator)); !slices.Equal(got, want) {
			t.Errorf("%s: %v", query, got)
		}
	}
	for query, words := range map[string]string{"status=asleep": "there is no status", "health=fine": "there is no health", "after=sig_1": "not from a page", "after=stm_x": "not from a page", "name=crm": "unknown parameter"} {
		b.refused(400, hub.Invalid, words, b.get("/streams?"+query, b.operator))
	}
}

func TestStreamStory(t *testing.T) {
	b := newBench(t)
	var s StreamStory
	b.decode(b.want(200, b.get("/streams/crm", b.operator)), &s)
	if s.Health != "failing" || !strings.Contains(s.Why, "3 SETs wait since") || !strings.Contains(s.Why, "503") || s.Step == "" || s.Waiting != 3 || s.Dead != 2 || s.Sent != 40 ||
		s.Last == nil || s.Last.Status != 503 || s.Trouble == nil || s.Trouble.Fails != 3 || s.Next == 0 || s.P50 != 4 || s.P99 != 90 || s.Oldest == 0 || !s.Receipts || s.Subjects != "ALL" {
		t.Errorf("%+v", s)
	}
	if len(s.DeadBy) != 1 || s.DeadBy[0].Count != 2 || s.DeadBy[0].Reason != "invalid_request: no such tenant" || s.DeadBy[0].Latest != hub.At(start)-40e6 {
		t.Errorf("dead %+v", s.DeadBy)
	}
	if len(s.Skips) != 1 || s.Skips[0].Reason != "the person has no account at crm" || s.Skips[0].Name != "crm" || len(s.Recent) != 4 {
		t.Errorf("skips %+v recent %+v", s.Skips, s.Recent)
	}
	b.refused(404, hub.NotFound, "there is no stream", b.get("/streams/nobody", b.operator))
	b.wires[DefaultTenant] = nil
	b.refused(503, hub.Unavailable, "not open on this node", b.get("/streams/crm", b.operator))
}

// What an operator is told to do follows from what the receiver answered.
func TestStreamHealth(t *testing.T) {
	now := hub.At(start)
	on := func(change func(*transmitter.StreamView)) StreamInfo {
		v := transmitter.StreamView{Stream: transmitter.Stream{ID: "x", Name: "crm", Status: transmitter.Enabled, Method: "urn:ietf:rfc:8935"}}
		change(&v)
		return sight.InfoOf(&v, now)
	}
	stopped := func(status int, reason string) func(*transmitter.StreamView) {
		return func(v *transmitter.StreamView) {
			v.Stream.Trouble = transmitter.Trouble{Fails: 1, Open: true, Reason: reason}
			v.Last = transmitter.LastAnswer{At: 1, Status: status, Reason: reason}
		}
	}
	for name, c := range map[string]struct {
		change             func(*transmitter.StreamView)
		health, why, steps string
	}{
		"nothing":          {func(*transmitter.StreamView) {}, "ok", "", ""},
		"paused":           {func(v *transmitter.StreamView) { v.Stream.Status, v.Stream.Reason = "paused", "silent" }, "paused", "what comes is held: silent", "countersign stream resume crm"},
		"disabled":         {func(v *transmitter.StreamView) { v.Stream.Status = "disabled" }, "disabled", "nothing is kept", "resume crm"},
		"401":              {stopped(401, "401"), "stopped", "401", "refuses our credential"},
		"302":              {stopped(302, "302"), "stopped", "302", "redirects"},
		"404":              {stopped(404, "404"), "stopped", "404", "the right one"},
		"invalid_key":      {stopped(400, "invalid_key: unknown"), "stopped", "invalid_key", "key set"},
		"invalid_audience": {stopped(400, "invalid_audience"), "stopped", "invalid_audience", "aud"},
		"invalid_issuer":   {stopped(400, "invalid_issuer"), "stopped", "invalid_issuer", "metadata"},
		"another 400":      {stopped(400, "access_denied"), "stopped", "access_denied", "countersign doctor stream crm"},
		"unfetched": {func(v *transmitter.StreamView) {
			v.Stream.Method, v.Counts = "urn:ietf:rfc:8936", transmitter.Counts{Waiting: 1, Oldest: transmitter.Micros(now - 5e6)}
		}, "waiting", "1 SET waits since 2026-09-15 08:59:55Z to be polled", "has not polled lately"},
		"slow": {func(v *transmitter.StreamView) { v.Counts = transmitter.Counts{Waiting: 2, Oldest: 1} }, "waiting", "2 SETs wait", "doctor"},
		"moving": {func(v *transmitter.StreamView) {
			v.Counts = transmitter.Counts{Waiting: 2, Oldest: transmitter.Micros(now)}
		}, "ok", "", ""},
		"warned": {func(v *transmitter.StreamView) { v.Warnings = []string{"delivers nothing"} }, "warning", "delivers nothing", "doctor"},
		"dead":   {func(v *transmitter.StreamView) { v.Counts.Dead = 1 }, "warning", "1 SET was set aside", "--outcome dead"},
	} {
		i := on(c.change)
		if i.Health != c.health || !strings.Contains(i.Why, c.why) || !strings.Contains(i.Step, c.steps) || c.why == "" && i.Why != "" {
			t.Errorf("%s: %q %q %q", name, i.Health, i.Why, i.Step)
		}
	}
}

func TestStreamStatus(t *testing.T) {
	b := newBench(t)
	var s StreamStory
	b.decode(b.want(200, b.post("/streams/crm/status", b.tokens["deployer"], `{"status":"paused","reason":"maintenance"}`)), &s)
	if s.Status != "paused" || s.Reason != "maintenance" || !slices.Equal(b.here().asked, []string{"status " + pushID + " paused maintenance"}) {
		t.Errorf("%+v %v", s, b.here().asked)
	}
	for body, words := range map[string]string{`{"status":"asleep"}`: "there is no status", `{}`: "there is no status", `{"status":"paused","reason":"` + strings.Repeat("x", 501) + `"}`: "reason must", `{"status":"paused","reason":"a\nb"}`: "reason must",
		`{"state":"paused"}`: "unknown member", `{"status":7}`: "must be a string", `[]`: "must be a JSON object"} {
		b.refused(400, hub.Invalid, words, b.post("/streams/crm/status", b.operator, body))
	}
	b.refused(404, hub.NotFound, "there is no stream", b.post("/streams/gone/status", b.operator, `{"status":"paused"}`))
	if len(b.here().asked) != 1 {
		t.Errorf("a refused change was made: %v", b.here().asked)
	}
	b.here().broken = transmitter.ErrBusy
	b.refused(503, hub.Unavailable, "too much waits", b.post("/streams/"+pushID+"/status", b.operator, `{"status":"paused"}`))
}

func TestStreamVerifyExplainSubjects(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/streams/crm/verify", b.operator, ""))
	b.want(200, b.post("/streams/crm/verify", b.operator, "{}"))
	b.refused(400, hub.Invalid, "unknown member", b.post("/streams/crm/verify", b.operator, `{"state":"x"}`))
	var e Explained
	b.decode(b.want(200, b.post("/streams/crm/explain", b.tokens["reader"], `{"event_type":"caep/session-revoked","sub_id":{"format":"opaque","id":"x"},"event":null}`)), &e)
	if e.Sent || len(e.Steps) != 2 || e.Steps[1].OK || e.Steps[1].Why == "" || e.Stream != pushID {
		t.Errorf("%+v", e)
	}
	for body, words := range map[string]string{`{"event_type":"x"}`: "is not known", `{"event_type":"ssf/verification","sub_id":{}}`: "speaks about a stream", `{"event_type":"caep/session-revoked"}`: "sub_id is missing",
		`{"event_type":"caep/session-revoked","sub_id":{"format":"email"}}`: "sub_id", `{"event_type":"caep/credential-change","sub_id":{"format":"opaque","id":"x"}}`: "event"} {
		b.refused(400, hub.Invalid, words, b.post("/streams/crm/explain", b.operator, body))
	}
	b.want(200, b.post("/streams/crm/subjects", b.operator, `{"add":{"format":"email","email":"bob@example.test"},"verified":false}`))
	b.want(200, b.post("/streams/crm/subjects", b.operator, `{"remove":{"format":"opaque","id":"x"},"add":null}`))
	for body, words := range map[string]string{`{}`: "exactly one", `{"add":{"format":"opaque","id":"x"},"remove":{"format":"opaque","id":"x"}}`: "exactly one", `{"add":{"format":"opaque"}}`: "add", `{"remove":7}`: "remove"} {
		b.refused(400, hub.Invalid, words, b.post("/streams/crm/subjects", b.operator, body))
	}
	want := []string{"verify " + pushID, "verify " + pushID, "explain " + pushID + " " + revoked}
	if got := b.here().asked; len(got) != 5 || !slices.Equal(got[:3], want) || !strings.HasSuffix(got[3], "on unverified") || !strings.HasSuffix(got[4], "off verified") {
		t.Errorf("%v", got)
	}
	b.here().broken = fmt.Errorf("transmitter: sub_id: %w: x is about a subject of format scim", subject.ErrInvalid)
	b.refused(400, hub.Invalid, "about a subject of format scim", b.post("/streams/"+pushID+"/explain", b.operator, `{"event_type":"caep/session-revoked","sub_id":{"format":"opaque","id":"x"}}`))
	b.here().broken = transmitter.ErrTooMany
	b.refused(409, hub.Conflict, "as many subjects", b.post("/streams/"+pushID+"/subjects", b.operator, `{"add":{"format":"opaque","id":"x"}}`))
	b.here().broken = nil
	b.here().views[0].Stream.Status = transmitter.Disabled
	b.refused(409, hub.Conflict, "disabled", b.post("/streams/crm/verify", b.operator, ""))
}

func TestStreamDelete(t *testing.T) {
	b := newBench(t)
	b.want(200, b.post("/apply", b.operator, `{"resources":[`+streamDoc+`,`+brokenStream+`],"secrets":{"crm-push":"Bearer x"}}`))
	b.refused(409, hub.Conflict, "used by stream crm", b.call("DELETE", "/secrets/crm-push", b.operator, ""))
	var a StreamAsked
	b.decode(b.want(200, b.call("DELETE", "/streams/"+pushID, b.tokens["deployer"], "")), &a)
	if a != (StreamAsked{pushID, "receiver", "delete"}) || !slices.Equal(b.here().asked, []string{"remove " + pushID}) {
		t.Errorf("%+v %v", a, b.here().asked)
	}
	if r, err := b.store.Resource(t.Context(), DefaultTenant, hub.KindStream, "crm"); err == nil && r != nil {
		t.Error("the document is still there and would make the stream anew")
	}
	b.decode(b.want(200, b.call("DELETE", "/streams/forum", b.operator, "")), &a) // a document of which no stream could be made
	if a.Client != "receiver" {
		t.Errorf("%+v", a)
	}
	b.want(200, b.call("DELETE", "/streams/"+pollID, b.operator, ""))
	b.refused(404, hub.NotFound, "there is no stream", b.call("DELETE", "/streams/"+pollID, b.operator, ""))
	b.want(200, b.call("DELETE", "/secrets/crm-push", b.operator, ""))
}

// Every standard type has a payload that its definition allows, and that a receiver could meet.
func TestEveryTypeHasAnExample(t *testing.T) {
	b := newBench(t)
	n := 0
	for _, typ := range b.cfg.Registry.Types() {
		body := Example(typ, start.Unix())
		payload, err := b.cfg.Registry.Decode(typ.URI, body)
		if err != nil && !typ.StreamLevel {
			t.Errorf("%s: %v", typ.Name, err)
		}
		if s, ok := payload.(event.Strict); ok && s.ValidateSent() != nil && !typ.StreamLevel {
			t.Errorf("%s may not be sent: %v", typ.Name, s.ValidateSent())
		}
		if strings.HasPrefix(typ.Name, "caep/") && !strings.Contains(string(body), fmt.Sprintf(`"event_timestamp":%d`, start.Unix())) {
			t.Errorf("%s says no time", typ.Name)
		}
		n++
	}
	for _, m := range hub.Meanings() {
		if _, ok := b.cfg.Registry.Lookup(m.Type); !ok {
			t.Errorf("an example for %s, which is no type", m.Type)
		}
	}
	if n < 30 {
		t.Errorf("%d types", n)
	}
}

func TestEachEvent(t *testing.T) {
	b := newBench(t)
	w := b.here()
	var delivered []string
	for _, typ := range b.cfg.Registry.Types() {
		if !typ.StreamLevel {
			delivered = append(delivered, typ.URI)
		}
	}
	w.views[0].Stream.Delivered = append(delivered, "https://example.test/own-type")
	w.skip[delivered[0]], w.silent[delivered[1]] = "the person has no account at crm", true
	var a EachAnswer
	b.decode(b.want(202, b.post("/streams/crm/each-event", b.operator, "")), &a)
	if len(a.Events) != len(delivered)+1 || a.Queued != len(delivered)-2 || a.TXN == "" || len(w.sent) != len(delivered) {
		t.Fatalf("%d of %d queued, %d events, %d sent", a.Queued, len(delivered), len(a.Events), len(w.sent))
	}
	for i, want := range []string{"the person has no account at crm", "the stream is disabled"} {
		if a.Events[i].Outcome != "skipped" || a.Events[i].Reason != want {
			t.Errorf("%+v, wanted %q", a.Events[i], want)
		}
	}
	if last := a.Events[len(delivered)]; last.Outcome != "skipped" || last.Reason != "no payload is known for this type" {
		t.Errorf("%+v", last)
	}
	for _, m := range w.sent {
		want := "@example.com"
		if strings.HasPrefix(m.Type, "urn:ietf:params:scim:") {
			want = "/Users/"
		}
		if m.TXN != a.TXN || !slices.Equal(m.Streams, []string{pushID}) || !strings.Contains(string(m.SubID), want) {
			t.Errorf("%+v", m)
		}
	}
	// A type that is not about such a subject is skipped, and the others are sent.
	w.unfit = map[string]bool{delivered[3]: true}
	b.decode(b.want(202, b.post("/streams/crm/each-event", b.operator, "")), &a)
	if e := a.Events[3]; e.Outcome != "skipped" || !strings.Contains(e.Reason, "about a subject of format") || a.Queued != len(delivered)-3 {
		t.Errorf("%+v", e)
	}
	w.unfit = nil
	// Who is bound by a client's lists is bound here, too.
	w.sent = nil
	b.refused(403, hub.Forbidden, "about this subject", b.post("/streams/crm/each-event", b.tokens["writer"], ""))
	b.decode(b.want(202, b.post("/streams/crm/each-event", b.tokens["writer"], `{"sub_id":{"format":"email","email":"bob@example.test"},"txn":"t-1"}`)), &a)
	if a.Queued != 1 || len(w.sent) != 1 || w.sent[0].Type != revoked || a.TXN != "t-1" || !strings.Contains(a.Events[0].Reason, "may not send") {
		t.Errorf("%+v", a)
	}
	for body, words := range map[string]string{`{"sub_id":{"format":"email"}}`: "sub_id", `{"txn":"a\nb"}`: "txn", `{"event":{}}`: "unknown member"} {
		b.refused(400, hub.Invalid, words, b.post("/streams/crm/each-event", b.operator, body))
	}
}

func TestSignalToChosenStreams(t *testing.T) {
	b := newBench(t)
	with := func(more string) string { return strings.TrimSuffix(revokeBob, "}") + "," + more + "}" }
	b.want(202, b.post("/signals", b.tokens["writer"], with(`"streams":["crm","`+pollID+`"]`)))
	if !slices.Equal(b.last.Streams, []string{pushID, pollID}) || !slices.Equal(b.last.Do, []string{"transmit"}) {
		t.Errorf("%+v", b.last)
	}
	b.want(202, b.post("/signals", b.tokens["writer"], with(`"streams":null`)))
	if b.last.Streams != nil || !slices.Equal(b.last.Do, []string{"act"}) {
		t.Errorf("%+v", b.last)
	}
	for more, words := range map[string]string{`"streams":[]`: "1 to 100", `"streams":["crm"],"do":"act"`: "that are transmitted", `"streams":["crm","` + pushID + `"]`: "twice", `"streams":["gone"]`: "there is no stream", `"streams":"crm"`: "list of strings"} {
		b.refused(400, hub.Invalid, words, b.post("/signals", b.operator, with(more)))
	}
	// The story says what became of it.
	w := b.want(202, b.post("/signals", b.operator, with(`"txn":"txn-1","do":"transmit"`)))
	var a accepted
	b.decode(w, &a)
	var s struct{ Streams []Delivery }
	b.decode(b.want(200, b.get("/signals/"+a.ID, b.tokens["reader"])), &s)
	var got []string
	for _, v := range s.Streams {
		got = append(got, v.Name+" "+v.Outcome+" "+v.JTI+v.Reason)
	}
	if !slices.Equal(got, []string{"crm waiting set-7", "crm skipped the person has no account at crm"}) {
		t.Errorf("%v", got)
	}
}

func TestDeliveries(t *testing.T) {
	b := newBench(t)
	read := func(query string) (out []string, next string) {
		t.Helper()
		var l page[Delivery]
		b.decode(b.want(200, b.get("/deliveries?"+query, b.tokens["reader"])), &l)
		for _, v := range l.Items {
			s := v.Outcome + " " + v.JTI
			if v.Back {
				s += " back"
			}
			out = append(out, s)
		}
		return out, l.Next
	}
	want := []string{"waiting set-7", "waiting set-8", "waiting set-9", "skipped ", "dead set-5", "dead set-3 back", "delivered ord-9", "delivered set-1"}
	all, next := read("")
	if !slices.Equal(all, want) || next != "" {
		t.Errorf("%v", all)
	}
	for _, limit := range []int{1, 2, 3, 5} {
		var seen []string
		query := fmt.Sprintf("limit=%d", limit)
		for range 12 {
			some, next := read(query)
			seen = append(seen, some...)
			if next == "" {
				break
			}
			query = fmt.Sprintf("limit=%d&after=%s", limit, next)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("by %d: %v", limit, seen)
		}
	}
	for query, want := range map[string][]string{"outcome=waiting": want[:3], "outcome=dead": want[4:6], "txn=txn-2": want[1:3], "jti=set-5": {"dead set-5"}, "outcome=skipped": {"skipped "}, "stream=crm": want[:7], "stream=" + pollID: nil, "outcome=waiting&txn=txn-1": want[:1]} {
		if got, _ := read(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v", query, got)
		}
	}
	for query, words := range map[string]string{"outcome=lost": "there is no outcome", "after=x": "not from a page", "after=w_1": "not from a page", "after=w_-1_2": "not from a page", "after=h_1_x": "not from a page", "outcome=waiting&after=h_1_1": "not from a page", "outcome=dead&after=w_1_1": "not from a page", "state=x": "unknown parameter"} {
		b.refused(400, hub.Invalid, words, b.get("/deliveries?"+query, b.operator))
	}
	b.refused(404, hub.NotFound, "there is no stream", b.get("/deliveries?stream=gone", b.operator))
}

func TestRedrive(t *testing.T) {
	b := newBench(t)
	var a Redriven
	b.decode(b.want(200, b.post("/deliveries/redrive", b.tokens["deployer"], `{"stream":"crm","reason":"invalid_request"}`)), &a)
	var f transmitter.DeadFilter
	json.Unmarshal([]byte(strings.TrimPrefix(b.here().asked[0], "redrive ")), &f)
	if a.Redriven != 2 || f != (transmitter.DeadFilter{Stream: 3, Reason: "invalid_request"}) {
		t.Errorf("%+v %+v", a, f)
	}
	b.want(200, b.post("/deliveries/redrive", b.operator, `{"all":true}`))
	for body, words := range map[string]string{`{}`: "which dead letters", `{"all":false}`: "which dead letters", `{"all":true,"jti":"x"}`: "stands alone", `{"every":true}`: "unknown member"} {
		b.refused(400, hub.Invalid, words, b.post("/deliveries/redrive", b.operator, body))
	}
	b.refused(404, hub.NotFound, "there is no stream", b.post("/deliveries/redrive", b.operator, `{"stream":"gone"}`))
	b.here().views[0].Stream.Status = transmitter.Disabled
	b.refused(409, hub.Conflict, "disabled", b.post("/deliveries/redrive", b.operator, `{"stream":"crm"}`))
	if len(b.here().asked) != 2 {
		t.Errorf("a refused redrive was done: %v", b.here().asked)
	}
}

// delivered lets a verification event end at once.
func (b *bench) delivered(outcome string, status int, reason string) {
	w := b.here()
	w.answer = func(id string) {
		w.lines = append([]transmitter.Delivery{{Stream: 3, StreamID: pushID, JTI: "ver", Type: ssf.VerificationURI, Outcome: outcome, Status: status, Reason: reason, At: transmitter.At(start)}}, w.lines...)
	}
}

func (b *bench) examined(ref string) map[string]Diagnosis {
	b.t.Helper()
	var e Examination
	b.decode(b.want(200, b.get("/streams/"+ref+"/doctor", b.operator)), &e)
	out := map[string]Diagnosis{}
	failed := false
	for _, f := range e.Findings {
		out[f.Check] = f
		failed = failed || f.Result == fail
	}
	if e.OK == failed {
		b.t.Errorf("ok is %v: %+v", e.OK, e.Findings)
	}
	return out
}

func TestDoctor(t *testing.T) {
	b := newBench(t)
	b.delivered(transmitter.Delivered, 202, "")
	found := b.examined("crm")
	for check, want := range map[string]string{"client": fine, "status": fine, "events": fine, "subjects": fine, "endpoint": fail, "verification": fine, "waiting": warn, "dead letters": warn, "inactivity": fine} {
		if f := found[check]; f.Result != want || f.Seen == "" || f.Side == "" {
			t.Errorf("%s: %+v, wanted %s", check, f, want)
		}
	}
	b.delivered(transmitter.DeadLettered, 400, "invalid_request: what is this")
	if f := b.examined("crm")["verification"]; f.Result != fail || !strings.Contains(f.Seen, "what is this") || f.Side != receiver {
		t.Errorf("%+v", f)
	}
	b.here().answer = nil
	found = b.examined(pollID)
	for check, want := range map[string]string{"client": fail, "status": warn, "subjects": fail, "polling": warn, "transmitter": warn, "inactivity": warn} {
		if f := found[check]; f.Result != want || f.Seen == "" {
			t.Errorf("%s: %+v, wanted %s", check, f, want)
		}
	}
	if _, ok := found["verification"]; ok {
		t.Error("a poll stream is not verified by push")
	}
	v := &b.here().views[0]
	v.Stream.Delivered, v.Stream.Status, v.Counts, v.Stream.Trouble = nil, transmitter.Disabled, transmitter.Counts{}, transmitter.Trouble{}
	v.Last = transmitter.LastAnswer{}
	found = b.examined("crm")
	for check, want := range map[string]string{"events": fail, "status": fail, "verification": warn, "endpoint": fine, "waiting": fine, "dead letters": fine} {
		if f := found[check]; f.Result != want {
			t.Errorf("%s: %+v, wanted %s", check, f, want)
		}
	}
	b.refused(400, hub.Invalid, "unknown parameter", b.get("/streams/crm/doctor?quick=1", b.operator))
	b.refused(404, hub.NotFound, "there is no stream", b.get("/streams/gone/doctor", b.operator))
}

// A receiver that says nothing ends the doctor's patience, and the answer says what the transmitter saw.
func TestDoctorWaitsForNobody(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("GET", Prefix+"/streams/crm/doctor", nil)
	r.Host = "127.0.0.1"
	r.Header.Set("Authorization", "Bearer "+b.operator)
	began := time.Now()
	b.door.patience = 120 * time.Millisecond
	w := httptest.NewRecorder()
	b.door.ServeHTTP(w, r)
	var e Examination
	b.decode(b.want(200, w), &e)
	i := slices.IndexFunc(e.Findings, func(f Diagnosis) bool { return f.Check == "verification" })
	if i < 0 || e.Findings[i].Result != fail || !strings.Contains(e.Findings[i].Seen, "503 from the receiver") || time.Since(began) > 5*time.Second {
		t.Errorf("%+v", e.Findings)
	}
}
