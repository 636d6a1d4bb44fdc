package api

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/hub"
	"countersign/receipt"
)

const appDoc = `{"kind":"app","name":"wiki","pack":"http-sessions","settings":{"url":"https://wiki.example.test"},"secrets":{"token":{"stored":"wiki-token"}},"accounts":{"match":"email"}}`
const identityDoc = `{"kind":"identity","name":"alice","emails":["alice@example.test"]}`
const policyDoc = `{"kind":"policy","name":"p1","on":["caep/session-revoked"],"then":[{"action":"revoke_sessions","scope":"app"}]}`
const sourceDoc = `{"kind":"source","name":"idp","type":"ssf","issuer":"https://idp.example.test","delivery":"push","stream":"none","audience":["https://hub.example.test"],"auth":{"method":"none"}}`

func (b *bench) plan(w *httptest.ResponseRecorder) map[string]string {
	b.t.Helper()
	var a applyAnswer
	b.decode(b.want(200, w), &a)
	out := map[string]string{}
	for _, s := range a.Plan {
		out[string(s.Kind)+"/"+s.Name] = s.Op + " " + strings.Join(s.Fields, ",")
	}
	return out
}

func TestApply(t *testing.T) {
	b := newBench(t)
	body := `{"resources":[` + appDoc + `,` + identityDoc + `,` + policyDoc + `,` + sourceDoc + `],"secrets":{"wiki-token":"s3cret-value"}`
	plan := b.plan(b.post("/apply", b.operator, body+`,"dry_run":true}`))
	if plan["app/wiki"] != "create " || len(plan) != 4 {
		t.Errorf("plan %v", plan)
	}
	b.refused(404, hub.NotFound, "there is no app", b.get("/apps/wiki", b.operator))
	before := b.changed
	b.plan(b.post("/apply", b.operator, body+`}`))
	if b.changed != before+1 {
		t.Error("the hub was not told")
	}
	var r resourceView
	b.decode(b.want(200, b.get("/apps/wiki", b.operator)), &r)
	if r.Version != 1 || r.Kind != hub.KindApp {
		t.Errorf("%+v", r)
	}
	if again := b.plan(b.post("/apply", b.operator, body+`}`)); again["app/wiki"] != "unchanged " || again["policy/p1"] != "unchanged " || again["identity/alice"] != "unchanged " {
		t.Errorf("the second time: %v", again)
	}
	if p := b.plan(b.post("/apply", b.operator, `{"resources":[`+strings.Replace(identityDoc, `}`, `,"labels":["vip"]}`, 1)+`]}`)); p["identity/alice"] != "update labels" {
		t.Errorf("an update: %v", p)
	}
	for _, path := range []string{"/export", "/secrets", "/apps/wiki"} {
		if w := b.get(path, b.operator); strings.Contains(w.Body.String(), "s3cret-value") {
			t.Errorf("%s shows a secret", path)
		}
	}
	b.decode(b.want(200, b.get("/sources/idp", b.operator)), &r)
	if r.State["receive"] != "https://hub.example.test/receive/x" {
		t.Errorf("source show: %+v", r.State)
	}
}

func TestApplyIsWholeOrNothing(t *testing.T) {
	b := newBench(t)
	b.faulty = "p1"
	w := b.post("/apply", b.operator, `{"resources":[`+identityDoc+`,`+policyDoc+`],"secrets":{"x":"y"}}`)
	b.refused(400, hub.Invalid, "policy p1: does not fit", w)
	b.refused(404, hub.NotFound, "identity", b.get("/identities/alice", b.operator))
	if w := b.get("/secrets", b.operator); strings.Contains(w.Body.String(), `"x"`) {
		t.Error("a secret was written although the apply was refused")
	}
}

func TestPruneStaysInItsSet(t *testing.T) {
	b := newBench(t)
	b.plan(b.post("/apply", b.operator, `{"set":"one","resources":[`+identityDoc+`,`+policyDoc+`]}`))
	b.plan(b.post("/apply", b.operator, `{"set":"two","resources":[{"kind":"identity","name":"bob","emails":["bob@example.test"]}]}`))
	b.refused(400, hub.Invalid, "prune needs a set", b.post("/apply", b.operator, `{"prune":true,"resources":[]}`))
	b.refused(400, hub.Invalid, "prune works within one set", b.post("/apply", b.operator, `{"prune":true,"set":"one","resources":[{"kind":"identity","name":"eve","set":"two","emails":["eve@example.test"]}]}`))
	plan := b.plan(b.post("/apply", b.operator, `{"prune":true,"set":"one","resources":[`+policyDoc+`]}`))
	if plan["identity/alice"] != "delete " || plan["policy/p1"] != "unchanged " || len(plan) != 2 {
		t.Errorf("plan %v", plan)
	}
	b.want(200, b.get("/identities/bob", b.operator))
	b.want(200, b.get("/clients/reader", b.operator))
	b.refused(404, hub.NotFound, "identity", b.get("/identities/alice", b.operator))
}

// What this version does not act on is refused with the reason, never silently accepted.
func TestApplyRefuses(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ doc, words string }{
		"a kind of a later version":  {`{"kind":"channel","name":"x"}`, "channel"},
		"a field of a later version": {`{"kind":"identity","name":"x","emails":["x@example.test"],"protect":"ask"}`, "ask"},
		"approval":                   {`{"kind":"policy","name":"x","on":["caep/session-revoked"],"then":[{"action":"revoke_sessions","scope":"app"}],"approval":{"from":["a"]}}`, "approval"},
		"notify":                     {`{"kind":"policy","name":"x","on":["caep/session-revoked"],"then":[{"notify":"on-call"}]}`, "notify"},
		"beyond hold":                {`{"kind":"policy","name":"x","on":["caep/session-revoked"],"then":[{"action":"revoke_sessions","scope":"app"}],"limits":{"people":1,"per":"1h","beyond":"hold"}}`, "hold"},
		"an unknown field":           {`{"kind":"identity","name":"x","email":["x@example.test"]}`, "emails"},
		"a file":                     {`{"kind":"app","name":"x","pack":"http-sessions","settings":{"url":"https://x.example.test"},"secrets":{"token":{"file":"passwd"}}}`, "{stored: NAME} only"},
		"a variable":                 {`{"kind":"app","name":"x","pack":"http-sessions","settings":{"url":"https://x.example.test"},"secrets":{"token":{"env":"COUNTERSIGN_SECRET_X"}}}`, "{stored: NAME} only"},
		"a key file":                 {`{"kind":"source","name":"x","type":"ssf","issuer":"https://i.example.test","delivery":"push","stream":"none","audience":["a"],"auth":{"method":"none"},"keys":{"jwks_file":"/etc/passwd"}}`, "jwks_file is not taken over the API"},
		"another version":            {`{"apiVersion":"countersign/v9","kind":"identity","name":"x"}`, "v9"},
		"no kind":                    {`{"name":"x"}`, "kind"},
		"no object":                  {`[1]`, "must be an object"},
		"a name twice":               {`{"kind":"identity","name":"y","emails":["y@example.test"]},{"kind":"identity","name":"y","emails":["y@example.test"]}`, "twice"},
	} {
		w := b.post("/apply", b.operator, `{"resources":[`+c.doc+`]}`)
		if w.Code != 400 || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	b.refused(403, hub.Forbidden, "secrets need the operator token", b.post("/apply", b.tokens["deployer"], `{"resources":[],"secrets":{"a":"b"}}`))
}

func TestDeleteKeepsTheRestWhole(t *testing.T) {
	b := newBench(t)
	b.plan(b.post("/apply", b.operator, `{"resources":[`+appDoc+`,`+policyDoc+`],"secrets":{"wiki-token":"v"}}`))
	b.faulty = "p1"
	b.refused(409, hub.Conflict, "app wiki is still needed", b.call("DELETE", "/apps/wiki", b.operator, ""))
	b.refused(409, hub.Conflict, "used by app wiki", b.call("DELETE", "/secrets/wiki-token", b.operator, ""))
	b.faulty = ""
	b.want(200, b.call("DELETE", "/apps/wiki", b.operator, ""))
	b.want(200, b.call("DELETE", "/secrets/wiki-token", b.operator, ""))
	b.refused(404, hub.NotFound, "there is no secret", b.call("DELETE", "/secrets/wiki-token", b.operator, ""))
}

func TestExportComesBackUnchanged(t *testing.T) {
	b := newBench(t)
	b.plan(b.post("/apply", b.operator, `{"resources":[`+appDoc+`,`+identityDoc+`,`+policyDoc+`,`+sourceDoc+`],"secrets":{"wiki-token":"v"}}`))
	var out struct{ Resources []json.RawMessage }
	b.decode(b.want(200, b.get("/export", b.operator)), &out)
	raw, err := json.Marshal(out.Resources)
	if err != nil {
		t.Fatal(err)
	}
	plan := b.plan(b.post("/apply", b.operator, `{"resources":`+string(raw)+`}`))
	if len(plan) != 9 {
		t.Errorf("plan %v", plan)
	}
	for what, op := range plan {
		if op != "unchanged " {
			t.Errorf("%s: %s", what, op)
		}
	}
}

func TestUnicodeInDocuments(t *testing.T) {
	b := newBench(t)
	b.plan(b.post("/apply", b.operator, `{"resources":[{"kind":"identity","name":"u","emails":["u@example.test"],"labels":["\ud83d\ude80 \u00e9 \\ud83d"]}]}`))
	var r resourceView
	b.decode(b.want(200, b.get("/identities/u", b.operator)), &r)
	var id hub.Identity
	if err := json.Unmarshal(r.Spec, &id); err != nil || len(id.Labels) != 1 || id.Labels[0] != "🚀 é \\ud83d" {
		t.Errorf("%q %v", id.Labels, err)
	}
}

const revokeBob = `{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"event":{"event_timestamp":1789462800}}`

func TestPostSignal(t *testing.T) {
	b := newBench(t)
	w := b.want(202, b.post("/signals", b.tokens["writer"], revokeBob))
	var a accepted
	b.decode(w, &a)
	if w.Header().Get("Location") != Prefix+"/signals/"+a.ID {
		t.Error(w.Header())
	}
	var s struct {
		Source string
		State  string
		Token  any
	}
	b.decode(b.want(200, b.get("/signals/"+a.ID, b.operator)), &s)
	both := strings.TrimSuffix(revokeBob, "}") + `,"do":["act","transmit"]}`
	b.want(202, b.post("/signals", b.tokens["writer"], both))
	if s.Source != "client:writer" || s.State != "received" || s.Token != nil {
		t.Errorf("%+v", s)
	}
	for name, c := range map[string]struct {
		body   string
		status int
		code   hub.Code
		words  string
	}{
		"an unknown type":      {`{"event_type":"caep/nonsense","sub_id":{"format":"email","email":"bob@example.test"}}`, 400, hub.Invalid, "is not known"},
		"a stream event":       {`{"event_type":"ssf/verification","sub_id":{"format":"opaque","id":"x"}}`, 400, hub.Invalid, "speaks about a stream"},
		"a type not allowed":   {`{"event_type":"caep/credential-change","sub_id":{"format":"email","email":"bob@example.test"},"event":{"credential_type":"password","change_type":"revoke"}}`, 403, hub.Forbidden, "may not send caep/credential-change"},
		"a domain not allowed": {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@evil.test"}}`, 403, hub.Forbidden, "about this subject"},
		"no domain":            {`{"event_type":"caep/session-revoked","sub_id":{"format":"opaque","id":"x"}}`, 403, hub.Forbidden, "about this subject"},
		"no subject":           {`{"event_type":"caep/session-revoked"}`, 400, hub.Invalid, "sub_id is missing"},
		"a bad subject":        {`{"event_type":"caep/session-revoked","sub_id":{"format":"email"}}`, 400, hub.Invalid, "sub_id"},
		"a bad event":          {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"event":{"event_timestamp":"yesterday"}}`, 400, hub.Invalid, "event"},
		"do what":              {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"do":"hope"}`, 400, hub.Invalid, "do must be act, transmit"},
		"do twice the same":    {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"do":["act","act"]}`, 400, hub.Invalid, "do must be act, transmit"},
		"do a number":          {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"do":7}`, 400, hub.Invalid, "do must be a word or a list"},
		"a strange member":     {`{"event_type":"caep/session-revoked","subid":{}}`, 400, hub.Invalid, "unknown member"},
		"a member twice":       {`{"event_type":"caep/session-revoked","event_type":"caep/session-revoked"}`, 400, hub.Invalid, "body"},
		"a list":               {`[]`, 400, hub.Invalid, "must be a JSON object"},
		"no JSON":              {`{`, 400, hub.Invalid, "body"},
		"a wrong kind":         {`{"event_type":7,"sub_id":{}}`, 400, hub.Invalid, "must be a string"},
		"another case":         {`{"Event_Type":"caep/session-revoked"}`, 400, hub.Invalid, "unknown member"},
		"a long txn":           {`{"event_type":"caep/session-revoked","sub_id":{"format":"email","email":"bob@example.test"},"txn":"` + strings.Repeat("x", 201) + `"}`, 400, hub.Invalid, "txn"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.refused(c.status, c.code, c.words, b.post("/signals", b.tokens["writer"], c.body))
		})
	}
	b.t = t
	// The operator is bound by no client's lists.
	b.want(202, b.post("/signals", b.operator, `{"event_type":"caep/session-revoked","sub_id":{"format":"opaque","id":"x"}}`))
	b.broken = hub.Errorf(hub.Unavailable, "too much waits").WithHint("repeat in a second")
	w = b.post("/signals", b.tokens["writer"], revokeBob)
	b.refused(503, hub.Unavailable, "too much waits", w)
	if w.Header().Get("Retry-After") == "" {
		t.Error("a busy hub says when to come again")
	}
}

func TestIdempotencyKey(t *testing.T) {
	b := newBench(t)
	first := b.want(202, b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", "k1"))
	again := b.want(202, b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", "k1"))
	if first.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" {
		t.Errorf("%s, then %s %v", first.Body, again.Body, again.Header())
	}
	other := b.want(202, b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", "k2"))
	if other.Body.String() == first.Body.String() {
		t.Error("another key gave the same signal")
	}
	// Keys are the client's own.
	if w := b.want(202, b.post("/signals", b.operator, revokeBob, "Idempotency-Key", "k1")); w.Body.String() == first.Body.String() {
		t.Error("one client's key answered another")
	}
	b.refused(422, hub.Invalid, "used with another body", b.post("/signals", b.tokens["writer"], strings.Replace(revokeBob, "bob", "eve", 1), "Idempotency-Key", "k1"))
	for _, k := range []string{strings.Repeat("k", 201), "a\x7fb"} {
		b.refused(400, hub.Invalid, "Idempotency-Key must be", b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", k))
	}
	// A request that failed leaves the key free.
	b.broken = hub.Errorf(hub.Unavailable, "busy")
	b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", "k3")
	b.broken = nil
	if w := b.want(202, b.post("/signals", b.tokens["writer"], revokeBob, "Idempotency-Key", "k3")); w.Header().Get("Idempotent-Replayed") != "" {
		t.Error("a failed request took its key")
	}
}

func TestStoryShowsTheTokenInItsScopeOnly(t *testing.T) {
	b := newBench(t)
	full := b.want(200, b.get("/signals/"+b.signal.ID, b.tokens["auditor"])).Body.String()
	less := b.want(200, b.get("/signals/"+b.signal.ID, b.tokens["reader"])).Body.String()
	if !strings.Contains(full, b.signal.Token) || strings.Contains(less, b.signal.Token) || strings.Contains(less, `"token":{"compact"`) {
		t.Error("the token as received belongs to the scope signals.token")
	}
	for _, want := range []string{`"misses":["iss_sub: not of this kind"]`, `"reason":"the source may"`, `"request":"DELETE /admin/users/7/sessions"`, `"receipt_no":"CS-7F3K9Q2M"`, `"claims":{"iss"`} {
		if !strings.Contains(full, want) {
			t.Errorf("the story lacks %s: %s", want, full)
		}
	}
}

// The exported file convinces somebody who knows nothing of this hub.
func TestEvidenceVerifiesElsewhere(t *testing.T) {
	b := newBench(t)
	w := b.want(200, b.get("/receipts/"+b.receipt.ID+"/evidence", b.tokens["auditor"]))
	if rep := receipt.Verify(w.Body.Bytes(), nil, start.Add(time.Minute)); rep.Exit != receipt.ExitFulfilled {
		t.Errorf("verify: %s", rep.Text())
	}
	if !strings.Contains(w.Header().Get("Content-Disposition"), "CS-7F3K9Q2M.evidence.json") {
		t.Error(w.Header())
	}
}

func TestLists(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.mu.Lock()
		b.now = b.now.Add(time.Second)
		b.mu.Unlock()
		b.want(202, b.post("/signals", b.operator, revokeBob))
	}
	var ids []string
	next := ""
	for {
		var l struct {
			Items []struct{ ID string }
			Next  string
		}
		b.decode(b.want(200, b.get("/signals?limit=3&after="+next, b.operator)), &l)
		for _, it := range l.Items {
			ids = append(ids, it.ID)
		}
		if next = l.Next; next == "" {
			break
		}
	}
	if len(ids) != 4 || ids[3] != b.signal.ID {
		t.Errorf("pages gave %v", ids)
	}
	for q, n := range map[string]int{"?source=idp": 1, "?state=done": 1, "?identity=alice": 1, "?event_type=caep/session-revoked": 4, "?event_type=caep/credential-change": 0} {
		var l page[json.RawMessage]
		b.decode(b.want(200, b.get("/signals"+q, b.operator)), &l)
		if len(l.Items) != n {
			t.Errorf("%s gave %d", q, len(l.Items))
		}
	}
	for q, words := range map[string]string{"?limit=0": "limit must be", "?limit=501": "limit must be", "?limit=x": "limit must be", "?sorce=idp": "unknown parameter", "?state=a&state=b": "stands there twice", "?state=open": `there is no state "open"`} {
		b.refused(400, hub.Invalid, words, b.get("/signals"+q, b.operator))
	}
	b.refused(400, hub.Invalid, `there is no state "done"`, b.get("/actions?state=done", b.operator))
	b.refused(400, hub.Invalid, `there is no state "done"`, b.get("/receipts?state=done", b.operator))
	if w := b.get("/signals?after=nonsense", b.operator); w.Code != 400 && w.Code != 200 {
		t.Errorf("a strange cursor: %d", w.Code)
	}
}

func TestBodies(t *testing.T) {
	b := newBench(t)
	b.refused(415, hub.Invalid, "application/json", b.post("/signals", b.operator, revokeBob, "Content-Type", "text/plain"))
	b.refused(415, hub.Invalid, "coded body", b.post("/signals", b.operator, revokeBob, "Content-Encoding", "gzip"))
	b.refused(413, hub.Invalid, "larger than", b.post("/signals", b.operator, `{"txn":"`+strings.Repeat("x", maxBody)+`"}`))
	b.refused(400, hub.Invalid, "body", b.post("/signals", b.operator, strings.Repeat(`{"event":`, 40)+"1"+strings.Repeat("}", 40)))
	w := b.call("PATCH", "/signals", b.operator, "")
	b.refused(405, hub.Invalid, "does not know the method", w)
	if a := w.Header().Get("Allow"); !strings.Contains(a, "POST") || !strings.Contains(a, "GET") {
		t.Errorf("Allow: %s", a)
	}
	b.refused(404, hub.NotFound, "nothing at this path", b.get("/nothing", b.operator))
}

func TestInternalErrorsShowNothing(t *testing.T) {
	b := newBench(t)
	b.broken = errDisk
	p := b.refused(500, hub.Internal, "something went wrong here", b.post("/signals", b.operator, revokeBob))
	if !strings.Contains(b.log.String(), p.Reference) || !strings.Contains(b.log.String(), "secret-path") {
		t.Error("the log must hold the whole error under the reference")
	}
	if strings.Contains(b.log.String(), b.operator) {
		t.Error("the log holds a token")
	}
}

func TestHealth(t *testing.T) {
	b := newBench(t)
	b.want(200, b.get("/healthz", ""))
	b.want(200, b.get("/readyz", ""))
	b.ready = errDisk
	b.refused(503, hub.Unavailable, "not ready", b.get("/readyz", ""))
	b.refused(503, hub.Unavailable, "not ready", b.get("/readyz", ""))
	if n := strings.Count(b.log.String(), "not ready"); n != 1 {
		t.Errorf("a hub that is not ready says so %d times in the log, wanted once: %s", n, b.log.String())
	}
	b.want(200, b.get("/healthz", ""))
	b.refused(401, hub.Unauthenticated, "token is needed", b.get("/metrics", ""))
	b.want(200, b.get("/metrics", b.operator))
	b.cfg.MetricsOpen = true
	b.door = New(b.cfg)
	b.want(200, b.get("/metrics", ""))
}

func TestSecretsAreWriteOnly(t *testing.T) {
	b := newBench(t)
	w := b.want(200, b.call("PUT", "/secrets/wiki-token", b.operator, `{"value":"hunter2hunter2"}`))
	list := b.want(200, b.get("/secrets", b.operator))
	if strings.Contains(w.Body.String()+list.Body.String(), "hunter2") || !strings.Contains(list.Body.String(), "wiki-token") {
		t.Errorf("%s %s", w.Body, list.Body)
	}
	for name, value := range map[string]string{"a%20b": "x", "ok": "", "-x": "x", "big": strings.Repeat("x", maxSecret+1)} {
		if w := b.call("PUT", "/secrets/"+name, b.operator, `{"value":"`+value+`"}`); w.Code != 400 {
			t.Errorf("secret %s: %d", name, w.Code)
		}
	}
}

func FuzzDecodeBody(f *testing.F) {
	for _, s := range []string{revokeBob, `{}`, `{"do":null}`, `[]`, `{"a":{"a":{}}}`, `{"event_type":"\ud800"}`, "{\"txn\":\"\x00\"}", `{"event_type":"x","event_type":"y"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req signalRequest
		err := decodeBody(data, maxBody, &req)
		if err != nil {
			if hub.CodeOf(err) != hub.Invalid {
				t.Errorf("code %s for %q", hub.CodeOf(err), data)
			}
			return
		}
		if !json.Valid(data) {
			t.Errorf("took what is no JSON: %q", data)
		}
	})
}

func FuzzApplyDocument(f *testing.F) {
	for _, s := range []string{appDoc, identityDoc, policyDoc, sourceDoc, `{"kind":"identity","name":"x","labels":["\ud83d\ude80"]}`, `{"apiVersion":"countersign/v1"}`, `{"kind":"app","name":"---"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return // decodeBody has refused it before
		}
		docs, err := decodeDocs([]json.RawMessage{data}, "")
		if err == nil && len(docs) == 1 && (docs[0].Name == "" || !json.Valid(docs[0].Spec)) {
			t.Errorf("%q gave %+v", data, docs)
		}
	})
}
