package cli

import (
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/internal/web/api"
)

func (a *App) keyCommand() *cobra.Command {
	return noun("key", "Signing keys: list, rotate, retire", a.keyList(), a.keyRotate(), a.keyRetire())
}

func (a *App) keyList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the hub's signing keys, with what waits to be signed with each", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, _, err := cl.list(c.Context(), "/keys", url.Values{"unpaged": {"1"}}, 0)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var k api.KeyInfo
			if err := json.Unmarshal(it, &k); err != nil {
				return err
			}
			state := k.State
			if state == "next" && k.ActiveAt != 0 {
				state += ", signs from " + when(k.ActiveAt)
			}
			rows = append(rows, []string{k.KID, k.Alg, state, count(k.Waiting), when(k.Created), k.Thumbprint})
		}
		return a.table([]string{"kid", "alg", "state", "waiting", "made", "thumbprint"}, rows)
	}}
}

func (a *App) keyRotate() *cobra.Command {
	var req api.RotateRequest
	c := &cobra.Command{Use: "rotate [--alg ALG]", Short: "Make the next signing key of an algorithm", Args: exact(0),
		Long: "Rotate makes a key and publishes it at once. It begins to sign when receivers have had the time to fetch it; from then\n" +
			"on the old key signs nothing new, and stays published until nothing waits under it.",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			return a.changeKey(c, cl, "/keys/rotate", req, func(k api.KeyInfo) {
				a.say("%s %s, %s", k.KID, k.Alg, k.State)
				if k.State == "next" {
					a.note("It is published now and signs from %s. countersign key list", when(k.ActiveAt))
				}
			})
		}}
	c.Flags().StringVar(&req.Alg, "alg", "", "RS256, ES256 or EdDSA (default RS256)")
	c.Flags().BoolVar(&req.Now, "now", false, "sign with it at once, though receivers may not know it yet")
	_ = c.RegisterFlagCompletionFunc("alg", words("RS256", "ES256", "EdDSA"))
	return c
}

func (a *App) keyRetire() *cobra.Command {
	var req api.RetireRequest
	var yes bool
	c := &cobra.Command{Use: "retire KID", Short: "End a signing key, at once where it is compromised", Args: exact(1),
		Long: "Retire ends a key that another one has replaced, once nothing waits under it; without it that happens by itself after a\n" +
			"week. With --compromised a key of any state is out of the published set at once, another one signs, and what waits\n" +
			"under it is made anew.",
		ValidArgsFunction: a.names("/keys", 1, "kid"),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := a.retirable(c, cl, args[0], req.Compromised); err != nil {
				return err
			}
			what := "retire key " + args[0]
			if req.Compromised {
				what += " as compromised, so that receivers refuse what it signed"
			}
			if err := a.confirm(yes, what); err != nil {
				return err
			}
			return a.changeKey(c, cl, "/keys/"+url.PathEscape(args[0])+"/retire", req, func(k api.KeyInfo) {
				a.say("%s %s, %s", k.KID, k.Alg, k.State)
				if k.Reissued > 0 {
					a.say("%d waiting tokens were made anew with another key.", k.Reissued)
				}
				if k.Waiting > 0 {
					a.note("%d tokens wait under it; it is gone when they are. countersign key list", k.Waiting)
				}
			})
		}}
	c.Flags().BoolVar(&req.Compromised, "compromised", false, "somebody else may have it: sign nothing more with it")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// retirable looks before anybody is asked: a key that is not there, or retired already, needs no answer.
func (a *App) retirable(c *cobra.Command, cl *client, kid string, compromised bool) error {
	items, _, err := cl.list(c.Context(), "/keys", url.Values{"unpaged": {"1"}}, 0)
	if err != nil {
		return err
	}
	for _, it := range items {
		var k api.KeyInfo
		if err := json.Unmarshal(it, &k); err != nil {
			return err
		}
		switch {
		case k.KID != kid:
		case k.State == "compromised", k.State == "retired" && !compromised:
			return hub.Errorf(hub.Conflict, "the key %s is %s already", kid, k.State).WithHint("countersign key list")
		default:
			return nil
		}
	}
	return hub.Errorf(hub.NotFound, "there is no key %q", kid).WithHint("countersign key list")
}

// changeKey posts a change of a key and shows what became of it.
func (a *App) changeKey(c *cobra.Command, cl *client, path string, body any, show func(api.KeyInfo)) error {
	raw, err := cl.raw(c.Context(), "POST", path, nil, body)
	if err != nil {
		return err
	}
	if a.flags.json {
		return a.object(json.RawMessage(raw))
	}
	var k api.KeyInfo
	if err := json.Unmarshal(raw, &k); err != nil {
		return hub.Errorf(hub.Internal, "the answer cannot be read: %w", err)
	}
	show(k)
	return nil
}
