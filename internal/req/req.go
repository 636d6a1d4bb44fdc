package req

import (
	_ "embed"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"testing"
)

//go:embed requirements.tsv
var requirements string

//go:embed refused.tsv
var refused string

// Requirement is one row of the checklist.
type Requirement struct {
	ID       string // such as TX-58
	Strength string // as in its source: MUST, SHOULD, MAY …; ADVICE is our own
	Clause   string // where it stands; empty for advice
	Text     string
	Refused  string // why it is not done, where that was decided; else empty
}

// All gives the checklist in its order.
func All() []Requirement {
	why := map[string]string{}
	for line := range strings.Lines(refused) {
		if id, text, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			why[id] = text
		}
	}
	var all []Requirement
	for line := range strings.Lines(requirements) {
		if f := strings.Split(strings.TrimRight(line, "\n"), "\t"); len(f) == 4 {
			all = append(all, Requirement{f[0], f[1], f[2], f[3], why[f[0]]})
		}
	}
	return all
}

// CoversFile is the environment variable that names a file; Covers adds a line to it for each id that was proven:
// id, package folder, test, separated by tabs.
const CoversFile = "COUNTERSIGN_COVERS"

// Covers records that the running test proves the ids. Call it beside the assertion. It counts only when the test
// ended well and was not skipped.
func Covers(t testing.TB, ids ...string) {
	t.Helper()
	_, file, _, _ := runtime.Caller(1)
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		name := os.Getenv(CoversFile)
		var lines strings.Builder
		for _, id := range ids {
			t.Logf("covers %s", id)
			fmt.Fprintf(&lines, "%s\t%s\t%s\n", id, room(file), t.Name())
		}
		if name == "" {
			return
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = f.WriteString(lines.String()) // one write, so that lines of other processes stay whole
			err = firstOf(err, f.Close())
		}
		if err != nil {
			t.Errorf("covers: %v", err)
		}
	})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// room is the folder of a source file within the module.
func room(file string) string {
	dir := path.Dir(file)
	if rel, ok := strings.CutPrefix(dir, "countersign/"); ok { // built with -trimpath
		return rel
	}
	wd, err := os.Getwd() // of the package under test
	if err != nil {
		return dir
	}
	root := wd
	for root != "/" {
		if _, err := os.Stat(path.Join(root, "go.mod")); err == nil {
			break
		}
		root = path.Dir(root)
	}
	return strings.TrimPrefix(strings.TrimPrefix(dir, root), "/")
}
