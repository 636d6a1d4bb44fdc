package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/event/caep"
	"countersign/event/ssf"
	"countersign/internal/flow/ingest"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/receipt"
	"countersign/receiver"
	"countersign/stream"
)

// What is pushed and what is polled goes the same way, and nothing is answered before it is kept.
func TestPushAndPollAreOneDoor(t *testing.T) {
	for _, door := range []string{ingest.Push, ingest.Poll} {
		t.Run(door, func(t *testing.T) {
			h := newHouse(t, func(s *ingest.Source) { s.Door = door }, nil)
			give := func(token string) error {
				if door == ingest.Poll {
					return h.Take(t.Context(), h.source, token)
				}
				if w := h.push(token); w.Code != http.StatusAccepted || w.Body.Len() > 0 {
					return errors.New(w.Result().Status + w.Body.String())
				}
				return nil
			}
			first := h.about(person, "jti", `"one"`, "txn", `"t1"`)
			for range 2 { // the second is a repeat: answered like the first, and kept once
				if err := give(first); err != nil {
					t.Fatal(err)
				}
			}
			if err := give(h.about(person, "jti", `"two"`, "txn", `"t1"`)); err != nil { // one txn is no repeat
				t.Fatal(err)
			}
			if len(h.shelf.sigs) != 2 || h.shelf.sigs[0].Door != door || h.shelf.sigs[0].Token != first || h.shelf.sigs[1].JTI != "two" {
				t.Errorf("kept %d: %+v", len(h.shelf.sigs), h.shelf.sigs)
			}
			h.shelf.fail = hub.Errorf(hub.Unavailable, "the disk is slow")
			if err := give(h.about(person)); err == nil {
				t.Error("what was not kept was answered")
			}
			h.shelf.fail = nil
			var refused stream.WireError
			err := give(h.about(person, "jti", `"one"`, "sub_id", `{"format":"email","email":"eve@example.test"}`))
			if err == nil || door == ingest.Poll && !errors.As(err, &refused) {
				t.Errorf("a clash gave %v", err)
			}
			req.Covers(t, "RX-58", "RX-64", "RX-78", "RX-80", "RX-87", "RX-88", "RX-90", "IOP-20", "IOP-21", "Q-50")
		})
	}
	h := newHouse(t, func(s *ingest.Source) { s.Door = ingest.Poll }, nil)
	if w := h.push(h.about(person)); w.Code != http.StatusNotFound {
		t.Errorf("a source that is polled took a push: %d", w.Code)
	}
	h = newHouse(t, nil, nil)
	if err := h.Take(t.Context(), h.source, h.about(person)); err == nil || len(h.shelf.sigs) != 0 {
		t.Errorf("a source that pushes was polled: %v", err)
	}
}

// A verification event is answered while the request that asked for it is still under way, in any order with others; one
// without state is never refused.
func TestVerificationWaitsForNobody(t *testing.T) {
	asked := make(chan struct{})
	var states []string
	h := newHouse(t, nil, func(c *ingest.Config) {
		c.Verified = func(_ context.Context, tenant, source, state string, has bool) error {
			if tenant != "default" || source != "idp" {
				t.Errorf("told of %s %s", tenant, source)
			}
			states = append(states, state)
			if has && state != "mine" {
				return receiver.ErrState
			}
			return nil
		}
	})
	verification := func(payload string) string {
		return h.token(ssf.VerificationURI, `{"format":"opaque","id":"s1"}`, payload)
	}
	go func() { // the transmitter verifies before it answers
		defer close(asked)
		if w := h.push(verification(`{"state":"mine"}`)); w.Code != http.StatusAccepted {
			t.Errorf("ours: %d %s", w.Code, w.Body)
		}
	}()
	<-asked
	if w := h.push(h.about(person)); w.Code != http.StatusAccepted {
		t.Errorf("an event between: %d", w.Code)
	}
	for payload, want := range map[string]int{`{}`: 202, `{"state":"mine"}`: 202, `{"state":"theirs"}`: 400} {
		if w := h.push(verification(payload)); w.Code != want || want == 400 && !strings.Contains(w.Body.String(), stream.InvalidState) {
			t.Errorf("%s: %d %s", payload, w.Code, w.Body)
		}
	}
	if len(states) != 4 || len(h.shelf.sigs) != 1 {
		t.Errorf("states %q, %d signals", states, len(h.shelf.sigs))
	}
	req.Covers(t, "RX-39", "RX-40", "RX-41", "RX-42", "Q-23", "Q-27")
}

// The transmitter tells that it changed our stream; what it says is kept, and where it cannot be it is told again.
func TestStreamUpdated(t *testing.T) {
	var got string
	fail := false
	h := newHouse(t, nil, func(c *ingest.Config) {
		c.Updated = func(_ context.Context, _, source, status, reason string) error {
			if fail {
				return errors.New("the store is down")
			}
			got = source + " " + status + " " + reason
			return nil
		}
	})
	updated := h.token(ssf.StreamUpdatedURI, `{"format":"opaque","id":"s1"}`, `{"status":"paused","reason":"Wartung\u001b[2J"}`)
	if w := h.push(updated); w.Code != 202 || got != "idp paused Wartung\uFFFD[2J" {
		t.Errorf("%d %q", w.Code, got)
	}
	fail = true
	if w := h.push(updated); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("not kept: %d", w.Code)
	}
	if len(h.shelf.sigs) != 0 {
		t.Error("a stream event is no signal")
	}
	req.Covers(t, "RX-99")
}

// RX-66: an event whose subject has a critical member that nothing here interprets is taken and leads to nothing.
func TestCriticalMembers(t *testing.T) {
	device := `{"format":"complex","user":` + person + `,"device":{"format":"opaque","id":"laptop"}}`
	for _, tc := range []struct {
		name       string
		critical   []string
		interprets []string
		sub        string
		discarded  string
	}{
		{"none said", nil, nil, device, ""},
		{"one that is interpreted", []string{"user"}, []string{"user"}, device, ""},
		{"one that is not", []string{"user", "device"}, []string{"user", "session"}, device, "device"},
		{"not there", []string{"tenant"}, []string{"user"}, device, ""},
		{"of one part", []string{"device"}, nil, person, ""},
		{"one of another's making", []string{"fleet"}, []string{"user"}, `{"format":"complex","user":` + person + `,"fleet":{"format":"opaque","id":"f"}}`, "fleet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, func(s *ingest.Source) { s.Critical, s.Interprets = tc.critical, tc.interprets }, nil)
			token := h.about(tc.sub)
			for range 2 {
				if w := h.push(token); w.Code != http.StatusAccepted {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			if len(h.shelf.sigs) != 1 {
				t.Fatalf("%d kept", len(h.shelf.sigs))
			}
			sig := h.shelf.sigs[0]
			if tc.discarded == "" && sig.State != hub.SignalReceived || tc.discarded != "" && (sig.State != hub.SignalDone || !strings.Contains(sig.Reason, tc.discarded)) {
				t.Errorf("%s: %s", sig.State, sig.Reason)
			}
			req.Covers(t, "RX-11", "RX-66", "SUB-31")
		})
	}
	// An order about such a subject is discarded, too, but its sender hears of it: it stays open until its receipt is due.
	h := newHouse(t, func(s *ingest.Source) { orders(s); s.Critical = []string{"device"} }, nil)
	directive := fmt.Sprintf(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions","params":{"reach":"global"}}],"complete_by":%d,"receipt":{"when":"final"}}`, time.Now().Unix()+600)
	if w := h.push(h.about(device, receipt.Default().Directive, directive)); w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if sig := h.shelf.sigs[0]; sig.Order == nil || sig.State != hub.SignalReceived {
		t.Errorf("%+v", sig)
	}
}

// Beyond its rate a source is told to come later, without a look at what it sends; others are not concerned. What is polled waits.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(s *ingest.Source) { s.Rate, s.Per = 2, 10*time.Second }, nil)
		for i, want := range []int{202, 202, 429, 429} {
			w := h.push(h.about(person))
			if w.Code != want {
				t.Fatalf("%d: %d", i, w.Code)
			}
			if want == 429 && w.Header().Get("Retry-After") != "5" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
		}
		h.Prepare(h.source) // other settings changed: its bucket is not filled again
		if w := h.push("rubbish"); w.Code != 429 {
			t.Errorf("after a reload, rubbish: %d", w.Code)
		}
		time.Sleep(5 * time.Second)
		if w := h.push("rubbish"); w.Code != 400 { // ours or not, each counts
			t.Errorf("after a while, rubbish: %d", w.Code)
		}
		if w := h.push(h.about(person)); w.Code != 429 {
			t.Errorf("after that: %d", w.Code)
		}
		free := newHouse(t, nil, nil)
		for range 50 {
			if w := free.push(free.about(person)); w.Code != 202 {
				t.Fatal(w.Code)
			}
		}
		polled := newHouse(t, func(s *ingest.Source) { s.Door, s.Rate, s.Per = ingest.Poll, 1, time.Minute }, nil)
		began := time.Now()
		for range 3 {
			if err := polled.Take(t.Context(), polled.source, polled.about(person)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 119*time.Second || took > 121*time.Second {
			t.Errorf("three at one a minute took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wire stream.WireError
		if err := polled.Take(ctx, polled.source, polled.about(person)); err == nil || errors.As(err, &wire) {
			t.Errorf("who stops meanwhile is neither acknowledged nor refused: %v", err)
		}
	})
	req.Covers(t, "RX-81")
}

// peer-lessons 1: a transmitter asks for the status of our address before its first token. That is nothing, and costs nothing.
func TestNothingIsBelowAnAddress(t *testing.T) {
	refused := 0
	h := newHouse(t, nil, func(c *ingest.Config) { c.Refused = func(string) { refused++ } })
	for path, id := range map[string]string{"/receive/a1/status": "a1/status", "/receive/": "", "/receive/a2": "a2", "/receive/a1/": "a1/"} {
		if w := h.get(path, id); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	h.Refusals.Flush(t.Context())
	if refused != 0 || len(h.ledger.list()) != 0 {
		t.Errorf("%d refusals counted, %d kept", refused, len(h.ledger.list()))
	}
	if w := h.push(h.about(person)); w.Code != http.StatusAccepted {
		t.Errorf("afterwards: %d", w.Code)
	}
	req.Covers(t, "L-1")
}

// Every credential type and every change of CAEP is read, another word is not taken for one of them.
func TestEveryCredentialChange(t *testing.T) {
	h := newHouse(t, nil, nil)
	n := 0
	for _, credential := range []string{"password", "pin", "x509", "fido2-platform", "fido2-roaming", "fido-u2f", "verifiable-credential", "phone-voice", "phone-sms", "app"} {
		for _, change := range []string{"create", "revoke", "update", "delete"} {
			n++
			if w := h.push(h.token(caep.CredentialChangeURI, person, fmt.Sprintf(`{"credential_type":%q,"change_type":%q}`, credential, change))); w.Code != http.StatusAccepted {
				t.Errorf("%s %s: %d %s", credential, change, w.Code, w.Body)
			}
		}
	}
	for _, payload := range []string{`{"credential_type":"password","change_type":"revoked"}`, `{"credential_type":"password"}`, `{"change_type":"create"}`} {
		if w := h.push(h.token(caep.CredentialChangeURI, person, payload)); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", payload, w.Code)
		}
	}
	if len(h.shelf.sigs) != n {
		t.Errorf("%d of %d kept", len(h.shelf.sigs), n)
	}
	req.Covers(t, "IOP-49")
}
