package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/stage"
)

// Options are what the demo command was asked.
type Options struct {
	Once     bool
	JSON     bool
	Database string // postgres:// URL; empty: SQLite
	Keep     string // folder to keep everything in; empty: a temporary one
	Break    string // a key of Breaks; empty: nothing goes wrong
	Exe      string // the hub's binary; empty: this one
	// DropSchema removes a schema of the scene from a PostgreSQL database.
	DropSchema func(ctx context.Context, database, schema string) error
	// Print shows progress to a person.
	Print Printer
}

const (
	completeIn = 20 * time.Second // the order's complete_by
	dropTime   = 20 * time.Second
)

// seat is one browser at one site.
type seat struct {
	browser *stage.Browser
	site    *stage.Site
	result  SessionResult
}

// Run plays the scene and gives what happened. An error means that the scene could not be played at all;
// what went otherwise than promised is in Result.Problems. Without opt.Once it calls stay with the running
// scene before it takes everything down.
func Run(ctx context.Context, opt Options, stay func(context.Context, *Standing)) (*Result, error) {
	if _, ok := Breaks[opt.Break]; opt.Break != "" && !ok {
		return nil, fmt.Errorf("--break knows app-down, forged-receipt and wrong-person, not %q", opt.Break)
	}
	dir, cleanup, err := folder(opt.Keep)
	if err != nil {
		return nil, err
	}
	defer cleanup()
	p := opt.Print.begin()
	s, err := build(opt, dir)
	defer func() { s.close(opt) }()
	if err != nil {
		return nil, err
	}
	p.step("three apps, an identity provider and their certificates are up")
	if err := s.hub.Start(ctx); err != nil {
		return nil, err
	}
	p.step("the hub runs as process %d on %s", s.hub.PID(), map[bool]string{true: "PostgreSQL", false: "SQLite"}[opt.Database != ""])
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.idp.WaitStream(wait); err != nil {
		return nil, fmt.Errorf("%w; the hub's log ends:\n%s", err, s.hub.Tail(2000))
	}
	p.step("the hub made a stream at the identity provider; receipts were negotiated")

	sc := &scene{set: s, opt: opt, p: p, r: &Result{Engine: "sqlite", Sessions: []SessionResult{}, Tokens: []TokenResult{}}}
	if opt.Database != "" {
		sc.r.Engine = "postgres"
	}
	start := time.Now()
	if err := sc.play(ctx); err != nil {
		return nil, err
	}
	sc.r.ElapsedMS = time.Since(start).Milliseconds()
	sc.r.OK = len(sc.r.Problems) == 0
	p.end(sc.r)
	if !opt.Once && stay != nil {
		stay(ctx, sc.standing())
	}
	problems := s.close(opt)
	s = nil
	if len(problems) > 0 {
		sc.r.OK, sc.r.Problems = false, append(sc.r.Problems, problems...)
	}
	return sc.r, nil
}

// folder makes the folder of a run. Without keep only the evidence file is left, in a folder of its own.
func folder(keep string) (dir string, cleanup func(), err error) {
	if keep != "" {
		if keep, err = filepath.Abs(keep); err != nil {
			return "", nil, err
		}
		if err := os.MkdirAll(keep, 0o700); err != nil {
			return "", nil, err
		}
		if _, err := os.Stat(filepath.Join(keep, "data")); err == nil {
			return "", nil, fmt.Errorf("%s holds an earlier run: name another folder or remove it", keep)
		}
		return keep, func() {}, nil
	}
	if dir, err = os.MkdirTemp("", "countersign-demo-"); err != nil {
		return "", nil, err
	}
	return dir, func() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.Name() != "evidence.json" {
				os.RemoveAll(filepath.Join(dir, e.Name()))
			}
		}
		os.Remove(dir) // only where nothing is left
	}, nil
}

type scene struct {
	*set
	opt   Options
	p     *progress
	r     *Result
	seats []*seat
	token string // Alice's access token at crm
}

func (sc *scene) problem(format string, args ...any) {
	sc.r.Problems = append(sc.r.Problems, fmt.Sprintf(format, args...))
	sc.p.wrong(format, args...)
}

func (sc *scene) play(ctx context.Context) error {
	if err := sc.signIn(ctx); err != nil {
		return err
	}
	switch sc.opt.Break {
	case "app-down":
		sc.wiki.Down.Store(true)
	case "wrong-person":
		sc.wiki.WrongPerson.Store(true)
	}
	sent, err := sc.idp.Revoke(ctx, "alice@example.test", completeIn, "Impossible travel: CASE-4411")
	if err != nil {
		return err
	}
	sc.r.Signal.SetHash, sc.r.Signal.EventType = sent.SetHash, sent.Type
	sc.p.step("the identity provider orders: revoke every session of alice@example.test, everywhere, proven, within %s", completeIn)
	sc.await(ctx, sent.JTI)
	if err := sc.tryAgain(ctx); err != nil {
		return err
	}
	if err := sc.ask(ctx); err != nil {
		return err
	}
	return sc.proof(ctx, sent.JTI)
}

// signIn seats everybody and opens every page once.
func (sc *scene) signIn(ctx context.Context) error {
	for _, who := range []struct {
		person, label string
		site          *stage.Site
	}{
		{"alice", "browser 1", sc.wiki}, {"alice", "browser 2", sc.wiki}, {"alice", "browser 1", sc.crm}, {"alice", "browser 1", sc.forum}, {"bob", "browser 1", sc.wiki},
	} {
		b := stage.NewBrowser(who.person, sc.ca.Pool())
		if err := b.SignIn(ctx, who.site.URL(), who.person+"@example.test", password); err != nil {
			return err
		}
		status, err := b.Open(ctx, who.site.URL())
		if err != nil {
			return err
		}
		sc.seats = append(sc.seats, &seat{b, who.site, SessionResult{Person: who.person, App: who.site.Name, Session: who.label, Before: status}})
		if status != http.StatusOK {
			sc.problem("%s could not use %s after signing in: %d", who.person, who.site.Name, status)
		}
		if who.site == sc.crm {
			if sc.token, err = b.Token(ctx, sc.crm.URL()); err != nil {
				return err
			}
		}
	}
	sc.p.step("alice signs in on two browsers at wiki, one at crm, one at forum; bob at wiki")
	return nil
}

// await waits for the final receipt, or for a sign that there will be none.
func (sc *scene) await(ctx context.Context, jti string) {
	ctx, cancel := context.WithTimeout(ctx, completeIn+5*time.Second)
	defer cancel()
	if sc.forger != nil {
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if _, ok := sc.forger.refusal(); ok {
						cancel()
						return
					}
				}
			}
		}()
	}
	r, err := sc.idp.Await(ctx, jti)
	if err != nil {
		if sc.forger != nil {
			if answer, ok := sc.forger.refusal(); ok {
				sc.problem("the identity provider refused a forged receipt: %s", answer)
				return
			}
		}
		sc.problem("the identity provider accepted no final receipt within %s", completeIn+5*time.Second)
		return
	}
	sc.r.Receipt = ReceiptResult{ReceiptNo: r.Number, Outcome: r.Outcome, Lines: len(r.Event.Lines), AcceptedBySender: true}
	os.WriteFile(sc.path("receipt.jwt"), []byte(r.Compact+"\n"), 0o600)
	sc.p.step("receipt %s came back, signed, and was accepted: %s", r.Number, r.Outcome)
	if r.Outcome != "fulfilled" {
		sc.problem("the receipt says %s", r.Outcome)
	}
	if len(r.Event.Lines) != 3 {
		sc.problem("the receipt has %d lines, not 3", len(r.Event.Lines))
	}
	for _, l := range r.Event.Lines {
		app := ""
		if l.Target != nil {
			app = l.Target.App
		}
		want := map[string]string{"wiki": "done", "crm": "done_with_residue", "forum": "done"}[app]
		if l.Status != "succeeded" || l.Reason != want {
			sc.problem("the line about %s says %s/%s", app, l.Status, l.Reason)
		}
		if app == "crm" {
			sc.residue(l.EffectiveBy)
		}
	}
}

// residue checks what is left at crm: its token's own exp must not be after what the line admits.
func (sc *scene) residue(effectiveBy int64) {
	exp, _, err := stage.TokenExpiry(sc.token)
	if err != nil {
		sc.problem("the access token of crm cannot be read: %v", err)
		return
	}
	sc.r.Tokens = append(sc.r.Tokens, TokenResult{Person: "alice", App: "crm", StillValidUntil: exp})
	if exp > effectiveBy {
		sc.problem("crm's access token lives until %d, after the receipt's effective_by %d", exp, effectiveBy)
	}
}

// tryAgain opens every page with the old cookies.
func (sc *scene) tryAgain(ctx context.Context) error {
	for _, st := range sc.seats {
		status, err := st.browser.Open(ctx, st.site.URL())
		if err != nil {
			return err
		}
		st.result.After = status
		sc.r.Sessions = append(sc.r.Sessions, st.result)
		switch {
		case st.result.Person == "alice" && status != http.StatusUnauthorized:
			sc.problem("alice's session (%s) at %s still answers %d", st.result.Session, st.site.Name, status)
		case st.result.Person != "alice" && status != http.StatusOK:
			sc.problem("%s was not meant, and lost a session at %s: %d", st.result.Person, st.site.Name, status)
		}
	}
	sc.p.sessions(sc.r.Sessions)
	return nil
}

// ask finds the signal in the hub by its API.
func (sc *scene) ask(ctx context.Context) error {
	var list struct {
		Items []struct {
			ID        string `json:"id"`
			EventType string `json:"event_type"`
			SetHash   string `json:"set_hash"`
		} `json:"items"`
	}
	if err := sc.hub.Call(ctx, http.MethodGet, "/api/v1/signals", nil, &list); err != nil {
		return err
	}
	for _, sig := range list.Items {
		if sig.SetHash == sc.r.Signal.SetHash {
			sc.r.Signal = SignalResult{sig.ID, sig.EventType, sig.SetHash}
			return nil
		}
	}
	sc.problem("the hub does not list the signal that was sent")
	return nil
}

// proof writes the evidence file from what the identity provider sent and accepted, and has it verified.
func (sc *scene) proof(ctx context.Context, jti string) error {
	evidence, err := sc.idp.Evidence(ctx)
	if err != nil {
		return err
	}
	sc.r.Evidence = sc.path("evidence.json")
	if err := os.WriteFile(sc.r.Evidence, evidence, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(sc.path("order.jwt"), []byte(sc.idp.OrderToken(jti)+"\n"), 0o600); err != nil {
		return err
	}
	out, err := sc.hub.Run(ctx, "receipt", "verify", sc.r.Evidence, "--json")
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		sc.r.Verify.Exit = exit.ExitCode()
	case err != nil:
		return err
	}
	var report struct {
		Verdict string `json:"verdict"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return fmt.Errorf("receipt verify: %w", err)
	}
	if sc.r.Verify.Exit != 0 {
		sc.problem("receipt verify says %s (exit %d)", report.Verdict, sc.r.Verify.Exit)
	}
	if !sc.r.Receipt.AcceptedBySender {
		return nil
	}
	slip, err := sc.hub.Run(ctx, "receipt", "show", sc.r.Evidence)
	if err != nil {
		return err
	}
	sc.r.slip = strings.TrimRight(string(slip), "\n")
	if err := os.WriteFile(sc.path("slip.txt"), slip, 0o600); err != nil {
		return err
	}
	sc.p.step("verified offline from %s: exit %d", sc.r.Evidence, sc.r.Verify.Exit)
	return nil
}
