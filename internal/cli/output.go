package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"

	"countersign/internal/hub"
)

func itoa(n int) string { return strconv.Itoa(n) }

// object prints one value as one line of JSON.
func (a *App) object(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := a.Stdout.Write(b.Bytes())
	return err
}

// lines prints each value as one line of JSON.
func (a *App) lines(items []json.RawMessage) error {
	for _, it := range items {
		if err := a.object(it); err != nil {
			return err
		}
	}
	return nil
}

// table prints rows under a heading, aligned. Cells that came from outside cannot steer the terminal.
func (a *App) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.Stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(head, "\t")))
	for _, r := range rows {
		for i := range r {
			r[i] = strings.ReplaceAll(plain(r[i]), "\t", " ")
			if r[i] == "" {
				r[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	return w.Flush()
}

// say prints a line for people; quiet under --json. Text among args cannot steer the terminal.
func (a *App) say(format string, args ...any) {
	if !a.flags.json {
		fmt.Fprintf(a.Stdout, format+"\n", tame(args)...)
	}
}

// note prints a line to stderr.
func (a *App) note(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", tame(args)...)
}

// tame makes every text among args plain.
func tame(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := reflect.ValueOf(arg); {
		case v.IsValid() && v.Kind() == reflect.String:
			out[i] = plain(v.String())
		case v.IsValid() && v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
			out[i] = plain(string(v.Bytes()))
		default:
			out[i] = arg
		}
	}
	return out
}

func when(m hub.Micros) string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02 15:04:05Z")
}

func clock(m hub.Micros) string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("15:04:05.000Z")
}

// terminal reports whether the stream is one.
func terminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// confirm asks before something is taken away. Without a terminal it fails unless yes.
func (a *App) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(a.Stdin) || !terminal(a.Stderr) {
		return hub.Errorf(hub.Invalid, "%s needs a yes, and there is no terminal to ask", question).WithHint("repeat with --yes")
	}
	fmt.Fprintf(a.Stderr, "%s? [y/N] ", plain(question))
	var answer [16]byte
	n, err := a.Stdin.Read(answer[:])
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(string(answer[:n]))) {
	case "y", "yes":
		return nil
	}
	return hub.Errorf(hub.Invalid, "nothing was changed")
}

func splitLines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }
