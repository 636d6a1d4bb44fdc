package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"countersign/internal/config"
	"countersign/internal/hub"
	"countersign/internal/web/api"
)

// Results of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn"
	checkFail = "fail"
	checkNot  = "not checked"
)

// checkup is what doctor prints with --json.
type checkup struct {
	OK       bool      `json:"ok"` // nothing failed
	Hub      string    `json:"hub"`
	Findings []finding `json:"findings"`
}

// finding is one thing that the doctor looked at, or could not look at.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok | warn | fail | not checked
	Seen   string `json:"seen"`
	Fix    string `json:"fix,omitempty"`
}

func (a *App) doctorCommand() *cobra.Command {
	var file string
	c := &cobra.Command{Use: "doctor", Short: "Look for what is wrong with a hub, or with one of its streams or sources",
		Long: "Doctor looks at a running hub from outside: that it answers, its clock, certificate and keys, its streams, and with --data on\n" +
			"its own machine its files and disk. What it cannot see is shown as not checked. The exit status is 1 where a check fails.",
		Example: "  countersign doctor --data ./data --config hub.yaml\n  countersign doctor stream crm-signals\n  countersign doctor source keycloak",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return hub.Errorf(hub.Invalid, "doctor does not know how to look at %q", args[0]).WithHint("countersign doctor, countersign doctor stream NAME, or countersign doctor source NAME")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			d := &doctor{a: a, cl: cl, data: a.dataFolder()}
			d.examine(c.Context(), file)
			return a.showCheckup(&d.out)
		}}
	c.Flags().StringVar(&file, "config", "", "the hub's configuration file, to be checked as well")
	c.AddCommand(a.doctorStream(), a.doctorSource())
	return c
}

// dataFolder is the data folder of a hub on this machine that the flags lead to; empty: none.
func (a *App) dataFolder() string {
	if a.flags.data != "" {
		return a.flags.data
	}
	if a.flags.server == "" && a.Env("COUNTERSIGN_SERVER") == "" {
		return "data"
	}
	return ""
}

func (a *App) showCheckup(out *checkup) error {
	out.OK = true
	for _, f := range out.Findings {
		out.OK = out.OK && f.Result != checkFail
	}
	if a.flags.json {
		if err := a.object(out); err != nil {
			return err
		}
	} else {
		a.showFindings(out.Findings)
	}
	if !out.OK {
		return &exitError{status: 1}
	}
	return nil
}

// showFindings prints what was seen, and under what is not right how to mend it.
func (a *App) showFindings(list []finding) {
	for _, f := range list {
		a.say("%-11s  %-14s %s", f.Result, f.Check, f.Seen)
		if f.Fix != "" {
			a.say("%-11s  %-14s -> %s", "", "", f.Fix)
		}
	}
}

func (a *App) doctorStream() *cobra.Command {
	return &cobra.Command{Use: "stream NAME|ID", Short: "Look at everything that a stream needs to deliver", Args: exact(1), ValidArgsFunction: a.streamNames(),
		Long: "Doctor stream has the hub look at one stream: its status, events, subjects, keys, endpoint and latest answers. On a push stream\n" +
			"it sends a verification event and waits for the answer. The exit status is 1 where a check fails.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if isTerminal(a.Stderr) && !a.flags.json {
				a.note("Looking; a verification event may take up to 10 s …")
			}
			raw, err := cl.raw(c.Context(), "GET", streamPath(args[0], "doctor"), nil, nil)
			if err != nil {
				return err
			}
			var e api.Examination
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			if a.flags.json {
				if err := a.object(json.RawMessage(raw)); err != nil {
					return err
				}
			} else {
				a.say("%s %s of %s", e.Stream, e.Name, e.Client)
				var list []finding
				for _, f := range e.Findings {
					if f.Fix != "" && f.Side != "" {
						f.Fix += map[string]string{"us": " (at this hub)", "receiver": " (at the receiver)", "between": " (between the two)"}[f.Side]
					}
					list = append(list, finding{f.Check, f.Result, f.Seen, f.Fix})
				}
				a.showFindings(list)
			}
			if !e.OK {
				return &exitError{status: 1}
			}
			return nil
		}}
}

// doctor gathers findings about one hub.
type doctor struct {
	a    *App
	cl   *client
	data string // its data folder on this machine; empty: not known
	out  checkup
}

func (d *doctor) add(check, result, seen, fix string) {
	d.out.Findings = append(d.out.Findings, finding{check, result, seen, fix})
}

// examine looks at everything that can be seen from here.
func (d *doctor) examine(ctx context.Context, configFile string) {
	d.out.Hub = d.cl.base
	d.configuration(configFile)
	if d.answers(ctx) {
		d.caller(ctx)
		d.keys(ctx)
		d.streams(ctx)
	}
	public := ""
	if d.data != "" {
		if raw, err := os.ReadFile(d.data + "/" + config.AddressFile); err == nil {
			var ad address
			if json.Unmarshal(raw, &ad) == nil && ad.Admin == d.cl.base {
				public = ad.Public
			}
		}
	}
	d.outside(ctx, public)
	d.files()
	d.add("backup", checkNot, "the hub keeps no record of backups", "with SQLite: stop the hub and copy the data folder; the master key belongs elsewhere")
}

func (d *doctor) configuration(file string) {
	if file == "" {
		d.add("configuration", checkNot, "no --config was given", "")
		return
	}
	c, err := config.Load(file)
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		d.add("configuration", checkFail, err.Error(), "countersign config check "+file)
		return
	}
	d.add("configuration", checkOK, file+" is in order", "")
}

// answers asks whether the hub is there and takes work.
func (d *doctor) answers(ctx context.Context) bool {
	var v struct{ Version string }
	date, err := d.cl.plainGet(ctx, "/api/v1/version", &v)
	if err != nil {
		fix := hint(err)
		if fix == "" {
			fix = "is it running? countersign serve"
		}
		d.add("hub", checkFail, err.Error(), fix)
		return false
	}
	d.add("hub", checkOK, "countersign "+v.Version+" at "+d.cl.base, "")
	d.clock(date)
	if _, err := d.cl.plainGet(ctx, "/readyz", nil); err != nil {
		d.add("store", checkFail, "the hub is not ready to take work: "+err.Error(), "look into the hub's log")
		return true
	}
	d.add("store", checkOK, "the database answers, and work is taken", "")
	return true
}

// caller says as whom we look.
func (d *doctor) caller(ctx context.Context) {
	var who struct {
		Tenant, Client string
		Operator       bool
	}
	switch err := d.cl.do(ctx, "GET", "/whoami", nil, nil, &who); {
	case err != nil:
		d.add("token", checkFail, err.Error(), hint(err))
	case who.Operator:
		d.add("token", checkOK, "that of the operator, tenant "+who.Tenant, "")
	default:
		d.add("token", checkOK, "that of client "+who.Client+", tenant "+who.Tenant+"; it may not see everything", "")
	}
}

// keys looks at the signing keys.
func (d *doctor) keys(ctx context.Context) {
	items, _, err := d.cl.list(ctx, "/keys", url.Values{"unpaged": {"1"}}, 0)
	if err != nil {
		d.unseen("keys", err)
		return
	}
	active, lost := 0, int64(0)
	waiting := ""
	for _, it := range items {
		var k api.KeyInfo
		if json.Unmarshal(it, &k) != nil {
			continue
		}
		switch k.State {
		case "active", "":
			active++
		case "compromised":
			lost += k.Waiting
		case "next":
			waiting = fmt.Sprintf("; the next %s key signs from %s", k.Alg, when(k.ActiveAt))
		}
	}
	switch {
	case active == 0:
		d.add("keys", checkFail, "no key signs", "countersign key rotate --now")
	case lost > 0:
		d.add("keys", checkFail, fmt.Sprintf("%d tokens wait under a compromised key", lost), "countersign key retire KID --compromised, again")
	default:
		d.add("keys", checkOK, fmt.Sprintf("%d sign%s", active, waiting), "")
	}
}

// streams counts those that do not do well.
func (d *doctor) streams(ctx context.Context) {
	items, _, err := d.cl.list(ctx, "/streams", nil, 0)
	if err != nil {
		d.unseen("streams", err)
		return
	}
	well := 0
	for _, it := range items {
		var s api.StreamInfo
		if json.Unmarshal(it, &s) != nil {
			continue
		}
		name := label(s)
		why := s.Health
		if s.Why != "" {
			why += ": " + s.Why
		}
		switch s.Health {
		case "failing", "stopped", "missing":
			d.add("stream", checkFail, name+" is "+why, "countersign doctor stream "+name)
		default:
			well++
		}
		for _, w := range s.Warnings {
			d.add("stream", checkWarn, name+": "+w, "countersign stream show "+name)
		}
		if s.Dead > 0 {
			d.add("stream", checkWarn, fmt.Sprintf("%s: %d tokens were set aside", name, s.Dead), "countersign delivery list --outcome dead --stream "+name)
		}
	}
	d.add("streams", checkOK, fmt.Sprintf("%d of %d do well", well, len(items)), "")
}

// unseen says that we may not, or could not, look.
func (d *doctor) unseen(check string, err error) {
	if code := hub.CodeOf(err); code == hub.Forbidden || code == hub.Unauthenticated {
		d.add(check, checkNot, err.Error(), "look with the operator token")
		return
	}
	d.add(check, checkFail, err.Error(), "")
}
