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
	if path == "/keys" || path == "/tokens" {
		q.Set("unpaged", "1")
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
