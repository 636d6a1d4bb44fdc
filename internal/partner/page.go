package partner

import (
	"fmt"
	"slices"
	"strings"

	"countersign/receiver"
)

// sureness says in words how sure we are.
var sureness = map[string]string{
	Run:        "we ran it and looked",
	Recorded:   "from what others recorded of it",
	Documented: "from documents, of its makers or of others; nobody here ran it",
}

// Page is the page of a partner, in Markdown.
func (p *Profile) Page() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("<!-- Made from partners/%s by `make generate`. -->", p.Name)
	line("# %s\n", p.Title)
	line("Profile `%s`. %s.\n", p.Name, p.Known())
	line("## What it supports\n\n| | |\n|---|---|")
	row := func(name string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			line("| %s | %s |", name, strings.ReplaceAll(text, "|", `\|`))
		}
	}
	row("Role", p.roles()...)
	row("Delivery", p.Delivery...)
	if p.Transmits {
		row("Stream", streams[p.Stream])
	}
	row("Credentials for its stream API", code(p.Auth)...)
	row("Scope", code(list(p.Scope))...)
	row("Its issuer", code(list(p.Issuer))...)
	row("Its metadata", p.MetadataURL)
	row("Audience", p.Audience)
	row("Sends", code(p.Events)...)
	row("Takes", code(p.Takes)...)
	row("Is silent about", p.Silences...)
	row("Subject", subjects[p.Subjects])
	row("Names people by", code(p.Formats)...)
	row("Whose ids", p.Places...)
	if p.Wildcards {
		row("Sessions", "the id `ALL` means every session")
	}
	row("While paused, events are", p.Paused)
	row("While disabled, events are", p.Disabled)
	if p.Entity {
		row("`initiating_entity`", "not to be relied on")
	}
	row("A push may come late by", p.Every)
	row("Tries again", p.Retries)
	if len(p.QuirkIDs) > 0 || !p.Transmits {
		line("")
	}
	if len(p.QuirkIDs) > 0 {
		line("The profile lets these [quirks](README.md#quirks) pass:\n\n| Quirk | | Read as |\n|---|---|---|")
		for _, id := range p.QuirkIDs {
			k, _ := receiver.LookupQuirk(id)
			line("| %s | %s | %s |", id, k.Title, k.Accepts)
		}
	} else if p.Transmits {
		line("\nThe profile lets no quirk pass: it is as strict as `generic`.")
	}
	line("\n%s", strings.TrimSpace(p.Guide))
	if rows := p.notes(); len(rows) > 0 {
		line("\n## What else there is to know\n\n| Quirk | | Here |\n|---|---|---|")
		for _, r := range rows {
			line("| %s | %s | %s |", r.ID, r.Title, r.Done)
		}
	}
	if len(p.Cures) > 0 {
		line("\n## When something goes wrong\n\n| Seen | What to change | Whose side |\n|---|---|---|")
		for _, c := range p.Cures {
			line("| `%s` | %s | %s |", c.On, strings.ReplaceAll(c.Text, "|", `\|`), c.Side)
		}
		if p.Transmits {
			line("\n`countersign doctor source NAME` finds out which it is.")
		} else {
			line("\n`countersign doctor stream NAME` finds out which it is.")
		}
	}
	if len(p.Links) > 0 {
		line("\n## Sources\n")
		for _, l := range p.Links {
			line("- <%s>", l)
		}
	}
	return b.String()
}

// Known says how sure we are, of which version, and since when.
func (p *Profile) Known() string {
	text := strings.ToUpper(p.Sure[:1]) + p.Sure[1:] + ": " + sureness[p.Sure] + ", " + p.Checked
	if p.Version != "" {
		text += "; version: " + p.Version
	}
	return text
}

var streams = map[string]string{
	"create": "made from here (`stream: create`)", "adopt": "there already (`stream: adopt`)",
	"none": "none, or by hand (`stream: none`)",
}

var subjects = map[string]string{
	Top: "at the top of the token, as `sub_id`", Nested: "inside the event, as `subject`", Both: "in both places",
	Either: "in either place, by setting or by whoever wrote the rule",
}

func (p *Profile) roles() []string {
	var roles []string
	if p.Transmits {
		roles = append(roles, "transmits to you")
	}
	if p.Receives {
		roles = append(roles, "receives from you")
	}
	return roles
}

func (p *Profile) notes() []Row {
	var rows []Row
	for _, id := range p.Notes {
		r, _ := Lookup(id)
		rows = append(rows, r)
	}
	return order(rows)
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func code(words []string) []string {
	out := slices.Clone(words)
	for i := range out {
		out[i] = "`" + out[i] + "`"
	}
	return out
}

// Index is the page of all partners and all quirks. tests names those that prove each quirk.
func Index(tests map[string][]string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("<!-- Made from the profiles and the tests by `make generate`. -->")
	line("# Partners\n")
	line("What is known of each product that speaks the Shared Signals Framework: what it supports, what to configure there, what to paste here, and what to expect.")
	line("`countersign partners` prints this table, `countersign partners NAME` the page of one. A source names its profile with `profile`; without one it is `generic`,")
	line("which lets nothing pass that the specifications forbid.\n")
	line("*Run* means that we ran it and looked, *recorded* that others recorded what it sends, *documented* that somebody says so.\n")
	line("| Partner | Profile | Transmits | Receives | Delivery | Quirks let pass | How sure |\n|---|---|---|---|---|---|---|")
	yes := map[bool]string{true: "yes", false: ""}
	for _, p := range All() {
		line("| [%s](%s.md) | `%s` | %s | %s | %s | %s | %s, %s |", p.Title, p.Name, p.Name, yes[p.Transmits], yes[p.Receives],
			strings.Join(p.Delivery, ", "), strings.Join(p.QuirkIDs, ", "), p.Sure, p.Checked)
	}
	line("\nNo usable public endpoint was found of Microsoft Entra ID, Cisco Duo, Ping Identity and Beyond Identity.\n")
	line("## Quirks\n")
	line("Where products depart from the specifications, or from what one expects. A quirk with a *switch* is refused unless the profile of the source or its `relax` lets it pass, and the refusal names it; what")
	line("was let pass is noted with the signal, and the token is kept as it came. The others are coped with everywhere, or are to be known.")
	line("Every one is proven by the tests that it names; where it is *only told*, the test reads the profile, the cure or the guide that tells it, since there is nothing that we do otherwise.\n")
	line("| Quirk | What is seen | Switch | What is done | Who would change it | In the profiles of | Tests |\n|---|---|---|---|---|---|---|")
	for _, r := range Rows() {
		has := "–"
		if k, ok := receiver.LookupQuirk(r.ID); ok {
			if has = "yes"; k.Always() {
				has = "needs none"
			}
		}
		side := map[string]string{Theirs: "they", Ours: "we", "": "–"}[r.Side]
		line("| %s | %s | %s | %s | %s | %s | %s |", r.ID, r.Title, has, strings.ReplaceAll(r.Done, "|", `\|`), side, strings.Join(concerned(r.ID), ", "), proof(tests[r.ID]))
	}
	line("\nL-1 to L-8 are what was learned from running other transmitters.")
	return b.String()
}

// proof names the tests of a quirk, and says where a text is all that they look at.
func proof(tests []string) string {
	names := strings.Join(code(tests), " ")
	if len(tests) == 1 && tests[0] == textTest {
		return "only told: " + names
	}
	return names
}

// textTest is the test that reads what profiles, cures and guides tell.
const textTest = "TestWhatIsToBeKnown"

// concerned names the partners whose profiles list a quirk.
func concerned(id string) []string {
	var names []string
	for _, p := range All() {
		if slices.Contains(p.QuirkIDs, id) || slices.Contains(p.Notes, id) {
			names = append(names, p.Name)
		}
	}
	return names
}
