package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

	"countersign/internal/stage"
	"countersign/internal/stage/idp"
)

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

// The commands of transmitter.md: one hub that sends, receivers beside it, and another hub that receives.
func TestDocsTransmitter(t *testing.T) {
	t.Parallel()
	ca, err := stage.NewCA("Countersign docs test")
	if err != nil {
		t.Fatal(err)
	}
	a, b := newWalk(t, ca), newWalk(t, ca)
	_, portA, _ := strings.Cut(a.public, ":")
	_, portB, _ := strings.Cut(b.public, ":")
	for _, w := range []*walk{a, b} {
		w.swap = strings.NewReplacer("https://localhost:8443", "https://localhost:"+portA, "other.example.test", "localhost:"+portB)
	}
	a.env = append(a.env, "SSL_CERT_FILE="+filepath.Join(a.dir, "company-ca.pem")) // the other hub's certificate
	b.file("hub.yaml", "public_url: https://localhost:"+portB+"\ntls: {cert: hub.crt, key: hub.key}\nca_file: "+
		filepath.Join(a.dir, "data", "self-signed.pem")+"\negress: {allow: [127.0.0.0/8, \"::1/128\"]}\n")
	list, _ := blocks(t, "docs/transmitter.md")
	last := a
	for _, blk := range list {
		if m := fileNote.FindStringSubmatch(blk.note); m != nil {
			a.file(m[1], blk.text)
			continue
		}
		note, at, _ := strings.Cut(blk.note, " at ")
		switch {
		case at == "B":
			if last = b; b.idle() {
				b.serve("docs/transmitter.md", "countersign serve --config hub.yaml")
			}
		case blk.note != "" || blk.lang == "yaml":
			last = a
		case blk.lang != "text":
			continue
		}
		switch note {
		case "test: stream":
			b.until("source", "show", "partner", "status: made")
		case "test: answered":
			b.until("receipt", "list", "", "accepted")
		case "test: dead":
			a.until("delivery", "list", "--outcome dead", "dead")
		case "test: background":
			a.listen(blk)
			continue
		case "test: arrived":
			a.arrived()
		}
		last.do(blk)
		if strings.Contains(blk.text, "token create") {
			lines := strings.Split(strings.TrimSpace(a.out), "\n")
			b.env = append(b.env, "TOKEN="+lines[len(lines)-1])
		}
	}
	if a.checked+b.checked < 18 {
		t.Errorf("only %d outputs were compared", a.checked+b.checked)
	}
}

// The commands of oauth.md, at one hub.
func TestDocsOAuth(t *testing.T) {
	t.Parallel()
	w := newWalk(t, nil)
	_, port, _ := strings.Cut(w.public, ":")
	w.swap = strings.NewReplacer("https://localhost:8443", "https://localhost:"+port)
	w.serve("docs/oauth.md", "countersign serve --dev")
	list, _ := blocks(t, "docs/oauth.md")
	ran := false // the block before this one
	for _, b := range list {
		switch m := fileNote.FindStringSubmatch(b.note); {
		case m != nil:
			w.file(m[1], b.text)
		case b.note == "test: run":
			w.do(b)
			ran = true
			continue
		case b.lang == "text" && ran:
			w.do(b)
		}
		ran = false
	}
	if w.checked < 3 {
		t.Errorf("only %d outputs were compared", w.checked)
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
	serving bool    // a hub was started
	behind  *behind // a receiver that runs beside the reader
}

// behind is a command that runs while others are typed.
type behind struct {
	at, line string
	out      *output // what it printed
	says     *output // and said beside
	exited   chan error
}

// idle reports whether the walk has no hub yet.
func (w *walk) idle() bool { return !w.serving }

// listen starts the command of a block and waits until it is ready for what comes.
func (w *walk) listen(b block) {
	w.t.Helper()
	line := strings.TrimSpace(w.swap.Replace(b.text))
	r := &behind{at: fmt.Sprintf("%s:%d", b.page, b.line), line: line, out: &output{}, says: &output{}, exited: make(chan error, 1)}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "sh", "-euc", "exec "+line)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.env, r.out, r.says
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("%s: %v", r.at, err)
	}
	go func() { r.exited <- cmd.Wait(); stop() }()
	w.t.Cleanup(stop)
	w.behind = r
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(r.says.String(), "Listening at") && !strings.Contains(r.says.String(), "Polling") {
		select {
		case err := <-r.exited:
			w.t.Fatalf("%s: %s: %v\n%s%s", r.at, line, err, r.out, r.says)
		case <-ctx.Done():
			w.t.Fatalf("%s: %s was not ready in time:\n%s%s", r.at, line, r.out, r.says)
		case <-tick.C:
		}
	}
}

// arrived waits until the receiver has what it waited for; its output is the one to compare.
func (w *walk) arrived() {
	w.t.Helper()
	r := w.behind
	select {
	case err := <-r.exited:
		if err != nil {
			w.t.Fatalf("%s: %s: %v\n%s%s", r.at, r.line, err, r.out, r.says)
		}
	case <-time.After(30 * time.Second):
		w.t.Fatalf("%s: %s did not end:\n%s%s", r.at, r.line, r.out, r.says)
	}
	w.out = r.out.String()
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
	w.serving = true
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

// What operations.md and getting-started.md say of starts that must not succeed: status and sentence, and no more.
func TestDocsRefusedStarts(t *testing.T) {
	t.Parallel()
	w := newWalk(t, nil)
	w.serve("docs/operations.md", "countersign serve")
	start := func(wantStatus int, want string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, program(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
		cmd.Dir, cmd.Env = w.dir, w.env
		out, err := cmd.CombinedOutput()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != wantStatus || !strings.Contains(string(out), want) {
			t.Errorf("countersign serve %s: %v, want status %d and %q; it printed:\n%s", strings.Join(args, " "), err, wantStatus, want, out)
		}
	}
	start(5, "in use", "--data", "other", "--listen", w.public) // another program has the port
	start(5, "another process")                                 // a second hub on this database
	w.stop()
	key := filepath.Join(w.dir, "data", "master.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	start(2, "master")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	start(2, "is gone, but the database is there")
}
