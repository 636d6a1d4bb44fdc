package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/hub"
)

// RefusalStore is where refusals are kept. A refusal that comes again under its ID has grown.
type RefusalStore interface {
	AddRefusals(ctx context.Context, tenant string, refusals []hub.Refusal) error
}

// What a sender can make us write down about it: kinds of refusal in one window, each with a count. Whatever is beyond is
// one more of them. A flood costs a few rows, and does not push out what was refused an hour ago.
const (
	refusalWindow = time.Minute
	refusalKinds  = 20
	refusalFlush  = 2 * time.Second
	refusalReason = 400 // bytes
)

// Refusals collects what is refused and writes it down in batches. It is safe for concurrent use.
type Refusals struct {
	store RefusalStore
	now   func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	open map[place]map[refusalKind]*refusalRow
}

type place struct{ tenant, source string }

// refusalKind is what makes two refusals alike.
type refusalKind struct {
	door   string
	status int
	err    string
	reason string
	quirk  string
}

type refusalRow struct {
	hub.Refusal
	dirty bool
}

// NewRefusals makes a collection; nothing is written before Run.
func NewRefusals(st RefusalStore, now func() time.Time, log *slog.Logger) *Refusals {
	if now == nil {
		now = time.Now
	}
	if log == nil {
		log = slog.Default()
	}
	return &Refusals{store: st, now: now, log: log, open: map[place]map[refusalKind]*refusalRow{}}
}

// Add counts one refusal. first reports that none like it came in this window; then fill may complete it with what costs
// more to find out.
func (c *Refusals) Add(tenant string, r hub.Refusal, fill func(*hub.Refusal)) (first bool) {
	now := hub.At(c.now())
	r.Reason = cut(r.Reason, refusalReason)
	p, k := place{tenant, r.Source}, refusalKind{r.Door, r.Status, r.Err, r.Reason, r.Quirk}
	c.mu.Lock()
	row := c.open[p][k]
	full := row == nil && len(c.open[p]) >= refusalKinds
	if full {
		k = refusalKind{door: r.Door, reason: "others: too many kinds of refusals at once to list each"}
		row = c.open[p][k]
	}
	if row != nil {
		row.Count++
		row.Last, row.dirty = now, true
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()

	if full {
		r = hub.Refusal{Source: r.Source, Door: k.door, Reason: k.reason}
	} else if fill != nil {
		fill(&r)
		r.JTI, r.Cure = cut(r.JTI, maxJTI), cut(r.Cure, 2*refusalReason)
	}
	r.ID, r.Count, r.At, r.Last = hub.NewID(hub.PrefixRefusal, now.Time()), 1, now, now
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[p] == nil {
		c.open[p] = map[refusalKind]*refusalRow{}
	}
	if row := c.open[p][k]; row != nil { // another was as fast
		row.Count++
		row.dirty = true
		return false
	}
	c.open[p][k] = &refusalRow{Refusal: r, dirty: true}
	return true
}

// Run writes down what was collected, until ctx ends, and then once more.
func (c *Refusals) Run(ctx context.Context) error {
	tick := time.NewTicker(refusalFlush)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalFlush)
			defer cancel()
			c.Flush(end)
			return nil
		case <-tick.C:
			c.Flush(ctx)
		}
	}
}

// Flush writes down what changed since the last time. What could not be written is kept for the next time.
func (c *Refusals) Flush(ctx context.Context) {
	now := hub.At(c.now())
	batch := map[string][]hub.Refusal{}
	c.mu.Lock()
	for p, rows := range c.open {
		for k, row := range rows {
			if row.dirty {
				row.dirty = false
				batch[p.tenant] = append(batch[p.tenant], row.Refusal)
			}
			if row.At < now-hub.Micros(refusalWindow.Microseconds()) {
				delete(rows, k)
			}
		}
		if len(rows) == 0 {
			delete(c.open, p)
		}
	}
	c.mu.Unlock()
	for tenant, rows := range batch {
		if err := c.store.AddRefusals(ctx, tenant, rows); err != nil {
			c.log.WarnContext(ctx, "what sources were refused could not be written down", "tenant", tenant, "kinds", len(rows), "err", err)
		}
	}
}
