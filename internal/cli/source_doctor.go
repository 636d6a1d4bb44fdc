package cli

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/flow/enroll"
)

func (a *App) doctorSource() *cobra.Command {
	return &cobra.Command{Use: "source NAME", Short: "Look at everything that a source needs to be heard, on both sides", Args: exact(1), ValidArgsFunction: a.sourceNames(),
		Long: "Doctor source has the hub look at a source: its metadata, certificate, clock and keys, our credential there, the stream, its events\n" +
			"and subjects. It asks for a verification event and waits for it to arrive. What is not right is told with what to change, and on\n" +
			"which side. The exit status is 1 where a check fails.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if isTerminal(a.Stderr) && !a.flags.json {
				a.note("Looking; a verification event may take up to 40 s …")
			}
			patient := *cl.http
			patient.Timeout = 3 * time.Minute
			cl.http = &patient
			raw, err := cl.raw(c.Context(), "GET", sourcePath(args[0], "doctor"), nil, nil)
			if err != nil {
				return err
			}
			var e enroll.Examination
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			if a.flags.json {
				if err := a.object(json.RawMessage(raw)); err != nil {
					return err
				}
			} else {
				a.say("source %s, profile %s", e.Source, e.Profile)
				for _, f := range e.Findings {
					seen := f.Seen
					if f.Quirk != "" {
						seen += " (" + f.Quirk + ")"
					}
					a.say("%-4s  %-12s %s", f.Result, f.Check, seen)
					if f.Fix != "" {
						a.say("%-4s  %-12s -> %s: %s", "", "", side(f.Side), f.Fix)
					}
				}
			}
			if !e.OK {
				return &exitError{status: 1}
			}
			return nil
		}}
}

// side says in words who can put something right.
func side(s string) string {
	switch s {
	case enroll.Ours:
		return "here"
	case enroll.Theirs:
		return "there"
	}
	return "between"
}
