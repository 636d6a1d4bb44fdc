package server

import (
	"testing"

	"countersign/internal/hub"
)

// ALL means every session by the profile of Keycloak and where a source relaxes Q-34, and nowhere else.
func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		source hub.Source
		want   bool
	}{
		{hub.Source{}, false},
		{hub.Source{Profile: "keycloak"}, true},
		{hub.Source{Profile: "okta"}, false},
		{hub.Source{Relax: []string{"Q-34"}}, true},
		{hub.Source{Relax: []string{"Q-31"}}, false},
		{hub.Source{Profile: "keycloak", Relax: []string{"Q-00"}}, false},
	} {
		if got := wildcards(&c.source); got != c.want {
			t.Errorf("%+v: %v", c.source, got)
		}
	}
}
