package enroll

import (
	"slices"
	"testing"
)

// A transmitter that gives a stream no aud of its own is asked for one: the hub's name (seen at goSignals).
func TestAudienceAskedFor(t *testing.T) {
	for quirk, want := range map[string][]string{"Q-18/create": {"https://hub.example.test"}, "Q-45": nil} {
		r := newRig(t)
		r.src.Relax = []string{quirk}
		w, err := r.e.want(t.Context(), "default", r.src, &State{ReceiveID: "r"})
		if err != nil || !slices.Equal(w.Audience, want) {
			t.Errorf("%s: %v, want %v; %v", quirk, w.Audience, want, err)
		}
	}
}
