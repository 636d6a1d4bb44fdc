package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"countersign/internal/hub"
	"countersign/receipt"
	"countersign/set"
)

func (a *App) receiptCommand() *cobra.Command {
	return noun("receipt", "The signed answers", a.receiptList(), a.receiptShow(), a.receiptVerify(), a.receiptExport())
}

func (a *App) receiptList() *cobra.Command {
	var limit int
	var state, source, signal string
	c := &cobra.Command{Use: "list", Short: "List receipts, newest first", Args: exact(0), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		items, more, err := cl.list(c.Context(), "/receipts", filters("state", state, "source", source, "signal", signal), limit)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.lines(items)
		}
		var rows [][]string
		for _, it := range items {
			var r hub.Receipt
			if err := json.Unmarshal(it, &r); err != nil {
				return err
			}
			rows = append(rows, []string{r.ID, r.ReceiptNo, itoa(r.No), r.Stage, r.Outcome, r.Source, when(r.Cut), r.State, r.Reason})
		}
		return a.listed(rows, more, []string{"id", "receipt", "no.", "stage", "outcome", "to", "cut", "state", "reason"}, "receipt")
	}}
	c.Flags().IntVar(&limit, "limit", 50, "how many at most; 0: all")
	c.Flags().StringVar(&state, "state", "", "kept, queued, accepted or dead")
	c.Flags().StringVar(&source, "source", "", "only to this source")
	c.Flags().StringVar(&signal, "signal", "", "only of this signal")
	return c
}

func (a *App) receiptShow() *cobra.Command {
	return &cobra.Command{Use: "show FILE|ID", Short: "Print the slip of a receipt: of a file without a hub, of an id from one", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		data, err := os.ReadFile(args[0])
		switch {
		case err == nil:
			return a.slipOfFile(args[0], data)
		case !errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(args[0], "/.") || !strings.HasPrefix(args[0], hub.PrefixReceipt+"_"):
			return hub.Errorf(hub.NotFound, "%w", err).WithHint("give an evidence file, a receipt token, or the id of a receipt: countersign receipt list")
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		var r hub.Receipt
		raw, err := cl.raw(c.Context(), "GET", "/receipts/"+url.PathEscape(args[0]), nil, nil)
		if err != nil {
			return err
		}
		if a.flags.json {
			return a.object(json.RawMessage(raw))
		}
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		var body receipt.Receipt
		if err := json.Unmarshal(r.Body, &body); err != nil {
			return err
		}
		opt := receipt.SlipOptions{Margin: 8, IssuedAt: r.Cut.Seconds()}
		if r.Token != "" {
			if u, err := set.Parse(r.Token); err == nil {
				h := u.Header()
				opt.Signed, opt.IssuedAt = fmt.Sprintf("%s (%s)", h.KeyID, h.Algorithm), u.Claims().IssuedAt
			}
		}
		_, err = io.WriteString(a.Stdout, receipt.Slip(&body, opt))
		return err
	}}
}

// slipOfFile prints the slip of the newest receipt in an evidence file, or of a receipt token. It says
// that a signature is good only where verification found the file without fault.
func (a *App) slipOfFile(name string, data []byte) error {
	tokens := []string{strings.TrimSpace(string(data))}
	good := false
	if b, err := receipt.ParseBundle(data); err == nil {
		tokens = nil
		for _, e := range b.Receipts {
			tokens = append(tokens, e.JWS)
		}
		good = receipt.Verify(data, nil, time.Now()).Exit != receipt.ExitInvalid
		if good {
			exit := receipt.Verify(data, nil, time.Now()).Exit
			good = exit == receipt.ExitFulfilled || exit == receipt.ExitOther
		}
	}
	var best *receipt.Receipt
	var opt receipt.SlipOptions
	for _, tok := range tokens {
		u, err := set.Parse(tok)
		if err != nil {
			continue
		}
		claims := u.Claims()
		for _, ev := range claims.Events {
			var r receipt.Receipt
			if ev.Type != receipt.Default().Event || json.Unmarshal(ev.Payload, &r) != nil || best != nil && r.Seq <= best.Seq {
				continue
			}
			h := u.Header()
			best, opt = &r, receipt.SlipOptions{Margin: 8, IssuedAt: claims.IssuedAt, Signed: fmt.Sprintf("%s (%s)", h.KeyID, h.Algorithm), Good: good}
		}
	}
	if best == nil {
		return hub.Errorf(hub.Invalid, "%s: there is no receipt in this file", name).WithHint("countersign receipt verify %s says what is wrong with an evidence file", name)
	}
	if a.flags.json {
		return a.object(best)
	}
	_, err := io.WriteString(a.Stdout, receipt.Slip(best, opt))
	return err
}

func (a *App) receiptVerify() *cobra.Command {
	var policy string
	c := &cobra.Command{Use: "verify FILE", Short: "Check an evidence file without any hub",
		Long: "Verify checks every token of an evidence file and every rule of the receipts profile. Exit status:\n" +
			"0 valid and fulfilled, 1 invalid, 2 valid with another outcome or a shortfall, 3 usage, 4 undecidable.",
		Args: func(c *cobra.Command, args []string) error {
			if err := exact(1)(c, args); err != nil {
				return &exitError{receipt.ExitUsage, err}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := a.readArg(args[0])
			if err != nil {
				return &exitError{receipt.ExitUsage, hub.Errorf(hub.Invalid, "%w", err).WithHint("give an evidence file: countersign receipt export ID > evidence.json")}
			}
			var rules []byte
			if policy != "" {
				if rules, err = os.ReadFile(policy); err != nil {
					return &exitError{receipt.ExitUsage, hub.Errorf(hub.Invalid, "--policy: %w", err)}
				}
				if len(rules) == 0 {
					return &exitError{receipt.ExitUsage, hub.Errorf(hub.Invalid, "--policy: %s is empty", policy)}
				}
			}
			rep := receipt.Verify(data, rules, time.Now())
			if a.flags.json {
				if err := a.object(rep); err != nil {
					return err
				}
			} else {
				io.WriteString(a.Stdout, rep.Text())
			}
			if rep.Exit != 0 {
				return &exitError{status: rep.Exit}
			}
			return nil
		}}
	c.Flags().StringVar(&policy, "policy", "", "file with pinned keys and other rules")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &exitError{receipt.ExitUsage, hub.Errorf(hub.Invalid, "%w", err).WithHint("%s --help", c.CommandPath())}
	})
	return c
}

func (a *App) readArg(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.Stdin, 64<<20))
	}
	return os.ReadFile(name)
}

func (a *App) receiptExport() *cobra.Command {
	var out string
	c := &cobra.Command{Use: "export ID", Short: "Write the evidence file of a receipt's order: tokens, keys and documents", Args: exact(1), RunE: func(c *cobra.Command, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		raw, err := cl.raw(c.Context(), "GET", "/receipts/"+url.PathEscape(args[0])+"/evidence", nil, nil)
		if err != nil {
			return err
		}
		if out == "" || out == "-" {
			_, err = a.Stdout.Write(raw)
			return err
		}
		if err := os.WriteFile(out, raw, 0o600); err != nil {
			return err
		}
		a.note("Wrote %s. To check it: countersign receipt verify %s", out, out)
		return nil
	}}
	c.Flags().StringVarP(&out, "output", "o", "", "write to this file instead of standard output")
	return c
}
