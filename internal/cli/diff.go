package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// fieldDiff is one field that apply would change. Values are as in the declarative form, where secrets are references.
type fieldDiff struct {
	Path string          `json:"path"`
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

// resourceDiff is one resource that apply would change.
type resourceDiff struct {
	Op     string      `json:"op"` // create | update | delete
	Kind   hub.Kind    `json:"kind"`
	Name   string      `json:"name"`
	Fields []fieldDiff `json:"fields,omitempty"`
}

func (a *App) diffCommand() *cobra.Command {
	f := applyFlags{dryRun: true}
	var exitCode bool
	c := &cobra.Command{Use: "diff -f FILE…", Short: "Show field by field what apply would change", Args: exact(0),
		Long: "Diff reads files as apply does, has the hub check them, and shows what would change. Nothing is written. Secrets are shown\n" +
			"as references; values that apply would send with the files are not compared. With --exit-code the exit status is 1\n" +
			"where there is a difference.",
		RunE: func(c *cobra.Command, _ []string) error {
			if len(f.files) == 0 {
				return hub.Errorf(hub.Invalid, "diff needs at least one -f FILE").WithHint("-f - reads standard input")
			}
			list, secrets, err := a.diff(c, f)
			if err != nil {
				return err
			}
			if a.flags.json {
				if err := a.object(map[string]any{"changed": len(list) > 0, "resources": list, "secrets": secrets}); err != nil {
					return err
				}
			} else {
				a.showDiff(list, secrets)
			}
			if exitCode && len(list) > 0 {
				return &exitError{status: 1}
			}
			return nil
		}}
	c.Flags().StringArrayVarP(&f.files, "file", "f", nil, "file with YAML documents; - is standard input; may be repeated")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit 1 where there is a difference")
	c.Flags().BoolVar(&f.prune, "prune", false, "show also what apply --prune would delete")
	c.Flags().StringVar(&f.set, "set", "", "set of documents that name none")
	c.Flags().StringVar(&f.secretsDir, "secrets-dir", "", "folder that {file: …} is read below; the folder of the file by default")
	return c
}

// diff gives what apply would change, and the names of secrets that it would set.
func (a *App) diff(c *cobra.Command, f applyFlags) ([]resourceDiff, []string, error) {
	cl, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	docs, secrets, err := a.readFiles(f)
	if err != nil {
		return nil, nil, err
	}
	// The hub says what would change: it knows sets, and it refuses what does not fit.
	plan, err := a.post(c.Context(), cl, f, docs, secrets)
	if err != nil {
		return nil, nil, err
	}
	var there struct {
		Resources []json.RawMessage `json:"resources"`
	}
	if err := cl.do(c.Context(), "GET", "/export", nil, nil, &there); err != nil {
		return nil, nil, err
	}
	old, err := byName(there.Resources, "")
	if err != nil {
		return nil, nil, err
	}
	wanted, err := byName(docs, f.set)
	if err != nil {
		return nil, nil, err
	}
	list := []resourceDiff{}
	for _, s := range plan.Plan {
		if s.Op == "unchanged" {
			continue
		}
		d := resourceDiff{Op: s.Op, Kind: s.Kind, Name: s.Name}
		key := string(s.Kind) + "/" + s.Name
		if s.Op != "delete" {
			d.Fields = compare(old[key], wanted[key])
		}
		list = append(list, d)
	}
	return list, slices.Sorted(maps.Keys(secrets)), nil
}

// byName gives the fields of each document. set is that of documents that name none.
func byName(docs []json.RawMessage, set string) (map[string]map[string]json.RawMessage, error) {
	out := map[string]map[string]json.RawMessage{}
	for _, doc := range docs {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(doc, &members); err != nil {
			return nil, err
		}
		var id struct{ Kind, Name string }
		if err := json.Unmarshal(doc, &id); err != nil {
			return nil, err
		}
		delete(members, "kind")
		delete(members, "name")
		delete(members, "apiVersion")
		if set != "" && members["set"] == nil {
			members["set"], _ = json.Marshal(set)
		}
		fields := map[string]json.RawMessage{}
		flatten("", members, fields)
		out[id.Kind+"/"+id.Name] = fields
	}
	return out, nil
}

// flatten puts every value under its path: a.b for members, a[0] for elements. A list of plain values is one value.
func flatten(path string, members map[string]json.RawMessage, into map[string]json.RawMessage) {
	for name, value := range members {
		at := name
		if path != "" {
			at = path + "." + name
		}
		flattenValue(at, value, into)
	}
}

func flattenValue(path string, value json.RawMessage, into map[string]json.RawMessage) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(value, &object) == nil && object != nil:
		flatten(path, object, into)
	case json.Unmarshal(value, &list) == nil && slices.ContainsFunc(list, func(v json.RawMessage) bool {
		return strings.HasPrefix(string(v), "{") || strings.HasPrefix(string(v), "[")
	}):
		for i, v := range list {
			flattenValue(fmt.Sprintf("%s[%d]", path, i), v, into)
		}
	default:
		into[path] = value
	}
}

// compare gives the fields that differ, in the order of their paths.
func compare(old, wanted map[string]json.RawMessage) []fieldDiff {
	all := maps.Clone(old)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	maps.Copy(all, wanted)
	var out []fieldDiff
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if a, b := old[path], wanted[path]; string(a) != string(b) {
			out = append(out, fieldDiff{path, a, b})
		}
	}
	return out
}

func (a *App) showDiff(list []resourceDiff, secrets []string) {
	if len(list) == 0 {
		a.say("No difference.")
	}
	for _, d := range list {
		a.say("%s %s %s", map[string]string{"create": "+", "update": "~", "delete": "-"}[d.Op], d.Kind, d.Name)
		for _, f := range d.Fields {
			switch {
			case f.Old == nil:
				a.say("    + %s: %s", f.Path, shownValue(f.New))
			case f.New == nil:
				a.say("    - %s: %s", f.Path, shownValue(f.Old))
			default:
				a.say("    ~ %s: %s -> %s", f.Path, shownValue(f.Old), shownValue(f.New))
			}
		}
	}
	for _, name := range secrets {
		a.note("The secret %s would be set from the files; its value is not compared.", name)
	}
}

// shownValue is a value on one line; text stands without quotes where it is plain.
func shownValue(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && s != "" && !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return string(raw)
}
