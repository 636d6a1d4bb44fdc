package partner

import "testing"

func TestAll(t *testing.T) {
	for _, p := range All() {
		t.Log(p.Name, p.Title, p.QuirkIDs)
	}
}
