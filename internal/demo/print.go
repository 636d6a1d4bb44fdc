package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Printer shows the scene to a person on W as it happens. The zero Printer shows nothing.
type Printer struct {
	W     io.Writer
	Color bool
}

type progress struct {
	Printer
	start time.Time
}

func (p Printer) begin() *progress {
	pr := &progress{p, time.Now()}
	if p.W != nil {
		fmt.Fprintln(p.W, pr.bold("Countersign plays the whole loop. Everything below is real; nothing is called in-process past its door."))
		fmt.Fprintln(p.W)
	}
	return pr
}

func (p *progress) paint(code, s string) string {
	if !p.Color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *progress) bold(s string) string  { return p.paint("1", s) }
func (p *progress) dim(s string) string   { return p.paint("2", s) }
func (p *progress) green(s string) string { return p.paint("32", s) }
func (p *progress) red(s string) string   { return p.paint("31", s) }

// step says what has just happened, and when.
func (p *progress) step(format string, args ...any) {
	if p.W != nil {
		fmt.Fprintf(p.W, "%s %s\n", p.dim(fmt.Sprintf("%7.3fs", time.Since(p.start).Seconds())), fmt.Sprintf(format, args...))
	}
}

func (p *progress) wrong(format string, args ...any) {
	if p.W != nil {
		fmt.Fprintf(p.W, "%s %s\n", p.dim(fmt.Sprintf("%7.3fs", time.Since(p.start).Seconds())), p.red("✗ "+fmt.Sprintf(format, args...)))
	}
}

// sessions shows each cookie as it was tried before and after.
func (p *progress) sessions(list []SessionResult) {
	if p.W == nil {
		return
	}
	p.step("every cookie is tried again:")
	for _, s := range list {
		after := fmt.Sprint(s.After)
		if s.After == 200 {
			after = p.green("200 still signed in")
		} else if s.After == 401 {
			after = p.bold("401 signed out")
		}
		fmt.Fprintf(p.W, "           %-6s %-6s %-10s %d → %s\n", s.Person, s.App, s.Session, s.Before, after)
	}
}

func (p *progress) end(r *Result) {
	if p.W == nil {
		return
	}
	if r.slip != "" {
		fmt.Fprintln(p.W)
		for _, line := range strings.Split(r.slip, "\n") {
			fmt.Fprintln(p.W, line)
		}
	}
	fmt.Fprintln(p.W)
	for _, t := range r.Tokens {
		fmt.Fprintf(p.W, "One thing outlives the session, and the receipt says so: %s's access token at %s works until %s.\n",
			t.Person, t.App, time.Unix(t.StillValidUntil, 0).UTC().Format("15:04:05Z"))
	}
	if r.OK {
		fmt.Fprintln(p.W, p.green(fmt.Sprintf("All as promised, in %.1f s.", float64(r.ElapsedMS)/1000)))
		return
	}
	fmt.Fprintln(p.W, p.red("Not as promised:"))
	for _, s := range r.Problems {
		fmt.Fprintln(p.W, "  - "+s)
	}
}

// Standing is the scene after it was played, with everything still running.
type Standing struct {
	Console  string // address of the signal's page
	Token    string // file with the operator's token
	Data     string // the hub's data folder
	Apps     []string
	Evidence string
	Exe      string
}

func (sc *scene) standing() *Standing {
	st := &Standing{
		Console: sc.hub.Admin + "/signals/" + sc.r.Signal.ID, Token: sc.path("data/operator.token"),
		Data: sc.path("data"), Evidence: sc.r.Evidence, Exe: sc.hub.Exe,
	}
	for _, s := range sc.sites() {
		st.Apps = append(st.Apps, fmt.Sprintf("%-6s %s", s.Name, s.URL()))
	}
	return st
}

// Text is what a person reads before playing on.
func (s *Standing) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nEverything still runs. Open\n  %s\nand sign in with the token in %s. Click the signal to see whom, why, what, and the proof.\n\n", s.Console, s.Token)
	fmt.Fprintf(&b, "The apps (certificates of this run; people alice@example.test and bob@example.test, password %q):\n", password)
	for _, a := range s.Apps {
		fmt.Fprintln(&b, "  "+a)
	}
	fmt.Fprintf(&b, "\nTry, in another terminal:\n  %s signal list --data %s\n  %s receipt list --data %s\n  %s receipt verify %s\n\nCtrl-C ends it.\n", s.Exe, s.Data, s.Exe, s.Data, s.Exe, s.Evidence)
	return b.String()
}
