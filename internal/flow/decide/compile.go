package decide

import (
	"countersign/internal/hub"
)

// Versioned is one policy with the version of its resource.
type Versioned struct {
	Policy  hub.Policy
	Version int64
}

// Compiled is one policy, checked and ready. It is immutable.
type Compiled struct {
	Policy  hub.Policy
	Version int64
}

// Set is all policies of a tenant in their order. It is immutable and safe for concurrent use.
type Set struct{ policies []*Compiled }

// NewSet orders compiled policies: by order, then by name.
func NewSet(policies ...*Compiled) *Set { panic("soon") }

// Decide gives the decision for one signal. The same input gives the same decision but for its ids.
// Its error is that of in.Used; a policy that fails to evaluate is a finding, not an error.
func (s *Set) Decide(in Input) (*Result, error) { panic("soon") }

// RunTests runs the tests of one file against one policy file, as `countersign policy test` does.
func RunTests(policyFile, testsFile string) ([]TestResult, error) { panic("soon") }

// TestResult is one test of a tests.yaml.
type TestResult struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Diff string `json:"diff,omitempty"` // what was wanted and what came
}
