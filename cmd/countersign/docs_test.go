package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	"countersign/internal/resource"
	"countersign/internal/stage"
	"countersign/internal/stage/idp"
)

// repo is the root of the project as seen from here.
const repo = "../.."

// block is one fenced block of a page.
type block struct {
	page, lang, text string
	line             int
	note             string // of the comment before it: <!-- NOTE -->
}

var (
	fence   = regexp.MustCompile("^```([a-z]*)$")
	comment = regexp.MustCompile(`^<!-- (.*) -->$`)
)

func read(t *testing.T, page string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repo, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks gives the fenced blocks of a page, and the page without them.
func blocks(t *testing.T, page string) (list []block, prose string) {
	t.Helper()
	var rest strings.Builder
	var open *block
	note := ""
	for i, line := range strings.Split(read(t, page), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open != nil && line == "```":
			list = append(list, *open)
			open, note = nil, ""
		case open != nil:
			open.text += line + "\n"
		case m != nil:
			open = &block{page: page, lang: m[1], line: i + 1, note: note}
		case comment.MatchString(line):
			note = comment.FindStringSubmatch(line)[1]
		default:
			if strings.TrimSpace(line) != "" {
				note = ""
			}
			rest.WriteString(line)
		}
		rest.WriteString("\n")
	}
	if open != nil {
		t.Fatalf("%s:%d: the block does not end", page, open.line)
	}
	return list, rest.String()
}

// pages are those that people read: the front page, docs, and what stands beside packs.
func pages(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "connectors/*/README.md"} {
		names, err := filepath.Glob(filepath.Join(repo, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			rel, err := filepath.Rel(repo, n)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, filepath.ToSlash(rel))
		}
	}
	if len(out) < 10 {
		t.Fatalf("only these pages were found: %v", out)
	}
	return out
}

var (
	links   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.*)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func slugs(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// Every link inside the project leads somewhere.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, page := range pages(t) {
		_, prose := blocks(t, page)
		for _, m := range links.FindAllStringSubmatch(prose, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			seen++
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(repo, to)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if fragment != "" && !slices.Contains(slugs(read(t, to)), fragment) {
				t.Errorf("%s: %s has no heading %s", page, to, fragment)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d links were found", seen)
	}
}

var (
	span     = regexp.MustCompile("`(countersign [^`]+)`")
	longFlag = regexp.MustCompile(`(^|[\s|\[])--?([a-z][a-z-]*)`)
	word     = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// invocations are the countersign commands of a text of shell.
func invocations(shell string) []string {
	var out []string
	shell = strings.ReplaceAll(shell, "\\\n", " ")
	for _, line := range strings.Split(shell, "\n") {
		if cut := strings.Index(line, " #"); cut >= 0 {
			line = line[:cut]
		}
		for _, part := range regexp.MustCompile(`\|\||&&|[|;&]`).Split(line, -1) {
			part = strings.TrimSpace(part)
			part = strings.TrimPrefix(strings.TrimPrefix(part, "bin/"), "$ ")
			if strings.HasPrefix(part, "countersign ") {
				out = append(out, strings.TrimSpace(strings.Split(part, " >")[0]))
			}
		}
	}
	return out
}

// usage asks the program how a command is used.
func usage(words []string) (path []string, noun, takesArgs bool, help string) {
	var out bytes.Buffer
	m := &cli.Main{Args: append(slices.Clone(words), "--help"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Version: "0"}
	m.Run(context.Background())
	help = out.String()
	_, use, _ := strings.Cut(help, "Usage:\n")
	use, _, _ = strings.Cut(use, "\n\n")
	noun = strings.Contains(use, "[command]")
	line := strings.Fields(strings.Split(strings.TrimSpace(use), "\n")[0])
	for i, w := range line {
		if !word.MatchString(w) {
			takesArgs = slices.ContainsFunc(line[i:], func(s string) bool { return s != "[flags]" })
			break
		}
		path = append(path, w)
	}
	return path, noun, takesArgs, help
}

// checkCommand says what is wrong with one documented command.
func checkCommand(command string) error {
	fields := strings.Fields(command)[1:]
	var words []string
	for _, f := range fields {
		if !word.MatchString(f) {
			break
		}
		words = append(words, f)
	}
	if len(words) == 0 {
		return nil
	}
	path, noun, takesArgs, help := usage(words)
	path = path[min(1, len(path)):]
	switch {
	case len(path) == 0 || len(path) > len(words) || !slices.Equal(path, words[:len(path)]):
		return fmt.Errorf("there is no such command (the nearest is %q)", path)
	case noun && len(words) > len(path):
		return fmt.Errorf("%v has no command %s", path, words[len(path)])
	case !takesArgs && len(words) > len(path):
		return fmt.Errorf("%v takes no arguments", path)
	}
	for _, m := range longFlag.FindAllStringSubmatch(" "+quoted.ReplaceAllString(command, " "), -1) {
		if len(m[2]) == 1 && strings.Contains(help, "-"+m[2]+", --") || len(m[2]) > 1 && regexp.MustCompile(`--`+m[2]+`\b`).MatchString(help) {
			continue
		}
		return fmt.Errorf("%v has no flag %s", path, m[2])
	}
	return nil
}

var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// Every command that a page names is one of the program's, with the flags it is shown with.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, page := range pages(t) {
		list, prose := blocks(t, page)
		var all []string
		for _, b := range list {
			if b.lang == "sh" {
				all = append(all, invocations(b.text)...)
			}
		}
		for _, m := range span.FindAllStringSubmatch(prose, -1) {
			all = append(all, invocations(m[1])...)
		}
		for _, c := range all {
			seen[c] = true
			if err := checkCommand(c); err != nil {
				t.Errorf("%s: `%s`: %v", page, c, err)
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d commands were found", len(seen))
	}
	for _, bad := range []string{"countersign signal frobnicate", "countersign signal list --colour", "countersign source list everything", "countersign frobnicate"} {
		if checkCommand(bad) == nil {
			t.Errorf("%q passes as a command", bad)
		}
	}
}

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

func eventTypes() string {
	var b strings.Builder
	b.WriteString("# Event types\n\nEvery event type that Countersign knows, made from the program (`countersign event types`). Policies, sources and clients\n" +
		"name a type by its short name or by its URI. A type that is not here is kept and shown like any other; no policy can be\n" +
		"written for it.\n")
	last := ""
	for _, t := range event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary()).Types() {
		if group, _, _ := strings.Cut(t.Name, "/"); group != last {
			last = group
			fmt.Fprintf(&b, "\n## %s\n\n| Name | Title | Defined in | URI |\n|---|---|---|---|\n", strings.ToUpper(group))
		}
		note := ""
		if t.Deprecated {
			note = ", deprecated"
		}
		if t.StreamLevel {
			note += ", about the stream"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s%s | `%s` |\n", t.Name, t.Title, t.Clause, note, t.URI)
	}
	return b.String()
}

// The commands of getting-started.md, run one after the other as they stand there, against the real
// program, an identity provider and a web application. Only names and ports are those of the test.
func TestDocsGettingStarted(t *testing.T) {
	t.Parallel()
	w := newWalk(t, nil)
	list, _ := blocks(t, "docs/getting-started.md")
	for _, b := range list {
		w.do(b)
	}
	if w.checked < 7 {
		t.Errorf("only %d outputs were compared", w.checked)
	}
	if n := w.wiki.Live("u-alice"); n != 0 {
		t.Errorf("alice still has %d sessions at wiki", n)
	}
	if n := w.wiki.Live("u-bob"); n != 1 {
		t.Errorf("bob has %d sessions at wiki, not the one he signed in with", n)
	}
}

// The commands of transmitting.md, with one hub that sends and another that receives.
func TestDocsTransmitting(t *testing.T) {
	t.Parallel()
	ca, err := stage.NewCA("Countersign docs test")
	if err != nil {
		t.Fatal(err)
	}
	a, b := newWalk(t, ca), newWalk(t, ca)
	_, portA, _ := strings.Cut(a.public, ":")
	_, portB, _ := strings.Cut(b.public, ":")
	for _, w := range []*walk{a, b} {
		w.swap = strings.NewReplacer("https://hub.example.test", "https://localhost:"+portA, "other.example.test", "localhost:"+portB)
		name := "https://localhost:" + portA
		if w == b {
			name = "https://localhost:" + portB
		}
		w.file("hub.yaml", "public_url: "+name+"\ntls: {cert: hub.crt, key: hub.key}\nca_file: company-ca.pem\negress: {allow: [127.0.0.0/8, \"::1/128\"]}\n")
		w.serve("docs/transmitting.md", "countersign serve --config hub.yaml")
	}
	list, _ := blocks(t, "docs/transmitting.md")
	last := a
	for _, blk := range list {
		if m := fileNote.FindStringSubmatch(blk.note); m != nil {
			a.file(m[1], blk.text)
			continue
		}
		note, at, run := strings.Cut(blk.note, " at ")
		switch {
		case run && at == "A":
			last = a
		case run && at == "B":
			last = b
		case blk.lang != "text":
			continue
		}
		switch note {
		case "test: stream":
			b.until("source", "show", "partner", "status: made")
		case "test: answered":
			b.until("receipt", "list", "", "accepted")
		}
		last.do(blk)
		if strings.Contains(blk.text, "token create") {
			lines := strings.Split(strings.TrimSpace(a.out), "\n")
			b.env = append(b.env, "TOKEN="+lines[len(lines)-1])
		}
	}
	if a.checked+b.checked < 2 {
		t.Errorf("only %d outputs were compared", a.checked+b.checked)
	}
	var signals int
	for range strings.SplitSeq(strings.TrimSpace(b.sh("signal list", "countersign signal list --json")), "\n") {
		signals++
	}
	if signals != 2 {
		t.Errorf("the receiver kept %d signals, not two", signals)
	}
}

// walk is one reader who types what a page says.
type walk struct {
	t       *testing.T
	dir     string
	env     []string
	wiki    *stage.Site
	idp     *idp.Provider
	swap    *strings.Replacer
	admin   string
	public  string
	out     string // of the last command block or of the hub's start
	stop    func()
	checked int
}

// newWalk sets the scene; its certificates are by ca, or by one of its own.
func newWalk(t *testing.T, ca *stage.CA) *walk {
	t.Helper()
	w := &walk{t: t, dir: t.TempDir(), stop: func() {}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	port := func() string {
		n, err := stage.FreePort()
		must(err)
		return fmt.Sprintf("127.0.0.1:%d", n)
	}
	w.public, w.admin = port(), port()
	if ca == nil {
		var err error
		ca, err = stage.NewCA("Countersign docs test")
		must(err)
	}
	cert, err := ca.Leaf("docs")
	must(err)
	must(ca.WriteLeaf("hub", filepath.Join(w.dir, "hub.crt"), filepath.Join(w.dir, "hub.key")))
	w.file("company-ca.pem", string(ca.PEM()))
	w.wiki = stage.NewSite("wiki", stage.Wiki, stage.Person{ID: "u-alice", Email: "alice@example.test"}, stage.Person{ID: "u-bob", Email: "bob@example.test"})
	must(w.wiki.Start(&cert))
	t.Cleanup(w.wiki.Close)
	w.wiki.SignInAs("u-bob")
	w.wiki.SignInAs("u-alice")
	token := "docs-test-token-of-the-stream-api"
	w.idp, err = idp.Start(idp.Config{Token: token, Cert: cert, Roots: ca.Pool()})
	must(err)
	t.Cleanup(w.idp.Close)
	t.Cleanup(func() { w.stop() })
	_, publicPort, _ := strings.Cut(w.public, ":")
	w.swap = strings.NewReplacer(
		"https://idp.example.test", w.idp.Issuer, "https://wiki.example.test", w.wiki.URL(),
		"https://hub.example.test", "https://localhost:"+publicPort, "0.0.0.0:8443", w.public,
		"127.0.0.1:8444", w.admin, "https://localhost:8443", "https://localhost:"+publicPort, "[10.0.0.0/8]", `[127.0.0.0/8, "::1/128"]`)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "COUNTERSIGN_") {
			w.env = append(w.env, e)
		}
	}
	w.env = append(w.env, "IDP_TOKEN="+token, "WIKI_TOKEN="+w.wiki.AdminToken(), "HOME="+w.dir)
	return w
}

var (
	fileName = regexp.MustCompile(`^# ([a-z-]+(?:/[a-z-]+)*\.yaml)\n`)
	anID     = regexp.MustCompile(`\b(sig|rct)_[0-9a-z]{26}\b`)
)

func (w *walk) do(b block) {
	w.t.Helper()
	at := fmt.Sprintf("%s:%d", b.page, b.line)
	text := w.swap.Replace(b.text)
	switch b.note {
	case "test: stream":
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		defer cancel()
		if err := w.idp.WaitStream(ctx); err != nil {
			w.t.Fatalf("%s: %v", at, err)
		}
		w.until("source", "show", "idp", "status: made")
	case "test: acted":
		w.until("action", "list", "", "succeeded")
	case "test: order":
		w.wiki.SignInAs("u-alice")
		w.wiki.SignInAs("u-alice")
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		defer cancel()
		sent, err := w.idp.Revoke(ctx, "alice@example.test", 20*time.Second, "CASE-1")
		if err == nil {
			_, err = w.idp.Await(ctx, sent.JTI)
		}
		if err != nil {
			w.t.Fatalf("%s: %v", at, err)
		}
		w.until("receipt", "list", "", "accepted")
	}
	switch {
	case b.lang == "yaml":
		m := fileName.FindStringSubmatch(b.text)
		if m == nil {
			return
		}
		w.file(m[1], text)
	case b.lang == "sh":
		text = anID.ReplaceAllStringFunc(text, w.newest)
		w.out = ""
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			if strings.HasPrefix(line, "countersign serve") {
				w.serve(at, line)
				continue
			}
			w.out += w.sh(at, line)
		}
	case b.lang == "text":
		w.checked++
		if miss := absent(w.out, text); miss != "" {
			w.t.Errorf("%s: the page shows\n%s\nand the program printed\n%s", at, miss, w.out)
		}
	}
}

// file writes a file into the reader's folder.
func (w *walk) file(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// absent gives the first line of a shown output that the real one does not have at its place. … stands for
// anything, and widths do not count.
func absent(got, shown string) string {
	lines := strings.Split(got, "\n")
	at := 0
	for _, want := range strings.Split(strings.TrimSpace(shown), "\n") {
		words := strings.Fields(want)
		for i := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(words[i]), "…", ".*")
		}
		re := regexp.MustCompile(strings.Join(words, `\s+`))
		i := slices.IndexFunc(lines[at:], re.MatchString)
		if i < 0 {
			return want
		}
		at += i + 1
	}
	return ""
}

// sh runs one line as a shell does, and gives what it printed.
func (w *walk) sh(at, line string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", line)
	cmd.Dir, cmd.Env = w.dir, w.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("%s: %s: %v\n%s%s", at, line, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// newest gives the id of the newest signal or receipt for an id that a page shows.
func (w *walk) newest(shown string) string {
	noun := map[string]string{"sig": "signal", "rct": "receipt"}[shown[:3]]
	var row struct{ ID string }
	if err := json.Unmarshal([]byte(w.sh(noun+" list", "countersign "+noun+" list --limit 1 --json")), &row); err != nil || row.ID == "" {
		w.t.Fatalf("there is no %s: %v", noun, err)
	}
	return row.ID
}

// until waits until a command shows a text.
func (w *walk) until(noun, verb, arg, want string) {
	w.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		out := w.sh(noun+" "+verb, strings.TrimSpace("countersign "+noun+" "+verb+" "+arg))
		if strings.Contains(out, want) {
			return
		}
		select {
		case <-limit:
			w.t.Fatalf("countersign %s %s never showed %q:\n%s", noun, verb, want, out)
		case <-tick.C:
		}
	}
}

// output is what a hub prints, readable while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }
func (o *output) String() string              { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// serve starts the hub as the page says, on ports of the test, and waits until it is ready. One that runs is stopped.
func (w *walk) serve(at, line string) {
	w.t.Helper()
	w.stop()
	args := append(strings.Fields(line)[1:], "--listen", w.public, "--admin-listen", w.admin)
	cmd := exec.Command(program(w.t), args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	stdout, stderr := &output{}, &output{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("%s: %v", at, err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	w.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-exited
			w.t.Errorf("%s: the hub did not stop when told to", at)
		}
	})
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for {
		if resp, err := client.Get("http://" + w.admin + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				w.out = stdout.String()
				return
			}
		}
		select {
		case <-exited:
			w.t.Fatalf("%s: the hub ended:\n%s", at, stderr.String())
		case <-limit:
			w.t.Fatalf("%s: the hub was not ready in time:\n%s", at, stderr.String())
		case <-tick.C:
		}
	}
}

// The policies and packs that pages show as whole files pass the checks that the pages name.
func TestDocsPolicies(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"docs/policies.md", "docs/packs.md"} {
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
