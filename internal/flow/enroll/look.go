package enroll

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/set"
	"countersign/stream"
)

const (
	// DefaultVerify is how often a source is asked for a verification event unless it says otherwise.
	DefaultVerify = 6 * time.Hour
	// firstLook is how long after a stream was made its first verification event is asked for.
	firstLook = time.Second
	// patience is how long a verification event may take: some transmitters empty their outbox every half minute, and try
	// again after minutes.
	patience = 10 * time.Minute
	// silentEvery is how often a silent source is asked again.
	silentEvery = 15 * time.Minute
)

// every is how often a source is asked; 0: never.
func every(src *hub.Source, s *State) time.Duration {
	d := DefaultVerify
	if src.Verify != nil && src.Verify.Every != "" {
		d, _ = time.ParseDuration(src.Verify.Every) // checked when it was applied
	}
	if d <= 0 {
		return 0
	}
	return max(d, seconds(s.MinVerification)) // RX-45
}

func seconds(n int64) time.Duration { return time.Duration(min(n, 31*86400)) * time.Second }

// verifyAt has the liveness of a source looked at then.
func (e *Enroller) verifyAt(ctx context.Context, tenant, source string, at time.Time) error {
	return e.Store.Enqueue(ctx, tenant, hub.Job{Kind: "verify", Key: tenant + "/" + source, Due: hub.At(at)})
}

// watched reports whether the hub looks after the liveness of the source.
func watched(src *hub.Source, s *State) bool {
	return src != nil && src.Stream != None && s != nil && s.StreamID != "" && s.Status != Deleting && s.Status != Gone && every(src, s) > 0
}

// lookDue says when a source has to be looked at whose next look is not on the way, or is later than the source wants it now.
// Many sources are not looked at together.
func (e *Enroller) lookDue(src *hub.Source, s *State) (time.Time, bool) {
	if !watched(src, s) || s.Status != Made {
		return time.Time{}, false
	}
	now, span := e.Now(), every(src, s)
	next := s.NextLook.Time()
	if s.NextLook != 0 && next.After(now.Add(-time.Hour)) && !next.After(now.Add(span+patience)) {
		return time.Time{}, false
	}
	return now.Add(time.Duration(mathrand.Int64N(int64(min(span, patience))))), true
}

// DoVerify is the step "verify": one look at whether a source can still reach us (RX-101). It asks for a verification event
// when that is due, and raises an alarm when the one that was asked for did not come.
func (e *Enroller) DoVerify(ctx context.Context, job *hub.Job) error {
	tenant, name, _ := strings.Cut(job.Key, "/")
	src, err := e.Source(ctx, tenant, name)
	if err != nil {
		return err
	}
	s, err := Read(ctx, e.Store, tenant, name)
	if err != nil {
		return err
	}
	if !watched(src, s) {
		return e.Store.FinishJob(ctx, job, nil)
	}
	at, err := e.look(ctx, tenant, name, src, s)
	if err != nil {
		return err
	}
	next := hub.At(at)
	if _, err := e.change(ctx, tenant, name, func(s *State) *State {
		if s != nil {
			s.NextLook = next
		}
		return s
	}); err != nil {
		return err
	}
	return e.Store.FinishJob(ctx, job, &next)
}

// look does what is due now, and says when there is something again.
func (e *Enroller) look(ctx context.Context, tenant, name string, src *hub.Source, s *State) (time.Time, error) {
	now, span := e.Now(), every(src, s)
	c, err := e.calls(ctx, tenant, src)
	if err != nil {
		return e.unable(ctx, tenant, name, src, err, now)
	}
	md, _, err := e.metadata(ctx, c, tenant+"/"+name, e.placeOf(src), false)
	if err != nil {
		return e.unable(ctx, tenant, name, src, err, now)
	}
	if s, err = e.readStatus(ctx, c, md, tenant, name, s); err != nil {
		return now, err
	}
	soonest := func(at time.Time) time.Time { // RX-36: only calls keep a stream alive
		if alive := seconds(s.Inactivity) / 3; alive > 0 && now.Add(alive).Before(at) {
			return now.Add(max(alive, 10*time.Second))
		}
		return at
	}
	asked, heard := s.Asked, max(s.Verified, s.ByItself)
	if n := len(s.Pending); n > 0 && s.Pending[n-1].Came != 0 {
		asked = max(asked, s.Pending[n-1].At) // also where the hub ended before it noted that it had asked
	}
	switch {
	case s.Held:
		return soonest(now.Add(span)), nil
	case asked != 0 && heard < asked && now.Sub(asked.Time()) < patience:
		return soonest(asked.Time().Add(patience)), nil
	case asked != 0 && heard < asked && s.Unable == "":
		if s, err = e.silent(ctx, tenant, name, s, now); err != nil {
			return now, err
		}
		again := asked.Time().Add(spread(span))
		if s.Alarm != "" {
			again = asked.Time().Add(max(silentEvery, seconds(s.MinVerification)))
		}
		if now.Before(again) {
			return soonest(again), nil
		}
	case asked != 0 && now.Before(asked.Time().Add(span-span/8)):
		return soonest(asked.Time().Add(spread(span))), nil
	}
	_, err = e.ask(ctx, c, md, tenant, name, s.StreamID, "", false)
	switch {
	case err == nil:
		return soonest(now.Add(patience)), nil
	case missing(err) || status(err) == http.StatusNotFound:
		_, err = e.live(ctx, tenant, name, func(l *Live) {
			l.Unable = "the transmitter sends no verification events on request, so its silence is not noticed"
		})
		return soonest(now.Add(spread(span))), err
	}
	return e.unable(ctx, tenant, name, src, err, now)
}

// spread is a span, up to a tenth shorter, so that many sources are not asked together.
func spread(d time.Duration) time.Duration {
	return d - time.Duration(mathrand.Int64N(int64(d/10)+1))
}

// unable writes down why a source could not be asked, and raises the alarm when that lasts.
func (e *Enroller) unable(ctx context.Context, tenant, name string, src *hub.Source, cause error, now time.Time) (time.Time, error) {
	if ctx.Err() != nil {
		return now, ctx.Err()
	}
	text := e.hide(ctx, tenant, src, reason(cause))
	raised := false
	s, err := e.live(ctx, tenant, name, func(l *Live) {
		l.Unable, raised = text, false
		if l.UnableAt == 0 {
			l.UnableAt = hub.At(now)
		}
		if now.Sub(l.UnableAt.Time()) >= patience && l.Alarm == "" && status(cause) != http.StatusTooManyRequests {
			l.Alarm, l.AlarmAt, raised = "it cannot be asked whether it still reaches us: "+text, hub.At(now), true
		}
	})
	if err != nil || s == nil {
		return now, err
	}
	if raised {
		e.Alarmed(tenant, name, true)
		e.Log.ErrorContext(ctx, "ALARM: a source cannot be asked whether it still reaches us", "tenant", tenant, "source", name, "err", text)
	}
	wait := max(pause(8, cause), time.Minute)
	if status(cause) == http.StatusTooManyRequests { // RX-45
		wait = max(wait, seconds(s.MinVerification), time.Minute)
	}
	return now.Add(wait), nil
}

// silent raises the alarm, unless signals came since: then only the verification events are missing.
func (e *Enroller) silent(ctx context.Context, tenant, name string, s *State, now time.Time) (*State, error) {
	if s.Alarm != "" {
		return s, nil
	}
	if e.LastSignal != nil {
		last, err := e.LastSignal(ctx, tenant, name)
		if err != nil {
			return s, err
		}
		if last >= s.Asked {
			return e.live(ctx, tenant, name, func(l *Live) {
				l.Unable = "signals come, and the verification event that was asked for did not"
			})
		}
	}
	s, err := e.live(ctx, tenant, name, func(l *Live) {
		l.Alarm = "the source is silent: a verification event was asked for at " + s.Asked.Time().UTC().Format(time.RFC3339) + " and has not come"
		l.AlarmAt = hub.At(now)
	})
	if err == nil {
		e.Alarmed(tenant, name, true)
		e.Log.ErrorContext(ctx, "ALARM: a source is silent: the verification event that was asked for has not come", "tenant", tenant, "source", name, "asked", s.Asked.Time().UTC())
	}
	return s, err
}

// live changes what is known of the stream while it is there.
func (e *Enroller) live(ctx context.Context, tenant, name string, do func(*Live)) (*State, error) {
	return e.change(ctx, tenant, name, func(s *State) *State {
		if s != nil {
			do(&s.Live)
		}
		return s
	})
}

// readStatus asks what became of the stream there (RX-100). A transmitter that does not say is no worse for it.
func (e *Enroller) readStatus(ctx context.Context, c *receiver.Client, md *stream.Metadata, tenant, name string, s *State) (*State, error) {
	if md.StatusEndpoint == "" {
		return s, nil
	}
	st, err := c.Status(ctx, md, s.StreamID)
	if err != nil {
		if status(err) == http.StatusNotFound && !missing(err) { // the stream is gone: it is looked for, and made anew
			e.forget(tenant + "/" + name)
			if _, rerr := c.Read(ctx, md, s.StreamID); status(rerr) == http.StatusNotFound {
				return e.lost(ctx, tenant, name)
			}
		}
		return s, nil
	}
	was := s.There
	s, err = e.live(ctx, tenant, name, func(l *Live) { l.There, l.ThereReason, l.ThereAt = st.Status, st.Reason, hub.At(e.Now()) })
	if err == nil && s != nil && st.Status != stream.Enabled && was != st.Status && !s.Held {
		e.Log.ErrorContext(ctx, "ALARM: the stream at a source is stopped there", "tenant", tenant, "source", name, "status", st.Status)
	}
	return s, err
}

// lost has the stream made anew that somebody deleted there.
func (e *Enroller) lost(ctx context.Context, tenant, name string) (*State, error) {
	s, err := e.change(ctx, tenant, name, func(s *State) *State {
		if s != nil {
			s.Want = "" // the next try finds out
		}
		return s
	})
	if err != nil {
		return s, err
	}
	e.Log.WarnContext(ctx, "the stream at a source is not there any more", "tenant", tenant, "source", name)
	if err := e.enqueue(ctx, tenant, name); err != nil {
		return s, err
	}
	e.Poke()
	return s, nil
}

// ask asks for a verification event. The state that it will carry is durable before the request: the event may come before the
// answer, to another node, or after a restart.
func (e *Enroller) ask(ctx context.Context, c *receiver.Client, md *stream.Metadata, tenant, name, id, state string, none bool) (string, error) {
	if md.VerificationEndpoint == "" {
		return "", fmt.Errorf("%w: request verification", receiver.ErrUnsupported)
	}
	if state == "" && !none {
		state = set.NewID()
	}
	now := hub.At(e.Now())
	if !none {
		if _, err := e.live(ctx, tenant, name, func(l *Live) {
			l.Pending = slices.DeleteFunc(l.Pending, func(a Asked) bool {
				return a.State == state || now-a.At > hub.Micros(stateLife/time.Microsecond)
			})
			if n := len(l.Pending); n >= maxPending {
				l.Pending = l.Pending[n-maxPending+1:]
			}
			l.Pending = append(l.Pending, Asked{State: state, At: now})
		}); err != nil {
			return "", err
		}
	}
	e.Stop("verify.before-ask")
	err := c.Verify(ctx, md, id, state)
	e.Stop("verify.after-ask")
	if err != nil {
		if refused(err) || errors.Is(err, receiver.ErrUnsupported) { // then it will not come
			if _, kerr := e.live(ctx, tenant, name, func(l *Live) {
				l.Pending = slices.DeleteFunc(l.Pending, func(a Asked) bool { return a.State == state && a.Came == 0 })
			}); kerr != nil {
				return "", kerr
			}
		}
		return "", err
	}
	_, err = e.live(ctx, tenant, name, func(l *Live) { l.Asked, l.Unable, l.UnableAt = now, "", 0 })
	return state, err
}

// Verify asks for a verification event now.
func (e *Enroller) Verify(ctx context.Context, tenant, source string) error {
	_, err := e.Step(ctx, tenant, source, StepVerify, StepInput{})
	if err != nil {
		return err
	}
	return e.verifyAt(ctx, tenant, source, e.Now().Add(patience))
}
