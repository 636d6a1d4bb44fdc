package transmitter

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How often activity is kept, idle streams are looked for, and new streams are greeted.
const (
	activityEvery = 5 * time.Second
	idleEvery     = 15 * time.Second
	greetEvery    = time.Second
	// seldom is how often activity is noted on a stream without inactivity_timeout, where it serves operators only.
	seldom = Micros(time.Minute / time.Microsecond)
)

// activity is when receivers were last heard of, until it is kept (TX-54). Push deliveries do not count (TX-56).
type activity struct {
	mu   sync.Mutex
	seen map[int64]Micros // by stream key, not kept yet
}

// active notes eligible activity of a stream's receiver: a management call that names the stream, or a poll.
func (t *Transmitter) active(st *Stream) {
	now := At(t.cfg.Now())
	if st.InactivityTimeout <= 0 && now-st.Active < seldom {
		return
	}
	t.Server.activity.mu.Lock()
	defer t.Server.activity.mu.Unlock()
	if t.Server.activity.seen == nil {
		t.Server.activity.seen = map[int64]Micros{}
	}
	t.Server.activity.seen[st.Key] = now
}

// lastActive is when the receiver of a stream was heard of, also where that is not kept yet.
func (t *Transmitter) lastActive(st *Stream) Micros {
	t.Server.activity.mu.Lock()
	defer t.Server.activity.mu.Unlock()
	return max(st.Active, t.Server.activity.seen[st.Key])
}

// keepActivity writes what was noted. What cannot be written is noted again.
func (t *Transmitter) keepActivity(ctx context.Context) error {
	a := &t.Server.activity
	a.mu.Lock()
	seen := a.seen
	a.seen = nil
	a.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	err := t.cfg.Store.Touch(ctx, seen)
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.seen == nil {
			a.seen = map[int64]Micros{}
		}
		for key, at := range seen {
			a.seen[key] = max(a.seen[key], at)
		}
	}
	return err
}

// runInactivity keeps the activity of receivers, pauses the streams of those that were silent for too long, and sends
// the verification events that some receivers wait for, until ctx ends.
func (t *Transmitter) runInactivity(ctx context.Context) {
	flush, look := time.NewTicker(activityEvery), time.NewTicker(idleEvery)
	defer flush.Stop()
	defer look.Stop()
	var greet <-chan time.Time
	if slices.ContainsFunc(t.Server.shapes, func(sh *shape) bool { return sh.greeting > 0 }) {
		ticker := time.NewTicker(greetEvery)
		defer ticker.Stop()
		greet = ticker.C
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = t.keepActivity(ending)
			return
		case <-greet:
			t.Server.sendGreetings(ctx)
		case <-flush.C:
			err = t.keepActivity(ctx)
		case <-look.C:
			err = t.pauseIdle(ctx)
		}
		if err != nil && ctx.Err() == nil {
			t.cfg.Log.WarnContext(ctx, "the activity of receivers could not be kept", "error", err)
		}
	}
}

// pauseIdle pauses streams whose inactivity_timeout passed, with a stream-updated event (TX-53, TX-55). They hold their
// events until their receiver enables them again.
func (t *Transmitter) pauseIdle(ctx context.Context) error {
	if err := t.keepActivity(ctx); err != nil {
		return err
	}
	now := At(t.cfg.Now())
	idle, err := t.cfg.Store.Idle(ctx, now)
	if err != nil {
		return err
	}
	for i := range idle {
		st := &idle[i]
		_, err := t.announce(ctx, st, Paused, "the receiver was not heard of for longer than inactivity_timeout", func(st *Stream) bool {
			since := max(st.Active, st.Updated, st.Created)
			return st.Status == Enabled && since+Micros(st.InactivityTimeout)*1e6 <= now
		})
		if err != nil && ctx.Err() == nil {
			t.cfg.Log.WarnContext(ctx, "an idle stream could not be paused", "stream", st.ID, "error", err)
		}
	}
	return nil
}
