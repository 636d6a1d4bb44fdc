package connector

import (
	"context"
	"net/http"
	"time"

	"countersign/internal/hub"
)

// App is one app as the runner needs it: its pack, and settings and secrets already resolved.
type App struct {
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
type Runner struct{ cfg Config }

// NewRunner makes a Runner.
func NewRunner(cfg Config) *Runner { return &Runner{cfg: cfg} }

// Do carries out one acting operation: render, guard, wait for the app's rate, send, judge.
// It never repeats a request.
func (r *Runner) Do(ctx context.Context, app *App, op hub.Operation, in Input) Answer { panic("soon") }

// Lookup asks the app for the account ids of one e-mail address. Class Done with no id means that the
// app answered and knows nobody. More than one id for one address is Refused with ambiguous_subject.
func (r *Runner) Lookup(ctx context.Context, app *App, email string) ([]string, Answer) { panic("soon") }

// Sessions lists the ids of an account's sessions.
func (r *Runner) Sessions(ctx context.Context, app *App, account string) ([]string, Answer) {
	panic("soon")
}

// ReadBack looks once whether op took effect, in the way the pack declares. Waiting is the caller's.
func (r *Runner) ReadBack(ctx context.Context, app *App, op hub.Operation, in Input) Proof {
	panic("soon")
}

// Request is a rendered request with its secrets masked.
type Request struct {
	Method string              `json:"method"`
	URL    string              `json:"url"`
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body,omitempty"`
}

// String gives method and path, as attempts show it.
func (q Request) String() string { return q.Method + " " + q.URL }

// Describe renders the request that Do, Lookup or Sessions would send, masked, without sending it.
func (r *Runner) Describe(app *App, op hub.Operation, in Input) (Request, error) { panic("soon") }
