package receipt

import (
	"strings"
	"testing"
	"unicode"

	"countersign/internal/req"
)

func TestSlipExample(t *testing.T) {
	req.Covers(t, "B5")
	got := Slip(body(t, exampleReceipt(t, "e1-receipt")), SlipOptions{IssuedAt: 1789462808, Signed: "r1 (EdDSA)", Good: true})
	want := strings.TrimPrefix(`
──────────────────────────────────────────────────
                 ACME SIGNAL HUB
register node-3 · eu-1        2026-09-15 09:00:08Z
receipt CS-7F3K9Q2M                  copy 1, final
order   session-revoked          sha-256:Svw3CGSf…
──────────────────────────────────────────────────
a1.1  revoke_sessions  wiki  3 of 3  done
a1.2  revoke_sessions  crm   1 of 1  done*
a2.1  reauthenticate   wiki          done
a2.2  reauthenticate   crm           already so
──────────────────────────────────────────────────
ordered 2   lines 4             3 done · 1 skipped
TOTAL                                    FULFILLED
* access already granted can last until 09:15:06Z
──────────────────────────────────────────────────
signed r1 (EdDSA)                   signature good
`, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSlipOtherOutcomes(t *testing.T) {
	got := Slip(body(t, exampleReceipt(t, "e3-receipt")), SlipOptions{Width: 60, Signed: "r1 (EdDSA)"})
	for _, part := range []string{"ACTION RECEIPT", "failed: app unreachable", "No answer from the application", "TOTAL                                                PARTIAL",
		"copy 2, final", "signature not checked"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if strings.Contains(got, "good") {
		t.Errorf("it vouches for a signature nobody checked\n%s", got)
	}
	got = Slip(body(t, exampleReceipt(t, "e4-interim")), SlipOptions{Margin: 8})
	for _, part := range []string{"waiting: awaiting approval", "next update by 2026-09-15 21:00:00Z", "        TOTAL", "PENDING"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	got = Slip(body(t, exampleReceipt(t, "e2-receipt")), SlipOptions{})
	if !strings.Contains(got, "4 targets") || !strings.Contains(got, "unconfirmed") {
		t.Error(got)
	}
}

// Lines nobody asked for stand apart, and each residue has its own footnote.
func TestSlipExtraWorkAndResidue(t *testing.T) {
	req.Covers(t, "A30", "AR-5.3")
	r := body(t, exampleReceipt(t, "e1-receipt"))
	r.Lines = append(r.Lines,
		Line{ID: "x.1", Action: "revoke_tokens", Target: &Target{App: "wiki"}, Status: Succeeded, Reason: "done_with_residue", EffectiveBy: 1789470000},
		Line{ID: "x.2", Action: "revoke_tokens", Target: &Target{App: "crm"}, Status: Succeeded, Reason: "done_with_residue", EffectiveBy: 1789463706})
	got := Slip(r, SlipOptions{IssuedAt: 1789462808 - 86400})
	for _, part := range []string{"also done, not ordered", "done**", "* access", "** access", "until 2026-09-15\n  09:15:06Z\n", "2026-09-15 11:00:00Z\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if strings.Count(got, "can last until") != 2 {
		t.Errorf("footnotes:\n%s", got)
	}
}

// Hostile text neither steers a terminal nor leaves its row.
func TestSlipHostileText(t *testing.T) {
	req.Covers(t, "AR-10", "AR-8")
	evil := "\x1b[2J\x1b]0;owned\x07\r\nTOTAL FULFILLED\u202esdrawkcab\u2028\u0085\x00<script>" + strings.Repeat("長", 60)
	r := &Receipt{Number: evil, Seq: 1, Stage: evil, Outcome: evil, Order: OrderLink{EventType: evil, SetHash: evil},
		Merchant: &Merchant{Name: evil}, Register: &Register{ID: evil, Zone: evil},
		Lines: []Line{{ID: evil, Action: evil, Target: &Target{App: evil}, Status: evil, Reason: evil, ReasonText: map[string]string{"en": evil}},
			{ID: "x.1", Action: evil, Status: Failed, Reason: evil, EffectiveBy: -1 << 62}}}
	for _, width := range []int{0, 1, 32, 100} {
		got := Slip(r, SlipOptions{Width: width, Signed: evil, Title: evil, Copy: evil})
		limit := max(width, 32)
		if width == 0 {
			limit = 50
		}
		for row := range strings.SplitSeq(strings.TrimSuffix(got, "\n"), "\n") {
			if columns(row) > limit {
				t.Errorf("width %d: row of %d columns: %q", limit, columns(row), row)
			}
			for _, x := range row {
				if !unicode.IsPrint(x) {
					t.Errorf("control character %U in %q", x, row)
				}
			}
			if strings.HasPrefix(row, "TOTAL FULFILLED") {
				t.Errorf("a forged row: %q", row)
			}
		}
	}
	report := Report{Verdict: "invalid", Exit: 1, Orders: []OrderReport{{Issuer: evil, JTI: evil, EventType: evil}}, Findings: []Finding{{Level: LevelInvalid, Where: evil, Code: evil, Text: evil}}}
	for _, x := range report.Text() {
		if x != '\n' && !unicode.IsPrint(x) {
			t.Errorf("control character %U in the report", x)
		}
	}
}
