package transmitter_test

import (
	"strings"
	"testing"

	"countersign/ssftest"
	"countersign/transmitter"
)

// A receiver that sends its credential back does not get it into what is kept and logged.
func TestCredentialSentBack(t *testing.T) {
	r := ssftest.NewReceiver(t)
	r.Always(ssftest.Answer{Status: 400, Body: strings.NewReader(`{"err":"invalid_request","description":"you sent Bearer its-own-secret"}`)})
	store := new(transmitter.Memory)
	cfg := newConfig(store)
	cfg.Transport = r.Transport()
	x := newTransmitter(t, cfg)
	st := putStream(t, store, "s1", r.URL)
	if _, err := store.UpdateStream(t.Context(), st.Receiver, st.ID, func(s *transmitter.Stream) error { s.Authorization = "Bearer its-own-secret"; return nil }); err != nil {
		t.Fatal(err)
	}
	running(t, x)
	mustSend(t, x, message("alice"))
	eventually(t, "set aside", func() bool { return count(t, store, st).Dead == 1 })
	dead, err := store.Dead(t.Context(), st.Key, 1)
	if err != nil || !strings.Contains(dead[0].Reason, "you sent Bearer ***") {
		t.Errorf("kept: %q, %v", dead[0].Reason, err)
	}
}
