package transmitter_test

import (
	"context"
	"testing"

	"countersign/internal/req"
	"countersign/subject"
	"countersign/transmitter"
)

// pauseStore runs a hook between the reading of rows and the answer.
type pauseStore struct {
	*transmitter.Memory
	hook func()
}

func (s *pauseStore) Next(ctx context.Context, stream, after int64, n int) ([]transmitter.Item, error) {
	items, err := s.Memory.Next(ctx, stream, after, n)
	if s.hook != nil {
		hook := s.hook
		s.hook = nil
		hook()
	}
	return items, err
}

// A pause is in force when its 200 leaves, also for a poll that has read its rows already.
func TestPauseOvertakesPoll(t *testing.T) {
	store := &pauseStore{Memory: new(transmitter.Memory)}
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", pollBody)
	sendN(t, x, 2)
	store.hook = func() {
		if r := do(x, call{method: "POST", path: "/t/blue/ssf/status", token: "token-a", body: `{"stream_id":"` + id + `","status":"paused"}`}); r.StatusCode != 200 {
			t.Fatal(r.StatusCode)
		}
	}
	if p := poll(t, x, "token-a", id, `{`+at+`}`); p.Text != `{"sets":{}}` {
		t.Errorf("%s", p.Text)
	}
	req.Covers(t, "TX-104")
}

func TestPollScope(t *testing.T) {
	x := newTransmitter(t, newConfig(new(transmitter.Memory)))
	id := create(t, x, "token-a", pollBody)
	sendN(t, x, 1)
	for token, want := range map[string]int{"rcpt-a": 403, "read-a": 200, "token-a": 200, "token-b": 404} {
		if p := poll(t, x, token, id, `{`+at+`}`); p.Status != want {
			t.Errorf("%s: %d, want %d", token, p.Status, want)
		}
	}
	req.Covers(t, "TX-20", "TX-192", "IOP-37", "IOP-44")
}

// A key that is missing holds back one SET and what comes after it about the same person, and nothing else.
func TestPollWithoutKey(t *testing.T) {
	store := new(transmitter.Memory)
	x := newTransmitter(t, newConfig(store))
	id := create(t, x, "token-a", pollBody)
	st, _ := store.Stream(t.Context(), "a", id)
	lost := transmitter.Row{Stream: st.Key, StreamID: id, JTI: "lost", KeyID: "nowhere", Algorithm: "ES256"}
	sub, _ := subject.Parse([]byte(mail("alice")))
	out := &transmitter.Outgoing{Event: transmitter.Event{Type: sessionRevoked, Subject: sub.Key(), Body: []byte(`,"events":{}}`)}, Rows: []transmitter.Row{lost}}
	if err := store.Enqueue(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	mustSend(t, x, message("alice"))
	bob := mustSend(t, x, message("bob")).Queued[0].JTI
	if p := poll(t, x, "token-a", id, `{`+at+`}`); len(p.Sets) != 1 || p.Sets[bob] == "" {
		t.Errorf("%s", p.Text)
	}
}
