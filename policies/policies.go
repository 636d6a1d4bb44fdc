package policies

import "embed"

// FS holds every template folder.
//
//go:embed */policy.yaml */tests.yaml
var FS embed.FS

// Template is one starter policy.
type Template struct {
	Name   string // the folder's name
	Policy []byte // policy.yaml
	Tests  []byte // tests.yaml
}

// Templates lists the starter policies by name.
func Templates() []Template {
	entries, err := FS.ReadDir(".")
	if err != nil {
		return nil
	}
	var out []Template
	for _, e := range entries {
		policy, err := FS.ReadFile(e.Name() + "/policy.yaml")
		if err != nil {
			continue
		}
		tests, err := FS.ReadFile(e.Name() + "/tests.yaml")
		if err != nil {
			continue
		}
		out = append(out, Template{Name: e.Name(), Policy: policy, Tests: tests})
	}
	return out
}
