package enroll

import (
	"context"
	"crypto/subtle"
	"time"

	"countersign/internal/hub"
	"countersign/receiver"
	"countersign/stream"
)

const (
	// stateLife is how long a verification event is taken after it was asked for.
	stateLife = 24 * time.Hour
	// maxPending is how many verification events may be outstanding.
	maxPending = 8
)

// Verified is told of each verification event before it is answered: with the state that was asked with, or without one
// where the transmitter sends it of its own accord (RX-40, RX-42). receiver.ErrState refuses it. It may be called while the
// request that asked for the event is still under way.
func (e *Enroller) Verified(ctx context.Context, tenant, source, state string, hasState bool) error {
	var unknown, again, heard bool
	_, err := e.change(ctx, tenant, source, func(s *State) *State {
		unknown, again, heard = true, false, false
		if s == nil {
			return nil
		}
		now := hub.At(e.Now())
		if !hasState {
			unknown = false
			if again = s.Alarm == "" && now-s.ByItself < hub.Micros(time.Minute/time.Microsecond); again {
				return nil // one write a minute is enough
			}
			s.ByItself = now
		} else {
			for i := range s.Pending {
				p := &s.Pending[i]
				if subtle.ConstantTimeCompare([]byte(p.State), []byte(state)) != 1 || now-p.At > hub.Micros(stateLife/time.Microsecond) {
					continue
				}
				unknown = false
				if p.Came != 0 {
					again = true // the answer to the first was lost
					return nil
				}
				p.Came, s.Verified = now, now
			}
			if unknown {
				return nil
			}
		}
		heard = s.Alarm != ""
		s.Alarm, s.AlarmAt = "", 0
		return s
	})
	switch {
	case err != nil:
		return err
	case unknown:
		return receiver.ErrState
	case again:
		return nil
	}
	if heard {
		e.Alarmed(tenant, source, false)
		e.Log.InfoContext(ctx, "a source is heard again", "tenant", tenant, "source", source)
	}
	return nil
}

// Updated is told what the transmitter made of our stream (stream-updated, RX-99).
func (e *Enroller) Updated(ctx context.Context, tenant, source, status, reason string) error {
	again := false
	s, err := e.change(ctx, tenant, source, func(s *State) *State {
		if again = false; s == nil {
			return nil
		}
		now := hub.At(e.Now())
		if again = s.There == status && s.ThereReason == reason && now-s.ThereAt < hub.Micros(time.Minute/time.Microsecond); again {
			return nil // who says it over and over costs one write and one line a minute
		}
		s.There, s.ThereReason, s.ThereAt = status, reason, now
		return s
	})
	if err != nil || s == nil || again {
		return err
	}
	if status != stream.Enabled {
		e.Log.ErrorContext(ctx, "ALARM: the transmitter stopped our stream", "tenant", tenant, "source", source, "status", status)
	}
	e.Alarmed(tenant, source, status != stream.Enabled)
	return e.verifyAt(ctx, tenant, source, e.Now()) // RX-100: its status is read, and what it missed is seen
}
