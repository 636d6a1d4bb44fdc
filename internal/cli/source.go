package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/flow/enroll"
	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// sourceCommands are the verbs that sources have besides those of every noun.
func (a *App) sourceCommands() []*cobra.Command {
	return []*cobra.Command{a.sourceStream(),
		a.sourceStatus("pause", "Ask the transmitter to pause our stream"),
		a.sourceStatus("resume", "Ask the transmitter to go on with our stream"),
		a.sourceVerify(), a.sourceRefused(), a.sourceAuthorize(),
		noun("subjects", "The subjects that our stream at a source is about", a.sourceSubjects("add"), a.sourceSubjects("remove"))}
}

// sourceNotes are the columns of a list that say how a source is doing, and what to do where it does not do well.
func sourceNotes(name string, raw json.RawMessage) (cells, problem []string) {
	var st struct {
		Problem string       `json:"problem"`
		Stream  enroll.State `json:"stream_state"`
	}
	json.Unmarshal(raw, &st)
	word := st.Stream.Status
	switch {
	case st.Problem != "" && word != enroll.Failed && word != enroll.None:
		word += ", problem"
	case st.Problem != "" && word == enroll.None:
		word = "problem"
	case word == enroll.None:
		word = "ready"
	}
	if st.Problem != "" {
		problem = []string{name + ": " + st.Problem, "  next: countersign doctor source " + name}
	}
	return []string{word}, problem
}

func sourcePath(name string, more ...string) string {
	return strings.Join(append([]string{"/sources/" + url.PathEscape(name)}, more...), "/")
}

func (a *App) sourceNames() cobra.CompletionFunc { return a.names("/sources", 1, "name") }

func (a *App) sourceStream() *cobra.Command {
	var in enroll.StepInput
	var most int
	c := &cobra.Command{Use: "stream NAME " + strings.Join(enroll.Steps, "|"), Short: "Do one step at the other side's stream API, one request and nothing else", Args: exact(2),
		ValidArgsFunction: func(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return enroll.Steps, cobra.ShellCompDirectiveNoFileComp
			}
			return a.sourceNames()(c, args, to)
		},
		Long: "One step is one request to the transmitter, with a token request before it where no token is kept, and a look at its metadata\n" +
			"where that was not read. With stream: none this is all that goes out: the hub makes, polls and verifies nothing by itself.\n" +
			"poll takes what there is; what came is acknowledged with the next poll, or with poll --ack-only.",
		Example: `  countersign source stream keycloak create
  countersign source stream keycloak status --set paused --reason maintenance
  countersign source stream keycloak poll --max 10`,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("max") {
				in.Max = &most
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			patient := *cl.http
			patient.Timeout = 3 * time.Minute
			cl.http = &patient
			return a.step(c, cl, sourcePath(args[0], "stream", url.PathEscape(args[1])), in)
		}}
	f := c.Flags()
	f.StringVar(&in.StreamID, "stream-id", "", "of another stream than the one that the hub remembers")
	f.BoolVar(&in.All, "all", false, "read: every stream of ours there")
	f.StringArrayVar(&in.Events, "event", nil, "create, update, replace: ask for this event type and not for the source's; may be repeated")
	f.StringVar(&in.Description, "description", "", "create, update, replace: what the stream is called there")
	f.StringVar(&in.Status, "set", "", "status: make it enabled, paused or disabled")
	f.StringVar(&in.Reason, "reason", "", "status: why; the transmitter is told")
	f.StringVar(&in.State, "state", "", "verify: the state that the event shall carry; a random one by default")
	f.BoolVar(&in.NoState, "no-state", false, "verify: without a state")
	f.IntVar(&most, "max", 0, "poll: how many signals at most")
	f.BoolVar(&in.Long, "wait", false, "poll: let the transmitter hold the request until there is something")
	f.BoolVar(&in.AckOnly, "ack-only", false, "poll: acknowledge what came before, and take nothing")
	return c
}

// step takes a step and shows what came of it.
func (a *App) step(c *cobra.Command, cl *client, path string, body any) error {
	raw, err := cl.raw(c.Context(), "POST", path, nil, body)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.object(json.RawMessage(raw))
	}
	var out enroll.StepResult
	if err := json.Unmarshal(raw, &out); err != nil {
		return hub.Errorf(hub.Internal, "the answer cannot be read: %w", err)
	}
	if len(out.Answer) > 0 {
		text, err := toYAML(out.Answer)
		if err != nil {
			return err
		}
		a.Stdout.Write(text)
	}
	switch {
	case out.Verb == enroll.StepDelete:
		a.say("deleted")
	case out.Verb == enroll.StepVerify:
		a.say("asked for a verification event, state %s", out.State)
	case out.Verb == enroll.StepPoll:
		for _, s := range out.Sets {
			line := s.Result + "  " + s.JTI
			if s.Reason != "" {
				line += "  " + s.Reason
			}
			a.say("%s", line)
		}
		if len(out.Sets) == 0 {
			a.say("nothing came")
		}
		if out.More {
			a.note("There is more: poll again.")
		}
	}
	if out.Note != "" {
		a.note("%s", out.Note)
	}
	return nil
}

func (a *App) sourceStatus(verb, short string) *cobra.Command {
	var in api.SourceReason
	c := &cobra.Command{Use: verb + " NAME", Short: short, Args: exact(1), ValidArgsFunction: a.sourceNames(), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		return a.step(c, cl, sourcePath(args[0], verb), in)
	}}
	c.Flags().StringVar(&in.Reason, "reason", "", "why; the transmitter is told")
	return c
}

func (a *App) sourceVerify() *cobra.Command {
	var wait time.Duration
	c := &cobra.Command{Use: "verify NAME", Short: "Ask for a verification event, and see it arrive", Args: exact(1), ValidArgsFunction: a.sourceNames(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var out enroll.StepResult
			if err := cl.do(c.Context(), "POST", sourcePath(args[0], "verify"), nil, nil, &out); err != nil {
				return err
			}
			if out.Stream == nil {
				return hub.Errorf(hub.Internal, "the answer cannot be read")
			}
			began, came := time.Now(), false
			for wait > 0 {
				var r struct {
					State struct {
						Stream enroll.State `json:"stream_state"`
					} `json:"state"`
				}
				if err := cl.do(c.Context(), "GET", sourcePath(args[0]), nil, nil, &r); err != nil {
					return err
				}
				if came = r.State.Stream.Verified >= out.Stream.Asked; came || time.Since(began) > wait {
					break
				}
				select {
				case <-c.Context().Done():
					return c.Context().Err()
				case <-time.After(250 * time.Millisecond):
				}
			}
			took := time.Since(began).Round(time.Millisecond)
			if a.flags.json {
				if err := a.object(map[string]any{"source": args[0], "state": out.State, "arrived": came, "took_ms": took.Milliseconds()}); err != nil {
					return err
				}
			}
			switch {
			case came && !a.flags.json:
				a.say("the verification event arrived after %v", took)
			case !came && wait > 0:
				return hub.Errorf(hub.Unavailable, "the verification event was asked for and did not arrive within %v", wait).WithHint("countersign doctor source %s", args[0])
			case !a.flags.json:
				a.say("asked for a verification event")
			}
			return nil
		}}
	c.Flags().DurationVar(&wait, "wait", 45*time.Second, "how long to wait for it; 0: not at all")
	return c
}

func (a *App) sourceRefused() *cobra.Command {
	var limit int
	c := &cobra.Command{Use: "refused NAME", Short: "List what a source sent and what was not taken, with what to change", Args: exact(1), ValidArgsFunction: a.sourceNames(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			items, more, err := cl.list(c.Context(), sourcePath(args[0], "refusals"), nil, limit)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.lines(items)
			}
			for _, it := range items {
				var r hub.Refusal
				if err := json.Unmarshal(it, &r); err != nil {
					return err
				}
				times := ""
				if r.Count > 1 {
					times = " (" + count(r.Count) + " times)"
				}
				a.say("%s  %s  %s%s", when(r.Last), r.Err, r.Reason, times)
				if r.Cure != "" {
					a.say("    -> %s: %s", side(r.Side), r.Cure)
				}
			}
			if len(items) == 0 {
				a.note("Nothing was refused.")
			}
			if more {
				a.note("There are more: --limit 0 lists all.")
			}
			return nil
		}}
	c.Flags().IntVar(&limit, "limit", 20, "how many at most; 0: all")
	return c
}

// send posts a body of any size and gives the answer, which may be long too.
func (c *client) send(ctx context.Context, path string, q url.Values, body io.Reader, media string) (io.ReadCloser, error) {
	target := c.base + "/api/v1" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, "POST", target, io.NopCloser(body))
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err)
	}
	req.Header.Set("Content-Type", media)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.tenant != "" {
		req.Header.Set("Countersign-Tenant", c.tenant)
	}
	long := *c.http
	long.Timeout = 0 // it takes as long as it takes; Ctrl-C ends it
	resp, err := long.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, hub.Errorf(hub.Unavailable, "the hub at %s does not answer: %w", c.base, err).WithHint("is it running? countersign serve")
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var p problem
	if json.Unmarshal(data, &p) != nil || p.Code == "" {
		return nil, hub.Errorf(hub.Internal, "%s answered %s", c.base, resp.Status).WithHint("does --server name the admin listener of a hub?")
	}
	return nil, &hub.Error{Code: p.Code, Message: p.Title, Hint: p.Hint}
}

// subjectsLine is one line of the answer to a change of subjects.
type subjectsLine struct {
	Progress *api.SubjectsProgress `json:"progress"`
	Bad      *api.SubjectFault     `json:"bad"`
	Done     *api.SubjectsProgress `json:"done"`
	Error    *problem              `json:"error"`
}

func (a *App) sourceSubjects(verb string) *cobra.Command {
	short := "Add subjects to our stream at a source"
	if verb == "remove" {
		short = "Remove subjects from our stream at a source"
	}
	return &cobra.Command{Use: verb + " NAME FILE", Short: short, Args: exact(2),
		ValidArgsFunction: func(c *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault // a file
			}
			return a.sourceNames()(c, args, to)
		},
		Long: short + ". FILE has one subject identifier a line, such as\n  {\"format\":\"email\",\"email\":\"alice@example.test\"}\nFILE - is standard input. " +
			"They are sent one by one, as the protocol has it, and as fast as the transmitter takes them.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			file := a.Stdin
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return hub.Errorf(hub.Invalid, "%w", err)
				}
				defer f.Close()
				file = f
			}
			q := url.Values{}
			if verb == "remove" {
				q.Set("remove", "true")
			}
			resp, err := cl.send(c.Context(), sourcePath(args[0], "subjects"), q, file, "application/x-ndjson")
			if err != nil {
				return err
			}
			defer resp.Close()
			progress := a.progress()
			defer progress.end()
			in := bufio.NewScanner(resp)
			in.Buffer(nil, 1<<20)
			for in.Scan() {
				var l subjectsLine
				if err := json.Unmarshal(in.Bytes(), &l); err != nil {
					return hub.Errorf(hub.Internal, "the answer cannot be read: %w", err)
				}
				if a.flags.json {
					if err := a.lines([]json.RawMessage{json.RawMessage(in.Bytes())}); err != nil {
						return err
					}
				}
				switch {
				case l.Error != nil:
					return &hub.Error{Code: l.Error.Code, Message: l.Error.Title, Hint: l.Error.Hint}
				case a.flags.json:
					if l.Done != nil {
						return nil
					}
				case l.Progress != nil:
					progress.say(itoa(l.Progress.Row) + " subjects, " + itoa(l.Progress.Refused) + " refused")
				case l.Bad != nil:
					progress.end()
					a.note("row %d: %s", l.Bad.Row, l.Bad.Reason)
				case l.Done != nil:
					progress.end()
					what := "added"
					if verb == "remove" {
						what = "removed"
					}
					a.say("%s %d of %d subjects", what, l.Done.Done, l.Done.Row)
					return nil
				}
			}
			return hub.Errorf(hub.Unavailable, "the answer broke off").WithHint("run it again: a subject that is there already does no harm")
		}}
}
