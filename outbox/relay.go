package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/set"
)

// Bounds of the back-off.
const (
	firstWait  = time.Second
	longWait   = 5 * time.Minute
	reasonSize = 300
	pruneEvery = time.Hour
)

// Relay hands on what waits in a table. DB, Table and Send are required; the zero value of everything else is the usual
// one. A Relay is used by one Run or Pass at a time; as many relays as one likes may share a table.
type Relay struct {
	DB    *sql.DB
	Table Table
	// Send hands on one entry. Nil means that it was taken. An error is tried again later, unless it is Permanent; After
	// says how much later at least. What it does must be safe to repeat for one Entry.ID.
	Send func(ctx context.Context, e Entry) error

	// Ordered keeps the entries about one subject in the order in which they were put: none is sent while an earlier one
	// waits. Entries of transactions that ran at the same time have no order.
	Ordered bool
	// Batch is how many entries are claimed at once. 0: 32.
	Batch int
	// Parallel is how many sends run at once. 0: 4.
	Parallel int
	// Timeout is the time for one send. 0: 10 s.
	Timeout time.Duration
	// Lease is how long a claim holds: after it another relay takes over what this one did not finish. 0: one minute. It
	// is longer than Timeout.
	Lease time.Duration
	// Poll is how often the table is looked at while nothing waits. 0: one second.
	Poll time.Duration
	// MaxAge is how long an entry is tried before it is given up. 0: 7 days.
	MaxAge time.Duration
	// Keep is how long entries stay that were sent or given up. 0: 30 days. Below 0: for ever.
	Keep time.Duration

	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log gets what operators should see; never subjects. Nil: discarded.
	Log *slog.Logger
}

// permanent is an error that no further try can mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks the error of a Send that would fail the same way each time. The entry is given up with it.
func Permanent(err error) error { return permanent{err} }

type after struct {
	error
	wait time.Duration
}

func (a after) Unwrap() error { return a.error }

// After marks the error of a Send that is not to be tried again before wait has passed.
func After(err error, wait time.Duration) error { return after{err, wait} }

// prepare gives the relay with its defaults, and the name of the table.
func (r *Relay) prepare() (*Relay, string, error) {
	name, err := r.Table.check()
	if err != nil {
		return nil, "", err
	}
	c := *r
	if c.DB == nil || c.Send == nil {
		return nil, "", fmt.Errorf("%w: a relay needs DB and Send", ErrInvalid)
	}
	c.Batch, c.Parallel = cmp.Or(max(c.Batch, 0), 32), cmp.Or(max(c.Parallel, 0), 4)
	c.Timeout, c.Lease = cmp.Or(c.Timeout, 10*time.Second), cmp.Or(c.Lease, time.Minute)
	c.Poll, c.MaxAge, c.Keep = cmp.Or(c.Poll, time.Second), cmp.Or(c.MaxAge, 7*24*time.Hour), cmp.Or(c.Keep, 30*24*time.Hour)
	if c.Lease <= c.Timeout {
		return nil, "", fmt.Errorf("%w: the lease of a relay is longer than its timeout", ErrInvalid)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &c, name, nil
}

// Run hands on until ctx ends, and returns nil then. It returns an error where it could not start. A database that is
// away is tried again.
func (r *Relay) Run(ctx context.Context) error {
	c, name, err := r.prepare()
	if err != nil {
		return err
	}
	var pruned time.Time
	for ctx.Err() == nil {
		n, err := c.pass(ctx, name)
		if err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "the outbox could not be read or marked", "error", err)
		}
		if now := c.Now(); err == nil && c.Keep > 0 && now.Sub(pruned) > pruneEvery {
			pruned = now
			if _, err := c.Table.Prune(ctx, c.DB, now.Add(-c.Keep)); err != nil && ctx.Err() == nil {
				c.Log.WarnContext(ctx, "the outbox could not be pruned", "error", err)
			}
		}
		if n > 0 && err == nil {
			continue // there may be more
		}
		wait := time.NewTimer(c.Poll)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
	return nil
}

// Pass claims one batch, sends it, marks it, and gives how many entries it claimed: for tests, and for programs that are
// started by a timer.
func (r *Relay) Pass(ctx context.Context) (int, error) {
	c, name, err := r.prepare()
	if err != nil {
		return 0, err
	}
	return c.pass(ctx, name)
}

func (r *Relay) pass(ctx context.Context, name string) (int, error) {
	claim := set.NewID()
	until := r.Now().Add(r.Lease)
	batch, err := r.claim(ctx, name, claim, until)
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := 0
	for range min(r.Parallel, len(batch)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(batch) {
					return
				}
				if err := r.hand(ctx, name, claim, until, &batch[i]); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return len(batch), failed
}

// claim takes a batch of entries that are due and that nobody else has.
func (r *Relay) claim(ctx context.Context, name, claim string, until time.Time) ([]claimed, error) {
	now := r.Now().UnixMicro()
	due := `o.state = 'waiting' AND o.due_at <= ? AND o.claimed_until <= ?`
	if r.Ordered {
		due += ` AND NOT EXISTS (SELECT 1 FROM ` + name + ` e WHERE e.subject = o.subject AND e.state = 'waiting' AND e.seq < o.seq)`
	}
	// The outer conditions hold the row to what was seen of it, whoever came in between.
	query := `UPDATE ` + name + ` SET claim = ?, claimed_until = ? WHERE seq IN (SELECT o.seq FROM ` + name + ` o WHERE ` + due + ` ORDER BY o.due_at, o.seq LIMIT ?)
		AND state = 'waiting' AND claimed_until <= ? RETURNING ` + columns
	args := []any{claim, until.UnixMicro(), now, now, r.Batch, now}
	if r.Table.Dialect == PostgreSQL {
		query = `WITH free AS MATERIALIZED (SELECT o.seq FROM ` + name + ` o WHERE ` + due + ` ORDER BY o.due_at, o.seq LIMIT ? FOR UPDATE SKIP LOCKED)
			UPDATE ` + name + ` SET claim = ?, claimed_until = ? WHERE seq IN (SELECT seq FROM free) RETURNING ` + columns
		args = []any{now, now, r.Batch, claim, until.UnixMicro()}
	}
	rows, err := r.DB.QueryContext(ctx, r.Table.rebind(query), args...)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	batch, err := scan(rows)
	slices.SortFunc(batch, func(a, b claimed) int { return cmp.Compare(a.seq, b.seq) })
	return batch, err
}

// hand sends one entry and marks it. What cannot be sent within the lease is given back.
func (r *Relay) hand(ctx context.Context, name, claim string, until time.Time, e *claimed) error {
	if ctx.Err() != nil || r.Now().Add(r.Timeout).After(until) {
		return r.mark(ctx, name, claim, e, `claimed_until = 0`)
	}
	sending, cancel := context.WithTimeout(ctx, r.Timeout)
	err := r.Send(sending, e.Entry)
	cancel()
	now := r.Now()
	if err == nil {
		return r.mark(ctx, name, "", e, `state = 'sent', reason = '', ended_at = ?`, now.UnixMicro()) // whoever has it by now
	}
	if ctx.Err() != nil { // we are stopping; it is no fault of the entry
		return r.mark(ctx, name, claim, e, `claimed_until = 0`)
	}
	reason := printable(err.Error())
	var lasting permanent
	if errors.As(err, &lasting) || now.Sub(e.Created) >= r.MaxAge {
		r.Log.ErrorContext(ctx, "an entry of the outbox was given up", "id", e.ID, "event_type", e.EventType, "tries", e.Tries+1, "reason", reason)
		return r.mark(ctx, name, claim, e, `state = 'dead', tries = tries + 1, reason = ?, ended_at = ?`, reason, now.UnixMicro())
	}
	wait := rand.N(min(firstWait<<min(e.Tries, 20), longWait)) + time.Millisecond
	var asked after
	if errors.As(err, &asked) {
		wait = max(wait, min(asked.wait, time.Hour))
	}
	r.Log.WarnContext(ctx, "an entry of the outbox could not be handed on", "id", e.ID, "tries", e.Tries+1, "reason", reason)
	return r.mark(ctx, name, claim, e, `claimed_until = 0, tries = tries + 1, reason = ?, due_at = ?`, reason, now.Add(wait).UnixMicro())
}

// mark writes the end of a try where the claim is still ours; an empty claim asks for none. It is done although ctx has
// ended.
func (r *Relay) mark(ctx context.Context, name, claim string, e *claimed, change string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	query := `UPDATE ` + name + ` SET ` + change + ` WHERE seq = ? AND state = 'waiting'`
	args = append(args, e.seq)
	if claim != "" {
		query, args = query+` AND claim = ?`, append(args, claim)
	}
	_, err := r.Table.exec(ctx, r.DB, query, args...)
	return err
}

// printable cuts a reason and takes control characters out of it.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < 0x20 || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, ""))
	if len(s) > reasonSize {
		s = strings.ToValidUTF8(s[:reasonSize], "") + "…"
	}
	return s
}
