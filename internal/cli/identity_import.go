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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// imported is the last line of an import.
type imported struct {
	DryRun    bool     `json:"dry_run"`
	Written   bool     `json:"written"`
	Set       string   `json:"set"`
	Rows      int      `json:"rows"`
	Created   int      `json:"created"`
	Updated   int      `json:"updated"`
	Unchanged int      `json:"unchanged"`
	Deleted   int      `json:"deleted"`
	Bad       int      `json:"bad"`
	Ignored   []string `json:"ignored_columns"`
	Unmatched int      `json:"unmatched"`
	TookMS    int64    `json:"took_ms"`
}

// importLine is one line of the answer.
type importLine struct {
	Progress *struct {
		Phase string `json:"phase"`
		Rows  int    `json:"rows"`
		Bad   int    `json:"bad"`
	} `json:"progress"`
	Bad *struct {
		Line   int    `json:"line"`
		Name   string `json:"name"`
		Reason string `json:"reason"`
	} `json:"bad"`
	Change *struct {
		Op     string   `json:"op"`
		Name   string   `json:"name"`
		Fields []string `json:"fields"`
	} `json:"change"`
	Done  *imported `json:"done"`
	Error *problem  `json:"error"`
}

func (a *App) identityImport() *cobra.Command {
	var set string
	var maps []string
	var dry, skip, prune, yes bool
	c := &cobra.Command{Use: "import FILE", Short: "Read identities with their accounts from a CSV file", Args: exact(1),
		Long: "Import reads a CSV file whose first line names the columns: name, emails, phones, labels, groups, protect, and for each place\n" +
			"account:PLACE and device:PLACE. Several values in one cell have ; between them. Without a name the first address is it.\n" +
			"A row that is wrong is told with its line, and then nothing is written, unless --skip-bad. FILE - is standard input.",
		Example: `  countersign identity import people.csv --dry-run
  countersign identity import people.csv --set hr --map userName=name --map 'Cost Centre=-' --prune`,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if prune && !dry {
				if err := a.confirm(yes, "delete the identities of the set "+set+" that the file does not have"); err != nil {
					return err
				}
			}
			file := a.Stdin
			size := int64(-1)
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return hub.Errorf(hub.Invalid, "%w", err)
				}
				defer f.Close()
				if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
					size = st.Size()
				}
				file = f
			}
			q := url.Values{"set": {set}, "map": maps}
			for name, on := range map[string]bool{"dry_run": dry, "skip_bad": skip, "prune": prune} {
				if on {
					q.Set(name, "true")
				}
			}
			return a.importing(c.Context(), cl, "/import/identities", q, file, size, "text/csv", "row")
		}}
	f := c.Flags()
	f.StringVar(&set, "set", "import", "what the identities belong to, as with apply")
	f.StringArrayVar(&maps, "map", nil, "COLUMN=FIELD; FIELD - leaves the column out, and COLUMN * stands for all that are no field; may be repeated")
	f.BoolVar(&dry, "dry-run", false, "say what would change, and change nothing")
	f.BoolVar(&skip, "skip-bad", false, "write the rows that are right though others are wrong")
	f.BoolVar(&prune, "prune", false, "delete identities of the set that the file does not have")
	f.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// importing sends what is to be imported and shows what the hub says of it as it goes on.
func (a *App) importing(ctx context.Context, cl *client, path string, q url.Values, body io.Reader, size int64, media, noun string) error {
	target := cl.base + "/api/v1" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	progress := a.progress()
	defer progress.end()
	if size > 0 {
		body = &watched{r: body, tell: func(n int64) { progress.say("sent " + strconv.FormatInt(n*100/size, 10) + "%") }}
	}
	req, err := http.NewRequestWithContext(ctx, "POST", target, io.NopCloser(body))
	if err != nil {
		return hub.Errorf(hub.Invalid, "%w", err)
	}
	if size >= 0 {
		req.ContentLength = size
	}
	req.Header.Set("Content-Type", media)
	if cl.token != "" {
		req.Header.Set("Authorization", "Bearer "+cl.token)
	}
	if cl.tenant != "" {
		req.Header.Set("Countersign-Tenant", cl.tenant)
	}
	long := *cl.http
	long.Timeout = 0 // an import takes as long as it takes; Ctrl-C ends it
	resp, err := long.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return hub.Errorf(hub.Unavailable, "the hub at %s does not answer: %w", cl.base, err).WithHint("is it running? countersign serve")
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		var p problem
		if json.Unmarshal(data, &p) != nil || p.Code == "" {
			return hub.Errorf(hub.Internal, "%s answered %s", cl.base, resp.Status).WithHint("does --server name the admin listener of a hub?")
		}
		return &hub.Error{Code: p.Code, Message: p.Title, Hint: p.Hint}
	}
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 1<<20)
	var done *imported
	for sc.Scan() {
		var l importLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return hub.Errorf(hub.Internal, "the answer of %s cannot be read: %w", cl.base, err)
		}
		switch {
		case l.Progress != nil:
			progress.say(word(l.Progress.Phase) + " " + itoa(l.Progress.Rows))
			continue
		case l.Error != nil:
			progress.end()
			return &hub.Error{Code: l.Error.Code, Message: l.Error.Title, Hint: l.Error.Hint}
		}
		progress.end()
		if a.flags.json {
			if err := a.lines([]json.RawMessage{json.RawMessage(strings.Clone(sc.Text()))}); err != nil {
				return err
			}
		}
		switch {
		case l.Done != nil:
			done = l.Done
		case a.flags.json:
		case l.Bad != nil && l.Bad.Line > 0:
			a.note("line %d: %s", l.Bad.Line, l.Bad.Reason)
		case l.Bad != nil:
			a.note("account %s: %s", l.Bad.Name, l.Bad.Reason)
		case l.Change != nil && len(l.Change.Fields) > 0:
			a.say("%-9s %s (%s)", l.Change.Op, l.Change.Name, strings.Join(l.Change.Fields, ", "))
		case l.Change != nil:
			a.say("%-9s %s", l.Change.Op, l.Change.Name)
		}
	}
	if err := sc.Err(); err != nil || done == nil {
		return hub.Errorf(hub.Unavailable, "the answer of %s broke off", cl.base).WithHint("run the import again: what is written already is found unchanged")
	}
	return a.importEnded(done, noun, q.Get("skip_bad") != "" || noun == "account")
}

func word(phase string) string {
	switch phase {
	case "check":
		return "checked"
	case "write":
		return "written"
	}
	return phase
}

// importEnded says what came of it. With skip, what is wrong is left out and is no failure of a trial.
func (a *App) importEnded(d *imported, noun string, skip bool) error {
	if !a.flags.json {
		head := ""
		if !d.Written {
			head = "Nothing was written. "
		}
		a.say("%s%d %ss of the set %s: %d created, %d updated, %d deleted, %d unchanged, %d wrong (%s).", head, d.Rows, noun, d.Set, d.Created, d.Updated, d.Deleted, d.Unchanged, d.Bad,
			(time.Duration(d.TookMS) * time.Millisecond).Round(10*time.Millisecond))
		if d.Unmatched > 0 {
			a.note("%d accounts are nobody's yet: --create makes an identity for each address, or add the addresses to the identities.", d.Unmatched)
		}
		if len(d.Ignored) > 0 {
			a.note("Left out: the columns %s.", strings.Join(d.Ignored, ", "))
		}
	}
	switch {
	case d.Bad == 0 || d.Written || d.DryRun && skip:
		return nil
	case d.DryRun:
		return hub.Errorf(hub.Invalid, "%d of %d rows are wrong: without --skip-bad nothing would be written", d.Bad, d.Rows).WithHint("put them right, or write the others with --skip-bad")
	}
	return hub.Errorf(hub.Invalid, "nothing was written: %d of %d rows are wrong", d.Bad, d.Rows).WithHint("put them right, or write the others with --skip-bad")
}

// watched tells how much of a file was read.
type watched struct {
	r    io.Reader
	n    int64
	tell func(n int64)
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	w.tell(w.n)
	return n, err
}
