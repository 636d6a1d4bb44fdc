package req

import "testing"

// Covers records that the running test proves the ids. Call it beside the assertion.
func Covers(t testing.TB, ids ...string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		for _, id := range ids {
			t.Logf("covers %s", id)
		}
	})
}
