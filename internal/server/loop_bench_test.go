package server

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"countersign/internal/stage"
	"countersign/transmitter"
)

// BenchmarkLoop is one order after the other in eight lines: in by push, one session ended and proven, the receipt
// accepted. Everything runs in this process, the identity provider and the application too.
func BenchmarkLoop(b *testing.B) {
	w := newWorld(b)
	w.apply(docWiki + docIDP)
	w.streamReady()
	b.SetParallelism(4)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := w.count.Add(1)
			id := fmt.Sprintf("u%d", n)
			email := id + "@example.test"
			w.sites["wiki"].AddPerson(stage.Person{ID: id, Email: email})
			w.sites["wiki"].SignInAs(id)
			sent, err := w.idp.Send(context.Background(), transmitter.Message{Type: sessionRevoked, SubID: json.RawMessage(`{"format":"email","email":"` + email + `"}`),
				Payload: json.RawMessage(`{}`), Order: json.RawMessage(`{"obligation":"must","actions":[{"id":"a1","action":"revoke_sessions"}],"receipt":{"evidence":"verified"}}`)})
			if err != nil {
				b.Error(err)
				return
			}
			if r := w.await(sent.JTI); r.Outcome != "fulfilled" {
				b.Errorf("outcome %s", r.Outcome)
			}
		}
	})
}
