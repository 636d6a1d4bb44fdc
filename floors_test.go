package countersign

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "countersign"

// A room is a package, or with a trailing /... a folder of packages.
type room struct {
	path  string
	floor int
	// outside lists the third-party modules whose one home this room is.
	outside []string
}

// plan is the floor plan. A room imports rooms of lower floors only; rooms of one floor do not know each other.
var plan = []room{
	{"internal/strictjson", 0, nil},
	{"internal/expr", 0, []string{"cel.dev/cel-go", "google.golang.org/genproto", "google.golang.org/protobuf"}},
	{"internal/egress", 0, nil},
	{"internal/telemetry", 0, []string{"github.com/prometheus/client_golang", "github.com/prometheus/client_model", "go.opentelemetry.io/otel"}},
	{"internal/req", 0, nil},
	{"internal/req/conformance", 1, nil},
	{"internal/pgtest", 0, nil},
	{"connectors", 0, nil},
	{"policies", 0, nil},
	{"partners", 0, nil},

	{"set", 1, []string{"github.com/go-jose/go-jose"}},
	{"subject", 1, nil},
	{"internal/yaml", 1, []string{"go.yaml.in/yaml"}},

	{"event", 2, nil},
	{"stream", 2, nil},
	{"receipt", 2, nil},
	{"event/caep", 3, nil},
	{"event/risc", 3, nil},
	{"event/ssf", 3, nil},
	{"event/scim", 3, nil},

	{"transmitter", 4, nil},
	{"receiver", 4, nil},
	{"outbox", 4, nil},
	{"ssftest", 5, []string{"github.com/google/go-cmp"}}, // for tests only, as that module is

	{"internal/hub", 6, nil},
	{"internal/partner", 6, nil},
	{"internal/resource", 7, nil},
	{"internal/config", 7, nil},
	{"internal/connector", 7, nil},
	{"internal/vault", 7, nil},
	{"internal/store", 7, []string{"modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose"}},

	{"internal/sight", 8, nil},
	{"internal/flow", 8, nil},
	{"internal/flow/ingest", 8, nil},
	{"internal/flow/correlate", 8, []string{"golang.org/x/text"}},
	{"internal/flow/decide", 8, nil},
	{"internal/flow/act", 8, nil},
	{"internal/flow/emit", 8, nil},
	{"internal/flow/enroll", 8, nil},
	{"internal/flow/naming", 8, nil},

	{"internal/web/oauth", 8, nil},

	{"internal/web/ssf", 9, nil},
	{"internal/web/api", 9, nil},
	{"internal/web/console", 9, nil},

	{"internal/stage", 9, nil},
	{"internal/stage/idp", 9, nil},
	{"internal/server", 10, nil},
	{"internal/demo", 10, nil},
	{"internal/bench", 10, nil},
	{"internal/web/hostile", 11, nil}, // tests at every door
	{"internal/cli", 11, []string{"github.com/spf13/cobra", "github.com/spf13/pflag"}},
	{"cmd/countersign", 12, nil},
	{"", 12, nil}, // the tour at the root
}

// bans are imports that are forbidden whatever the floors say, each with its reason.
var bans = []struct{ from, to, why string }{
	{"internal/demo", "internal/server", "the demo starts the hub as a child process and never calls it in-process"},
	{"internal/demo", "internal/store", "the demo looks at a hub from outside"},
	{"internal/demo", "internal/flow", "the demo looks at a hub from outside"},
	{"internal/stage", "internal/server", "the stage starts the hub as a child process"},
	{"internal/stage", "internal/store", "the stage looks at a hub from outside"},
	{"internal/stage", "internal/hub", "the stage looks at a hub from outside"},
	{"internal/stage/idp", "internal/store", "the identity provider stands on the SDK alone"},
	{"internal/stage/idp", "internal/server", "the identity provider stands on the SDK alone"},
	{"internal/stage/idp", "internal/hub", "the identity provider stands on the SDK alone"},
	{"internal/bench", "internal/server", "the bench measures a hub process, not a library"},
	{"internal/bench", "internal/store", "the bench measures a hub process, not a library"},
}

// testsOnly are rooms that only tests may import: they import testing.
var testsOnly = []string{"internal/req", "internal/pgtest", "ssftest"}

func find(pkg string) (room, bool) {
	for _, r := range plan {
		if r.path == pkg {
			return r, true
		}
	}
	for _, r := range plan {
		if dir, ok := strings.CutSuffix(r.path, "/..."); ok && (pkg == dir || strings.HasPrefix(pkg, dir+"/")) {
			return r, true
		}
	}
	return room{}, false
}

type use struct{ pkg, file, imp string }

// imports reads every import of the module's files with go/parser, so that the test cache sees the files.
func imports(t *testing.T, tests bool) (uses []use, packages map[string]bool) {
	t.Helper()
	packages = map[string]bool{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != "." && (strings.HasPrefix(n, ".") || n == "testdata" || n == "bin" || n == "out") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") != tests {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(p))
		if pkg == "." {
			pkg = ""
		}
		packages[pkg] = true
		for _, s := range f.Imports {
			imp, _ := strconv.Unquote(s.Path.Value)
			uses = append(uses, use{pkg, p, imp})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uses, packages
}

func TestFloors(t *testing.T) {
	uses, packages := imports(t, false)
	for pkg := range packages {
		if _, ok := find(pkg); !ok {
			t.Errorf("package %q has no row in the floor plan: say on which floor it lives, or put it in a room that exists", pkg)
		}
	}
	for _, r := range plan {
		if dir := strings.TrimSuffix(r.path, "/..."); !packages[dir] {
			t.Errorf("the floor plan has a row for %q, which holds no package", r.path)
		}
	}
	for _, b := range bans {
		if dir := strings.TrimSuffix(b.from, "/..."); !packages[dir] {
			t.Errorf("a ban speaks of %q, which holds no package", b.from)
		}
		if !packages[b.to] {
			t.Errorf("a ban speaks of %q, which holds no package", b.to)
		}
	}
	for _, u := range uses {
		if problem := judge(u); problem != "" {
			t.Errorf("%s: %s", u.file, problem)
		}
	}
}

// judge says what is wrong with one import of production code; empty when nothing is.
func judge(u use) string {
	from, _ := find(u.pkg)
	if u.imp == "testing" || strings.HasPrefix(u.imp, "testing/") {
		if u.imp != "testing/fstest" && !slices.Contains(testsOnly, u.pkg) {
			return "production code imports " + u.imp + ": it would link test code into users' binaries"
		}
		return ""
	}
	if own, ok := strings.CutPrefix(u.imp, module+"/"); ok || u.imp == module {
		if u.imp == module {
			return "the root holds the tour only; import the room itself"
		}
		if slices.Contains(testsOnly, own) && u.pkg != own+"/conformance" { // a tool of the gate, which no user runs
			return own + " is for tests only"
		}
		for _, b := range bans {
			if r, _ := find(u.pkg); r.path == b.from && (own == b.to || strings.HasPrefix(own, b.to+"/")) {
				return "imports " + own + ": " + b.why
			}
		}
		to, ok := find(own)
		if !ok {
			return "imports " + own + ", which has no row in the floor plan"
		}
		if to.path == from.path && strings.HasSuffix(to.path, "/...") {
			return ""
		}
		if to.floor >= from.floor {
			return "imports " + own + " (floor " + strconv.Itoa(to.floor) + ") from floor " + strconv.Itoa(from.floor) + ": imports point down"
		}
		if from.floor <= 5 && strings.HasPrefix(own, "internal/") && own != "internal/strictjson" && from.path != "ssftest" && !strings.HasPrefix(from.path, "internal/") {
			return "the SDK imports " + own + ": it needs no hub"
		}
		return ""
	}
	if first, _, _ := strings.Cut(u.imp, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if strings.HasPrefix(u.imp, "golang.org/x/sys") {
		return ""
	}
	for _, r := range plan {
		for _, home := range r.outside {
			if strings.HasPrefix(u.imp, home) {
				if r.path == from.path {
					return ""
				}
				return "imports " + u.imp + ", whose one home is " + r.path
			}
		}
	}
	return "imports " + u.imp + ": no room has it as its home; a new dependency needs a sentence in docs/decisions"
}

// TestFloorsRefuse shows that the plan bites: each wrong import is refused, each right one is not.
func TestFloorsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		refused  bool
	}{
		{"set", "countersign/internal/hub", true},
		{"set", "countersign/receipt", true},
		{"set", "countersign/subject", true},
		{"receipt", "countersign/set", false},
		{"internal/flow/act", "countersign/internal/flow/emit", true},
		{"internal/store", "countersign/internal/web/api", true},
		{"internal/stage/idp", "countersign/internal/store", true},
		{"internal/stage/idp", "countersign/internal/server", true},
		{"internal/stage/idp", "countersign/transmitter", false},
		{"internal/hub", "testing", true},
		{"internal/hub", "countersign/internal/req", true},
		{"internal/flow/act", "modernc.org/sqlite", true},
		{"internal/store", "modernc.org/sqlite", false},
		{"transmitter", "countersign/internal/telemetry", true},
		{"set", "example.org/new/thing", true},
	} {
		if got := judge(use{c.pkg, "x.go", c.imp}); (got != "") != c.refused {
			t.Errorf("%s importing %s: refused=%v (%s), want refused=%v", c.pkg, c.imp, got != "", got, c.refused)
		}
	}
}

// TestSDKAlone: the identity provider of the demo, and whoever imports the SDK, needs no hub.
func TestSDKAlone(t *testing.T) {
	uses, _ := imports(t, false)
	deps := map[string][]string{}
	for _, u := range uses {
		if own, ok := strings.CutPrefix(u.imp, module+"/"); ok {
			deps[u.pkg] = append(deps[u.pkg], own)
		}
	}
	for _, start := range []string{"set", "subject", "event", "stream", "receipt", "transmitter", "receiver", "internal/stage/idp"} {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(p string) {
			if seen[p] {
				return
			}
			seen[p] = true
			for _, d := range deps[p] {
				walk(d)
			}
		}
		walk(start)
		for p := range seen {
			if strings.HasPrefix(p, "internal/") && p != "internal/strictjson" && p != start {
				t.Errorf("%s reaches %s: the SDK stands alone", start, p)
			}
		}
	}
}
