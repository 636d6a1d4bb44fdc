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
		"signal-transmitted":   {"It went to every enabled stream that asked for its type.", "Nothing is decided here.", "Nothing is done here.", "Where it was passed on", ">crm</a>", "delivered", "the person has no account at forum"},
		"source-list":          {"keycloak", "it answers 401", "countersign doctor source okta", "no sign of life for 13 h", "adopted", "made by hand", "not yet", "paused"},
		"source-list-failing":  {"okta", "mdm"},
		"source-list-empty":    {"Nobody may tell us anything yet", "kind: source", "countersign partners"},
		"source-list-nothing":  {"No source is like that."},
		"source-healthy":       {"the other side knows none: what was done stands in the ledger here", "there, enabled there", "caep/credential-change", "nobody yet", "5\u202f120 since this node polls", "Nothing that it sent was refused."},
		"source-pushing":       {"https://hub.example.test/receive/NPnca05Eru5_fM4hStx-XjVX", "3 times", "<b>Here:</b> aud of the tokens", "<b>There:</b> write relax", "countersign source refused hr", "wanted of each push, never shown", "500 per 1s", "No signal has come yet."},
		"source-failed":        {"countersign doctor source okta", "failed tries", "2026-09-15 09:00:52Z"},
		"source-silent":        {"countersign source verify mdm", "silent since", "the other side declined them (its answer lacks receipt_issuer)"},
		"source-paused":        {"An operator paused its stream: maintenance", "countersign source resume sgnl"},
		"source-pending":       {"about to be made"},
		"stream-list":          {"warehouse", "there is no client warehouse-receiver", "412", "the receiver answers 503", "countersign doctor stream forum", "the receiver refuses our credential", "made by its receiver", "polling now", "default_subjects is NONE"},
		"stream-list-empty":    {"Nobody is told anything yet", "kind: stream", "countersign apply -f stream.yaml"},
		"stream-list-nothing":  {"No stream is like that.", "Show all streams"},
		"stream-healthy":       {"148 203", "11ms", "99 of 100 within 64ms", "set, never shown", "account_at", "yes, receipts by https://crm.example.test", "202 at try 3"},
		"stream-failing":       {"412", "for 22 min", "7 since 2026-09-15 08:37:41Z", "2026-09-15 09:00:52Z", "invalid_request: the tenant of this person is unknown", "countersign delivery redrive --stream forum", "the person has no account at forum", "/ssf/in?…"},
		"stream-paused":        {"silent for 30 days", "countersign stream resume archive"},
		"stream-quiet":         {"default_subjects is NONE", "--each-event"},
		"stream-missing":       {"there is no client warehouse-receiver", "change the document and apply it again"},
		"order-list":           {"overdue", "late", "disputed", "withdrawn", "no final receipt came by complete_by", "Older"},
		"order-list-empty":     {"No order was sent yet", "--order order.json"},
		"order-fulfilled":      {"Client crm-receiver was told on stream crm", "revoke sessions (global); reauthenticate, if it can (must)", "2 receipts came back", "Of 2 lines: 1 done", "Nothing is missing.", "FULFILLED", "CR-9M4T2X7Q", "signed r1 (EdDSA)", "interim, no. 1", "Subject, as this receiver was told", "99beb27c"},
		"order-overdue":        {"No receipt came back.", "The final receipt was due at 2026-09-15 08:40:01Z and has not come.", "None has come."},
		"order-queued":         {"It is still to be delivered: countersign stream show forum"},
		"order-refused":        {"refused the order on stream forum"},
		"order-disputed":       {"somebody must decide: two receipts of seq 1 say different things."},
		"order-withdrawn":      {"It was withdrawn at 2026-09-15 07:01:41Z: the alarm was false."},
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
	for _, p := range Pages() {
		if strings.Contains(string(p.HTML), "s3cret") {
			t.Errorf("%s shows the query of a push address", p.Name)
		}
	}
	if strings.Contains(page(t, "signal-without-scope"), "Compact form") {
		t.Error("the token is shown without its scope")
	}
}

// A story without an order says why none could be, where the source takes no receipts.
func TestStorySaysWhoTakesNoReceipts(t *testing.T) {
	f := newFixtures()
	u := &User{Name: "operator", Read: true}
	for agreed, want := range map[string]string{"legacy": "Receipts are not supported by keycloak.", "declined": "keycloak declined receipts.", "off": "", "": ""} {
		s := f.plain()
		s.Signal.Source, s.Agreed = "keycloak", agreed
		if got := f.console.signalShow(u, s).Unasked; got != want {
			t.Errorf("%s: %q", agreed, got)
		}
	}
	// What was agreed is asked of the source, and a source that is gone is no error.
	c := newTestConsole(f.console.c.Now)
	s, err := c.story(t.Context(), f.stories[3].Signal.ID)
	if err != nil || s.Signal.Order == nil && s.Signal.Source == "keycloak" && s.Agreed != "legacy" {
		t.Errorf("%+v %v", s, err)
	}
}
