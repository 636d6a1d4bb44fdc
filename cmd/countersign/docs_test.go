package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/internal/cli"
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
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "docs/partners/*.md", "connectors/*/README.md"} {
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
