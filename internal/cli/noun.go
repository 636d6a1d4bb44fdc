package cli

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// nounSpec is one kind of resource on the command line.
type nounSpec struct {
	kind   hub.Kind
	plural string
	short  string
	head   []string
	row    func(spec json.RawMessage) []string
	notes  func(name string, state json.RawMessage) (cells, problem []string) // of what the hub knows of it now; nil: nothing
}

var nouns = []nounSpec{
	{hub.KindSource, "sources", "Parties that may tell us things", []string{"name", "issuer", "by", "stream", "may order", "set", "state"}, func(raw json.RawMessage) []string {
		var s hub.Source
		json.Unmarshal(raw, &s)
		may := ""
		if s.Orders != nil {
			may = strings.Join(s.Orders.Accept, " ")
		}
		return []string{s.Name, s.Issuer, cmp.Or(s.Delivery, "push"), s.Stream, may, s.Set}
	}, sourceNotes},
	{hub.KindApp, "apps", "Places where we act", []string{"name", "pack", "address", "set"}, func(raw json.RawMessage) []string {
		var s hub.App
		json.Unmarshal(raw, &s)
		return []string{s.Name, s.Pack, s.Settings["url"], s.Set}
	}, nil},
	{hub.KindIdentity, "identities", "People, workloads and devices as we know them", []string{"name", "emails", "accounts", "labels", "protect", "set"}, func(raw json.RawMessage) []string {
		var s hub.Identity
		json.Unmarshal(raw, &s)
		var acc []string
		for _, x := range s.Accounts {
			acc = append(acc, x.At+":"+x.ID)
		}
		return []string{s.Name, strings.Join(s.Emails, " "), strings.Join(acc, " "), strings.Join(s.Labels, " "), s.Protect, s.Set}
	}, nil},
	{hub.KindPolicy, "policies", "Rules that decide", []string{"name", "order", "mode", "on", "from", "set"}, func(raw json.RawMessage) []string {
		var s hub.Policy
		json.Unmarshal(raw, &s)
		mode := s.Mode
		if mode == "" {
			mode = "enforce"
		}
		return []string{s.Name, itoa(s.Order), mode, strings.Join(s.On, " "), strings.Join(s.From, " "), s.Set}
	}, nil},
	{hub.KindClient, "clients", "Who may call us", []string{"name", "auth", "scopes", "set"}, func(raw json.RawMessage) []string {
		var s hub.Client
		json.Unmarshal(raw, &s)
		return []string{s.Name, s.Auth, strings.Join(s.Scopes, " "), s.Set}
	}, nil},
	{hub.KindTenant, "tenants", "Whose data it is: each tenant has its own resources, keys and streams", []string{"name", "title", "tokens of", "set"}, func(raw json.RawMessage) []string {
		var s hub.Tenant
		json.Unmarshal(raw, &s)
		issuer := "this hub"
		if s.OAuth != nil {
			issuer += " and " + s.OAuth.Issuer
		}
		return []string{s.Name, s.Title, issuer, s.Set}
	}, nil},
}

func (a *App) nounCommand(n nounSpec) *cobra.Command {
	var limit int
	list := &cobra.Command{Use: "list", Short: "List them", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/"+n.plural, nil, limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		var problems []string
		for _, it := range items {
			var r struct {
				hub.Resource
				State json.RawMessage `json:"state"`
			}
			if err := json.Unmarshal(it, &r); err != nil {
				return err
			}
			row := n.row(r.Spec)
			if n.notes != nil {
				cells, problem := n.notes(r.Name, r.State)
				row = append(row, cells...)
				problems = append(problems, problem...)
			}
			rows = append(rows, row)
		}
		if len(rows) == 0 {
			a.note("There is no %s yet. Next: countersign apply -f FILE", n.kind)
			return nil
		}
		if err := a.table(n.head, rows); err != nil {
			return err
		}
		for _, p := range problems {
			a.note("%s", p)
		}
		if more {
			a.note("There are more: --limit 0 lists all.")
		}
		return nil
	}}
	list.Flags().IntVar(&limit, "limit", 200, "how many at most; 0: all")
	show := &cobra.Command{Use: "show NAME", Short: "Show one, with what the running hub knows of it", Args: exact(1), ValidArgsFunction: a.names("/"+n.plural, 1, "name"), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		var r struct {
			hub.Resource
			State map[string]any `json:"state"`
		}
		raw, err := cl.raw(c.Context(), "GET", "/"+n.plural+"/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.object(json.RawMessage(raw))
		}
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		text, err := toYAML(document(r.Kind, r.Spec))
		if err != nil {
			return err
		}
		a.Stdout.Write(text)
		if r.Version > 0 { // the tenant default is there without a document
			a.say("# version %d, changed %s", r.Version, when(r.Updated))
		}
		legible(r.State)
		if len(r.State) > 0 {
			state, err := json.Marshal(r.State)
			if err != nil {
				return err
			}
			text, err := toYAML(state)
			if err != nil {
				return err
			}
			for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
				a.say("# %s", l)
			}
		}
		return nil
	}}
	var yes bool
	del := &cobra.Command{Use: "delete NAME", Short: "Delete one", Args: exact(1), ValidArgsFunction: a.names("/"+n.plural, 1, "name"), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		if err := a.confirm(yes, "delete "+string(n.kind)+" "+args[0]); err != nil {
			return err
		}
		var out json.RawMessage
		if err := cl.do(c.Context(), "DELETE", "/"+n.plural+"/"+url.PathEscape(args[0]), nil, nil, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(out)
		}
		a.say("deleted %s %s", n.kind, args[0])
		return nil
	}}
	del.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd := noun(string(n.kind), n.short, list, show, del)
	if n.kind == hub.KindIdentity {
		cmd.AddCommand(a.identityImport())
	}
	if n.kind == hub.KindSource {
		cmd.AddCommand(a.sourceCommands()...)
	}
	if n.kind == hub.KindPolicy {
		cmd.AddCommand(a.policyTest(), a.policyTemplates())
	}
	return cmd
}

// document writes a resource as apply takes it: its kind, then its spec.
func document(kind hub.Kind, spec json.RawMessage) json.RawMessage {
	rest := strings.TrimPrefix(strings.TrimSpace(string(spec)), "{")
	sep := ","
	if strings.HasPrefix(strings.TrimSpace(rest), "}") {
		sep = ""
	}
	return json.RawMessage(`{"kind":"` + string(kind) + `"` + sep + rest)
}

// legible puts times for people in place of microseconds, at every member that is called at or whose name ends in _at, and
// leaves out what is empty.
func legible(state map[string]any) {
	for name, v := range state {
		switch v := v.(type) {
		case float64:
			if name == "at" || strings.HasSuffix(name, "_at") {
				state[name] = when(hub.Micros(v))
			}
		case string:
			if v == "" {
				delete(state, name)
			}
		case map[string]any:
			legible(v)
		case []any:
			for _, one := range v {
				if m, ok := one.(map[string]any); ok {
					legible(m)
				}
			}
		}
	}
}
