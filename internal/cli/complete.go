package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionTime bounds how long a press of Tab may take.
const completionTime = 2 * time.Second

// completeEvents offers the names of event types; they are known without a hub.
func completeEvents(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, t := range registry().Types() {
		out = append(out, cobra.CompletionWithDesc(t.Name, t.Title))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// words offers fixed words.
func words(list ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// names offers what a list of the hub has under the members, the first that an item has: names or ids. Without a hub,
// or where it does not answer soon, nothing is offered. wanted is how many arguments are completed so.
func (a *App) names(path string, wanted int, members ...string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= wanted {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.offer(c.Context(), path, members...), cobra.ShellCompDirectiveNoFileComp
	}
}

// flagNames is names for the value of a flag.
func (a *App) flagNames(c *cobra.Command, flag, path string, members ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.offer(c.Context(), path, members...), cobra.ShellCompDirectiveNoFileComp
	})
}

func (a *App) offer(ctx context.Context, path string, members ...string) []cobra.Completion {
	cl, err := a.client()
	if err != nil {
		return nil
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := context.WithTimeout(ctx, completionTime)
	defer stop()
	q := url.Values{}
	if path == "/keys" || path == "/tokens" || path == "/secrets" {
		q.Set("unpaged", "1") // lists without pages
	}
	items, _, err := cl.list(ctx, path, q, 200)
	if err != nil {
		return nil
	}
	var out []cobra.Completion
	for _, it := range items {
		var m map[string]any
		if json.Unmarshal(it, &m) != nil {
			continue
		}
		for _, member := range members {
			if s, _ := m[member].(string); s != "" && !strings.ContainsAny(s, "\t\n\r ") {
				out = append(out, plain(s))
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// argumentNames are the commands whose first argument is in a list of the hub: its path, and the member that names.
var argumentNames = map[string][2]string{
	"signal show": {"/signals", "id"}, "action show": {"/actions", "id"}, "receipt show": {"/receipts", "id"}, "receipt export": {"/receipts", "id"},
	"token revoke": {"/tokens", "id"}, "secret set": {"/secrets", "name"}, "secret delete": {"/secrets", "name"},
}

// flagLists are the flags whose value is in a list of the hub.
var flagLists = map[string][2]string{
	"tenant": {"/tenants", "name"}, "source": {"/sources", "name"}, "app": {"/apps", "name"}, "identity": {"/identities", "name"}, "client": {"/clients", "name"},
	"signal": {"/signals", "id"},
}

// flagWords are the flags whose value is one of a few words, by command.
var flagWords = map[string][]string{
	"signal list --state": {"received", "unresolved", "decided", "done"}, "receipt list --state": {"kept", "queued", "accepted", "dead"},
	"export --kind": {"tenant", "client", "identity", "app", "source", "stream", "policy"}, "bench --alg": {"RS256", "ES256", "EdDSA"},
	"source stream --set": {"enabled", "paused", "disabled"}, "send --alg": {"RS256", "PS256", "ES256", "EdDSA"}, "demo --break": {"app-down", "forged-receipt", "wrong-person"},
}

// completions gives every command of c that has none of its own what the tables say.
func (a *App) completions(c *cobra.Command) {
	path := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
	if list, ok := argumentNames[path]; ok {
		c.ValidArgsFunction = a.names(list[0], 1, list[1])
	}
	offer := func(flag string, with func()) {
		if _, there := c.GetFlagCompletionFunc(flag); !there && c.LocalFlags().Lookup(flag) != nil {
			with()
		}
	}
	for flag, list := range flagLists {
		offer(flag, func() { a.flagNames(c, flag, list[0], list[1]) })
	}
	for at, few := range flagWords {
		if flag, ok := strings.CutPrefix(at, path+" --"); ok {
			offer(flag, func() { _ = c.RegisterFlagCompletionFunc(flag, words(few...)) })
		}
	}
	offer("event", func() { _ = c.RegisterFlagCompletionFunc("event", completeEvents) })
	for _, sub := range c.Commands() {
		a.completions(sub)
	}
}
