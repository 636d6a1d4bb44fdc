package decide_test

import (
	"testing"

	"countersign/internal/flow/decide"
	"countersign/internal/req"
	"countersign/policies"
)

func TestTemplates(t *testing.T) {
	if len(policies.Templates()) < 2 {
		t.Fatal("the starter templates are missing")
	}
	for _, tpl := range policies.Templates() {
		t.Run(tpl.Name, func(t *testing.T) {
			set, err := decide.Load(tpl.Policy, decide.Types())
			if err != nil {
				t.Fatal(err)
			}
			results, err := decide.Run(set, tpl.Tests)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if !r.OK {
					t.Errorf("%s\n%s", r.Name, r.Diff)
				}
			}
			req.Covers(t, "S10")
		})
	}
}
