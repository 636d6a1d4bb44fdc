package config

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// The example is made from the struct, its comments and the defaults, so that none of them can differ.
func TestExampleGolden(t *testing.T) {
	got := generate(t)
	if *update {
		if err := os.WriteFile("example.yaml", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(got), string(Example())); d != "" {
		t.Errorf("example.yaml is stale; run go test ./internal/config -update\n%s", d)
	}
}

// As printed, the example is a file with every key at its default.
func TestExampleIsTheDefault(t *testing.T) {
	var c Config
	if err := Parse(Example(), &c); err != nil {
		t.Fatal(err)
	}
	want := Default()
	if d := cmp.Diff(want, c, cmp.FilterValues(func(a, b []string) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())); d != "" {
		t.Error(d)
	}
}

func generate(t *testing.T) []byte {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{} // "Config.Listen"
	ast.Inspect(f, func(n ast.Node) bool {
		ts, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := ts.Type.(*ast.StructType); ok {
			for _, fd := range st.Fields.List {
				for _, name := range fd.Names {
					comments[ts.Name.Name+"."+name.Name] = strings.TrimSpace(fd.Doc.Text())
				}
			}
		}
		return true
	})
	var b bytes.Buffer
	b.WriteString("# The configuration of countersign serve --config FILE. Every key may be left out; the values here are the defaults.\n# Secrets are references to a file or a variable, never values.\n")
	write(t, &b, reflect.ValueOf(Default()), comments, "")
	return b.Bytes()
}

func write(t *testing.T, b *bytes.Buffer, v reflect.Value, comments map[string]string, pad string) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key == "-" {
			continue
		}
		doc := comments[v.Type().Name()+"."+field.Name]
		if doc == "" {
			t.Errorf("%s.%s has no comment, and the comments are the manual", v.Type().Name(), field.Name)
		}
		if pad == "" {
			b.WriteString("\n")
		}
		for _, l := range strings.Split(doc, "\n") {
			fmt.Fprintf(b, "%s# %s\n", pad, l)
		}
		switch fv := v.Field(i); fv.Kind() {
		case reflect.Struct:
			fmt.Fprintf(b, "%s%s:\n", pad, key)
			write(t, b, fv, comments, pad+"  ")
		case reflect.Slice:
			fmt.Fprintf(b, "%s%s: []\n", pad, key)
		case reflect.Int64:
			fmt.Fprintf(b, "%s%s: %d\n", pad, key, fv.Int())
		default:
			fmt.Fprintf(b, "%s%s: %q\n", pad, key, fv.String())
		}
	}
}
