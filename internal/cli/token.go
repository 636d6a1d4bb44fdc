package cli

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
)

func (a *App) tokenCommand() *cobra.Command {
	var client, name, expires string
	var scopes []string
	create := &cobra.Command{Use: "create --client NAME", Short: "Make an access token for a client; it is shown once", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		if client == "" {
			return hub.Errorf(hub.Invalid, "--client is needed").WithHint("countersign client list")
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		body := map[string]any{"client": client}
		if name != "" {
			body["name"] = name
		}
		if len(scopes) > 0 {
			body["scopes"] = scopes
		}
		if expires != "" {
			body["expires_in"] = expires
		}
		var out json.RawMessage
		if err := cl.do(c.Context(), "POST", "/tokens", nil, body, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(out)
		}
		var t struct {
			Token   string     `json:"token"`
			ID      string     `json:"id"`
			Expires hub.Micros `json:"expires_at"`
		}
		if err := json.Unmarshal(out, &t); err != nil {
			return err
		}
		a.say("%s", t.Token)
		a.note("%s, until %s. It is not shown again.", t.ID, when(t.Expires))
		return nil
	}}
	create.Flags().StringVar(&client, "client", "", "the client that the token is for")
	create.Flags().StringVar(&name, "name", "", "a name to know it by")
	create.Flags().StringSliceVar(&scopes, "scopes", nil, "fewer scopes than the client has")
	create.Flags().StringVar(&expires, "expires-in", "", "how long it lives, such as 720h (90 days by default)")
	list := &cobra.Command{Use: "list", Short: "List tokens by id and name", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, _, err := cl.list(c.Context(), "/tokens", url.Values{"unpaged": {"1"}}, 0)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var t struct {
				ID, Name, Client string
				Scopes           []string
				Expires          hub.Micros `json:"expires_at"`
				Revoked          hub.Micros `json:"revoked_at"`
			}
			if err := json.Unmarshal(it, &t); err != nil {
				return err
			}
			if t.Client == "" {
				t.Client, t.Scopes = "(operator)", []string{"all"}
			}
			state := "until " + when(t.Expires)
			if t.Expires == 0 {
				state = "in force"
			}
			if t.Revoked != 0 {
				state = "revoked " + when(t.Revoked)
			}
			rows = append(rows, []string{t.ID, t.Name, t.Client, strings.Join(t.Scopes, " "), state})
		}
		return a.table([]string{"id", "name", "client", "scopes", "state"}, rows)
	}}
	var yes bool
	revoke := &cobra.Command{Use: "revoke ID", Short: "End a token at once", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		if err := a.confirm(yes, "revoke token "+args[0]); err != nil {
			return err
		}
		var out json.RawMessage
		if err := cl.do(c.Context(), "DELETE", "/tokens/"+url.PathEscape(args[0]), nil, nil, &out); err != nil {
			return err
		}
		if a.flags.json {
			return a.object(out)
		}
		a.say("revoked token %s", args[0])
		return nil
	}}
	revoke.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return noun("token", "Access tokens of clients", create, list, revoke)
}
