package server

import (
	"context"
	"time"

	"countersign/internal/hub"
	"countersign/internal/telemetry"
	"countersign/transmitter"
)

// watchEvery is how often the orders that we sent are looked at.
const watchEvery = 30 * time.Second

// keyLife is how long a client's Idempotency-Key stands for the request that it came with.
const keyLife = 24 * time.Hour

// count keeps the picture of the streams. With many streams it is drawn less often, so that it takes a twentieth of the time
// at most.
func (s *Server) count(ctx context.Context) error {
	pause := 5 * time.Second
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		began := time.Now()
		s.countStreams(ctx)
		s.countSources(ctx)
		s.countUnresolved(ctx)
		pause = max(10*time.Second, 20*time.Since(began))
	}
}

// countUnresolved shows how many signals wait until somebody fits their subject.
func (s *Server) countUnresolved(ctx context.Context) {
	n := map[string]int64{}
	for _, t := range s.all() {
		u, err := s.store.UnresolvedSummary(ctx, t.name)
		if err != nil {
			return // the last picture stays
		}
		n[t.name] = u.Count
	}
	s.metrics.Unresolved(n)
}

// countStreams shows how the streams of all tenants are, and how many tokens wait in all.
func (s *Server) countStreams(ctx context.Context) {
	var all []telemetry.StreamCounts
	var waiting int64
	now := s.now()
	for _, t := range s.all() {
		counted, err := t.streams.Tallies(ctx)
		if err != nil {
			return // the last picture stays
		}
		for i := range counted {
			v := &counted[i]
			c := telemetry.StreamCounts{Tenant: t.name, ID: v.StreamID, Waiting: v.Waiting, Delivered: v.Delivered, Dead: v.Dead,
				Skipped: t.told.skipped(v.StreamID), Failing: v.Failing}
			if v.Oldest != 0 {
				c.Oldest = max(now.Sub(v.Oldest.Time()).Seconds(), 0)
			}
			waiting += c.Waiting
			all = append(all, c)
		}
	}
	s.metrics.Streams(all)
	s.metrics.Outbox(waiting)
}

// watch looks after the orders that we sent: it counts those whose receipt is due and missing, and says of each once that
// it is late or overdue (receipts design §6.7).
func (s *Server) watch(ctx context.Context) error {
	said := map[string]bool{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if err := s.watchOnce(ctx, said); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the orders that were sent could not be looked at", "err", err)
		}
		if _, err := s.store.ForgetKeys(ctx, hub.At(s.now().Add(-keyLife)), 5000); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "old idempotency keys could not be forgotten", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchPage is how many orders are read at once.
const watchPage = 500

func (s *Server) watchOnce(ctx context.Context, said map[string]bool) error {
	late, overdue := 0, 0
	now, open := s.now(), map[string]bool{}
	say := func(t *tenant, o *transmitter.SentOrder, flag string, due int64) {
		key := t.name + " " + o.SetHash + " " + flag
		open[key] = true
		if said[key] {
			return
		}
		said[key] = true
		s.log.WarnContext(ctx, "an order has no receipt in time", "tenant", t.name, "flag", flag, "order", o.JTI, "stream_id", o.Stream, "client", o.Receiver,
			"txn", o.TXN, "due", time.Unix(due, 0).UTC(), "hint", "countersign order explain "+o.JTI)
	}
	for _, t := range s.all() {
		for before := int64(0); ; {
			orders, err := t.streams.Orders(ctx, transmitter.OrderFilter{Unanswered: true, Before: before, N: watchPage})
			if err != nil {
				return err
			}
			for i := range orders {
				o := &orders[i]
				switch st := transmitter.Standing(o, now); {
				case st.Overdue:
					overdue++
					say(t, o, "overdue", o.CompleteBy)
				case st.Late:
					late++
					say(t, o, "late", o.InterimBy)
				}
			}
			if len(orders) < watchPage {
				break
			}
			before = orders[len(orders)-1].Key
		}
	}
	for key := range said {
		if !open[key] {
			delete(said, key) // it was answered
		}
	}
	s.metrics.Orders("late", late)
	s.metrics.Orders("overdue", overdue)
	return nil
}
