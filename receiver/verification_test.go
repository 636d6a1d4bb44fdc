package receiver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/event/ssf"
	"countersign/internal/req"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

func TestVerification(t *testing.T) {
	verification := func(payload string) *set.Claims {
		c := claims()
		c.SubID = json.RawMessage(`{"format":"opaque","id":"` + streamID + `"}`)
		c.Events[0] = set.Event{Type: ssf.VerificationURI, Payload: json.RawMessage(payload)}
		return c
	}
	tests := []struct {
		name, payload string
		answer        error
		status        int
		code          string
		states        []string
		covers        []string
	}{
		{"our state", `{"state":"s1"}`, nil, 202, "", []string{`"s1" true`}, []string{"RX-40"}},
		{"not our state", `{"state":"s2"}`, fmt.Errorf("no: %w", receiver.ErrState), 400, stream.InvalidState, []string{`"s2" true`}, []string{"RX-40", "RX-41", "P-70"}},
		{"unasked", `{}`, receiver.ErrState, 202, "", []string{`"" false`}, []string{"RX-42", "P-69"}},
		{"null", `{"state":null}`, receiver.ErrState, 202, "", []string{`"" false`}, []string{"RX-42", "P-69"}},
		{"the store is down", `{"state":"s1"}`, errors.New("down"), 503, stream.Unavailable, []string{`"s1" true`}, nil},
		{"state is a number", `{"state":1}`, nil, 400, stream.InvalidRequest, nil, []string{"EV-4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.verify = tt.answer
			w := b.do(push(sign(t, verification(tt.payload))))
			req.Covers(t, tt.covers...)
			if tt.status == 202 {
				if w.Code != 202 || len(b.kept) != 1 || !b.kept[0].StreamEvent {
					t.Errorf("answer %d %s, kept %d", w.Code, w.Body, len(b.kept))
				}
			} else {
				refused(t, w, tt.status, tt.code)
				if len(b.kept) != 0 {
					t.Errorf("kept %d", len(b.kept))
				}
			}
			if diff := cmp.Diff(tt.states, b.states); diff != "" {
				t.Errorf("states:\n%s", diff)
			}
		})
	}
	t.Run("about a person, at an address that does not know its stream id", func(t *testing.T) {
		b, c := newBench(t), verification(`{}`)
		b.handler.StreamID = ""
		c.SubID = json.RawMessage(`{"format":"email","email":"jane@example.com"}`)
		req.Covers(t, "EV-5")
		refused(t, b.do(push(sign(t, c))), 400, stream.InvalidRequest)
	})
	t.Run("without a function", func(t *testing.T) {
		b := newBench(t)
		b.handler.Verification = nil
		if w := b.do(push(sign(t, verification(`{"state":"any"}`)))); w.Code != 202 {
			t.Errorf("answer %d %s", w.Code, w.Body)
		}
	})
	t.Run("stream updated", func(t *testing.T) {
		b, c := newBench(t), verification(`{}`)
		c.Events[0] = set.Event{Type: ssf.StreamUpdatedURI, Payload: json.RawMessage(`{"status":"paused","reason":"r"}`)}
		w := b.do(push(sign(t, c)))
		req.Covers(t, "RX-99")
		if w.Code != 202 || len(b.kept) != 1 {
			t.Fatalf("answer %d %s", w.Code, w.Body)
		}
		if diff := cmp.Diff(&ssf.StreamUpdated{Status: "paused", Reason: "r"}, b.kept[0].Payload); diff != "" {
			t.Errorf("payload:\n%s", diff)
		}
	})
}
