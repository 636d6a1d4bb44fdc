// Command conformance writes docs/conformance.md from a test run: which test proves which requirement. Its input is the
// file that req.Covers wrote (COUNTERSIGN_COVERS). With -check it writes nothing and fails where the page on disk says
// something else.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"countersign/internal/req"
)

const page = "docs/conformance.md"

// groups are the parts of the page, in order.
var groups = []struct{ prefix, title string }{
	{"TX", "Transmitter"},
	{"SUB", "Subject identifiers"},
	{"EV", "Event types"},
	{"IOP", "CAEP interoperability profile"},
	{"AZ", "OAuth"},
	{"LEG", "Older drafts and partners"},
	{"RX", "Receiver"},
	{"GTR", "Global Token Revocation"},
	{"BCL", "Back-Channel Logout"},
}

func main() {
	check := flag.Bool("check", false, "compare with "+page+" and fail where it differs")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: conformance [-check] COVERS-FILE")
		os.Exit(2)
	}
	raw, err := os.ReadFile(flag.Arg(0))
	if err == nil {
		var want []byte
		if want, err = render(string(raw)); err == nil {
			err = put(want, *check)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func put(want []byte, check bool) error {
	if !check {
		return os.WriteFile(page, want, 0o644)
	}
	have, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("%s is stale; run make conformance\n%s", page, difference(string(have), string(want)))
	}
	return nil
}

// difference shows the first lines that are not the same.
func difference(have, want string) string {
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	var out []string
	for _, line := range w {
		if !slices.Contains(h, line) {
			out = append(out, "+ "+line)
		}
	}
	for _, line := range h {
		if !slices.Contains(w, line) {
			out = append(out, "- "+line)
		}
	}
	return strings.Join(out[:min(len(out), 20)], "\n")
}

// render makes the page.
func render(covers string) ([]byte, error) {
	proofs := map[string][]string{}
	for line := range strings.Lines(covers) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			return nil, fmt.Errorf("not a line of req.Covers: %q", line)
		}
		test, _, _ := strings.Cut(f[2], "/") // the page names tests, not their rows
		proof := "`" + f[1] + "` " + test
		if !slices.Contains(proofs[f[0]], proof) {
			proofs[f[0]] = append(proofs[f[0]], proof)
		}
	}
	all := req.All()
	known := map[string]bool{}
	for _, r := range all {
		known[r.ID] = true
		if r.Refused != "" && len(proofs[r.ID]) > 0 {
			return nil, fmt.Errorf("%s is refused in refused.tsv and proven by %s", r.ID, proofs[r.ID][0])
		}
	}
	for id := range proofs {
		prefix, _, _ := strings.Cut(id, "-")
		if !known[id] && slices.ContainsFunc(groups, func(g struct{ prefix, title string }) bool { return g.prefix == prefix }) {
			return nil, fmt.Errorf("%s, covered by %s, is not in the checklist", id, proofs[id][0])
		}
	}
	var b bytes.Buffer
	b.WriteString("# Conformance\n\nMade by `make conformance` from a test run: a requirement is proven by a test that names it beside its assertion\n" +
		"(`req.Covers`), ran to its end, and was not skipped. *Refused* is on purpose, with the reason. What has neither is open.\n" +
		"The strength is that of the source; *ADVICE* is our own.\n\n")
	b.WriteString("| Part | Requirements | Proven | Refused | Open |\n|---|---|---|---|---|\n")
	for _, g := range groups {
		n, proven, no := 0, 0, 0
		for _, r := range of(all, g.prefix) {
			n++
			switch {
			case len(proofs[r.ID]) > 0:
				proven++
			case r.Refused != "":
				no++
			}
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d | %d | %d |\n", g.title, strings.ReplaceAll(strings.ToLower(g.title), " ", "-"), n, proven, no, n-proven-no)
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n\n| Id | Strength | Clause | What | Proven by |\n|---|---|---|---|---|\n", g.title)
		for _, r := range of(all, g.prefix) {
			by := "open"
			if p := proofs[r.ID]; len(p) > 0 {
				slices.Sort(p)
				by = p[0]
				if len(p) > 1 {
					by += "; " + p[1]
				}
				if len(p) > 2 {
					by += fmt.Sprintf(" and %d more", len(p)-2)
				}
			} else if r.Refused != "" {
				by = "*Refused*: " + r.Refused
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.Strength, r.Clause, strings.ReplaceAll(r.Text, "|", "\\|"), by)
		}
	}
	return b.Bytes(), nil
}

func of(all []req.Requirement, prefix string) []req.Requirement {
	var out []req.Requirement
	for _, r := range all {
		if strings.HasPrefix(r.ID, prefix+"-") {
			out = append(out, r)
		}
	}
	return out
}
