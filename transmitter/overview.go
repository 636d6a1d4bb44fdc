package transmitter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"countersign/stream"
)

// StreamView is one stream as an operator wants to see it.
type StreamView struct {
	Stream   Stream // without its credential; Trouble as it is now
	Counts   Counts
	Last     LastAnswer
	Next     Micros        // when it is tried again, where it is in back-off
	P50, P99 time.Duration // from planned to accepted, of the latest deliveries of this process; 0: none yet
	InFlight int
	Held     int  // SETs that fail while others are taken, and hold back those about the same subject
	Parked   int  // polls that are held
	Here     bool // this process delivers it
	// Warnings say in plain sentences what keeps the stream from delivering, and what to do.
	Warnings []string
}

// LastAnswer is the latest answer of a receiver that this process got.
type LastAnswer struct {
	At     Micros // 0: none yet
	Status int    // 0: there was no answer
	Reason string // empty: it took the SET
}

// View gives one stream by its stream_id, or ErrNotFound.
func (t *Transmitter) View(ctx context.Context, id string) (*StreamView, error) {
	s, err := t.find(ctx, id)
	if err != nil {
		return nil, err
	}
	v := StreamView{Stream: *s}
	if v.Counts, err = t.cfg.Store.Counts(ctx, s.Key); err != nil {
		return nil, err
	}
	t.complete(&v)
	return &v, nil
}

// viewers is how many counts are asked for at once.
const viewers = 4

// Overview gives every stream, oldest first.
func (t *Transmitter) Overview(ctx context.Context) ([]StreamView, error) {
	streams, _, err := t.cfg.Store.AllStreams(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(streams, func(a, b Stream) int { return int(a.Key - b.Key) })
	out := make([]StreamView, len(streams))
	var work sync.WaitGroup
	errs := make([]error, viewers)
	for w := range viewers {
		work.Go(func() {
			for i := w; i < len(out) && errs[w] == nil; i += viewers {
				out[i].Stream = streams[i]
				out[i].Counts, errs[w] = t.cfg.Store.Counts(ctx, streams[i].Key)
			}
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range out {
		t.complete(&out[i])
	}
	return out, nil
}

// complete fills in what this process knows, and what there is to say.
func (t *Transmitter) complete(v *StreamView) {
	s := &v.Stream
	s.Authorization = ""
	s.Active = t.lastActive(s)
	p := t.Pump
	p.mu.Lock()
	v.Here = !p.running || p.shards.Has(s.Key)
	if p.running && v.Here {
		s.Trouble = p.trouble[s.Key]
	}
	if st := p.stats[s.Key]; st != nil {
		v.Last = st.last
		v.P50, v.P99 = st.times.quantile(0.5), st.times.quantile(0.99)
	}
	if l := p.lanes[s.Key]; l != nil {
		v.InFlight = len(l.flying)
		for _, e := range l.held {
			if e.until != 0 {
				v.Held++
			}
		}
	}
	p.mu.Unlock()
	v.Parked = t.parked.held(s.Key)
	if s.Trouble.Fails > 0 {
		v.Next = s.Trouble.Next
	}
	v.Warnings = append(t.setUp(s), v.standing(t.cfg.Now())...)
}

// setUp says what in the settings of a stream keeps it from delivering anything.
func (t *Transmitter) setUp(s *Stream) (out []string) {
	say := func(format string, args ...any) { out = append(out, "delivers nothing: "+fmt.Sprintf(format, args...)) }
	if s.Status == Disabled {
		say("it is disabled, and nothing is kept for it; enable it")
	}
	if len(s.Delivered) == 0 {
		say("events_delivered is empty; its receiver asked for no event type that it may have")
	}
	if s.DefaultSubjects == stream.DefaultNone && !s.Listed {
		say("default_subjects is NONE and its list is empty; add subjects")
	}
	if _, err := t.keys().signer(s.Algorithm); err != nil {
		say("there is no key for its algorithm %s", s.Algorithm)
	}
	if s.Endpoint == "" && !polled(s) {
		say("it has no endpoint_url")
	}
	return out
}

// standing says what keeps a stream from delivering now.
func (v *StreamView) standing(now time.Time) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	tr, c := v.Stream.Trouble, v.Counts
	if v.Stream.DefaultSubjects == stream.DefaultNone && v.Stream.Listed && c.Subjects == 0 {
		say("delivers nothing: default_subjects is NONE and its list is empty; add subjects")
	}
	switch {
	case v.Stream.Status == Paused && c.Waiting > 0:
		say("it is paused, and %s held until it is enabled", sets(c.Waiting))
	case tr.Open:
		say("delivers nothing since %s: %s", clock(tr.Since), tr.Reason)
	case tr.Fails > 0:
		say("delivery fails since %s (%d tries): %s; the next try is at %s", clock(tr.Since), tr.Fails, tr.Reason, clock(tr.Next))
	case polled(&v.Stream) && v.Stream.Status == Enabled && c.Oldest != 0 && now.Sub(c.Oldest.Time()) > time.Hour:
		say("%s since %s: its receiver does not poll, or does not acknowledge", waiting(c.Waiting), clock(c.Oldest))
	}
	if v.Held > 0 {
		say("%s again and again while others are taken; see the last answer", failing(v.Held))
	}
	if c.Dead > 0 {
		say("%s set aside; see why, and redrive", sets(c.Dead))
	}
	return out
}

func sets(n int64) string {
	if n == 1 {
		return "1 SET is"
	}
	return fmt.Sprintf("%d SETs are", n)
}

func waiting(n int64) string {
	if n == 1 {
		return "1 SET waits"
	}
	return fmt.Sprintf("%d SETs wait", n)
}

func failing(n int) string {
	if n == 1 {
		return "1 SET fails"
	}
	return fmt.Sprintf("%d SETs fail", n)
}

func clock(m Micros) string { return m.Time().Format(time.RFC3339) }

// warnedAtStart bounds the warnings about streams that were there at a start.
const warnedAtStart = 20

// warnNew says loudly of a stream that it can deliver nothing: when it is made, and at a start.
func (t *Transmitter) warnNew(old, now *snapshot) {
	said := 0
	for key, s := range now.byKey {
		if old != nil && old.byKey[key] != nil || s.Status == Disabled && old == nil {
			continue
		}
		for _, warning := range t.setUp(s) {
			if said++; old == nil && said > warnedAtStart {
				return
			}
			t.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "a stream "+warning, slog.String("stream", s.ID), slog.String("receiver", s.Receiver))
		}
	}
}

// Redrive puts dead letters back among what waits, each in its old place, and gives how many. They are tried at once.
func (t *Transmitter) Redrive(ctx context.Context, which DeadFilter) (int, error) {
	if err := t.Pump.spare(ctx); err != nil {
		return 0, err
	}
	which.At = At(t.cfg.Now()) // their age counts anew, for every process
	n, err := t.cfg.Store.Redrive(ctx, which)
	if err != nil || n == 0 {
		return n, err
	}
	t.Pump.redriven(which.Stream)
	t.wake(which.Stream)
	return n, nil
}

// redriven looks for the rows of one stream, or of all.
func (p *Pump) redriven(stream int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if tr, ok := p.trouble[stream]; ok {
		tr.Next = At(p.cfg.Now())
		p.settle(stream, tr)
	}
	if stream != 0 {
		if l := p.lane(stream, everything); l != nil {
			p.restart(l) // they are older than what is in memory
		}
	} else {
		for _, l := range p.lanes {
			p.restart(l)
		}
		signal(p.sweeps)
	}
	p.schedule()
}
