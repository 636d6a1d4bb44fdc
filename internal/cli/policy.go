package cli

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"countersign/internal/flow/decide"
	"countersign/internal/hub"
	"countersign/policies"
)

func (a *App) policyTest() *cobra.Command {
	var tests string
	c := &cobra.Command{Use: "test FILE|DIR…", Short: "Run the tests beside policies, without a hub", Args: cobra.MinimumNArgs(1),
		Long: "Test runs tests.yaml beside each policy file (or the file given with --tests) through the evaluator that the hub uses.",
		RunE: func(_ *cobra.Command, args []string) error {
			failed, ran := 0, 0
			for _, file := range args {
				if info, err := os.Stat(file); err == nil && info.IsDir() {
					file = filepath.Join(file, "policy.yaml")
				}
				testsFile := tests
				if testsFile == "" {
					testsFile = filepath.Join(filepath.Dir(file), "tests.yaml")
				}
				results, err := decide.RunTests(file, testsFile)
				if err != nil {
					return hub.Errorf(hub.Invalid, "%w", err).WithHint("a policy has its tests beside it in tests.yaml; countersign policy templates shows two")
				}
				for _, r := range results {
					ran++
					if !r.OK {
						failed++
					}
					if a.flags.json {
						raw, err := json.Marshal(struct {
							File string `json:"file"`
							decide.TestResult
						}{file, r})
						if err != nil {
							return err
						}
						a.lines([]json.RawMessage{raw})
						continue
					}
					word := "ok  "
					if !r.OK {
						word = "FAIL"
					}
					a.say("%s  %s: %s", word, file, r.Name)
					if !r.OK {
						for _, l := range splitLines(r.Diff) {
							a.say("      %s", l)
						}
					}
				}
			}
			if failed > 0 {
				return &exitError{1, hub.Errorf(hub.Internal, "%d of %d tests failed", failed, ran)}
			}
			a.say("%d tests passed.", ran)
			return nil
		}}
	c.Flags().StringVar(&tests, "tests", "", "file with the tests, where it is not tests.yaml beside the policy")
	return c
}

func (a *App) policyTemplates() *cobra.Command {
	return &cobra.Command{Use: "templates [NAME]", Short: "List the starter policies, or print one", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		var rows [][]string
		var items []json.RawMessage
		for _, t := range policies.Templates() {
			if len(args) == 1 && args[0] == t.Name {
				if a.flags.json {
					return a.object(map[string]string{"name": t.Name, "policy": string(t.Policy), "tests": string(t.Tests)})
				}
				_, err := a.Stdout.Write(t.Policy)
				return err
			}
			rows = append(rows, []string{t.Name})
			raw, err := json.Marshal(map[string]string{"name": t.Name})
			if err != nil {
				return err
			}
			items = append(items, raw)
		}
		if len(args) == 1 {
			return hub.Errorf(hub.NotFound, "there is no template %q", args[0]).WithHint("countersign policy templates")
		}
		if a.flags.json {
			return a.lines(items)
		}
		if err := a.table([]string{"name"}, rows); err != nil {
			return err
		}
		a.note("To start with one: countersign policy templates NAME > policy.yaml")
		return nil
	}}
}
