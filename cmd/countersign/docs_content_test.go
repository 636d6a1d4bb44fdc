package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/cli"
	"countersign/internal/config"
	"countersign/internal/connector"
	"countersign/internal/flow/decide"
	"countersign/internal/hub"
	"countersign/internal/req"
	"countersign/internal/resource"
	"countersign/receipt"
)

// What pages show as files is read by the code that reads such files, and what they show as Go stands in
// a file that is compiled.
func TestDocsBlocks(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		list, _ := blocks(t, page)
		for _, b := range list {
			at := fmt.Sprintf("%s:%d", b.page, b.line)
			from, quotes := strings.CutPrefix(b.note, "from ")
			switch {
			case quotes:
				if miss := missing(read(t, from), b.text); miss != "" {
					t.Errorf("%s: %s does not have, in this order, the line\n%s", at, from, miss)
				}
			case b.lang == "go":
				t.Errorf("%s: a block of Go says which file it is from: <!-- from FILE -->", at)
			case b.lang == "yaml":
				if err := readable(b.text); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			case b.lang == "json" && !strings.Contains(b.text, "…") && !json.Valid([]byte(b.text)):
				t.Errorf("%s: is not JSON", at)
			}
		}
	}
}

// missing gives the first line of a quotation that the file lacks, in its code or in the output of an example;
// a line that is … alone stands for anything between.
func missing(file, quotation string) string {
	lines := strings.Split(file, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), "//"))
	}
	at := 0
	for _, want := range strings.Split(quotation, "\n") {
		w := strings.TrimSpace(want)
		if w == "" || w == "…" {
			continue
		}
		i := slices.Index(lines[at:], w)
		if i < 0 {
			return want
		}
		at += i + 1
	}
	return ""
}

// readable reads a block of YAML as what it is: resources, policies, a pack, tests of a policy, or a configuration.
func readable(text string) error {
	has := func(key string) bool { return regexp.MustCompile(`(?m)^` + key + `:`).MatchString(text) }
	switch {
	case has("kind"):
		if !has("apiVersion") {
			text = "apiVersion: countersign/v1\n" + text
		}
		list, err := resource.DecodeAll([]byte(text))
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "kind: ") && l != "kind: policy" }) {
			_, err = decide.Load([]byte(text), decide.Types())
		}
		if len(list) == 0 {
			return fmt.Errorf("there is no resource in it")
		}
		return err
	case has("operations"):
		_, err := connector.ParsePack([]byte(text))
		return err
	case has("tests"):
		return nil // run by TestDocsPolicies
	}
	c := config.Default()
	return config.Parse([]byte(text), &c)
}

// docs/event-types.md says what `countersign event types` says.
func TestDocsEventTypes(t *testing.T) {
	t.Parallel()
	const page = "docs/event-types.md"
	want := eventTypes()
	if *update {
		if err := os.WriteFile(filepath.Join(repo, page), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, page); got != want {
		t.Errorf("%s is not what the program knows; make it anew with: go test ./cmd/countersign -run TestDocsEventTypes -update", page)
	}
	var out bytes.Buffer
	m := &cli.Main{Args: []string{"event", "types", "--json"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}
	if status := m.Run(t.Context()); status != 0 {
		t.Fatalf("event types: status %d", status)
	}
	dec := json.NewDecoder(&out)
	for dec.More() {
		var row struct{ URI, Name string }
		if err := dec.Decode(&row); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(want, "| `"+row.Name+"` |") || !strings.Contains(want, "`"+row.URI+"`") {
			t.Errorf("the page lacks %s", row.Name)
		}
	}
}

// defaults are the actions of an order that names none, by change_type where the type has one.
func defaults(t event.Type) string {
	words := func(payload string) string {
		return strings.Join(receipt.DefaultActions(t.URI, json.RawMessage(payload)), ", ")
	}
	all := words(`{}`)
	if slices.Contains(t.Members, "change_type") {
		for _, change := range []string{"revoke", "delete", "create", "update"} {
			all = strings.TrimPrefix(all+"; "+change+": "+words(`{"change_type":"`+change+`"}`), "; ")
		}
	}
	if all == "" {
		return "–"
	}
	return all
}

func eventTypes() string {
	var b strings.Builder
	b.WriteString("# Event types\n\nEvery event type that Countersign knows, made from the program (`countersign event types`). Policies, sources and clients\n" +
		"name a type by its short name or by its URI. A type that is not here is kept and shown like any other; no policy can be\n" +
		"written for it. An order that names no action has those in the column *Ordered by default*.\n")
	last := ""
	for _, t := range event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary()).Types() {
		if group, _, _ := strings.Cut(t.Name, "/"); group != last {
			last = group
			fmt.Fprintf(&b, "\n## %s\n\n| Name | Title | Defined in | Ordered by default | URI |\n|---|---|---|---|---|\n", strings.ToUpper(group))
		}
		note := ""
		if t.Deprecated {
			note = ", deprecated"
		}
		if t.StreamLevel {
			note += ", about the stream"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s%s | %s | `%s` |\n", t.Name, t.Title, t.Clause, note, defaults(t), t.URI)
	}
	b.WriteString("\n## What each type means\n\nBelow `signal.event` a condition names the members that are listed here, and no others: a name that is misspelt is refused when\n" +
		"the policy is loaded. A member that an event does not have reads as empty. What else a sender adds stands in `signal.payload`,\n" +
		"which is the event as it came. `countersign event show TYPE` says the same.\n")
	for _, t := range event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), scim.Vocabulary()).Types() {
		m, ok := hub.MeaningOf(t.URI)
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n```json\n%s\n```\n", t.Name, m.Means, m.Example)
		if len(m.Variables) > 0 {
			b.WriteString("\n| In conditions | Kind | Says |\n|---|---|---|\n")
		}
		for _, v := range m.Variables {
			fmt.Fprintf(&b, "| `signal.event.%s` | %s | %s |\n", v.Name, v.Kind, v.Text)
		}
	}
	return b.String()
}

// The policies and packs that pages show as whole files pass the checks that the pages name.
func TestDocsPolicies(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"docs/policies.md", "docs/packs.md", "docs/answers.md"} {
		dir := t.TempDir()
		var commands []string
		list, _ := blocks(t, page)
		for _, b := range list {
			if m := fileNote.FindStringSubmatch(b.note); m != nil {
				name := filepath.Join(dir, filepath.FromSlash(m[1]))
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(b.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if b.note == "test: run" {
				commands = append(commands, strings.Split(strings.TrimSpace(b.text), "\n")...)
			}
		}
		if len(commands) == 0 {
			t.Errorf("%s: no command is run", page)
		}
		for _, line := range commands {
			cmd := exec.Command("sh", "-euc", line)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", page, line, err, out)
			}
		}
	}
}

var fileNote = regexp.MustCompile(`^file: ([A-Za-z0-9./-]+)$`)

// Nothing in a page names a test, a file or a package of the project that is not there.
func TestDocsNamesTests(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	decl := regexp.MustCompile(`(?m)^func ((?:Test|Example|Fuzz|Benchmark)\w*)\(`)
	err := filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range decl.FindAllSubmatch(data, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Example|Fuzz|Benchmark)[A-Z_]?\\w*)`")
	for _, page := range pages(t) {
		_, prose := blocks(t, page)
		for _, m := range named.FindAllStringSubmatch(prose, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which is not there", page, m[1])
			}
		}
	}
}

// Metrics, flags and paths that pages name in passing are there.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	metrics := read(t, "internal/telemetry/metrics.go") + read(t, "internal/telemetry/streams.go")
	document := read(t, "internal/web/api/openapi.json")
	var commands strings.Builder
	files, err := filepath.Glob(filepath.Join(repo, "internal/cli/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		commands.Write(data)
	}
	for _, kind := range []struct {
		what string
		name *regexp.Regexp
		has  func(string) bool
	}{
		{"metric", regexp.MustCompile("`(countersign_[a-z_]+)"), func(n string) bool {
			of, stream := strings.CutPrefix(n, "countersign_stream_")
			return strings.Contains(metrics, `"`+n+`"`) || stream && strings.Contains(metrics, `desc("`+of+`"`)
		}},
		{"flag", regexp.MustCompile("`--([a-z][a-z-]*)"), func(n string) bool { return strings.Contains(commands.String(), `"`+n+`"`) }},
		{"path", regexp.MustCompile("`(?:GET |POST )?/api/v1(/[a-z./-]+)`"), func(n string) bool {
			return strings.Contains(document, `"`+n+`"`) || strings.Contains(document, `"/api/v1`+n+`"`)
		}},
	} {
		seen := 0
		for _, page := range pages(t) {
			if strings.HasPrefix(page, "docs/decisions/") {
				continue
			}
			_, prose := blocks(t, page)
			for _, m := range kind.name.FindAllStringSubmatch(prose, -1) {
				seen++
				if !kind.has(m[1]) {
					t.Errorf("%s names the %s %s, which is not there", page, kind.what, m[1])
				}
			}
		}
		if seen < 2 {
			t.Errorf("only %d times a %s is named", seen, kind.what)
		}
	}
}

// The checks of this file notice what they are for.
func TestDocsChecksNotice(t *testing.T) {
	t.Parallel()
	const code = "func Example() {\n\tone()\n\ttwo()\n\t// Output:\n\t// three\n}\n"
	for _, c := range []struct{ quotation, miss string }{
		{"one()\ntwo()\nthree", ""}, {"one()\n…\nthree", ""}, {"two()\none()", "one()"}, {"one(1)", "one(1)"},
	} {
		if got := missing(code, c.quotation); got != c.miss {
			t.Errorf("quoting %q misses %q, want %q", c.quotation, got, c.miss)
		}
	}
	const printed = "ID       STATE\nsig_abc  done\n"
	for _, c := range []struct{ shown, miss string }{
		{"ID STATE\nsig_… done", ""}, {"sig_… failed", "sig_… failed"}, {"sig_… done\nID STATE", "ID STATE"},
	} {
		if got := absent(printed, c.shown); got != c.miss {
			t.Errorf("showing %q misses %q, want %q", c.shown, got, c.miss)
		}
	}
	for _, bad := range []string{
		"kind: identity\nname: alice\nemials: [a@b.test]\n",
		"apiVersion: countersign/v1\nkind: policy\nname: p\non: [caep/session-revoked]\nwhen: 'signal.event.nothing == 1'\nthen: [{action: record}]\n",
		"id: x\noperations: {}\n",
		"lisen: 127.0.0.1:1\n",
	} {
		if readable(bad) == nil {
			t.Errorf("this passes:\n%s", bad)
		}
	}
	if got := invocations("printf %s x | countersign secret set a\ncountersign config example > hub.yaml # prints"); !slices.Equal(got, []string{"countersign secret set a", "countersign config example"}) {
		t.Errorf("commands of a line: %q", got)
	}
	if err := checkCommand("countersign apply -f x.yaml --prune --set staff"); err != nil {
		t.Error(err)
	}
	if checkCommand("countersign apply -x x.yaml") == nil {
		t.Error("a short flag that is not there passes")
	}
}

// docs/receipt-schema.md names every member that the schema has.
func TestDocsReceiptSchema(t *testing.T) {
	t.Parallel()
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(read(t, "receipt/schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	page := read(t, "docs/receipt-schema.md")
	seen := 0
	for _, def := range []string{"receipt", "line", "directive", "settings", "target", "who"} {
		for name := range schema.Defs[def].Properties {
			seen++
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("the page lacks %s of %s", name, def)
			}
		}
	}
	if seen < 50 {
		t.Errorf("the schema has only %d members", seen)
	}
}

// docs/transmitter.md says how long a paused stream holds what is for it, and the program holds it so long.
func TestDocsPausedStream(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile(`(?m)^\| A paused stream, .* hold \| everything, for (\d+) days .*\(` + "`transmitter.retention`" + `\)`).FindStringSubmatch(read(t, "docs/transmitter.md"))
	if row == nil {
		t.Fatal("the page does not say how long a paused stream holds")
	}
	held, err := time.ParseDuration(config.Default().Transmitter.Retention)
	if days := fmt.Sprint(held.Hours() / 24); err != nil || days != row[1] {
		t.Errorf("the page says %s days, the program holds for %s", row[1], days)
	}
	req.Covers(t, "IOP-10", "TX-111")
}
