package act

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/connector"
	"countersign/internal/hub"
	"countersign/internal/store"
)

// Store is what act needs of the store. Each method is one transaction and refuses a stale claim.
type Store interface {
	ActionBySeq(ctx context.Context, seq int64) (*hub.Action, error)
	SignalBySeq(ctx context.Context, seq int64) (*hub.Signal, error)
	BeginAttempt(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job) error
	SaveAction(ctx context.Context, a *hub.Action, at *hub.Attempt, job *hub.Job, next *hub.Micros, add []*hub.Action) ([]hub.Job, error)
	ActionsOf(ctx context.Context, signalSeq int64) ([]*hub.Action, error)
	ListActions(ctx context.Context, tenant string, f store.ActionFilter, p hub.Page) (hub.Listed[*hub.Action], error)
	FinishJob(ctx context.Context, job *hub.Job, next *hub.Micros) error
}

// Runner sends one operation and judges its answer; *connector.Runner is one.
type Runner interface {
	Do(ctx context.Context, app *connector.App, op hub.Operation, in connector.Input) connector.Answer
	Lookup(ctx context.Context, app *connector.App, email string) ([]string, connector.Answer)
	Sessions(ctx context.Context, app *connector.App, account string) ([]string, connector.Answer)
	ReadBack(ctx context.Context, app *connector.App, op hub.Operation, in connector.Input) connector.Proof
	Describe(app *connector.App, op hub.Operation, in connector.Input) (connector.Request, error)
}

// Config is what a Worker is built from. Store, Runner, App and Key are required.
type Config struct {
	Store  Store
	Runner Runner
	// App gives an app as it is set up now.
	App func(ctx context.Context, tenant, name string) (*connector.App, error)
	// Protected reports whether an account belongs to a person who is never acted on. It is asked where the account was
	// found by a look-up: an app may know a person by addresses that nobody declared. Nil: nobody is protected.
	Protected func(ctx context.Context, tenant, app, account string) (bool, error)
	// Key gives the content address of an action, which is its idempotency key (receipts design §5.3).
	Key func(sig *hub.Signal, a *hub.Action) string
	// Withdrawn reports whether the sender of a signal's order took it back. Nil: what the signal says.
	Withdrawn func(sig *hub.Signal) bool
	// Next takes jobs that a commit made for us: of further accounts, and the cut of the receipt.
	Next func(sig *hub.Signal, jobs []hub.Job, added []*hub.Action)
	// Changed is called after an action's new state is kept. Nil: nothing.
	Changed func(a *hub.Action)
	// Tried is called after each acting request with its class. Nil: nothing.
	Tried func(class string)
	// Poke asks the belt to look for due jobs at once. Nil: nothing.
	Poke func()
	// Stop is called at the named stop points of the kill bench. Nil in production.
	Stop func(point string)
	Now  func() time.Time
	Log  *slog.Logger
}

// Worker is the step "act". It is safe for concurrent use.
type Worker struct {
	Config
	busy sync.Map // app and person that a visit is at now
}

// New makes a Worker.
func New(c Config) *Worker {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Withdrawn == nil {
		c.Withdrawn = func(sig *hub.Signal) bool { return sig.Order != nil && sig.Order.Withdrawn != 0 }
	}
	if c.Next == nil {
		c.Next = func(*hub.Signal, []hub.Job, []*hub.Action) {}
	}
	if c.Changed == nil {
		c.Changed = func(*hub.Action) {}
	}
	if c.Tried == nil {
		c.Tried = func(string) {}
	}
	if c.Poke == nil {
		c.Poke = func() {}
	}
	if c.Stop == nil {
		c.Stop = func(string) {}
	}
	return &Worker{Config: c}
}

// Item is one action with its signal, as it goes over the belt. A *Item is kept between waits.
type Item struct {
	Action *hub.Action
	Signal *hub.Signal

	app  *connector.App
	prog *progress
	at   *hub.Attempt
}

// Load reads what a job speaks of.
func (w *Worker) Load(ctx context.Context, job *hub.Job) (*Item, error) {
	a, err := w.Store.ActionBySeq(ctx, job.Ref)
	if err != nil {
		return nil, err
	}
	return &Item{Action: a}, nil
}

// Do takes one action as far as it goes now. A positive wait means: call again with the same Item after
// that time, the job being still ours. With a nil error and no wait the job is in the store's hands.
func (w *Worker) Do(ctx context.Context, job *hub.Job, it *Item) (wait time.Duration, err error) {
	// What has begun at an app is finished even while the hub is stopping; Run waits for it.
	ctx = context.WithoutCancel(ctx)
	a := it.Action
	// One action of a person at an app after the other: what one has ended, the next one finds gone (A38).
	if a.Identity != "" {
		place := a.Tenant + "/" + a.App + "/" + a.Identity
		if _, taken := w.busy.LoadOrStore(place, struct{}{}); taken {
			return turn, nil
		}
		defer w.busy.Delete(place)
	}
	if a.State.Final() {
		return 0, w.Store.FinishJob(ctx, job, nil)
	}
	if it.Signal == nil {
		if it.Signal, err = w.Store.SignalBySeq(ctx, a.SignalSeq); err != nil {
			return 0, err
		}
	}
	if it.prog == nil {
		if it.prog, err = readProgress(a.Progress); err != nil {
			return 0, err
		}
	}
	r := &run{Worker: w, job: job, it: it, a: a, p: it.prog, at: it.at}
	if it.app, err = w.App(ctx, a.Tenant, a.App); err != nil {
		if hub.CodeOf(err) != hub.NotFound {
			return 0, err
		}
		return 0, r.fail(ctx, "internal_error", "The application was removed before the action was carried out.")
	}
	r.app = it.app
	return r.step(ctx)
}

// turn is how soon an action looks again whether the one before it at the same person and app is through.
const turn = 5 * time.Millisecond

func (w *Worker) now() hub.Micros { return hub.At(w.Now()) }
