package cli

import (
	"bytes"
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

// account is one item of GET /accounts.
type account struct {
	At       string     `json:"at"`
	ID       string     `json:"id"`
	Identity string     `json:"identity"`
	Set      string     `json:"set"`
	Imported hub.Micros `json:"imported_at"`
}

func (a *App) accountCommand() *cobra.Command {
	return noun("account", "Which accounts are whose", a.accountList(), a.accountShow(), a.accountImport())
}

var accountHead = []string{"at", "id", "identity", "from", "read"}

func accountRows(items []json.RawMessage) ([][]string, error) {
	var rows [][]string
	for _, it := range items {
		var x account
		if err := json.Unmarshal(it, &x); err != nil {
			return nil, err
		}
		from, at := "the identity", ""
		if x.Imported != 0 {
			from, at = "set "+x.Set, when(x.Imported)
		}
		rows = append(rows, []string{x.At, x.ID, x.Identity, from, at})
	}
	return rows, nil
}

func (a *App) accountList() *cobra.Command {
	var limit int
	var at, identity string
	c := &cobra.Command{Use: "list", Short: "List accounts by place and id", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/accounts", filters("at", at, "identity", identity), limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		rows, err := accountRows(items)
		if err != nil {
			return err
		}
		return a.listed(rows, more, accountHead, "account")
	}}
	c.Flags().IntVar(&limit, "limit", 200, "how many at most; 0: all")
	c.Flags().StringVar(&at, "at", "", "only at this place: an app or a source")
	c.Flags().StringVar(&identity, "identity", "", "only of this identity")
	a.flagNames(c, "identity", "/identities", "name")
	_ = c.RegisterFlagCompletionFunc("at", func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return append(a.offer(c.Context(), "/apps", "name"), a.offer(c.Context(), "/sources", "name")...), cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

func (a *App) accountShow() *cobra.Command {
	return &cobra.Command{Use: "show PLACE ID", Short: "Tell whose an account is", Args: exact(2), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		var page struct {
			Items []json.RawMessage `json:"items"`
		}
		if err := cl.do(c.Context(), "GET", "/accounts/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil, nil, &page); err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(page.Items)
		}
		rows, err := accountRows(page.Items)
		if err != nil {
			return err
		}
		if err := a.table(accountHead, rows); err != nil {
			return err
		}
		if len(rows) > 1 {
			a.note("Several identities have it: a signal about it is ambiguous, and none is taken for the right one.")
		}
		return nil
	}}
}

func (a *App) accountImport() *cobra.Command {
	var req struct {
		App    string `json:"app"`
		Set    string `json:"set,omitempty"`
		DryRun bool   `json:"dry_run,omitempty"`
		Prune  bool   `json:"prune,omitempty"`
		Create bool   `json:"create,omitempty"`
	}
	var yes bool
	c := &cobra.Command{Use: "import --app NAME", Short: "Read an app's own list of accounts, and tie each to the identity that has its address", Args: exact(0),
		Long: "Import asks the app for its accounts, page by page, and ties each one to the one identity that has one of its addresses.\n" +
			"What fits nobody, or several, is told and left alone. Accounts that were read stay when an identity is applied anew.",
		Example: "  countersign account import --app wiki --dry-run\n  countersign account import --app wiki --prune --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			if req.App == "" {
				return hub.Errorf(hub.Invalid, "--app is needed").WithHint("countersign app list")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if req.Prune && !req.DryRun {
				if err := a.confirm(yes, "forget accounts at "+req.App+" that its list does not have"); err != nil {
					return err
				}
			}
			body, err := json.Marshal(req)
			if err != nil {
				return err
			}
			return a.importing(c.Context(), cl, "/import/accounts", nil, bytes.NewReader(body), int64(len(body)), "application/json", "account")
		}}
	f := c.Flags()
	f.StringVar(&req.App, "app", "", "whose list: an app whose pack has list_accounts")
	f.StringVar(&req.Set, "set", "", "what they belong to; import-APP otherwise")
	f.BoolVar(&req.DryRun, "dry-run", false, "say what would change, and change nothing")
	f.BoolVar(&req.Prune, "prune", false, "forget accounts of the set that the list does not have")
	f.BoolVar(&req.Create, "create", false, "make an identity for each account whose address nobody has")
	f.BoolVar(&yes, "yes", false, "do not ask")
	a.flagNames(c, "app", "/apps", "name")
	return c
}
