package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/partner"
)

func TestPartners(t *testing.T) {
	r := command(t, nil, "", "partners")
	if r.status != 0 || !strings.HasPrefix(r.stdout, "PROFILE") || strings.Count(r.stdout, "\n") != len(partner.All())+1 {
		t.Fatalf("%d\n%s%s", r.status, r.stdout, r.stderr)
	}
	for _, want := range []string{"keycloak", "Q-34 Q-45", "run 2026-11-22"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the table lacks %q", want)
		}
	}
	r = command(t, nil, "", "partners", "--json")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.status != 0 || len(lines) != len(partner.All()) {
		t.Fatalf("%d lines\n%s", len(lines), r.stderr)
	}
	var one struct {
		Name, Sure, Guide string
		Quirks            []string
	}
	if err := json.Unmarshal([]byte(lines[1]), &one); err != nil || one.Name != partner.All()[1].Name || one.Guide != "" {
		t.Errorf("%v %+v", err, one)
	}

	r = command(t, nil, "", "partners", "keycloak")
	if r.status != 0 || !strings.Contains(r.stdout, "# Keycloak") || !strings.Contains(r.stdout, "profile: keycloak") || !strings.Contains(r.stdout, "ssf.defaultSubjects") {
		t.Errorf("%d\n%s%s", r.status, r.stdout, r.stderr)
	}
	r = command(t, nil, "", "partners", "okta", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &one); err != nil || one.Name != "okta" || !strings.Contains(one.Guide, "Okta user id") || len(one.Quirks) != 1 {
		t.Errorf("%v %+v", err, one)
	}
	r = command(t, nil, "", "partners", "keycloack")
	if r.status == 0 || !strings.Contains(r.stderr, "did you mean keycloak?") {
		t.Errorf("%d %s", r.status, r.stderr)
	}
	r = command(t, nil, "", "partners", "two", "names")
	if r.status == 0 {
		t.Error("two names are taken")
	}
}
