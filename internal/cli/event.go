package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/yaml"
)

func (a *App) eventCommand() *cobra.Command {
	types := &cobra.Command{Use: "types", Short: "List every event type that is known", Args: exact(0), RunE: func(*cobra.Command, []string) error {
		reg := registry()
		var rows [][]string
		var items []json.RawMessage
		for _, t := range reg.Types() {
			mark := ""
			if t.Deprecated {
				mark = "deprecated"
			}
			rows = append(rows, []string{t.Name, t.Title, byDefault(t.URI), t.Clause, mark})
			one := typeView{URI: t.URI, Name: t.Name, Title: t.Title, Clause: t.Clause, Deprecated: t.Deprecated, StreamLevel: t.StreamLevel}
			if m, ok := hub.MeaningOf(t.URI); ok {
				one.fill(m)
			}
			raw, err := json.Marshal(one)
			if err != nil {
				return err
			}
			items = append(items, raw)
		}
		if a.flags.json {
			return a.lines(items)
		}
		return a.table([]string{"name", "title", "stands for", "clause", ""}, rows)
	}}
	show := &cobra.Command{Use: "show TYPE", Short: "Tell what one type means, what conditions may name of it, and an example", Args: exact(1), ValidArgsFunction: completeEvents, RunE: func(_ *cobra.Command, args []string) error {
		t, ok := registry().Resolve(args[0])
		if !ok {
			err := hub.Errorf(hub.NotFound, "there is no event type %q", args[0])
			if near := nearEvent(args[0]); near != "" {
				return err.WithHint("did you mean %s? countersign event types lists them", near)
			}
			return err.WithHint("countersign event types")
		}
		m, known := hub.MeaningOf(t.URI)
		if a.flags.json {
			one := typeView{URI: t.URI, Name: t.Name, Title: t.Title, Clause: t.Clause, Deprecated: t.Deprecated, StreamLevel: t.StreamLevel}
			if known {
				one.fill(m)
			}
			return a.object(one)
		}
		a.say("%s  %s\n%s, %s", t.Name, t.Title, t.URI, t.Clause)
		if !known {
			a.say("\nIt is about the stream itself, and no policy is written for it.")
			return nil
		}
		a.say("\n%s\n\nstands for\n  %s\n\nexample\n  %s\n\nin conditions", m.Means, byDefault(t.URI), m.Example)
		for _, v := range m.Variables {
			a.say("  signal.event.%-18s %-7s %s", v.Name, v.Kind, v.Text)
		}
		a.say("  %-31s %-7s %s", "signal.payload", "object", "the event as it came, with what is named nowhere here")
		return nil
	}}
	return noun("event", "Event types", types, show)
}

// typeView is one event type as JSON.
type typeView struct {
	URI         string              `json:"uri"`
	Name        string              `json:"name"`
	Title       string              `json:"title"`
	Clause      string              `json:"clause"`
	Deprecated  bool                `json:"deprecated"`
	StreamLevel bool                `json:"stream_level"`
	Label       string              `json:"label,omitempty"`
	Means       string              `json:"means,omitempty"`
	Default     []string            `json:"default_actions,omitempty"`
	Depends     string              `json:"depends_on,omitempty"`
	ByValue     map[string][]string `json:"default_actions_by_value,omitempty"`
	Variables   []variableView      `json:"variables,omitempty"`
	Example     json.RawMessage     `json:"example,omitempty"`
}

type variableView struct {
	Name   string `json:"name"`
	Member string `json:"member"`
	Kind   string `json:"kind"`
	Text   string `json:"text"`
}

func (v *typeView) fill(m hub.Meaning) {
	v.Label, v.Means, v.Default, v.ByValue, v.Depends, v.Example = m.Label, m.Means, m.Default, m.ByValue, m.Depends, m.Example
	for _, x := range m.Variables {
		v.Variables = append(v.Variables, variableView(x))
	}
}

// byDefault names the actions that a type stands for.
func byDefault(uri string) string {
	m, ok := hub.MeaningOf(uri)
	switch {
	case !ok || len(m.Default) == 0 && len(m.ByValue) == 0:
		return ""
	case m.Depends == "":
		return strings.Join(m.Default, ", ")
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(m.ByValue)) {
		parts = append(parts, v+": "+strings.Join(m.ByValue[v], ", "))
	}
	return strings.Join(parts, "; ")
}

// registry knows every event type of this program.
func registry() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}

// nearEvent is the type that somebody may have meant: by its name without the vocabulary, or by one that is spelled nearly so.
func nearEvent(word string) string {
	var names []string
	for _, t := range registry().Types() {
		if _, own, _ := strings.Cut(t.Name, "/"); own == word {
			return t.Name
		}
		names = append(names, t.Name)
	}
	return yaml.Nearest(word, names)
}
