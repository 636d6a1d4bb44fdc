package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"countersign/event"
	"countersign/event/caep"
	"countersign/event/risc"
	"countersign/event/scim"
	"countersign/event/ssf"
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
			rows = append(rows, []string{t.Name, t.Title, t.Clause, mark})
			raw, err := json.Marshal(map[string]any{"uri": t.URI, "name": t.Name, "title": t.Title, "clause": t.Clause, "deprecated": t.Deprecated, "stream_level": t.StreamLevel})
			if err != nil {
				return err
			}
			items = append(items, raw)
		}
		if a.flags.json {
			return a.lines(items)
		}
		return a.table([]string{"name", "title", "clause", ""}, rows)
	}}
	return noun("event", "Event types", types)
}

// registry knows every event type of this program.
func registry() *event.Registry {
	return event.NewRegistry(caep.Vocabulary(), risc.Vocabulary(), ssf.Vocabulary(), scim.Vocabulary())
}
