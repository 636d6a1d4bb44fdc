package pgtest_test

import (
	"strings"
	"testing"

	"countersign/internal/pgtest"
)

func TestURLGivesFreshSchemas(t *testing.T) {
	a, first := pgtest.URL(t)
	b, second := pgtest.URL(t)
	if a != b || first == second {
		t.Fatalf("two calls gave %q %q and %q %q", a, first, b, second)
	}
	if !strings.HasPrefix(a, "postgres") {
		t.Fatalf("address %q", a)
	}
}
