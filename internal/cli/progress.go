package cli

import (
	"fmt"
	"time"
)

// progress is one line at a terminal that is written over as work goes on. In a pipe it says nothing.
type progress struct {
	a    *App
	on   bool
	open bool
	last time.Time
}

func (a *App) progress() *progress { return &progress{a: a, on: !a.flags.json && isTerminal(a.Stderr)} }

// say writes the line anew, ten times a second at most.
func (p *progress) say(text string) {
	if now := time.Now(); p.on && now.Sub(p.last) > 100*time.Millisecond {
		p.last, p.open = now, true
		fmt.Fprintf(p.a.Stderr, "\r\x1b[K%s", plain(text))
	}
}

// end takes the line away.
func (p *progress) end() {
	if p.open {
		fmt.Fprint(p.a.Stderr, "\r\x1b[K")
		p.open = false
	}
}
