package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/cli"
)

// docs/commands.md has every command and flag that the program has.
func TestDocsCommandList(t *testing.T) {
	t.Parallel()
	const page = "docs/commands.md"
	var out bytes.Buffer
	m := &cli.Main{Args: []string{"dev", "commands"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}
	if status := m.Run(t.Context()); status != 0 {
		t.Fatalf("dev commands: status %d", status)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(repo, page), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, page); got != out.String() {
		t.Errorf("%s is not what the program has; make it anew with: go test ./cmd/countersign -run TestDocsCommandList -update", page)
	}
	for _, want := range []string{"`countersign source stream NAME create|read|", "`--ack-only`", "`countersign secret delete NAME`", "`countersign action show ID`", "`countersign stream subject remove", "`countersign stream status"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}
