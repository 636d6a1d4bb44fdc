package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// What each command asks of the hub, and what a person sees.
func TestSourceCommands(t *testing.T) {
	stream := &enroll.State{StreamID: "s1", Live: enroll.Live{Asked: 5, Verified: 6}}
	h := newFakeHub(t, map[string]any{
		"POST /sources/kc/stream/create": enroll.StepResult{Verb: "create", Answer: []byte(`{"stream_id":"s1"}`), Stream: stream},
		"POST /sources/kc/stream/status": enroll.StepResult{Verb: "status", Answer: []byte(`{"status":"paused"}`), Stream: stream},
		"POST /sources/kc/stream/poll": enroll.StepResult{Verb: "poll", Stream: stream, More: true, Note: "acknowledged with the next poll",
			Sets: []enroll.PolledSet{{JTI: "j1", Result: "kept"}, {JTI: "j2\x1b[2J", Result: "refused", Reason: "invalid_key: no"}}},
		"POST /sources/kc/stream/delete": enroll.StepResult{Verb: "delete", Stream: stream},
		"POST /sources/kc/pause":         enroll.StepResult{Verb: "status", Answer: []byte(`{"status":"paused"}`), Stream: stream},
		"POST /sources/kc/verify":        enroll.StepResult{Verb: "verify", State: "x", Stream: stream},
		"GET /sources/kc":                map[string]any{"state": map[string]any{"stream_state": stream}},
		"GET /sources/kc/refusals":       map[string]any{"items": []any{hub.Refusal{ID: "r1", Err: "invalid_audience", Reason: "aud is another", Count: 3, Cure: "set the audience there", Side: "theirs", Last: 1763990000000000}}},
		"POST /sources/kc/subjects":      api.SubjectsLine{Done: &api.SubjectsProgress{Row: 2, Done: 1, Refused: 1}},
		"GET /sources/kc/doctor": enroll.Examination{Source: "kc", Profile: "keycloak",
			Findings: []enroll.Finding{{Check: "metadata", Result: "fail", Seen: "it is elsewhere", Fix: "write metadata_url", Side: "ours", Quirk: "Q-01"}}},
		"GET /sources": map[string]any{"items": []any{
			map[string]any{"kind": "source", "name": "kc", "spec": map[string]any{"name": "kc", "issuer": "https://kc.example.test", "stream": "create", "delivery": "poll"}, "state": map[string]any{"stream_state": map[string]any{"status": "made"}}},
			map[string]any{"kind": "source", "name": "bad", "spec": map[string]any{"name": "bad", "issuer": "https://bad.example.test", "stream": "create"}, "state": map[string]any{"problem": "it answers 401", "stream_state": map[string]any{"status": "failed"}}},
			map[string]any{"kind": "source", "name": "hand", "spec": map[string]any{"name": "hand", "issuer": "https://hand.example.test", "stream": "none"}, "state": map[string]any{"stream_state": map[string]any{"status": "none"}}}}},
		"GET /sources/shown": map[string]any{"kind": "source", "name": "shown", "spec": map[string]any{"name": "shown"}, "state": map[string]any{"polls": map[string]any{"at": 1763990000000000, "sets": 1},
			"stream_state": map[string]any{"verify_pending": []any{map[string]any{"state": "", "at": 1763990000000000}}}}},
		"GET /signals/sig_1":         map[string]any{"id": "sig_1", "source": "legacy", "event_type": "https://schemas.openid.net/secevent/caep/event-type/session-revoked"},
		"GET /signals/sig_2":         map[string]any{"id": "sig_2", "source": "gone", "event_type": "https://schemas.openid.net/secevent/caep/event-type/session-revoked"},
		"GET /sources/legacy":        map[string]any{"state": map[string]any{"receipts": "legacy"}},
		"POST /sources/kc/authorize": api.ConsentAnswer{URL: "https://as.example.test/go", Ticket: "tick", Done: true},
	})
	file := filepath.Join(t.TempDir(), "subjects")
	if err := os.WriteFile(file, []byte(`{"format":"email","email":"a@example.test"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		asks   string
		out    string
		status int
	}{
		{"source stream kc create --event caep/session-revoked", `POST /sources/kc/stream/create {"events":["caep/session-revoked"]}`, "stream_id: s1", 0},
		{"source stream kc status --set paused --reason r", `POST /sources/kc/stream/status {"status":"paused","reason":"r"}`, "status: paused", 0},
		{"source stream kc poll --max 3", `POST /sources/kc/stream/poll {"max":3}`, "kept  j1\nrefused  j2", 0},
		{"source stream kc delete", `POST /sources/kc/stream/delete {}`, "deleted", 0},
		{"source pause kc --reason r", `POST /sources/kc/pause {"reason":"r"}`, "status: paused", 0},
		{"source verify kc", `GET /sources/kc`, "the verification event arrived", 0},
		{"source verify kc --wait 0s", `POST /sources/kc/verify`, "asked for a verification event", 0},
		{"signal show sig_1", `GET /sources/legacy`, "none was ordered: receipts are not supported by legacy", 0},
		{"signal show sig_2", `GET /sources/gone`, "none was ordered\n", 0},
		{"source list", `GET /sources?limit=200`, "poll  create  -          -    made", 0},
		{"source list", `GET /sources?limit=200`, "push  none    -          -    ready", 0},
		{"source show shown", `GET /sources/shown`, `at: "2025-11-24 13:13:20Z"`, 0},
		{"source refused kc", `GET /sources/kc/refusals?limit=20`, "-> there: set the audience there", 0},
		{"source subjects add kc " + file, `POST /sources/kc/subjects {"format":"email","email":"a@example.test"}`, "added 1 of 2 subjects", 0},
		{"source subjects remove kc " + file, `POST /sources/kc/subjects?remove=true {"format":"email","email":"a@example.test"}`, "removed 1 of 2 subjects", 0},
		{"doctor source kc", `GET /sources/kc/doctor`, "-> here: write metadata_url", 1},
		{"source stream nobody read", `POST /sources/nobody/stream/read {}`, "", 4},
	} {
		r := h.run(t, strings.Fields(c.args)...)
		if r.status != c.status || !strings.Contains(r.stdout, c.out) || h.last() != c.asks || strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%s: status %d, asked %q, out %q, err %q", c.args, r.status, h.last(), r.stdout, r.stderr)
		}
	}
	if r := h.run(t, "source", "list"); !strings.Contains(r.stderr, "bad: it answers 401\n  next: countersign doctor source bad") {
		t.Errorf("what is wrong with a source of the list: %q", r.stderr)
	}
	if r := h.run(t, "source", "show", "shown"); strings.Contains(r.stdout, "176399") {
		t.Errorf("a moment is shown as a number: %q", r.stdout)
	}
	// A consent whose answer is pasted.
	r := command(t, nil, "https://hub.example.test/back?code=c&state=s#x\n", "source", "authorize", "kc", "--redirect-uri", "https://hub.example.test/back", "--server", h.URL, "--token", "t")
	if r.status != 0 || h.last() != `POST /sources/kc/authorize {"redirect_uri":"","ticket":"tick","answer":"code=c\u0026state=s"}` || !strings.Contains(r.stderr, "https://as.example.test/go") {
		t.Errorf("authorize: status %d, asked %q, err %q", r.status, h.last(), r.stderr)
	}
}
