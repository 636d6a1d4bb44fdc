package cli

import (
	"context"
	"encoding/json"
	"errors"
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
}

func (a *App) applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{Use: "apply -f FILE…", Short: "Bring sources, apps, identities, policies and clients to what files say", Args: exact(0),
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
	body := map[string]any{"dry_run": f.dryRun, "prune": f.prune}
	if f.set != "" {
		body["set"] = f.set
	}
	docs := []json.RawMessage{}
	secrets := map[string]string{}
	for _, name := range f.files {
		more, err := a.readFile(name, f.secretsDir, secrets)
		if err != nil {
			return nil, err
		}
		docs = append(docs, more...)
	}
	body["resources"] = docs
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

// localFiles resolves references on this side of the API.
type localFiles struct {
	env             func(string) string
	dir, secretsDir string
	secrets         map[string]string
}

// resolve replaces {file: …} and {env: …} by {stored: NAME}, and a jwks_file by its content.
func (l *localFiles) resolve(r *hub.Resource) error {
	switch r.Kind {
	case hub.KindSource:
		var s hub.Source
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		if s.Auth != nil {
			if err := l.secret(s.Auth.Token, "source."+r.Name+".auth"); err != nil {
				return err
			}
		}
		if s.PushAuth != nil {
			if err := l.secret(s.PushAuth.AuthorizationHeader, "source."+r.Name+".push"); err != nil {
				return err
			}
		}
		if s.Keys != nil && s.Keys.JWKSFile != "" {
			path := s.Keys.JWKSFile
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.dir, path)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("keys.jwks_file: %w", err)
			}
			if !json.Valid(data) {
				return fmt.Errorf("keys.jwks_file: %s is not JSON", path)
			}
			s.Keys.JWKS, s.Keys.JWKSFile = data, ""
		}
		return setSpec(r, s)
	case hub.KindApp:
		var s hub.App
		if err := json.Unmarshal(r.Spec, &s); err != nil {
			return err
		}
		for field, ref := range s.Secrets {
			if err := l.secret(&ref, "app."+r.Name+"."+field); err != nil {
				return err
			}
			s.Secrets[field] = ref
		}
		return setSpec(r, s)
	}
	return nil
}

func setSpec(r *hub.Resource, v any) (err error) {
	r.Spec, err = json.Marshal(v)
	return err
}

// EnvPrefix begins the variables that {env: …} may name.
const EnvPrefix = "COUNTERSIGN_SECRET_"

func (l *localFiles) secret(ref *hub.Secret, name string) error {
	if ref == nil || ref.File == "" && ref.Env == "" {
		return nil
	}
	var value string
	if ref.Env != "" {
		if !strings.HasPrefix(ref.Env, EnvPrefix) {
			return fmt.Errorf("{env: %s}: the variable's name must begin with %s", ref.Env, EnvPrefix)
		}
		if value = l.env(ref.Env); value == "" {
			return fmt.Errorf("{env: %s}: the variable is not set", ref.Env)
		}
	} else {
		v, err := l.file(ref.File)
		if err != nil {
			return err
		}
		value = v
	}
	l.secrets[name] = value
	*ref = hub.Secret{Stored: name}
	return nil
}

// file reads a secret below the secrets folder; links that lead out of it are not followed.
func (l *localFiles) file(path string) (string, error) {
	dir := l.secretsDir
	if dir == "" {
		dir = l.dir
	}
	if filepath.IsAbs(path) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return "", err
		}
		if path, err = filepath.Rel(abs, path); err != nil {
			return "", err
		}
	}
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("{file: …} must be below %s; name another folder with --secrets-dir", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := root.Open(path)
	if err != nil {
		return "", fmt.Errorf("{file: %s}: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10+1))
	if err != nil {
		return "", err
	}
	if len(data) > 64<<10 {
		return "", fmt.Errorf("{file: %s}: larger than 64 KiB", path)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", errors.New("{file: " + path + "}: the file is empty")
	}
	return value, nil
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
	verb := "Done"
	if answer.DryRun {
		verb = "A dry run, nothing was written"
	}
	a.say("%s: %d created, %d updated, %d deleted, %d unchanged.", verb, counts["create"], counts["update"], counts["delete"], counts["unchanged"])
	return nil
}
