package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/event/ssf"
	"countersign/internal/hub"
	"countersign/internal/sight"
	"countersign/stream"
	"countersign/transmitter"
)

// endpoint tells how the last try went, or when the receiver was here.
func (x *exam) endpoint() error {
	i := sight.InfoOf(x.v, hub.At(x.now))
	if i.Delivery.Method == "poll" {
		switch {
		case i.Parked > 0:
			x.say("polling", fine, receiver, sight.Count(int64(i.Parked), "poll is held open", "polls are held open"), "")
		case i.Active == 0:
			x.say("polling", warn, receiver, "the receiver has not been here yet", "it polls with its own token at the endpoint_url of its stream")
		case hub.At(x.now)-i.Active > sight.Late:
			x.say("polling", warn, receiver, "the receiver was here last at "+sight.At(i.Active), "see whether its polling runs")
		default:
			x.say("polling", fine, receiver, "the receiver was here at "+sight.At(i.Active), "")
		}
		return nil
	}
	where := i.Delivery.Endpoint
	switch {
	case i.Trouble != nil:
		fix := ""
		if i.Trouble.Open {
			fix = sight.SetUp(&i, cmp.Or(i.Name, i.ID))
		}
		x.say("endpoint", fail, sideOf(i.Last), fmt.Sprintf("%s: %s, for %s since %s", where, cmp.Or(i.Trouble.Reason, "no try succeeded"), sight.Count(int64(i.Trouble.Fails), "try", "tries"), sight.At(i.Trouble.Since)), fix)
	case i.Last == nil:
		x.say("endpoint", fine, receiver, where+": nothing was sent since this process started", "")
	case i.Last.Reason != "":
		x.say("endpoint", warn, sideOf(i.Last), where+": "+i.Last.Reason, "")
	default:
		x.say("endpoint", fine, receiver, fmt.Sprintf("%s: %d at %s", where, i.Last.Status, sight.At(i.Last.At)), "")
	}
	return nil
}

// sideOf says who can do something: without an answer it may be either of us, or the net.
func sideOf(a *Answer) string {
	if a == nil || a.Status == 0 {
		return between
	}
	return receiver
}

// verification sends a verification event on a push stream, and waits for what becomes of it.
func (x *exam) verification() error {
	s := &x.v.Stream
	if s.Method != stream.PushMethod {
		return nil
	}
	if s.Status != transmitter.Enabled {
		x.say("verification", warn, us, "not tried: the stream is "+s.Status, "")
		return nil
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.d.patience)
	defer cancel()
	began := transmitter.At(x.d.c.Now())
	err := x.o.streams.Verification(ctx, s.ID)
	if errors.Is(err, transmitter.ErrNotFound) {
		return streamError(err)
	}
	if err != nil {
		x.say("verification", fail, us, "no verification event could be sent", "look at the hub's log")
		x.d.c.Log.WarnContext(ctx, "the doctor could not send a verification event", "stream_id", s.ID, "err", err)
		return nil
	}
	start := time.Now()
	tick := time.NewTicker(roundTripGap)
	defer tick.Stop()
	for {
		all, err := x.o.outbox.Deliveries(ctx, transmitter.DeliveryFilter{Stream: s.Key, N: 20})
		if err != nil && ctx.Err() == nil {
			return err
		}
		for i := range all {
			if l := &all[i]; l.Type == ssf.VerificationURI && l.At >= began {
				took := time.Since(start).Round(time.Millisecond)
				if l.Outcome == transmitter.Delivered {
					x.say("verification", fine, receiver, fmt.Sprintf("answered %d in %s", l.Status, took), "")
				} else {
					x.say("verification", fail, receiver, "refused: "+l.Reason, "the receiver takes no verification event; see its log")
				}
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return x.unanswered(s.ID)
		case <-tick.C:
		}
	}
}

func (x *exam) unanswered(id string) error {
	if err := x.r.Context().Err(); err != nil {
		return err
	}
	why, side := "nothing answered in "+x.d.patience.String(), between
	if v, err := x.o.streams.View(x.r.Context(), id); err == nil {
		if v.Stream.Trouble.Reason != "" {
			why = v.Stream.Trouble.Reason
		}
		if v.Last.Status != 0 {
			side = receiver
		}
		if !v.Here {
			why += "; another process of this hub delivers the stream"
		}
	}
	x.say("verification", fail, side, why, "it waits and is tried again; see endpoint")
	return nil
}

func (x *exam) waiting() error {
	c := x.v.Counts
	switch old := hub.Micros(c.Oldest); {
	case c.Waiting == 0:
		x.say("waiting", fine, us, "nothing", "")
	case old != 0 && hub.At(x.now)-old > sight.Late:
		x.say("waiting", warn, between, sight.Count(c.Waiting, "SET waits", "SETs wait")+" since "+sight.At(old), "countersign delivery list --outcome waiting --stream "+nameOf(&x.v.Stream))
	default:
		x.say("waiting", fine, us, sight.Count(c.Waiting, "SET waits", "SETs wait"), "")
	}
	return nil
}

func (x *exam) dead() error {
	story, err := sight.StoryOf(x.r.Context(), x.v, x.o.outbox, hub.At(x.now))
	if err != nil {
		return err
	}
	if len(story.DeadBy) == 0 {
		x.say("dead letters", fine, us, "none", "")
	}
	for i, by := range story.DeadBy {
		if i == 5 {
			x.say("dead letters", warn, receiver, sight.Count(int64(len(story.DeadBy)-i), "more reason", "more reasons"), "countersign delivery list --outcome dead --stream "+nameOf(&x.v.Stream))
			break
		}
		x.say("dead letters", warn, receiver, fmt.Sprintf("%d: %s, the latest at %s", by.Count, cmp.Or(by.Reason, "without a reason"), sight.At(by.Latest)), "put the cause right, then: countersign delivery redrive --stream "+nameOf(&x.v.Stream))
	}
	return nil
}

func (x *exam) inactivity() error {
	s := &x.v.Stream
	if s.InactivityTimeout == 0 {
		x.say("inactivity", fine, us, "no inactivity_timeout", "")
		return nil
	}
	limit := time.Duration(s.InactivityTimeout) * time.Second
	seen := max(s.Active, s.Updated, s.Created)
	left := limit - x.now.Sub(seen.Time())
	if left < limit/5 {
		x.say("inactivity", warn, receiver, fmt.Sprintf("the receiver was active last at %s; after %s of silence the stream is paused", sight.At(hub.Micros(seen)), limit), "the receiver polls, asks for verification, or reads its stream")
		return nil
	}
	x.say("inactivity", fine, receiver, fmt.Sprintf("active last at %s, and %s may pass", sight.At(hub.Micros(seen)), limit), "")
	return nil
}
