package partner

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/partners anew")

const repo = "../.."

// The pages under docs/partners are what the profiles, the guides and the tests say.
func TestPages(t *testing.T) {
	tests := covering(t)
	pages := map[string]string{"README.md": Index(tests)}
	for _, p := range All() {
		pages[p.Name+".md"] = p.Page()
	}
	dir := filepath.Join(repo, "docs", "partners")
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range pages {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("docs/partners/%s is stale: make generate", name)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := pages[filepath.Base(f)]; !ok {
			t.Errorf("%s belongs to no partner", f)
		}
	}
}

// Every quirk is proven by a test, and no test speaks of a quirk that there is not.
func TestEveryQuirkIsProven(t *testing.T) {
	tests := covering(t)
	for _, r := range Rows() {
		if len(tests[r.ID]) == 0 {
			t.Errorf("%s (%s) is proven by no test", r.ID, r.Title)
		}
	}
	for id, names := range tests {
		if _, ok := Lookup(id); !ok {
			t.Errorf("%s is claimed by %v and stands in no list", id, names)
		}
	}
}

var quirkID = regexp.MustCompile(`^[QL]-[0-9]+(/[a-z]+)?$`)

// covering finds the tests that say, by req.Covers, which quirk they prove.
func covering(t *testing.T) map[string][]string {
	t.Helper()
	tests := map[string][]string{}
	err := filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || d.Name() == "bin"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			for _, id := range ids(f) {
				if !slices.Contains(tests[id], f.Name.Name) {
					tests[id] = append(tests[id], f.Name.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range tests {
		slices.Sort(names)
	}
	return tests
}

// ids lists the quirks that a function names in calls of req.Covers.
func ids(f *ast.FuncDecl) []string {
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Covers" {
			return true
		}
		for _, arg := range call.Args {
			if lit, ok := arg.(*ast.BasicLit); ok {
				if id, err := strconv.Unquote(lit.Value); err == nil && quirkID.MatchString(id) {
					all = append(all, id)
				}
			}
		}
		return true
	})
	return all
}
