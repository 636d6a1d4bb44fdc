package connector

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"countersign/internal/hub"
)

// App is one app as the runner needs it: its pack, and settings and secrets already resolved.
type App struct {
	Tenant   string // apps of one name in two tenants have rates of their own
	Name     string
	Pack     *Pack
	Settings map[string]string
	Secrets  map[string]string
	Match    string // "email": accounts are found by lookup_account; "declared": only those named at identities
}

// Config is what a Runner is built from.
type Config struct {
	Client *http.Client     // every request goes through it; internal/egress makes it. Required
	Now    func() time.Time // nil: time.Now
}

// Runner sends operations to apps and judges the answers. It keeps a rate limiter per app and nothing
// else; it is safe for concurrent use.
type Runner struct {
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	rates map[string]*limiter // by tenant and app name
}

// NewRunner makes a Runner.
func NewRunner(cfg Config) *Runner {
	r := &Runner{now: cfg.Now, rates: map[string]*limiter{}}
	if cfg.Client != nil {
		c := *cfg.Client
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		r.client = &c
	}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

// Do carries out one acting operation: guard, render, wait for the app's rate, send, judge.
// It never repeats a request.
func (r *Runner) Do(ctx context.Context, app *App, op hub.Operation, in Input) Answer {
	a, _ := r.exchange(ctx, app, op, in)
	return a
}

// Lookup asks the app for the account ids of one e-mail address. Class Done with no id means that the
// app answered and knows nobody. More than one id for one address is Refused with ambiguous_subject.
func (r *Runner) Lookup(ctx context.Context, app *App, email string) ([]string, Answer) {
	a, vars := r.exchange(ctx, app, hub.OpLookupAccount, Input{Email: email})
	if a.Class != Done {
		return nil, a
	}
	ids, err := idsOf(app.Pack.ops[hub.OpLookupAccount].found, vars)
	switch {
	case err != nil:
		return nil, unreadable(app, a, "found", err)
	case len(ids) > 1:
		a.Class, a.Reason = Refused, "ambiguous_subject"
		a.Note = fmt.Sprintf("%d accounts have this address, and the first is not taken for the right one", len(ids))
		return nil, a
	}
	return ids, a
}

// Sessions lists the ids of an account's sessions.
func (r *Runner) Sessions(ctx context.Context, app *App, account string) ([]string, Answer) {
	a, vars := r.exchange(ctx, app, hub.OpListSessions, Input{Account: account})
	if a.Class != Done {
		return nil, a
	}
	ids, err := idsOf(app.Pack.ops[hub.OpListSessions].sessions, vars)
	if err != nil {
		return nil, unreadable(app, a, "sessions", err)
	}
	return ids, a
}

// ReadBack looks once whether op took effect, in the way the pack declares. Waiting is the caller's.
func (r *Runner) ReadBack(ctx context.Context, app *App, op hub.Operation, in Input) Proof {
	none := Proof{Left: -1, Answer: Answer{Class: Refused, Reason: "not_supported", Note: "the pack has no read-back for this operation"}}
	o := app.Pack.ops[op]
	if o == nil || o.back == nil {
		return none
	}
	in.Key = ""
	a, vars := r.exchange(ctx, app, o.back.Use, in)
	p := Proof{Answer: a, Left: -1}
	if a.Class != Done {
		return p
	}
	if o.back.Use == hub.OpListSessions {
		ids, err := idsOf(app.Pack.ops[hub.OpListSessions].sessions, vars)
		if err != nil {
			p.Answer = unreadable(app, a, "sessions", err)
			return p
		}
		list := make([]any, len(ids))
		p.Left = len(ids)
		if op == hub.OpEndSession {
			p.Left = 0
		}
		for i, id := range ids {
			list[i] = map[string]any{"id": id}
			if op == hub.OpEndSession && id == in.Session {
				p.Left = 1
			}
		}
		vars["sessions"] = list
		p.Listed = ids[:min(len(ids), 1000)]
		p.Refusal = true // B1: the list shows access ended; a recorded state does not
	}
	proven, err := o.proven.Bool(vars)
	if err != nil {
		p.Answer = unreadable(app, a, "proven", err)
		return p
	}
	p.Proven = proven
	return p
}

// unreadable is a reading answer that came and did not hold what the pack promises.
func unreadable(app *App, a Answer, rule string, err error) Answer {
	a.Class, a.Reason, a.Note = Retry, "app_error", clip(app.mask(fmt.Sprintf("the answer does not fit the pack's %s: %v", rule, err)), 300)
	return a
}
