package store

import (
	"testing"

	"countersign/transmitter"
)

// What waits is known after a start, with the streams that it waits on; what was delivered and what is another tenant's is not.
func TestTold(t *testing.T) {
	eachEngine(t, func(t *testing.T, s *Store) {
		v, other := s.Transmitter(tenant, nil), s.Transmitter("blue", nil)
		st, theirs := &transmitter.Stream{ID: "str_1", Receiver: "r", Status: transmitter.Enabled}, &transmitter.Stream{ID: "str_2", Receiver: "r", Status: transmitter.Enabled}
		must(t, v.CreateStream(t.Context(), st, 0))
		must(t, other.CreateStream(t.Context(), theirs, 0))
		for _, txn := range []string{"a", "b", ""} {
			out := outgoing(st, 0, "jti-"+txn)
			out.Event.TXN = txn
			must(t, v.Enqueue(t.Context(), out))
		}
		out := outgoing(theirs, 0, "jti-c")
		out.Event.TXN = "c"
		must(t, other.Enqueue(t.Context(), out))
		_, err := v.Acknowledge(t.Context(), st.Key, []string{"jti-b"}, nil, 1)
		must(t, err)
		got, err := v.Told(t.Context(), 10)
		must(t, err)
		if len(got) != 1 || got[0] != (Told{TXN: "a", Type: "urn:example:a", Stream: st.Key}) {
			t.Errorf("%+v", got)
		}
		if got, err = v.Told(t.Context(), 0); err != nil || len(got) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
