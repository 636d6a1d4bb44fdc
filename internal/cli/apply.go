package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/resource"
)

// applyFlags are those of apply; serve --apply sets some of them.
type applyFlags struct {
	files         []string
	dryRun, prune bool
	set           string
	secretsDir    string
	yes           bool
}

// applyStep is one line of the plan.
type applyStep struct {
	Op     string   `json:"op"`
	Kind   hub.Kind `json:"kind"`
	Name   string   `json:"name"`
	Fields []string `json:"fields,omitempty"`
}

type applyAnswer struct {
	DryRun     bool        `json:"dry_run"`
	Generation int64       `json:"generation,omitempty"`
	Plan       []applyStep `json:"plan"`
	Warnings   []string    `json:"warnings,omitempty"`
}

func (a *App) applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{Use: "apply -f FILE…", Short: "Bring every resource to what files say", Args: exact(0),
		Long: "Apply reads YAML documents, checks them all before anything is written, prints the plan, and carries it out.\n" +
			"Doing it twice changes nothing the second time. {file: …} and {env: COUNTERSIGN_SECRET_…} are read here, on this\n" +
			"machine, and sent to the hub as stored secrets.",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(f.files) == 0 {
				return hub.Errorf(hub.Invalid, "apply needs at least one -f FILE").WithHint("-f - reads standard input")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if f.prune && !f.dryRun {
				preview := f
				preview.dryRun = true
				plan, err := a.apply(c.Context(), cl, preview)
				if err != nil {
					return err
				}
				gone := 0
				for _, s := range plan.Plan {
					if s.Op == "delete" {
						gone++
					}
				}
				if gone > 0 && !f.yes {
					if err := a.printPlan(plan); err != nil {
						return err
					}
					if err := a.confirm(false, fmt.Sprintf("deleting %d of the set", gone)); err != nil {
						return err
					}
				}
			}
			answer, err := a.apply(c.Context(), cl, f)
			if err != nil {
				return err
			}
			return a.printPlan(answer)
		}}
	c.Flags().StringArrayVarP(&f.files, "file", "f", nil, "file with YAML documents; - is standard input; may be repeated")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the plan and write nothing")
	c.Flags().BoolVar(&f.prune, "prune", false, "delete what the set has and the files do not")
	c.Flags().StringVar(&f.set, "set", "", "set of documents that name none")
	c.Flags().StringVar(&f.secretsDir, "secrets-dir", "", "folder that {file: …} is read below; the folder of the file by default")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask before deleting")
	return c
}

// apply reads and checks the files, and sends them.
func (a *App) apply(ctx context.Context, cl *client, f applyFlags) (*applyAnswer, error) {
	docs, secrets, err := a.readFiles(f)
	if err != nil {
		return nil, err
	}
	return a.post(ctx, cl, f, docs, secrets)
}

// readFiles gives the documents of all files, and the values of the secrets that they take from this machine.
func (a *App) readFiles(f applyFlags) ([]json.RawMessage, map[string]string, error) {
	docs := []json.RawMessage{}
	secrets := map[string]string{}
	for _, name := range f.files {
		more, err := a.readFile(name, f.secretsDir, secrets)
		if err != nil {
			return nil, nil, err
		}
		docs = append(docs, more...)
	}
	return docs, secrets, nil
}

// post sends documents to the hub.
func (a *App) post(ctx context.Context, cl *client, f applyFlags, docs []json.RawMessage, secrets map[string]string) (*applyAnswer, error) {
	body := map[string]any{"dry_run": f.dryRun, "prune": f.prune, "resources": docs}
	if f.set != "" {
		body["set"] = f.set
	}
	if len(secrets) > 0 {
		body["secrets"] = secrets
	}
	var answer applyAnswer
	if err := cl.do(ctx, "POST", "/apply", nil, body, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// readFile reads the documents of one file; what they refer to on this machine goes to secrets.
func (a *App) readFile(name, secretsDir string, secrets map[string]string) ([]json.RawMessage, error) {
	var data []byte
	var err error
	dir := "."
	if name == "-" {
		data, err = io.ReadAll(io.LimitReader(a.Stdin, 16<<20))
	} else {
		data, err = os.ReadFile(name)
		dir = filepath.Dir(name)
	}
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err).WithHint("give files that can be read, or -f - for standard input; nothing was written")
	}
	parsed, err := resource.DecodeAll(data)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "%s: %w", shown(name), err).WithHint(again)
	}
	local := &localFiles{env: a.Env, dir: dir, secretsDir: secretsDir, secrets: secrets}
	var docs []json.RawMessage
	for _, r := range parsed {
		if err := local.resolve(&r); err != nil {
			return nil, hub.Errorf(hub.Invalid, "%s: %s %s: %w", shown(name), r.Kind, r.Name, err).WithHint(again)
		}
		docs = append(docs, document(r.Kind, r.Spec))
	}
	return docs, nil
}

// again is the next step after a file with a fault.
const again = "nothing was written; put it right and apply again"

// shown is a file's name in messages.
func shown(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

func (a *App) printPlan(answer *applyAnswer) error {
	if a.flags.json {
		return a.object(answer)
	}
	counts := map[string]int{}
	for _, s := range answer.Plan {
		counts[s.Op]++
		if s.Op == "unchanged" {
			continue
		}
		line := fmt.Sprintf("%-9s %-8s %s", s.Op, s.Kind, s.Name)
		if len(s.Fields) > 0 {
			line += "  (" + strings.Join(s.Fields, ", ") + ")"
		}
		a.say("%s", line)
	}
	for _, w := range answer.Warnings {
		a.say("warning: %s", w)
	}
	verb := "Done"
	if answer.DryRun {
		verb = "A dry run, nothing was written"
	}
	a.say("%s: %d created, %d updated, %d deleted, %d unchanged.", verb, counts["create"], counts["update"], counts["delete"], counts["unchanged"])
	return nil
}
