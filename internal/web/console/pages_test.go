package console

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files and screenshots")

func TestPagesAreGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Pages() {
		name := filepath.Join("testdata", "golden", p.Name+".html")
		seen[p.Name+".html"] = true
		if *update {
			if err := os.WriteFile(name, p.HTML, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(p.HTML)); d != "" {
			t.Errorf("%s differs; read it, then go test ./internal/web/console -update\n%s", p.Name, d)
		}
	}
	files, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] {
			t.Errorf("no page makes %s any more", f.Name())
		}
	}
}

var (
	inlineStyle = regexp.MustCompile(`(?i)<style|\sstyle\s*=|<script|\son[a-z]+\s*=\s*"`)
	fixedWords  = []string{"The person concerned", "lorem"}
)

// Nothing on any page needs what the policy forbids, and nothing from outside becomes markup.
func TestPagesHoldNoScriptAndNoForeignMarkup(t *testing.T) {
	for _, p := range Pages() {
		body := string(p.HTML)
		if m := inlineStyle.FindString(body); m != "" {
			t.Errorf("%s holds %q", p.Name, m)
		}
		for _, bad := range []string{"<iframe", "<marquee", "<img src=x", "<b>X</b>", "\u202e", "\u2066", "\a"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s lets %q through", p.Name, bad)
			}
		}
		for _, bad := range fixedWords {
			if strings.Contains(body, bad) {
				t.Errorf("%s says %q", p.Name, bad)
			}
		}
		if n := bytes.Count(p.HTML, []byte("<h1")); n != 1 && !strings.HasPrefix(p.Name, "receipt-") {
			t.Errorf("%s has %d headings of the first level", p.Name, n)
		}
	}
}

func page(t *testing.T, name string) string {
	t.Helper()
	for _, p := range Pages() {
		if p.Name == name {
			return string(p.HTML)
		}
	}
	t.Fatalf("there is no page %s", name)
	return ""
}

func TestStoryTellsEverything(t *testing.T) {
	for name, wants := range map[string][]string{
		"signal-fulfilled":     {"Session revoked", "alice", "iss_sub: the subject is an e-mail address", "the source may order revoke_sessions", "version 3", "DELETE /admin/users/99beb27c/sessions", "read back until proven", "verified", "CS-7F3K9Q2M", "FULFILLED", "signed r1 (EdDSA)", "access already granted can last until 09:15:06Z", "2 of 2"},
		"signal-failing":       {"app unreachable", "no answer", "the app asks to wait 5 s", "invalid_audience", "PARTIAL"},
		"signal-unresolved":    {"Nobody yet", "email: no identity has this address", "nobody known has this e-mail address"},
		"signal-running":       {"delayed", "It is cut when there is something to say."},
		"signal-plain":         {"It came as plain JSON from an API client", "mode is off", "The sender ordered no receipt."},
		"signal-transmitted":   {"It went to every enabled stream that asked for its type.", "Nothing is decided here.", "Nothing is done here."},
		"signal-without-scope": {"shown to holders of the scope signals.token"},
		"signal-list":          {"nobody yet", "CS-2C6D8F1H", "Older"},
		"signal-list-empty":    {"No signal has come in yet", "countersign apply -f source.yaml"},
	} {
		body := page(t, name)
		for _, w := range wants {
			if !strings.Contains(body, w) {
				t.Errorf("%s does not say %q", name, w)
			}
		}
	}
	if strings.Contains(page(t, "signal-without-scope"), "Compact form") {
		t.Error("the token is shown without its scope")
	}
}
