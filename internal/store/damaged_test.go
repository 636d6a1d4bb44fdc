package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/hub"
)

// A database file that is damaged, or something else, is named as that, with what to do.
func TestDamagedFile(t *testing.T) {
	for name, content := range map[string][]byte{
		"not a database": bytes.Repeat([]byte("noise "), 2000),
		"a damaged page": append([]byte("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20"), bytes.Repeat([]byte{0x5a}, 8192)...),
	} {
		path := filepath.Join(t.TempDir(), "countersign.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), "sqlite:"+path, Config{})
		if err == nil {
			s.Close()
			t.Fatalf("%s was opened", name)
		}
		var he *hub.Error
		if !errors.As(err, &he) || he.Code != hub.Internal || !strings.Contains(err.Error(), "damaged") || !strings.Contains(he.Hint, "backup") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
